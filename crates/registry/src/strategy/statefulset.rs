//! StatefulSets and the revisions of workloads.

use std::collections::BTreeSet;

use corten_meta::{names, object};
use serde_json::{Value, json};

use super::pod::{storage, validate_template, warnings};
use super::rules::{
    At, ErrorList, amount, annotations, at_most_100_percent, dns_label, go_struct, immutable, int_or_percent,
    label_map, label_selector, nonnegative_fields, not_above, not_decremented, object_meta,
    object_meta_update, selector_matches_template, selector_size, show_selector,
};
use super::{Strategy, StrategyContext, generic};
use crate::resource::Subresource;

const UPDATABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const NOT_UPDATABLE: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
                             'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and \
                             'minReadySeconds' are forbidden";

#[derive(Clone, Copy, Debug)]
pub struct StatefulSetStrategy;

impl Strategy for StatefulSetStrategy {
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_dns_label(name, prefix)
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, set: &Value) -> ErrorList {
        let mut errors = object_meta(set, true, names::name_is_dns_label);
        spec(&At::root(set).get("spec"), false, &mut errors);
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, set: &Value) -> Vec<String> {
        let mut told = warnings::of_workload(set);
        told.extend(claim_warnings(set, false));
        told.extend(history_warnings(set));
        told
    }

    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, set: &Value, old: &Value) -> Vec<String> {
        if ctx.subresource == Subresource::STATUS {
            return Vec::new();
        }
        let mut told = warnings::of_changed_workload(set, old);
        told.extend(claim_warnings(set, true));
        told.extend(history_warnings(set));
        told
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, set: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let root = At::root(set);
        if ctx.subresource == Subresource::STATUS {
            status(&root.get("status"), &old["status"], &mut errors);
            object_meta_update(set, &mut errors);
            return errors;
        }
        object_meta_update(set, &mut errors);
        let at = root.get("spec");
        spec(&at, true, &mut errors);
        let same = |field: &String| {
            UPDATABLE.contains(&field.as_str()) || set["spec"].get(field) == old["spec"].get(field)
        };
        let fields = |object: &Value| {
            object["spec"]
                .as_object()
                .map(|spec| spec.keys().cloned().collect::<Vec<_>>())
        };
        let all = fields(set).into_iter().chain(fields(old)).flatten();
        if !all.into_iter().all(|field| same(&field)) {
            at.forbidden(&mut errors, NOT_UPDATABLE);
        }
        errors
    }
}

/// Upstream's paths leave `spec` out on creation, and give it its Go name on an update.
fn claim_warnings(set: &Value, is_update: bool) -> Vec<String> {
    let root = At::root(set);
    let spec = root.get("spec");
    let mut told = Vec::new();
    for claim in spec.get("volumeClaimTemplates").items() {
        let own = &claim.value["spec"];
        told.extend(match is_update {
            true => warnings::claim_spec(&claim.get("Spec").with(own)),
            false => warnings::claim_spec(&claim.with(own)),
        });
    }
    told
}

fn history_warnings(set: &Value) -> Vec<String> {
    let limit = set["spec"]["revisionHistoryLimit"].as_i64();
    if limit.is_none_or(|limit| limit >= 0) {
        return Vec::new();
    }
    let text = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";
    vec![text.to_owned()]
}

fn spec(at: &At<'_, '_>, is_update: bool, errors: &mut ErrorList) {
    let management = at.get("podManagementPolicy");
    match management.str() {
        "" => management.required(errors, ""),
        "OrderedReady" | "Parallel" => {}
        _ => management.invalid(errors, "must be 'OrderedReady' or 'Parallel'"),
    }
    update_strategy(&at.get("updateStrategy"), errors);
    let retention = at.get("persistentVolumeClaimRetentionPolicy");
    if retention.is_set() {
        for field in ["whenDeleted", "whenScaled"] {
            let policy = retention.get(field);
            if !["Retain", "Delete"].contains(&policy.str()) {
                policy.not_supported(errors, &["Retain", "Delete"]);
            }
        }
    }
    if !is_update {
        for claim in at.get("volumeClaimTemplates").items() {
            storage::claim_spec(&claim.get("spec"), errors);
        }
    }
    nonnegative_fields(at, &["replicas", "minReadySeconds"], errors);
    let ordinals = at.get("ordinals");
    at.get("ordinals.start")
        .with(ordinals.get("start").value)
        .nonnegative(errors);
    if !is_update && !at.get("serviceName").is_empty() {
        dns_label(&at.get("serviceName"), errors);
    }
    selector_and_template(at, errors);
}

fn update_strategy(at: &At<'_, '_>, errors: &mut ErrorList) {
    let rolling = at.get("rollingUpdate");
    let fields = [("Partition", "partition"), ("MaxUnavailable", "maxUnavailable")];
    match at.get("type").str() {
        "" => at.required(errors, ""),
        "OnDelete" => {
            if rolling.is_set() {
                let shown = go_struct(rolling.value, &fields);
                rolling.invalid_raw(errors, &shown, "only allowed for updateStrategy 'RollingUpdate'");
            }
        }
        "RollingUpdate" => rolling_update(&rolling, errors),
        kind => {
            let inner = match rolling.is_set() {
                true => go_struct(rolling.value, &fields),
                false => "null".to_owned(),
            };
            let shown = format!(
                "{{\"Type\":{},\"RollingUpdate\":{inner}}}",
                corten_meta::quote(kind)
            );
            at.invalid_raw(errors, &shown, "must be 'RollingUpdate' or 'OnDelete'");
        }
    }
}

