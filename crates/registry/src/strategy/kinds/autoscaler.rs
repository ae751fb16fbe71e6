//! HorizontalPodAutoscalers.

use serde_json::Value;

use super::super::pod::resources::container_resource_name;
use super::super::rules::{At, ErrorList, dns_label, nanos, nonnegative_fields, show};
use super::references::segment;
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    create: |at, errors| target_version(&at.get("spec").get("scaleTargetRef"), errors),
    body,
    change,
    status: |at, _, errors| {
        nonnegative_fields(&at.get("status"), &["currentReplicas", "desiredReplicas"], errors);
    },
    metadata_whole: false,
    ..PLAIN
};

const PERIOD_MAX_S: i64 = 1800;
const WINDOW_MAX_S: i64 = 3600;

/// The version of a target that stays is not judged again.
fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let target = spec.get("scaleTargetRef");
    let before = &old["spec"]["scaleTargetRef"];
    if ["apiVersion", "kind"]
        .iter()
        .any(|field| *target.get(field).value != before[*field])
    {
        target_version(&target, errors);
    }
}

fn target_version(at: &At<'_, '_>, errors: &mut ErrorList) {
    version(at, at.get("kind").str() == "ReplicationController", errors);
}

fn version(at: &At<'_, '_>, core_allowed: bool, errors: &mut ErrorList) {
    let version = at.get("apiVersion");
    let slashes = version.str().matches('/').count();
    if slashes > 1 {
        let detail = format!("unexpected GroupVersion string: {}", version.str());
        version.invalid_as(errors, version.str(), &detail);
    } else if !core_allowed && (slashes == 0 || version.str().starts_with('/')) {
        version.invalid_as(errors, version.str(), "apiVersion must specify API group");
    }
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
    if min.int().is_some_and(|min| min < 1) {
        min.invalid(errors, "must be greater than or equal to 1");
    }
    let most = max.int().unwrap_or(0);
    match most {
        0 => max.required(errors, "must be set and greater than 0"),
        ..0 => max.invalid(errors, "must be greater than or equal to 1"),
        _ => {}
    }
    if min.int().is_some_and(|min| most < min) {
        max.invalid_as(errors, most, "must be greater than or equal to `minReplicas`");
    }
    let target = spec.get("scaleTargetRef");
    segment(&target.get("kind"), errors);
    segment(&target.get("name"), errors);
    let list = spec.get("metrics");
    list.items().for_each(|metric| metric_rules(&metric, errors));
    let outside = list
        .items()
        .any(|metric| matches!(metric.get("type").str(), "Object" | "External"));
    if min.int() == Some(0) && !outside {
        let detail =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        list.forbidden(errors, detail);
    }
    let behavior = spec.get("behavior");
    for rules in [behavior.get("scaleUp"), behavior.get("scaleDown")]
        .iter()
        .filter(|rules| rules.is_set())
    {
        scaling(rules, errors);
    }
}

fn scaling(at: &At<'_, '_>, errors: &mut ErrorList) {
    let window = at.get("stabilizationWindowSeconds");
    match window.int() {
        Some(..0) => window.invalid(errors, "must be greater than or equal to zero"),
        Some(seconds) if seconds > WINDOW_MAX_S => {
            window.invalid(errors, &format!("must be less than or equal to {WINDOW_MAX_S}"));
        }
        _ => {}
    }
    at.get("selectPolicy")
        .one_of_if_set(errors, &["Disabled", "Max", "Min"]);
    let policies = at.get("policies");
    if policies.is_empty() {
        policies.required(errors, "must specify at least one Policy");
    }
    for policy in policies.items() {
        let kind = policy.get("type");
        if !matches!(kind.str(), "Pods" | "Percent") {
            kind.not_supported(errors, &["Percent", "Pods"]);
        }
        policy.get("value").positive(errors);
        let period = policy.get("periodSeconds");
        period.positive(errors);
        if period.int().is_some_and(|seconds| seconds > PERIOD_MAX_S) {
            period.invalid(errors, &format!("must be less than or equal to {PERIOD_MAX_S}"));
        }
    }
    let tolerance = at.get("tolerance");
    if nanos(tolerance.value) < 0 {
        tolerance.invalid_as(
            errors,
            show(tolerance.value),
            "must be greater than or equal to 0",
        );
    }
}

type Check = fn(&At<'_, '_>, &mut ErrorList);

/// Type and field of each kind of source, in the order they are looked at.
const SOURCES: [(&str, &str, Check); 5] = [
    ("Object", "object", object),
    ("External", "external", external),
    ("Pods", "pods", pods),
    ("Resource", "resource", |at, errors| resource(at, false, errors)),
    ("ContainerResource", "containerResource", |at, errors| {
        resource(at, true, errors)
    }),
];
const TYPES: &[&str] = &["ContainerResource", "External", "Object", "Pods", "Resource"];

