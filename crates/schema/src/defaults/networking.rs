//! networking.k8s.io/v1, discovery.k8s.io/v1, rbac.authorization.k8s.io/v1 and flowcontrol.apiserver.k8s.io/v1.

use serde_json::{Value, json};

use super::{Entry, Members, child, list_is_empty, set, set_absent, set_empty, set_zero, text};

const NETWORKING: &str = "api/networking/v1";
const RBAC: &str = "api/rbac/v1";
const FLOW: &str = "api/flowcontrol/v1";
const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

pub(super) const HOOKS: &[Entry] = &[
    (NETWORKING, "NetworkPolicyPort", policy_port),
    (NETWORKING, "NetworkPolicy", network_policy),
    (NETWORKING, "IngressClass", ingress_class),
    ("api/discovery/v1", "EndpointPort", endpoint_port),
    (RBAC, "ClusterRoleBinding", binding),
    (RBAC, "RoleBinding", binding),
    (RBAC, "Subject", subject),
    (FLOW, "FlowSchemaSpec", flow_schema),
    (FLOW, "ExemptPriorityLevelConfiguration", exempt_level),
    (FLOW, "LimitedPriorityLevelConfiguration", limited_level),
    (FLOW, "QueuingConfiguration", queuing),
];

fn policy_port(port: &mut Members) {
    set_absent(port, "protocol", "TCP");
}

fn network_policy(obj: &mut Members) {
    let spec = child(obj, "spec");
    if list_is_empty(spec, "policyTypes") {
        let egress = !list_is_empty(spec, "egress");
        set(
            spec,
            "policyTypes",
            if egress {
                json!(["Ingress", "Egress"])
            } else {
                json!(["Ingress"])
            },
        );
    }
}

fn ingress_class(obj: &mut Members) {
    if let Some(Value::Object(parameters)) = child(obj, "spec").get_mut("parameters") {
        set_absent(parameters, "scope", "Cluster");
    }
}

fn endpoint_port(port: &mut Members) {
    set_absent(port, "name", "");
    set_absent(port, "protocol", "TCP");
}

fn binding(obj: &mut Members) {
    set_empty(child(obj, "roleRef"), "apiGroup", RBAC_GROUP);
}

fn subject(subject: &mut Members) {
    if matches!(text(subject, "kind"), "User" | "Group") {
        set_absent(subject, "apiGroup", RBAC_GROUP);
    }
}

fn flow_schema(spec: &mut Members) {
    set_zero(spec, "matchingPrecedence", 1000);
}

fn exempt_level(level: &mut Members) {
    set_absent(level, "nominalConcurrencyShares", 0);
    set_absent(level, "lendablePercent", 0);
}

fn limited_level(level: &mut Members) {
    set_absent(level, "nominalConcurrencyShares", 30);
    set_absent(level, "lendablePercent", 0);
}

fn queuing(config: &mut Members) {
    set_zero(config, "handSize", 8);
    set_zero(config, "queues", 64);
    set_zero(config, "queueLengthLimit", 50);
}
