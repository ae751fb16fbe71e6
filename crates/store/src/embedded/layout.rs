//! How keys, states and changes lie on disk.
//!
//! - `kv`: one row per state of a key, `key 00 revision` → flags, create revision, version, lease, value.
//!   Rows never change; a delete adds a tombstone row.
//! - `log`: one row per revision → what it changed and which row each change superseded. Watches resume from it, and
//!   compaction knows from it exactly which `kv` rows nobody can ask for any more.
//! - `leases`: lease id → time to live, end.
//! - `meta`: `compacted` → revision.
//!
//! Numbers are big-endian, so that byte order is numeric order.

use bytes::Bytes;

use crate::api::{Error, EventKind, KEY_BYTES_MAX, KeyValue, Result};

pub(super) const COMPACTED: &[u8] = b"compacted";
/// The engine's own format; a data directory of another one is refused.
pub(super) const FORMAT: &[u8] = b"format";
pub(super) const FORMAT_VERSION: &[u8] = b"1";

const REVISION_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + 3 * 8;
const TOMBSTONE: u8 = 1;

/// Where a key stands, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub create_revision: u64,
    pub mod_revision: u64,
    pub version: u64,
    pub lease: i64,
}

/// One change as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub kind: EventKind,
    pub key: Bytes,
    /// Mod revision of the state it superseded; 0 for none.
    pub prev: u64,
}

/// Rows are ordered by key because no key contains the separator.
pub(super) fn check_key(key: &[u8]) -> Result<()> {
    match key {
        [] => Err(Error::Invalid("key is empty")),
        key if key.len() > KEY_BYTES_MAX => Err(Error::Invalid("key is too long")),
        key if key.contains(&0) => Err(Error::Invalid("key contains a zero byte")),
        _ => Ok(()),
    }
}

pub(super) fn row_key(key: &[u8], revision: u64) -> Vec<u8> {
    let mut row = Vec::with_capacity(key.len() + 1 + REVISION_BYTES);
    row.extend_from_slice(key);
    row.push(0);
    row.extend_from_slice(&revision.to_be_bytes());
    row
}

/// The row before which every row of smaller keys lies, and no other.
/// A bound with a zero byte lies just behind the key that its head spells.
pub(super) fn row_bound(bound: &[u8]) -> Vec<u8> {
    match bound.iter().position(|byte| *byte == 0) {
        Some(end) => {
            let mut row = bound[..end].to_vec();
            row.push(0);
            row.extend_from_slice(&[u8::MAX; REVISION_BYTES + 1]);
            row
        }
        None => bound.to_vec(),
    }
}

/// Key and revision of a `kv` row.
pub(super) fn split_row_key(row: &[u8]) -> Result<(&[u8], u64)> {
    let (head, revision) = row.split_last_chunk::<REVISION_BYTES>().ok_or_else(damaged)?;
    let (separator, key) = head.split_last().ok_or_else(damaged)?;
    if *separator != 0 {
        return Err(damaged());
    }
    Ok((key, u64::from_be_bytes(*revision)))
}

pub(super) fn put_row(meta: &Meta, value: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(HEADER_BYTES + value.len());
    row.push(0);
    row.extend_from_slice(&meta.create_revision.to_be_bytes());
    row.extend_from_slice(&meta.version.to_be_bytes());
    row.extend_from_slice(&meta.lease.to_be_bytes());
    row.extend_from_slice(value);
    row
}

pub(super) fn tombstone_row() -> Vec<u8> {
    vec![TOMBSTONE]
}

/// The state a `kv` row holds; `None` for a tombstone.
pub(super) fn decode_row(revision: u64, row: &[u8]) -> Result<Option<(Meta, &[u8])>> {
    if row.first() == Some(&TOMBSTONE) {
        return Ok(None);
    }
    let (header, value) = row.split_first_chunk::<HEADER_BYTES>().ok_or_else(damaged)?;
    let meta = Meta {
        create_revision: number(&header[1..9])?,
        mod_revision: revision,
        version: number(&header[9..17])?,
        lease: number(&header[17..25])? as i64,
    };
    Ok(Some((meta, value)))
}

