//! The gRPC health protocol, `grpc.health.v1.Health/Check`: one call, so spoken by hand over HTTP/2.

use super::Report;
use super::http::{dial, joined};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

const MAX_ANSWER: usize = 64 << 10;
const UNIMPLEMENTED: &str = "12";

/// Between the first two attempts to connect; each further one waits that much longer by [`FURTHER`] (gRPC's back-off).
const RECONNECT: Duration = Duration::from_secs(1);
const FURTHER: f64 = 1.6;

/// Asks `service` (empty: the server as a whole) at `host:port`. A server that cannot be reached has `timeout` to appear, as
/// with upstream's client.
pub async fn check(host: &str, port: u16, service: &str, timeout: Duration) -> Report {
    let (seconds, deadline) = (timeout.as_secs(), Instant::now() + timeout);
    let server = joined(host, port);
    let Ok(stream) = timeout_at(deadline, connect(host, port)).await else {
        return Report::Failure(format!(
            "timeout: failed to connect service \"{server}\" within {seconds}s: context deadline exceeded"
        ));
    };
    match timeout_at(deadline, call(stream, &server, service)).await {
        Ok(Ok(report)) => report,
        Ok(Err(error)) => Report::Failure(format!("error: health rpc probe failed: {error}")),
        Err(_) => Report::Failure(format!("timeout: health rpc did not complete within {seconds}s")),
    }
}

async fn connect(host: &str, port: u16) -> TcpStream {
    let mut wait = RECONNECT;
    loop {
        if let Ok(stream) = dial(host, port).await {
            return stream;
        }
        tokio::time::sleep(wait).await;
        wait = wait.mul_f64(FURTHER);
    }
}

async fn call(stream: TcpStream, server: &str, service: &str) -> Result<Report, String> {
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
    let driver = tokio::spawn(connection);
    let request = Request::post(format!("http://{server}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", super::run::AGENT)
        .body(Full::new(Bytes::from(frame(service))))
        .map_err(|e| e.to_string())?;
    let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
    let headers = response.headers().clone();
    let body = Limited::new(response.into_body(), MAX_ANSWER)
        .collect()
        .await
        .map_err(|e| e.to_string())?;
    driver.abort();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let field = |name: &str| {
        let value = trailers.get(name).or_else(|| headers.get(name));
        value.and_then(|v| v.to_str().ok()).unwrap_or_default().to_owned()
    };
    let (code, message) = (field("grpc-status"), field("grpc-message"));
    Ok(match code.as_str() {
        "0" | "" => verdict(&body.to_bytes()),
        UNIMPLEMENTED => Report::Failure(format!(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health): {message}"
        )),
        _ => Report::Failure(format!(
            "error: health rpc probe failed: rpc error: code = {code} desc = {message}"
        )),
    })
}

/// `HealthCheckRequest{service}` with gRPC's five-byte prefix.
fn frame(service: &str) -> Vec<u8> {
    let mut message = Vec::new();
    if !service.is_empty() {
        message.push(0x0a);
        varint(&mut message, service.len() as u64);
        message.extend_from_slice(service.as_bytes());
    }
    let mut out = vec![0];
    out.extend_from_slice(&u32::try_from(message.len()).unwrap_or(0).to_be_bytes());
    out.extend(message);
    out
}

fn varint(out: &mut Vec<u8>, mut n: u64) {
    while n >= 0x80 {
        out.push((n & 0x7f) as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// `HealthCheckResponse{status}`: an enum in field 1, absent for UNKNOWN.
fn verdict(body: &[u8]) -> Report {
    let status = match body.get(5..) {
        Some([0x08, status, ..]) => *status,
        _ => 0,
    };
    let name = match status {
        1 => return Report::Success,
        2 => "NOT_SERVING",
        3 => "SERVICE_UNKNOWN",
        _ => "UNKNOWN",
    };
    Report::Failure(format!("service unhealthy (responded with \"{name}\")"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::TcpListener;

    fn told(report: Report) -> String {
        match report {
            Report::Failure(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_server_has_until_the_timeout() {
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = closed.local_addr().unwrap().port();
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mute = silent.local_addr().unwrap().port();
        drop(closed);
        let second = Duration::from_secs(1);
        let (gone, mute) = tokio::join!(
            check("127.0.0.1", port, "", second),
            check("127.0.0.1", mute, "", second)
        );
        assert_eq!(
            told(gone),
            format!(
                "timeout: failed to connect service \"127.0.0.1:{port}\" within 1s: context deadline exceeded"
            )
        );
        assert_eq!(told(mute), "timeout: health rpc did not complete within 1s");
    }

    #[test]
    fn frames() {
        assert_eq!(frame("ab"), [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(verdict(&[0, 0, 0, 0, 2, 8, 1]), Report::Success);
        assert!(matches!(verdict(&[0, 0, 0, 0, 0]), Report::Failure(m) if m.contains("UNKNOWN")));
    }
}
