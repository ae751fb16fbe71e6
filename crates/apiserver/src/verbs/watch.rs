//! WATCH: a frame per event until the client leaves, the time is up or the server stops.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use corten_meta::Status;
use corten_registry::{Object, Resource, WatchEvent};
use futures::{Stream, StreamExt, stream};
use http::StatusCode;
use prometheus_client::metrics::counter::Counter;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::body::{Body, BoxError};
use crate::call::Call;
use crate::catalog::Served;
use crate::coalesce::Coalesced;
use crate::listing::Listing;
use crate::metrics::WatchLabels;
use crate::negotiate::{Accepted, Format, Shape};
use crate::respond::{self, Answer};
use crate::verbs::list::served_value;
use crate::{protobuf, shape, websocket};

const STREAM_TYPES: [&str; 2] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
];

/// Clients that begin together end apart. Without a least there is no end, as upstream.
fn usual_timeout(least: Duration) -> Duration {
    const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
    if least.is_zero() {
        return NEVER;
    }
    least.mul_f64(1.0 + rand::random::<f64>())
}

/// `GET ...?watch=1` and the old `/watch/` paths.
///
/// # Errors
/// 400 for bad parameters. A resourceVersion too old is an ERROR event, as upstream sends it.
pub async fn watch(mut call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    if accepted.format == Format::Yaml {
        return Err(Status::not_acceptable(&STREAM_TYPES));
    }
    if accepted.shape == Shape::Table {
        shape::TableOptions::read(&call).check()?;
    }
    let listing = Listing::read(&call.query, &call.info, true)?;
    let asked = listing
        .timeout_seconds
        .filter(|s| *s > 0)
        .map(Duration::from_secs);
    let least = call.server.options.limits.min_request_timeout;
    let timeout = asked.unwrap_or_else(|| usual_timeout(least));
    let options = listing.into_watch(timeout);
    let namespace = Some(served.namespace_of(&call)).filter(|ns| !ns.is_empty());
    let events = call
        .server
        .registry
        .watch(served.stored()?, namespace, &options)
        .await?;
    let (stop, traffic) = (call.server.stop.clone(), call.server.traffic.clone());
    let versions = served.stored()?.clone();
    let mut frames = Frames::new(&call, served, accepted);
    if websocket::wanted(&call.headers)
        && let Some(upgrade) = call.upgrade.take()
    {
        let answer = websocket::handshake(&call.headers, accepted.format.stream_content_type());
        let answer = answer.ok_or_else(|| Status::bad_request("websocket key is missing"))?;
        let events = events.take_until(stop.cancelled_owned());
        if versions.versions.is_some() {
            let converted = events.then(move |event| in_version(versions.clone(), vec![event]));
            let events = converted.flat_map(stream::iter);
            tokio::spawn(websocket::send(upgrade, messages(events.boxed(), frames)));
        } else {
            tokio::spawn(websocket::send(upgrade, messages(Box::pin(events), frames)));
        }
        return Ok(answer);
    }
    let chunks = Coalesced::new(events, traffic, stop);
    if versions.versions.is_some() {
        // Objects stored in another version are converted, perhaps by a webhook, in their order.
        let converted = chunks.then(move |events| in_version(versions.clone(), events));
        let body = converted.flat_map(move |events| stream::iter(frames.join(&events)));
        return Ok(streamed(accepted, Body::stream(body.boxed())));
    }
    let body = chunks.flat_map(move |events| stream::iter(frames.join(&events)));
    Ok(streamed(accepted, Body::stream(body)))
}

/// One message per event, text for JSON, binary for protobuf. An event that cannot be encoded ends a watch.
fn messages(
    events: impl Stream<Item = WatchEvent> + Send + Unpin,
    mut frames: Frames,
) -> impl Stream<Item = Message> + Send + Unpin {
    let encoded = events.map(move |event| message(&mut frames, event));
    Box::pin(
        encoded
            .take_while(|message| ready(message.is_some()))
            .filter_map(ready),
    )
}

fn message(frames: &mut Frames, event: WatchEvent) -> Option<Message> {
    let mut whole = BytesMut::new();
    for frame in frames.join(&[event]) {
        whole.extend_from_slice(&frame.ok()?);
    }
    let whole: Bytes = whole.freeze();
    if frames.accepted.format == Format::Protobuf {
        return Some(Message::Binary(whole.slice(PREFIX_BYTES.min(whole.len())..)));
    }
    Utf8Bytes::try_from(whole).ok().map(Message::Text)
}

/// Length that protobuf events begin with on a plain connection; messages have their own.
const PREFIX_BYTES: usize = 4;

fn streamed(accepted: Accepted, body: Body) -> Answer {
    respond::bytes(StatusCode::OK, accepted.format.stream_content_type(), body)
}

async fn in_version(resource: Resource, events: Vec<WatchEvent>) -> Vec<WatchEvent> {
    match resource.events_in_version(events).await {
        Ok(events) => events,
        Err(status) => vec![WatchEvent::Error(status)],
    }
}

/// Turns events into bytes of one encoding and shape.
struct Frames {
    call: TableContext,
    served: Arc<Served>,
    accepted: Accepted,
    /// The next Table is the first and carries the columns.
    headers: bool,
    sent: Counter,
    sent_bytes: Counter,
}

/// What of the request Tables need after the handler has returned.
struct TableContext(shape::TableOptions);

/// Objects at least this long travel as their own buffer, shared with every other watcher; shorter ones are joined.
const SHARE_BYTES: usize = 4 * 1024;

