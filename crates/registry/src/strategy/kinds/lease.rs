//! Leases.

use serde_json::Value;

use super::super::StrategyContext;
use super::super::rules::{At, ErrorList};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    prepare,
    prepare_update: |ctx, lease, _| prepare(ctx, lease),
    body,
    create_on_update: true,
    unconditional_update: false,
    metadata_whole: false,
    kube_finalizers: false,
    ..PLAIN
};

/// Leaders that are chosen by the server are not there by default.
fn prepare(_: &StrategyContext<'_>, lease: &mut Value) {
    if let Some(spec) = lease["spec"].as_object_mut() {
        spec.remove("strategy");
        spec.remove("preferredHolder");
    }
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let duration = spec.get("leaseDurationSeconds");
    if duration.int().is_some_and(|seconds| seconds <= 0) {
        duration.invalid(errors, "must be greater than 0");
    }
    spec.get("leaseTransitions").nonnegative(errors);
}
