//! Exec, attach and port-forward: between a client's connection and the runtime's pipes.

use super::{Answer, Query, Server, answer, full, text};
use crate::machine::view::{ContainerView, State};
use crate::worker::Snapshot;
use corten_runtime::cri::{AttachRequest, ExecIo, ExecRequest, Streaming, TerminalSize};
use corten_streams::{Reply, portforward, remotecommand};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use remotecommand::{Options, Outcome, Session};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

/// What `/run` waits for at most.
const RUN: Duration = Duration::from_secs(600);
/// What a forwarded connection goes on for when the pod has closed its side, as containerd has it.
const POD_ENDED: Duration = Duration::from_secs(1);

fn reply(reply: Reply) -> Answer {
    reply.map(full)
}

fn options(query: &Query) -> Options {
    let either = |a: &str, b: &str| query.flag(a) || query.flag(b);
    Options {
        stdin: either("input", "stdin"),
        stdout: either("output", "stdout"),
        stderr: either("error", "stderr"),
        tty: query.flag("tty"),
    }
}

fn pod(server: &Server, ns: &str, name: &str, uid: Option<&str>) -> Result<Snapshot, Box<Answer>> {
    let found = server.pods.find(ns, name);
    let fits = |s: &Snapshot| uid.is_none_or(|uid| s.pod.metadata.uid.as_deref() == Some(uid));
    found
        .filter(fits)
        .ok_or_else(|| Box::new(text(StatusCode::NOT_FOUND, "pod does not exist")))
}

fn running(snapshot: &Snapshot, container: &str) -> Result<ContainerView, Box<Answer>> {
    let found = snapshot
        .view
        .find(container)
        .filter(|v| v.state == State::Running);
    found.cloned().ok_or_else(|| {
        let message = format!("container not found (\"{container}\")");
        Box::new(text(StatusCode::INTERNAL_SERVER_ERROR, message))
    })
}

pub(super) fn exec(
    server: &Server,
    request: &mut Request<Incoming>,
    ns: &str,
    name: &str,
    uid: Option<&str>,
    container: &str,
    query: &Query,
) -> Answer {
    let found = pod(server, ns, name, uid).and_then(|s| running(&s, container));
    let view = match found {
        Ok(view) => view,
        Err(answer) => return *answer,
    };
    let wanted = options(query);
    let call = ExecRequest {
        container_id: view.id,
        cmd: query.all("command").map(str::to_owned).collect(),
        tty: wanted.tty,
        stdin: wanted.stdin,
        stdout: wanted.stdout,
        stderr: wanted.stderr && !wanted.tty,
    };
    let streaming = Arc::clone(&server.cx.streaming);
    session(request, wanted, async move { streaming.exec(call).await })
}

pub(super) fn attach(
    server: &Server,
    request: &mut Request<Incoming>,
    ns: &str,
    name: &str,
    uid: Option<&str>,
    container: &str,
    query: &Query,
) -> Answer {
    let found = pod(server, ns, name, uid).and_then(|s| running(&s, container).map(|v| (s, v)));
    let (snapshot, view) = match found {
        Ok(found) => found,
        Err(answer) => return *answer,
    };
    let mut wanted = options(query);
    // Whether there is a terminal is decided when the container is made, not now.
    let made = crate::pod::PodExt::container(&*snapshot.pod, container);
    wanted.tty = made.is_some_and(|(_, c)| c.tty.unwrap_or(false));
    let call = AttachRequest {
        container_id: view.id,
        stdin: wanted.stdin,
        tty: wanted.tty,
        stdout: wanted.stdout,
        stderr: wanted.stderr && !wanted.tty,
    };
    let streaming = Arc::clone(&server.cx.streaming);
    session(request, wanted, async move { streaming.attach(call).await })
}

fn session<F>(request: &mut Request<Incoming>, wanted: Options, start: F) -> Answer
where
    F: Future<Output = corten_runtime::cri::Result<ExecIo>> + Send + 'static,
{
    let accepted = match remotecommand::accept(request, wanted) {
        Ok(accepted) => accepted,
        Err(refused) => return reply(*refused),
    };
    tokio::spawn(async move {
        match accepted.session.await {
            Ok(session) => bridge(session, start).await,
            Err(error) => tracing::debug!(%error, "exec session not opened"),
        }
    });
    reply(accepted.reply)
}

