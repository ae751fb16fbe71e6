//! How little may be left of the node before it is under pressure, or tidies up: upstream's hard eviction thresholds and
//! those of image garbage collection.
//!
//! The former are written as upstream's `--eviction-hard` is: `memory.available<100Mi,nodefs.available<10%`. What is not named has no
//! threshold. Images, volumes and logs are in one file system here, so that `imagefs` is `nodefs` by another name.

use corten_meta::quantity::Quantity;
use serde::{Deserialize, Serialize};
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// All of one node.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    pub eviction_hard: EvictionHard,
    pub image_gc: ImageGc,
}

/// Upstream's `--image-gc-high-threshold` and `--image-gc-low-threshold`, in percent of the disk that are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageGc {
    /// From here on images go; at 100 never.
    pub high: u8,
    /// Down to here.
    pub low: u8,
}

impl Default for ImageGc {
    fn default() -> Self {
        Self { high: 85, low: 80 }
    }
}

impl ImageGc {
    /// Bytes to make free; `None` where there is enough.
    pub(crate) fn wanted(self, free: u64, total: u64) -> Option<u64> {
        let used = 100 - (free * 100).checked_div(total)?;
        let kept_free = total / 100 * u64::from(100 - self.low.min(100));
        (self.high < 100 && used >= u64::from(self.high)).then(|| kept_free.saturating_sub(free))
    }
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    Memory,
    Disk,
    Inodes,
}

const SIGNALS: [(&str, Signal); 5] = [
    ("memory.available", Signal::Memory),
    ("nodefs.available", Signal::Disk),
    ("nodefs.inodesFree", Signal::Inodes),
    ("imagefs.available", Signal::Disk),
    ("imagefs.inodesFree", Signal::Inodes),
];

/// In bytes or inodes, or of all there are.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Amount {
    Count(u64),
    /// 0 to 1.
    Share(f64),
}

impl Amount {
    fn of(self, capacity: u64) -> u64 {
        match self {
            Self::Count(n) => n,
            Self::Share(share) => (capacity as f64 * share) as u64,
        }
    }
}

/// The thresholds of one node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct EvictionHard {
    text: String,
    thresholds: Vec<(Signal, Amount)>,
}

/// Upstream's, but for those of `imagefs`: images are where volumes and logs are, and 10 % is what counts there.
impl Default for EvictionHard {
    fn default() -> Self {
        let (memory, disk, inodes) = (Amount::Count(100 << 20), Amount::Share(0.10), Amount::Share(0.05));
        Self {
            text: "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%".into(),
            thresholds: vec![
                (Signal::Memory, memory),
                (Signal::Disk, disk),
                (Signal::Inodes, inodes),
            ],
        }
    }
}

impl EvictionHard {
    /// How much must stay available of `capacity`; 0 without a threshold.
    pub fn floor(&self, signal: Signal, capacity: u64) -> u64 {
        let of_signal = self.thresholds.iter().filter(|(of, _)| *of == signal);
        of_signal
            .map(|(_, amount)| amount.of(capacity))
            .max()
            .unwrap_or(0)
    }

    /// Whether less than that is. Nothing is low where there is nothing: some file systems have no inodes to count.
    pub fn low(&self, signal: Signal, available: u64, capacity: u64) -> bool {
        capacity > 0 && available < self.floor(signal, capacity)
    }
}

impl FromStr for EvictionHard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut thresholds = Vec::new();
        for pair in text.split(',').filter(|p| !p.is_empty()) {
            let (name, limit) = pair
                .split_once('<')
                .ok_or_else(|| format!("{pair:?} is not SIGNAL<LIMIT such as nodefs.available<10%"))?;
            let (name, limit) = (name.trim(), limit.trim());
            let Some((_, signal)) = SIGNALS.iter().find(|(known, _)| *known == name) else {
                let known = SIGNALS.map(|(name, _)| name).join(", ");
                return Err(format!("unsupported eviction signal {name}; there are {known}"));
            };
            thresholds.extend(amount(name, limit)?.map(|amount| (*signal, amount)));
        }
        Ok(Self {
            text: text.to_owned(),
            thresholds,
        })
    }
}

/// 0% and 100% switch a threshold off, as upstream has it.
fn amount(name: &str, limit: &str) -> Result<Option<Amount>, String> {
    let Some(percent) = limit.strip_suffix('%') else {
        let bytes = Quantity::parse(limit).map_or(0, |q| q.value());
        return match u64::try_from(bytes) {
            Ok(n) if n > 0 => Ok(Some(Amount::Count(n))),
            _ => Err(format!(
                "eviction threshold {name} must be a positive quantity such as 500Mi, or a percentage: {limit:?}"
            )),
        };
    };
    match percent.parse::<f64>() {
        Ok(0.0 | 100.0) => Ok(None),
        Ok(p) if (0.0..100.0).contains(&p) => Ok(Some(Amount::Share(p / 100.0))),
        _ => Err(format!(
            "eviction percentage threshold {name} must be from 0% to 100%: {limit:?}"
        )),
    }
}

impl Display for EvictionHard {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for EvictionHard {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<EvictionHard> for String {
    fn from(thresholds: EvictionHard) -> Self {
        thresholds.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_what_it_says() {
        let default = EvictionHard::default();
        assert_eq!(default.to_string().parse(), Ok(default));
    }

    #[test]
    fn the_strictest_of_a_file_system_counts() {
        let both: EvictionHard = "nodefs.available<10%, imagefs.available<15%".parse().unwrap();
        assert_eq!(both.floor(Signal::Disk, 1000), 150);
        assert!(both.low(Signal::Disk, 149, 1000) && !both.low(Signal::Disk, 150, 1000));
        assert!(!both.low(Signal::Memory, 0, 1000), "not named, no threshold");
        assert!(!both.low(Signal::Disk, 0, 0));
    }

    #[test]
    fn quantities_and_what_switches_off() {
        let t: EvictionHard = "memory.available<1Gi,nodefs.available<0%,nodefs.inodesFree<100%"
            .parse()
            .unwrap();
        assert_eq!(t.floor(Signal::Memory, u64::MAX), 1 << 30);
        assert!(!t.low(Signal::Disk, 0, 1000) && !t.low(Signal::Inodes, 0, 1000));
        assert_eq!("".parse::<EvictionHard>().unwrap().floor(Signal::Memory, 5), 0);
    }

    #[test]
    fn images_go_from_high_to_low() {
        let gc = ImageGc::default();
        assert_eq!(gc.wanted(160, 1000), None);
        assert_eq!(gc.wanted(150, 1000), Some(50));
        assert_eq!(gc.wanted(0, 0), None);
        assert_eq!(ImageGc { high: 100, low: 80 }.wanted(0, 1000), None, "off");
    }

    #[test]
    fn what_is_refused() {
        let refused = |text: &str, reason: &str| {
            let error = text.parse::<EvictionHard>().unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        };
        refused("nodefs.available", "not SIGNAL<LIMIT");
        refused("nodefs<1%", "unsupported eviction signal nodefs;");
        refused("nodefs.available<-1%", "from 0% to 100%");
        refused("nodefs.available<101%", "from 0% to 100%");
        refused("nodefs.available<NaN%", "from 0% to 100%");
        refused("memory.available<0", "positive quantity");
        refused("memory.available<-1Gi", "positive quantity");
        refused("memory.available<much", "positive quantity");
    }
}
