//! Ports of the node that lead to pods (`hostPort`), in a table of their own that is there only while a pod has one.
//!
//! ```text
//! prerouting, output ─ to a local address: address . protocol . port, else 0.0.0.0 . protocol . port ─► pod; translate
//! postrouting ─ translated, from loopback or from the pod itself ─► masquerade
//! input ─ new connection from a pod's interface to 127.0.0.0/8 ─► drop (the interface routes it for answers' sake)
//! ```
//!
//! A pod's ports are remembered as the address pool remembers its address: in the target of a symbolic link.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::ipam::Ipam;
use crate::error::{Context, Result};
use crate::ids::ClusterId;
use crate::nft::parts::{
    CT_STATE_INVALID, CT_STATE_NEW, CT_STATUS_DST_NAT, hairpin, has_bits, in_range, to_this_machine,
    translate_by,
};
use crate::nft::{
    Data, Element, Expr, Hook, Nft, PRIORITY_DSTNAT, PRIORITY_FILTER, PRIORITY_SRCNAT, Reg, SetSpec,
    Transaction, Verdict, ty,
};
use crate::proxy::{Key, load_key};

const DIR: &str = ".ports";
const MAP: &str = "ports";
const PODS: &str = "pods";
const LOOPBACK: ipnet::Ipv4Net = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);

/// A port of the node that leads to a port of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    /// 0.0.0.0 for every local address.
    pub host_ip: Ipv4Addr,
    /// As in the IP header.
    pub protocol: u8,
    pub host_port: u16,
    pub pod_port: u16,
}

impl HostPort {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let port = Self {
            host_ip: parts.next()?.parse().ok()?,
            protocol: parts.next()?.parse().ok()?,
            host_port: parts.next()?.parse().ok()?,
            pod_port: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(port)
    }

    fn text(&self) -> String {
        format!(
            "{}:{}:{}:{}",
            self.host_ip, self.protocol, self.host_port, self.pod_port
        )
    }
}

/// The host ports of this node's pods, by sandbox.
#[derive(Debug)]
pub struct HostPorts {
    dir: PathBuf,
    cluster: ClusterId,
    pods: BTreeMap<String, Vec<HostPort>>,
}

impl HostPorts {
    /// Reads what pods have, and puts the table in place if any has a port.
    pub fn open(state_dir: &std::path::Path, cluster: ClusterId, nft: &mut Nft, ipam: &Ipam) -> Result<Self> {
        let dir = state_dir.join(DIR);
        let mut pods = BTreeMap::new();
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ipam.get(&name).is_none() {
                let _ = std::fs::remove_file(entry.path());
                continue;
            }
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let ports = target
                .to_string_lossy()
                .split(',')
                .filter_map(HostPort::parse)
                .collect();
            pods.insert(name, ports);
        }
        let ports = Self { dir, cluster, pods };
        if !ports.pods.is_empty() {
            ports.write(nft, ipam)?;
        }
        Ok(ports)
    }

    /// Makes these the ports of a sandbox that has an address.
    pub fn publish(&mut self, nft: &mut Nft, ipam: &Ipam, sandbox: &str, ports: Vec<HostPort>) -> Result<()> {
        std::fs::create_dir_all(&self.dir).with_context(|| format!("creating {}", self.dir.display()))?;
        let path = self.dir.join(sandbox);
        let _ = std::fs::remove_file(&path);
        let text: Vec<String> = ports.iter().map(HostPort::text).collect();
        symlink(text.join(","), &path).with_context(|| format!("writing {}", path.display()))?;
        self.pods.insert(sandbox.to_owned(), ports);
        self.write(nft, ipam)
    }

    /// Forgets a sandbox's ports; one without any is fine.
    pub fn withdraw(&mut self, nft: &mut Nft, ipam: &Ipam, sandbox: &str) -> Result<()> {
        if self.pods.remove(sandbox).is_none() {
            return Ok(());
        }
        let _ = std::fs::remove_file(self.dir.join(sandbox));
        if self.pods.is_empty() {
            return nft.remove_table(&self.cluster.port_table());
        }
        self.write(nft, ipam)
    }

    fn write(&self, nft: &mut Nft, ipam: &Ipam) -> Result<()> {
        let (mut elements, mut pods) = (BTreeMap::new(), BTreeSet::new());
        for (sandbox, ports) in &self.pods {
            let Some(ip) = ipam.get(sandbox) else { continue };
            pods.insert(ip);
            for port in ports {
                let key = Key {
                    ip: port.host_ip,
                    protocol: port.protocol,
                    port: port.host_port,
                };
                let mut backend = ip.octets().to_vec();
                backend.extend(port.pod_port.to_be_bytes());
                backend.extend([0, 0]);
                elements.insert(key.bytes(), Data::Value(backend));
            }
        }
        let elements: Vec<Element> = elements
            .into_iter()
            .map(|(k, data)| Element::new(k, data))
            .collect();
        let pods: Vec<Element> = pods
            .iter()
            .map(|ip| Element::key([ip.octets(), ip.octets()].concat()))
            .collect();
        let mut transaction = Transaction::new(&self.cluster.port_table());
        install(&mut transaction, self.cluster);
        transaction.add_elements(MAP, &elements);
        transaction.add_elements(PODS, &pods);
        nft.commit(transaction)
    }
}

fn install(t: &mut Transaction, cluster: ClusterId) {
    t.recreate_table();
    let key = ty::concat([ty::IPV4, ty::PROTO, ty::PORT]);
    t.set(&SetSpec::map(MAP, key, 12, ty::concat([ty::IPV4, ty::PORT]), 8));
    t.set(&SetSpec::set(PODS, ty::concat([ty::IPV4, ty::IPV4]), 8));
    for (chain, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        t.base_chain(chain, "nat", hook, PRIORITY_DSTNAT);
        t.rule(chain, &translate(false));
        t.rule(chain, &translate(true));
    }
    t.base_chain("postrouting", "nat", Hook::Postrouting, PRIORITY_SRCNAT);
    let mut from_loopback = has_bits(Expr::CtStatus(Reg(0)), CT_STATUS_DST_NAT).to_vec();
    from_loopback.extend(in_range(Expr::SourceAddress(Reg(0)), LOOPBACK, true));
    from_loopback.push(Expr::Masquerade);
    t.rule("postrouting", &from_loopback);
    t.rule("postrouting", &hairpin(PODS));
    t.base_chain("input", "filter", Hook::Input, PRIORITY_FILTER);
    let mut intruding = vec![
        Expr::InputInterface(Reg(0)),
        Expr::Equal {
            reg: Reg(0),
            value: cluster.veth_prefix().into_bytes(),
        },
    ];
    intruding.extend(in_range(Expr::DestinationAddress(Reg(0)), LOOPBACK, true));
    intruding.extend(has_bits(Expr::CtState(Reg(0)), CT_STATE_INVALID | CT_STATE_NEW));
    intruding.push(Expr::Then(Verdict::Drop));
    t.rule("input", &intruding);
}

/// To the pod that has the port of this local address, or of all.
fn translate(any_address: bool) -> Vec<Expr> {
    let mut rule = to_this_machine(Reg(0), true).to_vec();
    rule.extend(load_key(any_address, 0));
    rule.extend(translate_by(MAP));
    rule
}
