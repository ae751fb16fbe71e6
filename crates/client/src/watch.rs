//! One watch, kept alive: streams what exists, then what changes, and resumes where it broke off.
//!
//! The initial state comes as a streaming list (KEP-3157, `sendInitialEvents`), so neither side builds the whole list in
//! memory; a server that refuses it is listed in pages. Relisting happens only when the server says the revision expired.

use std::borrow::Cow;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use http::Request;
use http_body_util::BodyExt;
use kube::client::Body;
use kube::core::Status;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::object::{MetaExt, Object, Partial};
use crate::request::Error;

/// The longest line (one event) taken from a watch; more closes it. Objects are at most 3 MiB.
pub const MAX_EVENT_BYTES: usize = 16 << 20;
/// Objects per page when the server cannot stream its list.
const PAGE: usize = 500;
const BACKOFF_MIN: Duration = Duration::from_millis(50);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// What is watched: a collection's path, and how it is asked for.
#[derive(Debug, Clone)]
pub struct Source {
    /// Such as `/api/v1/pods`.
    pub path: String,
    /// Selectors, already encoded, such as `fieldSelector=spec.nodeName%3Dn1`; may be empty.
    pub query: String,
    pub accept: &'static str,
}

impl Source {
    /// All objects of a kind.
    #[must_use]
    pub fn all<K: k8s_openapi::Resource>() -> Self {
        Self {
            path: crate::object::path::<K>("", "", ""),
            query: String::new(),
            accept: "application/json",
        }
    }
    /// The metadata of all objects of a collection.
    #[must_use]
    pub fn metadata(path: String) -> Self {
        let accept = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
        Self {
            path,
            query: String::new(),
            accept,
        }
    }
}

/// What a watch tells its sink, in order.
pub enum Delta<K> {
    /// All that exists follows; what does not come before `Synced` is gone.
    Restart,
    Apply(K),
    Delete(K),
    /// Everything that existed at this revision has been told.
    Synced(u64),
    /// Nothing this watch selects changed up to this revision.
    Progress(u64),
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Deserialize)]
struct Page<'a> {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ListMeta,
    /// Null in an empty PartialObjectMetadataList.
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

/// Why one connection ended.
enum End {
    /// Resume from the last revision.
    Closed,
    /// The revision is too old: start over.
    Expired,
    /// The server does not stream lists.
    NoStreaming,
    Failed(Error),
}

struct Loop<S> {
    client: kube::Client,
    source: Source,
    sink: S,
    /// Where to resume; none before the first complete list.
    resume: Option<String>,
    streaming: bool,
    /// Whether the connection delivered something, so that the next failure starts a new back-off.
    progressed: bool,
}

/// Watches until `stop`; every delta goes to `sink` on this task, at once.
pub async fn run<K: Object>(
    client: kube::Client,
    source: Source,
    stop: CancellationToken,
    sink: impl FnMut(Delta<K>) + Send,
) {
    let mut this = Loop {
        client,
        source,
        sink,
        resume: None,
        streaming: true,
        progressed: false,
    };
    let mut backoff = BACKOFF_MIN;
    loop {
        this.progressed = false;
        let end = tokio::select! {
            () = stop.cancelled() => return,
            end = this.connection() => end,
        };
        if this.progressed {
            backoff = BACKOFF_MIN;
        }
        match end {
            End::Expired => this.resume = None,
            End::NoStreaming => {
                this.streaming = false;
                continue;
            }
            End::Closed => {}
            End::Failed(error) => {
                tracing::warn!(path = this.source.path, %error, "watch failed; retrying");
            }
        }
        let wait = backoff.mul_f64(1.0 + rand::random::<f64>());
        backoff = (backoff * 2).min(BACKOFF_MAX);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
    }
}

impl<S> Loop<S> {
    async fn connection<K: Object>(&mut self) -> End
    where
        S: FnMut(Delta<K>) + Send,
    {
        if self.resume.is_none()
            && !self.streaming
            && let Err(error) = self.list::<K>().await
        {
            return End::Failed(error);
        }
        match self.open().await {
            Ok(body) => self.read::<K>(body).await,
            Err(Error::Api(status)) => self.refused(status),
            Err(error) => End::Failed(error),
        }
    }

    fn refused(&self, status: Box<Status>) -> End {
        match status.code {
            410 => End::Expired,
            400 | 403 | 422 if self.resume.is_none() && self.streaming && !denied(&status) => {
                End::NoStreaming
            }
            _ => End::Failed(Error::Api(status)),
        }
    }

    fn url(&self, params: &str) -> String {
        let glue = if self.source.query.is_empty() { "" } else { "&" };
        format!("{}?{}{}{}", self.source.path, self.source.query, glue, params)
    }

    async fn get(&self, url: &str, accept: &str) -> Result<Body, Error> {
        let request = Request::get(url)
            .header("Accept", accept)
            .header("Accept-Encoding", "identity")
            .body(Body::empty())
            .map_err(|e| Error::Other(e.to_string()))?;
        let response = self.client.send(request).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let code = response.status().as_u16();
        let body = response.into_body().collect_bytes().await?;
        let mut status = serde_json::from_slice::<Status>(&body)
            .unwrap_or_else(|_| Status::failure(&String::from_utf8_lossy(&body), "Unknown"));
        status.code = code;
        Err(Error::Api(status.boxed()))
    }

    async fn open(&self) -> Result<Body, Error> {
        let params = match &self.resume {
            Some(rv) => format!("watch=1&allowWatchBookmarks=true&resourceVersion={rv}"),
            None => {
                "watch=1&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                    .into()
            }
        };
        self.get(&self.url(&params), self.source.accept).await
    }

