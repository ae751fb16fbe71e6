//! Where the facts of upstream are.

use std::path::PathBuf;

use serde_json::Value;

/// `shared/kubernetes`, or what `CORTEN_SHARED` names.
pub fn dir() -> PathBuf {
    let default = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    std::env::var_os("CORTEN_SHARED")
        .map_or_else(default, PathBuf::from)
        .join("kubernetes")
}

/// The recorded requests and answers.
#[allow(dead_code)]
pub fn cases() -> Vec<Value> {
    let text = std::fs::read_to_string(dir().join("oracle/cases.jsonl")).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
}
