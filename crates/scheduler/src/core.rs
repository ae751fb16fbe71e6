//! The scheduler without its surroundings: events in, decisions out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Namespace, Node};

use crate::class::Class;
use crate::fit_error::FitError;
use crate::plugins::{Refusal, filter_local, inter_pod, score, spread};
use crate::pod_info::PodInfo;
use crate::preempt::{self, Budget, Preemption};
use crate::queue::{Cause, SchedulingQueue};
use crate::snapshot::Snapshot;

/// Classes remembered; the one unused for longest goes first.
pub const MAX_CLASSES: usize = 256;

/// What became of one try.
#[derive(Debug)]
pub enum Outcome {
    /// The pod is assumed on the node and is to be bound.
    Bind { pod: Arc<Pod>, node: String },
    /// No node does. `preemption` says whose removal would make room.
    Unschedulable {
        pod: Arc<Pod>,
        message: String,
        preemption: Option<Preemption>,
    },
}

/// Says why the volumes of a pod keep it waiting, if they do.
pub type VolumeCheck = Box<dyn Fn(&Pod) -> Option<String> + Send>;

/// See the module.
#[derive(Default)]
pub struct Core {
    pub snapshot: Snapshot,
    pub queue: SchedulingQueue,
    pub budgets: Vec<Budget>,
    classes: HashMap<u64, Class>,
    uses: u64,
    /// Bound and assumed pods: uid → node. Bounded by the pods there are.
    placed: HashMap<String, String>,
    /// Pods that wait for preempted ones to go: uid → node.
    nominated: HashMap<String, String>,
    /// Why volumes keep a pod waiting, if they do; answered by the wiring, which sees claims.
    pub volumes: Option<VolumeCheck>,
}

impl Core {
    /// A namespace is new or changed: other labels may put its pods into terms of affinity.
    pub fn set_namespace(&mut self, namespace: &Namespace, now: Timestamp) {
        let labels = namespace.metadata.labels.clone().unwrap_or_default();
        let name = namespace.metadata.name().to_owned();
        let old = self.snapshot.namespaces.insert(name, labels.clone());
        if old.is_some_and(|old| old != labels) {
            self.queue.happened(Cause::PodBound, now);
            self.queue.happened(Cause::PodLeft, now);
        }
    }

    pub fn remove_namespace(&mut self, name: &str) {
        self.snapshot.namespaces.remove(name);
    }

    /// A node is new or changed.
    pub fn set_node(&mut self, old: Option<&Node>, node: &Arc<Node>, now: Timestamp) {
        self.snapshot.set_node(node);
        let Some(old) = old else {
            return self.queue.happened(Cause::NodeAdded, now);
        };
        let spec = |n: &Node| n.spec.clone().map(|s| (s.taints, s.unschedulable));
        let alloc = |n: &Node| n.status.as_ref().and_then(|s| s.allocatable.clone());
        for (changed, cause) in [
            (alloc(old) != alloc(node), Cause::NodeResources),
            (old.metadata.labels != node.metadata.labels, Cause::NodeLabels),
            (spec(old) != spec(node), Cause::NodeTaints),
        ] {
            if changed {
                self.queue.happened(cause, now);
            }
        }
    }

    pub fn remove_node(&mut self, name: &str) {
        self.snapshot.remove_node(name);
    }

    /// A pod is new or changed. `mine`: it names this scheduler.
    pub fn set_pod(&mut self, pod: &Arc<Pod>, mine: bool, now: Timestamp) {
        let meta = &pod.metadata;
        let node = pod
            .spec
            .as_ref()
            .and_then(|s| s.node_name.as_deref())
            .unwrap_or_default();
        let phase = pod
            .status
            .as_ref()
            .and_then(|s| s.phase.as_deref())
            .unwrap_or_default();
        if matches!(phase, "Succeeded" | "Failed") {
            return self.remove_pod(meta.uid(), now);
        }
        if node.is_empty() {
            if !mine || meta.terminating() {
                self.queue.remove(meta.uid());
            } else if !self.placed.contains_key(meta.uid()) {
                self.queue.put(Arc::clone(pod), now);
            }
            return;
        }
        self.queue.remove(meta.uid());
        self.forget_nomination(meta.uid());
        let fresh = !self.placed.contains_key(meta.uid());
        self.place(pod, node);
        if fresh {
            self.queue.happened(Cause::PodBound, now);
        }
    }

    fn place(&mut self, pod: &Arc<Pod>, node: &str) {
        let uid = pod.metadata.uid();
        if let Some(old) = self.placed.remove(uid) {
            self.snapshot.remove_pod(&old, uid);
        }
        let info = Arc::new(PodInfo::new(Arc::clone(pod), &mut self.snapshot.names));
        self.snapshot.add_pod(node, &info);
        self.placed.insert(uid.to_owned(), node.to_owned());
    }

    /// A pod is gone or has finished.
    pub fn remove_pod(&mut self, uid: &str, now: Timestamp) {
        self.queue.remove(uid);
        self.forget_nomination(uid);
        if let Some(node) = self.placed.remove(uid) {
            self.snapshot.remove_pod(&node, uid);
            self.queue.happened(Cause::PodLeft, now);
        }
    }

