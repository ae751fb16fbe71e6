//! `cargo xtask codegen`: turns the facts of the Kubernetes API (shared/kubernetes) into the compact tables that the
//! schema crate embeds, and the recorded requests into what its tests repeat. Tables are tab-separated text, one record a line, so that a diff can be read.

mod recorded;
mod resources;
mod types;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

const TARGET: &str = "crates/schema/src/generated";

/// Reads the facts under `CORTEN_SHARED` (default `../shared`) and writes the tables.
pub fn run() -> Result<()> {
    let facts = facts_dir();
    let schema = read_json(&facts.join("schema.json"))?;
    let discovery = read_json(&facts.join("oracle/discovery.json"))?;
    let columns = read_json(&facts.join("oracle/tables.json"))?;
    write("types.tsv", &types::render(&schema)?)?;
    write("resources.tsv", &resources::render(&discovery, &columns)?)?;
    let cases = facts.join("oracle/cases.jsonl");
    let cases = fs::read_to_string(&cases).with_context(|| format!("reading {}", cases.display()))?;
    let recorded = workspace().join("crates/apiserver/tests/data/recorded.jsonl");
    fs::write(&recorded, recorded::render(&cases)?).with_context(|| format!("writing {}", recorded.display()))
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn facts_dir() -> PathBuf {
    let shared =
        std::env::var_os("CORTEN_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    shared.join("kubernetes")
}

fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parsing {}", path.display()))
}

fn write(name: &str, text: &str) -> Result<()> {
    let path = workspace().join(TARGET).join(name);
    fs::create_dir_all(workspace().join(TARGET))?;
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
    println!(
        "{name}: {} lines, {} KiB",
        text.lines().count(),
        text.len() / 1024
    );
    Ok(())
}

/// A string member, empty when absent.
fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// A list of strings joined by commas.
fn joined(value: &Value) -> String {
    let items = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    items.collect::<Vec<_>>().join(",")
}
