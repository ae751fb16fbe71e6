//! What a CronJob does: a Job when its time has come. Upstream: pkg/controller/cronjob/cronjob_controllerv2.go.

use std::sync::Arc;
use std::time::Duration;

use corten_client::object::{MetaExt, controller_ref, reference};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use k8s_openapi::api::batch::v1::{CronJob, CronJobSpec, Job};
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::schedule::Schedule;
use crate::core::context::time;
use crate::core::{Action, Note, Write};

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// Waking a little late, so that the time has certainly come.
const SLACK: Duration = Duration::from_millis(100);
/// Missed times above which something is thought to be wrong.
const MANY_MISSED: i64 = 100;

/// What a plan is made from.
pub struct View<'a> {
    pub cron_job: &'a CronJob,
    /// Its own jobs.
    pub jobs: Vec<Arc<Job>>,
}

/// Steps; the name of the Job they create; when to look again.
#[derive(Default)]
pub struct Plan {
    pub actions: Vec<Action>,
    pub created: Option<String>,
    pub requeue: Option<Duration>,
}

/// Decides the next steps.
#[must_use]
pub fn plan(view: &View<'_>, now: Timestamp) -> Plan {
    let cron_job = view.cron_job;
    let spec = cron_job.spec.clone();
    let mut actions = Vec::new();
    let mut updated = cron_job.clone();
    refresh(&mut updated, view, &mut actions);
    clean_up(&updated, view, &spec, &mut actions);
    let status_changed = updated.status != cron_job.status;
    let (mut plan, started) = run(&updated, view, &spec, now);
    actions.append(&mut plan.actions);
    if status_changed && !started {
        actions.push(Write::status(&updated).into());
    }
    plan.actions = actions;
    plan
}

/// `Complete` or `Failed`, if the Job has ended.
fn ending(job: &Job) -> Option<&str> {
    let conditions = job.status.iter().flat_map(|s| s.conditions.iter().flatten());
    let over = conditions
        .into_iter()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True");
    over.map(|c| c.type_.as_str())
}

/// Brings the list of active Jobs up to date.
fn refresh(updated: &mut CronJob, view: &View<'_>, actions: &mut Vec<Action>) {
    let status = updated.status.get_or_insert_default();
    let mut active = status.active.clone().unwrap_or_default();
    for job in &view.jobs {
        let (uid, name) = (job.metadata.uid(), job.metadata.name());
        let listed = active.iter().any(|r| r.uid.as_deref() == Some(uid));
        match ending(job) {
            // One that is going away was taken off the list by whoever ended it.
            None if !listed && job.metadata.terminating() => {}
            None if !listed => {
                let made = job.metadata.annotation(SCHEDULED_AT).is_some();
                if made {
                    active.push(job_reference(job));
                } else {
                    let message = format!("Saw a job that the controller did not create or forgot: {name}");
                    actions.push(Note::warning(view.cron_job, "UnexpectedJob", message).into());
                }
            }
            Some(how) if listed => {
                active.retain(|r| r.uid.as_deref() != Some(uid));
                let message = format!("Saw completed job: {name}, condition: {how}");
                actions.push(Note::normal(view.cron_job, "SawCompletedJob", message).into());
            }
            _ => {}
        }
        let done = job
            .status
            .as_ref()
            .and_then(|s| s.completion_time.clone())
            .filter(|_| ending(job) == Some("Complete"));
        if done.as_ref().map(|t| t.0) > status.last_successful_time.as_ref().map(|t| t.0) {
            status.last_successful_time = done;
        }
    }
    active.retain(|reference| {
        let there = view
            .jobs
            .iter()
            .any(|j| Some(j.metadata.uid()) == reference.uid.as_deref());
        if !there {
            let name = reference.name.as_deref().unwrap_or_default();
            let message = format!("Active job went missing: {name}");
            actions.push(Note::normal(view.cron_job, "MissingJob", message).into());
        }
        there
    });
    status.active = Some(active).filter(|a| !a.is_empty());
}

fn job_reference(job: &Job) -> ObjectReference {
    ObjectReference {
        field_path: None,
        ..reference(job)
    }
}

/// Deletes the oldest ended Jobs beyond the history limits.
fn clean_up(cron_job: &CronJob, view: &View<'_>, spec: &CronJobSpec, actions: &mut Vec<Action>) {
    for (how, limit) in [
        ("Complete", spec.successful_jobs_history_limit),
        ("Failed", spec.failed_jobs_history_limit),
    ] {
        let Some(limit) = limit.and_then(|l| usize::try_from(l).ok()) else {
            continue;
        };
        let mut ended: Vec<_> = view
            .jobs
            .iter()
            .filter(|j| ending(j) == Some(how) && !j.metadata.terminating())
            .collect();
        ended.sort_by_key(|j| {
            (
                j.status.as_ref().and_then(|s| Some(s.start_time.as_ref()?.0)),
                j.metadata.name().to_owned(),
            )
        });
        let extra = ended.len().saturating_sub(limit);
        actions.extend(ended.into_iter().take(extra).map(|job| end(cron_job, job).into()));
    }
}

