//! Forgetting tracked UDP connections whose endpoint is gone.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use nix::errno::Errno;

use crate::error::Result;
use crate::netlink::wire::{self, NLM_F_ACK, NLM_F_DUMP};
use crate::netlink::{Attrs, Family, Messages, Socket};
use crate::proxy::{Backend, Key, StaleUdp};

const GET: u16 = (1 << 8) | 1;
const DELETE: u16 = (1 << 8) | 2;
const HEADER: [u8; 4] = [2, 0, 0, 0];
const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V4_DST: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const IPS_DST_NAT: u32 = 1 << 5;
const UDP: u8 = 17;
/// Deletions sent at once: their answers must fit the socket's receive buffer.
const MAX_DELETIONS_PER_SEND: usize = 64;

/// Connection tracking of the namespace in which it was opened.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tuple {
    src: (Ipv4Addr, u16),
    dst: (Ipv4Addr, u16),
    protocol: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    original: Tuple,
    reply: Tuple,
    translated: bool,
    id: u32,
}

impl Conntrack {
    pub fn open() -> Result<Self> {
        Ok(Self {
            socket: Socket::open(Family::Netfilter)?,
        })
    }

    /// Deletes the connections that `stale` describes. One that ended meanwhile is fine.
    pub fn forget_stale(&mut self, stale: &[StaleUdp]) -> Result<()> {
        if stale.is_empty() {
            return Ok(());
        }
        let parts = self.socket.dump("listing connections", |m| {
            m.push(GET, NLM_F_DUMP, &HEADER, |_| {})
        })?;
        let entries = parts.iter().filter_map(|p| Entry::parse(&p.payload));
        let stale: HashMap<Key, &StaleUdp> = stale.iter().map(|s| (s.key, s)).collect();
        let gone: Vec<Entry> = entries.filter(|e| is_stale(e, &stale)).collect();
        for part in gone.chunks(MAX_DELETIONS_PER_SEND) {
            let mut messages = Messages::new();
            for entry in part {
                messages.push(DELETE, NLM_F_ACK, &HEADER, |a| {
                    encode_tuple(a, &entry.original);
                    a.be32(CTA_ID, entry.id);
                });
            }
            self.socket
                .request("forgetting connections", messages, |_, e| e == Errno::ENOENT)?;
        }
        Ok(())
    }
}

/// A node port matches whatever local address was used, and only what was translated.
fn is_stale(entry: &Entry, stale: &HashMap<Key, &StaleUdp>) -> bool {
    let (ip, port) = entry.original.dst;
    let key = |ip| Key {
        ip,
        protocol: UDP,
        port,
    };
    let answers = Backend {
        ip: entry.reply.src.0,
        port: entry.reply.src.1,
    };
    let left_behind = |s: &&StaleUdp| s.keep.binary_search(&answers).is_err();
    let by_address = stale.get(&key(ip)).is_some_and(left_behind);
    let by_node_port = || entry.translated && stale.get(&key(Ipv4Addr::UNSPECIFIED)).is_some_and(left_behind);
    entry.original.protocol == UDP && (by_address || by_node_port())
}

impl Entry {
    fn parse(payload: &[u8]) -> Option<Self> {
        let body = payload.get(4..)?;
        let status = wire::attr(body, CTA_STATUS).and_then(wire::be32)?;
        Some(Entry {
            original: Tuple::parse(wire::attr(body, CTA_TUPLE_ORIG)?)?,
            reply: Tuple::parse(wire::attr(body, CTA_TUPLE_REPLY)?)?,
            translated: status & IPS_DST_NAT != 0,
            id: wire::attr(body, CTA_ID).and_then(wire::be32)?,
        })
    }
}

impl Tuple {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let ip = wire::attr(bytes, CTA_TUPLE_IP)?;
        let proto = wire::attr(bytes, CTA_TUPLE_PROTO)?;
        let addr = |kind| wire::attr(ip, kind).and_then(wire::ipv4);
        let port = |kind| wire::attr(proto, kind).and_then(wire::be16);
        Some(Tuple {
            src: (addr(CTA_IP_V4_SRC)?, port(CTA_PROTO_SRC_PORT)?),
            dst: (addr(CTA_IP_V4_DST)?, port(CTA_PROTO_DST_PORT)?),
            protocol: *wire::attr(proto, CTA_PROTO_NUM)?.first()?,
        })
    }
}

fn encode_tuple(a: &mut Attrs<'_>, tuple: &Tuple) {
    a.nest(CTA_TUPLE_ORIG, |a| {
        a.nest(CTA_TUPLE_IP, |a| {
            a.addr(CTA_IP_V4_SRC, tuple.src.0);
            a.addr(CTA_IP_V4_DST, tuple.dst.0);
        });
        a.nest(CTA_TUPLE_PROTO, |a| {
            a.u8(CTA_PROTO_NUM, tuple.protocol);
            a.be16(CTA_PROTO_SRC_PORT, tuple.src.1);
            a.be16(CTA_PROTO_DST_PORT, tuple.dst.1);
        });
    });
}
