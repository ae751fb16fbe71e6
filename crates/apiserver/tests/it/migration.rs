//! Storage-version migration: the API where it is switched on, and objects that are really stored anew.

use std::sync::Arc;

use corten_apiserver::{Features, bootstrap};
use corten_auth::UserInfo;
use corten_client::{CancellationToken, Factory};
use corten_schema::resources::Selection;
use corten_store::{Range, RangeRequest, Store};
use serde_json::{Value, json};

use crate::custom::{CRDS, WIDGETS, crd, version, widget};
use crate::harness::{self, Harness};

const MIGRATIONS: &str = "/apis/storagemigration.k8s.io/v1beta1/storageversionmigrations";
const ROLE: &str =
    "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:controller:storage-version-migrator-controller";
const SERVICE: &str = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.storagemigration.k8s.io";

struct Migrator {
    h: Harness,
    store: Arc<dyn Store>,
    stop: CancellationToken,
}

impl Drop for Migrator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A server with everything switched on, and the controllers, each with its own rights.
async fn start() -> Migrator {
    let features = Features {
        selection: Selection::of(|_| true),
        storage_version_migrator: true,
    };
    let mut kept = None;
    let h = Harness::featuring(features, |engine| {
        let store: Arc<dyn Store> = Arc::new(engine);
        kept = Some(Arc::clone(&store));
        store
    })
    .await;
    let stop = CancellationToken::new();
    let as_user = |user: UserInfo| corten_client::in_process(h.server.in_process(user));
    let manager = as_user(UserInfo::new("system:kube-controller-manager", []));
    let server = h.server.clone();
    let config = corten_controllers::Config {
        migrates: true,
        identities: Some(Arc::new(move |account: &str| {
            let user = UserInfo::service_account("kube-system", account, "");
            corten_client::in_process(server.in_process(user))
        })),
        ..corten_controllers::Config::new(corten_stdx::RealClock::shared())
    };
    let factory = Factory::new(manager, stop.child_token());
    tokio::spawn(corten_controllers::run_all(factory, config, stop.child_token()));
    Migrator {
        h,
        store: kept.unwrap(),
        stop,
    }
}

impl Migrator {
    /// Migrates a resource and waits for the end.
    async fn migrate(&self, name: &str, group: &str, resource: &str) -> Value {
        let spec = json!({"resource": {"group": group, "resource": resource}});
        let object = json!({"apiVersion": "storagemigration.k8s.io/v1beta1", "kind": "StorageVersionMigration",
            "metadata": {"name": name}, "spec": spec});
        self.h.post(MIGRATIONS, object).await.ok();
        let path = format!("{MIGRATIONS}?watch=1&fieldSelector=metadata.name%3D{name}");
        self.h
            .until(&path, |object| condition(object, "Running")["status"] == "False")
            .await
    }

    /// How stored objects begin.
    async fn stored(&self, prefix: &str) -> Vec<String> {
        let range = Range::prefix(prefix);
        let found = self.store.range(RangeRequest::new(range)).await.unwrap();
        let version = |kv: &corten_store::KeyValue| {
            let object: Value = serde_json::from_slice(&kv.value).unwrap();
            object["apiVersion"].as_str().unwrap().to_owned()
        };
        found.kvs.iter().map(version).collect()
    }
}

