//! Volumes of a pod: exactly one source each.

use corten_meta::names;
use serde_json::Value;

use super::super::rules::{
    At, ErrorList, dns_label, file_mode, local_descending_path, local_path, nanos, no_backsteps,
};
use super::spec::Context;
use super::{env, projected, storage};

const ONE_TYPE: &str = "may not specify more than 1 volume type";

type Check = fn(&At<'_, '_>, Context<'_>, &mut ErrorList);

/// A kind of source: its field, the name upstream gives it in errors of its own and of a second source, its rules.
struct Source {
    field: &'static str,
    shown: &'static str,
    second: &'static str,
    check: Check,
}

const fn source(field: &'static str, check: Check) -> Source {
    Source {
        field,
        shown: field,
        second: field,
        check,
    }
}

/// In the order they are checked.
const SOURCES: &[Source] = &[
    source("emptyDir", empty_dir),
    source("hostPath", |at, _, errors| host_path(at, errors)),
    source("gitRepo", git_repo),
    Source {
        field: "gcePersistentDisk",
        shown: "persistentDisk",
        second: "gcePersistentDisk",
        check: |at, _, errors| storage::disk(at, "pdName", errors),
    },
    source("awsElasticBlockStore", |at, _, errors| {
        storage::disk(at, "volumeID", errors)
    }),
    source("secret", |at, _, errors| keys_volume(at, "secretName", errors)),
    source("nfs", |at, _, errors| storage::nfs(at, errors)),
    source("iscsi", |at, _, errors| storage::iscsi(at, errors)),
    source("glusterfs", |at, _, errors| {
        storage::need(at, &["endpoints", "path"], errors)
    }),
    source("flocker", |at, _, errors| storage::flocker(at, errors)),
    source("persistentVolumeClaim", |at, _, errors| {
        storage::need(at, &["claimName"], errors)
    }),
    source("rbd", |at, _, errors| {
        storage::need(at, &["monitors", "image"], errors)
    }),
    source("cinder", |at, _, errors| storage::cinder(at, errors)),
    Source {
        field: "cephfs",
        shown: "cephfs",
        second: "cephFS",
        check: |at, _, errors| storage::need(at, &["monitors"], errors),
    },
    source("quobyte", |at, _, errors| storage::quobyte(at, errors)),
    Source {
        field: "downwardAPI",
        shown: "downwardAPI",
        second: "downwarAPI",
        check: downward_api,
    },
    source("fc", |at, _, errors| storage::fc(at, errors)),
    source("flexVolume", |at, _, errors| storage::flex(at, errors)),
    source("configMap", |at, _, errors| keys_volume(at, "name", errors)),
    source("azureFile", |at, _, errors| {
        storage::need(at, &["secretName", "shareName"], errors)
    }),
    source("vsphereVolume", |at, _, errors| {
        storage::need(at, &["volumePath"], errors)
    }),
    source("photonPersistentDisk", |at, _, errors| {
        storage::need(at, &["pdID"], errors)
    }),
    source("portworxVolume", |at, _, errors| {
        storage::need(at, &["volumeID"], errors)
    }),
    source("azureDisk", |at, _, errors| storage::azure_disk(at, errors)),
    source("storageos", |at, _, errors| storage::storage_os(at, errors)),
    source("projected", |at, _, errors| projected::validate(at, errors)),
    source("scaleIO", |at, _, errors| {
        storage::need(at, &["gateway", "system", "volumeName"], errors)
    }),
    source("csi", |at, _, errors| csi(at, errors)),
    source("ephemeral", ephemeral),
    source("image", image),
];

/// Checks all; returns those without errors, by name.
pub(super) fn validate<'v>(
    list: &At<'_, 'v>,
    context: Context<'_>,
    errors: &mut ErrorList,
) -> Vec<(&'v str, &'v Value)> {
    let mut good: Vec<(&'v str, &'v Value)> = Vec::new();
    let created: Vec<String> = list
        .items()
        .filter(|volume| volume.get("ephemeral").is_set() && !context.name.is_empty())
        .map(|volume| format!("{}-{}", context.name, volume.get("name").str()))
        .collect();
    for volume in list.items() {
        let mut own = ErrorList::new();
        sources(&volume, context, &mut own);
        let name = volume.get("name");
        match name.is_empty() {
            true => name.required(&mut own, ""),
            false => dns_label(&name, &mut own),
        }
        if good.iter().any(|(known, _)| *known == name.str()) {
            name.duplicate(&mut own);
        }
        if own.is_empty() {
            good.push((name.str(), volume.value));
        }
        errors.extend(own.into_vec());
        let claim_source = volume.get("persistentVolumeClaim");
        let claim = claim_source.get("claimName");
        if created.iter().any(|name| name == claim.str()) {
            claim.invalid(
                errors,
                "must not reference a PVC that gets created for an ephemeral volume",
            );
        }
    }
    good
}

