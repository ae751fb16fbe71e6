//! Netlink's wire format, both directions: 16-byte message headers, 4-byte aligned attributes, host byte order
//! unless a family says otherwise (nf_tables numbers are big-endian: `be32`). Sources: linux/netlink.h,
//! Documentation/userspace-api/netlink/intro.

use std::net::Ipv4Addr;

pub const NLM_F_REQUEST: u16 = 0x1;
pub const NLM_F_ACK: u16 = 0x4;
pub const NLM_F_DUMP: u16 = 0x300;
pub const NLM_F_REPLACE: u16 = 0x100;
pub const NLM_F_EXCL: u16 = 0x200;
pub const NLM_F_CREATE: u16 = 0x400;
pub const NLM_F_APPEND: u16 = 0x800;

pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;

const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;
const HEADER_LEN: usize = 16;

/// A run of netlink messages in one buffer, as one `sendmsg` carries them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Messages {
    buf: Vec<u8>,
    count: u32,
}

impl Messages {
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of messages so far. Message `i` carries sequence number `base + i` once sent.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Appends one message: `family` is the fixed header of the protocol family, `body` writes the attributes.
    pub fn push(&mut self, kind: u16, flags: u16, family: &[u8], body: impl FnOnce(&mut Attrs<'_>)) {
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0; 4]);
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.buf.extend_from_slice(&self.count.to_ne_bytes());
        self.buf.extend_from_slice(&[0; 4]);
        self.buf.extend_from_slice(family);
        pad(&mut self.buf);
        body(&mut Attrs { buf: &mut self.buf });
        let len = (self.buf.len() - start) as u32;
        self.buf[start..start + 4].copy_from_slice(&len.to_ne_bytes());
        self.count += 1;
    }

    /// Moves the relative sequence numbers to start at `base`.
    pub(super) fn number_from(&mut self, base: u32) {
        let mut at = 0;
        for i in 0..self.count {
            self.buf[at + 8..at + 12].copy_from_slice(&base.wrapping_add(i).to_ne_bytes());
            let len =
                u32::from_ne_bytes([self.buf[at], self.buf[at + 1], self.buf[at + 2], self.buf[at + 3]]);
            at += align(len as usize);
        }
    }
}

/// Writes attributes at the end of a message.
pub struct Attrs<'a> {
    buf: &'a mut Vec<u8>,
}

impl Attrs<'_> {
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.buf
            .extend_from_slice(&((value.len() + 4) as u16).to_ne_bytes());
        self.buf.extend_from_slice(&kind.to_ne_bytes());
        self.buf.extend_from_slice(value);
        pad(self.buf);
    }

    pub fn u8(&mut self, kind: u16, value: u8) {
        self.bytes(kind, &[value]);
    }

    pub fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    pub fn be16(&mut self, kind: u16, value: u16) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    pub fn addr(&mut self, kind: u16, value: Ipv4Addr) {
        self.bytes(kind, &value.octets());
    }

    /// A NUL-terminated string.
    pub fn str(&mut self, kind: u16, value: &str) {
        let mut bytes = Vec::with_capacity(value.len() + 1);
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
        self.bytes(kind, &bytes);
    }

    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attrs<'_>)) {
        self.nest_after(kind, &[], body);
    }

    /// A nest whose attributes follow a fixed header (`VETH_INFO_PEER` starts with an `ifinfomsg`).
    pub fn nest_after(&mut self, kind: u16, header: &[u8], body: impl FnOnce(&mut Attrs<'_>)) {
        let start = self.buf.len();
        self.buf.extend_from_slice(&[0; 2]);
        self.buf.extend_from_slice(&(kind | NLA_F_NESTED).to_ne_bytes());
        self.buf.extend_from_slice(header);
        pad(self.buf);
        body(&mut Attrs { buf: self.buf });
        let len = (self.buf.len() - start) as u16;
        self.buf[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    }
}

/// One received message.
#[derive(Debug, Clone)]
pub struct Received {
    pub kind: u16,
    pub seq: u32,
    /// Family header and attributes.
    pub payload: Vec<u8>,
}

/// Splits a datagram into messages. A malformed tail ends the iteration.
pub fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Received> + '_ {
    std::iter::from_fn(move || {
        let len = u32_at(datagram, 0)? as usize;
        if len < HEADER_LEN {
            return None;
        }
        let end = len.min(datagram.len());
        let received = Received {
            kind: u16_at(datagram, 4)?,
            seq: u32_at(datagram, 8)?,
            payload: datagram.get(HEADER_LEN..end)?.to_vec(),
        };
        datagram = datagram.get(align(len)..).unwrap_or(&[]);
        Some(received)
    })
}

/// The attributes in `bytes`, in order. A malformed one ends the iteration.
pub fn attrs(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u16_at(bytes, 0)? as usize;
        let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
        let value = bytes.get(4..len)?;
        bytes = bytes.get(align(len)..).unwrap_or(&[]);
        Some((kind, value))
    })
}

/// The first attribute of that kind.
pub fn attr(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attrs(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

pub fn be16(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(..2)?.try_into().ok()?))
}

pub fn be32(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?))
}

pub fn ipv4(bytes: &[u8]) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = bytes.try_into().ok()?;
    Some(Ipv4Addr::from(octets))
}

/// A NUL-terminated string; `None` when not UTF-8.
pub fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).ok()
}

const fn align(len: usize) -> usize {
    (len + 3) & !3
}

fn pad(buf: &mut Vec<u8>) {
    buf.resize(align(buf.len()), 0);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_message_reads_back_as_it_was_written() {
        let mut m = Messages::new();
        m.push(16, NLM_F_ACK, &[1, 0, 0, 0], |a| {
            a.str(3, "eth0");
            a.nest(18, |a| a.u32(1, 7));
        });
        m.push(20, 0, &[], |a| a.be16(5, 80));
        m.number_from(100);
        let got: Vec<_> = messages(m.bytes()).collect();
        assert_eq!(got.len(), 2);
        assert_eq!(
            (got[0].kind, got[0].seq, got[1].kind, got[1].seq),
            (16, 100, 20, 101)
        );
        let body = &got[0].payload[4..];
        assert_eq!(attr(body, 3).and_then(text), Some("eth0"));
        assert_eq!(
            attr(body, 18).and_then(|n| attr(n, 1)).and_then(|v| u32_at(v, 0)),
            Some(7)
        );
        assert_eq!(attr(&got[1].payload, 5).and_then(be16), Some(80));
    }

    #[test]
    fn malformed_bytes_end_the_iteration() {
        assert_eq!(messages(&[1, 2, 3]).count(), 0);
        assert_eq!(
            messages(&[8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).count(),
            0
        );
        assert_eq!(attrs(&[200, 0, 1, 0, 9]).count(), 0);
        assert_eq!(attrs(&[0, 0, 0, 0]).count(), 0);
    }
}
