//! Volume sources that pods and persistent volumes share, and the spec of a claim.

use corten_meta::names;
use serde_json::{Value, json};

use super::super::rules::{At, ErrorList, dns_label, label_selector, nanos, no_backsteps, show};

/// Each of `fields` is there.
pub(in crate::strategy) fn need(at: &At<'_, '_>, fields: &[&str], errors: &mut ErrorList) {
    for field in fields {
        at.get(field).nonempty(errors);
    }
}

/// A cloud disk with an optional partition.
pub(in crate::strategy) fn disk(at: &At<'_, '_>, id: &str, errors: &mut ErrorList) {
    at.get(id).nonempty(errors);
    let partition = at.get("partition");
    if partition.int().is_some_and(|number| !(0..=255).contains(&number)) {
        partition.invalid(errors, &names::inclusive_range_error(1, 255));
    }
}

pub(in crate::strategy) fn nfs(at: &At<'_, '_>, errors: &mut ErrorList) {
    need(at, &["server", "path"], errors);
    if !at.get("path").str().starts_with('/') {
        at.get("path")
            .invalid_as(errors, at.get("path").str(), "must be an absolute path");
    }
}

pub(in crate::strategy) fn iscsi(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("targetPortal").nonempty(errors);
    let iqn = at.get("iqn");
    match iqn.is_empty() {
        true => iqn.required(errors, ""),
        false => iscsi_name(&iqn, errors),
    }
    at.get("lun").within(errors, 0, 255);
    let authenticated = at.get("chapAuthDiscovery").bool() || at.get("chapAuthSession").bool();
    if authenticated && !at.get("secretRef").is_set() {
        at.get("secretRef").required(errors, "");
    }
    let initiator = at.get("initiatorName");
    if initiator.is_set() {
        iscsi_name(&at.get("initiatorname").with(initiator.value), errors);
    }
}

fn iscsi_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    let text = at.str();
    let alphanumeric =
        |text: &str, length: usize| text.len() == length && text.bytes().all(|c| c.is_ascii_alphanumeric());
    let valid = match text.get(..3) {
        Some("iqn") => is_iqn(text),
        Some("eui") => text.len() == 20 && alphanumeric(&text[4..], 16),
        Some("naa") => text.len() == 36 && alphanumeric(&text[4..], 32),
        _ => return at.invalid(errors, "must be valid format starting with iqn, eui, or naa"),
    };
    if !valid {
        at.invalid(errors, "must be valid format");
    }
}

/// `iqn.YYYY-MM.domain:name`.
fn is_iqn(text: &str) -> bool {
    let Some((head, name)) = text.split_once(':') else {
        return false;
    };
    let bytes = head.as_bytes();
    let digits = |range: std::ops::Range<usize>| {
        bytes
            .get(range)
            .is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let date = digits(4..8) && bytes.get(8) == Some(&b'-') && digits(9..11) && bytes.get(11) == Some(&b'.');
    let domain = bytes.get(12..).unwrap_or_default();
    let in_domain = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.');
    date && !domain.is_empty()
        && domain.iter().all(in_domain)
        && !name.is_empty()
        && !name.contains([',', ';', '*', '&', '$', '|', ' ', '\t', '\n'])
}

pub(in crate::strategy) fn flocker(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (name, uuid) = (at.get("datasetName"), at.get("datasetUUID"));
    match (name.is_empty(), uuid.is_empty()) {
        (true, true) => at.required(errors, "one of datasetName and datasetUUID is required"),
        (false, false) => {
            at.invalid_as(
                errors,
                "resource",
                "datasetName and datasetUUID can not be specified simultaneously",
            );
        }
        _ => {}
    }
    if name.str().contains('/') {
        name.invalid(errors, "must not contain '/'");
    }
}

pub(in crate::strategy) fn cinder(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("volumeID").nonempty(errors);
    if at.get("secretRef").is_set() {
        at.get("secretRef").get("name").nonempty(errors);
    }
}

pub(in crate::strategy) fn quobyte(at: &At<'_, '_>, errors: &mut ErrorList) {
    const PAIRS: &str = "must be a host:port pair or multiple pairs separated by commas";
    let registry = at.get("registry");
    if registry.is_empty() {
        registry.required(errors, PAIRS);
    } else if at.get("tenant").len() >= 65 {
        at.get("tenant").required(
            errors,
            "must be a UUID and may not exceed a length of 64 characters",
        );
    } else {
        for pair in registry.str().split(',') {
            let host_and_port = pair
                .rsplit_once(':')
                .filter(|(host, _)| !host.contains(':') || host.ends_with(']'));
            if host_and_port.is_none() {
                registry.invalid(errors, PAIRS);
            }
        }
    }
    at.get("volume").nonempty(errors);
}

pub(in crate::strategy) fn fc(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (names, ids, lun) = (at.get("targetWWNs"), at.get("wwids"), at.get("lun"));
    match (names.is_empty(), ids.is_empty()) {
        (true, true) => names.required(errors, "must specify either targetWWNs or wwids, but not both"),
        (false, false) => names.invalid(errors, "targetWWNs and wwids can not be specified simultaneously"),
        _ => {}
    }
    if !names.is_empty() {
        match lun.is_set() {
            false => lun.required(errors, "lun is required if targetWWNs is specified"),
            true => lun.within(errors, 0, 255),
        }
    }
}

pub(in crate::strategy) fn flex(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("driver").nonempty(errors);
    let options = at.get("options");
    for (key, _) in options.entries() {
        let namespace = format!(
            ".{}",
            key.split_once('/')
                .map_or(key, |(namespace, _)| namespace)
                .to_lowercase()
        );
        if namespace.ends_with(".kubernetes.io") || namespace.ends_with(".k8s.io") {
            options
                .key(key)
                .invalid_as(errors, key, "kubernetes.io and k8s.io namespaces are reserved");
        }
    }
}

pub(in crate::strategy) fn azure_disk(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (kind, uri) = (at.get("kind"), at.get("diskURI"));
    at.get("diskName").nonempty(errors);
    uri.nonempty(errors);
    at.get("cachingMode")
        .one_of_if_set(errors, &["None", "ReadOnly", "ReadWrite"]);
    kind.one_of_if_set(errors, &["Dedicated", "Managed", "Shared"]);
    if kind.str() == "Managed" && !uri.str().starts_with("/subscriptions/") {
        let form =
            "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}";
        uri.not_supported(errors, &[form]);
    }
    if kind.is_set() && kind.str() != "Managed" && !uri.str().starts_with("https://") {
        let form = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd";
        uri.not_supported(errors, &[form]);
    }
}

pub(in crate::strategy) fn storage_os(at: &At<'_, '_>, errors: &mut ErrorList) {
    super::super::rules::required_label(&at.get("volumeName"), errors);
    if !at.get("volumeNamespace").is_empty() {
        dns_label(&at.get("volumeNamespace"), errors);
    }
    if at.get("secretRef").is_set() {
        at.get("secretRef").get("name").nonempty(errors);
    }
}

pub(in crate::strategy) fn driver_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.is_empty() {
        return at.required(errors, "");
    }
    if at.len() > 63 {
        at.too_long(errors, 63);
    }
    at.invalid_each(errors, names::is_dns1123_subdomain(&at.str().to_lowercase()));
}

