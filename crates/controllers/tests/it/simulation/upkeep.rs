//! What goes on beside the workloads: migrations of what is stored, and tokens that nobody uses.

use corten_client::fake::Fake;
use serde_json::{Value, json};

use super::objects::{Wrong, map, of_a};

const INVALID: &str = "kubernetes.io/legacy-token-invalid-since";

/// Two migrations of one resource, and tokens of which one has been out of use for long.
pub fn make(fake: &Fake) {
    for name in ["first", "second"] {
        let spec = json!({"resource": {"group": "", "resource": "configmaps"}});
        let migration = json!({"apiVersion": "storagemigration.k8s.io/v1beta1", "kind": "StorageVersionMigration",
            "metadata": {"name": name}, "spec": spec});
        fake.put("storageversionmigrations", migration);
    }
    let mut since = map(
        "kube-system",
        "kube-apiserver-legacy-service-account-token-tracking",
        json!({}),
    );
    since["data"] = json!({"since": "2020-01-01"});
    fake.put("configmaps", since);
    let names = json!([{"name": "unused"}, {"name": "invalid"}]);
    fake.put(
        "serviceaccounts",
        json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"namespace": "a", "name": "x"}, "secrets": names}),
    );
    for (name, labels) in [("unused", json!({})), ("invalid", json!({INVALID: "2021-01-01"}))] {
        fake.put("secrets", json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
            "metadata": {"namespace": "a", "name": name, "labels": labels, "creationTimestamp": "2020-01-01T00:00:00Z",
                "annotations": {"kubernetes.io/service-account.name": "x"}}}));
    }
}

pub fn check(fake: &Fake, wrong: &mut Wrong) {
    for migration in fake.list("storageversionmigrations") {
        let conditions = migration["status"]["conditions"].as_array();
        let is = |kind: &str, status: &str| {
            conditions.is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == status))
        };
        wrong.expect(
            "migration",
            is("Succeeded", "True") && is("Running", "False"),
            &migration["status"],
        );
    }
    let unused = of_a(fake, "secrets", "unused");
    wrong.expect(
        "unused token",
        unused["metadata"]["labels"][INVALID] == "2026-01-01",
        &unused,
    );
    let gone = fake.get("secrets", "a", "invalid").is_none();
    wrong.expect("invalid token", gone, &Value::Null);
}
