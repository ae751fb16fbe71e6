//! One look at a Job: which pods to make or end, what to count, whether it is over. Upstream: `syncJob`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use corten_client::Pod;
use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobSpec, JobStatus};

use super::count::{self, has_failed, is_tracked};
use super::indexes::{Indexes, index_of};
use super::policy::{self, Ruling};
use super::{manage, untrack};
use crate::core::context::time;
use crate::core::{Action, Note, Write, pod};

/// Pods counted in one go: their uids have to fit into the status.
pub const MAX_UNCOUNTED: usize = 500;
const BACKOFF_EXCEEDED: (&str, &str) = (
    "BackoffLimitExceeded",
    "Job has reached the specified backoff limit",
);
const DEADLINE_EXCEEDED: (&str, &str) = (
    "DeadlineExceeded",
    "Job was active longer than specified deadline",
);
const COMPLETED: (&str, &str) = ("CompletionsReached", "Reached expected number of succeeded pods");

/// What a plan is made from.
pub struct View<'a> {
    pub job: &'a Job,
    pub pods: Vec<Arc<Pod>>,
}

/// How the Job is about to end.
#[derive(Clone)]
struct Ending {
    success: bool,
    reason: String,
    message: String,
}

/// A plan in the making: first [`Draft::manage`], then [`Draft::track`].
pub struct Draft<'a> {
    view: &'a View<'a>,
    spec: JobSpec,
    status: JobStatus,
    now: Timestamp,
    active: Vec<Arc<Pod>>,
    /// Active, ready and terminating pods once the plan is carried out.
    active_after: i32,
    ready_after: i32,
    terminating_after: i32,
    succeeded: i32,
    completed: Indexes,
    failed_indexes: Indexes,
    ending: Option<Ending>,
    notes: Vec<Note>,
    /// The status as last written by this plan.
    written: Option<JobStatus>,
    pub requeue: Option<Duration>,
}