fn sources(volume: &At<'_, '_>, context: Context<'_>, errors: &mut ErrorList) {
    let mut found = 0;
    for source in SOURCES {
        let value = volume.get(source.field);
        if !value.is_set() {
            continue;
        }
        found += 1;
        if found > 1 {
            volume.get(source.second).forbidden(errors, ONE_TYPE);
        } else {
            (source.check)(&volume.get(source.shown).with(value.value), context, errors);
        }
        match source.field {
            "iscsi" => iscsi_name(volume, &value, errors),
            "ephemeral" if found == 1 => ephemeral_name(volume, context, errors),
            _ => {}
        }
    }
    if found == 0 {
        volume.required(errors, "must specify a volume type");
    }
}

fn iscsi_name(volume: &At<'_, '_>, iscsi: &At<'_, '_>, errors: &mut ErrorList) {
    let name = volume.get("name");
    if iscsi.get("initiatorName").is_set() && name.len() + 1 + iscsi.get("targetPortal").len() > 64 {
        let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if \
                      iscsi.initiatorName is specified.";
        name.invalid(errors, detail);
    }
}

fn ephemeral_name(volume: &At<'_, '_>, context: Context<'_>, errors: &mut ErrorList) {
    let name = volume.get("name");
    if context.name.is_empty() || name.is_empty() {
        return;
    }
    let claim = format!("{}-{}", context.name, name.str());
    for message in names::name_is_dns_subdomain(&claim, false) {
        name.invalid(
            errors,
            &format!("PVC name {}: {message}", corten_meta::quote(&claim)),
        );
    }
}

fn empty_dir(at: &At<'_, '_>, _: Context<'_>, errors: &mut ErrorList) {
    let limit = at.get("sizeLimit");
    if limit.is_set() && nanos(limit.value) < 0 {
        limit.forbidden(errors, "SizeLimit field must be a valid resource quantity");
    }
}

/// A path of the node; also a source of persistent volumes.
pub(in crate::strategy) fn host_path(at: &At<'_, '_>, errors: &mut ErrorList) {
    let path = at.get("path");
    if path.is_empty() {
        return path.required(errors, "");
    }
    no_backsteps(&path, errors);
    let kinds = [
        "",
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    at.get("type").one_of_if_set(errors, &kinds);
}

fn git_repo(at: &At<'_, '_>, _: Context<'_>, errors: &mut ErrorList) {
    at.get("repository").nonempty(errors);
    local_descending_path(&at.get("directory"), errors);
}

/// A ConfigMap or Secret with chosen keys.
fn keys_volume(at: &At<'_, '_>, name: &str, errors: &mut ErrorList) {
    at.get(name).nonempty(errors);
    file_mode(&at.get("defaultMode"), errors);
    for item in at.get("items").items() {
        key_to_path(&item, errors);
    }
}

pub(super) fn key_to_path(item: &At<'_, '_>, errors: &mut ErrorList) {
    item.get("key").nonempty(errors);
    item.get("path").nonempty(errors);
    local_path(&item.get("path"), errors);
    file_mode(&item.get("mode"), errors);
}

fn downward_api(at: &At<'_, '_>, _: Context<'_>, errors: &mut ErrorList) {
    file_mode(&at.get("defaultMode"), errors);
    for item in at.get("items").items() {
        // Upstream names the volume, not the item.
        env::downward_file(&at.with(item.value), errors);
    }
}

fn csi(at: &At<'_, '_>, errors: &mut ErrorList) {
    storage::driver_name(&at.get("driver"), errors);
    let reference = at.get("nodePublishSecretRef");
    if reference.is_set() {
        let name = reference.get("name");
        match name.is_empty() {
            true => name.required(errors, ""),
            false => {
                let shown = at.get("name").with(name.value);
                shown.invalid_each(errors, names::name_is_dns_subdomain(name.str(), false));
            }
        }
    }
}

fn ephemeral(at: &At<'_, '_>, _: Context<'_>, errors: &mut ErrorList) {
    let template = at.get("volumeClaimTemplate");
    if !template.is_set() {
        return template.required(errors, "");
    }
    super::super::rules::template_meta(&template.get("metadata"), errors);
    storage::claim_spec(&template.get("spec"), errors);
}

fn image(at: &At<'_, '_>, context: Context<'_>, errors: &mut ErrorList) {
    if context.is_pod {
        at.get("reference").nonempty(errors);
    }
    at.get("pullPolicy")
        .one_of(errors, &["Always", "IfNotPresent", "Never"]);
}
