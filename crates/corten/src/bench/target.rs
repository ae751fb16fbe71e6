//! The server under measurement: by kubeconfig, with a namespace for this run.

use super::connection::{self, Connection};
use super::lines::Lines;
use crate::cli::BenchArgs;
use crate::lock;
use crate::paths::Paths;
use anyhow::Context;
use base64::Engine as _;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where the server is and who we are there.
pub(super) struct Access {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls: Arc<rustls::ClientConfig>,
}

impl Access {
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Reads a kubeconfig with one cluster and one user who has a client certificate, all of it inline.
    fn read(file: &Path) -> anyhow::Result<Self> {
        let config: Value = corten_schema::decode::yaml(&std::fs::read(file)?)?;
        let (cluster, user) = (&config["clusters"][0]["cluster"], &config["users"][0]["user"]);
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&inline(cluster, "certificate-authority-data")?) {
            roots.add(certificate?)?;
        }
        let chain = inline(user, "client-certificate-data")?;
        let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(&inline(user, "client-key-data")?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)?;
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let url: http::Uri = cluster["server"].as_str().unwrap_or_default().parse()?;
        let host = url.host().context("no host in the server's URL")?.to_owned();
        Ok(Self {
            host,
            port: url.port_u16().unwrap_or(443),
            tls: Arc::new(tls),
        })
    }
}

/// A field in base64.
fn inline(object: &Value, field: &str) -> anyhow::Result<Vec<u8>> {
    let data = object[field].as_str().with_context(|| format!("no {field}"))?;
    Ok(base64::engine::general_purpose::STANDARD.decode(data)?)
}

/// A cluster, a namespace in it for this run, and the pids of its server where they are known.
pub(super) struct Target {
    pub(super) access: Arc<Access>,
    pub(super) connections: usize,
    pub(super) namespace: String,
    pub(super) pids: Vec<i32>,
}

impl Target {
    pub(super) async fn open(args: &BenchArgs) -> anyhow::Result<Self> {
        let paths = Paths::new(&args.cluster.data_dir)?;
        let file = args
            .kubeconfig
            .clone()
            .unwrap_or_else(|| paths.admin_kubeconfig());
        let access = Access::read(&file).with_context(|| format!("{}", file.display()))?;
        let namespace = format!("corten-bench-{}", std::process::id());
        let target = Self {
            access: Arc::new(access),
            connections: args.connections.max(1),
            namespace,
            pids: server_pids(args, &paths),
        };
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}}"#,
            target.namespace
        );
        target
            .connect()
            .await?
            .send("POST", "/api/v1/namespaces", body)
            .await?;
        Ok(target)
    }

    pub(super) async fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.access).await
    }

    pub(super) async fn watch(&self, path: &str) -> anyhow::Result<Lines> {
        connection::watch(&self.access, path).await
    }

    /// The path of a kind's objects in this run's namespace.
    pub(super) fn path(&self, plural: &str) -> String {
        format!("/api/v1/namespaces/{}/{plural}", self.namespace)
    }

    /// Removes the namespace with all that was made in it.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{}", self.namespace);
        self.connect().await?.send("DELETE", &path, "").await?;
        Ok(())
    }

    /// The first of its processes.
    pub(super) fn server(&self) -> Option<i32> {
        self.pids.first().copied()
    }

    /// Processor time so far.
    pub(super) fn cpu(&self) -> Cpu {
        let own = i32::try_from(std::process::id()).ok().and_then(cpu_of);
        Cpu {
            server: (!self.pids.is_empty()).then(|| self.pids.iter().filter_map(|pid| cpu_of(*pid)).sum()),
            client: own.unwrap_or_default(),
        }
    }
}

/// The processes to account for: those told of, or the data directory's server.
pub(super) fn server_pids(args: &BenchArgs, paths: &Paths) -> Vec<i32> {
    if args.server_pid.is_empty() && args.kubeconfig.is_none() {
        lock::running_pid(paths).into_iter().collect()
    } else {
        args.server_pid.clone()
    }
}

/// Processor time of the server, where it can be known, and of the bench itself.
#[derive(Clone, Copy)]
pub(super) struct Cpu {
    pub(super) server: Option<Duration>,
    pub(super) client: Duration,
}

impl Cpu {
    /// What was taken between `earlier` and this.
    pub(super) fn since(self, earlier: Self) -> Self {
        let server = self
            .server
            .zip(earlier.server)
            .map(|(now, then)| now.saturating_sub(then));
        Self {
            server,
            client: self.client.saturating_sub(earlier.client),
        }
    }
}

/// User and system time of a process, from /proc.
pub(super) fn cpu_of(pid: i32) -> Option<Duration> {
    /// Clock ticks a second; the same on every Linux that Corten runs on.
    const TICKS: u64 = 100;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}
