//! Carries plans out.

use std::collections::HashMap;

use corten_client::events::Recorder;
use corten_client::object::{MetaExt, lean};
use corten_client::{Caller, Error, Key};
use http::Method;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde_json::{Value, json};

use super::action::{Action, Note, Verb, Write};
use super::expect::Expectations;

/// Writes of one plan under way at a time.
pub const MAX_TOGETHER: usize = 500;
/// Creations that a plan begins with when the plan before made at least as many without a failure.
const STEADY: usize = 64;

/// Requests and events of one controller. Cheap to clone.
#[derive(Clone)]
pub struct Executor {
    pub caller: Caller,
    pub recorder: Recorder,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(default, deserialize_with = "lean")]
    metadata: ObjectMeta,
}

/// The newest revisions of what a plan has written: later writes of the same object start from them.
type Revisions = HashMap<String, String>;

impl Executor {
    /// Takes the steps of a plan; what it writes is remembered in `expectations` under `key`.
    ///
    /// # Errors
    /// Of the first step that failed; the steps after it were not taken.
    pub async fn apply(
        &self,
        actions: Vec<Action>,
        expectations: Option<(&Expectations, &Key)>,
    ) -> Result<(), Error> {
        let mut revisions = Revisions::new();
        for action in actions {
            match action {
                Action::Note(note) => self.note(&note, "", None),
                Action::Write(write) => {
                    let stored = self.write(&write, expectations, &revisions).await?;
                    if let Some(meta) = stored {
                        revisions.insert(
                            format!("{}/{}/{}", write.plural, meta.ns(), meta.name()),
                            meta.rv().into(),
                        );
                    }
                }
                Action::Together(writes) => self.together(&writes, expectations).await?,
                Action::SlowStart(writes) => self.slow_start(&writes, expectations).await?,
            }
        }
        Ok(())
    }

    /// One, two, four and so on: the first failure keeps the rest from being sent. A key whose last creations were many and all
    /// went well begins where it was.
    async fn slow_start(
        &self,
        writes: &[Write],
        expectations: Option<(&Expectations, &Key)>,
    ) -> Result<(), Error> {
        let steady = expectations.is_some_and(|(all, key)| all.take_steady(key));
        let (mut rest, mut size) = (writes, if steady { STEADY } else { 1 });
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            self.together(batch, expectations).await?;
            (rest, size) = (later, (size * 2).min(MAX_TOGETHER));
        }
        if let Some((all, key)) = expectations.filter(|_| writes.len() >= STEADY) {
            all.set_steady(key);
        }
        Ok(())
    }

    async fn together(
        &self,
        writes: &[Write],
        expectations: Option<(&Expectations, &Key)>,
    ) -> Result<(), Error> {
        let none = Revisions::new();
        let mut first = Ok(());
        for batch in writes.chunks(MAX_TOGETHER) {
            let sent = batch.iter().map(|w| self.write(w, expectations, &none));
            for result in futures::future::join_all(sent).await {
                first = first.and(result.map(drop));
            }
        }
        first
    }

    async fn write(
        &self,
        write: &Write,
        expectations: Option<(&Expectations, &Key)>,
        revisions: &Revisions,
    ) -> Result<Option<ObjectMeta>, Error> {
        match self.send(write, revisions).await {
            Ok(text) => {
                let meta = serde_json::from_str::<Stored>(&text).map(|s| s.metadata).ok();
                if let (Some((expectations, key)), Some(meta)) = (expectations, &meta) {
                    let deleted = (write.verb == Verb::Delete).then_some(&*write.uid);
                    expectations.wrote(key, deleted, &write.plural, meta);
                }
                let name = meta.as_ref().map_or("", |m| m.name());
                let name = if name.is_empty() { &write.name } else { name };
                if let Some(note) = &write.ok {
                    self.note(note, name, None);
                }
                Ok(meta)
            }
            // What should go is gone: the aim is reached.
            Err(error) if write.verb == Verb::Delete && (error.is_not_found() || error.is_conflict()) => {
                Ok(None)
            }
            // Nothing can be made in a namespace that is going away.
            Err(error) if write.verb == Verb::Create && error.is_namespace_terminating() => Ok(None),
            Err(error) => {
                if let Some((expectations, key)) = expectations.filter(|_| write.verb == Verb::Create) {
                    expectations.lost(key, write, &error);
                }
                if let Some(note) = &write.err {
                    self.note(note, &write.name, Some(&error));
                }
                Err(error)
            }
        }
    }

    async fn send(&self, write: &Write, revisions: &Revisions) -> Result<String, Error> {
        let (method, content) = match write.verb {
            Verb::Create => (Method::POST, "application/json"),
            Verb::Update | Verb::UpdateStatus => (Method::PUT, "application/json"),
            Verb::Patch(content) => (Method::PATCH, content),
            Verb::Delete => (Method::DELETE, "application/json"),
        };
        let newer = revisions.get(&format!("{}/{}/{}", write.plural, write.ns, write.name));
        let body = match newer {
            Some(rv) if matches!(write.verb, Verb::Update | Verb::UpdateStatus) => {
                let mut body = Value::clone(&write.body);
                body["metadata"]["resourceVersion"] = json!(rv);
                serde_json::to_vec(&body)?
            }
            _ => serde_json::to_vec(&*write.body)?,
        };
        self.caller.send(method, &write.path, content, body).await
    }

    fn note(&self, note: &Note, name: &str, error: Option<&Error>) {
        let mut message = note.message.replace("{name}", name);
        if let Some(error) = error {
            message = message.replace("{error}", &error.to_string());
        }
        self.recorder
            .event(note.about.clone(), note.level, note.reason, message);
    }
}
