//! A netlink socket and the messages on it. Synchronous on purpose: the kernel answers inside `sendmsg`, a
//! request costs microseconds, and a socket keeps the network namespace of the thread that opened it, so one
//! thread can serve several namespaces.

pub mod wire;

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, sockopt,
};

use crate::error::{Context, Error, Result};
pub use wire::{Attrs, Messages, Received};

/// Room for one datagram of a dump; the kernel sends at most 32 KiB at a time.
const RECEIVE_BUFFER_BYTES: usize = 64 * 1024;
/// A dump that the kernel calls inconsistent is asked again this many times.
const MAX_DUMP_ATTEMPTS: usize = 8;
const NLM_F_DUMP_INTR: u16 = 0x10;
/// The send buffer of a transaction is at least this much; the limit is per socket, so it costs nothing idle.
const MIN_SEND_BUFFER_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Route,
    Netfilter,
}

/// A netlink socket bound to the network namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    next_seq: u32,
    send_buffer: usize,
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The kernel's answer to one message: its index in what was sent, and the error if it was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub index: u32,
    pub result: std::result::Result<(), Errno>,
}

impl Socket {
    pub fn open(family: Family) -> Result<Self> {
        Self::subscribe(family, 0)
    }

    /// A socket that also receives what the kernel tells these groups (a bit each).
    pub fn subscribe(family: Family, groups: u32) -> Result<Self> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let fd = socket::socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            Some(protocol),
        )
        .context("opening a netlink socket")?;
        socket::bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups)).context("binding a netlink socket")?;
        Ok(Self {
            fd,
            next_seq: 1,
            send_buffer: 0,
        })
    }

    /// Sends all messages in one datagram and collects every answer that is there when the kernel returns.
    /// Messages without `NLM_F_ACK` are answered only when refused.
    pub fn transact(&mut self, messages: Messages) -> Result<Vec<Answer>> {
        let base = self.send(messages)?;
        let mut answers = Vec::new();
        // A refused message is echoed whole; only its first bytes matter, the rest is cut off.
        let mut buffer = [0u8; 512];
        while let Some(n) = self.receive(&mut buffer, MsgFlags::MSG_DONTWAIT)? {
            for message in wire::messages(&buffer[..n]) {
                if message.kind == wire::NLMSG_ERROR {
                    let errno = wire::u32_at(&message.payload, 0).unwrap_or(0) as i32;
                    let result = if errno == 0 {
                        Ok(())
                    } else {
                        Err(Errno::from_raw(-errno))
                    };
                    answers.push(Answer {
                        index: message.seq.wrapping_sub(base),
                        result,
                    });
                }
            }
        }
        Ok(answers)
    }

    /// Sends messages that all carry `NLM_F_ACK`; the first refusal that `accept` does not excuse is the error.
    pub fn request(
        &mut self,
        what: &str,
        messages: Messages,
        accept: impl Fn(u32, Errno) -> bool,
    ) -> Result<()> {
        let expected = messages.count() as usize;
        if expected == 0 {
            return Ok(());
        }
        let answers = self.transact(messages)?;
        for answer in &answers {
            match answer.result {
                Err(errno) if !accept(answer.index, errno) => {
                    let detail = if expected > 1 {
                        format!(" (part {})", answer.index)
                    } else {
                        String::new()
                    };
                    return Err(Error::kernel(format!("{what}{detail}"), errno));
                }
                _ => {}
            }
        }
        if answers.len() < expected {
            return Err(Error::kernel(
                format!("{what}: the kernel left a request unanswered"),
                Errno::EIO,
            ));
        }
        Ok(())
    }

    /// Asks one question that is answered by data, not by an acknowledgement.
    pub fn query(&mut self, what: &str, messages: Messages) -> Result<Vec<Received>> {
        self.send(messages)?;
        let mut parts = Vec::new();
        let mut buffer = vec![0u8; RECEIVE_BUFFER_BYTES];
        while let Some(n) = self.receive(&mut buffer, MsgFlags::MSG_DONTWAIT)? {
            for message in wire::messages(&buffer[..n]) {
                match wire::u32_at(&message.payload, 0).map(|e| e as i32) {
                    Some(errno) if message.kind == wire::NLMSG_ERROR && errno != 0 => {
                        return Err(Error::kernel(what, Errno::from_raw(-errno)));
                    }
                    _ => parts.push(message),
                }
            }
        }
        Ok(parts)
    }

    /// Asks for a dump with one message and returns its parts.
    pub fn dump(&mut self, what: &str, build: impl Fn(&mut Messages)) -> Result<Vec<Received>> {
        for _ in 0..MAX_DUMP_ATTEMPTS {
            let mut messages = Messages::new();
            build(&mut messages);
            let seq = self.send(messages)?;
            if let Some(parts) = self.collect_dump(what, seq)? {
                return Ok(parts);
            }
        }
        Err(Error::kernel(
            format!("{what}: changed under every attempt to read it"),
            Errno::EAGAIN,
        ))
    }

    fn collect_dump(&mut self, what: &str, seq: u32) -> Result<Option<Vec<Received>>> {
        let mut parts = Vec::new();
        let mut consistent = true;
        let mut buffer = vec![0u8; RECEIVE_BUFFER_BYTES];
        loop {
            let n = self.receive(&mut buffer, MsgFlags::empty())?.unwrap_or(0);
            consistent &= wire::u16_at(&buffer[..n], 6).unwrap_or(0) & NLM_F_DUMP_INTR == 0;
            for message in wire::messages(&buffer[..n]).filter(|m| m.seq == seq) {
                match message.kind {
                    wire::NLMSG_DONE => return Ok(consistent.then_some(parts)),
                    wire::NLMSG_ERROR => {
                        let errno = wire::u32_at(&message.payload, 0).unwrap_or(0) as i32;
                        return Err(Error::kernel(what, Errno::from_raw(-errno)));
                    }
                    _ => parts.push(message),
                }
            }
        }
    }

    fn send(&mut self, mut messages: Messages) -> Result<u32> {
        let base = self.next_seq;
        messages.number_from(base);
        self.next_seq = base.wrapping_add(messages.count());
        self.grow_send_buffer(messages.bytes().len())?;
        loop {
            match socket::send(self.fd.as_raw_fd(), messages.bytes(), MsgFlags::empty()) {
                Err(Errno::EINTR) => {}
                sent => {
                    return sent.map(|_| base).context("sending to netlink");
                }
            }
        }
    }

    /// The whole transaction must fit the send buffer; past the machine's limit this needs CAP_NET_ADMIN,
    /// which every other message here needs too.
    fn grow_send_buffer(&mut self, bytes: usize) -> Result<()> {
        let wanted = (bytes + 4096).max(MIN_SEND_BUFFER_BYTES).next_power_of_two();
        if wanted > self.send_buffer {
            socket::setsockopt(&self.fd, sockopt::SndBufForce, &wanted)
                .or_else(|_| socket::setsockopt(&self.fd, sockopt::SndBuf, &wanted))
                .context("growing a netlink send buffer")?;
            self.send_buffer = wanted;
        }
        Ok(())
    }

    /// Messages that have come by themselves so far. `None`: more than the socket holds, some are lost.
    pub fn pending(&self) -> Option<Vec<Received>> {
        let mut parts = Vec::new();
        let mut buffer = vec![0u8; RECEIVE_BUFFER_BYTES];
        loop {
            match self.receive(&mut buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(Some(n)) => parts.extend(wire::messages(&buffer[..n])),
                Ok(None) => return Some(parts),
                Err(_) => return None,
            }
        }
    }

    fn receive(&self, buffer: &mut [u8], flags: MsgFlags) -> Result<Option<usize>> {
        loop {
            match socket::recv(self.fd.as_raw_fd(), buffer, flags) {
                Ok(n) => return Ok(Some(n)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(Error::kernel("reading from netlink", io::Error::from(errno))),
            }
        }
    }
}
