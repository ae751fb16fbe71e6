//! What a StatefulSet does about its pods: in order, one at a time unless told otherwise. Upstream:
//! pkg/controller/statefulset/stateful_set_control.go.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::{ControllerRevision, StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use serde_json::json;

use super::identity::{self, REVISION_LABEL, ordinal};
use super::{retention, status};
use crate::core::{Action, Note, Write, history, pod};
use crate::deployment::scaled;

/// What a plan is made from.
pub struct View<'a> {
    pub set: &'a StatefulSet,
    pub pods: Vec<Arc<Pod>>,
    /// Oldest first.
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Of the current template.
    pub update: ControllerRevision,
    /// Of the namespace.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
}

pub(super) struct Scene<'a> {
    pub view: &'a View<'a>,
    pub spec: StatefulSetSpec,
    pub now: Timestamp,
    /// The revision most pods have, or the only one.
    pub current: ControllerRevision,
    /// Pods that should be there, by ordinal; none where one is missing.
    pub slots: BTreeMap<i32, Option<Arc<Pod>>>,
    /// Pods beyond the wanted ordinals, highest first.
    pub condemned: Vec<Arc<Pod>>,
    pub actions: Vec<Action>,
    /// Pods deleted for an update by this plan.
    pub updating: i32,
}

/// The steps towards the spec, and the write of the status if it changes.
#[must_use]
pub fn plan(view: &View<'_>, now: Timestamp) -> (Vec<Action>, Option<Action>) {
    let mut scene = Scene::new(view, now);
    if !view.set.metadata.terminating() {
        scene.replicas_then_condemned_then_update();
        scene.truncate();
    }
    let status = status::write(&scene);
    (scene.actions, status)
}

impl<'a> Scene<'a> {
    fn new(view: &'a View<'a>, now: Timestamp) -> Self {
        let spec = view.set.spec.clone().unwrap_or_default();
        let recorded = view
            .set
            .status
            .as_ref()
            .and_then(|s| s.current_revision.clone())
            .unwrap_or_default();
        let current = view.revisions.iter().find(|r| r.metadata.name() == recorded);
        let current = current.map_or_else(|| view.update.clone(), |r| (**r).clone());
        let start = spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
        let end = start + spec.replicas.unwrap_or(1);
        let mut slots: BTreeMap<i32, Option<Arc<Pod>>> = (start..end).map(|i| (i, None)).collect();
        let mut condemned = Vec::new();
        for pod in &view.pods {
            match ordinal(pod.metadata.name(), view.set.metadata.name()) {
                Some(index) if slots.contains_key(&index) => drop(slots.insert(index, Some(Arc::clone(pod)))),
                Some(_) => condemned.push(Arc::clone(pod)),
                None => {}
            }
        }
        let name = view.set.metadata.name();
        condemned.sort_by_key(|p| std::cmp::Reverse(ordinal(p.metadata.name(), name)));
        Self {
            view,
            spec,
            now,
            current,
            slots,
            condemned,
            actions: Vec::new(),
            updating: 0,
        }
    }

    fn ordered(&self) -> bool {
        self.spec.pod_management_policy.as_deref() != Some("Parallel")
    }

