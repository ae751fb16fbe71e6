//! As much of an API server as kubectl needs for one running pod. Commands run as processes of this machine, ports
//! are those of this machine.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;

use corten_streams::remotecommand::{Options, Outcome};
use corten_streams::{portforward, remotecommand};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

const POD: &str = "/api/v1/namespaces/default/pods/p";

/// Serves until the test ends.
pub async fn start() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer))
                    .with_upgrades(),
            );
        }
    });
    address
}

async fn answer(mut request: Request<Incoming>) -> Result<Response<String>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = match path.strip_prefix(POD) {
        Some("/exec") => return Ok(exec(&mut request)),
        Some("/portforward") => return Ok(forward(&mut request)),
        Some("") => pod(),
        _ => discovery(&path),
    };
    let reply = Response::builder().header("content-type", "application/json");
    Ok(reply.body(body.to_string()).unwrap())
}

fn discovery(path: &str) -> Value {
    match path {
        "/api" => json!({"kind": "APIVersions", "versions": ["v1"]}),
        "/apis" => json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": []}),
        _ => json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "v1", "resources": [
            {"name": "pods", "singularName": "pod", "namespaced": true, "kind": "Pod", "verbs": ["get", "list"]},
        ]}),
    }
}

fn pod() -> Value {
    json!({
        "kind": "Pod", "apiVersion": "v1",
        "metadata": {"name": "p", "namespace": "default", "uid": "u"},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
        "status": {"phase": "Running"},
    })
}

/// Values of one query parameter.
fn query(request: &Request<Incoming>, name: &str) -> Vec<String> {
    let query = request.uri().query().unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs
        .filter(|(key, _)| *key == name)
        .map(|(_, value)| unescape(value))
        .collect()
}

fn unescape(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let hex = std::str::from_utf8(&rest[..2]).unwrap();
                bytes.push(u8::from_str_radix(hex, 16).unwrap());
                rest = &rest[2..];
            }
            byte => bytes.push(*byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn exec(request: &mut Request<Incoming>) -> Response<String> {
    let asked = |name: &str| query(request, name).iter().any(|value| value == "true");
    let options = Options {
        stdin: asked("stdin"),
        stdout: asked("stdout"),
        stderr: asked("stderr"),
        tty: asked("tty"),
    };
    let command = query(request, "command");
    match remotecommand::accept(request, options) {
        Err(reply) => *reply,
        Ok(accepted) => {
            tokio::spawn(async move { run(accepted.session.await.unwrap(), &command).await });
            accepted.reply
        }
    }
}

async fn run(session: remotecommand::Session, command: &[String]) {
    let piped = || Stdio::piped();
    let mut child = tokio::process::Command::new(&command[0])
        .args(&command[1..])
        .stdin(if session.stdin.is_some() {
            piped()
        } else {
            Stdio::null()
        })
        .stdout(piped())
        .stderr(piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout, mut stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let input = tokio::spawn(async move {
        if let (Some(mut from), Some(to)) = (session.stdin, stdin.as_mut()) {
            // The command may end before its input.
            let _ = tokio::io::copy(&mut from, to).await;
        }
    });
    let copy_out = async {
        if let (Some(from), Some(mut to)) = (stdout.as_mut(), session.stdout) {
            let _ = tokio::io::copy(from, &mut to).await;
            let _ = to.shutdown().await;
        }
    };
    let copy_errors = async {
        if let (Some(from), Some(mut to)) = (stderr.as_mut(), session.stderr) {
            let _ = tokio::io::copy(from, &mut to).await;
            let _ = to.shutdown().await;
        }
    };
    tokio::join!(copy_out, copy_errors);
    let status = child.wait().await.unwrap();
    input.abort();
    session
        .exit
        .send(&Outcome::of_code(status.code().unwrap_or(-1)))
        .await;
}

fn forward(request: &mut Request<Incoming>) -> Response<String> {
    let ports: Vec<u16> = query(request, "ports")
        .iter()
        .map(|port| port.parse().unwrap())
        .collect();
    match portforward::accept(request, &ports) {
        Err(reply) => *reply,
        Ok(accepted) => {
            tokio::spawn(async move {
                let mut session = accepted.session.await.unwrap();
                while let Some(mut forward) = session.next().await {
                    tokio::spawn(async move {
                        match TcpStream::connect(("127.0.0.1", forward.port)).await {
                            Ok(mut there) => {
                                // Either side may cut the connection.
                                let _ = tokio::io::copy_bidirectional(&mut forward.stream, &mut there).await;
                            }
                            Err(error) => forward.failure.report(&format!("cannot connect: {error}")).await,
                        }
                    });
                }
            });
            accepted.reply
        }
    }
}
