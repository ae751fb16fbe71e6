//! PersistentVolumes.

use serde_json::{Value, json};

use super::super::StrategyContext;
use super::super::pod::affinity::node_selector;
use super::super::pod::warnings::{annotation, plugin};
use super::super::pod::{storage, volumes};
use super::super::rules::{
    At, ErrorList, dns_label, dns_subdomain, expression_warnings, nanos, quantity_of, show,
};
use super::claim::{CLASS_ANNOTATION, CLASS_DETAIL};
use super::references::same_at;
use super::{PLAIN, Rules};
use crate::resource::Subresource;

pub(super) const RULES: Rules = Rules {
    prepare,
    prepare_update,
    body,
    change,
    warnings: |volume, _| warnings(volume),
    ..PLAIN
};

const MOUNT_OPTIONS: &str = "volume.beta.kubernetes.io/mount-options";
const MOUNT_OPTIONS_DETAIL: &str = "deprecated since v1.31; use \"mountOptions\" attribute instead";
/// Kinds of volumes that no longer work, in upstream's order.
const OLD_SOURCES: [&str; 6] = [
    "cephfs",
    "photonPersistentDisk",
    "scaleIO",
    "storageos",
    "glusterfs",
    "rbd",
];

fn warnings(volume: &Value) -> Vec<String> {
    let at = At::root(volume);
    let metadata = at.get("metadata");
    let annotations = metadata.get("annotations");
    let mut warnings = Vec::from_iter(annotation(&annotations, CLASS_ANNOTATION, CLASS_DETAIL));
    warnings.extend(annotation(&annotations, MOUNT_OPTIONS, MOUNT_OPTIONS_DETAIL));
    let spec = at.get("spec");
    let policy = spec.get("persistentVolumeReclaimPolicy");
    if policy.str() == "Recycle" {
        warnings.push(format!(
            "{}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
            policy.path()
        ));
    }
    let (affinity, terms) = (spec.get("nodeAffinity"), "nodeSelectorTerms");
    let required = affinity.get("required");
    let terms = required.get(terms);
    warnings.extend(terms.items().flat_map(|term| expression_warnings(&term, false)));
    warnings.extend(OLD_SOURCES.iter().filter_map(|source| plugin(&spec, source)));
    warnings
}

fn prepare(ctx: &StrategyContext<'_>, volume: &mut Value) {
    volume["status"] = json!({"phase": "Pending", "lastPhaseTransitionTime": ctx.write.now_text()});
}

/// A change of phase is noted with its time, unless the writer gave one.
fn prepare_update(ctx: &StrategyContext<'_>, volume: &mut Value, old: &Value) {
    const TIME: &str = "lastPhaseTransitionTime";
    if ctx.subresource != Subresource::STATUS {
        return;
    }
    let (before, same) = (
        &old["status"][TIME],
        old["status"]["phase"] == volume["status"]["phase"],
    );
    let given = volume["status"][TIME].clone();
    if same && given.is_null() && !before.is_null() {
        volume["status"][TIME] = before.clone();
    } else if !same && (given.is_null() || given == *before) {
        volume["status"][TIME] = ctx.write.now_text().into();
    }
}

type Check = fn(&At<'_, '_>, &str, &mut ErrorList);

