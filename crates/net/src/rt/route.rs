//! Addresses, routes and neighbours.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{AF_INET, RTM_DELADDR, RTM_DELROUTE, RTM_GETROUTE, RTM_NEWADDR, RTM_NEWNEIGH, RTM_NEWROUTE};
use crate::netlink::Messages;
use crate::netlink::wire::{self, NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_PERMANENT: u16 = 0x80;
const RT_TABLE_MAIN: u8 = 254;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_LINK: u8 = 253;
const RTNH_F_ONLINK: u32 = 4;
/// Who installed a route (`ip route` shows it as `proto 99`): a number that no routing daemon has registered.
pub const PROTOCOL: u8 = 99;

/// What a route does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Unicast,
    Local,
    Unreachable,
    /// Any other (broadcast, blackhole, ...); only ever read.
    Other(u8),
}

impl Kind {
    fn number(self) -> u8 {
        match self {
            Kind::Unicast => 1,
            Kind::Local => 2,
            Kind::Unreachable => 7,
            Kind::Other(n) => n,
        }
    }

    fn from_number(n: u8) -> Self {
        match n {
            1 => Kind::Unicast,
            2 => Kind::Local,
            7 => Kind::Unreachable,
            n => Kind::Other(n),
        }
    }
}

/// An IPv4 route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Route {
    pub to: Ipv4Net,
    pub kind: Kind,
    /// 254 is the main table.
    pub table: u32,
    /// Who installed it.
    pub protocol: u8,
    pub metric: u32,
    pub gateway: Option<Ipv4Addr>,
    pub interface: Option<u32>,
    /// Source address of this machine's own packets on this route.
    pub source: Option<Ipv4Addr>,
    /// The gateway is on the link although no route says so.
    pub onlink: bool,
}

impl Route {
    /// A route of ours in the main table, by way of nothing yet.
    pub fn to(to: Ipv4Net, kind: Kind, metric: u32) -> Self {
        Self {
            to,
            kind,
            table: u32::from(RT_TABLE_MAIN),
            protocol: PROTOCOL,
            metric,
            gateway: None,
            interface: None,
            source: None,
            onlink: false,
        }
    }

    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let header = payload.get(..12)?;
        if header[0] != AF_INET {
            return None;
        }
        let mut dst = Ipv4Addr::UNSPECIFIED;
        let mut route = Route::to(Ipv4Net::new(dst, 0).ok()?, Kind::from_number(header[7]), 0);
        route.table = u32::from(header[4]);
        route.protocol = header[5];
        route.onlink = wire::u32_at(header, 8)? & RTNH_F_ONLINK != 0;
        for (kind, value) in wire::attrs(payload.get(12..)?) {
            match kind {
                RTA_DST => dst = wire::ipv4(value)?,
                RTA_OIF => route.interface = wire::u32_at(value, 0),
                RTA_GATEWAY => route.gateway = wire::ipv4(value),
                RTA_PRIORITY => route.metric = wire::u32_at(value, 0)?,
                RTA_PREFSRC => route.source = wire::ipv4(value),
                RTA_TABLE => route.table = wire::u32_at(value, 0)?,
                _ => {}
            }
        }
        route.to = Ipv4Net::new(dst, header[1]).ok()?;
        Some(route)
    }
}

fn push_route(m: &mut Messages, kind: u16, flags: u16, r: &Route) {
    let direct = r.kind == Kind::Unicast && r.gateway.is_none();
    let scope = if direct { RT_SCOPE_LINK } else { RT_SCOPE_UNIVERSE };
    let mut header = [
        AF_INET,
        r.to.prefix_len(),
        0,
        0,
        RT_TABLE_MAIN,
        r.protocol,
        scope,
        r.kind.number(),
        0,
        0,
        0,
        0,
    ];
    if r.onlink {
        header[8..].copy_from_slice(&RTNH_F_ONLINK.to_ne_bytes());
    }
    m.push(kind, flags | NLM_F_ACK, &header, |a| {
        a.addr(RTA_DST, r.to.network());
        a.u32(RTA_PRIORITY, r.metric);
        if let Some(gateway) = r.gateway {
            a.addr(RTA_GATEWAY, gateway);
        }
        if let Some(interface) = r.interface {
            a.u32(RTA_OIF, interface);
        }
        if let Some(source) = r.source {
            a.addr(RTA_PREFSRC, source);
        }
    });
}

/// Adds a route or replaces the one with its destination and metric.
pub fn replace_route(m: &mut Messages, r: &Route) {
    push_route(m, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, r);
}

pub fn delete_route(m: &mut Messages, r: &Route) {
    push_route(m, RTM_DELROUTE, 0, r);
}

pub(super) fn get(m: &mut Messages, to: Ipv4Addr) {
    let header = [AF_INET, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    m.push(RTM_GETROUTE, 0, &header, |a| a.addr(RTA_DST, to));
}

/// An IPv4 address on an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    pub net: Ipv4Net,
    pub interface: u32,
    /// At most 15 bytes, starting with the interface's name.
    pub label: Option<String>,
}

impl Address {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let prefix = *payload.get(1)?;
        let interface = wire::u32_at(payload, 4)?;
        let (mut local, mut label) = (None, None);
        for (kind, value) in wire::attrs(payload.get(8..)?) {
            match kind {
                IFA_LOCAL => local = wire::ipv4(value),
                IFA_ADDRESS => local = local.or_else(|| wire::ipv4(value)),
                IFA_LABEL => label = wire::text(value).map(str::to_owned),
                _ => {}
            }
        }
        Some(Address {
            net: Ipv4Net::new(local?, prefix).ok()?,
            interface,
            label,
        })
    }
}

fn push_address(m: &mut Messages, kind: u16, flags: u16, address: &Address) {
    let mut header = [
        AF_INET,
        address.net.prefix_len(),
        0,
        RT_SCOPE_UNIVERSE,
        0,
        0,
        0,
        0,
    ];
    header[4..].copy_from_slice(&address.interface.to_ne_bytes());
    m.push(kind, flags | NLM_F_ACK, &header, |a| {
        a.addr(IFA_LOCAL, address.net.addr());
        a.addr(IFA_ADDRESS, address.net.addr());
        if let Some(label) = &address.label {
            a.str(IFA_LABEL, label);
        }
    });
}

/// Adds an address, or leaves it as it is where it exists.
pub fn address(m: &mut Messages, address: &Address) {
    push_address(m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, address);
}

pub fn delete_address(m: &mut Messages, address: &Address) {
    push_address(m, RTM_DELADDR, 0, address);
}

/// A neighbour that never has to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    pub interface: u32,
    pub address: Ipv4Addr,
    pub mac: [u8; 6],
}

pub fn neighbour(m: &mut Messages, n: &Neighbour) {
    let mut header = [AF_INET, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&n.interface.to_ne_bytes());
    header[8..10].copy_from_slice(&NUD_PERMANENT.to_ne_bytes());
    m.push(
        RTM_NEWNEIGH,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE,
        &header,
        |a| {
            a.addr(NDA_DST, n.address);
            a.bytes(NDA_LLADDR, &n.mac);
        },
    );
}