impl Frames {
    fn new(call: &Call, served: Arc<Served>, accepted: Accepted) -> Self {
        let metrics = &call.server.metrics;
        let labels = WatchLabels {
            group: served.schema.group.into(),
            version: served.schema.version.into(),
            resource: served.schema.plural.into(),
        };
        Self {
            call: TableContext(shape::TableOptions::read(call)),
            accepted,
            headers: true,
            sent: metrics.watch_events.get_or_create_owned(&labels),
            sent_bytes: metrics.watch_bytes.get_or_create_owned(&labels),
            served,
        }
    }

    /// The frames of several events; short ones share a buffer.
    fn join(&mut self, events: &[WatchEvent]) -> Vec<Result<Bytes, BoxError>> {
        let short = |event: &WatchEvent| {
            event
                .object()
                .map_or(0, |object| object.json().len().min(SHARE_BYTES))
        };
        let room = events.iter().map(|event| short(event) + AROUND).sum();
        let (mut out, mut small) = (Vec::with_capacity(1), BytesMut::with_capacity(room));
        for event in events {
            if let Err(status) = self.frame(event, &mut small, &mut out) {
                tracing::error!(error = %status, "event cannot be encoded");
                out.push(Err(status.into()));
                return out;
            }
        }
        if !small.is_empty() {
            out.push(Ok(small.freeze()));
        }
        self.sent.inc_by(events.len() as u64);
        self.sent_bytes
            .inc_by(out.iter().flatten().map(|b| b.len() as u64).sum());
        out
    }

    fn frame(
        &mut self,
        event: &WatchEvent,
        small: &mut BytesMut,
        out: &mut Vec<Result<Bytes, BoxError>>,
    ) -> Result<(), Status> {
        let (kind, object) = match event {
            WatchEvent::Added(o) => ("ADDED", o),
            WatchEvent::Modified(o) => ("MODIFIED", o),
            WatchEvent::Deleted(o) => ("DELETED", o),
            WatchEvent::Bookmark(o) => ("BOOKMARK", o),
            WatchEvent::Undecided(_) => return Ok(()),
            WatchEvent::Error(status) => {
                let bytes = respond::encode(
                    &status.to_json(),
                    Accepted {
                        pretty: false,
                        ..self.accepted
                    },
                )?;
                self.put("ERROR", bytes.slice(..trimmed(&bytes)), small, out);
                return Ok(());
            }
        };
        if self.accepted.format == Format::Json && self.as_stored() && object.json().len() < SHARE_BYTES {
            put_json(small, kind, object.json());
            return Ok(());
        }
        let bytes = self.object(object)?;
        self.put(kind, bytes, small, out);
        Ok(())
    }

    /// The cache's own bytes are what is asked for.
    fn as_stored(&self) -> bool {
        self.accepted.shape == Shape::Plain && !self.served.converts()
    }

    /// The event's object in the encoding and shape asked for.
    fn object(&mut self, object: &Object) -> Result<Bytes, Status> {
        match self.accepted.format {
            Format::Json if self.as_stored() => return Ok(object.bytes()),
            Format::Protobuf if self.as_stored() => return protobuf::of_object(object),
            Format::Json if self.accepted.shape == Shape::Partial && !self.served.converts() => {
                if let Some(metadata) = object.metadata() {
                    let head = shape::partial_head(self.accepted.meta_version).as_bytes();
                    return Ok([head, metadata, b"}"].concat().into());
                }
            }
            _ => {}
        }
        let value = served_value(&self.served, object)?;
        let value = self.shaped(value)?;
        let bytes = respond::encode(
            &value,
            Accepted {
                pretty: false,
                ..self.accepted
            },
        )?;
        Ok(bytes.slice(..trimmed(&bytes)))
    }

    fn shaped(&mut self, value: Value) -> Result<Value, Status> {
        Ok(match self.accepted.shape {
            Shape::Plain => value,
            Shape::Partial | Shape::PartialList => shape::partial(&value, self.accepted.meta_version),
            Shape::Table => {
                let metadata = json!({"resourceVersion": value["metadata"]["resourceVersion"]});
                let headers = std::mem::take(&mut self.headers);
                let version = self.accepted.meta_version;
                shape::rows(
                    &self.call.0,
                    &self.served,
                    vec![value],
                    metadata,
                    version,
                    headers,
                )?
            }
        })
    }

    fn put(&self, kind: &str, object: Bytes, small: &mut BytesMut, out: &mut Vec<Result<Bytes, BoxError>>) {
        if self.accepted.format == Format::Protobuf {
            protobuf::put_watch_event(small, kind, &object);
            return;
        }
        if object.len() < SHARE_BYTES {
            put_json(small, kind, &object);
            return;
        }
        put_head(small, kind);
        out.push(Ok(small.split().freeze()));
        out.push(Ok(object));
        small.put_slice(FOOT);
    }
}

/// What an event of a JSON watch begins with.
fn put_head(out: &mut BytesMut, kind: &str) {
    out.put_slice(b"{\"type\":\"");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\",\"object\":");
}

/// What it ends with.
const FOOT: &[u8] = b"}\n";
/// Room for what stands around an object.
const AROUND: usize = 40;

fn put_json(out: &mut BytesMut, kind: &str, object: &[u8]) {
    put_head(out, kind);
    out.put_slice(object);
    out.put_slice(FOOT);
}

/// Length without the newline at the end.
fn trimmed(bytes: &[u8]) -> usize {
    bytes.len() - usize::from(bytes.last() == Some(&b'\n'))
}