async fn bridge<F>(session: Session, start: F)
where
    F: Future<Output = corten_runtime::cri::Result<ExecIo>>,
{
    let io = match start.await {
        Ok(io) => io,
        Err(error) => {
            let message = format!("error executing command in container: {}", error.message);
            drop((session.stdin, session.stdout, session.stderr));
            session.exit.send(&Outcome::Failed(message)).await;
            return;
        }
    };
    let input = tokio::spawn(copy(session.stdin, io.stdin));
    let mut sizes = session.resize;
    let resize = io.resize;
    let sizes = tokio::spawn(async move {
        while sizes.changed().await.is_ok() {
            let size = *sizes.borrow_and_update();
            // A size that does not fit into the queue is overtaken by the next.
            let _ = resize.try_send(TerminalSize {
                width: size.width,
                height: size.height,
            });
        }
    });
    let output = async {
        let copies = async { tokio::join!(copy(io.stdout, session.stdout), copy(io.stderr, session.stderr)) };
        let (exit, _) = tokio::join!(io.exit, copies);
        exit
    };
    tokio::select! {
        // Nobody listens any more; the process loses its streams and goes its way. What the client had sent before is still
        // handed over: `input` ends by itself.
        () = session.closed.cancelled() => {}
        exit = output => {
            let outcome = match exit {
                Ok(code) => Outcome::of_code(code),
                Err(error) => Outcome::Failed(format!("error executing command in container: {}", error.message)),
            };
            session.exit.send(&outcome).await;
            // Nobody reads it any more, whether or not the client has said that it is at its end.
            input.abort();
        }
    }
    sizes.abort();
}

/// Copies to the end and closes the other side.
async fn copy(from: Option<impl AsyncRead + Unpin>, to: Option<impl AsyncWrite + Unpin>) {
    let (Some(mut from), Some(mut to)) = (from, to) else {
        return;
    };
    // Either side may go at any time: that is the end of this direction, no more.
    let _ = tokio::io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

pub(super) fn port_forward(
    server: &Server,
    request: &mut Request<Incoming>,
    ns: &str,
    name: &str,
    uid: Option<&str>,
    query: &Query,
) -> Answer {
    let snapshot = match pod(server, ns, name, uid) {
        Ok(snapshot) => snapshot,
        Err(answer) => return *answer,
    };
    let Some(sandbox) = snapshot.view.ready_sandbox().map(|s| s.id.clone()) else {
        let message = format!(
            "failed to find sandboxID for pod {}",
            crate::pod::PodExt::desc(&*snapshot.pod)
        );
        return text(StatusCode::INTERNAL_SERVER_ERROR, message);
    };
    let ports: Vec<u16> = query
        .all("port")
        .chain(query.all("ports"))
        .flat_map(|p| p.split(','))
        .filter_map(|p| p.parse().ok())
        .collect();
    let accepted = match portforward::accept(request, &ports) {
        Ok(accepted) => accepted,
        Err(refused) => return reply(*refused),
    };
    let who = format!(
        "pod {name}, uid {}",
        snapshot.pod.metadata.uid.as_deref().unwrap_or_default()
    );
    let streaming = Arc::clone(&server.cx.streaming);
    tokio::spawn(async move {
        let mut session = match accepted.session.await {
            Ok(session) => session,
            Err(error) => return tracing::debug!(%error, "port-forward session not opened"),
        };
        let mut open = tokio::task::JoinSet::new();
        while let Some(forward) = session.next().await {
            while open.try_join_next().is_some() {}
            open.spawn(forward_one(
                Arc::clone(&streaming),
                sandbox.clone(),
                who.clone(),
                forward,
            ));
        }
        drop(open);
        session.close().await;
    });
    reply(accepted.reply)
}

async fn forward_one(
    streaming: Arc<dyn Streaming>,
    sandbox: String,
    who: String,
    forward: portforward::Forward,
) {
    let portforward::Forward {
        port,
        stream,
        failure,
    } = forward;
    match streaming.port_forward(&sandbox, port).await {
        Ok(target) => {
            let (from_client, to_client) = tokio::io::split(stream);
            let (from_pod, to_pod) = tokio::io::split(target);
            let sending = copy(Some(from_client), Some(to_pod));
            let mut sending = std::pin::pin!(sending);
            let mut answering = std::pin::pin!(copy(Some(from_pod), Some(to_client)));
            tokio::select! {
                () = &mut answering => {
                    // Clients over WebSocket cannot say that they are at their end.
                    let _ = tokio::time::timeout(POD_ENDED, sending).await;
                }
                () = &mut sending => answering.await,
            }
        }
        Err(error) => {
            let message = format!("error forwarding port {port} to {who}: {}", error.message);
            failure.report(&message).await;
        }
    }
}

/// `/run`: the output of a command, without streams.
pub(super) async fn run(
    server: &Server,
    ns: &str,
    name: &str,
    uid: Option<&str>,
    container: &str,
    query: &Query,
) -> Answer {
    let found = pod(server, ns, name, uid).and_then(|s| running(&s, container));
    let view = match found {
        Ok(view) => view,
        Err(answer) => return *answer,
    };
    let command = query
        .get("cmd")
        .unwrap_or_default()
        .split(' ')
        .map(str::to_owned)
        .collect();
    match server.cx.runtime.exec_sync(&view.id, command, RUN).await {
        Ok(done) => {
            let mut body = done.stdout;
            body.extend(done.stderr);
            answer(StatusCode::OK, "text/plain; charset=utf-8", full(body))
        }
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.message),
    }
}
