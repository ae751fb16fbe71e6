//! A node's control socket: how `corten image` speaks to the one process that owns the node's images. One JSON line
//! asks; JSON lines answer, the last of them `done` or `error`. The socket is 0600 in a directory that is 0700.

use anyhow::{Context, anyhow, bail};
use corten_runtime::image::{ImageStore, Progress, ProgressFn, import};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const NAME: &str = "control.sock";
/// Questions longer than this are cut off: a path and a verb need no more.
const REQUEST_MAX: u64 = 16 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ask {
    Import(PathBuf),
    List,
    Remove(String),
}

/// One line of an answer.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Tell {
    Image { name: String, layers: usize },
    Layer { digest: String, done: u64, total: u64 },
    LayerDone { digest: String, existed: bool },
    Listed(Vec<Listed>),
    Done(Vec<String>),
    Error(String),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Listed {
    pub(crate) names: Vec<String>,
    pub(crate) id: String,
    pub(crate) size_bytes: u64,
    pub(crate) added_at: i64,
}

/// Serves a node's images on its socket, on a thread of its own, for as long as the process lives.
pub(crate) fn serve(node_dir: &Path, images: ImageStore) -> anyhow::Result<()> {
    let path = node_dir.join(NAME);
    let _ = std::fs::remove_file(&path);
    let listener = at_short_path(node_dir, |path| UnixListener::bind(path))
        .with_context(|| format!("listening on {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(move || {
            for stream in listener.incoming().flatten() {
                let images = images.clone();
                let answered = std::thread::Builder::new()
                    .name("control-answer".to_owned())
                    .spawn(move || {
                        if let Err(error) = answer(stream, &images) {
                            tracing::debug!(%error, "a control client went away");
                        }
                    });
                if let Err(error) = answered {
                    tracing::warn!(%error, "a control client was not served");
                }
            }
        })?;
    Ok(())
}

fn answer(stream: UnixStream, images: &ImageStore) -> anyhow::Result<()> {
    let mut line = String::new();
    BufReader::new(std::io::Read::take(&stream, REQUEST_MAX)).read_line(&mut line)?;
    let told = match serde_json::from_str(&line) {
        Ok(ask) => perform(ask, images, &stream).unwrap_or_else(|error| Tell::Error(format!("{error:#}"))),
        Err(error) => Tell::Error(format!("not understood: {error}")),
    };
    tell(&stream, &told)
}

fn perform(ask: Ask, images: &ImageStore, stream: &UnixStream) -> anyhow::Result<Tell> {
    match ask {
        Ask::Import(path) => {
            let stream = stream.try_clone()?;
            let progress: ProgressFn = Arc::new(move |progress| drop(tell(&stream, &progress.into())));
            let records = import(images, &path, &progress)?;
            Ok(Tell::Done(
                records
                    .iter()
                    .flat_map(|record| record.tags.iter().cloned())
                    .collect(),
            ))
        }
        Ask::List => Ok(Tell::Listed(list(images))),
        Ask::Remove(name) => {
            images.remove(&name)?;
            Ok(Tell::Done(vec![name]))
        }
    }
}

/// Every image, by its names.
pub(crate) fn list(images: &ImageStore) -> Vec<Listed> {
    let listed = images.list().into_iter().map(|record| Listed {
        names: record.tags.into_iter().collect(),
        id: record.id,
        size_bytes: record.size_bytes,
        added_at: record.added_at,
    });
    let mut listed: Vec<_> = listed.collect();
    listed.sort();
    listed
}

impl From<Progress> for Tell {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Image { name, layers } => Self::Image { name, layers },
            Progress::Layer { digest, done, total } => Self::Layer { digest, done, total },
            Progress::LayerDone { digest, existed } => Self::LayerDone { digest, existed },
        }
    }
}

fn tell(mut stream: &UnixStream, told: &Tell) -> anyhow::Result<()> {
    let mut line = serde_json::to_vec(told)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(())
}

/// Asks a node's process. `None` if none runs. `hear` gets every line but the last, which is returned.
pub(crate) fn ask(node_dir: &Path, ask: &Ask, mut hear: impl FnMut(Tell)) -> anyhow::Result<Option<Tell>> {
    let Ok(mut stream) = at_short_path(node_dir, |path| UnixStream::connect(path)) else {
        return Ok(None);
    };
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    for line in BufReader::new(stream).lines() {
        match serde_json::from_str(&line?)? {
            Tell::Error(message) => bail!(message),
            last @ (Tell::Done(_) | Tell::Listed(_)) => return Ok(Some(last)),
            told => hear(told),
        }
    }
    Err(anyhow!(
        "the node's process ended before it had answered; see its log in {}",
        node_dir.display()
    ))
}

/// A socket's path must be short (108 bytes); a data directory's need not be. So it is reached through a descriptor.
fn at_short_path<T>(directory: &Path, f: impl FnOnce(&Path) -> std::io::Result<T>) -> std::io::Result<T> {
    let directory = std::fs::File::open(directory)?;
    f(&PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(NAME))
}
