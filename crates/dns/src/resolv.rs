//! The machine's own name servers.

use std::net::{IpAddr, SocketAddr};

/// As resolv.conf(5) allows.
const MAX_NAMESERVERS: usize = 3;

/// Name servers of a resolv.conf, without `own`: a question must never come back to who forwarded it.
pub fn nameservers(resolv_conf: &str, own: &[IpAddr]) -> Vec<SocketAddr> {
    resolv_conf
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let address = words.next().filter(|w| *w == "nameserver").and(words.next())?;
            address.parse::<IpAddr>().ok()
        })
        .filter(|ip| !own.contains(ip))
        .take(MAX_NAMESERVERS)
        .map(|ip| SocketAddr::new(ip, 53))
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_usable_servers_count() {
        let text = "# made by hand\nsearch a.b\nnameserver 10.96.0.10\n nameserver\t192.0.2.53 # x\n\
                    nameserver nonsense\nnameserver ::1\noptions ndots:5\n";
        let own = ["10.96.0.10".parse().unwrap()];
        let expected: Vec<SocketAddr> = vec!["192.0.2.53:53".parse().unwrap(), "[::1]:53".parse().unwrap()];
        assert_eq!(nameservers(text, &own), expected);
    }
}
