//! Whether an APIService can be served: the checks of its Service and endpoints, and where to send a request.
//! Rules and texts: upstream's `remote_available_controller` and apiserver/pkg/util/proxy `ResolveEndpoint`.

use corten_meta::Status;
use corten_meta::object::str_at;
use serde_json::Value;

use super::service::ServiceRef;
use crate::connect::Target;
use crate::server::Inner;

/// What the Available condition says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// True or False.
    pub available: bool,
    /// One word.
    pub reason: &'static str,
    /// For people.
    pub message: String,
}

impl Verdict {
    /// Not available.
    pub fn no(reason: &'static str, message: String) -> Self {
        Self {
            available: false,
            reason,
            message,
        }
    }

    /// All checks passed.
    pub fn passed() -> Self {
        Self {
            available: true,
            reason: "Passed",
            message: "all checks passed".to_owned(),
        }
    }
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn service_port(service: &Value, port: u16) -> Option<&Value> {
    list(&service["spec"], "ports").iter().find(|p| p["port"] == port)
}

fn ready(endpoint: &&Value) -> bool {
    endpoint["conditions"]["ready"] != false
}

fn numbered(slice: &Value, name: &str) -> Option<u16> {
    let port = list(slice, "ports")
        .iter()
        .find(|p| p["name"].as_str().unwrap_or_default() == name)?;
    u16::try_from(port["port"].as_u64()?).ok()
}

/// The checks that need no request: none of them fails where this is `None`.
pub fn judge(of: &ServiceRef, service: Option<&Value>, slices: &[Value]) -> Option<Verdict> {
    let ServiceRef {
        namespace,
        name,
        port,
    } = of;
    let subject = format!("service/{name} in {namespace:?}");
    let Some(service) = service else {
        let text = format!("{subject} is not present");
        return Some(Verdict::no("ServiceNotFound", text));
    };
    if !matches!(str_at(service, &["spec", "type"]), "ClusterIP" | "") {
        return None;
    }
    let Some(found) = service_port(service, *port) else {
        let text = format!("{subject} is not listening on port {port}");
        return Some(Verdict::no("ServicePortError", text));
    };
    if slices.is_empty() {
        let text = format!("cannot find endpointslices for {subject}");
        return Some(Verdict::no("EndpointsNotFound", text));
    }
    let port_name = str_at(found, &["name"]);
    let usable = |slice: &Value| {
        list(slice, "endpoints").iter().any(|e| ready(&e)) && numbered(slice, port_name).is_some()
    };
    if slices.iter().any(usable) {
        return None;
    }
    let text = format!("endpointslices for {subject} have no addresses with port name {port_name:?}");
    Some(Verdict::no("MissingEndpoints", text))
}

/// The Service and its EndpointSlices.
///
/// # Errors
/// Where they cannot be read; a Service that is not there is `None`.
pub async fn objects(server: &Inner, of: &ServiceRef) -> Result<(Option<Value>, Vec<Value>), Status> {
    let service = match server.fetch("", "services", &of.namespace, &of.name).await {
        Ok(service) => Some(service),
        Err(status) if status.is_not_found() => None,
        Err(status) => return Err(status),
    };
    let selector = format!("kubernetes.io/service-name={}", of.name);
    let slices = server
        .fetch_all("discovery.k8s.io", "endpointslices", &of.namespace, &selector)
        .await?;
    Ok((service, slices))
}

/// One of a Service's ready endpoints, or the name it stands for.
///
/// # Errors
/// 404 without Service, 503 without port or endpoint.
pub async fn endpoint(server: &Inner, of: &ServiceRef) -> Result<Target, Status> {
    let (service, slices) = objects(server, of).await?;
    let not_found = || Status::not_found(&corten_meta::GroupResource::new("", "services"), &of.name);
    resolve(of, &service.ok_or_else(not_found)?, &slices)
}

fn resolve(of: &ServiceRef, service: &Value, slices: &[Value]) -> Result<Target, Status> {
    if str_at(service, &["spec", "type"]) == "ExternalName" {
        return Ok(Target {
            node: String::new(),
            host: str_at(service, &["spec", "externalName"]).to_owned(),
            port: of.port,
        });
    }
    let Some(port) = service_port(service, of.port) else {
        let text = format!("no service port {} found for service {:?}", of.port, of.name);
        return Err(Status::service_unavailable(text));
    };
    let primary = &service["spec"]["ipFamilies"][0];
    let mut candidates = Vec::new();
    for slice in slices {
        if let Some(number) = numbered(slice, str_at(port, &["name"])) {
            let preferred = &slice["addressType"] == primary;
            let up = list(slice, "endpoints").iter().filter(ready);
            candidates.extend(up.map(|e| (preferred, e, number)));
        }
    }
    if candidates.iter().any(|c| c.0) {
        candidates.retain(|c| c.0);
    }
    if candidates.is_empty() {
        let text = format!("no endpoints available for service {:?}", of.name);
        return Err(Status::service_unavailable(text));
    }
    let (_, endpoint, port) = candidates[rand::random_range(0..candidates.len())];
    Ok(Target {
        node: str_at(endpoint, &["nodeName"]).to_owned(),
        host: endpoint["addresses"][0].as_str().unwrap_or_default().to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn of() -> ServiceRef {
        ServiceRef {
            namespace: "ns".into(),
            name: "ext".into(),
            port: 443,
        }
    }

    fn service() -> Value {
        json!({"spec": {"type": "ClusterIP", "ipFamilies": ["IPv4"], "ports": [{"port": 443, "name": "https"}]}})
    }

    fn slice(ready: bool, port: &str) -> Value {
        let endpoints = json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": ready}}]);
        json!({"addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": port, "port": 8443}]})
    }

    #[test]
    fn each_check_has_its_reason() {
        let reason =
            |service: Option<&Value>, slices: &[Value]| judge(&of(), service, slices).map(|v| v.reason);
        assert_eq!(reason(None, &[]), Some("ServiceNotFound"));
        let other = json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}});
        assert_eq!(reason(Some(&other), &[]), Some("ServicePortError"));
        assert_eq!(reason(Some(&service()), &[]), Some("EndpointsNotFound"));
        assert_eq!(
            reason(Some(&service()), &[slice(false, "https")]),
            Some("MissingEndpoints")
        );
        assert_eq!(
            reason(Some(&service()), &[slice(true, "http")]),
            Some("MissingEndpoints")
        );
        assert_eq!(reason(Some(&service()), &[slice(true, "https")]), None);
        let text = judge(&of(), None, &[]).unwrap().message;
        assert_eq!(text, "service/ext in \"ns\" is not present");
    }

    #[test]
    fn a_ready_endpoint_is_chosen() {
        let slices = [slice(false, "https"), slice(true, "https")];
        let target = resolve(&of(), &service(), &slices).unwrap();
        assert_eq!((target.host.as_str(), target.port), ("10.0.0.1", 8443));
        let none = resolve(&of(), &service(), &slices[..1]).unwrap_err();
        assert_eq!(none.message, "no endpoints available for service \"ext\"");
    }
}
