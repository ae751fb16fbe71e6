//! Sends a log, and what is added to it for as long as its container runs.

use super::{Filter, Options, tail};
use bytes::Bytes;
use futures::StreamExt;
use inotify::{EventMask, Inotify, WatchMask};
use std::io::SeekFrom;
use std::path::Path;
use tokio::fs::File;
use tokio::io::{self, AsyncReadExt, AsyncSeekExt};
use tokio::sync::mpsc;

const CHUNK: usize = 64 << 10;
/// A line longer than this is not CRI's: it is let go.
const MAX_LINE: usize = 1 << 20;
const EVENTS: usize = 4096;

/// Whether the container still runs.
#[async_trait::async_trait]
pub trait Alive: Send {
    fn is_alive(&self) -> bool;
    /// Resolves when that may have changed.
    async fn changed(&mut self);
}

struct Reader {
    file: File,
    pending: Vec<u8>,
    filter: Filter,
    out: mpsc::Sender<io::Result<Bytes>>,
}

enum Step {
    More,
    End,
    /// The client has gone, or has all it wanted.
    Done,
}

impl Reader {
    /// Reads once and sends what it read.
    async fn step(&mut self) -> io::Result<Step> {
        let before = self.pending.len();
        self.pending.reserve(CHUNK);
        let read = self.file.read_buf(&mut self.pending).await?;
        if read == 0 {
            return Ok(Step::End);
        }
        let mut text = Vec::new();
        let (mut used, mut from) = (0, before);
        while let Some(at) = self.pending[from..].iter().position(|b| *b == b'\n') {
            self.filter.push(&self.pending[used..from + at], &mut text);
            used = from + at + 1;
            from = used;
            if self.filter.is_full() {
                break;
            }
        }
        self.pending.drain(..used);
        if self.pending.len() > MAX_LINE {
            self.pending.clear();
        }
        if !text.is_empty() && self.out.send(Ok(text.into())).await.is_err() {
            return Ok(Step::Done);
        }
        Ok(if self.filter.is_full() {
            Step::Done
        } else {
            Step::More
        })
    }

    /// Reads to the end of the file as it is now.
    async fn catch_up(&mut self) -> io::Result<Step> {
        loop {
            match self.step().await? {
                Step::More => {}
                other => return Ok(other),
            }
        }
    }
}

/// Sends the log at `path` until its end or, following, until its container has ended.
///
/// # Errors
/// When the log cannot be read.
pub async fn send(
    path: &Path,
    options: &Options,
    mut alive: Box<dyn Alive>,
    out: mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    // Watching starts before reading, so that nothing is missed in between.
    let watch = if options.follow { Some(watch(path)?) } else { None };
    let mut file = File::open(path).await?;
    if let Some(lines) = options.tail {
        let at = tail::start(&mut file, lines).await?;
        file.seek(SeekFrom::Start(at)).await?;
    }
    let closed = out.clone();
    let mut reader = Reader {
        file,
        pending: Vec::new(),
        filter: Filter::new(options),
        out,
    };
    let first = reader.catch_up().await?;
    let Some(mut events) = watch.filter(|_| matches!(first, Step::End)) else {
        return Ok(());
    };
    let name = path.file_name().unwrap_or_default().to_owned();
    loop {
        // What was written before the container ended is there now.
        let ended = !alive.is_alive();
        if matches!(reader.catch_up().await?, Step::Done) || ended {
            return Ok(());
        }
        tokio::select! {
            () = closed.closed() => return Ok(()),
            () = alive.changed() => {}
            event = events.next() => {
                let Some(event) = event else { return Ok(()) };
                let event = event?;
                let ours = event.name.as_ref() == Some(&name);
                if ours && event.mask.intersects(EventMask::CREATE | EventMask::MOVED_TO) {
                    // Rotated: the rest of the old file first, then the new one.
                    if matches!(reader.catch_up().await?, Step::Done) {
                        return Ok(());
                    }
                    reader.file = File::open(path).await?;
                    reader.pending.clear();
                }
            }
        }
    }
}

fn watch(path: &Path) -> io::Result<inotify::EventStream<Vec<u8>>> {
    let inotify = Inotify::init()?;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mask = WatchMask::MODIFY | WatchMask::CREATE | WatchMask::MOVED_TO | WatchMask::ONLYDIR;
    inotify.watches().add(dir, mask)?;
    inotify.into_event_stream(vec![0; EVENTS])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use tokio::sync::watch as signal;

    struct Flag(signal::Receiver<bool>);

    #[async_trait::async_trait]
    impl Alive for Flag {
        fn is_alive(&self) -> bool {
            *self.0.borrow()
        }
        async fn changed(&mut self) {
            if self.0.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    #[tokio::test]
    async fn follows_over_a_rotation_until_the_container_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let add = |text: &str| {
            let mut f = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .unwrap();
            writeln!(f, "2026-01-01T00:00:01Z stdout F {text}").unwrap();
        };
        add("old");
        add("one");
        let (alive, flag) = signal::channel(true);
        let (out, mut lines) = mpsc::channel(8);
        let options = Options {
            follow: true,
            tail: Some(1),
            ..Options::default()
        };
        let target = path.clone();
        let task = tokio::spawn(async move { send(&target, &options, Box::new(Flag(flag)), out).await });
        let mut next = async || String::from_utf8(lines.recv().await.unwrap().unwrap().to_vec()).unwrap();
        assert_eq!(next().await, "one\n");
        add("two");
        assert_eq!(next().await, "two\n");
        std::fs::rename(&path, dir.path().join("0.log.1")).unwrap();
        add("three");
        assert_eq!(next().await, "three\n");
        add("four");
        alive.send_replace(false);
        assert_eq!(next().await, "four\n");
        task.await.unwrap().unwrap();
        assert!(lines.recv().await.is_none());
    }
}
