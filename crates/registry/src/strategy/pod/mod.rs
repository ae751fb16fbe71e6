//! Pods (`pkg/registry/core/pod/strategy.go`, `pkg/apis/core/validation`).

pub(in crate::strategy) mod affinity;
mod annotations;
mod containers;
mod env;
mod prepare;
mod probes;
mod projected;
mod qos;
mod resize;
pub(in crate::strategy) mod resources;
pub(in crate::strategy) mod scheduling;
mod security;
pub(in crate::strategy) mod spec;
mod status;
pub(in crate::strategy) mod storage;
mod template;
mod update;
pub(in crate::strategy) mod volumes;
pub(in crate::strategy) mod warnings;
mod windows;

pub(in crate::strategy) use template::validate as validate_template;

use corten_meta::{names, object};
use serde_json::{Value, json};

use super::rules::{At, ErrorList, object_meta, object_meta_update};
use super::{Strategy, StrategyContext, generic};
use crate::resource::Subresource;

/// Marks the API's copy of a pod that a kubelet runs from a file.
const MIRROR: &str = "kubernetes.io/config.mirror";
/// What upstream prints for a path without a name.
const NOWHERE: &str = "[]";

/// Fields pods can be selected by, as upstream's `ToSelectableFields`.
const FIELDS: [&str; 9] = [
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.podIPs",
    "status.nominatedNodeName",
];

#[derive(Clone, Copy, Debug)]
pub struct PodStrategy;

impl Strategy for PodStrategy {
    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, pod: &mut Value) {
        generic::prepare_for_create(ctx, pod);
        pod["status"] = json!({"phase": "Pending", "qosClass": qos::class(&pod["spec"])});
        prepare::scheduling_gated(pod, &ctx.write.now_text());
        prepare::merge_label_keys(pod);
        prepare::app_armor_fields(ctx, pod);
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, pod: &Value) -> ErrorList {
        validate_create(pod)
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, pod: &Value) -> Vec<String> {
        warnings::of_pod(pod)
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, pod: &mut Value, old: &Value) {
        match ctx.subresource {
            Subresource::STATUS => prepare::status_update(pod, old),
            Subresource::EPHEMERAL_CONTAINERS => prepare::ephemeral_update(ctx, pod, old),
            Subresource::RESIZE => prepare::resize_update(ctx, pod, old),
            // The node comes from the binding; nothing else does.
            Subresource::BINDING => {}
            _ => generic::prepare_for_update(ctx, pod, old),
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, pod: &Value, old: &Value) -> ErrorList {
        match ctx.subresource {
            Subresource::STATUS => status::validate_update(pod, old),
            Subresource::EPHEMERAL_CONTAINERS => update::validate_ephemeral(pod, old),
            Subresource::RESIZE => resize::validate(pod, old),
            Subresource::BINDING => ErrorList::new(),
            _ => update::validate(pod, old),
        }
    }

    /// Pods are updated often, and not by people.
    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, pod: &Value, _old: &Value) -> Vec<String> {
        match ctx.subresource {
            Subresource::STATUS => warnings::of_status(pod),
            _ => Vec::new(),
        }
    }

    fn graceful_delete(
        &self,
        _ctx: &StrategyContext<'_>,
        pod: &Value,
        requested: Option<i64>,
    ) -> Option<i64> {
        let by_default = || pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(0);
        let unscheduled = object::str_at(pod, &["spec", "nodeName"]).is_empty();
        let finished = matches!(object::str_at(pod, &["status", "phase"]), "Failed" | "Succeeded");
        let period = if unscheduled || finished {
            0
        } else {
            requested.unwrap_or_else(by_default)
        };
        Some(if period < 0 { 1 } else { period })
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &FIELDS
    }

    fn field_values(&self, pod: &Value) -> Vec<String> {
        FIELDS.iter().map(|field| field_value(pod, field)).collect()
    }

    fn indexed_field(&self) -> Option<&'static str> {
        Some("spec.nodeName")
    }
}

fn field_value(pod: &Value, field: &str) -> String {
    match field {
        "spec.hostNetwork" => pod["spec"]["hostNetwork"].as_bool().unwrap_or(false).to_string(),
        "status.podIP" => pod["status"]["podIPs"][0]["ip"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        "status.podIPs" => {
            let ips = pod["status"]["podIPs"].as_array().into_iter().flatten();
            ips.filter_map(|ip| ip["ip"].as_str())
                .collect::<Vec<_>>()
                .join(",")
        }
        field => {
            let (part, name) = field.split_once('.').unwrap_or((field, ""));
            object::str_at(pod, &[part, name]).to_owned()
        }
    }
}

/// `ValidatePodCreate`.
fn validate_create(pod: &Value) -> ErrorList {
    let mut errors = metadata_and_spec(pod);
    let root = At::root(pod);
    let spec = root.get("spec");
    if !spec.get("ephemeralContainers").is_empty() {
        spec.get("ephemeralContainers")
            .forbidden(&mut errors, "cannot be set on create");
    }
    if !spec.get("nodeName").is_empty() && !spec.get("schedulingGates").is_empty() {
        let detail = "cannot be set until all schedulingGates have been cleared";
        spec.get("nodeName").forbidden(&mut errors, detail);
    }
    let metadata = root.get("metadata");
    annotations::match_fields(&metadata.get("annotations"), &spec, &mut errors);
    errors
}

/// `validatePodMetadataAndSpec`.
fn metadata_and_spec(pod: &Value) -> ErrorList {
    let mut errors = object_meta(pod, true, names::name_is_dns_subdomain);
    errors.extend(spec_only(pod).into_vec());
    errors
}

/// The same without the rules of metadata that hold for every kind, which updates are checked against anyway.
fn spec_only_update(pod: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    object_meta_update(pod, &mut errors);
    errors.extend(spec_only(pod).into_vec());
    errors
}

fn spec_only(pod: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    let root = At::root(pod);
    let (metadata, spec) = (root.get("metadata"), root.get("spec"));
    let context = spec::Context {
        is_pod: true,
        name: object::name(pod),
        is_mirror: object::annotation(pod, MIRROR).is_some(),
    };
    annotations::validate(&metadata.get("annotations"), &spec, &mut errors);
    spec::validate(&spec, context, &mut errors);
    tokens_need_an_account(&spec, &mut errors);
    for kind in ["containers", "initContainers"] {
        for container in spec.get(kind).items() {
            containers::only_for_pods(&container, &mut errors);
        }
    }
    errors
}

fn tokens_need_an_account(spec: &At<'_, '_>, errors: &mut ErrorList) {
    if !spec.get("serviceAccountName").is_empty() {
        return;
    }
    for volume in spec.get("volumes").items() {
        for source in volume.get("projected").get("sources").items() {
            let token = source.get("serviceAccountToken");
            if token.is_set() {
                token.forbidden(errors, "must not be specified when serviceAccountName is not set");
            }
        }
    }
}
