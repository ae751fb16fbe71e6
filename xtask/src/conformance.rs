//! `cargo xtask conformance`: writes `docs/conformance.md`, which says for each behaviour of the conformance suite what
//! covers it here, out of `docs/conformance.tsv` (id, title, tests separated by commas; none: open). Tests are named
//! `crate::file::function`; those of the end-to-end suite begin with `e2e::`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::tidy::Finding;

const TABLE: &str = "docs/conformance.tsv";
const PAGE: &str = "docs/conformance.md";

struct Row<'a> {
    id: &'a str,
    title: &'a str,
    tests: Vec<&'a str>,
}

/// Writes the page, after a look at the suite itself where the facts are at hand.
pub(crate) fn run(root: &Path) -> Result<()> {
    let table = fs::read_to_string(root.join(TABLE)).with_context(|| format!("reading {TABLE}"))?;
    let rows = rows(&table);
    let shared =
        std::env::var_os("CORTEN_SHARED").map_or_else(|| root.join("../shared"), std::path::PathBuf::from);
    match fs::read_to_string(shared.join("kubernetes/conformance.yaml")) {
        Ok(suite) => compare(&rows, &suite)?,
        Err(_) => println!("conformance: the suite is not at hand, its behaviours are not compared"),
    }
    fs::write(root.join(PAGE), page(&rows)).with_context(|| format!("writing {PAGE}"))?;
    let open = rows.iter().filter(|row| row.tests.is_empty()).count();
    println!("conformance: {} behaviours, {open} open", rows.len());
    Ok(())
}

/// Whether every named test is there, and the page says what the table does.
pub(crate) fn check(root: &Path) -> Result<Vec<Finding>> {
    let table = fs::read_to_string(root.join(TABLE)).with_context(|| format!("reading {TABLE}"))?;
    let rows = rows(&table);
    let known = tests(root);
    let mut findings = Vec::new();
    for (line, row) in rows.iter().enumerate() {
        for test in row.tests.iter().filter(|test| !known.contains(**test)) {
            findings.push(Finding {
                path: TABLE.into(),
                line: line + 1,
                message: format!("there is no test {test}"),
            });
        }
    }
    if fs::read_to_string(root.join(PAGE)).unwrap_or_default() != page(&rows) {
        findings.push(Finding {
            path: PAGE.into(),
            line: 1,
            message: "is not what the table says; run `cargo xtask conformance`".to_owned(),
        });
    }
    Ok(findings)
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let split = |line: &'_ str| -> Option<(usize, usize)> {
        let first = line.find('\t')?;
        Some((first, first + 1 + line[first + 1..].find('\t')?))
    };
    table
        .lines()
        .filter_map(|line| {
            let (first, second) = split(line)?;
            let tests = line[second + 1..].split(',').filter(|test| !test.is_empty());
            Some(Row {
                id: &line[..first],
                title: &line[first + 1..second],
                tests: tests.collect(),
            })
        })
        .collect()
}

