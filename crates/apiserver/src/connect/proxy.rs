//! The `proxy` subresource of pods, services and nodes: any HTTP request to the backend behind the object.
//! `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`; what follows `/proxy` is the backend's path.

use corten_meta::object::str_at;
use corten_meta::{GroupResource, Status};
use http::header::{HeaderValue, LOCATION};
use http::{StatusCode, Uri};
use serde_json::{Value, json};

use super::backend::{Outgoing, Security, Target, authority, wants_upgrade};
use super::rewrite::{self, Place};
use super::streaming::{connected, kubelet_address};
use crate::body::{Body, empty_body};
use crate::call::Call;
use crate::respond::{self, Answer};

/// Passes the request on.
///
/// # Errors
/// 400 for a malformed name, 404 without object, 503 without endpoints or backend.
pub async fn proxy(mut call: Call) -> Result<Answer, Status> {
    let Some(id) = Id::parse(&call.info.name) else {
        let kind = call.info.resource.trim_end_matches('s');
        return Err(Status::bad_request(format!(
            "invalid {kind} request {:?}",
            call.info.name
        )));
    };
    admit(&call).await?;
    let (target, security) = match call.info.resource.as_str() {
        "pods" => pod(&call, &id).await?,
        "services" => service(&call, &id).await?,
        _ => node(&call, &id).await?,
    };
    // A directory without its slash: relative links in what the backend gives would break.
    let reads = matches!(call.method, http::Method::GET | http::Method::HEAD);
    if call.info.depth == 3 && !call.uri.path().ends_with('/') && reads {
        return Ok(redirect(&call));
    }
    let upgrade = if wants_upgrade(&call.headers) {
        call.upgrade.take()
    } else {
        None
    };
    let own = authority(&target);
    let joined = upgrade.is_some();
    let outgoing = Outgoing {
        target,
        security,
        method: call.method.clone(),
        path: backend_path(&call)?,
        headers: call.headers.clone(),
        body: call.body.get_mut().take().unwrap_or_else(empty_body),
        upgrade,
    };
    let answer = call.server.backends()?.send(outgoing).await;
    let answer = answer.map_err(|why| if joined { why.dialing() } else { why.reaching() })?;
    let path = call.uri.path();
    let asked = call.header(http::header::HOST).unwrap_or_default();
    let place = Place {
        prefix: path
            .match_indices("/")
            .nth(prefix_segments(&call))
            .map_or(path, |(at, _)| &path[..at]),
        hosts: [&own, asked],
    };
    Ok(rewrite::links(answer, &place).await)
}

/// Segments of `/api/v1[/namespaces/NS]/RESOURCE/NAME/proxy`.
fn prefix_segments(call: &Call) -> usize {
    if call.info.namespace.is_empty() { 5 } else { 7 }
}

/// Admission sees the path that is asked for; what it would change of it is not taken over, as upstream's proxy has parsed
/// the request before.
async fn admit(call: &Call) -> Result<(), Status> {
    let kind = match call.info.resource.as_str() {
        "pods" => "PodProxyOptions",
        "services" => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    };
    let path = backend_path(call)?;
    let mut options = json!({"kind": kind, "apiVersion": "v1", "path": path.path()});
    connected(call, &mut options).await
}

fn redirect(call: &Call) -> Answer {
    let query = call.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let mut answer = respond::bytes(StatusCode::MOVED_PERMANENTLY, "text/html", Body::Empty);
    if let Ok(v) = HeaderValue::from_str(&format!("{}/{query}", call.uri.path())) {
        answer.headers_mut().insert(LOCATION, v);
    }
    answer
}

/// What follows `/proxy`, as it was sent, with the query.
fn backend_path(call: &Call) -> Result<Uri, Status> {
    let prefix = prefix_segments(call);
    let rest: Vec<&str> = call
        .uri
        .path()
        .trim_start_matches('/')
        .splitn(prefix + 1, '/')
        .skip(prefix)
        .collect();
    let query = call.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
    let text = format!("/{}{query}", rest.concat());
    text.parse()
        .map_err(|e| Status::bad_request(format!("invalid path {text:?}: {e}")))
}

/// `SCHEME:NAME:PORT` with scheme and port left out at will.
#[derive(Debug, PartialEq, Eq)]
struct Id<'a> {
    https: bool,
    name: &'a str,
    port: &'a str,
}

impl<'a> Id<'a> {
    fn parse(id: &'a str) -> Option<Self> {
        let parts: Vec<&str> = id.split(':').collect();
        let (scheme, name, port) = match parts[..] {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => return None,
        };
        let known = matches!(scheme, "" | "http" | "https");
        (known && !name.is_empty()).then_some(Self {
            https: scheme == "https",
            name,
            port,
        })
    }

    fn security(&self) -> Security {
        if self.https {
            Security::Unchecked
        } else {
            Security::Plain
        }
    }

    fn default_port(&self) -> u16 {
        if self.https { 443 } else { 80 }
    }
}

fn pod_target(pod: &Value, port: u16) -> Result<Target, Status> {
    let ip = pod["status"]["podIPs"][0]["ip"]
        .as_str()
        .unwrap_or(str_at(pod, &["status", "podIP"]));
    let allowed = ip
        .parse()
        .is_ok_and(|ip: std::net::IpAddr| !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast());
    if !allowed {
        return Err(Status::bad_request("address not allowed"));
    }
    Ok(Target {
        node: str_at(pod, &["spec", "nodeName"]).to_owned(),
        host: ip.to_owned(),
        port,
    })
}

