//! Environment variables and where their values come from.

use corten_meta::names;

use super::super::rules::{At, ErrorList, dns_label, is_relaxed_env_name, nanos, show};
use super::containers::file_path;

const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
const VOLUME_FIELDS: &[&str] = &[
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];
/// Every field a downward API can name at all.
const POD_FIELDS: &[&str] = &["spec.restartPolicy", "spec.schedulerName", "status.phase"];
const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTE_DIVISORS: &[&str] = &[
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
];

pub(super) fn validate(list: &At<'_, '_>, errors: &mut ErrorList) {
    for env in list.items() {
        let name = env.get("name");
        match name.is_empty() {
            true => name.required(errors, ""),
            false => name.invalid_each(errors, is_relaxed_env_name(name.str())),
        }
        if env.get("valueFrom").is_set() {
            value_from(&env, errors);
        }
    }
}

fn value_from(env: &At<'_, '_>, errors: &mut ErrorList) {
    let from = env.get("valueFrom");
    let mut sources = 0;
    for kind in [
        "fieldRef",
        "resourceFieldRef",
        "configMapKeyRef",
        "secretKeyRef",
        "fileKeyRef",
    ] {
        let source = from.get(kind);
        if !source.is_set() {
            continue;
        }
        sources += 1;
        match kind {
            "fieldRef" => field_ref(&source, ENV_FIELDS, errors),
            "resourceFieldRef" => resource_ref(&source, false, errors),
            "fileKeyRef" => file_key(&source, errors),
            _ => object_key(&source, errors),
        }
    }
    let detail = match sources {
        0 => {
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
        }
        _ if !env.get("value").is_empty() => "may not be specified when `value` is not empty",
        1 => return,
        _ => "may not have more than one field specified at a time",
    };
    from.invalid_as(errors, "", detail);
}

/// A field of the pod itself.
fn field_ref(at: &At<'_, '_>, supported: &[&str], errors: &mut ErrorList) {
    let (version, path) = (at.get("apiVersion"), at.get("fieldPath"));
    for field in [&version, &path] {
        if field.is_empty() {
            return field.required(errors, "");
        }
    }
    let subscripted = split_subscript(path.str());
    if let Some(problem) = cannot_convert(version.str(), path.str(), subscripted) {
        return path.invalid(errors, &format!("error converting fieldPath: {problem}"));
    }
    let internal = if path.str() == "spec.host" {
        "spec.nodeName"
    } else {
        path.str()
    };
    match subscripted {
        Some(("metadata.annotations", key)) => subscript(at, &key.to_lowercase(), errors),
        Some((_, key)) => subscript(at, key, errors),
        None if supported.contains(&internal) => {}
        None => path.not_supported(errors, supported),
    }
}

fn subscript(at: &At<'_, '_>, key: &str, errors: &mut ErrorList) {
    for message in names::is_qualified_name(key) {
        at.invalid_as(errors, key, &message);
    }
}

/// `metadata.labels['key']` as path and key.
fn split_subscript(path: &str) -> Option<(&str, &str)> {
    let (path, key) = path.strip_suffix("']")?.split_once("['")?;
    (!path.is_empty()).then_some((path, key))
}

fn cannot_convert(version: &str, path: &str, subscripted: Option<(&str, &str)>) -> Option<String> {
    if version != "v1" {
        return Some(format!("unsupported pod version: {version}"));
    }
    match subscripted {
        Some(("metadata.annotations" | "metadata.labels", _)) => None,
        Some(_) => Some(format!("field label does not support subscript: {path}")),
        None => {
            let known = |list: &[&str]| list.contains(&path);
            let supported =
                known(ENV_FIELDS) || known(VOLUME_FIELDS) || known(POD_FIELDS) || path == "spec.host";
            (!supported).then(|| format!("field label not supported: {path}"))
        }
    }
}

