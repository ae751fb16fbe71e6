//! Linux capabilities by their kernel names.

use crate::error::{Error, Result};
use caps::{CapSet, Capability, CapsHashSet};
use std::collections::BTreeSet;
use std::io;
use std::str::FromStr;

/// The five sets a process is started with; names like `CAP_CHOWN`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sets {
    pub bounding: BTreeSet<String>,
    pub permitted: BTreeSet<String>,
    pub effective: BTreeSet<String>,
    pub inheritable: BTreeSet<String>,
    pub ambient: BTreeSet<String>,
}

/// Every capability this process may pass on: its bounding set.
pub fn own_bounding() -> Result<BTreeSet<String>> {
    let set = caps::read(None, CapSet::Bounding).map_err(failed)?;
    Ok(set.iter().map(|cap| cap.to_string()).collect())
}

/// `chown`, `CHOWN` and `CAP_CHOWN` to `CAP_CHOWN`; None where the kernel has no such capability.
pub fn canonical(name: &str) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") {
        upper
    } else {
        format!("CAP_{upper}")
    };
    Capability::from_str(&full).ok().map(|cap| cap.to_string())
}

/// Gives the calling thread exactly these sets. Bounding first, while CAP_SETPCAP is still there.
pub fn apply(sets: &Sets) -> Result<()> {
    for cap in caps::read(None, CapSet::Bounding).map_err(failed)? {
        if !sets.bounding.contains(&cap.to_string()) {
            caps::drop(None, CapSet::Bounding, cap).map_err(failed)?;
        }
    }
    caps::set(None, CapSet::Inheritable, &parse(&sets.inheritable)).map_err(failed)?;
    caps::set(None, CapSet::Effective, &parse(&sets.effective)).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &parse(&sets.permitted)).map_err(failed)?;
    // Kernels and sandboxes without ambient capabilities refuse even to clear them.
    let ambient = caps::set(None, CapSet::Ambient, &parse(&sets.ambient)).map_err(failed);
    if sets.ambient.is_empty() { Ok(()) } else { ambient }
}

fn parse(names: &BTreeSet<String>) -> CapsHashSet {
    names
        .iter()
        .filter_map(|name| Capability::from_str(name).ok())
        .collect()
}

fn failed(error: caps::errors::CapsError) -> Error {
    Error::new("capabilities", io::Error::other(error.to_string()))
}