fn rolling_update(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("partition").nonnegative(errors);
    let unavailable = at.get("maxUnavailable");
    if unavailable.is_set() {
        int_or_percent(&unavailable, errors);
        if amount(unavailable.value) == 0 {
            unavailable.invalid(errors, "cannot be 0");
        }
        at_most_100_percent(&unavailable, errors);
    }
}

fn selector_and_template(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (selector, template) = (at.get("selector"), at.get("template"));
    match selector.is_set() {
        false => selector.required(errors, ""),
        true => {
            label_selector(&selector, errors);
            if selector_size(&selector) == 0 {
                let detail = "empty selector is invalid for statefulset";
                selector.invalid_raw(errors, &show_selector(selector.value), detail);
            }
        }
    }
    let everything = selector.is_set() && selector_size(&selector) == 0;
    if everything || selector_matches_template(&selector, &template, errors) {
        let whole = with_claims(template.value, at.get("volumeClaimTemplates").value);
        let checked = template.with(&whole);
        validate_template(&checked, errors);
        // Checked a second time upstream.
        let metadata = checked.get("metadata");
        label_map(&checked.get("labels").with(metadata.get("labels").value), errors);
        annotations(
            &checked.get("annotations").with(metadata.get("annotations").value),
            errors,
        );
    } else {
        let mut shown =
            corten_meta::field::Error::invalid(&selector.path(), Value::Null, show_selector(selector.value));
        shown.bad_value = None;
        errors.push(shown);
    }
    super::replicaset::always_running(&template, "StatefulSet", errors);
}

/// The template as its pods will be: claims give volumes; host name and subdomain come from the set.
fn with_claims(template: &Value, claims: &Value) -> Value {
    let mut whole = template.clone();
    let Some(spec) = whole.get_mut("spec").and_then(Value::as_object_mut) else {
        return whole;
    };
    spec.remove("subdomain");
    spec.remove("hostname");
    let claims = claims.as_array().map(Vec::as_slice).unwrap_or_default();
    if claims.is_empty() {
        return whole;
    }
    // Of claims with the same name one counts.
    let names: BTreeSet<&str> = claims.iter().map(object::name).collect();
    let mut volumes: Vec<Value> = names
        .iter()
        .map(|name| json!({"name": name, "persistentVolumeClaim": {"claimName": name}}))
        .collect();
    let own = spec
        .get("volumes")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    volumes.extend(
        own.into_iter()
            .filter(|volume| !names.contains(volume["name"].as_str().unwrap_or_default())),
    );
    spec.insert("volumes".to_owned(), Value::Array(volumes));
    whole
}

fn status(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let counts = [
        "replicas",
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
        "observedGeneration",
        "collisionCount",
    ];
    nonnegative_fields(at, &counts, errors);
    let parts = [
        "readyReplicas",
        "currentReplicas",
        "updatedReplicas",
        "availableReplicas",
    ];
    not_above(
        at,
        &parts,
        "replicas",
        "cannot be greater than status.replicas",
        errors,
    );
    let detail = "cannot be greater than status.readyReplicas";
    not_above(at, &["availableReplicas"], "readyReplicas", detail, errors);
    not_decremented(&at.get("collisionCount"), &old["collisionCount"], errors);
}

/// A recorded state of a DaemonSet or StatefulSet.
#[derive(Clone, Copy, Debug)]
pub struct ControllerRevisionStrategy;

impl Strategy for ControllerRevisionStrategy {
    fn prepare_for_create(&self, _ctx: &StrategyContext<'_>, _revision: &mut Value) {}

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, revision: &mut Value, old: &Value) {
        generic::prepare_for_update(ctx, revision, old);
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, revision: &Value) -> ErrorList {
        let mut errors = object_meta(revision, true, names::name_is_dns_subdomain);
        let root = At::root(revision);
        root.get("revision").nonnegative(&mut errors);
        let data = root.get("data");
        match data.value {
            Value::Null => data.required(&mut errors, "data is mandatory"),
            Value::Object(_) => {}
            _ => data.required(&mut errors, "data must be a valid JSON object"),
        }
        errors
    }

    fn validate_update(&self, _ctx: &StrategyContext<'_>, revision: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(revision, &mut errors);
        let root = At::root(revision);
        root.get("revision").nonnegative(&mut errors);
        let data = root.get("data");
        immutable(&data.path(), data.value, &old["data"], &mut errors);
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_without_bounds_is_warned_of() {
        let of = |limit: Value| history_warnings(&json!({"spec": {"revisionHistoryLimit": limit}})).len();
        assert_eq!((of(json!(-1)), of(json!(0)), of(Value::Null)), (1, 0, 0));
    }

    #[test]
    fn of_claims_with_one_name_one_counts() {
        let claim = json!({"metadata": {"name": "v"}});
        let template = json!({"spec": {"volumes": [{"name": "v"}, {"name": "w"}]}});
        let whole = with_claims(&template, &json!([claim, claim]));
        assert_eq!(whole["spec"]["volumes"].as_array().map(Vec::len), Some(2));
    }
}