    async fn list<K: Object>(&mut self) -> Result<(), Error>
    where
        S: FnMut(Delta<K>) + Send,
    {
        (self.sink)(Delta::Restart);
        // What is a PartialObjectMetadata in a watch is a PartialObjectMetadataList here.
        let accept = self
            .source
            .accept
            .replace("as=PartialObjectMetadata;", "as=PartialObjectMetadataList;");
        let mut next = String::new();
        loop {
            let body = self
                .get(&self.url(&format!("limit={PAGE}{next}")), &accept)
                .await?
                .collect_bytes()
                .await?;
            let page: Page<'_> = serde_json::from_slice(&body)?;
            for item in page.items.unwrap_or_default() {
                match serde_json::from_str::<K>(item.get()) {
                    Ok(object) => self.object("ADDED", object),
                    Err(error) => {
                        tracing::error!(path = self.source.path, %error, "undecodable object in list");
                    }
                }
            }
            match page.metadata.continue_.filter(|c| !c.is_empty()) {
                Some(token) => next = format!("&continue={}", encode(&token)),
                None => {
                    let rv = page.metadata.resource_version.unwrap_or_default();
                    (self.sink)(Delta::Synced(rv.parse().unwrap_or(0)));
                    self.resume = Some(rv);
                    return Ok(());
                }
            }
        }
    }

    async fn read<K: Object>(&mut self, body: Body) -> End
    where
        S: FnMut(Delta<K>) + Send,
    {
        if self.resume.is_none() {
            (self.sink)(Delta::Restart);
        }
        let mut frames = body.into_data_stream();
        let mut rest = BytesMut::new();
        while let Some(frame) = frames.next().await {
            let frame: Bytes = match frame {
                Ok(frame) => frame,
                Err(error) => return End::Failed(Error::Transport(error)),
            };
            self.progressed = true;
            if let Err(end) = self.lines::<K>(&frame, &mut rest) {
                return end;
            }
            if rest.len() > MAX_EVENT_BYTES {
                return End::Failed(Error::Other(format!(
                    "an event is larger than {MAX_EVENT_BYTES} bytes"
                )));
            }
        }
        End::Closed
    }

    /// Takes the whole lines out of `frame`; `rest` keeps the beginning of the next one.
    fn lines<K: Object>(&mut self, frame: &[u8], rest: &mut BytesMut) -> Result<(), End>
    where
        S: FnMut(Delta<K>) + Send,
    {
        let mut start = 0;
        while let Some(length) = frame[start..].iter().position(|b| *b == b'\n') {
            let line = &frame[start..start + length];
            start += length + 1;
            if rest.is_empty() {
                self.line::<K>(line)?;
            } else {
                rest.extend_from_slice(line);
                let whole = rest.split();
                self.line::<K>(&whole)?;
            }
        }
        rest.extend_from_slice(&frame[start..]);
        Ok(())
    }

    fn line<K: Object>(&mut self, line: &[u8]) -> Result<(), End>
    where
        S: FnMut(Delta<K>) + Send,
    {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let line: Line<'_> = serde_json::from_slice(line).map_err(|e| End::Failed(e.into()))?;
        match &*line.kind {
            "ADDED" | "MODIFIED" | "DELETED" => match serde_json::from_str::<K>(line.object.get()) {
                Ok(object) => self.object(&line.kind, object),
                // One object that does not decode must not stop the others.
                Err(error) => tracing::error!(path = self.source.path, %error, "undecodable object in watch"),
            },
            "BOOKMARK" => self.bookmark(line.object)?,
            _ => return Err(self.error(line.object)),
        }
        Ok(())
    }

    fn object<K: Object>(&mut self, kind: &str, mut object: K)
    where
        S: FnMut(Delta<K>) + Send,
    {
        if let Some(resume) = &mut self.resume {
            object.meta().rv().clone_into(resume);
        }
        object.meta_mut().trim();
        (self.sink)(if kind == "DELETED" {
            Delta::Delete(object)
        } else {
            Delta::Apply(object)
        });
    }

    fn bookmark<K: Object>(&mut self, object: &RawValue) -> Result<(), End>
    where
        S: FnMut(Delta<K>) + Send,
    {
        let mark: Partial = serde_json::from_str(object.get()).map_err(|e| End::Failed(e.into()))?;
        let (rv, revision) = (mark.metadata.rv().to_owned(), mark.metadata.revision());
        let listed = mark.metadata.annotation("k8s.io/initial-events-end") == Some("true");
        if self.resume.is_none() && listed {
            (self.sink)(Delta::Synced(revision));
            self.resume = Some(rv);
        } else if self.resume.is_some() {
            (self.sink)(Delta::Progress(revision));
            self.resume = Some(rv);
        }
        Ok(())
    }

    fn error(&self, object: &RawValue) -> End {
        match serde_json::from_str::<Status>(object.get()) {
            Ok(status) if status.code == 410 => End::Expired,
            // A server that cannot stream its list may say so in the stream only; client-go lists after any error too.
            Ok(status) if self.resume.is_none() && self.streaming => {
                tracing::debug!(
                    path = self.source.path,
                    message = status.message,
                    "listing instead"
                );
                End::NoStreaming
            }
            Ok(status) => End::Failed(Error::Api(status.boxed())),
            Err(error) => End::Failed(error.into()),
        }
    }
}

fn denied(status: &Status) -> bool {
    status.code == 403 && status.reason == "Forbidden" && !status.message.contains("sendInitialEvents")
}

/// Percent-encodes what a query parameter may hold outside the unreserved set.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}
