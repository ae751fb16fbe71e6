//! `corten image`: on every node of the cluster, through its process where one runs, else in its store.

use crate::cli::ImageCommand;
use crate::control::{self, Ask, Listed, Tell};
use crate::paths::Paths;
use anyhow::{Context, bail, ensure};
use corten_runtime::image::{ImageStore, import, quiet};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

pub(crate) fn run(command: ImageCommand) -> anyhow::Result<()> {
    match command {
        ImageCommand::Import { file, cluster } => import_file(&Paths::new(&cluster.data_dir)?, &file),
        ImageCommand::List { cluster } => list(&Paths::new(&cluster.data_dir)?),
        ImageCommand::Rm { image, cluster } => remove(&Paths::new(&cluster.data_dir)?, &image),
    }
}

/// Directories of the cluster's nodes.
fn nodes(paths: &Paths) -> anyhow::Result<Vec<PathBuf>> {
    let none = || {
        format!(
            "no cluster in {}; start one with `corten up --data-dir {}`",
            paths.root.display(),
            paths.root.display()
        )
    };
    let entries = std::fs::read_dir(paths.nodes()).with_context(none)?;
    let mut nodes: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    nodes.sort();
    ensure!(!nodes.is_empty(), none());
    Ok(nodes)
}

fn import_file(paths: &Paths, file: &Path) -> anyhow::Result<()> {
    let file = std::fs::canonicalize(file).with_context(|| file.display().to_string())?;
    let mut names = BTreeSet::new();
    for node in nodes(paths)? {
        let mut progress = Progress::new();
        let told = control::ask(&node, &Ask::Import(file.clone()), |told| progress.hear(&told));
        let told = told.with_context(|| format!("importing {}", file.display()))?;
        progress.end();
        match told {
            Some(Tell::Done(imported)) => names.extend(imported),
            Some(other) => bail!("the node answered with {other:?}"),
            None => {
                let records = import(&ImageStore::open(&node)?, &file, &quiet())
                    .with_context(|| format!("importing {}", file.display()))?;
                names.extend(records.into_iter().flat_map(|record| record.tags));
            }
        }
    }
    for name in names {
        println!("imported {name}");
    }
    Ok(())
}

fn list(paths: &Paths) -> anyhow::Result<()> {
    let mut images = BTreeSet::new();
    for node in nodes(paths)? {
        match control::ask(&node, &Ask::List, |_| {})? {
            Some(Tell::Listed(listed)) => images.extend(listed.into_iter().map(untimed)),
            Some(other) => bail!("the node answered with {other:?}"),
            None => images.extend(control::list(&ImageStore::open(&node)?).into_iter().map(untimed)),
        }
    }
    println!("{:<60} {:<14} {:>10}", "IMAGE", "ID", "SIZE");
    for image in images {
        let id: String = image.id.trim_start_matches("sha256:").chars().take(12).collect();
        for name in &image.names {
            println!(
                "{name:<60} {id:<14} {:>10}",
                HumanBytes(image.size_bytes).to_string()
            );
        }
    }
    Ok(())
}

/// Nodes differ in when they got an image, which makes no difference to a list.
fn untimed(mut image: Listed) -> Listed {
    image.added_at = 0;
    image
}

fn remove(paths: &Paths, image: &str) -> anyhow::Result<()> {
    let mut found = Vec::new();
    for node in nodes(paths)? {
        found.push(
            match control::ask(&node, &Ask::Remove(image.to_owned()), |_| {}) {
                Ok(Some(_)) => Ok(()),
                Ok(None) => ImageStore::open(&node)?
                    .remove(image)
                    .map_err(anyhow::Error::from),
                Err(error) => Err(error),
            },
        );
    }
    // A node that never had it does not matter where another had.
    if !found.iter().any(Result::is_ok) {
        found.into_iter().collect::<anyhow::Result<()>>()?;
    }
    println!("removed {image}");
    Ok(())
}

/// A bar on a terminal, a line for each layer elsewhere.
struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes}");
            ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar }
    }

    fn hear(&mut self, told: &Tell) {
        match (told, &self.bar) {
            (Tell::Image { name, .. }, Some(bar)) => bar.set_message(name.clone()),
            (Tell::Layer { done, total, .. }, Some(bar)) => {
                bar.set_length(*total);
                bar.set_position(*done);
            }
            (Tell::Image { name, layers }, None) => eprintln!("{name}: {layers} layers"),
            (Tell::LayerDone { digest, existed }, None) => {
                eprintln!(
                    "  {digest}: {}",
                    if *existed { "here already" } else { "unpacked" }
                );
            }
            _ => {}
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
