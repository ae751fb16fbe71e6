//! `/containerLogs/{namespace}/{pod}/{container}`.

use super::{Answer, Query, Server, answer, text};
use crate::logs::{self, Alive, Options, Streams};
use crate::machine::view::State;
use crate::pod::PodExt;
use crate::worker::Handle;
use http::StatusCode;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;

/// Chunks between the reader of a log and its client.
const CHUNKS: usize = 4;

pub(super) fn serve(server: &Server, ns: &str, name: &str, container: &str, query: &Query) -> Answer {
    let options = match options(query, crate::time::now(&server.cx.clock)) {
        Ok(options) => options,
        Err(message) => return text(StatusCode::UNPROCESSABLE_ENTITY, message),
    };
    let Some(handle) = server.pods.handle(ns, name) else {
        return text(StatusCode::NOT_FOUND, format!("pod \"{name}\" does not exist"));
    };
    let snapshot = handle.snapshot();
    if snapshot.pod.container(container).is_none() {
        let message = format!("container \"{container}\" not found in pod \"{name}\"");
        return text(StatusCode::NOT_FOUND, message);
    }
    let id = match pick(&snapshot.pod, &snapshot.status, container, query.flag("previous")) {
        Ok(id) => id,
        Err(message) => return text(StatusCode::BAD_REQUEST, message),
    };
    let Some(view) = snapshot.view.by_id(&id) else {
        let message = format!("container \"{container}\" in pod \"{name}\" is not available");
        return text(StatusCode::BAD_REQUEST, message);
    };
    let file = format!("{container}/{}.log", view.restart_count);
    let path = match view.log_path.as_str() {
        "" => crate::spec::sandbox::log_directory(&server.cx.logs, &snapshot.pod).join(file),
        path => PathBuf::from(path),
    };
    let (out, chunks) = mpsc::channel(CHUNKS);
    let alive = Box::new(Running { handle, id });
    tokio::spawn(async move {
        if let Err(error) = logs::send(&path, &options, alive, out.clone()).await {
            // Part of the answer may be out already: cut it.
            tracing::debug!(path = %path.display(), %error, "log not readable");
            let _ = out.send(Err(error)).await;
        }
    });
    let frames = ReceiverStream::new(chunks).map(|chunk| chunk.map(Frame::data));
    answer(
        StatusCode::OK,
        "text/plain",
        BodyExt::boxed(StreamBody::new(frames)),
    )
}

struct Running {
    handle: Handle,
    id: String,
}

#[async_trait::async_trait]
impl Alive for Running {
    fn is_alive(&self) -> bool {
        let snapshot = self.handle.snapshot();
        !self.handle.is_done()
            && snapshot
                .view
                .by_id(&self.id)
                .is_some_and(|v| v.state != State::Exited)
    }
    async fn changed(&mut self) {
        self.handle.changed().await;
    }
}

fn options(query: &Query, now: Timestamp) -> Result<Options, String> {
    let bad = |_| "{\"message\": \"Unable to decode query.\"}".to_owned();
    let number = |key: &str| {
        query
            .get(key)
            .filter(|v| !v.is_empty())
            .map(str::parse::<u64>)
            .transpose()
            .map_err(bad)
    };
    let tail = match query.get("tail") {
        Some("all") | None => number("tailLines")?,
        Some(_) => number("tail")?,
    };
    let mut since = match query.get("sinceTime").filter(|v| !v.is_empty()) {
        Some(at) => Some(at.parse::<Timestamp>().map_err(|e| e.to_string())?),
        None => None,
    };
    if let Some(seconds) = number("sinceSeconds")? {
        since = Some(now - SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX >> 32)));
    }
    Ok(Options {
        follow: query.flag("follow"),
        timestamps: query.flag("timestamps"),
        tail,
        since,
        limit_bytes: number("limitBytes")?,
        streams: match query.get("stream") {
            Some("Stdout") => Streams::Stdout,
            Some("Stderr") => Streams::Stderr,
            Some("All" | "") | None => Streams::All,
            Some(other) => return Err(format!("invalid stream type \"{other}\"")),
        },
    })
}

/// The container whose log is meant, by the pod's status (upstream's `validateContainerLogStatus`).
fn pick(pod: &Arc<Pod>, status: &PodStatus, name: &str, previous: bool) -> Result<String, String> {
    let all = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    let found: Option<&ContainerStatus> = all.into_iter().flatten().flatten().find(|s| s.name == name);
    let what = format!("container \"{name}\" in pod \"{}\"", pod.name());
    let Some(s) = found else {
        return Err(format!("{what} is not available"));
    };
    let state = s.state.clone().unwrap_or_default();
    let last = s
        .last_state
        .as_ref()
        .and_then(|l| l.terminated.as_ref())
        .and_then(|t| t.container_id.clone());
    let id = if previous {
        last.ok_or_else(|| format!("previous terminated {what} not found"))?
    } else if state.running.is_some() {
        s.container_id.clone().unwrap_or_default()
    } else if let Some(ended) = state.terminated {
        ended
            .container_id
            .or(last)
            .ok_or_else(|| format!("{what} is terminated"))?
    } else if let Some(last) = last {
        last
    } else {
        return Err(match state.waiting.and_then(|w| w.reason).as_deref() {
            Some("ErrImagePull") => format!("{what} is waiting to start: image can't be pulled"),
            Some("ImagePullBackOff") => {
                format!("{what} is waiting to start: trying and failing to pull image")
            }
            Some(reason) => format!("{what} is waiting to start: {reason}"),
            None => format!("{what} is waiting to start - no logs yet"),
        });
    };
    Ok(id.split_once("://").map_or(id.as_str(), |(_, id)| id).to_owned())
}
