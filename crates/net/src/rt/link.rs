//! Interfaces.

use std::os::fd::RawFd;

use super::{AF_INET, RTM_DELLINK, RTM_GETLINK, RTM_NEWLINK};
use crate::netlink::wire::{self, NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use crate::netlink::{Attrs, Messages};

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_GROUP: u16 = 27;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET_CONF: u16 = 1;
const IFF_UP: u32 = 1;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

/// linux/ip.h, `IPV4_DEVCONF_*`: what `/proc/sys/net/ipv4/conf/<interface>/` calls forwarding and rp_filter.
const DEVCONF_FORWARDING: u16 = 1;
const DEVCONF_RP_FILTER: u16 = 8;
const DEVCONF_ROUTE_LOCALNET: u16 = 26;

/// Per-interface IPv4 settings; `None` leaves one alone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LinkConf {
    pub forwarding: Option<bool>,
    /// 0 off, 1 strict, 2 loose (RFC 3704).
    pub rp_filter: Option<u8>,
    /// Packets from and to 127.0.0.0/8 may use it.
    pub route_localnet: Option<bool>,
}

/// An interface as the kernel reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    pub up: bool,
    pub forwarding: bool,
}

impl Link {
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let index = wire::u32_at(payload, 4)?;
        let flags = wire::u32_at(payload, 8)?;
        let mut link = Link {
            index,
            name: String::new(),
            mtu: 0,
            up: flags & IFF_UP != 0,
            forwarding: false,
        };
        for (kind, value) in wire::attrs(payload.get(16..)?) {
            match kind {
                IFLA_IFNAME => link.name = wire::text(value)?.to_owned(),
                IFLA_MTU => link.mtu = wire::u32_at(value, 0)?,
                IFLA_AF_SPEC => link.forwarding = forwarding_of(value),
                _ => {}
            }
        }
        Some(link)
    }
}

/// The kernel reports the settings as an array that starts with number 1.
fn forwarding_of(af_spec: &[u8]) -> bool {
    wire::attr(af_spec, u16::from(AF_INET))
        .and_then(|inet| wire::attr(inet, IFLA_INET_CONF))
        .and_then(|conf| wire::u32_at(conf, usize::from(DEVCONF_FORWARDING - 1) * 4))
        .is_some_and(|v| v != 0)
}

/// A veth pair whose peer is born in another namespace: moving it there afterwards costs 30 ms.
#[derive(Debug, Clone)]
pub struct Veth<'a> {
    pub name: &'a str,
    pub mac: [u8; 6],
    pub mtu: u32,
    /// Interfaces of one group (not 0) can be deleted at once.
    pub group: u32,
    /// Interface index of the bridge that the near side joins.
    pub master: Option<u32>,
    pub peer_name: &'a str,
    pub peer_mac: [u8; 6],
    /// An open descriptor of the peer's network namespace.
    pub peer_netns: RawFd,
}

/// Creates the pair, the near end up. (An end cannot come up before it has its peer, so the far one cannot.)
pub fn veth(m: &mut Messages, v: &Veth<'_>) {
    m.push(
        RTM_NEWLINK,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        &header(0, true),
        |a| {
            a.str(IFLA_IFNAME, v.name);
            a.bytes(IFLA_ADDRESS, &v.mac);
            a.u32(IFLA_MTU, v.mtu);
            a.u32(IFLA_GROUP, v.group);
            if let Some(master) = v.master {
                a.u32(IFLA_MASTER, master);
            }
            kind(a, "veth", |a| {
                a.nest_after(VETH_INFO_PEER, &header(0, false), |a| {
                    a.str(IFLA_IFNAME, v.peer_name);
                    a.bytes(IFLA_ADDRESS, &v.peer_mac);
                    a.u32(IFLA_MTU, v.mtu);
                    a.u32(IFLA_NET_NS_FD, v.peer_netns as u32);
                });
            });
        },
    );
}

/// Creates a bridge, up. Given an address, it keeps it; else it changes with the ports, and neighbours lose it.
pub fn bridge(m: &mut Messages, name: &str, mac: [u8; 6]) {
    m.push(
        RTM_NEWLINK,
        NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL,
        &header(0, true),
        |a| {
            a.str(IFLA_IFNAME, name);
            a.bytes(IFLA_ADDRESS, &mac);
            kind(a, "bridge", |_| {});
        },
    );
}

/// Brings an interface up and sets its IPv4 settings: through netlink, since `/proc/sys/net` would show the
/// namespace of whichever thread opens it.
pub fn set_link(m: &mut Messages, index: u32, conf: LinkConf) {
    change(m, index, true, conf);
}

/// Sets the IPv4 settings and leaves the rest of the interface as it is.
pub fn set_conf(m: &mut Messages, index: u32, conf: LinkConf) {
    change(m, index, false, conf);
}

fn change(m: &mut Messages, index: u32, up: bool, conf: LinkConf) {
    m.push(RTM_NEWLINK, NLM_F_ACK, &header(index, up), |a| {
        if conf == LinkConf::default() {
            return;
        }
        a.nest(IFLA_AF_SPEC, |a| {
            a.nest(u16::from(AF_INET), |a| {
                a.nest(IFLA_INET_CONF, |a| {
                    if let Some(on) = conf.forwarding {
                        a.u32(DEVCONF_FORWARDING, u32::from(on));
                    }
                    if let Some(mode) = conf.rp_filter {
                        a.u32(DEVCONF_RP_FILTER, u32::from(mode));
                    }
                    if let Some(on) = conf.route_localnet {
                        a.u32(DEVCONF_ROUTE_LOCALNET, u32::from(on));
                    }
                });
            });
        });
    });
}

pub fn delete_link(m: &mut Messages, index: u32) {
    m.push(RTM_DELLINK, NLM_F_ACK, &header(index, false), |_| {});
}

/// Deletes all interfaces of a group, in the time of one. `ENODEV` when there is none.
pub fn delete_group(m: &mut Messages, group: u32) {
    m.push(RTM_DELLINK, NLM_F_ACK, &header(0, false), |a| {
        a.u32(IFLA_GROUP, group)
    });
}

pub(super) fn get(m: &mut Messages, name: &str) {
    m.push(RTM_GETLINK, 0, &header(0, false), |a| {
        a.str(IFLA_IFNAME, name);
        a.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    });
}

fn kind(a: &mut Attrs<'_>, name: &str, data: impl FnOnce(&mut Attrs<'_>)) {
    a.nest(IFLA_LINKINFO, |a| {
        a.str(IFLA_INFO_KIND, name);
        a.nest(IFLA_INFO_DATA, data);
    });
}

/// `struct ifinfomsg`.
fn header(index: u32, up: bool) -> [u8; 16] {
    let mut h = [0; 16];
    h[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        h[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        h[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    h
}
