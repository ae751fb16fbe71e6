//! The scheduling queue: pods to try now, pods that wait out a back-off, pods that wait for something to change.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;

use crate::plugins::Plugin;

/// Pods the queue holds; beyond it new ones wait in the server until they change again.
pub const MAX_PODS: usize = 1 << 20;
pub const BACKOFF_FIRST: Duration = Duration::from_secs(1);
pub const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Something happened that may make room for waiting pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    NodeAdded,
    NodeResources,
    NodeLabels,
    NodeTaints,
    /// A pod left a node or was reduced.
    PodLeft,
    /// A pod was bound, or the labels of a bound one changed.
    PodBound,
    Volume,
    /// Everything may have changed.
    All,
}

impl Cause {
    /// Whether a pod that `plugin` refused may fit now (upstream's queueing hints).
    fn helps(self, plugin: Plugin) -> bool {
        use Plugin::{
            InterPodAffinity, NodeAffinity, NodeName, NodePorts, NodeResourcesFit, NodeUnschedulable,
            PodTopologySpread, SchedulingGates, TaintToleration, VolumeBinding,
        };
        match self {
            Self::All => plugin != SchedulingGates,
            Self::NodeAdded => plugin != SchedulingGates,
            Self::NodeResources => plugin == NodeResourcesFit,
            Self::NodeLabels => matches!(
                plugin,
                NodeAffinity | PodTopologySpread | InterPodAffinity | NodeName
            ),
            Self::NodeTaints => matches!(plugin, TaintToleration | NodeUnschedulable | PodTopologySpread),
            Self::PodLeft => matches!(
                plugin,
                NodeResourcesFit | NodePorts | PodTopologySpread | InterPodAffinity
            ),
            Self::PodBound => matches!(plugin, PodTopologySpread | InterPodAffinity),
            Self::Volume => plugin == VolumeBinding,
        }
    }
}

/// Higher priority first, then who waits longer.
type Order = (Reverse<i32>, Timestamp, u64);

struct Entry {
    pod: Arc<Pod>,
    attempts: u32,
    order: Order,
    place: Place,
}

enum Place {
    Active,
    BackingOff((Timestamp, u64)),
    Waiting {
        refused: BTreeSet<Plugin>,
        until: Timestamp,
    },
    /// Handed out; `moved` says whether something happened meanwhile that may help it.
    InFlight {
        moved: bool,
    },
}

/// See the module.
#[derive(Default)]
pub struct SchedulingQueue {
    entries: HashMap<String, Entry>,
    active: BTreeMap<Order, String>,
    backing_off: BTreeMap<(Timestamp, u64), String>,
    sequence: u64,
}

impl SchedulingQueue {
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A pod without a node appeared or changed.
    pub fn put(&mut self, pod: Arc<Pod>, now: Timestamp) {
        let uid = pod.metadata.uid().to_owned();
        let gated = pod
            .spec
            .as_ref()
            .is_some_and(|s| s.scheduling_gates.as_ref().is_some_and(|g| !g.is_empty()));
        let Some(mut entry) = self.entries.remove(&uid) else {
            if self.entries.len() >= MAX_PODS {
                tracing::error!(
                    bound = MAX_PODS,
                    "the scheduling queue is full; a pod was left out"
                );
                return;
            }
            return self.start(uid, pod, gated, now);
        };
        let changed = relevant(&entry.pod, &pod);
        entry.pod = pod;
        match &mut entry.place {
            Place::InFlight { moved } => *moved |= changed,
            Place::Waiting { until, .. } if changed && !gated => {
                let until = *until;
                return self.retry(uid, entry, until, now);
            }
            _ => {}
        }
        self.entries.insert(uid, entry);
    }

