//! Jobs (`pkg/apis/batch/validation`, `pkg/registry/batch/job`).

mod policies;
pub(super) mod spec;
mod status;
pub(super) mod warnings;

use corten_meta::field::Error;
use corten_meta::{names, object};
use serde_json::{Value, json};

use super::pod::warnings::{is_changed, name_of_pods};
use super::rules::{
    At, ErrorList, immutable, label_selector, object_meta, object_meta_update, selector_matches_template,
    show_selector,
};
use super::{GcPolicy, Strategy, StrategyContext, generic};
use crate::resource::Subresource;

const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
const JOB_NAME: &str = "batch.kubernetes.io/job-name";
const LEGACY_CONTROLLER_UID: &str = "controller-uid";
const LEGACY_JOB_NAME: &str = "job-name";

#[derive(Clone, Copy, Debug)]
pub struct JobStrategy;

impl Strategy for JobStrategy {
    fn gc_policy(&self) -> GcPolicy {
        GcPolicy::OrphanDependents
    }

    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, job: &mut Value) {
        generate_selector(job);
        if ctx.write.shares_labels() {
            share_labels(job);
        }
        generic::prepare_for_create(ctx, job);
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, job: &Value) -> ErrorList {
        let mut errors = object_meta(job, true, names::name_is_dns_subdomain);
        validate(job, &mut errors);
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, job: &Value) -> Vec<String> {
        let name = name_of_pods(job);
        let spec = warnings::of_spec(&At::root(job).get("spec"));
        name.into_iter().chain(spec).collect()
    }

    fn warnings_on_update(&self, _ctx: &StrategyContext<'_>, job: &Value, old: &Value) -> Vec<String> {
        match is_changed(job, old) {
            true => warnings::of_spec(&At::root(job).get("spec")),
            false => Vec::new(),
        }
    }

    /// Upstream defaults a Job again when it reads what it has stored: one without labels has its template's, the generated
    /// ones too.
    fn canonicalize(&self, job: &mut Value) {
        let own = job["metadata"]["labels"].as_object();
        if own.is_none_or(serde_json::Map::is_empty) {
            share_labels(job);
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, job: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(job, &mut errors);
        if ctx.subresource == Subresource::STATUS {
            status::validate_update(job, old, &mut errors);
            return errors;
        }
        validate(job, &mut errors);
        unchanged(job, old, &mut errors);
        errors
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.successful"]
    }

    fn field_values(&self, job: &Value) -> Vec<String> {
        vec![job["status"]["succeeded"].as_i64().unwrap_or(0).to_string()]
    }
}

/// The Job gets the labels of its template.
fn share_labels(job: &mut Value) {
    let labels = job["spec"]["template"]["metadata"]["labels"].clone();
    if labels.is_object() {
        job["metadata"]["labels"] = labels;
    }
}

/// Unless the user selects pods by hand, the job's own uid does.
fn generate_selector(job: &mut Value) {
    if job["spec"]["manualSelector"] == true {
        return;
    }
    let (name, uid) = (object::name(job).to_owned(), object::uid(job).to_owned());
    let labels = [
        (LEGACY_JOB_NAME, &name),
        (JOB_NAME, &name),
        (LEGACY_CONTROLLER_UID, &uid),
        (CONTROLLER_UID, &uid),
    ];
    let template = &mut job["spec"]["template"];
    for (key, value) in labels {
        if object::label(template, key).is_none() {
            object::set_label(template, key, value);
        }
    }
    let selector = &mut job["spec"]["selector"];
    if selector.is_null() {
        *selector = json!({});
    }
    if selector["matchLabels"][CONTROLLER_UID].is_null() {
        if selector["matchLabels"].is_null() {
            selector["matchLabels"] = json!({});
        }
        selector["matchLabels"][CONTROLLER_UID] = json!(uid);
    }
}

fn validate(job: &Value, errors: &mut ErrorList) {
    let root = At::root(job);
    let at = root.get("spec");
    generated_selector(job, &at, errors);
    spec::validate(&at, errors);
    let selector = at.get("selector");
    match selector.is_set() {
        false => selector.required(errors, ""),
        true => label_selector(&selector, errors),
    }
    selector_matches_template(&selector, &at.get("template"), errors);
    indexed_host_names(job, &at, errors);
}

fn generated_selector(job: &Value, at: &At<'_, '_>, errors: &mut ErrorList) {
    let selector = at.get("selector");
    if at.get("manualSelector").bool() || !selector.is_set() {
        return;
    }
    let (name, uid) = (object::name(job), object::uid(job));
    let template = at.get("template");
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    let expected = [
        (LEGACY_CONTROLLER_UID, uid),
        (LEGACY_JOB_NAME, name),
        (CONTROLLER_UID, uid),
        (JOB_NAME, name),
    ];
    for (key, value) in expected {
        has_label(&labels, key, value, errors);
    }
    let parsed = corten_meta::labels::Selector::from_label_selector(selector.value);
    let own: std::collections::BTreeMap<String, String> = expected
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    if parsed.is_ok_and(|parsed| !parsed.matches(&own)) {
        let detail = "`selector` not auto-generated";
        selector.invalid_raw(errors, &show_selector(selector.value), detail);
    }
}

