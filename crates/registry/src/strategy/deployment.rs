//! Deployments (`pkg/apis/apps/validation`, `pkg/registry/apps/deployment`).

use corten_meta::field::Error;
use corten_meta::{names, object};
use serde_json::Value;

use super::pod::warnings;
use super::replicaset::selected_template;
use super::rules::{
    At, ErrorList, amount, at_most_100_percent, go_struct, int_or_percent, nonnegative_fields, not_above,
    not_decremented, object_meta, object_meta_update, show_selector,
};
use super::{Strategy, StrategyContext, generic};
use crate::resource::Subresource;

/// Which revision to go back to, for clients of old.
const ROLLBACK_TO: &str = "deprecated.deployment.rollback.to";

#[derive(Clone, Copy, Debug)]
pub struct DeploymentStrategy;

impl Strategy for DeploymentStrategy {
    fn validate(&self, _ctx: &StrategyContext<'_>, deployment: &Value) -> ErrorList {
        let mut errors = object_meta(deployment, true, names::name_is_dns_subdomain);
        spec(&At::root(deployment), &mut errors);
        errors
    }

    /// The generation counts changes of annotations too: a new revision may be noted there.
    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, deployment: &mut Value, old: &Value) {
        generic::prepare_for_update(ctx, deployment, old);
        let notes = |object: &Value| object["metadata"]["annotations"].clone();
        let counted = deployment["metadata"]["generation"] != old["metadata"]["generation"];
        if ctx.subresource == Subresource::MAIN && !counted && notes(deployment) != notes(old) {
            object::set_generation(deployment, object::generation(old) + 1);
        }
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, deployment: &Value) -> Vec<String> {
        warnings::of_named_workload(deployment)
    }

    fn warnings_on_update(&self, _ctx: &StrategyContext<'_>, deployment: &Value, old: &Value) -> Vec<String> {
        warnings::of_changed_workload(deployment, old)
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, deployment: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(deployment, &mut errors);
        let root = At::root(deployment);
        if ctx.subresource == Subresource::STATUS {
            status(&root.get("status"), &old["status"], &mut errors);
            return errors;
        }
        spec(&root, &mut errors);
        let at = root.get("spec");
        let selector = at.get("selector");
        if *selector.value != old["spec"]["selector"] {
            selector.invalid_raw(&mut errors, &show_selector(selector.value), "field is immutable");
        }
        errors
    }
}

/// The annotation stands for a field of upstream's internal type, and is named by its place there.
fn rollback(deployment: &Value, at: &At<'_, '_>, errors: &mut ErrorList) {
    let revision = object::annotation(deployment, ROLLBACK_TO).and_then(|text| text.parse::<i64>().ok());
    if let Some(revision) = revision.filter(|revision| *revision < 0) {
        let path = at.path().child("rollback").child("version");
        errors.push(Error::invalid(
            &path,
            revision,
            "must be greater than or equal to 0",
        ));
    }
}

fn spec(root: &At<'_, '_>, errors: &mut ErrorList) {
    let at = &root.get("spec");
    at.get("replicas").nonnegative(errors);
    selected_template(at, "deployment", errors);
    strategy(&at.get("strategy"), errors);
    nonnegative_fields(at, &["minReadySeconds", "revisionHistoryLimit"], errors);
    rollback(root.value, at, errors);
    let deadline = at.get("progressDeadlineSeconds");
    if deadline.is_set() {
        deadline.nonnegative(errors);
        if deadline.int() <= Some(at.get("minReadySeconds").int().unwrap_or(0)) {
            deadline.invalid(errors, "must be greater than minReadySeconds");
        }
    }
}

fn strategy(at: &At<'_, '_>, errors: &mut ErrorList) {
    let rolling = at.get("rollingUpdate");
    match at.get("type").str() {
        "Recreate" => {
            if rolling.is_set() {
                rolling.forbidden(errors, "may not be specified when strategy `type` is 'Recreate'");
            }
        }
        "RollingUpdate" if !rolling.is_set() => {
            rolling.required(errors, "this should be defaulted and never be nil");
        }
        "RollingUpdate" => rolling_update(&rolling, errors),
        _ => {
            let inner = match rolling.is_set() {
                true => go_struct(
                    rolling.value,
                    &[("MaxUnavailable", "maxUnavailable"), ("MaxSurge", "maxSurge")],
                ),
                false => "null".to_owned(),
            };
            let shown = format!(
                "{{\"Type\":{},\"RollingUpdate\":{inner}}}",
                corten_meta::quote(at.get("type").str())
            );
            at.not_supported_raw(errors, &shown, &["Recreate", "RollingUpdate"]);
        }
    }
}

fn rolling_update(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (unavailable, surge) = (at.get("maxUnavailable"), at.get("maxSurge"));
    int_or_percent(&unavailable, errors);
    int_or_percent(&surge, errors);
    if amount(unavailable.value) == 0 && amount(surge.value) == 0 {
        unavailable.invalid(errors, "may not be 0 when `maxSurge` is 0");
    }
    at_most_100_percent(&unavailable, errors);
}

fn status(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let counts = [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ];
    nonnegative_fields(at, &counts, errors);
    let parts = ["updatedReplicas", "readyReplicas", "availableReplicas"];
    not_above(
        at,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
        errors,
    );
    let detail = "cannot be greater than readyReplicas";
    not_above(at, &["availableReplicas"], "readyReplicas", detail, errors);
    not_decremented(&at.get("collisionCount"), &old["collisionCount"], errors);
}
