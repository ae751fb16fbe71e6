//! What a DaemonSet does: a pod on every node that wants one, replaced node by node on updates. Upstream:
//! pkg/controller/daemon.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::Node;

use super::{GENERATION, HASH_LABEL, place, status};
use crate::core::{Action, Note, Write, history, pod};
use crate::deployment::scaled;

/// Pods created or deleted in one go.
pub const BURST: usize = 250;
/// A failed daemon is replaced after this long, so that one that fails at once does not spin.
const FAILED_DELAY: Duration = Duration::from_secs(1);

/// What a plan is made from.
pub struct View<'a> {
    pub set: &'a DaemonSet,
    pub pods: Vec<Arc<Pod>>,
    pub nodes: Vec<Arc<Node>>,
    pub revisions: Vec<Arc<ControllerRevision>>,
    /// Of the current template.
    pub update: ControllerRevision,
}

/// Steps to take, the write of the status if it changes, and when to look again.
#[derive(Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub status: Option<Action>,
    pub requeue: Option<Duration>,
}

pub(super) struct Scene<'a> {
    pub view: &'a View<'a>,
    pub spec: DaemonSetSpec,
    pub now: Timestamp,
    pub hash: String,
    pub by_node: BTreeMap<String, Vec<Arc<Pod>>>,
    create: Vec<String>,
    delete: Vec<Arc<Pod>>,
    notes: Vec<Note>,
    requeue: Option<Duration>,
}

/// Decides the next steps.
#[must_use]
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let mut scene = Scene::new(view, now);
    scene.manage();
    if scene.create.is_empty() && scene.delete.is_empty() {
        scene.update();
    }
    let status = status::write(&scene);
    let min_ready = scene.spec.min_ready_seconds.unwrap_or(0);
    let soon = pod::next_available(view.pods.iter().map(|p| &**p), min_ready, now).filter(|_| min_ready > 0);
    let requeue = scene.requeue.into_iter().chain(soon).min();
    Plan {
        actions: scene.into_actions(),
        status,
        requeue,
    }
}

impl<'a> Scene<'a> {
    fn new(view: &'a View<'a>, now: Timestamp) -> Self {
        let mut by_node: BTreeMap<String, Vec<Arc<Pod>>> = BTreeMap::new();
        for pod in &view.pods {
            if let Some(node) = place::target(pod) {
                by_node.entry(node).or_default().push(Arc::clone(pod));
            }
        }
        let hash = view
            .update
            .metadata
            .label(HASH_LABEL)
            .unwrap_or_default()
            .to_owned();
        let spec = view.set.spec.clone().unwrap_or_default();
        let (create, delete, notes) = (Vec::new(), Vec::new(), Vec::new());
        Self {
            view,
            spec,
            now,
            hash,
            by_node,
            create,
            delete,
            notes,
            requeue: None,
        }
    }

    pub fn wants(&self, node: &Node) -> (bool, bool) {
        place::wants(&self.spec.template.spec.clone().unwrap_or_default(), node)
    }

    pub fn is_available(&self, object: &Pod) -> bool {
        pod::is_available(object, self.spec.min_ready_seconds.unwrap_or(0), self.now)
    }

    pub fn is_new(&self, object: &Pod) -> bool {
        object.metadata.label(HASH_LABEL) == Some(&self.hash)
    }

    fn max_surge(&self) -> i32 {
        let rolling = self
            .spec
            .update_strategy
            .as_ref()
            .and_then(|s| s.rolling_update.as_ref());
        rolling
            .and_then(|r| r.max_surge.as_ref())
            .map_or(0, |v| scaled(v, self.wanted(), true))
    }

    fn wanted(&self) -> i32 {
        i32::try_from(self.view.nodes.iter().filter(|n| self.wants(n).0).count()).unwrap_or(i32::MAX)
    }

    /// A pod where there should be one, none where there should not.
    fn manage(&mut self) {
        let surge = self.max_surge() > 0;
        for node in &self.view.nodes {
            let (should_run, may_stay) = self.wants(node);
            let name = node.metadata.name();
            let pods = self.by_node.get(name).cloned().unwrap_or_default();
            if should_run && pods.is_empty() {
                self.create.push(name.to_owned());
            } else if may_stay {
                self.keep_one(name, pods, surge);
            } else {
                self.delete
                    .extend(pods.into_iter().filter(|p| !p.metadata.terminating()));
            }
        }
        let known = |name: &str| self.view.nodes.iter().any(|n| n.metadata.name() == name);
        // Pods that wait for a node that is gone would wait for ever; bound ones are pod garbage.
        let lost = self
            .by_node
            .iter()
            .filter(|(name, _)| !known(name))
            .flat_map(|(_, pods)| pods);
        let lost: Vec<_> = lost
            .filter(|p| pod::node(p).is_empty() && !p.metadata.terminating())
            .cloned()
            .collect();
        self.delete.extend(lost);
    }

    fn keep_one(&mut self, node: &str, pods: Vec<Arc<Pod>>, surge: bool) {
        let mut running = Vec::new();
        for object in pods {
            if object.metadata.terminating() {
                continue;
            }
            match pod::phase(&object) {
                "Failed" => self.replace_failed(node, object, "FailedDaemonPod", "failed", "kill"),
                "Succeeded" => self.replace_failed(node, object, "SucceededDaemonPod", "succeeded", "delete"),
                _ => running.push(object),
            }
        }
        let old_and_new =
            surge && running.iter().any(|p| self.is_new(p)) && running.iter().any(|p| !self.is_new(p));
        if running.len() <= 1 || old_and_new {
            return;
        }
        // The oldest stays.
        running.sort_by_key(|p| {
            (
                !pod::is_ready(p),
                p.metadata.creation_timestamp.as_ref().map(|t| t.0),
            )
        });
        self.delete.extend(running.into_iter().skip(1));
    }