fn metric_rules(at: &At<'_, '_>, errors: &mut ErrorList) {
    let kind = at.get("type");
    if kind.is_empty() {
        kind.required(errors, "must specify a metric source type");
    }
    let known = TYPES.contains(&kind.str());
    if !known {
        kind.not_supported(errors, TYPES);
    }
    let present: Vec<_> = SOURCES
        .iter()
        .filter(|(_, field, _)| at.get(field).is_set())
        .collect();
    if let Some((_, field, check)) = present.first() {
        check(&at.get(field), errors);
    }
    let expected = SOURCES
        .iter()
        .find(|(name, ..)| *name == kind.str())
        .map(|(_, field, _)| *field);
    match expected {
        Some(field) if !at.get(field).is_set() => {
            at.get(field)
                .required(errors, "must populate information for the given metric source");
        }
        Some(_) => {}
        None => kind.not_supported(errors, TYPES),
    }
    if present.len() != 1 {
        for (_, field, _) in present.iter().filter(|(_, field, _)| Some(*field) != expected) {
            at.get(field)
                .forbidden(errors, "must populate the given metric source only");
        }
    }
}

fn metric(at: &At<'_, '_>, errors: &mut ErrorList) {
    let name = at.get("metric").get("name").value;
    let metric = at.get("metric");
    let place = metric.get("name").with(name);
    match place.is_empty() {
        true => place.required(errors, "must specify a metric name"),
        false => segment(&place, errors),
    }
    target(&at.get("target"), errors);
}

fn target(at: &At<'_, '_>, errors: &mut ErrorList) {
    let kind = at.get("type");
    if kind.is_empty() {
        kind.required(errors, "must specify a metric target type");
    }
    if !matches!(kind.str(), "Utilization" | "Value" | "AverageValue") {
        kind.invalid_as(
            errors,
            kind.str(),
            "must be either Utilization, Value, or AverageValue",
        );
    }
    for amount in [at.get("value"), at.get("averageValue")] {
        if amount.is_set() && nanos(amount.value) <= 0 {
            amount.invalid_as(errors, show(amount.value), "must be positive");
        }
    }
    let utilization = at.get("averageUtilization");
    if utilization.int().is_some_and(|percent| percent < 1) {
        utilization.invalid(errors, "must be greater than 0");
    }
}

fn object(at: &At<'_, '_>, errors: &mut ErrorList) {
    let described = at.get("describedObject");
    segment(&described.get("kind"), errors);
    segment(&described.get("name"), errors);
    version(&described, true, errors);
    metric(at, errors);
    let target = at.get("target");
    if !target.get("value").is_set() && !target.get("averageValue").is_set() {
        target
            .get("averageValue")
            .required(errors, "must set either a target value or averageValue");
    }
}

fn external(at: &At<'_, '_>, errors: &mut ErrorList) {
    metric(at, errors);
    let target = at.get("target");
    match (target.get("value").is_set(), target.get("averageValue").is_set()) {
        (false, false) => {
            let detail = "must set either a target value for metric or a per-pod target";
            target.get("averageValue").required(errors, detail);
        }
        (true, true) => {
            let detail = "may not set both a target value for metric and a per-pod target";
            target.get("value").forbidden(errors, detail);
        }
        _ => {}
    }
}

fn pods(at: &At<'_, '_>, errors: &mut ErrorList) {
    metric(at, errors);
    let average = at.get("target");
    if !average.get("averageValue").is_set() {
        average
            .get("averageValue")
            .required(errors, "must specify a positive target averageValue");
    }
}

fn resource(at: &At<'_, '_>, of_container: bool, errors: &mut ErrorList) {
    let name = at.get("name");
    if name.is_empty() {
        name.required(errors, "must specify a resource name");
    } else if of_container {
        container_resource_name(&name, name.str(), errors);
    }
    if of_container {
        let container = at.get("container");
        match container.is_empty() {
            true => container.required(errors, "must specify a container"),
            false => dns_label(&container, errors),
        }
    }
    let goal = at.get("target");
    target(&goal, errors);
    match (
        goal.get("averageUtilization").is_set(),
        goal.get("averageValue").is_set(),
    ) {
        (false, false) => {
            let detail = "must set either a target raw value or a target utilization";
            goal.get("averageUtilization").required(errors, detail);
        }
        (true, true) => {
            let detail = "may not set both a target raw value and a target utilization";
            goal.get("averageValue").forbidden(errors, detail);
        }
        _ => {}
    }
}
