//! Addresses of one node's pods: which are taken, by which sandbox, and which comes next. Round-robin, so that an
//! address rests as long as possible before the next pod gets it. Every change is on disk (temporary file, then
//! rename) before it takes effect; that survives the death of this process at any point, and after a reboot no
//! pod is left that the file could be wrong about.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};

#[derive(Debug, Clone, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
struct State {
    pod_cidr: Ipv4Net,
    /// Where the search for the next free address starts, after this one.
    last: Ipv4Addr,
    /// Sandbox id to address.
    pods: BTreeMap<String, Ipv4Addr>,
}

/// The pool and its file.
#[derive(Debug)]
pub struct Ipam {
    file: PathBuf,
    state: State,
    used: BTreeSet<Ipv4Addr>,
}

impl Ipam {
    /// Reads the file, or starts empty where there is none. What is not in `pod_cidr` (any more) is forgotten.
    pub fn open(file: PathBuf, pod_cidr: Ipv4Net) -> Result<Self> {
        let empty = || State {
            pod_cidr,
            last: gateway(pod_cidr),
            pods: BTreeMap::new(),
        };
        let mut state = match std::fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|e| {
                tracing::warn!(file = %file.display(), error = %e, "unreadable address file: starting afresh");
                empty()
            }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => empty(),
            Err(e) => return Err(e).with_context(|| format!("reading {}", file.display())),
        };
        if state.pod_cidr != pod_cidr {
            tracing::warn!(was = %state.pod_cidr, now = %pod_cidr, "the node's pod range changed");
            state.pod_cidr = pod_cidr;
            state.last = gateway(pod_cidr);
            state.pods.retain(|_, ip| pod_cidr.contains(&*ip));
        }
        let used = state.pods.values().copied().collect();
        Ok(Self { file, state, used })
    }

    pub fn get(&self, sandbox: &str) -> Option<Ipv4Addr> {
        self.state.pods.get(sandbox).copied()
    }

    pub fn sandboxes(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.state.pods.iter().map(|(id, ip)| (id.as_str(), *ip))
    }

    /// The sandbox's address: the one it has, or the next free one.
    pub fn allocate(&mut self, sandbox: &str) -> Result<Ipv4Addr> {
        if let Some(ip) = self.get(sandbox) {
            return Ok(ip);
        }
        let ip = self
            .next_free()
            .ok_or(Error::PoolExhausted(self.state.pod_cidr))?;
        let mut next = self.state.clone();
        next.pods.insert(sandbox.to_owned(), ip);
        next.last = ip;
        self.commit(next)?;
        self.used.insert(ip);
        Ok(ip)
    }

    /// Frees the sandbox's address and returns it. An unknown sandbox is fine.
    pub fn release(&mut self, sandbox: &str) -> Result<Option<Ipv4Addr>> {
        let mut next = self.state.clone();
        let Some(ip) = next.pods.remove(sandbox) else {
            return Ok(None);
        };
        self.commit(next)?;
        self.used.remove(&ip);
        Ok(Some(ip))
    }

    fn next_free(&self) -> Option<Ipv4Addr> {
        let first = u32::from(gateway(self.state.pod_cidr)) + 1;
        let end = u32::from(self.state.pod_cidr.broadcast());
        let start = (u32::from(self.state.last) + 1).clamp(first, end);
        (start..end)
            .chain(first..start)
            .map(Ipv4Addr::from)
            .find(|ip| !self.used.contains(ip))
    }

    fn commit(&mut self, next: State) -> Result<()> {
        let bytes = serde_json::to_vec(&next)
            .map_err(io::Error::other)
            .context("encoding addresses")?;
        let temporary = self.file.with_extension("new");
        let write = || -> io::Result<()> {
            std::fs::File::create(&temporary)?.write_all(&bytes)?;
            std::fs::rename(&temporary, &self.file)
        };
        write().with_context(|| format!("writing {}", self.file.display()))?;
        self.state = next;
        Ok(())
    }
}

/// The node's own address in its pod range: the first usable one.
pub fn gateway(pod_cidr: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(pod_cidr.network()) + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pool(dir: &tempfile::TempDir, cidr: &str) -> Ipam {
        Ipam::open(dir.path().join("pods.json"), cidr.parse().unwrap()).unwrap()
    }

    #[test]
    fn addresses_rest_before_they_are_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut ipam = pool(&dir, "10.244.1.0/29");
        let a = ipam.allocate("a").unwrap();
        assert_eq!(a, Ipv4Addr::new(10, 244, 1, 2));
        assert_eq!(ipam.allocate("a").unwrap(), a);
        assert_eq!(ipam.release("a").unwrap(), Some(a));
        assert_eq!(ipam.release("a").unwrap(), None);
        let rest: Vec<u8> = ["b", "c", "d", "e", "f"]
            .map(|s| ipam.allocate(s).unwrap().octets()[3])
            .to_vec();
        assert_eq!(rest, [3, 4, 5, 6, 2]);
        assert!(matches!(ipam.allocate("g"), Err(Error::PoolExhausted(_))));
    }

    #[test]
    fn a_restart_goes_on_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        pool(&dir, "10.244.1.0/24").allocate("a").unwrap();
        let mut again = pool(&dir, "10.244.1.0/24");
        assert_eq!(again.get("a"), Some(Ipv4Addr::new(10, 244, 1, 2)));
        assert_eq!(again.allocate("b").unwrap(), Ipv4Addr::new(10, 244, 1, 3));
    }

    #[test]
    fn a_damaged_file_or_another_range_starts_afresh() {
        let dir = tempfile::tempdir().unwrap();
        pool(&dir, "10.244.1.0/24").allocate("a").unwrap();
        assert_eq!(pool(&dir, "10.9.0.0/24").get("a"), None);
        std::fs::write(dir.path().join("pods.json"), b"{\"podCidr\":").unwrap();
        assert_eq!(pool(&dir, "10.244.1.0/24").get("a"), None);
    }
}