    fn start(&mut self, uid: String, pod: Arc<Pod>, gated: bool, now: Timestamp) {
        self.sequence += 1;
        let priority = pod.spec.as_ref().and_then(|s| s.priority).unwrap_or(0);
        let order = (Reverse(priority), now, self.sequence);
        let place = if gated {
            Place::Waiting {
                refused: [Plugin::SchedulingGates].into(),
                until: now,
            }
        } else {
            self.active.insert(order, uid.clone());
            Place::Active
        };
        self.entries.insert(
            uid,
            Entry {
                pod,
                attempts: 0,
                order,
                place,
            },
        );
    }

    /// The pod is gone or has a node.
    pub fn remove(&mut self, uid: &str) {
        let Some(entry) = self.entries.remove(uid) else {
            return;
        };
        match entry.place {
            Place::Active => drop(self.active.remove(&entry.order)),
            Place::BackingOff(slot) => drop(self.backing_off.remove(&slot)),
            _ => {}
        }
    }

    /// The next pod to try; it is in flight until [`SchedulingQueue::refuse`] or [`SchedulingQueue::remove`].
    pub fn next(&mut self, now: Timestamp) -> Option<Arc<Pod>> {
        while let Some(slot) = self
            .backing_off
            .first_key_value()
            .map(|(slot, _)| *slot)
            .filter(|s| s.0 <= now)
        {
            if let Some(uid) = self.backing_off.remove(&slot) {
                self.activate(&uid);
            }
        }
        let (_, uid) = self.active.pop_first()?;
        let entry = self.entries.get_mut(&uid)?;
        entry.place = Place::InFlight { moved: false };
        entry.attempts += 1;
        Some(Arc::clone(&entry.pod))
    }

    fn activate(&mut self, uid: &str) {
        if let Some(entry) = self.entries.get_mut(uid) {
            entry.place = Place::Active;
            self.active.insert(entry.order, uid.to_owned());
        }
    }

    /// A pod in flight found no node, or could not be bound (`refused` empty): it waits.
    pub fn refuse(&mut self, uid: &str, refused: BTreeSet<Plugin>, now: Timestamp) {
        let Some(mut entry) = self.entries.remove(uid) else {
            return;
        };
        let until = now + backoff(entry.attempts);
        let moved = matches!(entry.place, Place::InFlight { moved: true });
        if moved || refused.is_empty() {
            return self.retry(uid.to_owned(), entry, until, now);
        }
        entry.place = Place::Waiting { refused, until };
        self.entries.insert(uid.to_owned(), entry);
    }

    fn retry(&mut self, uid: String, mut entry: Entry, until: Timestamp, now: Timestamp) {
        if until <= now {
            entry.place = Place::Active;
            self.active.insert(entry.order, uid.clone());
        } else {
            self.sequence += 1;
            let slot = (until, self.sequence);
            entry.place = Place::BackingOff(slot);
            self.backing_off.insert(slot, uid.clone());
        }
        self.entries.insert(uid, entry);
    }

    /// Moves the pods that `cause` may help out of waiting.
    pub fn happened(&mut self, cause: Cause, now: Timestamp) {
        let helped = |refused: &BTreeSet<Plugin>| refused.iter().any(|p| cause.helps(*p));
        let mut moved = Vec::new();
        for (uid, entry) in &mut self.entries {
            match &mut entry.place {
                Place::InFlight { moved } => *moved = true,
                Place::Waiting { refused, .. } if helped(refused) => moved.push(uid.clone()),
                _ => {}
            }
        }
        for uid in moved {
            if let Some(entry) = self.entries.remove(&uid) {
                let until = if let Place::Waiting { until, .. } = &entry.place {
                    *until
                } else {
                    now
                };
                self.retry(uid, entry, until, now);
            }
        }
    }

    /// When the next back-off ends.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.backing_off.first_key_value().map(|((at, _), _)| *at)
    }

    #[must_use]
    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }
}

/// 1 s, 2 s, 4 s … 10 s.
fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST
        .saturating_mul(1 << attempts.saturating_sub(1).min(10))
        .min(BACKOFF_MAX)
}

/// Whether a change of a pod can change where it fits.
fn relevant(old: &Pod, new: &Pod) -> bool {
    old.spec != new.spec || old.metadata.labels != new.metadata.labels
}
