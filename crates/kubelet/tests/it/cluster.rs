//! One node under test.

use crate::runtime::FakeRuntime;
use corten_client::CancellationToken;
use corten_client::fake::Fake;
use corten_kubelet::server::{Access, Attributes, User};
use corten_kubelet::{Config, Kernel, Limits, ServerConfig};
use corten_stdx::RealClock;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub const NODE: &str = "n1";

pub struct Cluster {
    pub api: Fake,
    pub runtime: FakeRuntime,
    pub dir: TempDir,
    pub address: std::net::SocketAddr,
    pub certificate: CertificateDer<'static>,
    stop: CancellationToken,
    agent: tokio::task::JoinHandle<()>,
}

impl Cluster {
    pub async fn start() -> Self {
        let runtime = FakeRuntime::new();
        runtime.add_image("busybox:latest");
        let api = Fake::default();
        let dir = TempDir::new().unwrap();
        let (server, certificate) = server().await;
        let address = server.listener.local_addr().unwrap();
        let (stop, agent) = agent(&api, &runtime, &dir, Some(server));
        let this = Self {
            api,
            runtime,
            dir,
            address,
            certificate,
            stop,
            agent,
        };
        this.until("the node is registered", |c| {
            c.api.get("nodes", "", NODE).is_some()
        })
        .await;
        this
    }

    /// Ends the agent and starts another on the same state.
    pub async fn restart(&mut self) {
        self.stop.cancel();
        let _ = (&mut self.agent).await;
        (self.stop, self.agent) = agent(&self.api, &self.runtime, &self.dir, None);
    }

    /// Waits for a state; fails after a while.
    pub async fn until(&self, what: &str, ready: impl Fn(&Self) -> bool) {
        let mut pause = tokio::time::interval(Duration::from_millis(2));
        for _ in 0..5000 {
            if ready(self) {
                return;
            }
            pause.tick().await;
        }
        panic!(
            "not reached: {what}; pods: {:#?}, calls {:?}",
            self.api.list("pods"),
            self.runtime.calls()
        );
    }

    pub fn pod(&self, name: &str) -> Option<Value> {
        self.api.get("pods", "default", name)
    }

    pub fn phase(&self, name: &str) -> String {
        let pod = self.pod(name).unwrap_or_default();
        pod["status"]["phase"].as_str().unwrap_or_default().to_owned()
    }

    pub fn ready(&self, name: &str) -> bool {
        let pod = self.pod(name).unwrap_or_default();
        let conditions = pod["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        conditions
            .iter()
            .any(|c| c["type"] == "Ready" && c["status"] == "True")
    }

    pub fn waiting(&self, name: &str) -> String {
        let pod = self.pod(name).unwrap_or_default();
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// Reasons and messages of the events there are, in order of writing.
    pub fn events(&self) -> Vec<String> {
        let mut events = self.api.list("events");
        events.sort_by_key(|e| {
            e["metadata"]["resourceVersion"]
                .as_str()
                .and_then(|v| v.parse::<u64>().ok())
                .unwrap_or(0)
        });
        let pods = events
            .into_iter()
            .filter(|e| e["involvedObject"]["kind"] == "Pod");
        pods.map(|e| {
            format!(
                "{} {}",
                e["reason"].as_str().unwrap(),
                e["message"].as_str().unwrap()
            )
        })
        .collect()
    }

    pub fn create(&self, name: &str, spec: Value) {
        let mut spec = spec;
        spec["nodeName"] = json!(NODE);
        for c in spec["containers"].as_array_mut().unwrap() {
            c["image"] = c.get("image").cloned().unwrap_or(json!("busybox"));
            c["imagePullPolicy"] = c.get("imagePullPolicy").cloned().unwrap_or(json!("IfNotPresent"));
        }
        let metadata = json!({"name": name, "namespace": "default", "labels": {"app": name}});
        self.api.put(
            "pods",
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}),
        );
    }

    /// What `kubectl delete` does.
    pub fn delete(&self, name: &str, grace: i64) {
        self.api.edit("pods", "default", name, |pod| {
            pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn agent(
    api: &Fake,
    runtime: &FakeRuntime,
    dir: &TempDir,
    server: Option<ServerConfig>,
) -> (CancellationToken, tokio::task::JoinHandle<()>) {
    let stop = CancellationToken::new();
    let all = Arc::new(runtime.clone());
    let config = Config {
        node_name: NODE.into(),
        node_ips: vec!["192.168.0.1".parse().unwrap()],
        client: api.client(),
        runtime: all.clone(),
        images: all.clone(),
        streaming: all,
        root_dir: dir.path().join("kubelet"),
        log_dir: dir.path().join("logs"),
        cluster_dns: vec!["10.96.0.10".parse().unwrap()],
        cluster_domain: "cluster.local".into(),
        resolv_conf: dir.path().join("resolv.conf"),
        server,
        cgroup_root: "/test".into(),
        max_pods: 110,
        limits: Limits::default(),
        pod_cidrs: vec!["10.1.0.0/24".into()],
        labels: Default::default(),
        taints: Vec::new(),
        clock: RealClock::shared(),
        kernel: Kernel {
            mounts: false,
            cgroups: false,
        },
        ready: None,
    };
    let token = stop.clone();
    let task = tokio::spawn(async move { corten_kubelet::run(config, token).await.unwrap() });
    (stop, task)
}

/// `admin` may do everything, `guest` nothing.
struct Tokens;

#[async_trait::async_trait]
impl Access for Tokens {
    async fn authenticate(
        &self,
        _: &[CertificateDer<'static>],
        bearer: Option<&str>,
    ) -> Result<Option<User>, String> {
        let user = |name: &str| User {
            name: name.into(),
            ..User::default()
        };
        Ok(bearer.filter(|b| matches!(*b, "admin" | "guest")).map(user))
    }
    async fn authorize(&self, user: &User, _: &Attributes<'_>) -> Result<bool, String> {
        Ok(user.name == "admin")
    }
}

async fn server() -> (ServerConfig, CertificateDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let certificate = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    (
        ServerConfig {
            listener,
            tls: Arc::new(tls),
            access: Arc::new(Tokens),
        },
        certificate,
    )
}
