//! What corten and its keeper say to each other: length-prefixed JSON over a unix socket, descriptors beside it.
//!
//! A frame is a little-endian u32 length and that many bytes. Descriptors arrive in the order in which the frames that
//! need them do; each request says by its kind how many are its own.

use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// The longest frame either side accepts; command lines and environments travel in files, not here.
pub const MAX_FRAME: usize = 4 << 20;
/// Raised when a frame's meaning changes; corten and keeper of different versions meet during an upgrade.
pub const VERSION: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
pub struct Call {
    pub seq: u64,
    pub request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Answered with [`Reply::Snapshot`]; from then on this connection gets events.
    Hello,
    /// Starts the container whose launch file is in `bundle`.
    Start(Start),
    /// Runs a command in a running container. Without `tty` three descriptors come along: its stdin, stdout, stderr.
    Exec(Exec),
    /// Sends what the container writes from now on to two descriptors that come along (stdout, stderr).
    /// The reply carries the container's stdin (or terminal) where it has one and `stdin` is asked for.
    Attach {
        id: String,
        stdin: bool,
    },
    /// Starts the process that holds a sandbox's shared PID namespace and reaps its orphans.
    SandboxInit {
        id: String,
        cgroup: String,
    },
    /// To a container, an exec session or a sandbox init. Negative exec pids: its whole process group.
    Signal {
        id: String,
        signal: i32,
        group: bool,
    },
    Resize {
        id: String,
        width: u16,
        height: u16,
    },
    CloseStdin {
        id: String,
    },
    ReopenLog {
        id: String,
    },
    /// Forgets an ended container, exec session or sandbox init.
    Forget {
        id: String,
    },
    /// Ends the keeper. Refused while a container runs.
    Shutdown,
}

impl Request {
    /// How many descriptors come with it.
    pub fn fd_count(&self) -> usize {
        match self {
            Request::Exec(exec) if !exec.tty => 3,
            Request::Attach { .. } => 2,
            _ => 0,
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    pub id: String,
    pub bundle: PathBuf,
    pub log_path: Option<PathBuf>,
    pub tty: bool,
    pub stdin: bool,
    pub cgroup: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Exec {
    pub id: String,
    pub container: String,
    pub args: Vec<String>,
    pub tty: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub enum Reply {
    Done,
    Snapshot(Snapshot),
    Started {
        pid: i32,
        started_at_ns: i64,
    },
    /// One descriptor comes along when `fd` is set.
    Attached {
        fd: bool,
    },
    /// One descriptor (the terminal) comes along when `fd` is set.
    ExecStarted {
        pid: i32,
        fd: bool,
    },
    Failed {
        message: String,
    },
}

impl Reply {
    pub fn fd_count(&self) -> usize {
        match self {
            Reply::Attached { fd } | Reply::ExecStarted { fd, .. } => usize::from(*fd),
            _ => 0,
        }
    }
}

/// Everything the keeper holds, with the number of the last event that is part of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Snapshot {
    pub version: u32,
    pub pid: i32,
    pub last_event: u64,
    pub containers: Vec<ContainerState>,
    pub sandbox_inits: Vec<(String, i32)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerState {
    pub id: String,
    pub pid: i32,
    pub started_at_ns: i64,
    pub exit: Option<Exit>,
}

/// How a container or exec session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    pub code: i32,
    pub signal: Option<i32>,
    pub oom_killed: bool,
    pub at_ns: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub number: u64,
    pub what: Ended,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Ended {
    Container { id: String, exit: Exit },
    Exec { id: String, exit: Exit },
    SandboxInit { id: String },
}

/// From the keeper.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Reply { seq: u64, reply: Reply },
    Event(Event),
}

/// Puts bytes together into frames, and keeps the descriptors that came with them.
#[derive(Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    pub fds: VecDeque<OwnedFd>,
}

impl Inbox {
    /// One receive into the buffer. False: the peer closed. WouldBlock is an error.
    pub fn fill(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        let mut buffer = [0u8; 16 << 10];
        let mut fds = Vec::new();
        let count = corten_sys::fdpass::receive(socket, &mut buffer, &mut fds)?;
        self.bytes.extend_from_slice(&buffer[..count]);
        self.fds.extend(fds);
        Ok(count > 0)
    }

    /// The next whole frame, if it has arrived.
    pub fn next<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<T>> {
        let Some(header) = self.bytes.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_FRAME {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "frame too long"));
        }
        let Some(body) = self.bytes.get(4..4 + length) else {
            return Ok(None);
        };
        let value = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        Ok(Some(value))
    }

    pub fn take_fds(&mut self, count: usize) -> io::Result<Vec<OwnedFd>> {
        if self.fds.len() < count {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "descriptors are missing",
            ));
        }
        Ok(self.fds.drain(..count).collect())
    }
}

/// Frames that wait for the socket to take them.
#[derive(Default)]
pub struct Outbox {
    frames: VecDeque<(Vec<u8>, usize, Vec<OwnedFd>)>,
}

impl Outbox {
    pub fn push<T: Serialize>(&mut self, message: &T, fds: Vec<OwnedFd>) -> io::Result<()> {
        let body = serde_json::to_vec(message)?;
        let mut frame = Vec::with_capacity(body.len() + 4);
        frame.extend_from_slice(&(body.len() as u32).to_le_bytes());
        frame.extend_from_slice(&body);
        self.frames.push_back((frame, 0, fds));
        Ok(())
    }

    pub fn len(&self) -> usize {
        self.frames.len()
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Sends until all is gone (true) or the socket would block (false).
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        while let Some((frame, sent, fds)) = self.frames.front_mut() {
            let borrowed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
            match corten_sys::fdpass::send(socket, &frame[*sent..], &borrowed) {
                Ok(count) => {
                    *sent += count;
                    fds.clear();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if *sent == frame.len() {
                self.frames.pop_front();
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn frames_and_descriptors_arrive_in_order() {
        let (a, b) = UnixStream::pair().unwrap();
        let mut out = Outbox::default();
        let fd = || std::fs::File::open("/dev/null").unwrap().into();
        let attach = |id: &str| Call {
            seq: 1,
            request: Request::Attach {
                id: id.into(),
                stdin: true,
            },
        };
        out.push(
            &Call {
                seq: 0,
                request: Request::Hello,
            },
            vec![],
        )
        .unwrap();
        out.push(&attach("x"), vec![fd(), fd()]).unwrap();
        out.push(&attach("y"), vec![fd(), fd()]).unwrap();
        assert!(out.flush(a.as_fd()).unwrap());
        drop(a);
        let mut inbox = Inbox::default();
        while inbox.fill(b.as_fd()).unwrap() {}
        let mut total = 0;
        while let Some(call) = inbox.next::<Call>().unwrap() {
            total += inbox.take_fds(call.request.fd_count()).unwrap().len();
        }
        assert_eq!(total, 4);
    }

    #[test]
    fn a_frame_that_is_too_long_is_refused() {
        let mut inbox = Inbox {
            bytes: u32::MAX.to_le_bytes().to_vec(),
            fds: VecDeque::new(),
        };
        assert!(inbox.next::<Call>().is_err());
    }
}