fn end(cron_job: &CronJob, job: &Job) -> Write {
    Write::delete(job)
        .option("propagationPolicy", "Background")
        .ok(Note::normal(
            cron_job,
            "SuccessfulDelete",
            format!("Deleted job {}", job.metadata.name()),
        ))
        .err(Note::warning(cron_job, "FailedDelete", "Deleted job: {error}"))
}

fn only(note: Note) -> (Plan, bool) {
    (
        Plan {
            actions: vec![note.into()],
            ..Plan::default()
        },
        false,
    )
}

/// The schedule in its time zone, or the event that says what is wrong with it.
fn parse(cron_job: &CronJob, spec: &CronJobSpec) -> Result<(Schedule, TimeZone), Box<Note>> {
    let zone = match spec.time_zone.as_deref() {
        None => TimeZone::UTC,
        Some(name) => TimeZone::get(name).map_err(|_| {
            let message = format!("invalid timeZone: \"{name}\": unknown time zone {name}");
            Box::new(Note::warning(cron_job, "UnknownTimeZone", message))
        })?,
    };
    let schedule = Schedule::parse(&spec.schedule, zone.clone()).map_err(|error| {
        let message = format!("unparseable schedule: \"{}\" : {error}", spec.schedule);
        Box::new(Note::warning(cron_job, "UnparseableSchedule", message))
    })?;
    Ok((schedule, zone))
}

/// The steps of the schedule, and whether they start a Job (whose start writes the status).
fn run(cron_job: &CronJob, view: &View<'_>, spec: &CronJobSpec, now: Timestamp) -> (Plan, bool) {
    let (schedule, zone) = match parse(cron_job, spec) {
        Ok(parsed) => parsed,
        Err(note) => return only(*note),
    };
    if spec.suspend == Some(true) {
        return (Plan::default(), false);
    }
    let requeue = schedule
        .next(now)
        .map(|at| at.duration_since(now).unsigned_abs() + SLACK);
    let mut plan = Plan {
        requeue,
        ..Plan::default()
    };
    let (due, missed) = due(cron_job, spec, &schedule, now);
    let Some(due) = due else { return (plan, false) };
    if missed > MANY_MISSED {
        let message =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        plan.actions
            .push(Note::warning(cron_job, "TooManyMissedTimes", message).into());
    }
    let late = spec
        .starting_deadline_seconds
        .is_some_and(|s| due.as_second() + s < now.as_second());
    if late {
        let at = due.strftime("%a, %d %b %Y %H:%M:%S UTC");
        let message = format!("Missed scheduled time to start a job: {at}");
        plan.actions
            .push(Note::warning(cron_job, "MissSchedule", message).into());
        return (plan, false);
    }
    let started = start(&mut plan, cron_job, view, spec, due, &zone);
    (plan, started)
}

/// Starts the Job of one time, if the others allow it.
fn start(
    plan: &mut Plan,
    cron_job: &CronJob,
    view: &View<'_>,
    spec: &CronJobSpec,
    due: Timestamp,
    zone: &TimeZone,
) -> bool {
    let name = format!("{}-{}", cron_job.metadata.name(), due.as_second() / 60);
    let known = view.jobs.iter().any(|j| j.metadata.name() == name);
    let last = cron_job
        .status
        .as_ref()
        .and_then(|s| s.last_schedule_time.as_ref())
        .map(|t| t.0);
    if known && last == Some(due) {
        return false;
    }
    let active = cron_job
        .status
        .as_ref()
        .and_then(|s| s.active.clone())
        .unwrap_or_default();
    match spec.concurrency_policy.as_deref() {
        Some("Forbid") if !active.is_empty() => {
            let message =
                "Not starting job because prior execution is running and concurrency policy is Forbid";
            plan.actions
                .push(Note::normal(cron_job, "JobAlreadyActive", message).into());
            return false;
        }
        Some("Replace") => {
            let listed = |j: &Job| active.iter().any(|r| r.uid.as_deref() == Some(j.metadata.uid()));
            plan.actions.extend(
                view.jobs
                    .iter()
                    .filter(|j| listed(j))
                    .map(|j| end(cron_job, j).into()),
            );
        }
        _ => {}
    }
    let job = new_job(cron_job, spec, &name, due, zone);
    let write = Write::create(&job)
        .ok(Note::normal(
            cron_job,
            "SuccessfulCreate",
            format!("Created job {name}"),
        ))
        .err(Note::warning(
            cron_job,
            "FailedCreate",
            "Error creating job: {error}",
        ));
    plan.actions.push(write.into());
    plan.created = Some(name);
    true
}

