//! The event of one request, from its beginning to its last stage.

use std::sync::Arc;

use bytes::Bytes;
use corten_auth::UserInfo;
use http::StatusCode;
use http::header::{AUTHORIZATION, HeaderMap};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};

use super::policy::{Level, Stage, Wanted};
use super::{Auditor, objects};
use crate::body::Body;
use crate::call::Call;
use crate::peer::{Peer, Proof};
use crate::request_info::RequestInfo;
use crate::respond::Answer;

/// A longer User-Agent is cut.
const MAX_USER_AGENT_BYTES: usize = 1024;
const TRUNCATED: &str = "...TRUNCATED";

/// See the module. Cheap to clone; all clones are one record.
#[derive(Clone)]
pub struct Record(Arc<Inner>);

struct Inner {
    auditor: Arc<Auditor>,
    wanted: Wanted,
    long_running: bool,
    event: Mutex<Event>,
}

struct Event {
    fields: Map<String, Value>,
    annotations: Map<String, Value>,
    /// What the client sent, and its content type.
    request: Option<(Bytes, String)>,
}

fn now() -> Value {
    corten_meta::time::format_micro(jiff::Timestamp::now()).into()
}

impl Record {
    pub(super) fn new(auditor: Arc<Auditor>, wanted: Wanted, call: &Call) -> Self {
        let info = &call.info;
        let mut fields = Map::new();
        let mut set = |key: &str, value: Value| drop(fields.insert(key.to_owned(), value));
        set("kind", "Event".into());
        set("apiVersion", "audit.k8s.io/v1".into());
        set("level", wanted.level.name().into());
        set("auditID", call.audit_id.to_str().unwrap_or_default().into());
        set(
            "requestURI",
            call.uri.path_and_query().map_or("", |p| p.as_str()).into(),
        );
        set("verb", (*info.verb).into());
        set("user", json!(*call.user));
        let sources = sources(&call.headers, &call.peer);
        if !sources.is_empty() {
            set("sourceIPs", json!(sources));
        }
        let agent = call.user_agent();
        if agent.len() > MAX_USER_AGENT_BYTES {
            let end = agent.floor_char_boundary(MAX_USER_AGENT_BYTES);
            set("userAgent", format!("{}{TRUNCATED}", &agent[..end]).into());
        } else if !agent.is_empty() {
            set("userAgent", agent.into());
        }
        if info.is_resource {
            set("objectRef", object_ref(info));
        }
        set("requestReceivedTimestamp", now());
        Self(Arc::new(Inner {
            auditor,
            wanted,
            long_running: info.long_running(),
            event: Mutex::new(Event {
                fields,
                annotations: Map::new(),
                request: None,
            }),
        }))
    }

    /// Adds an annotation; the first value of a key stays.
    pub fn annotate(&self, key: &str, value: &str) {
        let annotations = &mut self.0.event.lock().annotations;
        annotations.entry(key).or_insert_with(|| value.into());
    }

    /// The user that is acted as.
    pub fn impersonated(&self, user: &UserInfo) {
        let fields = &mut self.0.event.lock().fields;
        fields.insert("impersonatedUser".to_owned(), json!(user));
    }

