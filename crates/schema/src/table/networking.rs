//! Services, endpoints, ingresses and policies.

use std::collections::BTreeSet;

use serde_json::Value;

use super::view::{View, or, some_of, strings};
use super::{Cells, Printer};

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "Ingress" => ingress,
        "IngressClass" => ingress_class,
        "NetworkPolicy" => |v| vec![v.name(), v.selector("/spec/podSelector"), v.age()],
        "ServiceCIDR" => |v| vec![v.name(), v.joined("/spec/cidrs").into(), v.age()],
        "IPAddress" => ip_address,
        "EndpointSlice" => endpoint_slice,
        _ => return None,
    })
}

/// How many addresses, ports or hosts are shown before `+ n more...`.
const SHOWN: usize = 3;

/// Addresses of a load balancer, sorted, IP before host name.
fn balancer(v: &View<'_>) -> String {
    let addresses = v.list("/status/loadBalancer/ingress").iter().filter_map(|i| {
        let text = |key: &str| i[key].as_str().unwrap_or_default();
        let address = or(text("ip"), text("hostname"));
        (!address.is_empty()).then_some(address)
    });
    addresses
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect::<Vec<_>>()
        .join(",")
}

fn external_ip(v: &View<'_>) -> String {
    let own = v.joined("/spec/externalIPs");
    match v.text("/spec/type") {
        "ClusterIP" | "NodePort" => or(&own, "<none>").to_owned(),
        "LoadBalancer" => {
            let balancer = balancer(v);
            let all = [balancer, own]
                .into_iter()
                .filter(|s| !s.is_empty())
                .collect::<Vec<_>>()
                .join(",");
            or(&all, "<pending>").to_owned()
        }
        "ExternalName" => v.text("/spec/externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

pub(super) fn service(v: &View<'_>) -> Cells {
    let ports: Vec<String> = v
        .list("/spec/ports")
        .iter()
        .map(|p| {
            let protocol = p["protocol"].as_str().unwrap_or_default();
            match p["nodePort"].as_i64().unwrap_or(0) {
                0 => format!("{}/{protocol}", p["port"]),
                node => format!("{}:{node}/{protocol}", p["port"]),
            }
        })
        .collect();
    vec![
        v.name(),
        v.text("/spec/type").into(),
        v.text_or("/spec/clusterIPs/0", "<none>"),
        external_ip(v).into(),
        or(&ports.join(","), "<none>").into(),
        v.age(),
        v.labels("/spec/selector"),
    ]
}

/// `host:port`, an IPv6 host in brackets.
fn host_port(host: &str, port: &Value) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

pub(super) fn endpoints(v: &View<'_>) -> Cells {
    let mut all = Vec::new();
    for subset in v.list("/subsets") {
        let addresses = subset["addresses"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let ips: Vec<&str> = addresses.iter().filter_map(|a| a["ip"].as_str()).collect();
        match subset["ports"].as_array().map(Vec::as_slice) {
            None | Some([]) => all.extend(ips.iter().map(|ip| (*ip).to_owned())),
            Some(ports) => {
                all.extend(
                    ports
                        .iter()
                        .flat_map(|p| ips.iter().map(|ip| host_port(ip, &p["port"]))),
                );
            }
        }
    }
    let none = if v.list("/subsets").is_empty() {
        "<none>"
    } else {
        ""
    };
    vec![v.name(), some_of(&all, SHOWN, none).into(), v.age()]
}

fn endpoint_slice(v: &View<'_>) -> Cells {
    let ports: Vec<String> = v
        .list("/ports")
        .iter()
        .map(|p| match (&p["port"], p["name"].as_str()) {
            (Value::Number(port), _) => port.to_string(),
            (_, Some(name)) => name.to_owned(),
            _ => "*".to_owned(),
        })
        .collect();
    let addresses: Vec<String> = v
        .list("/endpoints")
        .iter()
        .flat_map(|e| strings(e["addresses"].as_array().map(Vec::as_slice).unwrap_or_default()))
        .map(str::to_owned)
        .collect();
    let (ports, addresses) = (
        some_of(&ports, SHOWN, "<unset>"),
        some_of(&addresses, SHOWN, "<unset>"),
    );
    vec![
        v.name(),
        v.text("/addressType").into(),
        ports.into(),
        addresses.into(),
        v.age(),
    ]
}

fn ingress(v: &View<'_>) -> Cells {
    let rules = v.list("/spec/rules");
    let hosts: Vec<&str> = rules
        .iter()
        .filter_map(|r| r["host"].as_str())
        .filter(|h| !h.is_empty())
        .collect();
    let shown = hosts[..hosts.len().min(SHOWN)].join(",");
    // Counted over rules, as upstream counts.
    let third = rules
        .iter()
        .enumerate()
        .filter(|(_, r)| r["host"].as_str().is_some_and(|h| !h.is_empty()))
        .nth(SHOWN - 1);
    let more = third.is_some_and(|(at, _)| at + 1 < rules.len());
    let hosts = if hosts.is_empty() {
        "*".to_owned()
    } else if more {
        format!("{shown} + {} more...", rules.len() - SHOWN)
    } else {
        shown
    };
    let ports = if v.list("/spec/tls").is_empty() {
        "80"
    } else {
        "80, 443"
    };
    vec![
        v.name(),
        v.text_or("/spec/ingressClassName", "<none>"),
        hosts.into(),
        balancer(v).into(),
        ports.into(),
        v.age(),
    ]
}

fn ingress_class(v: &View<'_>) -> Cells {
    let parameters = v.at("/spec/parameters");
    let text = |key: &str| parameters[key].as_str().unwrap_or_default();
    let shown = if parameters.is_null() {
        "<none>".to_owned()
    } else if parameters["apiGroup"].is_null() {
        format!("{}/{}", text("kind"), text("name"))
    } else {
        format!("{}.{}/{}", text("kind"), text("apiGroup"), text("name"))
    };
    let name = default_marked(v, "ingressclass.kubernetes.io/is-default-class");
    vec![name, v.text("/spec/controller").into(), shown.into(), v.age()]
}

/// The name, marked where an annotation makes the object the default of its kind.
pub(super) fn default_marked(v: &View<'_>, annotation: &str) -> Value {
    let default = corten_meta::object::annotation(v.object, annotation) == Some("true");
    let name = v.text("/metadata/name");
    if default {
        format!("{name} (default)").into()
    } else {
        name.into()
    }
}

fn ip_address(v: &View<'_>) -> Cells {
    let parent = v.at("/spec/parentRef");
    let text = |key: &str| parent[key].as_str().unwrap_or_default();
    let mut shown = "<none>".to_owned();
    if !parent.is_null() {
        let resource = corten_meta::GroupResource::new(text("group").to_owned(), text("resource").to_owned());
        shown = resource.to_string().to_lowercase();
        if !text("namespace").is_empty() {
            shown.push_str(&format!("/{}", text("namespace")));
        }
        shown.push_str(&format!("/{}", text("name")));
    }
    vec![v.name(), shown.into(), v.age()]
}