async fn pod(call: &Call, id: &Id<'_>) -> Result<(Target, Security), Status> {
    let pod = call
        .server
        .fetch("", "pods", &call.info.namespace, id.name)
        .await?;
    let containers = pod["spec"]["containers"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let declared = || {
        containers
            .iter()
            .find_map(|c| c["ports"][0]["containerPort"].as_u64())
    };
    let default = declared().and_then(|p| u16::try_from(p).ok());
    let target = pod_target(&pod, default.unwrap_or_else(|| id.default_port()))?;
    let port = match id.port {
        "" => target.port,
        given => given
            .parse()
            .map_err(|_| Status::bad_request(format!("invalid pod request {:?}", call.info.name)))?,
    };
    Ok((Target { port, ..target }, id.security()))
}

/// Goes to one of the service's ready pods, by its EndpointSlices.
async fn service(call: &Call, id: &Id<'_>) -> Result<(Target, Security), Status> {
    let ns = &call.info.namespace;
    let port_name = match id.port.parse::<u64>() {
        Ok(number) => {
            let service = call.server.fetch("", "services", ns, id.name).await?;
            let ports = service["spec"]["ports"]
                .as_array()
                .map(Vec::as_slice)
                .unwrap_or_default();
            let Some(port) = ports.iter().find(|p| p["port"] == number) else {
                let text = format!("no service port {number} found for service {:?}", id.name);
                return Err(Status::service_unavailable(text));
            };
            port["name"].as_str().unwrap_or_default().to_owned()
        }
        Err(_) => id.port.to_owned(),
    };
    let selector = format!("kubernetes.io/service-name={}", id.name);
    let slices = call
        .server
        .fetch_all("discovery.k8s.io", "endpointslices", ns, &selector)
        .await;
    let slices = match slices {
        // A name that no label can have has none.
        Err(status) if status.code == 400 => Vec::new(),
        slices => slices?,
    };
    if slices.is_empty() {
        // Where there is nothing at all upstream misses the Endpoints, by which it goes, and calls them what was asked for.
        let missed = |status: Status| match status.is_not_found() {
            true => Status::not_found(&GroupResource::new("", "services"), id.name),
            false => status,
        };
        let endpoints = call.server.fetch("", "endpoints", ns, id.name).await;
        endpoints.map_err(missed)?;
    }
    let no_endpoints = slices.iter().all(|slice| slice["endpoints"][0].is_null());
    let asked = if no_endpoints { id.name } else { &call.info.name };
    let none = || Status::service_unavailable(format!("no endpoints available for service {asked:?}"));
    let mut ready = Vec::new();
    for slice in &slices {
        let ports = slice["ports"].as_array().map(Vec::as_slice).unwrap_or_default();
        let Some(port) = ports
            .iter()
            .find(|p| p["name"].as_str().unwrap_or_default() == port_name)
        else {
            continue;
        };
        let Some(number) = port["port"].as_u64().and_then(|p| u16::try_from(p).ok()) else {
            continue;
        };
        let endpoints = slice["endpoints"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let up = endpoints
            .iter()
            .filter(|e| e["conditions"]["ready"] != false && e["targetRef"]["kind"] == "Pod");
        ready.extend(up.filter_map(|e| Some((e["targetRef"]["name"].as_str()?.to_owned(), number))));
    }
    if ready.is_empty() {
        return Err(none());
    }
    let start = rand::random_range(0..ready.len());
    for i in 0..ready.len() {
        let (name, port) = &ready[(start + i) % ready.len()];
        if let Ok(pod) = call.server.fetch("", "pods", ns, name).await
            && let Ok(target) = pod_target(&pod, *port)
        {
            return Ok((target, id.security()));
        }
    }
    Err(none())
}

async fn node(call: &Call, id: &Id<'_>) -> Result<(Target, Security), Status> {
    let node = call.server.fetch("", "nodes", "", id.name).await?;
    let kubelet = kubelet_address(&node)?;
    let port: u16 = match id.port {
        "" => kubelet.port,
        p => p
            .parse()
            .map_err(|_| Status::bad_request(format!("invalid node request {:?}", call.info.name)))?,
    };
    if port == kubelet.port {
        return Ok((kubelet, Security::Kubelet));
    }
    let local = kubelet
        .host
        .parse()
        .is_ok_and(|ip: std::net::IpAddr| ip.is_loopback() || ip.is_unspecified());
    if local {
        let gr = GroupResource::new("", "nodes");
        return Err(Status::forbidden(&gr, id.name, "address not allowed"));
    }
    Ok((Target { port, ..kubelet }, id.security()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let id = |s| Id::parse(s).map(|i| (i.https, i.name.to_owned(), i.port.to_owned()));
        assert_eq!(id("web"), Some((false, "web".into(), String::new())));
        assert_eq!(id("web:80"), Some((false, "web".into(), "80".into())));
        assert_eq!(id("https:web:"), Some((true, "web".into(), String::new())));
        assert_eq!(id("ftp:web:1"), None);
        assert_eq!(id(":80"), None);
    }
}