/// Field, what it is called when it is wrong, what it is called when it is one too many, what must hold.
const SOURCES: &[(&str, &str, &str, Check)] = &[
    ("hostPath", "hostPath", "hostPath", |at, _, errors| {
        volumes::host_path(at, errors)
    }),
    (
        "gcePersistentDisk",
        "persistentDisk",
        "gcePersistentDisk",
        |at, _, errors| storage::disk(at, "pdName", errors),
    ),
    (
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        "awsElasticBlockStore",
        |at, _, errors| {
            storage::disk(at, "volumeID", errors);
        },
    ),
    ("glusterfs", "glusterfs", "glusterfs", |at, _, errors| {
        glusterfs(at, errors)
    }),
    ("flocker", "flocker", "flocker", |at, _, errors| {
        storage::flocker(at, errors)
    }),
    ("nfs", "nfs", "nfs", |at, _, errors| storage::nfs(at, errors)),
    ("rbd", "rbd", "rbd", |at, _, errors| {
        storage::need(at, &["monitors", "image"], errors)
    }),
    ("quobyte", "quobyte", "quobyte", |at, _, errors| {
        storage::quobyte(at, errors)
    }),
    ("cephfs", "cephfs", "cephFS", |at, _, errors| {
        storage::need(at, &["monitors"], errors)
    }),
    ("iscsi", "iscsi", "iscsi", iscsi),
    ("cinder", "cinder", "cinder", |at, _, errors| {
        storage::cinder(at, errors);
        secret_namespace(at, errors);
    }),
    ("fc", "fc", "fc", |at, _, errors| storage::fc(at, errors)),
    ("flexVolume", "flexVolume", "flexVolume", |at, _, errors| {
        storage::flex(at, errors)
    }),
    ("azureFile", "azureFile", "azureFile", |at, _, errors| {
        storage::need(at, &["secretName", "shareName"], errors);
        if at.get("secretNamespace").is_set() {
            at.get("secretNamespace").nonempty(errors);
        }
    }),
    (
        "vsphereVolume",
        "vsphereVolume",
        "vsphereVolume",
        |at, _, errors| storage::need(at, &["volumePath"], errors),
    ),
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "photonPersistentDisk",
        |at, _, errors| {
            storage::need(at, &["pdID"], errors);
        },
    ),
    (
        "portworxVolume",
        "portworxVolume",
        "portworxVolume",
        |at, _, errors| storage::need(at, &["volumeID"], errors),
    ),
    ("azureDisk", "azureDisk", "azureDisk", |at, _, errors| {
        storage::azure_disk(at, errors)
    }),
    ("scaleIO", "scaleIO", "scaleIO", |at, _, errors| {
        storage::need(at, &["gateway", "system", "volumeName"], errors);
    }),
    ("local", "local", "local", |at, _, errors| {
        storage::local(at, errors)
    }),
    ("storageos", "storageos", "storageos", |at, _, errors| {
        storage::storage_os(at, errors);
        secret_namespace(at, errors);
    }),
    ("csi", "csi", "csi", |at, _, errors| csi(at, errors)),
];
/// Kinds of volume that take no mount options.
const WITHOUT_OPTIONS: [&str; 8] = [
    "hostPath",
    "flocker",
    "fc",
    "flexVolume",
    "portworxVolume",
    "scaleIO",
    "local",
    "storageos",
];

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    spec(&at.get("spec"), at.get("metadata").get("name").str(), errors);
    let metadata = at.get("metadata");
    let annotations = metadata.get("annotations");
    let spec = at.get("spec");
    let options = annotations.get(MOUNT_OPTIONS);
    let takes = SOURCES
        .iter()
        .any(|(field, ..)| spec.get(field).is_set() && !WITHOUT_OPTIONS.contains(field) && *field != "csi");
    if options.is_set() && !takes {
        options.forbidden(errors, "may not specify mount options for this volume type");
    }
}

fn spec(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    access_modes(&at.get("accessModes"), errors);
    capacity(&at.get("capacity"), errors);
    let policy = at.get("persistentVolumeReclaimPolicy");
    if !policy.is_empty() {
        policy.one_of_if_set(errors, &["Delete", "Recycle", "Retain"]);
    }
    let affinity = at.get("nodeAffinity");
    if affinity.is_set() {
        match affinity.get("required") {
            required if required.is_set() => node_selector(&required, true, errors),
            required => required.required(errors, "must specify required node constraints"),
        }
    }
    sources(at, name, errors);
    if at.get("hostPath").is_set()
        && is_root(at.get("hostPath").get("path").str())
        && policy.str() == "Recycle"
    {
        policy.forbidden(errors, "may not be 'recycle' for a hostPath mount of '/'");
    }
    let class = at.get("storageClassName");
    if !class.is_empty() {
        dns_subdomain(&class, errors);
    }
    at.get("volumeMode")
        .one_of_if_set(errors, &["Block", "Filesystem"]);
    let attributes = at.get("volumeAttributesClassName");
    if attributes.is_set() {
        match attributes.is_empty() {
            true => attributes.required(errors, "an empty string is disallowed"),
            false => dns_subdomain(&attributes, errors),
        }
        if !at.get("csi").is_set() {
            at.get("csi")
                .required(errors, "has to be specified when using volumeAttributesClassName");
        }
    }
}

fn is_root(path: &str) -> bool {
    path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."))
}

fn access_modes(modes: &At<'_, '_>, errors: &mut ErrorList) {
    if modes.is_empty() {
        return modes.required(errors, "");
    }
    storage::access_modes(modes, errors);
}

