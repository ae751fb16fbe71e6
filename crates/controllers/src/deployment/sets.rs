//! The sets of a Deployment while a plan is made: what they will be, and the writes that make them so.

use std::collections::BTreeMap;

use corten_client::object::{MetaExt, controller_ref};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::plan::{View, fenceposts, replicas, size, spec};
use super::revision::{self, DESIRED_REPLICAS, HASH_LABEL, MAX_REPLICAS, REVISION, equal_ignoring_hash};
use super::{conditions, rollout};
use crate::core::{Action, Note, Write};

/// Working copies. Indexes into `sets` are stable while planning.
pub(super) struct Sets {
    pub deployment: Deployment,
    pub sets: Vec<ReplicaSet>,
    pub now: Timestamp,
    /// Sets to update, with the event that follows each.
    changed: BTreeMap<usize, Option<Note>>,
    created: Option<(usize, Option<Note>)>,
    deleted: Vec<usize>,
    revision_changed: bool,
}

/// The set for the current template, if there is one, and all others.
pub(super) type Split = (Option<usize>, Vec<usize>);

impl Sets {
    pub fn new(view: &View<'_>, now: Timestamp) -> Self {
        let mut sets: Vec<ReplicaSet> = view.sets.iter().map(|s| (**s).clone()).collect();
        sets.sort_by(|a, b| age(a).cmp(&age(b)));
        Self {
            deployment: view.deployment.clone(),
            sets,
            now,
            changed: BTreeMap::new(),
            created: None,
            deleted: Vec::new(),
            revision_changed: false,
        }
    }

    /// The oldest set with the deployment's template is the new one.
    pub fn split(&self) -> Split {
        let template = spec(&self.deployment).template;
        let matches = |set: &ReplicaSet| {
            set.spec
                .as_ref()
                .and_then(|s| s.template.as_ref())
                .is_some_and(|t| equal_ignoring_hash(&template, t))
        };
        let new = self.sets.iter().position(matches);
        (new, (0..self.sets.len()).filter(|i| Some(*i) != new).collect())
    }

    /// Finds or makes the new set, and brings the revision annotations up to date.
    pub fn sync_revision(&mut self, create: bool) -> Split {
        let (new, olds) = self.split();
        let highest = olds
            .iter()
            .map(|i| revision::of(&self.sets[*i].metadata))
            .max()
            .unwrap_or(0);
        let revision = highest.max(0) + 1;
        match new {
            Some(index) => {
                self.refresh(index, revision);
                (Some(index), olds)
            }
            None if create => {
                let index = self.create(revision, &olds);
                (Some(index), olds)
            }
            None => (None, olds),
        }
    }

    fn refresh(&mut self, index: usize, revision: i64) {
        let min_ready = spec(&self.deployment).min_ready_seconds.unwrap_or(0);
        let set = &mut self.sets[index];
        let mut changed = revision::annotate(&self.deployment, &mut set.metadata, revision);
        let set_spec = set.spec.get_or_insert_default();
        if set_spec.min_ready_seconds.unwrap_or(0) != min_ready {
            set_spec.min_ready_seconds = Some(min_ready).filter(|s| *s > 0);
            changed = true;
        }
        if changed {
            self.changed.entry(index).or_default();
        }
        let stored = self.sets[index]
            .metadata
            .annotation(REVISION)
            .unwrap_or_default()
            .to_owned();
        self.set_revision(&stored);
        let name = self.sets[index].metadata.name().to_owned();
        conditions::found(&mut self.deployment, &name, self.now);
    }

    fn create(&mut self, revision: i64, olds: &[usize]) -> usize {
        let mut set = new_set(&self.deployment);
        let used: i32 = olds.iter().map(|i| size(&self.sets[*i])).sum();
        let count = rollout::new_size(&self.deployment, used, 0);
        set.spec.get_or_insert_default().replicas = Some(count);
        revision::annotate(&self.deployment, &mut set.metadata, revision);
        set_sizes(&self.deployment, &mut set.metadata);
        let name = set.metadata.name().to_owned();
        let note = (count > 0).then(|| {
            let message = format!("Scaled up replica set {name} from 0 to {count}");
            Note::normal(&self.deployment, "ScalingReplicaSet", message)
        });
        self.sets.push(set);
        let index = self.sets.len() - 1;
        self.created = Some((index, note));
        self.set_revision(&revision.to_string());
        conditions::created(&mut self.deployment, &name, self.now);
        index
    }

