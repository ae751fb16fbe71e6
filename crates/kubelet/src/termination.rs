//! The last words of a container: its termination message file, or the end of its log.

use crate::machine::view::ContainerView;
use crate::spec::labels::{TERMINATION_PATH, TERMINATION_POLICY};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Upstream's bounds: of the file, and of the log taken in its place.
const MAX_MESSAGE: u64 = 4096;
const MAX_LOG_BYTES: usize = 2048;
const MAX_LOG_LINES: usize = 80;
/// More of the log's end than 80 lines are not looked at.
const LOG_WINDOW: u64 = 64 << 10;

/// Adds the message to what the runtime said. Reads at most a few KiB.
pub fn complete(c: &mut ContainerView) {
    let fallback = c
        .annotations
        .get(TERMINATION_POLICY)
        .is_some_and(|p| p == "FallbackToLogsOnError")
        && c.exit_code != 0
        && c.reason != "ContainerCannotRun";
    let path = c.annotations.get(TERMINATION_PATH).filter(|p| !p.is_empty());
    let mount = path.and_then(|p| c.mounts.iter().find(|m| m.container_path == *p));
    let mut message = String::new();
    let mut use_log = fallback;
    if let Some(mount) = mount {
        match read_end(Path::new(&mount.host_path), MAX_MESSAGE) {
            Ok(data) => {
                use_log = fallback && data.is_empty();
                message = String::from_utf8_lossy(&data).into_owned();
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => {
                message = format!("Error on reading termination log {}: {e}", mount.host_path);
                use_log = false;
            }
        }
    }
    if use_log {
        message = match read_end(Path::new(&c.log_path), LOG_WINDOW) {
            Ok(data) => last_lines(&data),
            Err(e) => format!("Error on reading termination message from logs: {e}"),
        };
    }
    if !message.is_empty() {
        if !c.message.is_empty() {
            c.message.push_str(": ");
        }
        c.message.push_str(&message);
    }
}

fn read_end(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    file.seek(SeekFrom::Start(len.saturating_sub(max)))?;
    let mut out = Vec::new();
    file.take(max).read_to_end(&mut out)?;
    Ok(out)
}

fn last_lines(log: &[u8]) -> String {
    let text = String::from_utf8_lossy(log);
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    for line in &lines[lines.len().saturating_sub(MAX_LOG_LINES)..] {
        // Time, stream, tag, text.
        let Some(content) = line.splitn(4, ' ').nth(3) else {
            continue;
        };
        out.push_str(content);
        if line.split(' ').nth(2) == Some("F") {
            out.push('\n');
        }
    }
    let start = out.len().saturating_sub(MAX_LOG_BYTES);
    let start = (start..=out.len())
        .find(|i| out.is_char_boundary(*i))
        .unwrap_or(0);
    out.split_off(start)
}

#[cfg(test)]
mod tests {
    use super::last_lines;

    #[test]
    fn logs_without_their_columns() {
        let log = b"2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:00Z stderr P tw\n2026-01-01T00:00:00Z stderr F o\n";
        assert_eq!(last_lines(log), "one\ntwo\n");
    }
}
