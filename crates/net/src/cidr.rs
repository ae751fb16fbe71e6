//! Choosing address ranges that collide with nothing on the machine.

use std::path::Path;

use ipnet::Ipv4Net;

use crate::error::{Error, Result};
use crate::netns::NetNs;
use crate::rt::{Kind, Rt};

/// Ranges of one cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    pub pods: Ipv4Net,
    pub services: Ipv4Net,
    /// Bridge and nodes of `corten up --nodes N`.
    pub nodes: Ipv4Net,
}

/// How many clusters fit: pods 10.244 to 10.255, services 10.96 to 10.107 (upstream's usual 10.96.0.0/16 first;
/// kubeadm's default is a /12 there), nodes 10.89.0 to 10.89.11.
const CHOICES: u8 = 12;

/// The first choice that overlaps neither a route nor an address of the namespace (`None`: the calling thread's),
/// nor `reserved` (clusters that are stopped, or live in namespaces of their own). Other running clusters show by
/// their routes.
pub fn pick(netns: Option<&Path>, reserved: &[Ipv4Net]) -> Result<Ranges> {
    let mut rt = match netns {
        Some(path) => NetNs::open(path)?.run(Rt::open)?,
        None => Rt::open()?,
    };
    let mut taken = reserved.to_vec();
    taken.extend(rt.addresses()?.into_iter().map(|a| a.net));
    let real = |kind| matches!(kind, Kind::Unicast | Kind::Unreachable | Kind::Local);
    taken.extend(rt.routes()?.into_iter().filter(|r| real(r.kind)).map(|r| r.to));
    choose(&taken)
}

/// The first choice that overlaps nothing that is taken. A default route takes nothing.
pub fn choose(taken: &[Ipv4Net]) -> Result<Ranges> {
    let free = |net: &Ipv4Net| {
        let overlaps = |t: &Ipv4Net| t.contains(&net.network()) || net.contains(&t.network());
        !taken.iter().filter(|t| t.prefix_len() > 0).any(overlaps)
    };
    (0..CHOICES)
        .filter_map(nth)
        .find(|r| [r.pods, r.services, r.nodes].iter().all(free))
        .ok_or_else(|| {
            let what = "every pod and service range that Corten tries (10.244.0.0/16 and 10.96.0.0/16 onwards) \
                        overlaps a route or address of this machine; name free ranges";
            Error::Invalid(what.into())
        })
}

fn nth(i: u8) -> Option<Ranges> {
    let net = |a: [u8; 4], prefix| Ipv4Net::new(a.into(), prefix).ok();
    Some(Ranges {
        pods: net([10, 244 + i, 0, 0], 16)?,
        services: net([10, 96 + i, 0, 0], 16)?,
        nodes: net([10, 89, i, 0], 24)?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_pair_that_is_free_is_taken() {
        let check = |taken: &[&str], pods: &str| {
            let taken: Vec<Ipv4Net> = taken.iter().map(|t| t.parse().unwrap()).collect();
            assert_eq!(choose(&taken).unwrap().pods, pods.parse().unwrap());
        };
        check(&["0.0.0.0/0", "192.0.2.0/24"], "10.244.0.0/16");
        check(&["10.244.7.0/24"], "10.245.0.0/16");
        check(&["10.96.0.10/32"], "10.245.0.0/16");
        check(&["10.244.0.0/15", "10.98.0.0/16"], "10.247.0.0/16");
        assert!(choose(&["10.0.0.0/8".parse().unwrap()]).is_err());
    }
}