    fn replace_failed(&mut self, node: &str, object: Arc<Pod>, reason: &'static str, how: &str, verb: &str) {
        let ended = crate::job::ended_at(&object).map_or(self.now, |at| at + FAILED_DELAY);
        let left = ended.duration_since(self.now);
        if left.is_positive() {
            self.requeue = Some(left.unsigned_abs());
            return;
        }
        let (ns, name) = (object.metadata.ns(), object.metadata.name());
        let message = format!("Found {how} daemon pod {ns}/{name} on node {node}, will try to {verb} it");
        let set = self.view.set;
        let note = if how == "failed" {
            Note::warning(set, reason, message)
        } else {
            Note::normal(set, reason, message)
        };
        self.notes.push(note);
        self.delete.push(object);
    }

    fn update(&mut self) {
        if self
            .spec
            .update_strategy
            .as_ref()
            .and_then(|s| s.type_.as_deref())
            == Some("OnDelete")
        {
            return;
        }
        if self.max_surge() > 0 {
            self.surge()
        } else {
            self.roll()
        }
    }

    /// Old pods go first, as long as few enough nodes are without.
    fn roll(&mut self) {
        let rolling = self
            .spec
            .update_strategy
            .as_ref()
            .and_then(|s| s.rolling_update.as_ref());
        let limit = rolling
            .and_then(|r| r.max_unavailable.as_ref())
            .map_or(1, |v| scaled(v, self.wanted(), true));
        let (mut unavailable, mut candidates, mut broken) = (0, Vec::new(), Vec::new());
        for node in self.view.nodes.iter().filter(|n| self.wants(n).0) {
            let pods = self
                .by_node
                .get(node.metadata.name())
                .cloned()
                .unwrap_or_default();
            let alive: Vec<_> = pods.into_iter().filter(|p| !p.metadata.terminating()).collect();
            if !alive.iter().any(|p| self.is_available(p)) {
                unavailable += 1;
            }
            for old in alive.into_iter().filter(|p| !self.is_new(p)) {
                if self.is_available(&old) {
                    candidates.push(old)
                } else {
                    broken.push(old)
                }
            }
        }
        let room = usize::try_from(limit - unavailable).unwrap_or(0);
        self.delete.extend(broken);
        self.delete.extend(candidates.into_iter().take(room));
    }

    /// New pods come first; old ones go when their successor is available.
    fn surge(&mut self) {
        let (mut surging, mut candidates) = (0, Vec::new());
        let wanting: Vec<_> = self
            .view
            .nodes
            .iter()
            .filter(|n| self.wants(n).0)
            .cloned()
            .collect();
        for node in wanting {
            let pods = self
                .by_node
                .get(node.metadata.name())
                .cloned()
                .unwrap_or_default();
            let (new, old): (Vec<_>, Vec<_>) = pods.into_iter().partition(|p| self.is_new(p));
            let old = old.into_iter().find(|p| !p.metadata.terminating());
            let ready = new.iter().any(|p| self.is_available(p));
            match old {
                Some(old) if ready => self.delete.push(old),
                Some(_) if !new.is_empty() => surging += 1,
                Some(old) if !self.is_available(&old) => self.create.push(node.metadata.name().to_owned()),
                Some(_) => candidates.push(node.metadata.name().to_owned()),
                None => {}
            }
        }
        let room = usize::try_from(self.max_surge() - surging).unwrap_or(0);
        self.create.extend(candidates.into_iter().take(room));
    }

    fn into_actions(self) -> Vec<Action> {
        let set = self.view.set;
        let annotated = set.metadata.annotation(GENERATION).and_then(|g| g.parse().ok());
        let generation = annotated.or(set.metadata.generation).unwrap_or(1);
        let mut actions: Vec<Action> = self.notes.into_iter().map(Action::from).collect();
        let creates = self.create.iter().take(BURST).map(|node| {
            Write::create(&place::new_pod(set, node, &self.hash, generation))
                .ok(Note::normal(set, "SuccessfulCreate", "Created pod: {name}"))
                .err(Note::warning(set, "FailedCreate", "Error creating: {error}"))
        });
        let creates: Vec<_> = creates.collect();
        if !creates.is_empty() {
            actions.push(Action::SlowStart(creates));
        }
        let deletes = self.delete.iter().take(BURST).map(|pod| {
            Write::delete(&**pod)
                .ok(Note::normal(
                    set,
                    "SuccessfulDelete",
                    format!("Deleted pod: {}", pod.metadata.name()),
                ))
                .err(Note::warning(set, "FailedDelete", "Error deleting: {error}"))
        });
        let deletes: Vec<_> = deletes.collect();
        if !deletes.is_empty() {
            actions.push(Action::Together(deletes));
        }
        let used = |r: &ControllerRevision| {
            let hash = r.metadata.label(HASH_LABEL);
            r.metadata.name() == self.view.update.metadata.name()
                || self
                    .view
                    .pods
                    .iter()
                    .any(|p| p.metadata.label(HASH_LABEL) == hash)
        };
        let limit = self.spec.revision_history_limit.unwrap_or(10);
        actions.extend(history::truncate(&self.view.revisions, limit, used));
        actions
    }
}
