//! Ports of all containers of a pod, which share one address.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::super::super::rules::At;
use super::super::containers::each;
use super::Warnings;

struct Port {
    path: String,
    name: String,
    number: i64,
    protocol: String,
    host_port: i64,
    host_ip: String,
}

impl Port {
    fn at(at: &At<'_, '_>) -> Self {
        Self {
            path: at.path().to_string(),
            name: at.get("name").str().to_owned(),
            number: at.get("containerPort").int().unwrap_or(0),
            protocol: at.get("protocol").str().to_owned(),
            host_port: at.get("hostPort").int().unwrap_or(0),
            host_ip: at.get("hostIP").str().to_owned(),
        }
    }

    /// As Go prints the struct.
    fn shown(&self) -> String {
        format!(
            "{{Name:{} HostPort:{} ContainerPort:{} Protocol:{} HostIP:{}}}",
            self.name, self.host_port, self.number, self.protocol, self.host_ip
        )
    }

    /// How it gets in the way of another of the same number and protocol.
    fn conflict(&self, other: &Self) -> Option<&'static str> {
        let same_port = self.host_port == other.host_port;
        if same_port && self.host_ip == other.host_ip {
            Some("duplicate")
        } else if self.host_port == 0 || other.host_port == 0 {
            Some("overlapping")
        } else {
            let one_everywhere = self.host_ip.is_empty() != other.host_ip.is_empty();
            (same_port && one_everywhere).then_some("dangerously ambiguous")
        }
    }
}

pub(super) fn of(spec: &At<'_, '_>) -> Warnings {
    let mut ports = Vec::new();
    each(spec, &mut |container| {
        ports.extend(container.get("ports").items().map(|port| Port::at(&port)));
    });
    let mut warnings = conflicts(&ports);
    warnings.extend(names(&ports));
    warnings
}

fn conflicts(ports: &[Port]) -> Warnings {
    let mut warnings = Warnings::new();
    let mut seen: HashMap<(i64, &str), Vec<&Port>> = HashMap::new();
    for port in ports {
        if !port.host_ip.is_empty() && port.host_port == 0 {
            let shown = port.shown();
            warnings.push(format!("{}: hostIP set without hostPort: {shown}", port.path));
        }
        let others = seen.entry((port.number, &port.protocol)).or_default();
        for other in others.iter() {
            if let Some(how) = port.conflict(other) {
                warnings.push(format!(
                    "{}: {how} port definition with {}",
                    port.path, other.path
                ));
            }
        }
        others.push(port);
    }
    warnings
}

fn names(ports: &[Port]) -> Warnings {
    let mut warnings = Warnings::new();
    let mut seen: HashMap<&str, &str> = HashMap::new();
    for port in ports.iter().filter(|port| !port.name.is_empty()) {
        match seen.entry(&port.name) {
            Entry::Vacant(first) => drop(first.insert(&port.path)),
            Entry::Occupied(first) => warnings.push(format!(
                "{}: duplicate port name {} with {first}, services and probes that select ports by name will use {first}",
                port.path,
                corten_meta::quote(&port.name),
                first = first.get()
            )),
        }
    }
    warnings
}
