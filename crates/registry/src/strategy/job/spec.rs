//! The spec of a Job, or of a CronJob's template (`validateJobSpec`).

use corten_meta::names;

use super::super::pod::validate_template;
use super::super::rules::{At, ErrorList, go_struct, nonnegative_fields};
use super::policies;

const PARALLELISM_MAX: i64 = 100_000;
const FAILED_INDEXES_MAX: i64 = 100_000;
/// Above this many completions the limits of failed indexes and parallelism are lower.
const COMPLETIONS_SOFT_LIMIT: i64 = 100_000;
const MANY_COMPLETIONS_PARALLELISM_MAX: i64 = 10_000;
const MANY_COMPLETIONS_FAILED_INDEXES_MAX: i64 = 10_000;

pub(in crate::strategy) fn validate(at: &At<'_, '_>, errors: &mut ErrorList) {
    let counts = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    nonnegative_fields(at, &counts, errors);
    if at.get("maxFailedIndexes").is_set() && !at.get("backoffLimitPerIndex").is_set() {
        at.get("backoffLimitPerIndex")
            .required(errors, "when maxFailedIndexes is specified");
    }
    managed_by(&at.get("managedBy"), errors);
    completion_mode(at, errors);
    if at.get("podFailurePolicy").is_set() {
        policies::failure(at, errors);
    }
    let success = at.get("successPolicy");
    if success.is_set() {
        match at.get("completionMode").str() {
            "Indexed" => policies::success(at, errors),
            _ => success.invalid_raw(
                errors,
                &show_success(&success),
                "requires indexed completion mode",
            ),
        }
    }
    replacement(at, errors);
    validate_template(&at.get("template"), errors);
    restart_policy(at, errors);
}

/// The policy as Go shows it.
fn show_success(policy: &At<'_, '_>) -> String {
    let fields = [
        ("SucceededIndexes", "succeededIndexes"),
        ("SucceededCount", "succeededCount"),
    ];
    let list = policy.get("rules");
    let rules: Vec<String> = list.items().map(|rule| go_struct(rule.value, &fields)).collect();
    format!("{{\"Rules\":[{}]}}", rules.join(","))
}

/// `example.com/path`.
fn managed_by(at: &At<'_, '_>, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    match at.str().split_once('/') {
        _ if at.is_empty() => at.required(errors, ""),
        None => at.invalid(errors, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        Some((domain, _)) if !names::is_dns1123_subdomain(domain).is_empty() => {
            for message in names::is_dns1123_subdomain(domain) {
                at.invalid_as(errors, domain, &message);
            }
        }
        Some((_, "")) => at.invalid(errors, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
        Some((_, path)) => {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "/:@-._~%!$&'()*+,;=".contains(c);
            if !path.chars().all(allowed) {
                at.invalid(
                    errors,
                    &names::regex_error("Invalid path", "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+", &[]),
                );
            }
        }
    }
    if at.len() > 63 {
        at.too_long(errors, 63);
    }
}

fn completion_mode(at: &At<'_, '_>, errors: &mut ErrorList) {
    let mode = at.get("completionMode");
    mode.one_of_if_set(errors, &["NonIndexed", "Indexed"]);
    match mode.value.as_str() {
        Some("Indexed") => indexed(at, errors),
        None | Some("NonIndexed") => {
            for field in ["backoffLimitPerIndex", "maxFailedIndexes"] {
                if at.get(field).is_set() {
                    at.get(field).invalid(errors, "requires indexed completion mode");
                }
            }
        }
        _ => {}
    }
}

fn indexed(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (completions, parallelism) = (at.get("completions"), at.get("parallelism"));
    let failed = at.get("maxFailedIndexes");
    if !completions.is_set() {
        completions.required(errors, "when completion mode is Indexed");
    }
    if parallelism.int().is_some_and(|number| number > PARALLELISM_MAX) {
        let detail =
            format!("must be less than or equal to {PARALLELISM_MAX} when completion mode is Indexed");
        parallelism.invalid(errors, &detail);
    }
    if let (Some(all), Some(most)) = (completions.int(), failed.int())
        && most > all
    {
        failed.invalid(errors, "must be less than or equal to completions");
    }
    if failed.int().is_some_and(|number| number > FAILED_INDEXES_MAX) {
        failed.invalid(
            errors,
            &format!("must be less than or equal to {FAILED_INDEXES_MAX}"),
        );
    }
    let many = completions.int().is_some_and(|all| all > COMPLETIONS_SOFT_LIMIT);
    if many && at.get("backoffLimitPerIndex").is_set() {
        many_completions(&parallelism, &failed, errors);
    }
}

fn many_completions(parallelism: &At<'_, '_>, failed: &At<'_, '_>, errors: &mut ErrorList) {
    if !failed.is_set() {
        let detail = format!("must be specified when completions is above {COMPLETIONS_SOFT_LIMIT}");
        failed.required(errors, &detail);
    }
    let limits = [
        (parallelism, MANY_COMPLETIONS_PARALLELISM_MAX),
        (failed, MANY_COMPLETIONS_FAILED_INDEXES_MAX),
    ];
    for (at, most) in limits {
        if at.int().is_some_and(|number| number > most) {
            let detail = format!(
                "must be less than or equal to {most} when completions are above {COMPLETIONS_SOFT_LIMIT} and used \
                 with backoff limit per index"
            );
            at.invalid(errors, &detail);
        }
    }
}

fn replacement(at: &At<'_, '_>, errors: &mut ErrorList) {
    let supported: &[&str] = match at.get("podFailurePolicy").is_set() {
        true => &["Failed"],
        false => &["Failed", "TerminatingOrFailed"],
    };
    at.get("podReplacementPolicy").one_of_if_set(errors, supported);
}

/// A job's pods end.
fn restart_policy(at: &At<'_, '_>, errors: &mut ErrorList) {
    let template = at.get("template");
    let spec = template.get("spec");
    let policy = spec.get("restartPolicy");
    match policy.str() {
        "" | "Always" => policy.required(errors, "valid values: \"OnFailure\", \"Never\""),
        "OnFailure" if at.get("podFailurePolicy").is_set() => {
            policy.invalid(
                errors,
                "only \"Never\" is supported when podFailurePolicy is specified",
            );
        }
        "OnFailure" | "Never" => {}
        _ => policy.not_supported(errors, &["OnFailure", "Never"]),
    }
}
