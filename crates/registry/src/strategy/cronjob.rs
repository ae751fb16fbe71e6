//! CronJobs.

use corten_meta::names;
use serde_json::Value;

use super::job;
use super::pod::warnings;
use super::rules::{At, ErrorList, nonnegative_fields, object_meta, object_meta_update, show_selector};
use super::{Strategy, StrategyContext};
use crate::resource::Subresource;

/// A job's name is the cron job's, a dash, and ten or so digits.
const NAME_LENGTH_MAX: usize = 52;

/// The path is upstream's.
const ZONE_IN_SCHEDULE: &str = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see \
                                https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";

#[derive(Clone, Copy, Debug)]
pub struct CronJobStrategy;

impl Strategy for CronJobStrategy {
    fn validate(&self, _ctx: &StrategyContext<'_>, cron: &Value) -> ErrorList {
        let mut errors = object_meta(cron, true, names::name_is_dns_subdomain);
        let root = At::root(cron);
        spec(&root.get("spec"), &Value::Null, &mut errors);
        let metadata = root.get("metadata");
        let name = metadata.get("name");
        if name.len() > NAME_LENGTH_MAX {
            name.invalid(&mut errors, "must be no more than 52 characters");
        }
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, cron: &Value) -> Vec<String> {
        let name = warnings::name_of_pods(cron);
        name.into_iter().chain(template_warnings(cron)).collect()
    }

    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, cron: &Value, old: &Value) -> Vec<String> {
        match ctx.subresource {
            Subresource::MAIN => update_warnings(cron, old),
            _ => Vec::new(),
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, cron: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        if ctx.subresource == Subresource::MAIN {
            object_meta_update(cron, &mut errors);
            spec(&At::root(cron).get("spec"), &old["spec"], &mut errors);
        }
        errors
    }
}

fn template_warnings(cron: &Value) -> Vec<String> {
    let root = At::root(cron);
    let spec = root.get("spec");
    job::warnings::of_spec(&spec.get("jobTemplate").get("spec"))
}

/// A zone in the schedule is refused where it is new.
fn update_warnings(cron: &Value, old: &Value) -> Vec<String> {
    let mut told = match warnings::is_changed(cron, old) {
        true => template_warnings(cron),
        false => Vec::new(),
    };
    let schedule = cron["spec"]["schedule"].as_str().unwrap_or_default();
    if schedule.contains("TZ") {
        told.push(ZONE_IN_SCHEDULE.to_owned());
    }
    told
}

/// `old` is null on creation.
fn spec(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    schedule(at, old, errors);
    at.get("startingDeadlineSeconds").nonnegative(errors);
    let zone = at.get("timeZone");
    if *zone.value != old["timeZone"] {
        time_zone(&zone, errors);
    }
    at.get("concurrencyPolicy")
        .one_of(errors, &["Allow", "Forbid", "Replace"]);
    let template = at.get("jobTemplate");
    let jobs = template.get("spec");
    job::spec::validate(&jobs, errors);
    let selector = jobs.get("selector");
    if selector.is_set() {
        let detail = "`selector` will be auto-generated";
        selector.invalid_raw(errors, &show_selector(selector.value), detail);
    }
    if jobs.get("manualSelector").bool() {
        jobs.get("manualSelector")
            .not_supported(errors, &["nil", "false"]);
    }
    nonnegative_fields(
        at,
        &["successfulJobsHistoryLimit", "failedJobsHistoryLimit"],
        errors,
    );
}

fn schedule(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let schedule = at.get("schedule");
    if schedule.is_empty() {
        return schedule.required(errors, "");
    }
    if let Err(problem) = corten_stdx::cron::Schedule::parse(schedule.str()) {
        schedule.invalid(errors, &problem);
    }
    let had_zone = old["schedule"].as_str().is_some_and(|text| text.contains("TZ"));
    match (schedule.str().contains("TZ"), had_zone) {
        (true, true) if at.get("timeZone").is_set() => {
            schedule.invalid(
                errors,
                "cannot use both timeZone field and TZ or CRON_TZ in schedule",
            );
        }
        (true, false) => {
            schedule.invalid(
                errors,
                "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            );
        }
        _ => {}
    }
}

/// Whether Go's `LoadLocation` finds the name: the database's own spelling, or the machine's zone, which is refused by its name.
fn is_zone(name: &str) -> bool {
    let known = |zone: jiff::tz::TimeZone| !zone.is_unknown() && zone.iana_name() == Some(name);
    name == "Local" || jiff::tz::TimeZone::get(name).is_ok_and(known)
}

fn time_zone(at: &At<'_, '_>, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    if at.is_empty() {
        return at.invalid(errors, "timeZone must be nil or non-empty string");
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '+');
    let good = |part: &str| {
        (1..=14).contains(&part.len())
            && part != "."
            && part != ".."
            && !part.starts_with('-')
            && part.chars().all(allowed)
    };
    let unknown = format!("unknown time zone {}", at.str());
    if !at.str().split('/').all(good) {
        return at.invalid(errors, &unknown);
    }
    if at.str().eq_ignore_ascii_case("local") {
        let detail = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        at.invalid(errors, detail);
    }
    if !is_zone(at.str()) {
        at.invalid(errors, &unknown);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_zone_that_the_schedule_has_kept_is_warned_of() {
        let cron = json!({"spec": {"schedule": "TZ=UTC * * * * *"}});
        let text = "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see https://kubernetes.io/docs/\
                    concepts/workloads/controllers/cron-jobs/ for more details";
        assert_eq!(update_warnings(&cron, &cron), [text]);
    }

    #[test]
    fn zones_are_spelt_as_in_the_database() {
        for name in ["Europe/Berlin", "UTC", "Etc/UTC", "Etc/GMT+1", "GMT", "Local"] {
            assert!(is_zone(name), "{name}");
        }
        for name in [
            "EUROPE/BERLIN",
            "utc",
            "local",
            "Europe/Nowhere",
            "Etc/Unknown",
            "Etc/gmt+1",
        ] {
            assert!(!is_zone(name), "{name}");
        }
    }
}
