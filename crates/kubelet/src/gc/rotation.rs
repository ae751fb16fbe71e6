//! Container logs do not grow without end: at 10 MiB a file is put aside, and five of them are kept.

use crate::context::Context;
use crate::pods::Pods;
use crate::time;
use flate2::{Compression, write::GzEncoder};
use jiff::Timestamp;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Upstream's defaults: `containerLogMaxSize` and `containerLogMaxFiles`.
const MAX_BYTES: u64 = 10 << 20;
const MAX_FILES: usize = 5;

pub(super) async fn run(cx: &Arc<Context>, pods: &Arc<Pods>) {
    for snapshot in pods.snapshots() {
        for v in snapshot.view.running().filter(|v| !v.log_path.is_empty()) {
            let path = PathBuf::from(&v.log_path);
            if !fs::metadata(&path).is_ok_and(|m| m.len() > MAX_BYTES) {
                continue;
            }
            let now = time::now(&cx.clock);
            let aside = path.clone();
            let moved = tokio::task::spawn_blocking(move || put_aside(&aside, now)).await;
            match moved.map_err(io::Error::other).and_then(|r| r) {
                Ok(()) => {
                    if let Err(error) = cx.runtime.reopen_container_log(&v.id).await {
                        tracing::warn!(
                            id = v.id,
                            error = error.rpc_text(),
                            "log not reopened after rotation"
                        );
                    }
                }
                Err(error) => tracing::warn!(path = %path.display(), %error, "log not rotated"),
            }
        }
    }
}

/// Moves the file aside, compresses what was aside before, and deletes the oldest.
fn put_aside(path: &Path, now: Timestamp) -> io::Result<()> {
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let prefix = format!("{name}.");
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut aside: Vec<PathBuf> = fs::read_dir(dir)?
        .filter_map(|e| Some(e.ok()?.path()))
        .filter(|p| {
            p.file_name()
                .is_some_and(|n| n.to_string_lossy().starts_with(&prefix))
        })
        .collect();
    // Their names end in the time: they sort by age.
    aside.sort();
    for old in aside.iter().filter(|p| p.extension().is_none_or(|e| e != "gz")) {
        compress(old)?;
    }
    // The one in use and the one put aside now count, too.
    let excess = (aside.len() + 2).saturating_sub(MAX_FILES);
    for old in &aside[..excess.min(aside.len())] {
        let packed = with_gz(old);
        let target = if packed.exists() { &packed } else { old };
        fs::remove_file(target)?;
    }
    let stamp = now.strftime("%Y%m%d-%H%M%S");
    fs::rename(path, dir.join(format!("{prefix}{stamp}")))
}

fn with_gz(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".gz");
    PathBuf::from(name)
}

fn compress(path: &Path) -> io::Result<()> {
    let target = with_gz(path);
    let unfinished = with_gz(path).with_extension("tmp");
    let mut out = GzEncoder::new(File::create(&unfinished)?, Compression::default());
    io::copy(&mut File::open(path)?, &mut out)?;
    out.finish()?.sync_all()?;
    fs::rename(&unfinished, &target)?;
    fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_five_files() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("0.log");
        for n in 0..8 {
            fs::write(&log, format!("{n}")).unwrap();
            put_aside(&log, Timestamp::new(n, 0).unwrap()).unwrap();
        }
        let mut names: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        assert_eq!(
            names,
            [
                "0.log.19700101-000004.gz",
                "0.log.19700101-000005.gz",
                "0.log.19700101-000006.gz",
                "0.log.19700101-000007",
            ]
        );
    }
}