pub(super) fn key_value(key: &[u8], meta: &Meta, value: &[u8]) -> KeyValue {
    KeyValue {
        key: Bytes::copy_from_slice(key),
        value: Bytes::copy_from_slice(value),
        create_revision: meta.create_revision,
        mod_revision: meta.mod_revision,
        version: meta.version,
        lease: meta.lease,
    }
}

pub(super) fn log_row(changes: &[Change]) -> Vec<u8> {
    let mut row = Vec::with_capacity(changes.iter().map(|change| change.key.len() + 11).sum());
    for change in changes {
        row.push(u8::from(change.kind == EventKind::Delete));
        row.extend_from_slice(&(change.key.len() as u16).to_be_bytes());
        row.extend_from_slice(&change.key);
        row.extend_from_slice(&change.prev.to_be_bytes());
    }
    row
}

pub(super) fn decode_log_row(mut row: &[u8]) -> Result<Vec<Change>> {
    let mut changes = Vec::new();
    while let Some(([kind, high, low], rest)) = row.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let (key, rest) = rest.split_at_checked(len).ok_or_else(damaged)?;
        let (prev, rest) = rest.split_first_chunk::<8>().ok_or_else(damaged)?;
        let kind = if *kind == 0 {
            EventKind::Put
        } else {
            EventKind::Delete
        };
        changes.push(Change {
            kind,
            key: Bytes::copy_from_slice(key),
            prev: u64::from_be_bytes(*prev),
        });
        row = rest;
    }
    if row.is_empty() {
        Ok(changes)
    } else {
        Err(damaged())
    }
}

pub(super) fn lease_row(ttl_ms: u64, end_nanos: u64) -> Vec<u8> {
    [ttl_ms.to_be_bytes(), end_nanos.to_be_bytes()].concat()
}

/// Time to live in milliseconds, end in nanoseconds since 1970.
pub(super) fn decode_lease_row(row: &[u8]) -> Result<(u64, u64)> {
    let (ttl, end) = row.split_at_checked(8).ok_or_else(damaged)?;
    Ok((number(ttl)?, number(end)?))
}

pub(super) fn number(bytes: &[u8]) -> Result<u64> {
    bytes.try_into().map(u64::from_be_bytes).map_err(|_| damaged())
}

pub(super) fn damaged() -> Error {
    Error::Corrupt("a row has the wrong length".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_are_ordered_by_key_then_revision() {
        let rows = [
            row_key(b"a", 1),
            row_key(b"a", 300),
            row_key(b"a/b", 2),
            row_key(b"aa", 1),
        ];
        assert!(rows.is_sorted());
        assert_eq!(split_row_key(&rows[1]).unwrap(), (&b"a"[..], 300));
    }

    #[test]
    fn bounds_lie_between_keys() {
        // Bound "a": rows of "a" are inside a range that begins with it, outside of one that ends with it.
        assert!(row_bound(b"a") < row_key(b"a", 0));
        // Bound "a\0": just behind "a", before everything that begins with it.
        assert!(row_bound(b"a\0") > row_key(b"a", u64::MAX));
        assert!(row_bound(b"a\0") < row_key(b"a\x01", 0));
    }

    #[test]
    fn log_rows_come_back_and_damage_is_noticed() {
        let change = |kind, key: &'static str, prev| Change {
            kind,
            key: Bytes::from(key),
            prev,
        };
        let changes = [
            change(EventKind::Put, "a", 0),
            change(EventKind::Delete, "long/key", 7),
        ];
        let row = log_row(&changes);
        assert_eq!(decode_log_row(&row).unwrap(), changes);
        assert!(decode_log_row(&row[..row.len() - 1]).is_err());
    }
}