fn capacity(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.nonempty(errors);
    if !at.key("storage").is_set() || at.len() > 1 {
        let shown = if at.is_set() {
            at.value.to_string()
        } else {
            "null".to_owned()
        };
        at.not_supported_raw(errors, &shown, &["storage"]);
    }
    for (name, value) in at.entries() {
        let at = at.key(name);
        if quantity_of(value).value() < 0 {
            at.invalid_as(
                errors,
                quantity_of(value).value(),
                "must be a valid resource quantity",
            );
        }
        if nanos(value) <= 0 {
            at.invalid_as(errors, show(value), "must be greater than zero");
        }
    }
}

fn sources(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    let mut first = None;
    for (field, shown, second, check) in SOURCES {
        let source = at.get(field);
        if !source.is_set() {
            continue;
        }
        // Upstream counts this one, but never as one too many.
        if first.is_some() && *field != "flexVolume" {
            at.get(second)
                .forbidden(errors, "may not specify more than 1 volume type");
            continue;
        }
        first = first.or(Some(*field));
        check(&at.get(shown).with(source.value), name, errors);
    }
    match first {
        None => at.required(errors, "must specify a volume type"),
        Some("local") if !at.get("nodeAffinity").is_set() => {
            at.get("nodeAffinity")
                .required(errors, "Local volume requires node affinity");
        }
        Some(_) => {}
    }
}

fn glusterfs(at: &At<'_, '_>, errors: &mut ErrorList) {
    storage::need(at, &["endpoints", "path"], errors);
    let namespace = at.get("endpointsNamespace");
    if namespace.is_set() {
        match namespace.is_empty() {
            true => {
                let detail = "if the endpointnamespace is set, it must be a valid namespace name";
                namespace.invalid(errors, detail);
            }
            false => dns_label(&namespace, errors),
        }
    }
}

fn iscsi(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    storage::iscsi(at, errors);
    let portal = at.get("targetPortal").str();
    if at.get("initiatorName").is_set() && name.len() + 1 + portal.len() > 64 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
        at.get("targetportal").invalid_as(errors, portal, detail);
    }
    if at.get("secretRef").is_set() {
        at.get("secretRef").get("name").nonempty(errors);
    }
}

fn secret_namespace(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.get("secretRef").is_set() {
        at.get("secretRef").get("namespace").nonempty(errors);
    }
}

fn csi(at: &At<'_, '_>, errors: &mut ErrorList) {
    storage::driver_name(&at.get("driver"), errors);
    at.get("volumeHandle").nonempty(errors);
    for field in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ] {
        let reference = at.get(field);
        if !reference.is_set() {
            continue;
        }
        let (name, namespace) = (reference.get("name"), reference.get("namespace"));
        if name.is_empty() {
            name.required(errors, "")
        } else {
            dns_subdomain(&name, errors)
        }
        if namespace.is_empty() {
            namespace.required(errors, "")
        } else {
            dns_label(&namespace, errors)
        }
    }
}

fn change(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let before = &old["spec"];
    let changed = |(field, ..): &&(&str, &str, &str, Check)| {
        let mut new = spec.get(field).value.clone();
        let expand = "controllerExpandSecretRef";
        if *field == "csi" && before["csi"][expand].is_null() && before["csi"].is_object() {
            new.as_object_mut().map(|csi| csi.remove(expand));
        }
        new != before[*field]
    };
    if SOURCES.iter().any(|source| changed(&source)) {
        let detail = "spec.persistentvolumesource is immutable after creation\n";
        spec.get("persistentvolumesource").forbidden(errors, detail);
    }
    same_at(
        "volumeMode",
        &spec.get("volumeMode"),
        &before["volumeMode"],
        errors,
    );
    let affinity = spec.get("nodeAffinity");
    if !before["nodeAffinity"].is_null() && *affinity.value != before["nodeAffinity"] {
        let place = at.get("nodeAffinity");
        let detail = "field is immutable, except for updating from beta label to GA";
        place.invalid_as(errors, affinity.value.clone(), detail);
    }
    let attributes = spec.get("volumeAttributesClassName");
    if !before["volumeAttributesClassName"].is_null() && !attributes.is_set() {
        attributes.forbidden(errors, "update from non-nil value to nil is forbidden");
    }
}
