//! CRI container log files: `<RFC 3339 time> <stream> <P|F> <content>\n`.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Longer lines are cut into pieces of this many bytes, all but the last tagged P (containerd's default).
pub const MAX_PIECE: usize = 16 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    fn name(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

/// A log file and the unfinished line of each stream.
pub struct LogFile {
    path: PathBuf,
    /// None after a failed open: output is dropped rather than the container stopped.
    file: Option<File>,
    pending: [Vec<u8>; 2],
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

impl LogFile {
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            file: Some(open(path)?),
            pending: [Vec::new(), Vec::new()],
        })
    }

    /// Opens the path anew, after someone has moved the file away.
    pub fn reopen(&mut self) -> io::Result<()> {
        self.file = Some(open(&self.path)?);
        Ok(())
    }

    /// Takes output as it comes and writes every line that is complete (or too long to wait for its end).
    pub fn write(&mut self, stream: Stream, data: &[u8], now_ns: i64) {
        let mut out = Vec::with_capacity(data.len() + 64);
        let stamp = timestamp(now_ns);
        let pending = &mut self.pending[stream as usize];
        pending.extend_from_slice(data);
        let mut start = 0;
        while start < pending.len() {
            let window = &pending[start..pending.len().min(start + MAX_PIECE + 1)];
            match window.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    entry(&mut out, &stamp, stream, b'F', &window[..end]);
                    start += end + 1;
                }
                None if window.len() > MAX_PIECE => {
                    entry(&mut out, &stamp, stream, b'P', &window[..MAX_PIECE]);
                    start += MAX_PIECE;
                }
                None => break,
            }
        }
        pending.drain(..start);
        // A hundred quiet containers must not hold on to what their loudest moment needed.
        if pending.is_empty() && pending.capacity() > MAX_PIECE {
            *pending = Vec::new();
        }
        self.put(&out);
    }

    /// Writes what is left of an unfinished line at the stream's end.
    pub fn finish(&mut self, stream: Stream, now_ns: i64) {
        let rest = std::mem::take(&mut self.pending[stream as usize]);
        if !rest.is_empty() {
            let mut out = Vec::with_capacity(rest.len() + 64);
            // As containerd: what did not end with a newline is not given one by those who read the log.
            entry(&mut out, &timestamp(now_ns), stream, b'P', &rest);
            self.put(&out);
        }
    }

    /// A full disk loses output; it must not stop the container.
    fn put(&mut self, out: &[u8]) {
        if let (Some(file), false) = (&mut self.file, out.is_empty()) {
            let _ = file.write_all(out);
        }
    }
}

fn entry(out: &mut Vec<u8>, stamp: &str, stream: Stream, tag: u8, content: &[u8]) {
    out.extend_from_slice(stamp.as_bytes());
    out.push(b' ');
    out.extend_from_slice(stream.name().as_bytes());
    out.extend_from_slice(&[b' ', tag, b' ']);
    out.extend_from_slice(content);
    out.push(b'\n');
}

/// UTC with nine digits of fraction, as Go's RFC3339Nano reads it.
pub fn timestamp(now_ns: i64) -> String {
    let (seconds, nanos) = (now_ns.div_euclid(1_000_000_000), now_ns.rem_euclid(1_000_000_000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// Year, month and day of a count of days since 1970-01-01, in the proleptic Gregorian calendar: years are counted from
/// March, so that the leap day comes last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn timestamps() {
        assert_eq!(timestamp(0), "1970-01-01T00:00:00.000000000Z");
        assert_eq!(
            timestamp(951_782_400_000_000_001),
            "2000-02-29T00:00:00.000000001Z"
        );
        assert_eq!(
            timestamp(1_795_202_687_123_456_789),
            "2026-11-20T19:24:47.123456789Z"
        );
    }

    #[test]
    fn lines_pieces_and_ends() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = LogFile::open(&path).unwrap();
        log.write(Stream::Stdout, b"one\ntwo", 0);
        log.write(Stream::Stderr, b"err\n", 0);
        log.write(Stream::Stdout, b" more\n", 0);
        let long = vec![b'x'; MAX_PIECE + 10];
        log.write(Stream::Stdout, &long, 0);
        log.finish(Stream::Stdout, 0);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .map(|line| &line["1970-01-01T00:00:00.000000000Z ".len()..])
            .collect();
        assert_eq!(&lines[..3], ["stdout F one", "stderr F err", "stdout F two more"]);
        assert!(lines[3].starts_with("stdout P xxx") && lines[3].len() == "stdout P ".len() + MAX_PIECE);
        assert_eq!(lines[4], "stdout P xxxxxxxxxx");
        std::fs::rename(&path, dir.path().join("old")).unwrap();
        log.reopen().unwrap();
        log.write(Stream::Stdout, b"new\n", 0);
        assert!(
            std::fs::read_to_string(&path)
                .unwrap()
                .ends_with("stdout F new\n")
        );
    }
}
