//! Addresses of one node's pods: which are taken, by which sandbox, and which comes next. Round-robin, so that an
//! address rests as long as possible before the next pod gets it.
//!
//! The pool is a directory with one symbolic link per sandbox, whose target is the address, and `.last`. Making or
//! removing a link is one atomic system call that writes no data (replacing a file would make ext4 flush it), so
//! the death of this process at any point leaves either state. After a reboot there is no pod left that the
//! directory could be wrong about.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use crate::error::{Context, Error, Result};

/// Where the search for the next free address starts, after this one.
const LAST: &str = ".last";
const NEW_LAST: &str = ".last.new";

/// The pool and its directory.
#[derive(Debug)]
pub struct Ipam {
    dir: PathBuf,
    pod_cidr: Ipv4Net,
    last: Ipv4Addr,
    pods: BTreeMap<String, Ipv4Addr>,
    used: BTreeSet<Ipv4Addr>,
}

impl Ipam {
    /// Reads the directory, made when missing. What is not an address of `pod_cidr` (any more) is removed.
    pub fn open(dir: PathBuf, pod_cidr: Ipv4Net) -> Result<Self> {
        std::fs::create_dir_all(&dir).with_context(|| format!("creating {}", dir.display()))?;
        let mut pods = BTreeMap::new();
        let entries = std::fs::read_dir(&dir).with_context(|| format!("reading {}", dir.display()))?;
        for entry in entries {
            let path = entry
                .with_context(|| format!("reading {}", dir.display()))?
                .path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            match read(&path, pod_cidr) {
                _ if name.starts_with('.') => {}
                Some(ip) => {
                    pods.insert(name.to_owned(), ip);
                }
                None => {
                    tracing::warn!(path = %path.display(), "not an address of this node's pods: removed");
                    remove(&path)?;
                }
            }
        }
        let last = read(&dir.join(LAST), pod_cidr).unwrap_or_else(|| gateway(pod_cidr));
        let used = pods.values().copied().collect();
        Ok(Self {
            dir,
            pod_cidr,
            last,
            pods,
            used,
        })
    }

    pub fn get(&self, sandbox: &str) -> Option<Ipv4Addr> {
        self.pods.get(sandbox).copied()
    }

    pub fn sandboxes(&self) -> impl Iterator<Item = (&str, Ipv4Addr)> {
        self.pods.iter().map(|(id, ip)| (id.as_str(), *ip))
    }

    /// The sandbox's address: the one it has, or the next free one. An id must be fit for a file's name.
    pub fn allocate(&mut self, sandbox: &str) -> Result<Ipv4Addr> {
        if let Some(ip) = self.get(sandbox) {
            return Ok(ip);
        }
        if sandbox.is_empty() || sandbox.starts_with('.') || sandbox.contains(['/', '\0']) {
            return Err(Error::Invalid(format!("{sandbox:?} cannot be a sandbox id")));
        }
        let ip = self.next_free().ok_or(Error::PoolExhausted(self.pod_cidr))?;
        self.link(sandbox, ip)?;
        self.link(NEW_LAST, ip)?;
        std::fs::rename(self.dir.join(NEW_LAST), self.dir.join(LAST))
            .with_context(|| format!("writing {}", self.dir.display()))?;
        self.last = ip;
        self.used.insert(ip);
        self.pods.insert(sandbox.to_owned(), ip);
        Ok(ip)
    }

    /// Frees the sandbox's address and returns it. An unknown sandbox is fine.
    pub fn release(&mut self, sandbox: &str) -> Result<Option<Ipv4Addr>> {
        let Some(ip) = self.get(sandbox) else {
            return Ok(None);
        };
        remove(&self.dir.join(sandbox))?;
        self.pods.remove(sandbox);
        self.used.remove(&ip);
        Ok(Some(ip))
    }

    fn next_free(&self) -> Option<Ipv4Addr> {
        let first = u32::from(gateway(self.pod_cidr)) + 1;
        let end = u32::from(self.pod_cidr.broadcast());
        let start = (u32::from(self.last) + 1).clamp(first, end);
        (start..end)
            .chain(first..start)
            .map(Ipv4Addr::from)
            .find(|ip| !self.used.contains(ip))
    }

    /// Whatever an interrupted attempt left there goes first.
    fn link(&self, name: &str, ip: Ipv4Addr) -> Result<()> {
        let path = self.dir.join(name);
        remove(&path)?;
        symlink(ip.to_string(), &path).with_context(|| format!("writing {}", path.display()))
    }
}

fn read(path: &Path, pod_cidr: Ipv4Net) -> Option<Ipv4Addr> {
    let ip: Ipv4Addr = std::fs::read_link(path).ok()?.to_str()?.parse().ok()?;
    pod_cidr.contains(&ip).then_some(ip)
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
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
        Ipam::open(dir.path().join("pods"), cidr.parse().unwrap()).unwrap()
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
        let mut ipam = pool(&dir, "10.244.1.0/24");
        ipam.allocate("a").unwrap();
        ipam.allocate("b").unwrap();
        ipam.release("b").unwrap();
        let mut again = pool(&dir, "10.244.1.0/24");
        assert_eq!(
            again.sandboxes().collect::<Vec<_>>(),
            [("a", Ipv4Addr::new(10, 244, 1, 2))]
        );
        assert_eq!(again.allocate("c").unwrap(), Ipv4Addr::new(10, 244, 1, 4));
    }

    #[test]
    fn what_is_no_address_of_the_range_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        pool(&dir, "10.244.1.0/24").allocate("a").unwrap();
        std::fs::write(dir.path().join("pods/junk"), b"x").unwrap();
        symlink("10.244.1.9", dir.path().join("pods/.last.new")).unwrap();
        let mut other = pool(&dir, "10.9.0.0/24");
        assert_eq!(other.sandboxes().count(), 0);
        assert_eq!(other.allocate("b").unwrap(), Ipv4Addr::new(10, 9, 0, 2));
        assert!(!dir.path().join("pods/junk").exists());
        for bad in ["", ".last", "a/b", ".."] {
            assert!(matches!(other.allocate(bad), Err(Error::Invalid(_))));
        }
    }
}
