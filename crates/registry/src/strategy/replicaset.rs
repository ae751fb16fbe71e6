//! ReplicaSets and ReplicationControllers, and what they share with Deployments.

use corten_meta::names;
use serde_json::Value;

use super::pod::{validate_template, warnings};
use super::rules::{
    At, ErrorList, label_selector, nonnegative_fields, not_above, object_meta, object_meta_update,
    selector_matches_template, selector_size, show_selector,
};
use super::{GcPolicy, Strategy, StrategyContext};
use crate::resource::Subresource;

#[derive(Clone, Copy, Debug)]
pub struct ReplicaSetStrategy;

impl Strategy for ReplicaSetStrategy {
    fn validate(&self, _ctx: &StrategyContext<'_>, set: &Value) -> ErrorList {
        let mut errors = object_meta(set, true, names::name_is_dns_subdomain);
        spec(&At::root(set).get("spec"), &mut errors);
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, set: &Value) -> Vec<String> {
        warnings::of_named_workload(set)
    }

    fn warnings_on_update(&self, _ctx: &StrategyContext<'_>, set: &Value, old: &Value) -> Vec<String> {
        warnings::of_changed_workload(set, old)
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, set: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(set, &mut errors);
        let root = At::root(set);
        if ctx.subresource == Subresource::STATUS {
            let extra = ["terminatingReplicas"];
            status(&root.get("status"), &extra, &mut errors);
            return errors;
        }
        let at = root.get("spec");
        spec(&at, &mut errors);
        let selector = at.get("selector");
        if *selector.value != old["spec"]["selector"] {
            selector.invalid_raw(&mut errors, &show_selector(selector.value), "field is immutable");
        }
        errors
    }
}

fn spec(at: &At<'_, '_>, errors: &mut ErrorList) {
    nonnegative_fields(at, &["replicas", "minReadySeconds"], errors);
    // Upstream says deployment here, too.
    selected_template(at, "deployment", errors);
}

/// Selector and template of a Deployment or ReplicaSet.
pub(super) fn selected_template(spec: &At<'_, '_>, kind: &str, errors: &mut ErrorList) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    match selector.is_set() {
        false => selector.required(errors, ""),
        true => {
            label_selector(&selector, errors);
            if selector_size(&selector) == 0 {
                let detail = format!("empty selector is invalid for {kind}");
                selector.invalid_raw(errors, &show_selector(selector.value), &detail);
            }
        }
    }
    let everything = selector.is_set() && selector_size(&selector) == 0;
    if everything || selector_matches_template(&selector, &template, errors) {
        validate_template(&template, errors);
        always_running(&template, "ReplicaSet", errors);
    } else {
        selector.invalid_raw(errors, &show_selector(selector.value), "invalid label selector");
    }
}

/// Pods that are replaced when they end.
pub(super) fn always_running(template: &At<'_, '_>, kind: &str, errors: &mut ErrorList) {
    let spec = template.get("spec");
    let policy = spec.get("restartPolicy");
    if policy.str() != "Always" {
        policy.not_supported(errors, &["Always"]);
    }
    let deadline = spec.get("activeDeadlineSeconds");
    if deadline.is_set() {
        deadline.forbidden(
            errors,
            &format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

fn status(at: &At<'_, '_>, extra: &[&str], errors: &mut ErrorList) {
    let counts = [
        "replicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "observedGeneration",
    ];
    nonnegative_fields(at, &counts, errors);
    nonnegative_fields(at, extra, errors);
    let parts = ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"];
    not_above(
        at,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
        errors,
    );
    let detail = "cannot be greater than readyReplicas";
    not_above(at, &["availableReplicas"], "readyReplicas", detail, errors);
}

#[derive(Clone, Copy, Debug)]
pub struct ReplicationControllerStrategy;

impl Strategy for ReplicationControllerStrategy {
    fn gc_policy(&self) -> GcPolicy {
        GcPolicy::OrphanDependents
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, controller: &Value) -> ErrorList {
        let mut errors = object_meta(controller, true, names::name_is_dns_subdomain);
        controller_spec(&At::root(controller).get("spec"), &mut errors);
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, controller: &Value) -> Vec<String> {
        warnings::of_named_workload(controller)
    }

    fn warnings_on_update(&self, _ctx: &StrategyContext<'_>, controller: &Value, old: &Value) -> Vec<String> {
        // Upstream takes one for the other: what it warns about is the template that was.
        match warnings::is_changed(controller, old) {
            true => warnings::of_workload(old),
            false => Vec::new(),
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, controller: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(controller, &mut errors);
        let root = At::root(controller);
        match ctx.subresource {
            Subresource::STATUS => status(&root.get("status"), &[], &mut errors),
            _ => controller_spec(&root.get("spec"), &mut errors),
        }
        errors
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.replicas"]
    }

    fn field_values(&self, controller: &Value) -> Vec<String> {
        vec![controller["status"]["replicas"].as_i64().unwrap_or(0).to_string()]
    }
}

fn controller_spec(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("minReadySeconds").nonnegative(errors);
    let (selector, template, replicas) = (at.get("selector"), at.get("template"), at.get("replicas"));
    selector.nonempty(errors);
    match replicas.is_set() {
        false => replicas.required(errors, ""),
        true => replicas.nonnegative(errors),
    }
    if !template.is_set() {
        return template.required(errors, "");
    }
    let metadata = template.get("metadata");
    let labels = metadata.get("labels");
    if !selector
        .entries()
        .all(|(key, value)| labels.value.get(key) == Some(value))
    {
        labels.invalid(errors, "`selector` does not match template `labels`");
    }
    validate_template(&template, errors);
    always_running(&template, "ReplicationController", errors);
}
