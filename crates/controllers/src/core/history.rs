//! ControllerRevisions: the templates a StatefulSet or DaemonSet has had.

use std::sync::Arc;

use corten_client::object::{MetaExt, controller_ref};
use corten_client::{Caller, Error};
use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::PodTemplateSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::runtime::RawExtension;
use serde_json::{Value, json};

use super::action::{Action, Write, value};

const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A template as revisions keep it: a patch that puts it back.
#[must_use]
pub fn data(template: &PodTemplateSpec) -> Value {
    let mut template = value(template);
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

/// The hash in a revision's name.
#[must_use]
pub fn hash(data: &Value, collisions: Option<i32>) -> String {
    let mut state = 0x811c_9dc5_u32;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            state = (state ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
        }
    };
    feed(data.to_string().as_bytes());
    if let Some(count) = collisions.filter(|c| *c > 0) {
        feed(count.to_string().as_bytes());
    }
    state
        .to_string()
        .bytes()
        .map(|b| char::from(ALPHABET[usize::from(b) % ALPHABET.len()]))
        .collect()
}

/// The template a revision keeps.
#[must_use]
pub fn template(revision: &ControllerRevision) -> Option<PodTemplateSpec> {
    let mut template = revision.data.as_ref()?.0["spec"]["template"].clone();
    template.as_object_mut()?.remove("$patch");
    serde_json::from_value(template).ok()
}

/// A new revision of `owner`; `label` is the key its hash goes under.
#[must_use]
pub fn revision<K: Metadata<Ty: MetaExt>>(
    owner: &K,
    template: &PodTemplateSpec,
    label: &str,
    number: i64,
    collisions: Option<i32>,
) -> ControllerRevision {
    let data = data(template);
    let hash = hash(&data, collisions);
    let mut labels = template
        .metadata
        .as_ref()
        .and_then(|m| m.labels.clone())
        .unwrap_or_default();
    labels.insert(label.into(), hash.clone());
    let metadata = ObjectMeta {
        name: Some(format!("{}-{hash}", owner.metadata().name())),
        namespace: Some(owner.metadata().ns().into()),
        labels: Some(labels),
        annotations: owner.metadata().annotations().cloned(),
        owner_references: Some(vec![controller_ref(owner)]),
        ..ObjectMeta::default()
    };
    ControllerRevision {
        metadata,
        data: Some(RawExtension(data)),
        revision: number,
    }
}

/// The revisions of an owner with its current template among them.
pub struct History {
    /// Oldest first.
    pub all: Vec<Arc<ControllerRevision>>,
    /// The one of the current template, as it is or is about to be stored.
    pub update: ControllerRevision,
    /// The write that stores it, if it is not.
    pub write: Option<Action>,
}

/// Finds the revision of `template` among `all`, makes it the newest, or makes a new one.
pub fn history<K: Metadata<Ty: MetaExt>>(
    owner: &K,
    template: &PodTemplateSpec,
    label: &str,
    mut all: Vec<Arc<ControllerRevision>>,
    collisions: Option<i32>,
) -> History {
    all.sort_by(|a, b| {
        a.revision
            .cmp(&b.revision)
            .then_with(|| a.metadata.name().cmp(b.metadata.name()))
    });
    let next = all.last().map_or(1, |r| r.revision + 1);
    let wanted = data(template);
    let found = all
        .iter()
        .rev()
        .find(|r| r.data.as_ref().is_some_and(|d| d.0 == wanted))
        .cloned();
    match found {
        Some(found) if found.revision + 1 == next => History {
            update: (*found).clone(),
            all,
            write: None,
        },
        Some(found) => {
            let update = ControllerRevision {
                revision: next,
                ..(*found).clone()
            };
            History {
                write: Some(Write::update(&update).into()),
                update,
                all,
            }
        }
        None => {
            let update = revision(owner, template, label, next, collisions);
            History {
                write: Some(Write::create(&update).into()),
                update,
                all,
            }
        }
    }
}

/// Whether a new revision could not be stored because another template has its name: then the next name is tried. Of the
/// same template it is an earlier try of ours, whose answer was lost or which the cache does not show yet.
///
/// # Errors
/// When the revision of that name cannot be read.
pub async fn collides(caller: &Caller, revision: &ControllerRevision, error: &Error) -> Result<bool, Error> {
    if !error.is_already_exists() {
        return Ok(false);
    }
    let meta = &revision.metadata;
    let stored: ControllerRevision = caller.get(meta.ns(), meta.name()).await?;
    let data = |r: &ControllerRevision| r.data.as_ref().map(|d| d.0.clone());
    Ok(data(&stored) != data(revision))
}

/// Deletions of the oldest revisions nobody uses, beyond `limit`.
#[must_use]
pub fn truncate(
    all: &[Arc<ControllerRevision>],
    limit: i32,
    in_use: impl Fn(&ControllerRevision) -> bool,
) -> Vec<Action> {
    let unused: Vec<_> = all.iter().filter(|r| !in_use(r)).collect();
    let extra = unused.len().saturating_sub(usize::try_from(limit).unwrap_or(0));
    unused
        .into_iter()
        .take(extra)
        .map(|r| Write::delete(&**r).into())
        .collect()
}
