//! Roles and their bindings. Whether the writer may grant what they grant is asked before, by the server.

use corten_meta::names::{self, is_path_segment};
use serde_json::Value;

use super::super::rules::{At, ErrorList, label_selector};
use super::references::segment;
use super::{PLAIN, Rules};

const GROUP: &str = "rbac.authorization.k8s.io";
const BASE: Rules = Rules {
    name: is_path_segment,
    create_on_update: true,
    ..PLAIN
};

pub(super) const ROLE: Rules = Rules {
    body: |at, errors| rules(at, true, errors),
    ..BASE
};
pub(super) const CLUSTER_ROLE: Rules = Rules {
    body: cluster_role,
    ..BASE
};
pub(super) const ROLE_BINDING: Rules = Rules {
    body: |at, errors| binding(at, &["Role", "ClusterRole"], true, errors),
    change,
    ..BASE
};
pub(super) const CLUSTER_ROLE_BINDING: Rules = Rules {
    body: |at, errors| binding(at, &["ClusterRole"], false, errors),
    change,
    ..BASE
};

fn cluster_role(at: &At<'_, '_>, errors: &mut ErrorList) {
    rules(at, false, errors);
    let aggregation = at.get("aggregationRule");
    if !aggregation.is_set() {
        return;
    }
    let selectors = aggregation.get("clusterRoleSelectors");
    if selectors.is_empty() {
        let detail = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        selectors.required(errors, detail);
    }
    for selector in selectors.items() {
        label_selector(&selector, errors);
        if corten_meta::labels::Selector::from_label_selector(selector.value).is_err() {
            selector.invalid_as(errors, Value::Null, "invalid label selector.");
        }
    }
}

fn rules(at: &At<'_, '_>, namespaced: bool, errors: &mut ErrorList) {
    for rule in at.get("rules").items() {
        if rule.get("verbs").is_empty() {
            rule.get("verbs")
                .required(errors, "verbs must contain at least one value");
        }
        let paths = rule.get("nonResourceURLs");
        let about_resources = ["apiGroups", "resources", "resourceNames"];
        if !paths.is_empty() {
            if namespaced {
                paths.invalid(errors, "namespaced rules cannot apply to non-resource URLs");
            }
            if about_resources.iter().any(|field| !rule.get(field).is_empty()) {
                paths.invalid(
                    errors,
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if rule.get(field).is_empty() {
                let detail = format!("resource rules must supply at least one {what}");
                rule.get(field).required(errors, &detail);
            }
        }
    }
}

fn binding(at: &At<'_, '_>, kinds: &[&str], namespaced: bool, errors: &mut ErrorList) {
    let role = at.get("roleRef");
    if role.get("apiGroup").str() != GROUP {
        role.get("apiGroup").not_supported(errors, &[GROUP]);
    }
    if !kinds.contains(&role.get("kind").str()) {
        role.get("kind").not_supported(errors, kinds);
    }
    segment(&role.get("name"), errors);
    for subject in at.get("subjects").items() {
        subject_rules(&subject, namespaced, errors);
    }
}

fn subject_rules(at: &At<'_, '_>, namespaced: bool, errors: &mut ErrorList) {
    let (name, group) = (at.get("name"), at.get("apiGroup"));
    name.nonempty(errors);
    match at.get("kind").str() {
        "ServiceAccount" => {
            if !name.is_empty() {
                name.invalid_each(errors, names::name_is_dns_subdomain(name.str(), false));
            }
            if !group.is_empty() {
                group.not_supported(errors, &[""]);
            }
            if !namespaced {
                at.get("namespace").nonempty(errors);
            }
        }
        "User" | "Group" => {
            if group.str() != GROUP {
                group.not_supported(errors, &[GROUP]);
            }
        }
        _ => at
            .get("kind")
            .not_supported(errors, &["ServiceAccount", "User", "Group"]),
    }
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let role = at.get("roleRef");
    if *role.value != old["roleRef"] {
        let fields = [("APIGroup", "apiGroup"), ("Kind", "kind"), ("Name", "name")];
        role.invalid_raw(
            errors,
            &super::super::rules::go_struct(role.value, &fields),
            "cannot change roleRef",
        );
    }
}
