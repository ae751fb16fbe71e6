//! Volumes, storage classes, CSI and devices.

use serde_json::{Value, json};

use super::core::access_modes;
use super::networking::default_marked;
use super::view::{View, flag, or, strings};
use super::{Cells, Printer};

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "StorageClass" => storage_class,
        "CSIDriver" => csi_driver,
        "CSINode" => |v| vec![v.name(), v.count("/spec/drivers").into(), v.age()],
        "VolumeAttachment" => volume_attachment,
        "VolumeAttributesClass" => |v| vec![v.name(), v.text("/driverName").into(), v.age()],
        "DeviceClass" | "ResourceClaimTemplate" => |v| vec![v.name(), v.age()],
        "ResourceClaim" => resource_claim,
        "ResourceSlice" => resource_slice,
        _ => return None,
    })
}

/// The class by annotation (the old way) or field.
fn class(v: &View<'_>) -> Value {
    let old = corten_meta::object::annotation(v.object, "volume.beta.kubernetes.io/storage-class");
    Value::from(old.unwrap_or_else(|| v.text("/spec/storageClassName")))
}

fn phase(v: &View<'_>) -> Value {
    if v.is_deleted() {
        "Terminating".into()
    } else {
        v.text("/status/phase").into()
    }
}

pub(super) fn volume(v: &View<'_>) -> Cells {
    let claim = if v.at("/spec/claimRef").is_null() {
        String::new()
    } else {
        format!(
            "{}/{}",
            v.text("/spec/claimRef/namespace"),
            v.text("/spec/claimRef/name")
        )
    };
    vec![
        v.name(),
        v.text_or("/spec/capacity/storage", "0"),
        access_modes(v.list("/spec/accessModes")).into(),
        v.text("/spec/persistentVolumeReclaimPolicy").into(),
        phase(v),
        claim.into(),
        class(v),
        v.text_or("/spec/volumeAttributesClassName", "<unset>"),
        v.text("/status/reason").into(),
        v.age(),
        v.text_or("/spec/volumeMode", "<unset>"),
    ]
}

pub(super) fn claim(v: &View<'_>) -> Cells {
    let bound = !v.text("/spec/volumeName").is_empty();
    let capacity = if bound {
        or(v.text("/status/capacity/storage"), "0")
    } else {
        ""
    };
    let modes = if bound {
        access_modes(v.list("/status/accessModes"))
    } else {
        String::new()
    };
    vec![
        v.name(),
        phase(v),
        v.text("/spec/volumeName").into(),
        capacity.into(),
        modes.into(),
        class(v),
        v.text_or("/spec/volumeAttributesClassName", "<unset>"),
        v.age(),
        v.text_or("/spec/volumeMode", "<unset>"),
    ]
}

fn storage_class(v: &View<'_>) -> Cells {
    let name = match default_marked(v, "storageclass.kubernetes.io/is-default-class") {
        marked if marked != v.name() => marked,
        _ => default_marked(v, "storageclass.beta.kubernetes.io/is-default-class"),
    };
    vec![
        name,
        v.text("/provisioner").into(),
        v.text_or("/reclaimPolicy", "Delete"),
        v.text_or("/volumeBindingMode", "Immediate"),
        flag(v.at("/allowVolumeExpansion")),
        v.age(),
    ]
}

fn csi_driver(v: &View<'_>) -> Cells {
    let modes = v.joined("/spec/volumeLifecycleModes");
    let tokens = match v.at("/spec/tokenRequests").as_array() {
        None => "<unset>".to_owned(),
        Some(requests) => requests
            .iter()
            .filter_map(|r| r["audience"].as_str())
            .collect::<Vec<_>>()
            .join(","),
    };
    vec![
        v.name(),
        json!(v.at("/spec/attachRequired").as_bool().unwrap_or(true)),
        flag(v.at("/spec/podInfoOnMount")),
        flag(v.at("/spec/storageCapacity")),
        tokens.into(),
        flag(v.at("/spec/requiresRepublish")),
        or(&modes, "<none>").into(),
        v.age(),
    ]
}

fn volume_attachment(v: &View<'_>) -> Cells {
    let texts = [
        "/spec/attacher",
        "/spec/source/persistentVolumeName",
        "/spec/nodeName",
    ];
    let [attacher, volume, node] = texts.map(|p| Value::from(v.text(p)));
    vec![
        v.name(),
        attacher,
        volume,
        node,
        flag(v.at("/status/attached")),
        v.age(),
    ]
}

fn resource_claim(v: &View<'_>) -> Cells {
    let mut states = Vec::new();
    if v.is_deleted() {
        states.push(json!("deleted"));
    }
    if !v.at("/status/allocation").is_null() {
        states.push(json!("allocated"));
        if v.count("/status/reservedFor") > 0 {
            states.push(json!("reserved"));
        }
    } else if !v.is_deleted() {
        states.push(json!("pending"));
    }
    vec![v.name(), strings(&states).join(",").into(), v.age()]
}

fn resource_slice(v: &View<'_>) -> Cells {
    let [node, driver, pool] =
        ["/spec/nodeName", "/spec/driver", "/spec/pool/name"].map(|p| Value::from(v.text(p)));
    vec![v.name(), node, driver, pool, v.age()]
}