    fn set_revision(&mut self, revision: &str) {
        if revision.is_empty() || self.deployment.metadata.annotation(REVISION) == Some(revision) {
            return;
        }
        self.revision_changed = true;
        let annotations = self.deployment.metadata.annotations.get_or_insert_default();
        annotations.insert(REVISION.into(), revision.into());
    }

    /// Tells a set to have `count` replicas. With `force` its annotations are brought up to date even so.
    pub fn scale(&mut self, index: usize, count: i32, force: bool) -> bool {
        let old = size(&self.sets[index]);
        if old == count && !force {
            return false;
        }
        let set = &mut self.sets[index];
        if !set_sizes(&self.deployment, &mut set.metadata) && old == count {
            return false;
        }
        set.spec.get_or_insert_default().replicas = Some(count);
        let name = set.metadata.name();
        let note = (old != count).then(|| {
            let direction = if old < count { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {name} from {old} to {count}");
            Note::normal(&self.deployment, "ScalingReplicaSet", message)
        });
        // A set just made is written with its new size; only what is stored already is updated.
        match &mut self.created {
            Some((created, earlier)) if *created == index => *earlier = note.or(earlier.take()),
            _ => {
                let earlier = self.changed.entry(index).or_default();
                *earlier = note.or(earlier.take());
            }
        }
        old != count
    }

    pub fn delete(&mut self, index: usize) {
        self.deleted.push(index);
    }

    /// The writes, in the order that keeps most pods serving: new set, others, deletions.
    pub fn into_actions(self) -> (Vec<Action>, Deployment) {
        let mut actions = Vec::new();
        if self.revision_changed {
            // Through the status, as upstream: a revision is no change of what is wanted, and the generation stays.
            actions.push(Write::status(&self.deployment).into());
        }
        let noted = |mut write: Write, note: Option<Note>| {
            write.ok = note;
            Action::from(write)
        };
        if let Some((index, note)) = self.created {
            actions.insert(0, noted(Write::create(&self.sets[index]), note));
        }
        for (index, note) in self.changed {
            actions.push(noted(Write::update(&self.sets[index]), note));
        }
        actions.extend(
            self.deleted
                .iter()
                .map(|i| Action::from(Write::delete(&self.sets[*i]))),
        );
        (actions, self.deployment)
    }
}

/// Order of creation; the name decides between sets of one second.
pub(super) fn age(set: &ReplicaSet) -> (Option<Timestamp>, &str) {
    (
        set.metadata.creation_timestamp.as_ref().map(|t| t.0),
        set.metadata.name(),
    )
}

/// Sets the annotations later scalings are computed from; returns whether they changed.
fn set_sizes(deployment: &Deployment, meta: &mut ObjectMeta) -> bool {
    let wanted = replicas(deployment);
    let annotations = meta.annotations.get_or_insert_default();
    let mut changed = false;
    for (name, count) in [
        (DESIRED_REPLICAS, wanted),
        (MAX_REPLICAS, wanted + fenceposts(deployment).0),
    ] {
        let text = count.to_string();
        changed |= annotations.insert(name.into(), text.clone()) != Some(text);
    }
    changed
}

fn new_set(deployment: &Deployment) -> ReplicaSet {
    let spec = spec(deployment);
    let collisions = deployment.status.as_ref().and_then(|s| s.collision_count);
    let hash = revision::hash(&spec.template, collisions);
    let mut template = spec.template;
    template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default()
        .insert(HASH_LABEL.into(), hash.clone());
    let mut selector = spec.selector;
    selector
        .match_labels
        .get_or_insert_default()
        .insert(HASH_LABEL.into(), hash.clone());
    let labels = template.metadata.as_ref().and_then(|m| m.labels.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(revision::set_name(deployment.metadata.name(), &hash)),
            namespace: deployment.metadata.namespace.clone(),
            labels,
            owner_references: Some(vec![controller_ref(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(0),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}
