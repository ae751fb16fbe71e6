//! Deleting everything in a namespace.

use std::collections::BTreeMap;

use corten_client::{Caller, Error, Partial};
use http::Method;
use serde::Deserialize;
use serde_json::json;

use crate::core::discovery::Served;

/// Kinds emptied at a time.
const MAX_TOGETHER: usize = 16;

/// What is still there after an attempt.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Remaining {
    /// Objects by `plural.group`.
    pub objects: BTreeMap<String, usize>,
    /// Objects by finalizer.
    pub finalizers: BTreeMap<String, usize>,
    pub errors: Vec<String>,
    /// Why the kinds are not known.
    pub discovery: Option<String>,
}

impl Remaining {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
    fn merge(&mut self, other: Self) {
        self.objects.extend(other.objects);
        for (finalizer, count) in other.finalizers {
            *self.finalizers.entry(finalizer).or_default() += count;
        }
        self.errors.extend(other.errors);
    }
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Partial>,
}

/// Deletes what can be deleted. Pods go first: while one runs, what it uses stays (KEP-5080).
pub async fn delete_all(caller: &Caller, all: &[Served], ns: &str) -> Remaining {
    let deletable = |s: &&Served| s.namespaced && s.can(&["delete", "list"]) && !s.plural.contains('/');
    let (pods, others): (Vec<_>, Vec<_>) = all
        .iter()
        .filter(deletable)
        .partition(|s| s.group.is_empty() && s.plural == "pods");
    let mut remaining = Remaining::default();
    for kind in pods {
        remaining.merge(delete_kind(caller, kind, ns).await);
    }
    if !remaining.is_empty() {
        return remaining;
    }
    for batch in others.chunks(MAX_TOGETHER) {
        let emptied = batch.iter().map(|kind| delete_kind(caller, kind, ns));
        for result in futures::future::join_all(emptied).await {
            remaining.merge(result);
        }
    }
    remaining
}

async fn delete_kind(caller: &Caller, kind: &Served, ns: &str) -> Remaining {
    match try_delete_kind(caller, kind, ns).await {
        Ok(remaining) => remaining,
        Err(error) if error.is_not_found() || error.code() == 405 => Remaining::default(),
        Err(error) => Remaining {
            errors: vec![error.to_string()],
            ..Remaining::default()
        },
    }
}

async fn try_delete_kind(caller: &Caller, kind: &Served, ns: &str) -> Result<Remaining, Error> {
    let path = kind.path(ns, "");
    let together = kind.can(&["deletecollection"]);
    let before = if together {
        caller.read::<List>(&format!("{path}?limit=1")).await?.items
    } else {
        caller.metadata(&path).await?
    };
    if before.is_empty() {
        return Ok(Remaining::default());
    }
    if together {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
        let body = serde_json::to_vec(&options)?;
        caller
            .send(Method::DELETE, &path, "application/json", body)
            .await?;
    } else {
        for object in &before {
            use corten_client::object::MetaExt;
            let target = kind.path(ns, object.metadata.name());
            match caller
                .delete(&target, &json!({"propagationPolicy": "Background"}))
                .await
            {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
    }
    let after = caller.metadata(&path).await?;
    let mut remaining = Remaining::default();
    if !after.is_empty() {
        remaining
            .objects
            .insert(format!("{}.{}", kind.plural, kind.group), after.len());
        for finalizer in after.iter().flat_map(|o| o.metadata.finalizers.iter().flatten()) {
            *remaining.finalizers.entry(finalizer.clone()).or_default() += 1;
        }
    }
    Ok(remaining)
}