#[must_use]
pub fn is_finished(job: &Job) -> bool {
    let conditions = job.status.iter().flat_map(|s| s.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

impl<'a> Draft<'a> {
    #[must_use]
    pub fn new(view: &'a View<'a>, now: Timestamp) -> Self {
        let (spec, status) = (
            view.job.spec.clone().unwrap_or_default(),
            view.job.status.clone().unwrap_or_default(),
        );
        let active: Vec<_> = view.pods.iter().filter(|p| pod::is_active(p)).cloned().collect();
        let mut draft = Self {
            active_after: number(active.len()),
            ready_after: number(active.iter().filter(|p| pod::is_ready(p)).count()),
            terminating_after: number(view.pods.iter().filter(|p| pod::is_terminating(p)).count()),
            view,
            spec,
            status,
            now,
            active,
            succeeded: 0,
            completed: Indexes::default(),
            failed_indexes: Indexes::default(),
            ending: None,
            notes: Vec::new(),
            written: view.job.status.clone(),
            requeue: None,
        };
        draft.status.uncounted_terminated_pods.get_or_insert_default();
        if draft.status.start_time.is_none() && !draft.suspended() {
            draft.status.start_time = Some(time(now));
        }
        draft.tally();
        draft.ending = draft
            .recorded_ending()
            .or_else(|| draft.failing())
            .or_else(|| draft.succeeding_early());
        draft
    }

    fn suspended(&self) -> bool {
        self.spec.suspend == Some(true)
    }

    fn indexed(&self) -> bool {
        self.spec.completion_mode.as_deref() == Some("Indexed")
    }

    fn completions(&self) -> i32 {
        self.spec.completions.unwrap_or(0)
    }

    fn uncounted(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let lists = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let set = |l: Option<Vec<String>>| l.unwrap_or_default().into_iter().collect();
        (set(lists.succeeded), set(lists.failed))
    }

    fn tally(&mut self) {
        let (counted, _) = self.uncounted();
        if self.indexed() {
            let before = self.status.completed_indexes.clone().unwrap_or_default();
            self.completed = Indexes::parse(&before, self.completions());
            let new = self
                .view
                .pods
                .iter()
                .filter(|p| is_tracked(p) && pod::phase(p) == "Succeeded");
            let (new, completions): (Vec<i32>, i32) =
                (new.filter_map(|p| index_of(p)).collect(), self.completions());
            self.completed
                .0
                .extend(new.into_iter().filter(|i| *i < completions));
            self.succeeded = self.completed.len();
            self.tally_failed_indexes();
        } else {
            let new = self.view.pods.iter().filter(|p| {
                is_tracked(p) && pod::phase(p) == "Succeeded" && !counted.contains(p.metadata.uid())
            });
            self.succeeded = self.status.succeeded.unwrap_or(0) + number(new.count()) + number(counted.len());
        }
    }

    fn tally_failed_indexes(&mut self) {
        let Some(limit) = self.spec.backoff_limit_per_index else {
            return;
        };
        let before = self.status.failed_indexes.clone().unwrap_or_default();
        self.failed_indexes = Indexes::parse(&before, self.completions());
        for (index, (pod, failures)) in manage::waiting(&self.view.pods, &self.spec) {
            let ruling = policy::judge(self.spec.pod_failure_policy.as_ref(), &pod);
            if (failures > limit && ruling != Ruling::Ignored) || ruling == Ruling::FailsIndex {
                self.failed_indexes.0.insert(index);
            }
        }
    }

    /// Failures that count: those in the status, those on their way there, those just seen.
    fn failures(&self) -> i32 {
        let (_, counted) = self.uncounted();
        let new = self.view.pods.iter().filter(|p| {
            is_tracked(p)
                && has_failed(p, &self.spec)
                && !counted.contains(p.metadata.uid())
                && policy::judge(self.spec.pod_failure_policy.as_ref(), p) != Ruling::Ignored
        });
        self.status.failed.unwrap_or(0) + number(counted.len()) + number(new.count())
    }

    /// How an earlier look found it to end; that is not taken back.
    fn recorded_ending(&self) -> Option<Ending> {
        for (kind, success) in [("SuccessCriteriaMet", true), ("FailureTarget", false)] {
            let found = self
                .status
                .conditions
                .iter()
                .flatten()
                .find(|c| c.type_ == kind && c.status == "True");
            if let Some(found) = found {
                let text = |t: &Option<String>| t.clone().unwrap_or_default();
                return Some(Ending {
                    success,
                    reason: text(&found.reason),
                    message: text(&found.message),
                });
            }
        }
        None
    }

    fn failing(&mut self) -> Option<Ending> {
        let fail = |(reason, message): (&str, &str)| {
            Some(Ending {
                success: false,
                reason: reason.into(),
                message: message.into(),
            })
        };
        for pod in self.view.pods.iter().filter(|p| has_failed(p, &self.spec)) {
            if let Ruling::FailsJob(message) = policy::judge(self.spec.pod_failure_policy.as_ref(), pod) {
                return fail(("PodFailurePolicy", &message));
            }
        }
        if self.failures() > self.spec.backoff_limit.unwrap_or(6)
            || count::restarts_exceed(self.view.pods.iter().map(|p| &**p), &self.spec)
        {
            return fail(BACKOFF_EXCEEDED);
        }
        if let (Some(deadline), Some(start), false) = (
            self.spec.active_deadline_seconds,
            &self.status.start_time,
            self.suspended(),
        ) {
            let left =
                (start.0 + Duration::from_secs(deadline.max(0).unsigned_abs())).duration_since(self.now);
            if !left.is_positive() {
                return fail(DEADLINE_EXCEEDED);
            }
            self.wait(left.unsigned_abs());
        }
        if self
            .spec
            .max_failed_indexes
            .is_some_and(|max| self.failed_indexes.len() > max)
        {
            return fail((
                "MaxFailedIndexesExceeded",
                "Job has exceeded the specified maximal number of failed indexes",
            ));
        }
        let over = self.failed_indexes.len() + self.completed.len() >= self.completions();
        if !self.failed_indexes.is_empty() && over {
            return fail(("FailedIndexes", "Job has failed indexes"));
        }
        None
    }

    fn succeeding_early(&self) -> Option<Ending> {
        let message = policy::success(&self.spec, &self.completed)?;
        Some(Ending {
            success: true,
            reason: "SuccessPolicy".into(),
            message,
        })
    }

    fn wait(&mut self, duration: Duration) {
        self.requeue = Some(self.requeue.map_or(duration, |r| r.min(duration)));
    }

    /// The pods to make or end.
    #[must_use]
    pub fn manage(&mut self) -> Vec<Action> {
        if self.ending.is_some() {
            return self.end(self.active.clone());
        }
        if self.view.job.metadata.terminating() {
            return Vec::new();
        }
        let actions = if self.suspended() {
            self.end(self.active.clone())
        } else {
            self.adjust()
        };
        let complete = match self.spec.completions {
            None => self.succeeded > 0 && self.active_after == 0,
            Some(wanted) => self.succeeded >= wanted && self.active_after == 0,
        };
        if complete {
            let (reason, message) = COMPLETED;
            self.ending = Some(Ending {
                success: true,
                reason: reason.into(),
                message: message.into(),
            });
        } else {
            self.note_suspension();
        }
        actions
    }

    /// Pods that could not be made or ended are as they were.
    pub fn managing_failed(&mut self) {
        self.active_after = number(self.active.len());
        self.terminating_after = number(self.view.pods.iter().filter(|p| pod::is_terminating(p)).count());
        self.ending = self.recorded_ending();
        self.notes.clear();
    }

    fn end(&mut self, pods: Vec<Arc<Pod>>) -> Vec<Action> {
        self.active_after -= number(pods.len());
        self.terminating_after += number(pods.len());
        self.ready_after -= number(pods.iter().filter(|p| pod::is_ready(p)).count());
        manage::delete(self.view.job, &pods)
    }

    fn adjust(&mut self) -> Vec<Action> {
        let parallelism = self.spec.parallelism.unwrap_or(1);
        let active = number(self.active.len());
        let wanted = match self.spec.completions {
            None if self.succeeded > 0 => active,
            None => parallelism,
            Some(completions) => (completions - self.succeeded).min(parallelism).max(0),
        };
        let surplus = usize::try_from((active - wanted).max(0))
            .unwrap_or(0)
            .min(manage::BURST);
        let surplus = manage::surplus(self.view.job, &self.active, surplus, self.now);
        if !surplus.is_empty() {
            return self.end(surplus);
        }
        let going = if count::only_failed_replaced(&self.spec) {
            self.terminating_after
        } else {
            0
        };
        let missing = usize::try_from(wanted - active - going)
            .unwrap_or(0)
            .min(manage::BURST);
        if missing == 0 {
            Vec::new()
        } else {
            self.create(missing)
        }
    }

    fn create(&mut self, missing: usize) -> Vec<Action> {
        let per_index = self.spec.backoff_limit_per_index.is_some();
        if !per_index {
            let left = count::backoff(self.view.pods.iter().map(|p| &**p), &self.spec, self.now);
            if !left.is_zero() {
                self.wait(left);
                return Vec::new();
            }
        }
        if !self.indexed() {
            self.active_after += number(missing);
            return manage::create(self.view.job, None, missing, &Default::default());
        }
        let busy: BTreeSet<i32> = self.active.iter().filter_map(|p| index_of(p)).collect();
        let open = (0..self.completions()).filter(|i| {
            !busy.contains(i) && !self.completed.0.contains(i) && !self.failed_indexes.0.contains(i)
        });
        let (mut indexes, mut failures) = (open.take(missing).collect::<Vec<_>>(), Default::default());
        if per_index {
            let waiting = manage::waiting(&self.view.pods, &self.spec);
            let (due, soonest) = manage::due(indexes, &waiting, self.now);
            indexes = due;
            if let Some(soonest) = soonest {
                self.wait(soonest);
            }
            failures = waiting
                .into_iter()
                .map(|(index, (_, count))| (index, count))
                .collect();
        }
        self.active_after += number(indexes.len());
        manage::create(self.view.job, Some(&indexes), 0, &failures)
    }

    fn note_suspension(&mut self) {
        let current = self
            .status
            .conditions
            .iter()
            .flatten()
            .find(|c| c.type_ == "Suspended");
        let is_suspended = current.is_some_and(|c| c.status == "True");
        if self.suspended() == is_suspended {
            return;
        }
        let (status, reason, note, message) = if self.suspended() {
            self.status.start_time = None;
            ("True", "JobSuspended", "Suspended", "Job suspended")
        } else {
            self.status.start_time = Some(time(self.now));
            ("False", "JobResumed", "Resumed", "Job resumed")
        };
        self.set_condition("Suspended", status, reason, message);
        self.notes.push(Note::normal(self.view.job, note, message));
    }

    fn set_condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let at = Some(time(self.now));
        let condition = JobCondition {
            type_: kind.into(),
            status: status.into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_probe_time: at.clone(),
            last_transition_time: at,
        };
        let conditions = self.status.conditions.get_or_insert_default();
        match conditions.iter_mut().find(|c| c.type_ == kind) {
            Some(current) => *current = condition,
            None => conditions.push(condition),
        }
    }

    /// Counts what has ended: uids into the status, then finalizers off, then numbers into the status.
    #[must_use]
    pub fn track(mut self) -> Vec<Action> {
        let counted = self.count();
        let interim = self.ending.clone();
        if let Some(ending) = &interim {
            let kind = if ending.success {
                "SuccessCriteriaMet"
            } else {
                "FailureTarget"
            };
            if self.status.conditions.iter().flatten().all(|c| c.type_ != kind) {
                self.set_condition(kind, "True", &ending.reason.clone(), &ending.message.clone());
            }
        }
        let mut actions: Vec<Action> = self.notes.drain(..).map(Action::from).collect();
        let first = self.write_status();
        actions.extend(first);
        let full = counted.len() >= MAX_UNCOUNTED;
        if !counted.is_empty() {
            actions.push(Action::Together(counted.iter().map(|p| untrack(p)).collect()));
        }
        self.settle_counts(&counted);
        let over = interim.filter(|_| !full && self.terminating_after == 0 && self.nothing_uncounted());
        if let Some(ending) = &over {
            let kind = if ending.success { "Complete" } else { "Failed" };
            self.set_condition(kind, "True", &ending.reason, &ending.message);
            if ending.success {
                self.status.completion_time = Some(time(self.now));
            }
        }
        let last = self.write_status();
        let finished = over.is_some() && !last.is_empty();
        actions.extend(last);
        if let Some(ending) = over.filter(|_| finished) {
            actions.extend(self.finish_notes(&ending));
        }
        actions
    }

    fn finish_notes(&self, ending: &Ending) -> Vec<Action> {
        let job = self.view.job;
        if !ending.success {
            let reason: &'static str = match ending.reason.as_str() {
                "BackoffLimitExceeded" => "BackoffLimitExceeded",
                "DeadlineExceeded" => "DeadlineExceeded",
                "PodFailurePolicy" => "PodFailurePolicy",
                "MaxFailedIndexesExceeded" => "MaxFailedIndexesExceeded",
                _ => "FailedIndexes",
            };
            return vec![Note::warning(job, reason, ending.message.clone()).into()];
        }
        let mut notes = Vec::new();
        if self
            .spec
            .completions
            .is_some_and(|c| self.status.succeeded.unwrap_or(0) > c)
        {
            let message = "Too many succeeded pods running after completion count reached";
            notes.push(Note::warning(job, "TooManySucceededPods", message).into());
        }
        notes.push(Note::normal(job, "Completed", "Job completed").into());
        notes
    }

    /// Pods whose finalizers can go; their uids are noted first, so that none is counted twice or not at all.
    fn count(&mut self) -> Vec<Arc<Pod>> {
        let (succeeded, failed) = self.uncounted();
        let kept: BTreeSet<String> = if self.spec.backoff_limit_per_index.is_some() && self.ending.is_none() {
            let waiting = manage::waiting(&self.view.pods, &self.spec).into_iter();
            let kept =
                waiting.filter(|(i, _)| !self.failed_indexes.0.contains(i) && !self.completed.0.contains(i));
            kept.map(|(_, (pod, _))| pod.metadata.uid().to_owned()).collect()
        } else {
            BTreeSet::new()
        };
        let failing = self.ending.as_ref().is_some_and(|e| !e.success);
        let deleting = self.view.job.metadata.terminating();
        let mut counted = Vec::new();
        let mut lists = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        for pod in self.view.pods.iter().filter(|p| is_tracked(p)) {
            let (uid, well) = (pod.metadata.uid(), pod::phase(pod) == "Succeeded");
            let bad = has_failed(pod, &self.spec);
            if !(well || bad || failing || deleting) || kept.contains(uid) || counted.len() >= MAX_UNCOUNTED {
                continue;
            }
            counted.push(Arc::clone(pod));
            if well && !failed.contains(uid) {
                if !self.indexed() && !succeeded.contains(uid) {
                    lists.succeeded.get_or_insert_default().push(uid.to_owned());
                }
            } else if (bad || failing) && !failed.contains(uid) {
                let ruling = policy::judge(self.spec.pod_failure_policy.as_ref(), pod);
                if ruling != Ruling::Ignored {
                    lists.failed.get_or_insert_default().push(uid.to_owned());
                }
            }
        }
        self.status.uncounted_terminated_pods = Some(lists);
        self.set_numbers();
        counted
    }

    fn set_numbers(&mut self) {
        let some = |n: i32| Some(n).filter(|n| *n != 0);
        self.status.active = some(self.active_after.max(0));
        self.status.ready = Some(self.ready_after.max(0));
        self.status.terminating = Some(self.terminating_after);
        if self.indexed() {
            self.status.succeeded = some(self.completed.len());
            self.status.completed_indexes = Some(self.completed.to_string()).filter(|s| !s.is_empty());
            if self.spec.backoff_limit_per_index.is_some() {
                self.status.failed_indexes = Some(self.failed_indexes.to_string());
            }
        }
    }

    /// The finalizers are off: uids become numbers.
    fn settle_counts(&mut self, counted: &[Arc<Pod>]) {
        let still: BTreeSet<&str> = self
            .view
            .pods
            .iter()
            .filter(|p| is_tracked(p) && !counted.iter().any(|c| c.metadata.uid() == p.metadata.uid()))
            .map(|p| p.metadata.uid())
            .collect();
        let mut lists = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        let take = |list: &mut Option<Vec<String>>, number_of: &mut Option<i32>| {
            let Some(uids) = list else { return };
            let before = uids.len();
            uids.retain(|uid| still.contains(uid.as_str()));
            let moved = number(before - uids.len());
            if moved > 0 {
                *number_of = Some(number_of.unwrap_or(0) + moved);
            }
            if uids.is_empty() {
                *list = None;
            }
        };
        take(&mut lists.succeeded, &mut self.status.succeeded);
        take(&mut lists.failed, &mut self.status.failed);
        self.status.uncounted_terminated_pods = Some(lists);
    }

    fn nothing_uncounted(&self) -> bool {
        let lists = self.status.uncounted_terminated_pods.clone().unwrap_or_default();
        lists.succeeded.is_none() && lists.failed.is_none()
    }

    fn write_status(&mut self) -> Vec<Action> {
        if self.written.as_ref() == Some(&self.status) {
            return Vec::new();
        }
        self.written = Some(self.status.clone());
        let updated = Job {
            status: Some(self.status.clone()),
            ..self.view.job.clone()
        };
        vec![Write::status(&updated).into()]
    }
}
