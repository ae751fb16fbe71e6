//! Containers of all three kinds.

use corten_meta::names;

use super::super::rules::{
    At, ErrorList, has_backsteps, local_descending_path, no_backsteps, port_number, required_label,
};
use super::spec::Scope;
use super::{env, probes, resources, security};

const RESTART_POLICIES: &[&str] = &["Always", "Never", "OnFailure"];
/// What ephemeral containers cannot have, in the order of upstream's struct.
const NOT_EPHEMERAL: &[&str] = &[
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// The lists of containers in a pod's spec.
pub(super) const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Calls `each` with init, regular and ephemeral containers, in this order.
pub(super) fn each(spec: &At<'_, '_>, each: &mut dyn FnMut(&At<'_, '_>)) {
    for kind in LISTS {
        spec.get(kind).items().for_each(|container| each(&container));
    }
}

pub(super) fn validate_all(spec: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    regular(&spec.get("containers"), scope, errors);
    init(spec, scope, errors);
    ephemeral(spec, scope, errors);
}

fn regular(containers: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    if containers.is_empty() {
        return containers.required(errors, "");
    }
    let mut names: Vec<&str> = Vec::new();
    for container in containers.items() {
        common(&container, scope, errors);
        unique_name(&container, &mut names, errors);
        probes::lifecycle(&container.get("lifecycle"), scope, errors);
        probes::validate_all(&container, scope, errors);
        restart_policy(&container, errors);
    }
    host_ports(containers.items(), errors);
}

fn init(spec: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let mut names: Vec<&str> = spec
        .get("containers")
        .items()
        .map(|c| c.get("name").str())
        .collect();
    for container in spec.get("initContainers").items() {
        common(&container, scope, errors);
        let policy = container.get("restartPolicy");
        if policy.is_set() || !container.get("restartPolicyRules").is_empty() {
            restart_policy(&container, errors);
        }
        unique_name(&container, &mut names, errors);
        host_ports(std::iter::once(container), errors);
        if policy.str() == "Always" {
            probes::lifecycle(&container.get("lifecycle"), scope, errors);
            probes::validate_all(&container, scope, errors);
        } else {
            not_a_sidecar(&container, errors);
        }
    }
}

fn not_a_sidecar(container: &At<'_, '_>, errors: &mut ErrorList) {
    for field in ["lifecycle", "livenessProbe", "readinessProbe", "startupProbe"] {
        let at = container.get(field);
        if at.is_set() {
            at.forbidden(
                errors,
                "may not be set for init containers without restartPolicy=Always",
            );
        }
    }
    for policy in container.get("resizePolicy").items() {
        let restart = policy.get("restartPolicy");
        if restart.str() == "RestartContainer" {
            let detail = "must not be set to 'RestartContainer' for non-sidecar initContainers";
            restart.invalid(errors, detail);
        }
    }
}

fn ephemeral(spec: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let name_of = |container: At<'_, '_>| {
        container
            .get("name")
            .value
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let mut others: Vec<String> = spec.get("containers").items().map(name_of).collect();
    others.extend(spec.get("initContainers").items().map(name_of));
    let mut names = others.clone();
    for container in spec.get("ephemeralContainers").items() {
        common(&container, scope, errors);
        only_for_pods(&container, errors);
        let name = container.get("name");
        if names.iter().any(|known| known == name.str()) {
            name.duplicate(errors);
        } else {
            names.push(name.str().to_owned());
        }
        let target = container.get("targetContainerName");
        if !target.is_empty() && !others.iter().any(|known| known == target.str()) {
            target.not_found(errors);
        }
        for field in NOT_EPHEMERAL {
            let at = container.get(field);
            if at.is_set() && !at.value.as_object().is_some_and(serde_json::Map::is_empty) {
                at.forbidden(errors, "cannot be set for an Ephemeral Container");
            }
        }
        for mount in container.get("volumeMounts").items() {
            for field in ["subPath", "subPathExpr"] {
                if !mount.get(field).is_empty() {
                    mount
                        .get(field)
                        .forbidden(errors, "cannot be set for an Ephemeral Container");
                }
            }
        }
    }
}

/// An image name in a pod that will run has no spaces around it.
pub(super) fn only_for_pods(container: &At<'_, '_>, errors: &mut ErrorList) {
    let image = container.get("image");
    if image.str().trim().len() != image.len() {
        image.invalid(errors, "must not have leading or trailing whitespace");
    }
}

fn unique_name<'v>(container: &At<'_, 'v>, names: &mut Vec<&'v str>, errors: &mut ErrorList) {
    let name = container.get("name");
    if names.contains(&name.str()) {
        name.duplicate(errors);
    } else {
        names.push(name.str());
    }
}

fn common(container: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    required_label(&container.get("name"), errors);
    container.get("image").nonempty(errors);
    container
        .get("terminationMessagePolicy")
        .one_of(errors, &["File", "FallbackToLogsOnError"]);
    ports(&container.get("ports"), errors);
    env::validate(&container.get("env"), errors);
    env::validate_from(&container.get("envFrom"), errors);
    mounts(container, scope, errors);
    devices(container, scope, errors);
    container
        .get("imagePullPolicy")
        .one_of(errors, &["Always", "IfNotPresent", "Never"]);
    resources::validate_container(&container.get("resources"), scope, errors);
    resize_policy(&container.get("resizePolicy"), scope, errors);
    security::validate_container(&container.get("securityContext"), scope, errors);
}

fn ports(ports: &At<'_, '_>, errors: &mut ErrorList) {
    let mut names: Vec<&str> = Vec::new();
    for port in ports.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let messages = names::is_port_name(name.str());
            if messages.is_empty() && names.contains(&name.str()) {
                name.duplicate(errors);
            } else if messages.is_empty() {
                names.push(name.str());
            }
            name.invalid_each(errors, messages);
        }
        let own = port.get("containerPort");
        match own.int().unwrap_or(0) {
            0 => own.required(errors, ""),
            _ => port_number(&own, errors),
        }
        if port.get("hostPort").int().unwrap_or(0) != 0 {
            port_number(&port.get("hostPort"), errors);
        }
        port.get("protocol").one_of(errors, &["SCTP", "TCP", "UDP"]);
    }
}

