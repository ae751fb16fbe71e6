//! The names of a cluster. Built whole from a desired state and swapped in; never changed in place.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use hickory_proto::rr::Name;

/// Time to live of every answer: CoreDNS' default.
pub const TTL_S: u32 = 5;
/// Version of the specification that the records follow, at `dns-version.<zone>`.
const DNS_VERSION: &str = "1.1.0";

/// Everything that names are made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// The cluster's domain without dots at its ends, such as `cluster.local`.
    pub domain: String,
    /// Address of the server itself: its name servers' one.
    pub server_ip: IpAddr,
    pub namespaces: BTreeSet<String>,
    pub services: Vec<Service>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    pub namespace: String,
    pub name: String,
    pub target: Target,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    ClusterIp {
        ips: Vec<IpAddr>,
        ports: Vec<Port>,
    },
    /// The endpoints to publish: ready ones, or all where `publishNotReadyAddresses` is set.
    Headless {
        endpoints: Vec<Endpoint>,
    },
    ExternalName(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub ip: IpAddr,
    /// The pod's `hostname`, where its `subdomain` names this service.
    pub hostname: Option<String>,
    pub ports: Vec<Port>,
}

/// `name` is empty for an unnamed port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub protocol: Protocol,
    pub port: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    fn label(self) -> &'static str {
        match self {
            Protocol::Tcp => "_tcp",
            Protocol::Udp => "_udp",
            Protocol::Sctp => "_sctp",
        }
    }
}

/// What one name has. All empty: a name that exists only because longer ones do.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    pub v4: Vec<Ipv4Addr>,
    pub v6: Vec<Ipv6Addr>,
    pub srv: Vec<Srv>,
    pub cname: Option<Name>,
    pub txt: Option<&'static str>,
    pub ns: Option<Name>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Srv {
    pub weight: u16,
    pub port: u16,
    /// Lower case with a final dot, as the keys are.
    pub target: String,
}

/// The built zone.
#[derive(Debug, Clone)]
pub struct Records {
    zone: String,
    names: HashMap<String, Node>,
    reverse: HashMap<IpAddr, Vec<String>>,
}

impl Records {
    /// Names that DNS cannot carry (an ExternalName that is no domain name) are left out.
    pub fn build(desired: &Desired) -> Self {
        let zone = format!("{}.", desired.domain.trim_matches('.').to_ascii_lowercase());
        let mut records = Self {
            names: HashMap::new(),
            reverse: HashMap::new(),
            zone,
        };
        let zone = records.zone.clone();
        let server = format!("ns.dns.{zone}");
        records.add_address(&server, desired.server_ip);
        records.node(&zone).ns = Name::from_str(&server).ok();
        records.node(&format!("dns-version.{zone}")).txt = Some(DNS_VERSION);
        for tree in ["svc", "pod"] {
            records.node(&format!("{tree}.{zone}"));
            for namespace in &desired.namespaces {
                records.node(&format!("{}.{tree}.{zone}", namespace.to_ascii_lowercase()));
            }
        }
        for service in &desired.services {
            records.add_service(service);
        }
        records
    }

    /// The zone with its final dot.
    pub(crate) fn zone(&self) -> &str {
        &self.zone
    }

    /// By lower-case name with its final dot.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.names.get(name)
    }

    pub(crate) fn names_of(&self, ip: IpAddr) -> Option<&[String]> {
        self.reverse.get(&ip).map(Vec::as_slice)
    }

    /// The name's node; it and all names between it and the zone exist afterwards.
    fn node(&mut self, name: &str) -> &mut Node {
        let mut parent = name;
        while parent != self.zone && !self.names.contains_key(parent) {
            self.names.insert(parent.to_owned(), Node::default());
            parent = parent.split_once('.').map_or("", |(_, rest)| rest);
        }
        self.names.entry(name.to_owned()).or_default()
    }

    fn add_address(&mut self, name: &str, ip: IpAddr) {
        let node = self.node(name);
        match ip {
            IpAddr::V4(ip) if !node.v4.contains(&ip) => node.v4.push(ip),
            IpAddr::V6(ip) if !node.v6.contains(&ip) => node.v6.push(ip),
            _ => {}
        }
    }

    fn add_service(&mut self, service: &Service) {
        let labels = format!("{}.{}", service.name, service.namespace).to_ascii_lowercase();
        let name = format!("{labels}.svc.{}", self.zone);
        match &service.target {
            Target::ClusterIp { ips, ports } => {
                for ip in ips {
                    self.add_address(&name, *ip);
                    self.add_reverse(*ip, &name);
                }
                self.add_srv(&name, &name, 100, ports);
            }
            Target::Headless { endpoints } => self.add_headless(&name, endpoints),
            Target::ExternalName(target) => {
                let target = format!("{}.", target.trim_end_matches('.'));
                self.node(&name).cname = Name::from_str(&target).ok();
            }
        }
    }

    /// Every endpoint has a name of its own under the service's: its hostname, or its address with dashes.
    fn add_headless(&mut self, name: &str, endpoints: &[Endpoint]) {
        self.node(name);
        let weight = (100 / endpoints.len().max(1)).max(1) as u16;
        for endpoint in endpoints {
            let label = match &endpoint.hostname {
                Some(hostname) => hostname.to_ascii_lowercase(),
                None => endpoint.ip.to_string().replace(['.', ':'], "-"),
            };
            let own = format!("{label}.{name}");
            self.add_address(name, endpoint.ip);
            self.add_address(&own, endpoint.ip);
            self.add_reverse(endpoint.ip, &own);
            self.add_srv(name, &own, weight, &endpoint.ports);
        }
    }

    /// `_port._protocol.service` for named ports; the service's own name answers for all of them.
    fn add_srv(&mut self, service: &str, target: &str, weight: u16, ports: &[Port]) {
        for port in ports {
            let srv = Srv {
                weight,
                port: port.port,
                target: target.to_owned(),
            };
            let mut add = |name: &str| {
                let list = &mut self.node(name).srv;
                if !list.contains(&srv) {
                    list.push(srv.clone());
                }
            };
            add(service);
            if !port.name.is_empty() {
                let label = port.name.to_ascii_lowercase();
                add(&format!("_{label}.{}.{service}", port.protocol.label()));
            }
        }
    }

    fn add_reverse(&mut self, ip: IpAddr, name: &str) {
        let names = self.reverse.entry(ip).or_default();
        if !names.iter().any(|n| n == name) {
            names.push(name.to_owned());
        }
    }
}
