//! What a CustomResourceDefinition is told of the migration of its objects: a condition, and in the end which versions are
//! still stored. Upstream: migrationrunner.go.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_client::object::path_of;
use corten_client::{Caller, Error, Key};
use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::core::context::time;
use crate::core::discovery::Served;
use crate::core::{Verb, Write};

const GROUP: &str = "apiextensions.k8s.io";
const PLURAL: &str = "customresourcedefinitions";
const MANAGER: &str = "migration-runner-controller";
const CONDITION: &str = "StorageMigrating";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// The definition of a resource as it is now; none of built-in ones.
pub(super) async fn find(caller: &Caller, of: &Key) -> Result<Option<Value>, Error> {
    let name = format!("{}.{}", of.name(), of.ns());
    match caller.read(&path_of(GROUP, "v1", PLURAL, "", &name, "")).await {
        Err(error) if error.is_not_found() => Ok(None),
        found => found.map(Some),
    }
}

/// Whether the server writes the version that the definition says, as discovery shows it: a change of a definition takes a
/// moment to be served, and what is written meanwhile is in the former version.
pub(super) async fn is_served(caller: &Caller, definition: &Value, of: &Served) -> Result<bool, Error> {
    let list: Value = caller.read(&format!("/apis/{}/{}", of.group, of.version)).await?;
    let mut all = list["resources"].as_array().into_iter().flatten();
    let row = all.find(|row| row["name"] == *of.plural);
    let shown = row.and_then(|row| row["storageVersionHash"].as_str());
    Ok(shown.is_none_or(|shown| shown == storage_version_hash(definition)))
}

/// Upstream's `discovery.StorageVersionHash`; that of a version which is not served is not shown.
pub(super) fn storage_version_hash(definition: &Value) -> String {
    let spec = &definition["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut versions = spec["versions"].as_array().into_iter().flatten();
    let Some(stored) = versions.find(|v| v["storage"] == true && v["served"] == true) else {
        return String::new();
    };
    let (group, version, kind) = (&spec["group"], &stored["name"], &spec["names"]["kind"]);
    let digest = Sha256::digest([group, version, kind].map(text).join("/"));
    STANDARD.encode(&digest[..8])
}

/// The write that says that a migration runs. Of this very state: its generation is what is migrated to.
#[must_use]
pub fn begun(definition: &Value, migration: &str, now: Timestamp) -> Write {
    let message = format!("Migration {migration} is running");
    status(definition, "True", "MigrationRunning", &message, None, now)
}

/// The write that says how it ended. After a success only the version that is written now is stored, unless the definition
/// has changed meanwhile.
#[must_use]
pub fn ended(definition: &Value, success: bool, now: Timestamp) -> Write {
    let conditions = definition["status"]["conditions"].as_array();
    let mut own = conditions
        .into_iter()
        .flatten()
        .filter(|c| c["type"] == CONDITION);
    let same = own.next().is_some_and(|c| {
        c["observedGeneration"].as_i64().unwrap_or(0)
            == definition["metadata"]["generation"].as_i64().unwrap_or(0)
    });
    let (reason, message) = match (success, same) {
        (true, true) => (
            "MigrationSucceeded",
            "The migration has succeeded and the stored versions have been updated",
        ),
        (true, false) => (
            "MigrationSucceeded",
            "The migration has succeeded but the stored versions have not been updated due to a generation mismatch",
        ),
        (false, _) => ("MigrationFailed", "The migration has failed"),
    };
    let mut stored = None;
    if success && same {
        let versions = definition["spec"]["versions"].as_array().into_iter().flatten();
        let now_stored: Vec<&Value> = versions
            .filter(|v| v["storage"] == true)
            .map(|v| &v["name"])
            .collect();
        stored = Some(json!(now_stored));
    }
    status(definition, "False", reason, message, stored, now)
}

fn status(
    definition: &Value,
    status: &str,
    reason: &str,
    message: &str,
    stored: Option<Value>,
    now: Timestamp,
) -> Write {
    let meta = &definition["metadata"];
    let text = |field: &str| meta[field].as_str().unwrap_or_default().to_owned();
    let name = text("name");
    let condition = json!({"type": CONDITION, "status": status, "lastTransitionTime": time(now), "reason": reason,
        "message": message, "observedGeneration": meta["generation"]});
    let mut body = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "resourceVersion": meta["resourceVersion"]},
        "status": {"conditions": [condition]}});
    if let Some(stored) = stored {
        body["status"]["storedVersions"] = stored;
    }
    let path = path_of(GROUP, "v1", PLURAL, "", &name, "status");
    Write {
        verb: Verb::Patch(APPLY),
        plural: PLURAL.into(),
        ns: String::new(),
        path: format!("{path}?fieldManager={MANAGER}&force=true"),
        name,
        body: body.into(),
        uid: text("uid"),
        ok: None,
        err: None,
    }
}