    fn forget_nomination(&mut self, uid: &str) {
        let Some(node) = self.nominated.remove(uid) else {
            return;
        };
        let Some(place) = self.snapshot.find(&node) else {
            return;
        };
        let found = self.snapshot.nodes[place]
            .nominated
            .iter()
            .find(|p| p.pod.metadata.uid() == uid)
            .cloned();
        if let Some(info) = found {
            self.snapshot.nominate(&node, &info, false);
        }
    }

    /// Binding failed: the pod is not where it was assumed to be, and is tried again after a back-off.
    pub fn bind_failed(&mut self, uid: &str, now: Timestamp) {
        if let Some(node) = self.placed.remove(uid) {
            self.snapshot.remove_pod(&node, uid);
        }
        self.queue.refuse(uid, BTreeSet::new(), now);
        self.queue.happened(Cause::PodLeft, now);
    }

    /// Tries the next pod.
    pub fn schedule_one(&mut self, now: Timestamp) -> Option<Outcome> {
        let pod = self.queue.next(now)?;
        let info = Arc::new(PodInfo::new(Arc::clone(&pod), &mut self.snapshot.names));
        let uid = pod.metadata.uid().to_owned();
        match self.find(&info) {
            Ok(place) => {
                let node = self.snapshot.nodes[place].name.to_string();
                self.forget_nomination(&uid);
                self.snapshot.add_pod(&node, &info);
                self.placed.insert(uid, node.clone());
                Some(Outcome::Bind { pod, node })
            }
            Err((error, preemptable)) => Some(self.unschedulable(&info, &error, &preemptable, now)),
        }
    }

    fn unschedulable(
        &mut self,
        info: &Arc<PodInfo>,
        error: &FitError,
        places: &[usize],
        now: Timestamp,
    ) -> Outcome {
        let (pod, uid) = (Arc::clone(&info.pod), info.pod.metadata.uid().to_owned());
        if error.nodes == 0 {
            // Any node that appears may do.
            self.queue
                .refuse(&uid, [crate::plugins::Plugin::NodeName].into(), now);
            return Outcome::Unschedulable {
                pod,
                message: "no nodes available to schedule pods".into(),
                preemption: None,
            };
        }
        let attempt = preempt::attempt(&mut self.snapshot, info, places, &self.budgets);
        let (message, preemption) = match attempt {
            Ok(found) => {
                self.forget_nomination(&uid);
                self.snapshot.nominate(&found.node, info, true);
                self.nominated.insert(uid.clone(), found.node.clone());
                (error.message(), Some(found))
            }
            Err(why) => (error.with_preemption(&why), None),
        };
        self.queue.refuse(&uid, error.plugins.clone(), now);
        Outcome::Unschedulable {
            pod,
            message,
            preemption,
        }
    }

    fn find(&mut self, pod: &PodInfo) -> Result<usize, (FitError, Vec<usize>)> {
        if let Some(why) = self.volumes.as_ref().and_then(|v| v(&pod.pod)) {
            let mut error = FitError::new(self.snapshot.live().count());
            error.plugins.insert(crate::plugins::Plugin::VolumeBinding);
            error.pre_filter = why;
            return Err((error, Vec::new()));
        }
        if pod.pinned().is_some() || pod.looks_around() || self.snapshot.anti_affine > 0 {
            return self.find_among_all(pod);
        }
        self.uses += 1;
        if !self.classes.contains_key(&pod.class) {
            self.make_room();
            self.classes.insert(pod.class, Class::new(&self.snapshot, pod));
        }
        let Some(class) = self.classes.get_mut(&pod.class) else {
            return self.find_among_all(pod);
        };
        class.used = self.uses;
        class.catch_up(&self.snapshot, pod);
        class.best().ok_or_else(|| class.refusals(&self.snapshot))
    }

    fn make_room(&mut self) {
        if self.classes.len() < MAX_CLASSES {
            return;
        }
        let oldest = self.classes.iter().min_by_key(|(_, c)| c.used).map(|(k, _)| *k);
        if let Some(key) = oldest {
            self.classes.remove(&key);
        }
    }

    /// The long way: every node is looked at, with the pods around.
    fn find_among_all(&self, pod: &PodInfo) -> Result<usize, (FitError, Vec<usize>)> {
        let snapshot = &self.snapshot;
        let (mut best, mut error, mut preemptable) = (
            None::<(f64, usize)>,
            FitError::new(snapshot.live().count()),
            Vec::new(),
        );
        let mut refuse = |refusal: &Refusal, place: usize| {
            error.add(refusal, 1);
            if refusal.preemptable {
                preemptable.push(place);
            }
        };
        let counts = spread::count(snapshot, pod);
        let around = (pod.looks_around() || snapshot.anti_affine > 0).then(|| inter_pod::look(snapshot, pod));
        let around = around.unwrap_or_default();
        for place in snapshot.live() {
            let fits = filter_local(snapshot, pod, place)
                .and_then(|()| spread::filter(snapshot, pod, &counts, place))
                .and_then(|()| inter_pod::filter(snapshot, pod, &around, place));
            if let Err(refusal) = fits {
                refuse(&refusal, place);
                continue;
            }
            let points = score::local(snapshot, pod, place)
                + score::TOPOLOGY_SPREAD * spread::score(snapshot, pod, &counts, place)
                + score::INTER_POD_AFFINITY * inter_pod::score(snapshot, &around, place);
            if best.is_none_or(|(most, _)| points > most) {
                best = Some((points, place));
            }
        }
        best.map(|(_, place)| place).ok_or((error, preemptable))
    }
}
