//! Which crate may use which: the one-way doors of `ARCHITECTURE.md`, read from `cargo metadata`.

use super::Finding;
use serde_json::Value;
use std::path::Path;
use std::process::Command;

/// Each crate with the crates of this workspace it may depend on (development dependencies are free).
const MAY_USE: &[(&str, &[&str])] = &[
    ("stdx", &[]),
    ("sys", &["stdx"]),
    ("meta", &["stdx"]),
    ("schema", &["stdx", "meta"]),
    ("cel", &["stdx", "meta"]),
    ("crd", &["stdx", "meta", "schema", "cel"]),
    ("store", &["stdx"]),
    ("registry", &["stdx", "meta", "schema", "cel", "crd", "store"]),
    ("auth", &["stdx", "meta"]),
    ("webhook", &[]),
    (
        "admission",
        &["stdx", "meta", "schema", "registry", "auth", "webhook", "cel"],
    ),
    (
        "apiserver",
        &[
            "stdx", "meta", "schema", "cel", "crd", "registry", "auth", "webhook", "admission",
        ],
    ),
    ("client", &["stdx", "meta"]),
    ("scheduler", &["stdx", "meta", "client"]),
    ("controllers", &["stdx", "meta", "client"]),
    ("runtime", &["stdx", "sys"]),
    ("streams", &["stdx"]),
    (
        "kubelet",
        &["stdx", "sys", "meta", "client", "runtime", "streams"],
    ),
    ("net", &["stdx", "sys"]),
    ("dns", &["stdx"]),
    ("fuzz", &["meta", "schema"]),
];

/// Crates outside the workspace that a room must never see, and why.
const MUST_NOT_USE: &[(&str, &str, &str)] = &[
    (
        "store",
        "serde_json",
        "the store knows bytes, keys and revisions only",
    ),
    (
        "net",
        "kube",
        "the network receives a desired-state value and never reads the API",
    ),
    ("dns", "kube", "DNS receives records and never reads the API"),
    ("runtime", "kube", "the runtime knows CRI only"),
    ("registry", "kube", "the server never goes through typed structs"),
    ("apiserver", "kube", "the server never goes through typed structs"),
];

pub(super) fn check(root: &Path) -> anyhow::Result<Vec<Finding>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1"])
        .current_dir(root)
        .output()?;
    anyhow::ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    Ok(packages.iter().flat_map(check_package).collect())
}

fn check_package(package: &Value) -> Vec<Finding> {
    let name = package["name"].as_str().unwrap_or_default();
    if name == "corten" || name == "xtask" {
        return Vec::new();
    }
    let room = name.trim_start_matches("corten-");
    let normal = package["dependencies"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let names = normal
        .iter()
        .filter(|d| d["kind"].is_null())
        .filter_map(|d| d["name"].as_str());
    names
        .filter_map(|dependency| complaint(room, dependency))
        .map(|message| Finding {
            path: format!("crates/{room}/Cargo.toml").into(),
            line: 1,
            message,
        })
        .collect()
}

fn complaint(room: &str, dependency: &str) -> Option<String> {
    if let Some(reason) = MUST_NOT_USE
        .iter()
        .find(|(r, d, _)| *r == room && *d == dependency)
    {
        return Some(format!("{room} must not use {dependency}: {}", reason.2));
    }
    let other = dependency.strip_prefix("corten-")?;
    let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
        return Some(format!(
            "{room} has no row in xtask/src/tidy/arrows.rs; add it with the crates it may use"
        ));
    };
    (!allowed.contains(&other)).then(|| format!("{room} must not use {other} (see ARCHITECTURE.md, arrows)"))
}
