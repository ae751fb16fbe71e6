//! The names of a cluster. Cloning is cheap (persistent maps), so that one service can be replaced in a clone which
//! is then swapped in, whatever the number of services.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

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

/// A name that exists only because longer ones do.
static EMPTY: Node = Node {
    v4: Vec::new(),
    v6: Vec::new(),
    srv: Vec::new(),
    cname: None,
    txt: None,
    ns: None,
};

/// The zone.
#[derive(Debug, Clone)]
pub struct Records {
    zone: String,
    /// Names that depend on no service, whole.
    fixed: Arc<HashMap<String, Node>>,
    namespaces: imbl::HashSet<String>,
    /// By `name.namespace`.
    services: imbl::HashMap<String, Arc<Names>>,
    reverse: imbl::HashMap<IpAddr, Vec<String>>,
}

/// What one service contributes.
#[derive(Debug, Default)]
struct Names {
    own: Node,
    /// By what stands before the service's name, without the dot between.
    below: HashMap<String, Node>,
    reverse: Vec<(IpAddr, String)>,
}

impl Records {
    /// A cluster without namespaces and services. `server_ip` is the address of its name server, this one.
    pub fn new(domain: &str, server_ip: IpAddr) -> Self {
        let zone = format!("{}.", domain.trim_matches('.').to_ascii_lowercase());
        let server = format!("ns.dns.{zone}");
        let mut address = Node::default();
        address.add(server_ip);
        let apex = Node {
            ns: Name::from_str(&server).ok(),
            ..Node::default()
        };
        let version = Node {
            txt: Some(DNS_VERSION),
            ..Node::default()
        };
        let mut fixed = HashMap::from([(zone.clone(), apex), (server, address)]);
        fixed.insert(format!("dns-version.{zone}"), version);
        for name in ["dns", "svc", "pod"] {
            fixed.insert(format!("{name}.{zone}"), Node::default());
        }
        Self {
            zone,
            fixed: Arc::new(fixed),
            namespaces: imbl::HashSet::new(),
            services: imbl::HashMap::new(),
            reverse: imbl::HashMap::new(),
        }
    }

    /// Everything at once.
    pub fn build(desired: &Desired) -> Self {
        let mut records = Self::new(&desired.domain, desired.server_ip);
        for namespace in &desired.namespaces {
            records.set_namespace(namespace, true);
        }
        for service in &desired.services {
            records.set_service(&service.namespace, &service.name, Some(&service.target));
        }
        records
    }

    pub fn set_namespace(&mut self, name: &str, exists: bool) {
        if exists {
            self.namespaces.insert(name.to_ascii_lowercase());
        } else {
            self.namespaces.remove(&name.to_ascii_lowercase());
        }
    }

    /// Adds, replaces or (`None`) removes a service. An ExternalName that is no domain name has no records.
    pub fn set_service(&mut self, namespace: &str, name: &str, target: Option<&Target>) {
        let key = format!("{name}.{namespace}").to_ascii_lowercase();
        if let Some(old) = self.services.remove(&key) {
            for (ip, name) in &old.reverse {
                self.forget_reverse(*ip, name);
            }
        }
        let Some(target) = target else { return };
        let names = Names::of(&format!("{key}.svc.{}", self.zone), target);
        for (ip, name) in &names.reverse {
            self.reverse.entry(*ip).or_default().push(name.clone());
        }
        self.services.insert(key, Arc::new(names));
    }

    fn forget_reverse(&mut self, ip: IpAddr, name: &str) {
        let Some(names) = self.reverse.get_mut(&ip) else {
            return;
        };
        if let Some(at) = names.iter().position(|n| n == name) {
            names.remove(at);
        }
        if names.is_empty() {
            self.reverse.remove(&ip);
        }
    }

    /// The zone with its final dot.
    pub(crate) fn zone(&self) -> &str {
        &self.zone
    }

    /// By lower-case name with its final dot.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        if let Some(node) = self.fixed.get(name) {
            return Some(node);
        }
        let rest = name.strip_suffix(&self.zone)?.strip_suffix('.')?;
        let (rest, tree) = rest.rsplit_once('.')?;
        let (rest, namespace) = rest
            .rsplit_once('.')
            .map_or((None, rest), |(r, ns)| (Some(r), ns));
        let Some(rest) = rest else {
            return self.namespaces.contains(namespace).then_some(&EMPTY);
        };
        if tree != "svc" {
            return None;
        }
        let (below, service) = rest.rsplit_once('.').map_or((None, rest), |(b, s)| (Some(b), s));
        let names = self.services.get(&format!("{service}.{namespace}"))?;
        below.map_or(Some(&names.own), |below| names.below.get(below))
    }

    pub(crate) fn names_of(&self, ip: IpAddr) -> Option<&[String]> {
        self.reverse.get(&ip).map(Vec::as_slice)
    }
}

impl Node {
    fn add(&mut self, ip: IpAddr) {
        match ip {
            IpAddr::V4(ip) if !self.v4.contains(&ip) => self.v4.push(ip),
            IpAddr::V6(ip) if !self.v6.contains(&ip) => self.v6.push(ip),
            _ => {}
        }
    }

    fn add_srv(&mut self, srv: &Srv) {
        if !self.srv.contains(srv) {
            self.srv.push(srv.clone());
        }
    }
}

impl Names {
    /// `name` is the service's, whole.
    fn of(name: &str, target: &Target) -> Self {
        let mut names = Self::default();
        match target {
            Target::ClusterIp { ips, ports } => {
                for ip in ips {
                    names.own.add(*ip);
                    names.reverse.push((*ip, name.to_owned()));
                }
                names.add_ports(name, 100, ports);
            }
            Target::Headless { endpoints } => names.add_endpoints(name, endpoints),
            Target::ExternalName(target) => {
                let target = format!("{}.", target.trim_end_matches('.'));
                names.own.cname = Name::from_str(&target).ok();
            }
        }
        names.reverse.sort_unstable();
        names.reverse.dedup();
        names
    }

    /// Every endpoint has a name of its own under the service's: its hostname, or its address with dashes.
    fn add_endpoints(&mut self, name: &str, endpoints: &[Endpoint]) {
        let weight = (100 / endpoints.len().max(1)).max(1) as u16;
        for endpoint in endpoints {
            let label = match &endpoint.hostname {
                Some(hostname) => hostname.to_ascii_lowercase(),
                None => endpoint.ip.to_string().replace(['.', ':'], "-"),
            };
            let target = format!("{label}.{name}");
            self.own.add(endpoint.ip);
            self.below.entry(label).or_default().add(endpoint.ip);
            self.reverse.push((endpoint.ip, target.clone()));
            self.add_ports(&target, weight, &endpoint.ports);
        }
    }

    /// `_port._protocol` for named ports; the service's own name answers for all of them.
    fn add_ports(&mut self, target: &str, weight: u16, ports: &[Port]) {
        for port in ports {
            let srv = Srv {
                weight,
                port: port.port,
                target: target.to_owned(),
            };
            self.own.add_srv(&srv);
            if !port.name.is_empty() {
                let protocol = port.protocol.label();
                let label = format!("_{}.{protocol}", port.name.to_ascii_lowercase());
                self.below.entry(label).or_default().add_srv(&srv);
                self.below.entry(protocol.to_owned()).or_default();
            }
        }
    }
}