    pub fn is_available(&self, object: &Pod) -> bool {
        pod::phase(object) == "Running"
            && pod::is_available(object, self.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    fn replicas_then_condemned_then_update(&mut self) {
        for (index, slot) in self.slots.clone() {
            if self.tend(index, slot) && self.ordered() {
                return;
            }
        }
        if self.condemn() {
            return;
        }
        self.update();
    }

    /// Tends one pod that should be there; returns whether the next has to wait for it.
    fn tend(&mut self, index: i32, slot: Option<Arc<Pod>>) -> bool {
        let Some(object) = slot else {
            if !self.waits_for_claims(index) {
                self.create(index);
            }
            return true;
        };
        if pod::is_finished(&object) {
            if !object.metadata.terminating() {
                self.delete(&object);
            }
            return true;
        }
        if pod::phase(&object) == "Pending" {
            self.create_claims(index);
        }
        if self.ordered() && (object.metadata.terminating() || !self.is_available(&object)) {
            return true;
        }
        self.identify(index, &object);
        self.retain(index, &object, false);
        false
    }

    /// An adopted pod gets the labels that say which one it is.
    fn identify(&mut self, index: i32, object: &Pod) {
        if identity::is_labeled(object) {
            return;
        }
        let labels: BTreeMap<_, _> = identity::labels(object.metadata.name(), index).into();
        let patch = json!({"metadata": {"uid": object.metadata.uid(), "labels": labels}});
        let write = Write::patch(object, patch);
        self.actions
            .push(self.noted(write, "Update", &pod_of(object)).into());
    }

    /// Gives the claims of a pod the owners that the retention policy asks for.
    fn retain(&mut self, index: i32, object: &Pod, surplus: bool) {
        for wanted in identity::claims(self.view.set, index) {
            let name = wanted.metadata.name();
            let found = self.view.claims.iter().find(|c| c.metadata.name() == name);
            let Some((claim, owners)) = found.and_then(|c| {
                let owners = retention::owners(self.view.set, object, c, surplus)?;
                Some((c, owners))
            }) else {
                continue;
            };
            let mut updated = (**claim).clone();
            updated.metadata.owner_references = Some(owners).filter(|o| !o.is_empty());
            let write = Write::update(&updated);
            let write = if surplus {
                write
            } else {
                self.noted(write, "Update", &pod_of(object))
            };
            self.actions.push(write.into());
        }
    }

    /// A write with the event of its success and that of its failure.
    fn noted(&self, write: Write, verb: &str, what: &str) -> Write {
        let set = self.view.set;
        let (good, bad) = match verb {
            "Create" => ("SuccessfulCreate", "FailedCreate"),
            "Delete" => ("SuccessfulDelete", "FailedDelete"),
            _ => ("SuccessfulUpdate", "FailedUpdate"),
        };
        let text = format!("{verb} {what} in StatefulSet {}", set.metadata.name());
        write
            .ok(Note::normal(set, good, format!("{text} successful")))
            .err(Note::warning(set, bad, format!("{text} failed error: {{error}}")))
    }

    /// A claim that goes with the pod before this one must be gone first.
    fn waits_for_claims(&self, index: i32) -> bool {
        let set = self.view.set;
        let name = format!("{}-{index}", set.metadata.name());
        let wanted = identity::claims(set, index);
        let mut found = self
            .view
            .claims
            .iter()
            .filter(|c| wanted.iter().any(|w| w.metadata.name() == c.metadata.name()));
        found.any(|c| retention::is_stale(set, c, &name))
    }

    fn create(&mut self, index: i32) {
        self.create_claims(index);
        let old = self.keeps_current(index);
        let revision = if old { &self.current } else { &self.view.update };
        let template = if old { history::template(revision) } else { None };
        let template = template.unwrap_or_else(|| self.spec.template.clone());
        let pod = identity::new_pod(self.view.set, &template, revision.metadata.name(), index);
        self.actions
            .push(self.noted(Write::create(&pod), "Create", &pod_of(&pod)).into());
    }

    fn create_claims(&mut self, index: i32) {
        let set = self.view.set;
        for claim in identity::claims(set, index) {
            let name = claim.metadata.name();
            if self.view.claims.iter().any(|c| c.metadata.name() == name) {
                continue;
            }
            let (pod, owner) = (format!("{}-{index}", set.metadata.name()), set.metadata.name());
            let made = format!("Create Claim {name} Pod {pod} in StatefulSet {owner} success");
            let failed =
                format!("Create Claim {name} for Pod {pod} in StatefulSet {owner} failed error: {{error}}");
            let write = Write::create(&claim)
                .ok(Note::normal(set, "SuccessfulCreate", made))
                .err(Note::warning(set, "FailedCreate", failed));
            self.actions.push(write.into());
        }
    }

    /// Below the partition pods stay at the revision they have.
    fn keeps_current(&self, index: i32) -> bool {
        if self.on_delete() {
            return false;
        }
        let start = self.spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
        index < start + self.partition()
    }

    fn on_delete(&self) -> bool {
        self.spec
            .update_strategy
            .as_ref()
            .and_then(|s| s.type_.as_deref())
            == Some("OnDelete")
    }

    pub fn partition(&self) -> i32 {
        let strategy = self
            .spec
            .update_strategy
            .as_ref()
            .and_then(|s| s.rolling_update.as_ref());
        strategy.and_then(|r| r.partition).unwrap_or(0)
    }

    fn delete(&mut self, object: &Arc<Pod>) {
        let write = self.noted(Write::delete(&**object), "Delete", &pod_of(&**object));
        self.actions.push(write.into());
    }

    /// Deletes pods beyond the wanted ordinals; returns whether updates have to wait.
    fn condemn(&mut self) -> bool {
        let all = self.slots.values().flatten().chain(&self.condemned);
        let unhealthy = all.filter(|p| p.metadata.terminating() || !self.is_available(p));
        let name = self.view.set.metadata.name();
        let first = unhealthy
            .min_by_key(|p| ordinal(p.metadata.name(), name))
            .map(|p| p.metadata.uid().to_owned());
        for object in self.condemned.clone() {
            if let Some(index) = ordinal(object.metadata.name(), name) {
                self.retain(index, &object, true);
            }
        }
        for object in self.condemned.clone() {
            if object.metadata.terminating() {
                if self.ordered() {
                    return true;
                }
                continue;
            }
            let waits = !self.is_available(&object) && first.as_deref() != Some(object.metadata.uid());
            if self.ordered() && waits {
                return true;
            }
            self.delete(&object);
            if self.ordered() {
                return true;
            }
        }
        false
    }

    /// Replaces pods of older revisions, from the highest ordinal down to the partition.
    fn update(&mut self) {
        if self.on_delete() {
            return;
        }
        let start = self.spec.ordinals.as_ref().and_then(|o| o.start).unwrap_or(0);
        let lowest = start + self.partition();
        let rolling = self
            .spec
            .update_strategy
            .as_ref()
            .and_then(|s| s.rolling_update.as_ref());
        let wanted = self.spec.replicas.unwrap_or(1);
        let most = rolling
            .and_then(|r| r.max_unavailable.as_ref())
            .map_or(1, |v| scaled(v, wanted, false).max(1));
        let mut unavailable = 0;
        for (_, slot) in self.slots.clone().into_iter().rev().filter(|(i, _)| *i >= lowest) {
            let Some(object) = slot else { return };
            let is_new = object.metadata.label(REVISION_LABEL) == Some(self.view.update.metadata.name());
            if object.metadata.terminating() || (is_new && !self.is_available(&object)) {
                unavailable += 1;
            } else if !is_new {
                self.delete(&object);
                self.updating += 1;
                unavailable += 1;
            }
            if unavailable >= most {
                return;
            }
        }
    }

    fn truncate(&mut self) {
        let limit = self.spec.revision_history_limit.unwrap_or(10);
        let used = |r: &ControllerRevision| {
            let name = r.metadata.name();
            name == self.view.update.metadata.name()
                || name == self.current.metadata.name()
                || self
                    .view
                    .pods
                    .iter()
                    .any(|p| p.metadata.label(REVISION_LABEL) == Some(name))
        };
        let deletions = history::truncate(&self.view.revisions, limit, used);
        self.actions.extend(deletions);
    }
}

fn pod_of<K: Metadata<Ty: MetaExt>>(object: &K) -> String {
    format!("Pod {}", object.metadata().name())
}
