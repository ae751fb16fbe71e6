//! Actions: what a plan wants done, as values that tests can print.

use std::fmt::Write as _;
use std::sync::Arc;

use corten_client::events::Level;
use corten_client::object::{MetaExt, path, reference};
use corten_client::request::MERGE_PATCH;
use k8s_openapi::Metadata;
use k8s_openapi::api::core::v1::ObjectReference;
use serde::Serialize;
use serde_json::{Value, json};

/// An event to record. In a note that follows a write, `{name}` stands for the name of what was written and `{error}`
/// for why it failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Note {
    pub about: ObjectReference,
    pub level: Level,
    pub reason: &'static str,
    pub message: String,
}

impl Note {
    pub fn new<K: Metadata<Ty: MetaExt>>(
        about: &K,
        level: Level,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            about: reference(about),
            level,
            reason,
            message: message.into(),
        }
    }
    pub fn normal<K: Metadata<Ty: MetaExt>>(
        about: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(about, Level::Normal, reason, message)
    }
    pub fn warning<K: Metadata<Ty: MetaExt>>(
        about: &K,
        reason: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self::new(about, Level::Warning, reason, message)
    }
}

/// The verb of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Update,
    UpdateStatus,
    /// A patch of the given content type.
    Patch(&'static str),
    Delete,
}

/// One request that changes something.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    pub verb: Verb,
    pub plural: String,
    pub ns: String,
    pub name: String,
    pub path: String,
    /// The object, the patch, or the DeleteOptions. Shared: a set asks for thousands of the same pod.
    pub body: Arc<Value>,
    pub uid: String,
    pub ok: Option<Note>,
    pub err: Option<Note>,
}

impl Write {
    fn of<K: Metadata<Ty: MetaExt>>(verb: Verb, object: &K::Ty, sub: &str, body: Value) -> Self {
        let name = if verb == Verb::Create { "" } else { object.name() };
        Self {
            verb,
            plural: K::URL_PATH_SEGMENT.into(),
            ns: object.ns().into(),
            name: object.name_or_prefix().into(),
            path: path::<K>(object.ns(), name, sub),
            body: Arc::new(body),
            uid: object.uid().into(),
            ok: None,
            err: None,
        }
    }

    pub fn create<K: Metadata<Ty: MetaExt> + Serialize>(object: &K) -> Self {
        Self::of::<K>(Verb::Create, object.metadata(), "", value(object))
    }
    pub fn update<K: Metadata<Ty: MetaExt> + Serialize>(object: &K) -> Self {
        Self::of::<K>(Verb::Update, object.metadata(), "", value(object))
    }
    pub fn status<K: Metadata<Ty: MetaExt> + Serialize>(object: &K) -> Self {
        Self::of::<K>(Verb::UpdateStatus, object.metadata(), "status", value(object))
    }
    /// Replaces what a subresource other than the status covers.
    pub fn update_sub<K: Metadata<Ty: MetaExt> + Serialize>(object: &K, sub: &str) -> Self {
        Self::of::<K>(Verb::UpdateStatus, object.metadata(), sub, value(object))
    }
    /// A merge patch of an object.
    pub fn patch<K: Metadata<Ty: MetaExt>>(object: &K, patch: Value) -> Self {
        Self::of::<K>(Verb::Patch(MERGE_PATCH), object.metadata(), "", patch)
    }
    /// A patch of a subresource with the given content type.
    pub fn patch_sub<K: Metadata<Ty: MetaExt>>(
        object: &K,
        content: &'static str,
        sub: &str,
        patch: Value,
    ) -> Self {
        Self::of::<K>(Verb::Patch(content), object.metadata(), sub, patch)
    }
    /// Deletes this very object: not one of the same name that came later.
    pub fn delete<K: Metadata<Ty: MetaExt>>(object: &K) -> Self {
        let body = json!({"kind": "DeleteOptions", "apiVersion": "v1",
            "preconditions": {"uid": object.metadata().uid()}});
        Self::of::<K>(Verb::Delete, object.metadata(), "", body)
    }
    #[must_use]
    pub fn ok(mut self, note: Note) -> Self {
        self.ok = Some(note);
        self
    }
    #[must_use]
    pub fn err(mut self, note: Note) -> Self {
        self.err = Some(note);
        self
    }
    /// Sets a field of the DeleteOptions.
    #[must_use]
    pub fn option(mut self, name: &str, value: impl Into<Value>) -> Self {
        Arc::make_mut(&mut self.body)[name] = value.into();
        self
    }
}

impl From<Write> for Action {
    fn from(write: Write) -> Self {
        Self::Write(Box::new(write))
    }
}

impl From<Note> for Action {
    fn from(note: Note) -> Self {
        Self::Note(note)
    }
}

/// A step of a plan. Steps are taken in order; the first that fails ends the plan.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    Write(Box<Write>),
    Note(Note),
    /// Independent writes, in batches that double as long as all succeed.
    SlowStart(Vec<Write>),
    /// Independent writes, all at once; each is tried even if others fail.
    Together(Vec<Write>),
}

/// A typed object as the API's JSON.
pub fn value<T: Serialize>(object: &T) -> Value {
    // Typed API objects have string keys and no failing serializers.
    serde_json::to_value(object).unwrap_or_default()
}

/// Actions as text, one line each, for golden tests.
#[must_use]
pub fn transcript(actions: &[Action]) -> String {
    let mut out = String::new();
    for action in actions {
        match action {
            Action::Write(write) => print(&mut out, "", write),
            Action::Note(note) => print_note(&mut out, "", note),
            Action::SlowStart(writes) => writes.iter().for_each(|w| print(&mut out, "slow-start ", w)),
            Action::Together(writes) => writes.iter().for_each(|w| print(&mut out, "together ", w)),
        }
    }
    out
}

fn print(out: &mut String, prefix: &str, write: &Write) {
    let (verb, shown) = match write.verb {
        Verb::Create => ("create", json!({"spec": write.body["spec"]["replicas"]})),
        Verb::Update => ("update", json!({"replicas": write.body["spec"]["replicas"]})),
        Verb::UpdateStatus => ("status", write.body["status"].clone()),
        Verb::Patch(_) => ("patch", Value::clone(&write.body)),
        Verb::Delete => ("delete", Value::Null),
    };
    let shown = match &shown {
        Value::Object(o) if o.values().all(Value::is_null) => String::new(),
        Value::Null => String::new(),
        other => format!(" {other}"),
    };
    let _ = writeln!(out, "{prefix}{verb} {} {}{shown}", write.plural, write.name);
    for (when, note) in [("ok", &write.ok), ("err", &write.err)] {
        if let Some(note) = note {
            print_note(out, &format!("  {when}: "), note);
        }
    }
}

fn print_note(out: &mut String, prefix: &str, note: &Note) {
    let kind = note.about.kind.as_deref().unwrap_or_default();
    let name = note.about.name.as_deref().unwrap_or_default();
    let _ = writeln!(
        out,
        "{prefix}event {kind}/{name} {} {}: {}",
        note.level.as_str(),
        note.reason,
        note.message
    );
}