    /// Credentials were not good: who it is stays unknown, and what was tried is said.
    pub fn unauthenticated(&self, call: &Call) {
        let mut tried = Vec::new();
        let scheme = call.header(AUTHORIZATION).and_then(|v| v.trim().split_once(' '));
        match scheme.map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("basic") => tried.push("basic"),
            Some("bearer") => tried.push("bearer"),
            _ => {}
        }
        if matches!(call.peer.proof, Proof::User(_) | Proof::Refused(_)) {
            tried.push("x509");
        }
        let text = if tried.is_empty() {
            "Authentication failed, no credentials provided".to_owned()
        } else {
            format!("Authentication failed, attempted: {}", tried.join(", "))
        };
        let status = json!({"metadata": {}, "message": text});
        self.0
            .event
            .lock()
            .fields
            .insert("responseStatus".to_owned(), status);
    }

    /// What the client sent.
    pub fn request(&self, body: &Bytes, content_type: Option<&str>) {
        if !body.is_empty() {
            let content_type = content_type.unwrap_or("application/json").to_owned();
            self.0.event.lock().request = Some((body.clone(), content_type));
        }
    }

    /// Takes in an answer. The last stage follows when its body has ended, for others than long-running requests now.
    pub async fn answered(self, mut answer: Answer) -> Answer {
        self.take_request();
        if self.0.wanted.level >= Level::RequestResponse && !self.0.long_running {
            let (parts, body) = answer.into_parts();
            answer = Answer::from_parts(parts, body.gathered().await);
        }
        self.take_status(&answer);
        if !self.0.long_running {
            if self.0.wanted.level >= Level::RequestResponse
                && let Some(object) = objects::of_answer(&answer)
            {
                self.set_object("responseObject", object);
            }
            self.stage(Stage::ResponseComplete);
            return answer;
        }
        self.stage(Stage::ResponseStarted);
        if matches!(answer.body(), Body::Empty | Body::Full(_)) {
            self.stage(Stage::ResponseComplete);
            return answer;
        }
        answer.map(|body| body.holding(Completes(self)))
    }

    /// The handler panicked.
    pub fn panicked(&self) {
        let status = json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": "APIServer panic'd"});
        self.0
            .event
            .lock()
            .fields
            .insert("responseStatus".to_owned(), status);
        self.stage(Stage::Panic);
    }

    fn take_status(&self, answer: &Answer) {
        let code = answer.status();
        let mut status = self.0.event.lock().fields.get("responseStatus").cloned();
        if status.is_none() && (code.is_client_error() || code.is_server_error()) {
            status = objects::status_of(answer);
        }
        let mut status = status.unwrap_or_else(|| json!({"metadata": {}}));
        status["code"] = code.as_u16().into();
        self.0
            .event
            .lock()
            .fields
            .insert("responseStatus".to_owned(), status);
    }

    /// What was sent names the object where the path does not, and is recorded where that is wanted.
    fn take_request(&self) {
        let Some((body, content_type)) = self.0.event.lock().request.take() else {
            return;
        };
        let Some(object) = objects::parse(&body, &content_type) else {
            return;
        };
        let mut event = self.0.event.lock();
        if let Some(reference) = event.fields.get_mut("objectRef")
            && !content_type.contains("patch")
        {
            for (key, field) in [
                ("name", "name"),
                ("namespace", "namespace"),
                ("uid", "uid"),
                ("resourceVersion", "resourceVersion"),
            ] {
                let value = &object["metadata"][field];
                if reference.get(key).is_none() && value.as_str().is_some_and(|v| !v.is_empty()) {
                    reference[key] = value.clone();
                }
            }
        }
        drop(event);
        if self.0.wanted.level >= Level::Request {
            self.set_object("requestObject", object);
        }
    }

    fn set_object(&self, key: &str, mut object: Value) {
        if self.0.wanted.omit_managed_fields {
            objects::without_managed_fields(&mut object);
        }
        self.0.event.lock().fields.insert(key.to_owned(), object);
    }

    /// Writes the event as it is now.
    pub fn stage(&self, stage: Stage) {
        if self.0.wanted.omit_stages.contains(&stage) {
            return;
        }
        let event = self.0.event.lock();
        let mut fields = event.fields.clone();
        fields.insert("stage".to_owned(), stage.name().into());
        let at = if stage == Stage::RequestReceived {
            fields["requestReceivedTimestamp"].clone()
        } else {
            now()
        };
        fields.insert("stageTimestamp".to_owned(), at);
        if !event.annotations.is_empty() {
            fields.insert("annotations".to_owned(), event.annotations.clone().into());
        }
        drop(event);
        self.0.auditor.send(Value::Object(fields));
    }

    /// For requests that were refused before they began: the answer is all there is.
    pub fn refused(self, code: StatusCode) {
        let mut event = self.0.event.lock();
        let status = event
            .fields
            .entry("responseStatus")
            .or_insert_with(|| json!({"metadata": {}}));
        status["code"] = code.as_u16().into();
        drop(event);
        self.stage(Stage::ResponseStarted);
    }
}

/// Writes the last stage of a long-running request when its body is dropped.
struct Completes(Record);

impl Drop for Completes {
    fn drop(&mut self) {
        self.0.stage(Stage::ResponseComplete);
    }
}

fn object_ref(info: &RequestInfo) -> Value {
    let mut out = Map::new();
    for (key, value) in [
        ("resource", &info.resource),
        ("namespace", &info.namespace),
        ("name", &info.name),
        ("apiGroup", &info.group),
        ("apiVersion", &info.version),
        ("subresource", &info.subresource),
    ] {
        if !value.is_empty() {
            out.insert(key.to_owned(), value.as_str().into());
        }
    }
    Value::Object(out)
}

/// Where the request comes from: what proxies say first, the connection last (upstream's `SourceIPs`).
fn sources(headers: &HeaderMap, peer: &Peer) -> Vec<String> {
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|v| v.to_str().ok())
            .unwrap_or_default()
    };
    let ip = |text: &str| text.trim().parse::<std::net::IpAddr>().ok();
    let forwarded = text("x-forwarded-for").split(',').filter_map(ip);
    let mut out: Vec<String> = forwarded.map(|ip| ip.to_string()).collect();
    let mut add = |ip: Option<std::net::IpAddr>| {
        let ip = ip.map(|ip| ip.to_string());
        out.extend(ip.filter(|ip| out.last() != Some(ip)));
    };
    add(ip(text("x-real-ip")));
    add(peer.remote.map(|remote| remote.ip()));
    out
}
