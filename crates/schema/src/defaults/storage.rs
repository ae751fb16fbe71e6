//! storage.k8s.io/v1, resource.k8s.io/v1 and authentication.k8s.io/v1.

use corten_meta::time::{self, Timestamp};
use serde_json::{Value, json};

use super::{Entry, Members, child, int, list_is_empty, set, set_absent, text};

const STORAGE: &str = "api/storage/v1";
const RESOURCE: &str = "api/resource/v1";

pub(super) const HOOKS: &[Entry] = &[
    (STORAGE, "StorageClass", storage_class),
    (STORAGE, "CSIDriver", csi_driver),
    (RESOURCE, "ExactDeviceRequest", device_request),
    (RESOURCE, "DeviceSubRequest", device_request),
    (RESOURCE, "DeviceTaint", device_taint),
    (RESOURCE, "Device", device),
    ("api/authentication/v1", "TokenRequestSpec", token_request),
];

fn storage_class(obj: &mut Members) {
    set_absent(obj, "reclaimPolicy", "Delete");
    set_absent(obj, "volumeBindingMode", "Immediate");
}

fn csi_driver(obj: &mut Members) {
    let spec = child(obj, "spec");
    set_absent(spec, "attachRequired", true);
    set_absent(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    for off in [
        "podInfoOnMount",
        "storageCapacity",
        "requiresRepublish",
        "seLinuxMount",
    ] {
        set_absent(spec, off, false);
    }
    if list_is_empty(spec, "volumeLifecycleModes") {
        set(spec, "volumeLifecycleModes", json!(["Persistent"]));
    }
}

fn device_request(request: &mut Members) {
    set_absent(request, "allocationMode", "ExactCount");
    if text(request, "allocationMode") == "ExactCount" && int(request, "count") == 0 {
        set(request, "count", 1);
    }
}

/// The one default that depends on when it is applied.
fn device_taint(taint: &mut Members) {
    set_absent(taint, "timeAdded", time::format(Timestamp::now()));
}

fn device(device: &mut Members) {
    let mappings = device
        .get_mut("nodeAllocatableResourceMappings")
        .and_then(Value::as_object_mut);
    for mapping in mappings
        .into_iter()
        .flat_map(|m| m.values_mut())
        .filter_map(Value::as_object_mut)
    {
        set_absent(mapping, "allocationMultiplier", "1");
    }
}

fn token_request(spec: &mut Members) {
    set_absent(spec, "expirationSeconds", 3600);
}
