//! The server under measurement: by kubeconfig, with as many connections as asked for.

use crate::cli::BenchArgs;
use crate::lock;
use crate::paths::Paths;
use anyhow::Context;
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use std::time::Duration;

/// A cluster, a namespace in it for this run, and the pid of its server where it is one of ours.
pub(super) struct Target {
    pub(super) clients: Vec<kube::Client>,
    pub(super) namespace: String,
    pub(super) pid: Option<i32>,
}

impl Target {
    pub(super) async fn open(args: &BenchArgs) -> anyhow::Result<Self> {
        let paths = Paths::new(&args.cluster.data_dir)?;
        let file = args.kubeconfig.clone().unwrap_or_else(|| paths.admin_kubeconfig());
        let mut clients = Vec::new();
        for _ in 0..args.connections.max(1) {
            let client = corten_client::from_kubeconfig(&file).await;
            clients.push(client.with_context(|| format!("{}: is the cluster up?", file.display()))?);
        }
        let pid = if args.kubeconfig.is_none() { lock::running_pid(&paths) } else { None };
        let namespace = format!("corten-bench-{}", std::process::id());
        let target = Self { clients, namespace, pid };
        let body = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}}}}"#, target.namespace);
        send(&target.clients[0], "POST", "/api/v1/namespaces", body).await?;
        Ok(target)
    }

    /// Removes the namespace with all that was made in it.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        send(&self.clients[0], "DELETE", &format!("/api/v1/namespaces/{}", self.namespace), String::new()).await?;
        Ok(())
    }

    /// Processor time of the server so far.
    pub(super) fn cpu(&self) -> Option<Duration> {
        self.pid.and_then(cpu_of)
    }

    /// What the server took since `before`.
    pub(super) fn cpu_since(&self, before: Option<Duration>) -> Option<Duration> {
        Some(self.cpu()?.saturating_sub(before?))
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

/// One request; the body's length in bytes. An answer other than 2xx is an error with its text.
pub(super) async fn send(client: &kube::Client, method: &str, path: &str, body: String) -> anyhow::Result<usize> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.into_bytes()))?;
    let response = client.send(request).await?;
    let status = response.status();
    let mut body = response.into_body();
    let (mut length, mut text) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        length += data.len();
        if !status.is_success() {
            text.extend_from_slice(&data);
        }
    }
    anyhow::ensure!(status.is_success(), "{method} {path}: {status}: {}", String::from_utf8_lossy(&text));
    Ok(length)
}
