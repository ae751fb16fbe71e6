//! A watch that goes on where it broke off: a server closes the watch of a client that reads too slowly, and both servers
//! measured here end each after a while.

use crate::bench::connection::{self, Connection};
use crate::bench::lines::Lines;
use crate::bench::target::Access;
use anyhow::Context;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::VecDeque;
use std::sync::Arc;

/// What a watched object must tell besides what the caller wants of it.
pub(super) trait Versioned: DeserializeOwned {
    fn revision(&self) -> &str;
}

/// One step of what is followed.
pub(super) enum Told<T> {
    /// The changes since cannot be had any more: all that exists follows, up to `Complete`.
    Restart,
    Complete,
    Is(T),
    Gone(T),
}

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a serde_json::value::RawValue,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct List<T> {
    metadata: ListMeta,
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta {
    resource_version: String,
}

/// A collection, from a list on.
pub(super) struct Follow<T> {
    access: Arc<Access>,
    path: String,
    /// Selectors, encoded; may be empty.
    query: String,
    revision: String,
    lines: Option<Lines>,
    /// Of a list: what has not been told yet. Bounded by the list.
    listed: VecDeque<Told<T>>,
    resumed: usize,
}

impl<T: Versioned> Follow<T> {
    /// Follows what is in the collection; the first thing told is `Restart`.
    pub(super) async fn start(access: &Arc<Access>, path: &str, query: &str) -> anyhow::Result<Self> {
        let mut follow = Self {
            access: Arc::clone(access),
            path: path.to_owned(),
            query: query.to_owned(),
            revision: String::new(),
            lines: None,
            listed: VecDeque::new(),
            resumed: 0,
        };
        follow.list().await?;
        follow.lines = Some(follow.open().await?);
        Ok(follow)
    }

    /// How often the watch had to be opened again.
    pub(super) fn resumed(&self) -> usize {
        self.resumed
    }

    async fn list(&mut self) -> anyhow::Result<()> {
        let url = format!("{}?{}", self.path, self.query);
        let body = Connection::open(&self.access).await?.read(&url).await?;
        let list: List<T> = serde_json::from_slice(&body).with_context(|| url)?;
        self.revision = list.metadata.resource_version;
        self.listed.push_back(Told::Restart);
        self.listed.extend(list.items.into_iter().map(Told::Is));
        self.listed.push_back(Told::Complete);
        Ok(())
    }

    async fn open(&self) -> anyhow::Result<Lines> {
        let glue = if self.query.is_empty() { "" } else { "&" };
        let url = format!(
            "{}?watch=1&resourceVersion={}{glue}{}",
            self.path, self.revision, self.query
        );
        connection::watch(&self.access, &url).await
    }

    /// The next step. An error only when the server can be reached no more.
    pub(super) async fn next(&mut self) -> anyhow::Result<Told<T>> {
        loop {
            if let Some(told) = self.listed.pop_front() {
                return Ok(told);
            }
            if self.lines.is_none() {
                self.resumed += 1;
                self.lines = match self.open().await {
                    Ok(lines) => Some(lines),
                    Err(_) => {
                        self.list().await?;
                        Some(self.open().await?)
                    }
                };
                continue;
            }
            match self.line().await {
                Some(told) => return Ok(told),
                None => self.lines = None,
            }
        }
    }

    /// None when this watch is at its end.
    async fn line(&mut self) -> Option<Told<T>> {
        let bytes = self.lines.as_mut()?.next().await.ok()?;
        let line: Line<'_> = serde_json::from_slice(bytes).ok()?;
        let gone = match line.kind {
            "ADDED" | "MODIFIED" => false,
            "DELETED" => true,
            // A revision that is too old, as a rule: opening again finds out.
            _ => return None,
        };
        let object: T = serde_json::from_str(line.object.get()).ok()?;
        object.revision().clone_into(&mut self.revision);
        Some(if gone {
            Told::Gone(object)
        } else {
            Told::Is(object)
        })
    }
}
