//! What a pod's worker remembers between two looks at it. Losing it (a restart) loses no correctness: everything
//! that matters can be read again from the runtime and the API.

use super::backoff::Backoffs;
use super::view::PodView;
use super::{Action, Input};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::PodStatus;
use std::collections::{BTreeMap, BTreeSet};

/// Upstream's pod workers come back this long after a failed sync.
pub const RETRY: SignedDuration = SignedDuration::from_secs(10);

/// Where a step that is taken once stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Step {
    #[default]
    Idle,
    Running,
    Done,
    Failed {
        retry: Timestamp,
    },
}

/// Why a container waits: the reason and message of its `waiting` state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub reason: &'static str,
    pub message: String,
    /// Not to be tried again before.
    pub retry: Option<Timestamp>,
}

/// Why a pod ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its containers have done what they were to do, or can do no more.
    Finished,
    /// The API asks for it.
    Deleted,
    /// The object has gone: nobody to report to.
    Removed,
    /// The node ended it.
    Failed { reason: String, message: String },
}

#[derive(Debug, Clone, Default)]
pub struct Memory {
    pub volumes: Step,
    pub sandbox: Step,
    pub stop_sandboxes: Step,
    pub clean: Step,
    pub purge: Step,
    pub delete: Step,
    /// Containers whose start is under way, by name.
    pub starting: BTreeSet<String>,
    /// Containers being stopped, with the moment of their SIGKILL.
    pub killing: BTreeMap<String, Timestamp>,
    /// Containers, by name, that are stopped so as to start again, with the moment in which they had stopped.
    pub replacing: BTreeMap<String, Option<Timestamp>>,
    pub resizing: BTreeSet<String>,
    pub removing: BTreeSet<String>,
    pub failures: BTreeMap<String, Failure>,
    pub restarts: Backoffs,
    pub end: Option<End>,
    /// When termination began.
    pub ending_since: Option<Timestamp>,
    /// The pod object is gone from the API.
    pub removed: bool,
    /// The node wants the pod gone: reason and message.
    pub evicted: Option<(String, String)>,
    /// The pod was never let in: reason and message.
    pub rejected: Option<(String, String)>,
    /// The last status that was generated.
    pub status: PodStatus,
    /// The API has `status` as it is.
    pub status_written: bool,
    /// Resize conditions, if a resize waits or failed.
    pub resize: crate::status::Resize,
}

impl Memory {
    /// Starts from what the API knows: the status a predecessor wrote.
    pub fn adopt(status: Option<&PodStatus>) -> Self {
        Self {
            status: status.cloned().unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Whether anything of the pod runs or may yet come to run.
    pub fn busy(&self, view: &PodView) -> bool {
        view.running().next().is_some() || !self.starting.is_empty() || self.sandbox == Step::Running
    }

    /// Notes that `action` is now under way.
    pub fn begin(&mut self, action: &Action, input: &Input<'_>) {
        match action {
            Action::Prepare => self.volumes = Step::Running,
            Action::RunSandbox { .. } => self.sandbox = Step::Running,
            Action::Start { name, .. } => {
                self.starting.insert(name.clone());
                if let Some((key, since)) = super::containers::backoff_key(input, name) {
                    self.restarts.next(&key, since, input.now);
                }
            }
            Action::Kill {
                id, name, deadline, ..
            } => {
                self.killing.insert(id.clone(), *deadline);
                if self.end.is_none() {
                    self.replacing.insert(name.clone(), None);
                }
            }
            Action::Resize { id, .. } => {
                self.resizing.insert(id.clone());
            }
            Action::Remove { id } | Action::RemoveSandbox { id } => {
                self.removing.insert(id.clone());
            }
            Action::StopSandboxes => self.stop_sandboxes = Step::Running,
            Action::Clean => self.clean = Step::Running,
            Action::Purge => self.purge = Step::Running,
            Action::DeleteObject => self.delete = Step::Running,
            Action::Event(_) => {}
        }
    }
}
