//! A journal whose last writes a power failure has torn.
//!
//! The pages of a write that is not yet synced reach the disk in any order, and where one is missing the journal has zeros. fjall
//! drops a batch that ends early, but does not open a journal with a batch that is whole and wrong. Here as in etcd's log, a
//! batch with a sector of nothing but zeros is torn: a sync takes all that is before it in the file, so that neither the
//! batch nor anything behind it was acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// What a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// Cuts the newest journal off before its first batch that is wrong. False, and nothing done, if there is none or it is not torn.
pub(super) fn cut(store: &Path) -> io::Result<bool> {
    let Some(path) = newest_journal(store)? else {
        return Ok(false);
    };
    let mut bytes = Vec::new();
    File::open(&path)?.read_to_end(&mut bytes)?;
    let Some(wrong) = first_wrong(&bytes).filter(|batch| is_torn(&bytes, batch)) else {
        return Ok(false);
    };
    tracing::warn!(journal = %path.display(), at = wrong.start,
        "the last writes before the machine went down are incomplete and dropped; none of them was acknowledged");
    let file = OpenOptions::new().write(true).open(&path)?;
    file.set_len(wrong.start as u64)?;
    file.sync_all()?;
    Ok(true)
}

/// Journals are named by numbers that rise.
pub(super) fn newest_journal(store: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    for entry in std::fs::read_dir(store)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if path.extension().is_some_and(|extension| extension == "jnl") {
            newest = newest.max(number.map(|number| (number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

fn is_torn(bytes: &[u8], batch: &Range<usize>) -> bool {
    let first = batch.start.next_multiple_of(SECTOR_BYTES);
    let whole = bytes.get(first..batch.end).unwrap_or_default();
    whole
        .chunks_exact(SECTOR_BYTES)
        .any(|sector| sector.iter().all(|byte| *byte == 0))
}

/// Where the first batch is that has all its parts and another checksum than theirs.
fn first_wrong(bytes: &[u8]) -> Option<Range<usize>> {
    let mut at = 0;
    loop {
        let batch = Batch::read(bytes.get(at..)?)?;
        let place = at..at + batch.length;
        if !batch.right {
            return Some(place);
        }
        at = place.end;
    }
}

/// A batch as fjall 3 writes it: start, items, end; numbers are little-endian.
struct Batch {
    length: usize,
    right: bool,
}

impl Batch {
    const START: u8 = 1;
    const ITEM: u8 = 2;
    const END: u8 = 3;
    const CLEAR: u8 = 4;
    /// Tag, number of items, sequence number.
    const START_BYTES: usize = 1 + 4 + 8;
    /// Tag, type, compression, keyspace, and the lengths of key, value, and value as it is here.
    const ITEM_BYTES: usize = 3 + 8 + 2 + 4 + 4;
    /// Tag and keyspace.
    const CLEAR_BYTES: usize = 1 + 8;
    const END_MAGIC: [u8; 4] = *b"FJL\x03";

    /// `None` if it ends early: what fjall itself drops.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (start, mut rest) = bytes.split_at_checked(Self::START_BYTES)?;
        let items = match start.first() {
            Some(&Self::START) => u32::from_le_bytes(part(start, 1)?),
            _ => return None,
        };
        for _ in 0..items {
            let length = match *rest.first()? {
                Self::ITEM => {
                    let key = u16::from_le_bytes(part(rest, 11)?);
                    let value = u32::from_le_bytes(part(rest, 17)?);
                    Self::ITEM_BYTES + usize::from(key) + value as usize
                }
                Self::CLEAR => Self::CLEAR_BYTES,
                _ => return None,
            };
            rest = rest.get(length..)?;
        }
        let content = &bytes[Self::START_BYTES..bytes.len() - rest.len()];
        if *rest.first()? != Self::END || part::<4>(rest, 9)? != Self::END_MAGIC {
            return None;
        }
        let checksum = u64::from_le_bytes(part(rest, 1)?);
        Some(Self {
            length: Self::START_BYTES + content.len() + 1 + 8 + Self::END_MAGIC.len(),
            right: checksum == xxhash_rust::xxh3::xxh3_64(content),
        })
    }
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}
