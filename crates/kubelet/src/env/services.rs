//! Variables that tell containers where services are.

use k8s_openapi::api::core::v1::Service;
use std::collections::BTreeMap;

fn upper(name: &str) -> String {
    name.replace('-', "_").to_uppercase()
}

/// Services a pod of `namespace` hears of: the API's always, its namespace's if it wants links.
pub fn variables<'a>(
    services: impl IntoIterator<Item = &'a Service>,
    namespace: &str,
    links: bool,
) -> BTreeMap<String, String> {
    let mut chosen: BTreeMap<&str, &Service> = BTreeMap::new();
    for service in services {
        let name = service.metadata.name.as_deref().unwrap_or_default();
        let ns = service.metadata.namespace.as_deref().unwrap_or_default();
        let ip = service
            .spec
            .as_ref()
            .and_then(|s| s.cluster_ip.as_deref())
            .unwrap_or_default();
        if ip.is_empty() || ip == "None" {
            continue;
        }
        if ns == "default" && name == "kubernetes" {
            chosen.entry(name).or_insert(service);
        } else if ns == namespace && links {
            chosen.insert(name, service);
        }
    }
    let mut out = BTreeMap::new();
    for (name, service) in chosen {
        one(name, service, &mut out);
    }
    out
}

fn one(name: &str, service: &Service, out: &mut BTreeMap<String, String>) {
    let Some(spec) = &service.spec else { return };
    let ip = spec.cluster_ip.as_deref().unwrap_or_default();
    let prefix = upper(name);
    out.insert(format!("{prefix}_SERVICE_HOST"), ip.to_owned());
    for (i, port) in spec.ports.iter().flatten().enumerate() {
        let number = port.port.to_string();
        if i == 0 {
            out.insert(format!("{prefix}_SERVICE_PORT"), number.clone());
        }
        if let Some(n) = port.name.as_deref().filter(|n| !n.is_empty()) {
            out.insert(format!("{prefix}_SERVICE_PORT_{}", upper(n)), number.clone());
        }
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let lower = protocol.to_lowercase();
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        let url = format!("{lower}://{host}:{number}");
        if i == 0 {
            out.insert(format!("{prefix}_PORT"), url.clone());
        }
        let link = format!("{prefix}_PORT_{number}_{}", protocol.to_uppercase());
        out.insert(format!("{link}_PROTO"), lower);
        out.insert(format!("{link}_PORT"), number);
        out.insert(format!("{link}_ADDR"), ip.to_owned());
        out.insert(link, url);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ServicePort, ServiceSpec};

    #[test]
    fn names_of_a_link() {
        let service = |ns: &str, name: &str| Service {
            metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
                name: Some(name.into()),
                namespace: Some(ns.into()),
                ..Default::default()
            },
            spec: Some(ServiceSpec {
                cluster_ip: Some("10.0.0.1".into()),
                ports: Some(vec![ServicePort {
                    name: Some("web-ui".into()),
                    port: 80,
                    ..Default::default()
                }]),
                ..Default::default()
            }),
            ..Default::default()
        };
        let list = [
            service("default", "kubernetes"),
            service("shop", "my-db"),
            service("other", "x"),
        ];
        let vars = variables(&list, "shop", true);
        assert_eq!(vars["MY_DB_SERVICE_PORT_WEB_UI"], "80");
        assert_eq!(vars["MY_DB_PORT_80_TCP_ADDR"], "10.0.0.1");
        assert_eq!(vars["KUBERNETES_PORT"], "tcp://10.0.0.1:80");
        assert!(!vars.keys().any(|k| k.starts_with("X_")));
        assert!(!variables(&list, "shop", false).contains_key("MY_DB_PORT"));
    }
}
