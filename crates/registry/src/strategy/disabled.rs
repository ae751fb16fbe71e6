//! Fields behind feature gates that are off: nobody can set them, who has them keeps them.

use serde_json::Value;

use crate::resource::ResourceInfo;

/// `(group, plural, where, field)`.
const FIELDS: [(&str, &str, &str, &str); 10] = [
    ("", "pods", "/spec", GROUP),
    ("", "podtemplates", "/template/spec", GROUP),
    ("", "replicationcontrollers", TEMPLATE, GROUP),
    ("apps", "daemonsets", TEMPLATE, GROUP),
    ("apps", "deployments", TEMPLATE, GROUP),
    ("apps", "replicasets", TEMPLATE, GROUP),
    ("apps", "statefulsets", TEMPLATE, GROUP),
    ("batch", "jobs", TEMPLATE, GROUP),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template/spec", GROUP),
    (
        "apps",
        "statefulsets",
        "/spec/updateStrategy/rollingUpdate",
        "maxUnavailable",
    ),
];
const TEMPLATE: &str = "/spec/template/spec";
/// GenericWorkload.
const GROUP: &str = "schedulingGroup";

pub(super) fn drop(resource: &ResourceInfo, object: &mut Value, old: &Value) {
    for (group, plural, place, field) in FIELDS {
        if *resource.group != *group || *resource.plural != *plural {
            continue;
        }
        let had = old
            .pointer(place)
            .is_some_and(|parent| parent.get(field).is_some());
        if let Some(parent) = object
            .pointer_mut(place)
            .and_then(Value::as_object_mut)
            .filter(|_| !had)
        {
            parent.remove(field);
        }
    }
}
