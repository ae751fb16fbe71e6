//! Where the webhooks of Services are: a ready endpoint, reached the way pods are.
//! Rules and texts: upstream's `proxyutil.ResolveEndpoint`.

use std::io;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use corten_admission::Parts;
use corten_meta::Status;
use corten_meta::object::str_at;
use corten_webhook::{BoxIo, Caller, ClientConfig, Dialer};
use serde_json::Value;

use crate::connect::Target;
use crate::custom::Reviewer;
use crate::server::Inner;

/// Gives the registry its webhooks and policies.
pub fn install(server: &Arc<Inner>) {
    let dialer = Arc::new(Endpoints(Arc::downgrade(server)));
    let parts = Parts {
        caller: Arc::new(Caller::new(dialer)),
        authorizer: server.authorizer.clone(),
    };
    let plugins = corten_admission::plugins(&server.registry, &parts);
    server.registry.set_dynamic_admission(plugins);
    corten_admission::typecheck::start(&server.registry, &server.stop);
}

/// Asks the webhooks that convert custom resources.
pub fn conversions(server: &Arc<Inner>) -> Arc<dyn Reviewer> {
    let dialer = Arc::new(Endpoints(Arc::downgrade(server)));
    Arc::new(Conversions(Caller::new(dialer).with_user_agent("kube-apiserver")))
}

struct Conversions(Caller);

/// How long a conversion may take: all requests for the kind wait for it.
const CONVERSION_TIMEOUT: Duration = Duration::from_secs(30);

#[async_trait]
impl Reviewer for Conversions {
    async fn review(&self, client_config: &Value, document: Bytes) -> Result<Value, String> {
        let config = ClientConfig::from_json(client_config).map_err(|error| error.to_string())?;
        let answer = self.0.post(&Arc::new(config), CONVERSION_TIMEOUT, document).await;
        answer.map_err(|error| {
            let text = error.to_string();
            let bare = text.strip_prefix("failed to call webhook: ");
            bare.map_or_else(|| text.clone(), str::to_owned)
        })
    }
}

/// Dials Services by their EndpointSlices. The registry holds it, and the server the registry: hence weak.
struct Endpoints(Weak<Inner>);

#[async_trait]
impl Dialer for Endpoints {
    async fn service(&self, namespace: &str, name: &str, port: u16) -> io::Result<BoxIo> {
        let server = self
            .0
            .upgrade()
            .ok_or_else(|| io::Error::other("the server is shutting down"))?;
        let targets = resolve(&server, namespace, name, port)
            .await
            .map_err(|status| io::Error::other(status.message))?;
        let dialer = server
            .backends()
            .map_err(|status| io::Error::other(status.message))?
            .dialer
            .clone();
        let stream = dialer.connect(&targets).await.map_err(|error| {
            let text = corten_webhook::dial_text(&format!("{}:{}", targets.host, targets.port), &error);
            io::Error::other(text)
        })?;
        Ok(Box::new(stream))
    }
}

/// A ready endpoint of a Service's port, of the Service's first address family where there is one.
async fn resolve(server: &Inner, namespace: &str, name: &str, port: u16) -> Result<Target, Status> {
    let service = server.fetch("", "services", namespace, name).await?;
    let kind = str_at(&service, &["spec", "type"]);
    if !matches!(kind, "" | "ClusterIP" | "NodePort" | "LoadBalancer") {
        return Err(Status::new(500, "", format!("unsupported service type {kind:?}")));
    }
    let ports = list(&service["spec"]["ports"]);
    let Some(service_port) = ports.iter().find(|p| p["port"] == port) else {
        let text = format!("no service port {port} found for service {name:?}");
        return Err(Status::service_unavailable(text));
    };
    let port_name = service_port["name"].as_str().unwrap_or_default();
    let selector = format!("kubernetes.io/service-name={name}");
    let mut slices = server
        .fetch_all("discovery.k8s.io", "endpointslices", namespace, &selector)
        .await?;
    let family = service["spec"]["ipFamilies"][0].as_str().unwrap_or("IPv4");
    slices.sort_by_key(|slice| slice["addressType"] != family);
    let found = slices.iter().find_map(|slice| ready_endpoint(slice, port_name));
    found.ok_or_else(|| Status::service_unavailable(format!("no endpoints available for service {name:?}")))
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// Any ready endpoint of a slice: each call may take another one.
fn ready_endpoint(slice: &Value, port_name: &str) -> Option<Target> {
    let named = |port: &&Value| port["name"].as_str().unwrap_or_default() == port_name;
    let port = list(&slice["ports"]).iter().find(named)?["port"].as_u64()?;
    let ready: Vec<&Value> = list(&slice["endpoints"])
        .iter()
        .filter(|endpoint| endpoint["conditions"]["ready"] != false)
        .collect();
    if ready.is_empty() {
        return None;
    }
    let chosen = ready[rand::random_range(0..ready.len())];
    Some(Target {
        node: str_at(chosen, &["nodeName"]).to_owned(),
        host: chosen["addresses"][0].as_str()?.to_owned(),
        port: u16::try_from(port).ok()?,
    })
}
