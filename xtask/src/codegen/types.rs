//! types.tsv: every API type.
//!
//! Records: `P path group version`, then its types in name order: a struct `T name flags` followed by its fields
//! `F name type number flags list keys map strategy mergeKey default gates`, an alias `A name type`, an enum `E name closed values`.
//! In types, a named type is `package-index.Name`. Flags: k kind, a atomic struct, g granular; for fields: o omitempty,
//! p optional, r required, i inline, w repeated on the wire, a/g struct type.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use super::{joined, text};

/// Go types of upstream's machinery that no API object holds.
const LEFT_OUT: [&str; 2] = ["apimachinery/pkg/watch", "net/url"];

pub fn render(schema: &Value) -> Result<String> {
    let packages = schema["packages"].as_object().context("schema has no packages")?;
    let index: BTreeMap<&str, usize> = packages
        .keys()
        .enumerate()
        .map(|(i, path)| (path.as_str(), i))
        .collect();
    let mut out = String::new();
    for (path, package) in packages {
        writeln!(
            out,
            "P\t{path}\t{}\t{}",
            text(package, "group"),
            text(package, "version")
        )?;
        let types = package["types"].as_object().context("package without types")?;
        for (name, definition) in types.iter().filter(|(name, _)| in_objects(path, name)) {
            type_lines(&mut out, name, definition, &index)?;
        }
        for (name, values) in package["enums"].as_object().into_iter().flatten() {
            let closed = if values["closed"] == true { "c" } else { "" };
            writeln!(out, "E\t{name}\t{closed}\t{}", joined(&values["values"]))?;
        }
    }
    Ok(out)
}

/// The machinery's package holds mostly types that are never part of an object.
fn in_objects(path: &str, name: &str) -> bool {
    match path {
        "apimachinery/pkg/runtime" => ["RawExtension", "TypeMeta", "Unknown"].contains(&name),
        _ => name.starts_with(|c: char| c.is_ascii_uppercase()),
    }
}

fn type_lines(out: &mut String, name: &str, definition: &Value, index: &BTreeMap<&str, usize>) -> Result<()> {
    if let Some(alias) = definition["alias"].as_str() {
        if let Some(alias) = compact(alias, index) {
            writeln!(out, "A\t{name}\t{alias}")?;
        }
        return Ok(());
    }
    let kind = if definition["kind"] == true { "k" } else { "" };
    writeln!(out, "T\t{name}\t{kind}{}", structure(definition))?;
    for field in definition["fields"].as_array().into_iter().flatten() {
        if let (Value::Object(field), Some(shape)) = (field, compact(text(field, "type"), index)) {
            field_line(out, field, &shape)?;
        }
    }
    Ok(())
}

fn structure(value: &Value) -> &'static str {
    match text(value, "structType") {
        "atomic" => "a",
        "granular" => "g",
        _ => "",
    }
}

fn field_line(out: &mut String, map: &Map<String, Value>, shape: &str) -> Result<()> {
    let field = Value::Object(map.clone());
    let mut flags = String::new();
    for (key, flag) in [
        ("omitempty", 'o'),
        ("optional", 'p'),
        ("required", 'r'),
        ("inline", 'i'),
    ] {
        if field[key] == true {
            flags.push(flag);
        }
    }
    if field["proto"]["label"] == "rep" {
        flags.push('w');
    }
    flags.push_str(structure(&field));
    let fields = [
        text(&field, "name"),
        shape,
        &field["proto"]["number"].as_u64().unwrap_or(0).to_string(),
        &flags,
        text(&field, "listType"),
        &joined(&field["listMapKeys"]),
        text(&field, "mapType"),
        text(&field, "patchStrategy"),
        text(&field, "patchMergeKey"),
        text(&field, "default"),
        &joined(&field["featureGates"]),
    ];
    writeln!(out, "F\t{}", fields.join("\t"))?;
    Ok(())
}

/// Rewrites `[]api/core/v1#Container` as `[]26.Container`; `None` for types no API object holds.
fn compact(shape: &str, index: &BTreeMap<&str, usize>) -> Option<String> {
    let Some(hash) = shape.rfind('#') else {
        return Some(shape.to_owned());
    };
    let start = shape[..hash].rfind(['*', ']', '[']).map_or(0, |at| at + 1);
    let (before, path, name) = (&shape[..start], &shape[start..hash], &shape[hash + 1..]);
    if LEFT_OUT.contains(&path) {
        return None;
    }
    let before = compact(before, index)?;
    match index.get(path) {
        Some(at) => Some(format!("{before}{at}.{name}")),
        // `UID` and `NodeName`: strings of a package that is not among the facts.
        None if path == "apimachinery/pkg/types" => Some(format!("{before}types.{name}")),
        None => Some(format!("{before}{name}")),
    }
}
