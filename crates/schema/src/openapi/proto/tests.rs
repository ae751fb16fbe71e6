//! Against what gnostic's own encoder makes of the same documents.
#![allow(clippy::unwrap_used)]

use super::{v2, v3};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn version_three() {
    let json = serde_json::from_str(include_str!("testdata/v3.json")).unwrap();
    assert_eq!(hex(&v3(&json)), include_str!("testdata/v3.hex").trim());
}

#[test]
fn version_two() {
    let json = serde_json::from_str(include_str!("testdata/v2.json")).unwrap();
    assert_eq!(hex(&v2(&json)), include_str!("testdata/v2.hex").trim());
}
