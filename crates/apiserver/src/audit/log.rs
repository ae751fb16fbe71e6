//! Events as JSON lines in a file that is replaced before it grows too long.
//! Rules: upstream's log backend, whose rotation is lumberjack's.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::AuditError;

/// Lines taken from the queue for one write.
const BATCH: usize = 256;

/// Where the log is and how much of it is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// The file, or `-` for standard output.
    pub path: PathBuf,
    /// A file longer than this is set aside, bytes; 0 never.
    pub max_size_bytes: u64,
    /// Files set aside are removed after this; zero never.
    pub max_age: Duration,
    /// Files set aside that are kept; 0 all.
    pub max_backups: usize,
}

impl LogOptions {
    /// Upstream's defaults: 100 MiB, 366 days, 100 files.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            max_size_bytes: 100 << 20,
            max_age: Duration::from_secs(366 * 24 * 3600),
            max_backups: 100,
        }
    }
}

/// Starts the writer; after `end` it writes what is there and ends.
pub fn start(
    options: LogOptions,
    mut events: mpsc::Receiver<Bytes>,
    lost: Arc<AtomicU64>,
    end: CancellationToken,
) -> Result<JoinHandle<()>, AuditError> {
    let mut log = Log::open(options)?;
    Ok(tokio::spawn(async move {
        loop {
            let mut lines = Vec::new();
            tokio::select! {
                biased;
                n = events.recv_many(&mut lines, BATCH) => if n == 0 { return },
                () = end.cancelled(), if !events.is_closed() => {
                    events.close();
                    continue;
                }
            }
            let lost = lost.clone();
            let written = tokio::task::spawn_blocking(move || {
                log.write_all(&lines, &lost);
                log
            });
            log = match written.await {
                Ok(log) => log,
                Err(error) => return tracing::error!(%error, "the audit log's writer ended"),
            };
        }
    }))
}

struct Log {
    options: LogOptions,
    /// None: standard output.
    file: Option<File>,
    length: u64,
}

impl Log {
    fn open(options: LogOptions) -> Result<Self, AuditError> {
        let mut log = Self {
            file: None,
            length: 0,
            options,
        };
        if log.options.path != Path::new("-") {
            let path = log.options.path.clone();
            log.reopen().map_err(|source| AuditError::File { path, source })?;
        }
        Ok(log)
    }

    fn reopen(&mut self) -> io::Result<()> {
        if let Some(dir) = self.options.path.parent().filter(|d| !d.as_os_str().is_empty()) {
            fs::create_dir_all(dir)?;
        }
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&self.options.path)?;
        self.length = file.metadata()?.len();
        self.file = Some(file);
        Ok(())
    }

    fn write_all(&mut self, lines: &[Bytes], lost: &AtomicU64) {
        for line in lines {
            if let Err(error) = self.write(line) {
                tracing::error!(%error, path = %self.options.path.display(), "audit event is not written");
                lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        let length = line.len() as u64;
        let most = self.options.max_size_bytes;
        if self.file.is_some() && most > 0 && self.length > 0 && self.length + length > most {
            self.rotate()?;
        }
        self.length += length;
        match &mut self.file {
            Some(file) => file.write_all(line),
            None => io::stdout().write_all(line),
        }
    }

    /// Sets the file aside as `NAME-TIME.EXT` and begins a new one.
    fn rotate(&mut self) -> io::Result<()> {
        let now = jiff::Timestamp::now();
        let (stem, extension) = self.name();
        let at = now.strftime("%Y-%m-%dT%H-%M-%S.%6f");
        let aside = self
            .options
            .path
            .with_file_name(format!("{stem}-{at}{extension}"));
        fs::rename(&self.options.path, aside)?;
        self.reopen()?;
        self.remove_old(now)
    }

    fn name(&self) -> (String, String) {
        let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let extension = text(self.options.path.extension());
        let dot = if extension.is_empty() { "" } else { "." };
        (text(self.options.path.file_stem()), format!("{dot}{extension}"))
    }

    fn remove_old(&self, now: jiff::Timestamp) -> io::Result<()> {
        let (stem, extension) = self.name();
        let dir = self.options.path.parent().filter(|d| !d.as_os_str().is_empty());
        let mut aside: Vec<(String, PathBuf)> = Vec::new();
        for entry in fs::read_dir(dir.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let time = name
                .strip_prefix(&format!("{stem}-"))
                .and_then(|rest| rest.strip_suffix(&extension));
            // A time begins with its year: nothing else is touched.
            if let Some(time) = time.filter(|t| t.len() >= 19 && t.starts_with(|c: char| c.is_ascii_digit()))
            {
                aside.push((time.to_owned(), entry.path()));
            }
        }
        aside.sort_by(|a, b| b.cmp(a));
        let most = self.options.max_backups;
        let age = self.options.max_age;
        let oldest = (!age.is_zero())
            .then(|| now.checked_sub(age).ok())
            .flatten()
            .map(|t| t.strftime("%Y-%m-%dT%H-%M-%S").to_string());
        for (i, (time, path)) in aside.iter().enumerate() {
            let too_old = oldest.as_ref().is_some_and(|oldest| time < oldest);
            if too_old || (most > 0 && i >= most) {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_long_file_is_set_aside_and_old_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        let options = LogOptions {
            max_size_bytes: 10,
            max_backups: 2,
            ..LogOptions::new(&path)
        };
        fs::write(dir.path().join("audit-2001-01-01T00-00-00.000000.log"), "old").unwrap();
        let mut log = Log::open(options).unwrap();
        for line in ["first 8\n", "second\n", "third\n"] {
            log.write(line.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        let names = || {
            let entries = fs::read_dir(dir.path()).unwrap();
            entries
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(names().len(), 3, "{:?}", names());
        assert!(names().iter().all(|name| !name.contains("2001")));
    }
}
