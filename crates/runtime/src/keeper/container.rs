//! A container as its keeper holds it: process, pipes, log, listeners.

use super::launch_file::EXIT_FILE;
use super::log::{LogFile, Stream};
use super::protocol::{ContainerState, Exit, Start};
use corten_sys::cgroup::OomSource;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a listener that does not read may hold up before it is dropped.
const LISTENER_BUFFER: usize = 1 << 20;
/// Listeners per container (`kubectl attach` sessions).
pub const MAX_LISTENERS: usize = 32;
const READ_BUFFER: usize = 64 << 10;
/// Reads per wake-up, so that one loud container does not starve the others.
const READS_PER_WAKE: usize = 8;

pub struct Container {
    pub id: String,
    pub bundle: PathBuf,
    pub pid: i32,
    pub pidfd: Option<OwnedFd>,
    pub started_at_ns: i64,
    pub exit: Option<Exit>,
    pub log: Option<LogFile>,
    /// Reading ends of stdout and stderr, or the terminal's master as the first.
    pub outputs: [Option<File>; 2],
    /// Writing end of stdin.
    pub stdin: Option<OwnedFd>,
    pub tty: bool,
    pub cgroup: String,
    pub oom: Option<OomSource>,
    pub listeners: Vec<Listener>,
}

/// An attach session's ends, by stream.
pub struct Listener {
    pub ends: [End; 2],
}

/// One pipe to a listener and what it has not taken yet.
pub struct End {
    pub file: Option<File>,
    pub pending: VecDeque<u8>,
}

impl End {
    pub fn new(fd: OwnedFd) -> Self {
        Self {
            file: Some(File::from(fd)),
            pending: VecDeque::new(),
        }
    }

    /// Writes what it can. Ends for good on errors and when too much waits.
    fn push(&mut self, data: &[u8]) {
        if self.file.is_some() {
            self.pending.extend(data);
            self.flush();
            if self.pending.len() > LISTENER_BUFFER {
                self.file = None;
            }
        }
    }

    /// True when something still waits.
    pub fn flush(&mut self) -> bool {
        while let (Some(file), false) = (&mut self.file, self.pending.is_empty()) {
            match file.write(self.pending.as_slices().0) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.file = None,
            }
        }
        false
    }
}

/// What reading an output came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Drained {
    /// Nothing more for now.
    Empty,
    /// There may be more.
    More,
    Ended,
}

pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

impl Container {
    pub fn new(start: &Start, log: Option<LogFile>, oom: Option<OomSource>) -> Self {
        Self {
            id: start.id.clone(),
            bundle: start.bundle.clone(),
            pid: 0,
            pidfd: None,
            started_at_ns: 0,
            exit: None,
            log,
            outputs: [None, None],
            stdin: None,
            tty: start.tty,
            cgroup: start.cgroup.clone(),
            oom,
            listeners: Vec::new(),
        }
    }

    pub fn state(&self) -> ContainerState {
        ContainerState {
            id: self.id.clone(),
            pid: self.pid,
            started_at_ns: self.started_at_ns,
            exit: self.exit,
        }
    }

    /// Moves what the container wrote to its log and listeners.
    pub fn drain(&mut self, which: usize) -> Drained {
        let stream = if which == 0 {
            Stream::Stdout
        } else {
            Stream::Stderr
        };
        let mut buffer = [0u8; READ_BUFFER];
        for _ in 0..READS_PER_WAKE {
            let Some(output) = &mut self.outputs[which] else {
                return Drained::Ended;
            };
            match output.read(&mut buffer) {
                Ok(count) if count > 0 => self.deliver(stream, &buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Drained::Empty,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The end, or EIO from a terminal whose last user has closed it.
                Ok(_) | Err(_) => return Drained::Ended,
            }
        }
        Drained::More
    }

    fn deliver(&mut self, stream: Stream, data: &[u8]) {
        if let Some(log) = &mut self.log {
            log.write(stream, data, now_ns());
        }
        for listener in &mut self.listeners {
            listener.ends[stream as usize].push(data);
        }
    }

    /// Closes an output that has ended.
    pub fn close_output(&mut self, which: usize) {
        let stream = if which == 0 {
            Stream::Stdout
        } else {
            Stream::Stderr
        };
        self.outputs[which] = None;
        if let Some(log) = &mut self.log {
            log.finish(stream, now_ns());
        }
    }

    /// Takes note of the end: reads out what is left, looks for an out-of-memory kill, leaves the exit file.
    pub fn ended(&mut self, code: i32, signal: Option<i32>) -> Exit {
        let oom_killed = self.oom.as_ref().is_some_and(|oom| oom.kills() > 0);
        let exit = Exit {
            code,
            signal,
            oom_killed,
            at_ns: now_ns(),
        };
        for which in 0..2 {
            while self.drain(which) == Drained::More {}
            self.close_output(which);
        }
        self.exit = Some(exit);
        self.stdin = None;
        self.pidfd = None;
        self.log = None;
        for end in self.listeners.iter_mut().flat_map(|listener| &mut listener.ends) {
            end.flush();
        }
        self.listeners.clear();
        if let Ok(text) = serde_json::to_vec(&exit) {
            let _ = std::fs::write(self.bundle.join(EXIT_FILE), text);
        }
        exit
    }

    /// A copy of what an attach session writes to: stdin or the terminal.
    pub fn input(&self) -> Option<OwnedFd> {
        match (self.tty, &self.outputs[0], &self.stdin) {
            (true, Some(master), _) => master.as_fd().try_clone_to_owned().ok(),
            (false, _, Some(stdin)) => stdin.try_clone().ok(),
            _ => None,
        }
    }
}
