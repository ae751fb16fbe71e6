//! Carries a probe out.

use super::{Report, grpc, http};
use crate::env::expand::expand;
use corten_runtime::cri::{Code, RuntimeService};
use k8s_openapi::api::core::v1::{Container, Probe};
use std::time::Duration;

/// How probes name themselves.
pub const AGENT: &str = "kube-probe/1.36";
/// What of a probe's output an event may carry.
const MAX_OUTPUT: usize = 10 << 10;

pub async fn run(
    runtime: &dyn RuntimeService,
    c: &Container,
    id: &str,
    probe: &Probe,
    pod_ip: &str,
) -> Report {
    let seconds = u64::try_from(probe.timeout_seconds.unwrap_or(1))
        .unwrap_or(1)
        .max(1);
    let timeout = Duration::from_secs(seconds);
    if let Some(exec) = &probe.exec {
        return exec_probe(
            runtime,
            c,
            id,
            exec.command.as_deref().unwrap_or_default(),
            timeout,
        )
        .await;
    }
    if let Some(get) = &probe.http_get {
        return match http::Get::new(get, c, pod_ip, AGENT) {
            Ok(get) => judge(get.run(timeout).await),
            Err(error) => Report::Error(error),
        };
    }
    if let Some(tcp) = &probe.tcp_socket {
        let host = tcp.host.as_deref().filter(|h| !h.is_empty()).unwrap_or(pod_ip);
        let port = match http::port(&tcp.port, c) {
            Ok(port) => port,
            Err(error) => return Report::Error(error),
        };
        return match tokio::time::timeout(timeout, http::dial(host, port)).await {
            Ok(Ok(_)) => Report::Success,
            Ok(Err(error)) => Report::Failure(error),
            Err(_) => Report::Failure(format!("dial tcp {host}:{port}: i/o timeout")),
        };
    }
    if let Some(g) = &probe.grpc {
        let Ok(port) = u16::try_from(g.port) else {
            return Report::Error(format!("invalid port number: {}", g.port));
        };
        return grpc::check(pod_ip, port, g.service.as_deref().unwrap_or_default(), timeout).await;
    }
    Report::Error(format!("missing probe handler for {}", c.name))
}

fn judge(answer: Result<http::Answer, String>) -> Report {
    match answer {
        Ok(a) if a.elsewhere => {
            Report::Warning(format!("Probe terminated redirects, Response body: {}", a.body))
        }
        Ok(a) if (200..400).contains(&a.code) => Report::Success,
        Ok(a) => Report::Failure(format!("HTTP probe failed with statuscode: {}", a.code)),
        Err(error) => Report::Failure(error),
    }
}

async fn exec_probe(
    runtime: &dyn RuntimeService,
    c: &Container,
    id: &str,
    command: &[String],
    timeout: Duration,
) -> Report {
    // Only plain values: probes do not see what comes from elsewhere.
    let value = |name: &str| {
        c.env
            .iter()
            .flatten()
            .find(|e| e.name == name)
            .and_then(|e| e.value.clone())
    };
    let command: Vec<String> = command.iter().map(|w| expand(w, value)).collect();
    let shown = command.join(" ");
    match runtime.exec_sync(id, command, timeout).await {
        Ok(done) if done.exit_code == 0 => Report::Success,
        Ok(done) => {
            let mut output = String::from_utf8_lossy(&done.stdout).into_owned();
            output.push_str(&String::from_utf8_lossy(&done.stderr));
            let end = (0..=MAX_OUTPUT.min(output.len()))
                .rev()
                .find(|i| output.is_char_boundary(*i));
            output.truncate(end.unwrap_or(0));
            Report::Failure(output)
        }
        Err(e) if e.code == Code::DeadlineExceeded => Report::Failure(format!(
            "command timed out: \"{shown}\" timed out after {}s",
            timeout.as_secs()
        )),
        Err(e) => Report::Error(e.rpc_text()),
    }
}
