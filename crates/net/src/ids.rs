//! The short cluster id that every interface, table, route and cgroup name carries, so that two clusters on one
//! machine never touch each other's and a sweep after a crash finds all of its own.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::error::Error;

/// Kernel limit: interface names are at most 15 bytes. `c` + id + `v` + 8 hex digits fills it exactly.
const ID_LEN: usize = 5;
const ALPHABET: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
/// Route metrics of ours are this plus the id's number: they lose against everything else and name their cluster.
const METRIC_BASE: u32 = 0x4000_0000;

/// Five characters of `[0-9a-z]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClusterId([u8; ID_LEN]);

impl ClusterId {
    /// The id that belongs to a seed (the data directory's path, the cluster's UID): always the same one.
    pub fn from_seed(seed: &str) -> Self {
        let mut hash = seed.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        hash ^= hash >> 32;
        let mut id = [0; ID_LEN];
        for slot in &mut id {
            *slot = ALPHABET[(hash % 36) as usize];
            hash /= 36;
        }
        Self(id)
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Every pod interface on the host side starts with this.
    pub fn veth_prefix(&self) -> String {
        format!("c{self}v")
    }

    /// The host side of the pod with that address.
    pub fn veth(&self, pod: Ipv4Addr) -> String {
        format!("c{self}v{:08x}", u32::from(pod))
    }

    /// Bridge port of node `index` in the cluster's namespace.
    pub fn node_port(&self, index: u16) -> String {
        format!("c{self}n{index}")
    }

    pub fn bridge(&self) -> String {
        format!("c{self}br")
    }

    /// Label of addresses on `lo`.
    pub fn address_label(&self) -> String {
        format!("lo:c{self}")
    }

    /// nf_tables table of the pod network (masquerade, uplinks).
    pub fn node_table(&self) -> String {
        format!("corten-{self}-node")
    }

    /// nf_tables table of the service proxy.
    pub fn service_table(&self) -> String {
        format!("corten-{self}-svc")
    }

    /// nf_tables table of the pods' host ports.
    pub fn port_table(&self) -> String {
        format!("corten-{self}-ports")
    }

    /// Interface group of every pod interface of this cluster; never 0.
    pub fn link_group(&self) -> u32 {
        self.route_metric()
    }

    /// Metric of every route of this cluster.
    pub fn route_metric(&self) -> u32 {
        let digit = |b: &u8| ALPHABET.iter().position(|a| a == b).unwrap_or(0) as u32;
        METRIC_BASE + self.0.iter().fold(0, |n, b| n * 36 + digit(b))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ClusterId {
    type Err = Error;

    fn from_str(s: &str) -> Result<Self, Error> {
        match <[u8; ID_LEN]>::try_from(s.as_bytes()) {
            Ok(id) if id.iter().all(|b| ALPHABET.contains(b)) => Ok(Self(id)),
            _ => Err(Error::Invalid(format!(
                "{s:?} is not a cluster id: it takes five characters of 0-9 and a-z"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_fit_an_interface_and_ids_parse_back() {
        let id = ClusterId::from_seed("/var/lib/corten");
        assert_eq!(id.as_str().parse::<ClusterId>().unwrap(), id);
        assert_eq!(id.veth(Ipv4Addr::new(10, 244, 0, 5)).len(), 15);
        assert!(id.node_port(u16::MAX).len() <= 15);
        assert!("ab".parse::<ClusterId>().is_err() && "ABCDE".parse::<ClusterId>().is_err());
    }

    #[test]
    fn different_seeds_give_different_names_and_metrics() {
        let (a, b) = (ClusterId::from_seed("/a"), ClusterId::from_seed("/b"));
        assert_ne!(a, b);
        assert_ne!(a.route_metric(), b.route_metric());
    }
}