/// A behaviour's id: its special interest group, and a hash of its name.
fn id(name: &str) -> String {
    let words: Vec<&str> = name.split_whitespace().collect();
    let name = words.join(" ");
    let group = name
        .strip_prefix("[sig-")
        .and_then(|rest| rest.split(']').next())
        .unwrap_or_default();
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
        (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{group}-{:08x}", (hash >> 32) ^ (hash & 0xffff_ffff))
}

/// The names in the suite's file: `codename: '...'`, folded over lines that are indented.
fn names(suite: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut inside = false;
    for line in suite.lines() {
        if let Some(start) = line.trim_start().strip_prefix("codename: ") {
            out.push(start.to_owned());
            inside = true;
        } else if inside && line.starts_with("    ") {
            if let Some(last) = out.last_mut() {
                *last = format!("{last} {}", line.trim());
            }
        } else {
            inside = false;
        }
    }
    let unquoted = |name: &String| match name.strip_prefix('\'').and_then(|n| n.strip_suffix('\'')) {
        Some(inner) => inner.replace("''", "'"),
        None => name
            .strip_prefix('"')
            .and_then(|n| n.strip_suffix('"'))
            .map_or_else(|| name.clone(), |inner| inner.replace("\\\"", "\"")),
    };
    out.iter().map(unquoted).collect()
}

fn compare(rows: &[Row<'_>], suite: &str) -> Result<()> {
    let wanted: BTreeMap<String, String> = names(suite).into_iter().map(|name| (id(&name), name)).collect();
    let have: BTreeSet<&str> = rows.iter().map(|row| row.id).collect();
    let missing: Vec<&String> = wanted
        .iter()
        .filter(|(id, _)| !have.contains(id.as_str()))
        .map(|(_, name)| name)
        .collect();
    let extra: Vec<&&str> = have.iter().filter(|id| !wanted.contains_key(**id)).collect();
    ensure!(
        missing.is_empty() && extra.is_empty(),
        "{TABLE} lacks {missing:#?} and has {extra:?}"
    );
    Ok(())
}

fn page(rows: &[Row<'_>]) -> String {
    let mut groups: BTreeMap<&str, Vec<&Row<'_>>> = BTreeMap::new();
    for row in rows {
        let group = row.id.rsplit_once('-').map_or(row.id, |(group, _)| group);
        groups.entry(group).or_default().push(row);
    }
    let covered = rows.iter().filter(|row| !row.tests.is_empty()).count();
    let mut out = format!(
        "# Conformance\n\nWritten by `cargo xtask conformance` from `conformance.tsv`. One row for each behaviour of upstream's conformance suite\n\
         (v1.36), under a title of our own, with the tests that cover it here. `open` is not known to fail: no test shows it yet.\n\
         {covered} of {} are covered.\n",
        rows.len()
    );
    for (group, rows) in groups {
        let covered = rows.iter().filter(|row| !row.tests.is_empty()).count();
        let _ = write!(
            out,
            "\n## {group}: {covered} of {}\n\n| behaviour | covered by | id |\n|---|---|---|\n",
            rows.len()
        );
        for row in rows {
            let tests: Vec<String> = row.tests.iter().map(|test| format!("`{test}`")).collect();
            let tests = if tests.is_empty() {
                "open".to_owned()
            } else {
                tests.join(", ")
            };
            let (_, id) = row.id.rsplit_once('-').unwrap_or_default();
            let _ = writeln!(out, "| {} | {tests} | {id} |", row.title);
        }
    }
    out
}

/// Every test of the workspace and of the end-to-end suite.
fn tests(root: &Path) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    for file in walkdir::WalkDir::new(root.join("crates"))
        .into_iter()
        .filter_map(Result::ok)
    {
        let path = file.path();
        if path.extension().is_none_or(|ext| ext != "rs") {
            continue;
        }
        let relative = path.strip_prefix(root.join("crates")).unwrap_or(path);
        let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let of = name(relative.iter().next());
        let stem = match name(relative.file_stem()) {
            stem if stem == "mod" => name(relative.parent().and_then(Path::file_name)),
            stem => stem,
        };
        let text = fs::read_to_string(path).unwrap_or_default();
        out.extend(functions(&text).map(|function| format!("{of}::{stem}::{function}")));
    }
    let suite = root.join("e2e/corten_e2e");
    for file in fs::read_dir(&suite).into_iter().flatten().filter_map(Result::ok) {
        let path = file.path();
        let stem = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let text = fs::read_to_string(&path).unwrap_or_default();
        let defined = text
            .lines()
            .filter_map(|line| line.trim_start().strip_prefix("def "));
        let defined = defined.filter_map(|rest| rest.split('(').next());
        out.extend(defined.map(|test| format!("e2e::{stem}::{test}")));
    }
    // Those that are made from tables.
    let listed = fs::read_to_string(suite.join("pods.txt")).unwrap_or_default();
    out.extend(listed.lines().map(|test| format!("e2e::test_4_pods::{test}")));
    out
}

/// Functions under a test attribute, and rows of the macros that make one test of each kind or transcript.
fn functions(text: &str) -> impl Iterator<Item = &str> {
    let mut attribute = false;
    let mut rows = false;
    let mut names = false;
    text.lines().filter_map(move |line| {
        let line = line.trim_start();
        if line.starts_with("#[") {
            attribute |= line.contains("test");
            return None;
        }
        if line.starts_with("kinds! {") {
            rows = true;
        }
        if line.starts_with("transcripts! {") {
            names = true;
            return None;
        }
        names &= line != "}";
        if names {
            return Some(line);
        }
        if rows && line.contains("/api") {
            return line.split(':').next();
        }
        let was = std::mem::take(&mut attribute);
        let (_, rest) = line.split_once("fn ")?;
        was.then(|| rest.split('(').next()).flatten()
    })
}
