//! PodDisruptionBudgets.

use corten_meta::names::is_path_segment;

use super::super::rules::{
    At, ErrorList, at_most_100_percent, conditions, go_struct, int_or_percent, label_selector,
    nonnegative_fields,
};
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    name: is_path_segment,
    body,
    status: |at, _, errors| {
        let counts = [
            "disruptionsAllowed",
            "currentHealthy",
            "desiredHealthy",
            "expectedPods",
        ];
        let status = at.get("status");
        conditions(&status.get("conditions"), errors);
        nonnegative_fields(&status, &counts, errors);
    },
    metadata_twice: false,
    unconditional_update: false,
    metadata_whole: false,
    kube_finalizers: false,
    ..PLAIN
};

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let (min, max) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
    if min.is_set() && max.is_set() {
        let fields = [
            ("MinAvailable", "minAvailable"),
            ("Selector", "selector"),
            ("MaxUnavailable", "maxUnavailable"),
            ("UnhealthyPodEvictionPolicy", "unhealthyPodEvictionPolicy"),
        ];
        let detail = "minAvailable and maxUnavailable cannot be both set";
        spec.invalid_raw(errors, &go_struct(spec.value, &fields), detail);
    }
    for amount in [&min, &max].into_iter().filter(|amount| amount.is_set()) {
        int_or_percent(amount, errors);
        at_most_100_percent(amount, errors);
    }
    label_selector(&spec.get("selector"), errors);
    spec.get("unhealthyPodEvictionPolicy")
        .one_of_if_set(errors, &["AlwaysAllow", "IfHealthyBudget"]);
}
