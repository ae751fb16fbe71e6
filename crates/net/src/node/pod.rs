//! One pod's interface. In the pod: `eth0` with its address as a /32 and a default route by way of a link-local
//! gateway that is a permanent neighbour, so nothing ever waits for ARP. On the node: the other end, a /32 route
//! to it, and the pod as a permanent neighbour.

use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use ipnet::Ipv4Net;
use nix::errno::Errno;

use crate::error::{Error, Result};
use crate::ids::ClusterId;
use crate::netlink::Messages;
use crate::netns::NetNs;
use crate::rt::{self, Address, Kind, LinkConf, Neighbour, Route, Rt, Veth};

/// The gateway that every pod sees. Link-local (RFC 3927): it is never routed and no pod needs it otherwise.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// All node ends share it: each is alone on its link.
const NODE_MAC: [u8; 6] = [0xee; 6];
const POD_INTERFACE: &str = "eth0";

/// What wiring needs to know of the node.
#[derive(Debug, Clone, Copy)]
pub struct Wiring {
    pub cluster: ClusterId,
    /// Source address of the node's own packets to the pod.
    pub node_address: Ipv4Addr,
    pub mtu: u32,
}

/// Creates both ends and everything on them. `rt` is the node's.
pub fn wire(rt: &mut Rt, w: Wiring, pod: &NetNs, ip: Ipv4Addr) -> Result<()> {
    let name = w.cluster.veth(ip);
    create(rt, w, pod, ip, &name)?;
    let node_end = rt.require_link(&name)?.index;
    let mut messages = Messages::new();
    rt::set_link(
        &mut messages,
        node_end,
        LinkConf {
            forwarding: Some(true),
            rp_filter: Some(1),
            ..LinkConf::default()
        },
    );
    rt::neighbour(
        &mut messages,
        &Neighbour {
            interface: node_end,
            address: ip,
            mac: pod_mac(ip),
        },
    );
    rt::replace_route(&mut messages, &pod_route(w, ip, node_end));
    rt.apply("routing to the pod", messages)?;
    configure_inside(pod, ip)
}

fn create(rt: &mut Rt, w: Wiring, pod: &NetNs, ip: Ipv4Addr, name: &str) -> Result<()> {
    let veth = Veth {
        name,
        mac: NODE_MAC,
        mtu: w.mtu,
        group: w.cluster.link_group(),
        master: None,
        peer_name: POD_INTERFACE,
        peer_mac: pod_mac(ip),
        peer_netns: pod.as_raw_fd(),
    };
    let mut messages = Messages::new();
    rt::veth(&mut messages, &veth);
    match rt.apply("creating the pod's interface", messages.clone()) {
        // An earlier owner of the address whose namespace is not gone yet, or this pod half made.
        Err(e) if e.errno() == Some(Errno::EEXIST as i32) => {
            if !remove(rt, w.cluster, ip)? {
                let what = format!("the pod's namespace already has an interface {POD_INTERFACE}");
                return Err(Error::Invalid(what));
            }
            rt.apply("creating the pod's interface", messages)
        }
        done => done,
    }
}

fn configure_inside(pod: &NetNs, ip: Ipv4Addr) -> Result<()> {
    let mut inside = pod.run(Rt::open)?;
    let eth0 = inside.require_link(POD_INTERFACE)?.index;
    let net = Ipv4Net::from(ip);
    let mut messages = Messages::new();
    rt::set_link(&mut messages, rt::LOOPBACK_INDEX, LinkConf::default());
    rt::set_link(&mut messages, eth0, LinkConf::default());
    rt::address(
        &mut messages,
        &Address {
            net,
            interface: eth0,
            label: None,
        },
    );
    rt::neighbour(
        &mut messages,
        &Neighbour {
            interface: eth0,
            address: GATEWAY,
            mac: NODE_MAC,
        },
    );
    let default = Route {
        gateway: Some(GATEWAY),
        interface: Some(eth0),
        onlink: true,
        ..Route::to(Ipv4Net::default(), Kind::Unicast, 0)
    };
    rt::replace_route(&mut messages, &default);
    inside.apply("configuring the pod's interface", messages)
}

/// The route to a pod; the interface may be gone when it is being deleted.
fn pod_route(w: Wiring, ip: Ipv4Addr, node_end: u32) -> Route {
    Route {
        interface: Some(node_end),
        source: Some(w.node_address),
        ..Route::to(Ipv4Net::from(ip), Kind::Unicast, w.cluster.route_metric())
    }
}

/// Lets connections from this machine's loopback, masqueraded, find their way back from the pod.
pub fn route_loopback(rt: &mut Rt, cluster: ClusterId, ip: Ipv4Addr) -> Result<()> {
    let link = rt.require_link(&cluster.veth(ip))?;
    let mut messages = Messages::new();
    let conf = LinkConf {
        route_localnet: Some(true),
        ..LinkConf::default()
    };
    rt::set_conf(&mut messages, link.index, conf);
    rt.apply("letting a pod's interface answer the loopback", messages)
}

/// Makes the address unreachable at once. The interface goes with the pod's namespace: deleting it here would
/// hold the kernel's configuration lock for 30 ms.
pub fn unroute(rt: &mut Rt, cluster: ClusterId, ip: Ipv4Addr) -> Result<()> {
    let mut messages = Messages::new();
    rt::delete_route(
        &mut messages,
        &Route::to(Ipv4Net::from(ip), Kind::Unicast, cluster.route_metric()),
    );
    rt.apply_unless("removing the route to a pod", messages, &[Errno::ESRCH])
}

/// Deletes the interface of a pod, if it is there; says whether it was.
pub fn remove(rt: &mut Rt, cluster: ClusterId, ip: Ipv4Addr) -> Result<bool> {
    let Some(link) = rt.link(&cluster.veth(ip))? else {
        return Ok(false);
    };
    let mut messages = Messages::new();
    rt::delete_link(&mut messages, link.index);
    rt.apply_unless("removing a pod's interface", messages, &[Errno::ENODEV])?;
    Ok(true)
}

/// Locally administered, unique on the node, and the same whenever the address is.
fn pod_mac(ip: Ipv4Addr) -> [u8; 6] {
    let [a, b, c, d] = ip.octets();
    [0x0a, 0x58, a, b, c, d]
}
