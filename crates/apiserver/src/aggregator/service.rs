//! One remote APIService: what its object says, and what is known of the server behind it.

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use corten_auth::pki::Identity;
use corten_meta::object::{self, str_at};
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::transport::Transport;
use crate::server::Inner;
use crate::tls;

/// Upstream's default of `spec.service.port`.
const DEFAULT_PORT: u16 = 443;

/// `spec.service`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceRef {
    /// Namespace of the Service.
    pub namespace: String,
    /// Name of the Service.
    pub name: String,
    /// Port of the Service.
    pub port: u16,
}

impl ServiceRef {
    /// The name its certificate is for.
    pub fn host(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

/// See the module.
pub struct ApiService {
    /// `VERSION.GROUP`
    pub name: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// `groupPriorityMinimum` and `versionPriority`.
    pub priorities: (u64, u64),
    /// Where it is served.
    pub service: ServiceRef,
    /// How it is spoken to, or why it cannot be.
    pub transport: Result<Transport, String>,
    /// The APIVersionDiscovery last read, its freshness included.
    pub discovery: ArcSwapOption<Value>,
    /// `paths` of its `/openapi/v3`.
    pub openapi_v3: ArcSwapOption<Map<String, Value>>,
    /// Its `/openapi/v2`, cut down to its own paths.
    pub openapi_v2: ArcSwapOption<Value>,
    /// Something it depends on has changed.
    pub changed: Notify,
    /// Cancelled when the object is gone or another.
    pub stop: CancellationToken,
    spec: Value,
    available: AtomicBool,
}

impl ApiService {
    /// Reads an object; `None` where it is served locally.
    pub fn read(object: &Value, identity: &Identity, server: &Weak<Inner>) -> Option<Self> {
        let spec = &object["spec"];
        let service = spec["service"].as_object()?;
        let text = |key: &str| {
            service
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let port = service.get("port").and_then(Value::as_u64);
        let service = ServiceRef {
            namespace: text("namespace"),
            name: text("name"),
            port: port.and_then(|p| u16::try_from(p).ok()).unwrap_or(DEFAULT_PORT),
        };
        let bundle = base64::engine::general_purpose::STANDARD
            .decode(str_at(spec, &["caBundle"]))
            .unwrap_or_default();
        let insecure = spec["insecureSkipTLSVerify"] == true;
        let transport = tls::client_tls(Some(identity), Some(&bundle), insecure)
            .map_err(|e| e.to_string())
            .and_then(|tls| Transport::new(server.clone(), service.clone(), tls));
        let found = Self {
            name: object::name(object).to_owned(),
            group: str_at(spec, &["group"]).to_owned(),
            version: str_at(spec, &["version"]).to_owned(),
            priorities: (
                spec["groupPriorityMinimum"].as_u64().unwrap_or(0),
                spec["versionPriority"].as_u64().unwrap_or(0),
            ),
            service,
            transport,
            discovery: ArcSwapOption::empty(),
            openapi_v3: ArcSwapOption::empty(),
            openapi_v2: ArcSwapOption::empty(),
            changed: Notify::new(),
            stop: CancellationToken::new(),
            spec: spec.clone(),
            available: AtomicBool::new(false),
        };
        found.observe(object);
        Some(found)
    }

    /// True where the object says nothing else about the server than this one was made of.
    pub fn same(&self, object: &Value) -> bool {
        self.spec == object["spec"]
    }

    /// Takes in the condition that the object shows.
    pub fn observe(&self, object: &Value) {
        let conditions = object["status"]["conditions"].as_array();
        let available = conditions
            .into_iter()
            .flatten()
            .any(|c| c["type"] == "Available" && c["status"] == "True");
        self.available.store(available, Ordering::Relaxed);
    }

    /// Whether requests are passed on.
    pub fn available(&self) -> bool {
        self.available.load(Ordering::Relaxed)
    }
}
