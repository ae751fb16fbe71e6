//! DaemonSets.

use corten_meta::{names, object};
use serde_json::Value;

use super::pod::{validate_template, warnings};
use super::replicaset::always_running;
use super::rules::{
    At, ErrorList, amount, at_most_100_percent, int_or_percent, label_selector, nonnegative_fields,
    not_decremented, object_meta, object_meta_update, selector_matches_template, selector_size,
    show_selector,
};
use super::{Strategy, StrategyContext, generic};
use crate::resource::Subresource;

/// The counter of template changes that `apps/v1` carries as an annotation.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

#[derive(Clone, Copy, Debug)]
pub struct DaemonSetStrategy;

impl Strategy for DaemonSetStrategy {
    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, set: &mut Value) {
        generic::prepare_for_create(ctx, set);
        let given = template_generation(set).max(1);
        object::set_annotation(set, TEMPLATE_GENERATION, &given.to_string());
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, set: &Value) -> ErrorList {
        let mut errors = object_meta(set, true, names::name_is_dns_subdomain);
        spec(&At::root(set).get("spec"), &mut errors);
        errors
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, set: &mut Value, old: &Value) {
        generic::prepare_for_update(ctx, set, old);
        // Upstream holds it in the spec, which a write of the status does not change.
        let is_main = ctx.subresource == Subresource::MAIN;
        let changed = is_main && set["spec"]["template"] != old["spec"]["template"];
        let counted = template_generation(old) + i64::from(changed);
        object::set_annotation(set, TEMPLATE_GENERATION, &counted.to_string());
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, set: &Value) -> Vec<String> {
        warnings::of_workload(set)
    }

    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, set: &Value, old: &Value) -> Vec<String> {
        // Writers of a status may have changed the annotation.
        let is_main = ctx.subresource == Subresource::MAIN;
        match is_main && template_generation(set) != template_generation(old) {
            true => warnings::of_workload(set),
            false => Vec::new(),
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, set: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(set, &mut errors);
        let root = At::root(set);
        if ctx.subresource == Subresource::STATUS {
            status(&root.get("status"), &old["status"], &mut errors);
            return errors;
        }
        let at = root.get("spec");
        let selector = at.get("selector");
        if *selector.value != old["spec"]["selector"] {
            selector.invalid_raw(&mut errors, &show_selector(selector.value), "field is immutable");
        }
        spec(&at, &mut errors);
        errors
    }
}

fn template_generation(set: &Value) -> i64 {
    object::annotation(set, TEMPLATE_GENERATION)
        .and_then(|text| text.parse().ok())
        .unwrap_or(0)
}

fn spec(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (selector, template) = (at.get("selector"), at.get("template"));
    label_selector(&selector, errors);
    selector_matches_template(&selector, &template, errors);
    if selector.is_set() && selector_size(&selector) == 0 {
        let detail = "empty selector is invalid for daemonset";
        selector.invalid_raw(errors, &show_selector(selector.value), detail);
    }
    validate_template(&template, errors);
    always_running(&template, "DaemonSet", errors);
    at.get("minReadySeconds").nonnegative(errors);
    update_strategy(&at.get("updateStrategy"), errors);
    at.get("revisionHistoryLimit").nonnegative(errors);
}

fn update_strategy(at: &At<'_, '_>, errors: &mut ErrorList) {
    let rolling = at.get("rollingUpdate");
    match at.get("type").str() {
        "OnDelete" => {}
        "RollingUpdate" if !rolling.is_set() => rolling.required(errors, ""),
        "RollingUpdate" => rolling_update(&rolling, errors),
        kind => {
            let shown = format!(
                "{{\"Type\":{},\"RollingUpdate\":{}}}",
                corten_meta::quote(kind),
                rolling.value
            );
            at.not_supported_raw(errors, &shown, &["RollingUpdate", "OnDelete"]);
        }
    }
}

fn rolling_update(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (unavailable, surge) = (at.get("maxUnavailable"), at.get("maxSurge"));
    for share in [&unavailable, &surge] {
        int_or_percent(share, errors);
    }
    for share in [&unavailable, &surge] {
        at_most_100_percent(share, errors);
    }
    match (amount(unavailable.value) != 0, amount(surge.value) != 0) {
        (true, true) => surge.invalid(errors, "may not be set when maxUnavailable is non-zero"),
        (false, false) => unavailable.required(errors, "cannot be 0 when maxSurge is 0"),
        _ => {}
    }
}

fn status(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let counts = [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ];
    nonnegative_fields(at, &counts, errors);
    not_decremented(&at.get("collisionCount"), &old["collisionCount"], errors);
}
