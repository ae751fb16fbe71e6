//! Whom a container runs as and how its devices are, as a kubelet says it.

use serde_json::Value;

use super::super::super::rules::{At, ErrorList, user_or_group_id};

/// Statuses with the list of the spec they are of. Ephemeral containers are given no resources.
const LISTS: [(&str, Option<&str>); 3] = [
    ("containerStatuses", Some("containers")),
    ("initContainerStatuses", Some("initContainers")),
    ("ephemeralContainerStatuses", None),
];
/// Begins the name of a device that comes of a claim.
const CLAIM: &str = "claim:";
const HEALTH: &[&str] = &["Healthy", "Unhealthy", "Unknown"];

pub(super) fn validate(status: &At<'_, '_>, spec: &Value, errors: &mut ErrorList) {
    let windows = spec["os"]["name"] == "windows";
    for (list, _) in LISTS {
        for container in status.get(list).items() {
            user(&container.get("user").get("linux"), windows, errors);
        }
    }
    for (list, of) in LISTS {
        for container in status.get(list).items() {
            let devices = container.get("allocatedResourcesStatus");
            match of {
                Some(of) => allocated(&devices, of_name(spec, of, &container.value["name"]), errors),
                None if devices.is_empty() => {}
                None => devices.forbidden(errors, "must not be specified in container status"),
            }
        }
    }
}

fn user(at: &At<'_, '_>, windows: bool, errors: &mut ErrorList) {
    if !at.is_set() {
        return;
    }
    if windows {
        return at.forbidden(errors, "cannot be set for a windows pod");
    }
    user_or_group_id(&at.get("uid"), errors);
    user_or_group_id(&at.get("gid"), errors);
    for group in at.get("supplementalGroups").items() {
        user_or_group_id(&group, errors);
    }
}

fn of_name<'a>(spec: &'a Value, list: &str, name: &Value) -> Option<&'a Value> {
    let mut containers = spec[list].as_array().into_iter().flatten();
    containers.find(|container| container["name"] == *name)
}

/// Resources are those the container asks for; one the pod does not have may have any.
fn allocated(list: &At<'_, '_>, container: Option<&Value>, errors: &mut ErrorList) {
    for allocated in list.items() {
        let name = allocated.get("name");
        if let Some(detail) = container.and_then(|container| unasked(name.str(), &container["resources"])) {
            name.invalid_as(errors, name.str(), detail);
        }
        let mut seen: Vec<&str> = Vec::new();
        for device in allocated.get("resources").items() {
            let (health, id) = (device.get("health"), device.get("resourceID"));
            if !HEALTH.contains(&health.str()) {
                health.not_supported(errors, HEALTH);
            }
            if seen.contains(&id.str()) {
                id.duplicate_as(errors, id.str());
            }
            seen.push(id.str());
        }
    }
}

/// What is wrong with a name that the container does not ask for.
fn unasked(name: &str, resources: &Value) -> Option<&'static str> {
    if !name.starts_with(CLAIM) {
        let asked = resources["requests"].get(name).is_some();
        return (!asked).then_some("must match one of the container's resource requests");
    }
    let claim_name = |claim: &Value| {
        let (name, request) = (claim["name"].as_str(), claim["request"].as_str());
        let request = request.filter(|request| !request.is_empty());
        let request = request.map(|request| format!("/{request}"));
        format!(
            "{CLAIM}{}{}",
            name.unwrap_or_default(),
            request.unwrap_or_default()
        )
    };
    let mut claims = resources["claims"].as_array().into_iter().flatten();
    let asked = claims.any(|claim| claim_name(claim) == name);
    (!asked).then_some(
        "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or \
         'claim:<claimName>' if request is empty",
    )
}
