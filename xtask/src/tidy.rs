//! `cargo xtask tidy`: the house rules a compiler does not check. Crate arrows, file and function sizes, forbidden calls.

mod arrows;
mod sizes;
mod words;

use std::path::{Path, PathBuf};

/// A rule broken at one place: `path:line: what is wrong and what to do`.
pub(crate) struct Finding {
    pub(crate) path: PathBuf,
    pub(crate) line: usize,
    pub(crate) message: String,
}

/// Runs every check over the workspace at `root`; an error lists all findings.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let mut findings = arrows::check(root)?;
    findings.extend(crate::conformance::check(root)?);
    let files = rust_files(root);
    for path in &files {
        let text = std::fs::read_to_string(path)?;
        let relative = path.strip_prefix(root).unwrap_or(path);
        findings.extend(sizes::check(relative, &text));
        findings.extend(words::check(relative, &text));
    }
    for finding in &findings {
        eprintln!("{}:{}: {}", finding.path.display(), finding.line, finding.message);
    }
    anyhow::ensure!(
        findings.is_empty(),
        "tidy: {} findings in {} files",
        findings.len(),
        files.len()
    );
    println!("tidy: {} files, no findings", files.len());
    Ok(())
}

fn rust_files(root: &Path) -> Vec<PathBuf> {
    ["crates", "xtask"]
        .iter()
        .flat_map(|dir| walkdir::WalkDir::new(root.join(dir)).sort_by_file_name())
        .filter_map(Result::ok)
        .map(walkdir::DirEntry::into_path)
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .filter(|path| !path.components().any(|part| part.as_os_str() == "generated"))
        .collect()
}