/// No port of the host twice.
fn host_ports<'p, 'v: 'p>(containers: impl Iterator<Item = At<'p, 'v>>, errors: &mut ErrorList) {
    let mut taken: Vec<String> = Vec::new();
    for container in containers {
        for port in container.get("ports").items() {
            let host = port.get("hostPort");
            let number = host.int().unwrap_or(0);
            if number == 0 {
                continue;
            }
            let key = format!(
                "{}/{}/{number}",
                port.get("protocol").str(),
                port.get("hostIP").str()
            );
            if taken.contains(&key) {
                host.duplicate_as(errors, key);
            } else {
                taken.push(key);
            }
        }
    }
}

/// Pairs of name and path, as mounts and devices are checked against each other.
fn pairs<'v>(list: &At<'_, 'v>, path: &str) -> Vec<(&'v str, &'v str)> {
    list.items()
        .map(|item| {
            (
                item.get("name").str(),
                item.value[path].as_str().unwrap_or_default(),
            )
        })
        .collect()
}

fn mounts(container: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let mounts = container.get("volumeMounts");
    let devices = pairs(&container.get("volumeDevices"), "devicePath");
    let mut paths: Vec<&str> = Vec::new();
    for mount in mounts.items() {
        let (name, path) = (mount.get("name"), mount.get("mountPath"));
        name.nonempty(errors);
        if !scope.volumes.iter().any(|(known, _)| *known == name.str()) {
            name.not_found(errors);
        }
        path.nonempty(errors);
        if paths.contains(&path.str()) {
            path.invalid(errors, "must be unique");
        }
        paths.push(path.str());
        if devices.iter().any(|(device, _)| *device == name.str()) {
            name.invalid(errors, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|(_, device)| *device == path.str()) {
            path.invalid(errors, "must not already exist as a path in volumeDevices");
        }
        mount_options(&mounts, &mount, container, errors);
    }
}

/// Upstream names the list in these errors, not the mount.
fn mount_options(mounts: &At<'_, '_>, mount: &At<'_, '_>, container: &At<'_, '_>, errors: &mut ErrorList) {
    let (sub_path, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
    if !sub_path.is_empty() {
        local_descending_path(&mounts.get("subPath").with(sub_path.value), errors);
    }
    if !expression.is_empty() {
        if !sub_path.is_empty() {
            expression.invalid(errors, "subPathExpr and subPath are mutually exclusive");
        }
        local_descending_path(&mounts.get("subPathExpr").with(expression.value), errors);
    }
    let propagation = mounts
        .get("mountPropagation")
        .with(mount.get("mountPropagation").value);
    propagation.one_of_if_set(errors, &["Bidirectional", "HostToContainer", "None"]);
    let context = container.get("securityContext");
    if propagation.str() == "Bidirectional" && !context.get("privileged").bool() {
        propagation.forbidden(
            errors,
            "Bidirectional mount propagation is available only to privileged containers",
        );
    }
    let recursive = mounts
        .get("recursiveReadOnly")
        .with(mount.get("recursiveReadOnly").value);
    match recursive.str() {
        "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !mount.get("readOnly").bool() {
                recursive.forbidden(errors, "may only be specified when readOnly is true");
            }
            if !matches!(propagation.str(), "" | "None") {
                let detail = "may only be specified when mountPropagation is None or not specified";
                recursive.forbidden(errors, detail);
            }
        }
        _ => recursive.one_of_if_set(errors, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn devices(container: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let mounts = pairs(&container.get("volumeMounts"), "mountPath");
    let (mut names, mut paths): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for device in container.get("volumeDevices").items() {
        let (name, path) = (device.get("name"), device.get("devicePath"));
        let volume = scope.volumes.iter().find(|(known, _)| *known == name.str());
        let is_claim = |source: &serde_json::Value| {
            source["persistentVolumeClaim"].is_object() || source["ephemeral"].is_object()
        };
        name.nonempty(errors);
        if names.contains(&name.str()) {
            name.invalid(errors, "must be unique");
        }
        match volume {
            None => name.not_found(errors),
            Some((_, source)) if !is_claim(source) => {
                let detail =
                    "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                name.invalid(errors, detail);
            }
            Some(_) => {}
        }
        path.nonempty(errors);
        if paths.contains(&path.str()) {
            path.invalid(errors, "must be unique");
        }
        match has_backsteps(path.str()) {
            true => path.invalid(errors, "can not contain backsteps ('..')"),
            false => paths.push(path.str()),
        }
        if mounts.iter().any(|(mount, _)| *mount == name.str()) {
            name.invalid(errors, "must not already exist in volumeMounts");
        }
        if mounts.iter().any(|(_, mount)| *mount == path.str()) {
            path.invalid(errors, "must not already exist as a path in volumeMounts");
        }
        names.push(name.str());
    }
}

/// Upstream names the list in most of these errors.
fn resize_policy(policies: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for policy in policies.items() {
        let (resource, restart) = (policy.get("resourceName"), policy.get("restartPolicy"));
        if seen.contains(&resource.str()) {
            policy.duplicate_as(errors, resource.str());
        }
        seen.push(resource.str());
        policies.with(resource.value).one_of(errors, &["cpu", "memory"]);
        policies
            .with(restart.value)
            .one_of(errors, &["NotRequired", "RestartContainer"]);
        if scope.restart_policy == "Never" && restart.str() != "NotRequired" {
            let detail = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            policies.with(restart.value).invalid(errors, detail);
        }
    }
}

fn restart_policy(container: &At<'_, '_>, errors: &mut ErrorList) {
    let (policy, rules) = (
        container.get("restartPolicy"),
        container.get("restartPolicyRules"),
    );
    if !policy.is_set() {
        if rules.is_empty() {
            return;
        }
        policy.required(errors, "must specify restartPolicy when restart rules are used");
    }
    policy.one_of_if_set(errors, RESTART_POLICIES);
    if rules.len() > 20 {
        rules.too_many(errors, 20);
    }
    for rule in rules.items() {
        let action = rule.get("action");
        if !["Restart", "RestartAllContainers"].contains(&action.str()) {
            action.not_supported(errors, &["Restart", "RestartAllContainers"]);
        }
        let codes = rule.get("exitCodes");
        if !codes.is_set() {
            codes.required(errors, "must be specified");
            continue;
        }
        if !["In", "NotIn"].contains(&codes.get("operator").str()) {
            codes.get("operator").not_supported(errors, &["In", "NotIn"]);
        }
        if codes.get("values").len() > 255 {
            codes.get("values").too_many(errors, 255);
        }
    }
}

/// A path within a volume that a file is read from.
pub(super) fn file_path(at: &At<'_, '_>, errors: &mut ErrorList) {
    match at.is_empty() {
        true => at.required(errors, ""),
        false => no_backsteps(at, errors),
    }
}