fn condition(object: &Value, kind: &str) -> Value {
    let all = object["status"]["conditions"].as_array();
    let found = all.and_then(|all| all.iter().find(|c| c["type"] == kind));
    found.cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_resources_are_stored_in_the_new_version() {
    let m = start().await;
    let h = &m.h;
    let made = h
        .post(
            CRDS,
            crd(
                "widgets",
                "Widget",
                vec![version("v1", true), version("v2", false)],
            ),
        )
        .await
        .ok();
    let path = format!("{CRDS}/{}", made["metadata"]["name"].as_str().unwrap());
    let established = |object: &Value| condition(object, "Established")["status"] == "True";
    h.until(&format!("{CRDS}?watch=1"), established).await;
    for name in ["a", "b", "c"] {
        h.post(WIDGETS, widget(name, json!({"size": 3}))).await.ok();
    }
    let versions = json!({"spec": {"versions": [version("v1", false), version("v2", true)]}});
    h.merge(&path, versions).await.ok();
    assert_eq!(
        h.get(&path).await.ok()["status"]["storedVersions"],
        json!(["v1", "v2"])
    );
    let prefix = "/registry/example.com/widgets/";
    assert_eq!(m.stored(prefix).await, ["example.com/v1"; 3]);
    let before = h.get(WIDGETS).await.ok();

    let done = m.migrate("widgets", "example.com", "widgets").await;
    assert_eq!(
        condition(&done, "Succeeded")["reason"],
        "StorageVersionMigrationSucceeded"
    );
    assert_eq!(condition(&done, "Running")["reason"], "MigrationCompleted");
    assert!(done["status"]["resourceVersion"].is_string());
    assert_eq!(m.stored(prefix).await, ["example.com/v2"; 3]);
    let definition = h.get(&path).await.ok();
    assert_eq!(definition["status"]["storedVersions"], json!(["v2"]));
    let told = condition(&definition, "StorageMigrating");
    assert_eq!(
        (&told["status"], &told["reason"]),
        (&json!("False"), &json!("MigrationSucceeded"))
    );
    assert_eq!(
        told["message"],
        "The migration has succeeded and the stored versions have been updated"
    );

    // Nothing else has changed, and the former version can go.
    let after = h.get(WIDGETS).await.ok();
    for (old, new) in before["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(after["items"].as_array().unwrap())
    {
        assert_eq!(old["spec"], new["spec"]);
        assert_eq!(old["metadata"]["managedFields"], new["metadata"]["managedFields"]);
        assert_ne!(
            old["metadata"]["resourceVersion"],
            new["metadata"]["resourceVersion"]
        );
    }
    let versions = json!({"spec": {"versions": [version("v2", true)]}});
    h.merge(&path, versions).await.ok();
    let served = |object: &Value| object["metadata"]["name"] == "a" && object["spec"]["size"] == 3;
    h.until("/apis/example.com/v2/namespaces/default/widgets?watch=1", served)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_resources_have_one_form_and_stay_as_they_are() {
    let m = start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    for n in 0..20 {
        let map = json!({"metadata": {"name": format!("m{n}")}, "data": {"k": "v"}});
        m.h.post(maps, map).await.ok();
    }
    let before = m.h.get(maps).await.ok();
    let done = m.migrate("maps", "", "configmaps").await;
    assert_eq!(condition(&done, "Succeeded")["status"], "True");
    assert_eq!(m.h.get(maps).await.ok()["items"], before["items"]);
    let wide = "application/json;as=Table;g=meta.k8s.io;v=v1";
    let table = m.h.get_as(MIGRATIONS, wide).await.ok();
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(columns, ["Name", "Resource", "Status"]);
    assert_eq!(
        table["rows"][0]["cells"],
        json!(["maps", "configmaps", "Succeeded"])
    );
    // What cannot be migrated says so.
    let failed = m
        .migrate("reviews", "authentication.k8s.io", "tokenreviews")
        .await;
    assert_eq!(
        condition(&failed, "Failed")["message"],
        "resource \"authentication.k8s.io/v1, Resource=tokenreviews\" does not support discovery operations: [update patch list]"
    );
}

#[tokio::test]
async fn migrations_are_validated() {
    let m = start().await;
    let post = async |group: &str, resource: &str| {
        let spec = json!({"resource": {"group": group, "resource": resource}});
        m.h.post(MIGRATIONS, json!({"metadata": {"name": "x"}, "spec": spec}))
            .await
    };
    let wrong = post("", "").await;
    assert_eq!(wrong.code, 422);
    assert_eq!(
        wrong.json()["message"],
        "StorageVersionMigration.storagemigration.k8s.io \"x\" is invalid: spec.resource.resource: Required value: resource is required to be set"
    );
    let made = post("nobody.io", "things").await.ok();
    assert_eq!(made["status"], json!({}), "the status is not the creator's");
    let path = format!("{MIGRATIONS}/x");
    let other = json!({"spec": {"resource": {"resource": "pods"}}});
    let refused = m.h.merge(&path, other).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused.text().contains("field is immutable"),
        "{}",
        refused.text()
    );
    let status = json!({"status": {"resourceVersion": "07"}});
    let refused = m.h.merge(&format!("{path}/status"), status).await;
    assert!(
        refused.text().contains("resource version is not well formed: 07"),
        "{}",
        refused.text()
    );
}

#[tokio::test]
async fn it_is_served_only_where_it_is_switched_on() {
    let m = start().await;
    let groups = m.h.get("/apis").await.text();
    assert!(groups.contains("storagemigration.k8s.io/v1beta1"));
    let list = m.h.get("/apis/storagemigration.k8s.io/v1beta1").await.ok();
    assert_eq!(list["resources"][0]["storageVersionHash"], "pCjmmKOkLy4=");
    assert_eq!(list["resources"][1]["name"], "storageversionmigrations/status");
    assert_eq!(m.h.get(SERVICE).await.ok()["spec"]["groupPriorityMinimum"], 15800);
    assert_eq!(
        m.h.get(ROLE).await.ok()["rules"][0]["verbs"],
        json!(["create", "list", "patch"])
    );
    let document =
        m.h.get("/openapi/v3/apis/storagemigration.k8s.io/v1beta1")
            .await
            .ok();
    assert!(document["paths"][MIGRATIONS].is_object());
    assert!(m.h.get("/openapi/v2").await.ok()["paths"][MIGRATIONS].is_object());

    // The next start has it switched off.
    let (registry, cluster) = (
        &m.h.server.inner().registry,
        harness::cluster(&m.h.pki, m.h.address.port()),
    );
    let off = Features::default();
    bootstrap::run(registry, &cluster, &off).await.unwrap();
    assert_eq!(m.h.get(SERVICE).await.code, 404);

    let h = Harness::start().await;
    for path in [MIGRATIONS, ROLE, SERVICE, "/apis/storagemigration.k8s.io"] {
        assert_eq!(h.get(path).await.code, 404, "{path}");
    }
    assert_eq!(
        h.get("/openapi/v3/apis/storagemigration.k8s.io/v1beta1")
            .await
            .code,
        404
    );
    for path in ["/apis", "/openapi/v3", "/openapi/v2"] {
        assert!(!h.get(path).await.text().contains("storagemigration"), "{path}");
    }
}
