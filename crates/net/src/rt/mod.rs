//! rtnetlink: links, addresses, routes and neighbours of one network namespace. Builders append a message to a
//! batch; [`Rt`] sends batches and reads state back.

mod link;
mod route;

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, RawFd};

use nix::errno::Errno;

pub use link::{Link, LinkConf, Veth, bridge, delete_group, delete_link, set_conf, set_link, veth};
pub use route::{
    Address, Kind, Neighbour, PROTOCOL, Route, address, delete_address, delete_route, neighbour,
    replace_route,
};

use crate::error::{Error, Result};
use crate::netlink::wire::NLM_F_DUMP;
use crate::netlink::{Family, Messages, Socket};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTM_NEWNEIGH: u16 = 28;

/// `RTMGRP_IPV4_ROUTE`.
const ROUTE_CHANGES: u32 = 0x40;
const AF_INET: u8 = 2;
/// `lo` is always interface 1 of a namespace.
pub const LOOPBACK_INDEX: u32 = 1;

/// rtnetlink in the network namespace of the thread that opened it.
#[derive(Debug)]
pub struct Rt {
    socket: Socket,
}

impl Rt {
    pub fn open() -> Result<Self> {
        Ok(Self {
            socket: Socket::open(Family::Route)?,
        })
    }

    /// Sends a batch; the first refusal is the error. Earlier messages of the batch stay in effect.
    pub fn apply(&mut self, what: &str, messages: Messages) -> Result<()> {
        self.socket.request(what, messages, |_, _| false)
    }

    /// As [`apply`](Self::apply), where these errors mean that there was nothing to do.
    pub fn apply_unless(&mut self, what: &str, messages: Messages, accepted: &[Errno]) -> Result<()> {
        self.socket
            .request(what, messages, |_, errno| accepted.contains(&errno))
    }

    pub fn link(&mut self, name: &str) -> Result<Option<Link>> {
        let mut messages = Messages::new();
        link::get(&mut messages, name);
        match self
            .socket
            .query(&format!("looking up interface {name}"), messages)
        {
            Ok(parts) => Ok(parts.iter().find_map(|m| Link::parse(&m.payload))),
            Err(e) if e.errno() == Some(Errno::ENODEV as i32) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// As [`link`](Self::link), where absence is an error.
    pub fn require_link(&mut self, name: &str) -> Result<Link> {
        let found = self.link(name)?;
        found.ok_or_else(|| Error::kernel(format!("looking up interface {name}"), Errno::ENODEV))
    }

    pub fn links(&mut self) -> Result<Vec<Link>> {
        let parts = self.socket.dump("listing interfaces", |m| {
            m.push(RTM_GETLINK, NLM_F_DUMP, &[0; 16], |_| {})
        })?;
        Ok(parts.iter().filter_map(|m| Link::parse(&m.payload)).collect())
    }

    /// All IPv4 routes of every table.
    pub fn routes(&mut self) -> Result<Vec<Route>> {
        let mut header = [0; 12];
        header[0] = AF_INET;
        let parts = self.socket.dump("listing routes", |m| {
            m.push(RTM_GETROUTE, NLM_F_DUMP, &header, |_| {})
        })?;
        Ok(parts.iter().filter_map(|m| Route::parse(&m.payload)).collect())
    }

    /// All IPv4 addresses.
    pub fn addresses(&mut self) -> Result<Vec<Address>> {
        let header = [AF_INET, 0, 0, 0, 0, 0, 0, 0];
        let parts = self.socket.dump("listing addresses", |m| {
            m.push(RTM_GETADDR, NLM_F_DUMP, &header, |_| {})
        })?;
        Ok(parts.iter().filter_map(|m| Address::parse(&m.payload)).collect())
    }

    /// How the kernel would reach `to`; `None` when it would not.
    pub fn route_to(&mut self, to: Ipv4Addr) -> Result<Option<Route>> {
        let mut messages = Messages::new();
        route::get(&mut messages, to);
        match self.socket.query("looking up a route", messages) {
            Ok(parts) => Ok(parts.iter().find_map(|m| Route::parse(&m.payload))),
            Err(Error::Kernel { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// Hears of changes to routes in the namespace of the thread that opened it.
#[derive(Debug)]
pub struct RouteMonitor {
    socket: Socket,
}

impl RouteMonitor {
    pub fn open() -> Result<Self> {
        Ok(Self {
            socket: Socket::subscribe(Family::Route, ROUTE_CHANGES)?,
        })
    }

    /// Takes what has come; says whether a default route may have changed.
    pub fn default_route_changed(&self) -> bool {
        let is_default =
            |m: &crate::netlink::Received| Route::parse(&m.payload).is_some_and(|r| r.to.prefix_len() == 0);
        self.socket
            .pending()
            .is_none_or(|parts| parts.iter().any(is_default))
    }
}

impl AsRawFd for RouteMonitor {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