/// A request or limit of a container.
fn resource_ref(at: &At<'_, '_>, in_volume: bool, errors: &mut ErrorList) {
    let (container, resource) = (at.get("containerName"), at.get("resource"));
    let huge = |text: &str| text.starts_with("requests.hugepages-") || text.starts_with("limits.hugepages-");
    if in_volume && container.is_empty() {
        container.required(errors, "");
    } else if resource.is_empty() {
        resource.required(errors, "");
    } else if !RESOURCES.contains(&resource.str()) && !huge(resource.str()) {
        resource.not_supported(errors, RESOURCES);
    }
    let divisor = at.get("divisor");
    if nanos(divisor.value) == 0 {
        return;
    }
    let shown = show(divisor.value);
    let bytes = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";
    let (supported, detail) = match resource.str() {
        "limits.cpu" | "requests.cpu" => (
            &["1m", "1"][..],
            "only divisor's values 1m and 1 are supported with the cpu resource".to_owned(),
        ),
        text => {
            let name = match text.split_once('.').map(|(_, name)| name) {
                Some("memory") => "memory",
                Some("ephemeral-storage") => "local ephemeral storage",
                _ if huge(text) => "hugepages",
                _ => return,
            };
            (
                BYTE_DIVISORS,
                format!("only divisor's values {bytes} are supported with the {name} resource"),
            )
        }
    };
    if !supported.contains(&shown.as_str()) {
        divisor.invalid_as(errors, resource.str(), &detail);
    }
}

/// A key of a ConfigMap or Secret.
fn object_key(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (name, key) = (at.get("name"), at.get("key"));
    for message in names::name_is_dns_subdomain(name.str(), false) {
        name.invalid_as(errors, name.str(), &message);
    }
    match key.is_empty() {
        true => key.required(errors, ""),
        false => key.invalid_each(errors, names::is_config_map_key(key.str())),
    }
}

fn file_key(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (key, volume) = (at.get("key"), at.get("volumeName"));
    match key.is_empty() {
        true => key.required(errors, ""),
        false => key.invalid_each(errors, is_relaxed_env_name(key.str())),
    }
    match volume.is_empty() {
        true => volume.required(errors, ""),
        false => dns_label(&volume, errors),
    }
    file_path(&at.get("path"), errors);
}

/// Whole ConfigMaps and Secrets. Upstream names the list when a source is missing or one too many.
pub(super) fn validate_from(list: &At<'_, '_>, errors: &mut ErrorList) {
    for from in list.items() {
        let prefix = from.get("prefix");
        if !prefix.is_empty() {
            prefix.invalid_each(errors, is_relaxed_env_name(prefix.str()));
        }
        let mut sources = 0;
        for kind in ["configMapRef", "secretRef"] {
            let source = from.get(kind);
            if source.is_set() {
                sources += 1;
                let name = source.get("name");
                match name.is_empty() {
                    true => name.required(errors, ""),
                    false => name.invalid_each(errors, names::name_is_dns_subdomain(name.str(), true)),
                }
            }
        }
        match sources {
            0 => list.invalid_as(errors, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => list.invalid_as(errors, "", "may not have more than one field specified at a time"),
        }
    }
}

/// A file of a downward API volume, at the place upstream names: the volume, not the item.
pub(super) fn downward_file(at: &At<'_, '_>, errors: &mut ErrorList) {
    let path = at.get("path");
    path.nonempty(errors);
    super::super::rules::local_path(&path, errors);
    let (field, resource) = (at.get("fieldRef"), at.get("resourceFieldRef"));
    if field.is_set() {
        field_ref(&field, VOLUME_FIELDS, errors);
        if resource.is_set() {
            at.invalid_as(
                errors,
                "resource",
                "fieldRef and resourceFieldRef can not be specified simultaneously",
            );
        }
    } else if resource.is_set() {
        resource_ref(&resource, true, errors);
    } else {
        at.required(errors, "one of fieldRef and resourceFieldRef is required");
    }
    super::super::rules::file_mode(&at.get("mode"), errors);
}