/// The latest time that has come and was not used, and how many have.
fn due(
    cron_job: &CronJob,
    spec: &CronJobSpec,
    schedule: &Schedule,
    now: Timestamp,
) -> (Option<Timestamp>, i64) {
    let last = cron_job
        .status
        .as_ref()
        .and_then(|s| s.last_schedule_time.as_ref());
    let created = cron_job.metadata.creation_timestamp.as_ref();
    let mut from = last.or(created).map_or(now, |t| t.0);
    if let Some(deadline) = spec.starting_deadline_seconds {
        from = from.max(now - Duration::from_secs(deadline.max(0).unsigned_abs()));
    }
    let Some(first) = schedule.next(from).filter(|t| *t <= now) else {
        return (None, 0);
    };
    let Some(second) = schedule.next(first) else {
        return (Some(first), 1);
    };
    let gap = (second.as_second() - first.as_second()).max(1);
    let missed = (now.as_second() - first.as_second()) / gap + 1;
    // Jumping near the end instead of walking there: a schedule may have been off for years.
    let near = Timestamp::from_second(first.as_second() + (missed - 2).max(0) * gap).unwrap_or(first);
    let (mut at, mut latest) = (schedule.next(near), first);
    while let Some(t) = at.filter(|t| *t <= now) {
        latest = t;
        at = schedule.next(t);
    }
    (Some(latest), missed)
}

fn new_job(cron_job: &CronJob, spec: &CronJobSpec, name: &str, due: Timestamp, zone: &TimeZone) -> Job {
    let template = spec.job_template.clone();
    let meta = template.metadata.unwrap_or_default();
    let mut annotations = meta.annotations.unwrap_or_default();
    let local = due.to_zoned(zone.clone());
    let stamp = if *zone == TimeZone::UTC {
        due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    } else {
        local.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
    };
    annotations.insert(SCHEDULED_AT.into(), stamp);
    Job {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: cron_job.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: Some(annotations),
            creation_timestamp: None,
            owner_references: Some(vec![controller_ref(cron_job)]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The status once a Job has been started.
pub(super) fn started(cron_job: &CronJob, jobs: &[Arc<Job>], job: &Job) -> Action {
    let mut updated = cron_job.clone();
    refresh(
        &mut updated,
        &View {
            cron_job,
            jobs: jobs.to_vec(),
        },
        &mut Vec::new(),
    );
    let status = updated.status.get_or_insert_default();
    let active = status.active.get_or_insert_default();
    // The others have made room; that they are gone is no news.
    if cron_job.spec.concurrency_policy.as_deref() == Some("Replace") {
        active.clear();
    }
    if active
        .iter()
        .all(|r| r.uid.as_deref() != Some(job.metadata.uid()))
    {
        active.push(job_reference(job));
    }
    let minutes = job
        .metadata
        .name()
        .rsplit('-')
        .next()
        .and_then(|m| m.parse::<i64>().ok())
        .unwrap_or(0);
    status.last_schedule_time = Timestamp::from_second(minutes * 60).ok().map(time);
    Write::status(&updated).into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn active_after(job: &Value) -> (usize, usize) {
        let cron_job: CronJob = serde_json::from_value(json!({
            "metadata": {"namespace": "a", "name": "c", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"schedule": "0 0 1 1 *", "concurrencyPolicy": "Replace", "jobTemplate": {}}}))
        .unwrap();
        let jobs = vec![Arc::new(serde_json::from_value(job.clone()).unwrap())];
        let (mut updated, mut actions) = (cron_job.clone(), Vec::new());
        let view = View {
            cron_job: &cron_job,
            jobs,
        };
        refresh(&mut updated, &view, &mut actions);
        let active = updated.status.and_then(|status| status.active);
        (active.map_or(0, |active| active.len()), actions.len())
    }

    /// A replaced Job may take long to go, and is not active meanwhile.
    #[test]
    fn a_job_that_goes_is_not_taken_on_again() {
        let mut job = json!({"metadata": {"namespace": "a", "name": "c-1", "uid": "j", "annotations": {SCHEDULED_AT: "x"}}});
        assert_eq!(active_after(&job), (1, 0));
        job["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(active_after(&job), (0, 0));
    }
}