/// A path of one node.
pub(in crate::strategy) fn local(at: &At<'_, '_>, errors: &mut ErrorList) {
    let path = at.get("path");
    match path.is_empty() {
        true => path.required(errors, ""),
        false => no_backsteps(&path, errors),
    }
}

pub(in crate::strategy) const ACCESS_MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];

/// `ValidatePersistentVolumeClaimSpec`.
pub(in crate::strategy) fn claim_spec(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let modes = spec.get("accessModes");
    if modes.is_empty() {
        modes.required(errors, "at least 1 access mode is required");
    }
    label_selector(&spec.get("selector"), errors);
    access_modes(&modes, errors);
    let resources = spec.get("resources");
    // Upstream leaves `requests` out of the path.
    let storage = resources
        .key("storage")
        .with(resources.get("requests").key("storage").value);
    match storage.is_set() {
        false => storage.required(errors, ""),
        true if nanos(storage.value) <= 0 => {
            storage.invalid_as(errors, show(storage.value), "must be greater than zero");
        }
        true => {}
    }
    let class = spec.get("storageClassName");
    if !class.is_empty() {
        class.invalid_each(errors, names::name_is_dns_subdomain(class.str(), false));
    }
    spec.get("volumeMode")
        .one_of_if_set(errors, &["Block", "Filesystem"]);
    data_sources(spec, errors);
    let attributes = spec.get("volumeAttributesClassName");
    if !attributes.is_empty() {
        attributes.invalid_each(errors, names::name_is_dns_subdomain(attributes.str(), false));
    }
}

/// Known, and `ReadWriteOncePod` alone.
pub(in crate::strategy) fn access_modes(modes: &At<'_, '_>, errors: &mut ErrorList) {
    let (mut exclusive, mut others) = (false, false);
    for mode in modes.items() {
        match mode.str() {
            "ReadWriteOncePod" => exclusive = true,
            text if ACCESS_MODES.contains(&text) => others = true,
            text => {
                let error = corten_meta::field::Error::not_supported(&modes.path(), text, ACCESS_MODES);
                errors.push(error);
            }
        }
    }
    if exclusive && others {
        modes.forbidden(errors, "may not use ReadWriteOncePod with other access modes");
    }
}

fn data_sources(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for at in [&source, &reference].into_iter().filter(|at| at.is_set()) {
        data_source(at, errors);
    }
    if !reference.get("namespace").is_empty() {
        if source.is_set() {
            let detail = "may not be specified when dataSourceRef.namespace is specified";
            // Upstream shows a path there, which has no JSON form.
            spec.invalid_as(errors, json!({}), detail);
        }
    } else if source.is_set() && reference.is_set() && !same_source(source.value, reference.value) {
        spec.invalid_as(errors, json!({}), "must match dataSourceRef");
    }
}

fn same_source(source: &Value, reference: &Value) -> bool {
    ["apiGroup", "kind", "name"]
        .iter()
        .all(|field| source[*field] == reference[*field])
}

fn data_source(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.get("name").nonempty(errors);
    at.get("kind").nonempty(errors);
    let group = at.get("apiGroup");
    if group.is_empty() && at.get("kind").str() != "PersistentVolumeClaim" {
        let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
        at.invalid_as(errors, at.get("kind").str(), detail);
    }
    if !group.is_empty() {
        group.invalid_each(errors, names::is_dns1123_subdomain(group.str()));
    }
    let namespace = at.get("namespace");
    if !namespace.is_empty() {
        namespace.invalid_each(errors, names::name_is_dns_label(namespace.str(), false));
    }
}
