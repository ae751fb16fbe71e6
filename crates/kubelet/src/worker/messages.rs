//! What a worker hears from outside, and what its own operations come back with.

use crate::machine::memory::Failure;
use crate::machine::view::{ContainerView, PodView, SandboxView};
use crate::probes::{Due, Report};
use crate::volumes::Problem;
use corten_runtime::cri::ContainerEventResponse;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::Mutex;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, mpsc, watch};

pub(super) enum Message {
    Runtime(Box<ContainerEventResponse>),
}

/// Facts that need no queue: raised once, seen once.
#[derive(Default)]
pub(super) struct Flags {
    pub raised: Notify,
    pub removed: AtomicBool,
    pub relist: AtomicBool,
    pub objects: AtomicBool,
    pub evict: Mutex<Option<(String, String)>>,
}

/// The end of an operation.
pub(super) enum Done {
    Prepared(Result<Option<Timestamp>, Problem>),
    Refreshed(Result<Option<Timestamp>, Problem>),
    Sandbox(Result<SandboxView, String>),
    /// A container's start: what became of it, and what the runtime now says of it.
    Started {
        name: String,
        view: Option<Box<ContainerView>>,
        failure: Option<Failure>,
    },
    Killed {
        id: String,
        view: Option<Box<ContainerView>>,
        error: Option<String>,
    },
    Resized {
        id: String,
        view: Option<Box<ContainerView>>,
        error: Option<String>,
    },
    Removed {
        id: String,
        error: Option<String>,
    },
    Stopped(Vec<SandboxView>, Result<(), String>),
    Cleaned(Result<(), String>),
    Purged(Result<(), String>),
    Deleted(Result<(), String>),
    Probed {
        due: Due,
        report: Report,
    },
    Reported {
        sent: Box<PodStatus>,
        result: Result<u64, corten_client::Error>,
    },
}

/// What others may know of a pod: for the HTTP server, statistics and garbage collection.
#[derive(Clone, Default)]
pub struct Snapshot {
    pub pod: Arc<Pod>,
    pub view: Arc<PodView>,
    pub status: Arc<PodStatus>,
}

impl Snapshot {
    pub(super) fn update(&mut self, pod: &Arc<Pod>, view: &PodView, status: PodStatus) -> bool {
        let same = Arc::ptr_eq(&self.pod, pod) && *self.view == *view && *self.status == status;
        if !same {
            *self = Self {
                pod: Arc::clone(pod),
                view: Arc::new(view.clone()),
                status: Arc::new(status),
            };
        }
        !same
    }
}

/// The way to talk to a worker. Never waits.
#[derive(Clone)]
pub struct Handle {
    pods: Arc<watch::Sender<Arc<Pod>>>,
    inbox: mpsc::Sender<Message>,
    flags: Arc<Flags>,
    snapshot: watch::Receiver<Snapshot>,
}

impl Handle {
    pub(super) fn new(
        pods: watch::Sender<Arc<Pod>>,
        inbox: mpsc::Sender<Message>,
        flags: Arc<Flags>,
        snapshot: watch::Receiver<Snapshot>,
    ) -> Self {
        Self {
            pods: Arc::new(pods),
            inbox,
            flags,
            snapshot,
        }
    }

    /// A newer version of the pod object.
    pub fn update(&self, pod: Arc<Pod>) {
        self.pods.send_replace(pod);
    }

    /// The pod object is gone.
    pub fn removed(&self) {
        self.flags.removed.store(true, Ordering::Release);
        self.flags.raised.notify_one();
    }

    /// Something happened in the runtime. A worker that cannot keep up reads everything again.
    pub fn event(&self, event: ContainerEventResponse) {
        if self.inbox.try_send(Message::Runtime(Box::new(event))).is_err() {
            self.relist();
        }
    }

    pub fn relist(&self) {
        self.flags.relist.store(true, Ordering::Release);
        self.flags.raised.notify_one();
    }

    /// The node wants the pod gone.
    pub fn evict(&self, reason: &str, message: &str) {
        *self.flags.evict.lock() = Some((reason.to_owned(), message.to_owned()));
        self.flags.raised.notify_one();
    }

    /// The pod, if it still takes part in the node's resources. One that is gone from the API does not, though its
    /// containers may still be ending: the scheduler has given its place to others.
    pub fn active(&self) -> Option<Arc<Pod>> {
        let s = self.snapshot.borrow();
        let ended = matches!(s.status.phase.as_deref(), Some("Succeeded" | "Failed"));
        // Before its first step a worker has no status to show.
        let pod = if s.pod.metadata.uid.is_some() {
            Arc::clone(&s.pod)
        } else {
            self.pods.borrow().clone()
        };
        let removed = self.flags.removed.load(Ordering::Acquire);
        (!ended && !removed && !self.is_done()).then_some(pod)
    }

    pub fn snapshot(&self) -> Snapshot {
        self.snapshot.borrow().clone()
    }

    /// Resolves at the next change of the snapshot, or when the worker has ended.
    pub async fn changed(&mut self) {
        // An error is the worker's end.
        let _ = self.snapshot.changed().await;
    }

    /// Whether the worker has ended.
    pub fn is_done(&self) -> bool {
        self.inbox.is_closed()
    }
}