/// `ValidateHasLabel`.
fn has_label(labels: &At<'_, '_>, key: &str, expected: &str, errors: &mut ErrorList) {
    let own = labels.key(key);
    let expected = format!("must be '{expected}'");
    match own.value.as_str() {
        None => own.required(errors, &expected),
        Some(value) if expected == format!("must be '{value}'") => {}
        Some(_) => errors.push(Error::invalid(&own.path(), labels.value.clone(), expected)),
    }
}

/// The last index becomes part of a host name.
fn indexed_host_names(job: &Value, at: &At<'_, '_>, errors: &mut ErrorList) {
    let completions = at.get("completions").int().unwrap_or(0);
    if at.get("completionMode").str() != "Indexed" || completions <= 0 {
        return;
    }
    let longest = format!("{}-{}", object::name(job), completions - 1);
    if !names::is_dns1123_label(&longest).is_empty() {
        let root = At::root(job);
        let metadata = root.get("metadata");
        let detail = format!("will not able to create pod with invalid DNS label: {longest}");
        metadata
            .get("name")
            .invalid_as(errors, object::name(job), &detail);
    }
}

/// `ValidateJobSpecUpdate`, beyond the rules for any spec.
fn unchanged(job: &Value, old: &Value, errors: &mut ErrorList) {
    let root = At::root(job);
    let (at, old_spec) = (root.get("spec"), &old["spec"]);
    completions(&at, old_spec, errors);
    let selector = at.get("selector");
    if *selector.value != old_spec["selector"] {
        selector.invalid_raw(errors, &show_selector(selector.value), "field is immutable");
    }
    template(&at, old, errors);
    for field in [
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ] {
        let own = at.get(field);
        immutable(&own.path(), own.value, &old_spec[field], errors);
    }
}

fn completions(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let own = at.get("completions");
    if at.get("completionMode").str() != "Indexed" {
        return immutable(&own.path(), own.value, &old["completions"], errors);
    }
    if *own.value != old["completions"] && own.is_set() && own.value != at.get("parallelism").value {
        // Upstream's path: the root of `spec.completions`, then the other field.
        own.invalid(errors, "can only be modified in tandem with spec.parallelism");
    }
}

/// The template is fixed, except for where pods may run while the job has not started.
fn template(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let own = at.get("template");
    let mut before = old["spec"]["template"].clone();
    let waiting = old["spec"]["suspend"] == true
        && (old["status"]["startTime"].is_null() || status::has(&old["status"], "Suspended"))
        && old["status"]["active"].as_i64().unwrap_or(0) == 0;
    if waiting {
        take_over(&mut before, own.value, "/metadata", &["annotations", "labels"]);
        take_over(
            &mut before,
            own.value,
            "/spec",
            &["nodeSelector", "tolerations", "schedulingGates"],
        );
        let wanted = &own.value["spec"]["affinity"];
        if before["spec"]["affinity"].is_null() && !wanted.is_null() {
            before["spec"]["affinity"] = json!({});
        }
        take_over(&mut before, own.value, "/spec/affinity", &["nodeAffinity"]);
        let left = before["spec"]["affinity"].as_object();
        if wanted.is_null() && left.is_some_and(serde_json::Map::is_empty) {
            take_over(&mut before, own.value, "/spec", &["affinity"]);
        }
        for kind in ["containers", "initContainers"] {
            let count = before["spec"][kind].as_array().map_or(0, Vec::len);
            for index in 0..count {
                take_over(
                    &mut before,
                    own.value,
                    &format!("/spec/{kind}/{index}"),
                    &["resources"],
                );
            }
        }
    }
    immutable(&own.path(), own.value, &before, errors);
}

fn take_over(target: &mut Value, source: &Value, place: &str, fields: &[&str]) {
    let Some(map) = target.pointer_mut(place).and_then(Value::as_object_mut) else {
        return;
    };
    for field in fields {
        match source.pointer(place).and_then(|source| source.get(*field)) {
            Some(value) => drop(map.insert((*field).to_owned(), value.clone())),
            None => drop(map.remove(*field)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_without_labels_takes_those_of_its_pods_with_the_generated_ones() {
        let mut job = json!({"metadata": {"name": "j", "uid": "u"}, "spec": {}});
        generate_selector(&mut job);
        assert!(job["metadata"]["labels"].is_null());
        JobStrategy.canonicalize(&mut job);
        assert_eq!(
            job["metadata"]["labels"],
            job["spec"]["template"]["metadata"]["labels"]
        );
        assert_eq!(job["metadata"]["labels"][JOB_NAME], "j");
        job["metadata"]["labels"] = json!({"own": "x"});
        JobStrategy.canonicalize(&mut job);
        assert_eq!(job["metadata"]["labels"], json!({"own": "x"}));
    }
}
