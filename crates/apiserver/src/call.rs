//! One request on its way through the server: what handlers see.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use corten_auth::UserInfo;
use corten_meta::Status;
use corten_registry::admission::Request;
use corten_registry::{Operation, Resource, Subresource, WriteContext};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Uri};
use http_body_util::LengthLimitError;
use parking_lot::Mutex;
use serde_json::Value;

use crate::audit::Record;
use crate::body::{RequestBody, read_whole};
use crate::flowcontrol::Classified;
use crate::limits::MAX_BODY_BYTES;
use crate::peer::Peer;
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::server::Inner;

/// What goes with the answer whatever it is; shared with the front, which writes it.
#[derive(Default)]
pub struct Notes {
    /// Texts for `Warning` headers.
    pub warnings: Vec<String>,
    /// The audit record, where there is one.
    pub audit: Option<Record>,
    /// What the audit record is to be annotated with once it begins.
    pub annotations: Vec<(&'static str, String)>,
    /// What priority and fairness took the request for.
    pub classified: Option<Classified>,
    /// See [`WriteContext::share_labels`].
    pub labels_of_template: bool,
    /// How long the request waited for webhooks.
    pub outside: Duration,
    /// The caller may not do it, or be whom it says: browsers are told not to guess at what they read then.
    pub refused: bool,
}

impl Notes {
    /// Adds a text for a `Warning` header.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.warnings.push(text);
        }
    }

    /// Adds an annotation to the audit record, or to what it will begin with.
    pub fn annotate(&mut self, key: &'static str, value: &str) {
        match &self.audit {
            Some(record) => record.annotate(key, value),
            None => self.annotations.push((key, value.to_owned())),
        }
    }
}

/// See [`Notes`].
pub type SharedNotes = Arc<Mutex<Notes>>;

/// A request after authentication and authorization. One pointer: it is handed on by value through every handler.
pub struct Call(Box<Parts>);

/// See [`Call`].
pub struct Parts {
    /// The server.
    pub server: Arc<Inner>,
    /// What is asked.
    pub info: RequestInfo,
    /// By whom.
    pub user: Arc<UserInfo>,
    /// How.
    pub method: Method,
    /// The raw target, for proxying.
    pub uri: Uri,
    /// Decoded query.
    pub query: Query,
    /// Headers as sent.
    pub headers: HeaderMap,
    /// From where.
    pub peer: Arc<Peer>,
    /// Present where the connection can be taken over.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// Unread body. Behind a lock only because bodies cannot be shared between threads and calls are.
    pub body: Mutex<Option<RequestBody>>,
    /// See [`Notes`].
    pub notes: SharedNotes,
    /// The client's name for this request, or one made for it.
    pub audit_id: HeaderValue,
    /// When its head had come.
    pub started: Instant,
}

impl From<Parts> for Call {
    fn from(parts: Parts) -> Self {
        Self(Box::new(parts))
    }
}

impl Deref for Call {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl DerefMut for Call {
    fn deref_mut(&mut self) -> &mut Parts {
        &mut self.0
    }
}

impl Call {
    /// A header as text, `None` where absent or not text.
    pub fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    /// The Accept header.
    pub fn accept(&self) -> Option<&str> {
        self.header(ACCEPT)
    }

    /// The Content-Type header.
    pub fn content_type(&self) -> Option<&str> {
        self.header(CONTENT_TYPE)
    }

    /// The User-Agent header or `""`.
    pub fn user_agent(&self) -> &str {
        self.header(USER_AGENT).unwrap_or_default()
    }

    /// True where the client wants indented JSON.
    pub fn pretty(&self) -> bool {
        crate::negotiate::pretty(self.query.get("pretty"), self.user_agent())
    }

    /// The audit record, where there is one.
    pub fn audit(&self) -> Option<Record> {
        self.server.audit.as_ref()?;
        self.notes.lock().audit.clone()
    }

    /// Adds a text for a `Warning` header.
    pub fn warn(&self, text: impl Into<String>) {
        self.notes.lock().warn(text);
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// 413 over [`MAX_BODY_BYTES`], 400 where the client stops half way.
    pub async fn read_body(&mut self) -> Result<Bytes, Status> {
        let Some(body) = self.body.get_mut().take() else {
            return Ok(Bytes::new());
        };
        match read_whole(body, MAX_BODY_BYTES).await {
            Ok(whole) => {
                if let Some(audit) = self.audit() {
                    audit.request(&whole, self.content_type());
                }
                Ok(whole)
            }
            Err(e) if e.is::<LengthLimitError>() => {
                Err(Status::request_too_large(format!("limit is {MAX_BODY_BYTES}")))
            }
            Err(e) => Err(Status::bad_request(format!("error reading the body: {e}"))),
        }
    }

    /// What the registry is told about this write. `dry_run` from `?dryRun=All`.
    pub fn write_context(&self, dry_run: bool, field_manager: &str) -> WriteContext {
        let user = corten_registry::User {
            name: self.user.username.clone(),
            uid: self.user.uid.clone(),
            groups: self.user.groups.clone(),
            extra: self.user.extra.clone(),
        };
        let form = corten_registry::RequestForm {
            group: self.info.group.clone(),
            version: self.info.version.clone(),
            field_manager: self.query.text("fieldManager").to_owned(),
            field_validation: self.query.text("fieldValidation").to_owned(),
        };
        let ctx = WriteContext::new(user, SystemTime::now())
            .with_form(form)
            .with_dry_run(dry_run)
            .with_field_manager(field_manager);
        if self.notes.lock().labels_of_template {
            ctx.share_labels();
        }
        ctx
    }

    /// Dynamic admission of a request that is no write of the object its path names; may change what is asked.
    ///
    /// # Errors
    /// What webhooks and policies refuse.
    pub async fn admit(
        &self,
        ctx: &WriteContext,
        operation: Operation,
        resource: &Resource,
        asked: &mut Value,
    ) -> Result<(), Status> {
        let subresource =
            corten_schema::resources::lookup(&self.info.group, &self.info.version, &self.info.resource)
                .and_then(|row| row.subresource(&self.info.subresource))
                .map_or(Subresource::MAIN, |sub| Subresource(sub.name));
        let request = Request {
            operation,
            resource,
            subresource,
            namespace: &self.info.namespace,
            name: &self.info.name,
        };
        let admitted = self.server.registry.admit_request(ctx, request, asked).await;
        if admitted.is_err() {
            self.take_notes(ctx);
        }
        admitted
    }

    /// Moves what the write gathered into the answer's warnings and the audit event.
    pub fn take_notes(&self, ctx: &WriteContext) {
        self.notes.lock().outside += ctx.outside();
        for text in ctx.take_warnings() {
            self.warn(text);
        }
        let annotations = ctx.take_annotations();
        if let Some(record) = self.audit() {
            for (key, value) in annotations {
                record.annotate(&key, &value);
            }
        }
    }
}
