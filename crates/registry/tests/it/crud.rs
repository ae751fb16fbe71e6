use corten_meta::object;
use corten_registry::{CreateOptions, Subresource, UpdateOptions};
use serde_json::{Value, json};

use crate::fixture::{Fixture, config_map, context, pod};

#[tokio::test]
async fn create_fills_metadata_and_get_returns_it() {
    let f = Fixture::open().await;
    let created = f.config_map("x").await;
    let value = created.value().unwrap();
    assert_eq!(object::resource_version(&value), created.revision().to_string());
    assert_eq!(object::creation_timestamp(&value), "2027-01-15T08:00:00Z");
    assert_eq!(object::namespace(&value), "default");
    assert_eq!(object::uid(&value).len(), 36);
    assert_eq!(f.get("configmaps", "x").await.unwrap(), value);
    let again = f
        .create("", "configmaps", "default", config_map("x"))
        .await
        .unwrap_err();
    assert_eq!(
        (again.code, again.message.as_str()),
        (409, "configmaps \"x\" already exists")
    );
    let missing = f.get("configmaps", "y").await.unwrap_err();
    assert_eq!(missing.message, "configmaps \"y\" not found");
}

#[tokio::test]
async fn generated_names_differ() {
    let f = Fixture::open().await;
    let object = json!({"metadata": {"generateName": "web-"}});
    let first = f
        .create("", "configmaps", "default", object.clone())
        .await
        .unwrap();
    let second = f.create("", "configmaps", "default", object).await.unwrap();
    assert!(first.name().starts_with("web-") && first.name().len() == 9);
    assert_ne!(first.name(), second.name());
}

#[tokio::test]
async fn wrong_metadata_is_invalid_in_upstreams_words() {
    let f = Fixture::open().await;
    let mut object = config_map("Not_A_Name");
    object["metadata"]["labels"] = json!({"a b": "c"});
    let status = f.create("", "configmaps", "default", object).await.unwrap_err();
    assert_eq!(status.code, 422);
    assert!(
        status
            .message
            .starts_with("ConfigMap \"Not_A_Name\" is invalid: ["),
        "{}",
        status.message
    );
    let fields: Vec<&str> = status
        .details
        .as_ref()
        .unwrap()
        .causes
        .iter()
        .map(|cause| cause.field.as_str())
        .collect();
    assert_eq!(fields, ["metadata.name", "metadata.labels"]);
    let mut elsewhere = config_map("x");
    elsewhere["metadata"]["namespace"] = json!("other");
    let status = f
        .create("", "configmaps", "default", elsewhere)
        .await
        .unwrap_err();
    assert_eq!(status.code, 400);
    let mut versioned = config_map("x");
    versioned["metadata"]["resourceVersion"] = json!("1");
    let status = f
        .create("", "configmaps", "default", versioned)
        .await
        .unwrap_err();
    assert_eq!(
        status.message,
        "resourceVersion should not be set on objects to be created"
    );
}

#[tokio::test]
async fn stale_updates_conflict_and_unconditional_ones_do_not() {
    let f = Fixture::open().await;
    let first = f.config_map("x").await.value().unwrap();
    let set = |value: &str| {
        let value = value.to_owned();
        move |object: &mut Value| object["data"]["a"] = json!(value)
    };
    let second = f.update("configmaps", "x", set("2")).await.unwrap().object;
    assert!(second.revision() > 1);
    let stale = f
        .update("configmaps", "x", |object| *object = first.clone())
        .await
        .unwrap_err();
    let text = "Operation cannot be fulfilled on configmaps \"x\": the object has been modified; please apply your \
                changes to the latest version and try again";
    assert_eq!((stale.code, stale.message.as_str()), (409, text));
    let unconditional = |object: &mut Value| {
        object::set_resource_version(object, "");
        object["data"]["a"] = json!("3");
    };
    f.update("configmaps", "x", unconditional).await.unwrap();
    assert_eq!(f.get("configmaps", "x").await.unwrap()["data"]["a"], "3");
}

#[tokio::test]
async fn an_update_without_change_is_not_written() {
    let f = Fixture::open().await;
    let created = f.config_map("x").await;
    let updated = f.update("configmaps", "x", |_| {}).await.unwrap();
    assert_eq!(updated.object.revision(), created.revision());
    assert_eq!(f.registry.metrics().updates_unchanged.get(), 1);
}

#[tokio::test]
async fn immutable_metadata_is_refused() {
    let f = Fixture::open().await;
    f.config_map("x").await;
    let status = f
        .update("configmaps", "x", |object| object::set_uid(object, "other"))
        .await
        .unwrap_err();
    let text = "ConfigMap \"x\" is invalid: metadata.uid: Invalid value: \"other\": field is immutable";
    assert_eq!((status.code, status.message.as_str()), (422, text));
}

#[tokio::test]
async fn concurrent_updates_all_arrive() {
    let f = std::sync::Arc::new(Fixture::open().await);
    f.config_map("x").await;
    let tasks: Vec<_> = (0..8)
        .map(|writer| {
            let f = std::sync::Arc::clone(&f);
            tokio::spawn(async move {
                for at in 0..10 {
                    let key = format!("{writer}-{at}");
                    f.update("configmaps", "x", |object| object["data"][&key] = json!(""))
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(
        f.get("configmaps", "x").await.unwrap()["data"]
            .as_object()
            .unwrap()
            .len(),
        81
    );
}

#[tokio::test]
async fn generation_counts_changes_of_spec_and_status_is_kept_apart() {
    let f = Fixture::open().await;
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let spec = json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template});
    let deployment = json!({"metadata": {"name": "d"}, "spec": spec, "status": {"replicas": 9}});
    let created = f
        .create("apps", "deployments", "default", deployment)
        .await
        .unwrap()
        .value()
        .unwrap();
    assert_eq!(
        (object::generation(&created), &created["status"]),
        (1, &json!({}))
    );
    let which = ("apps", "deployments");
    let both = |object: &mut Value| {
        object["spec"]["replicas"] = json!(2);
        object["status"]["replicas"] = json!(2);
    };
    let main = f
        .update_sub(which, "d", Subresource::MAIN, both)
        .await
        .unwrap()
        .object
        .value()
        .unwrap();
    assert_eq!(
        (
            object::generation(&main),
            &main["spec"]["replicas"],
            &main["status"]
        ),
        (2, &json!(2), &json!({}))
    );
    let other = |object: &mut Value| {
        object["spec"]["replicas"] = json!(3);
        object["status"]["replicas"] = json!(3);
    };
    let status = f
        .update_sub(which, "d", Subresource::STATUS, other)
        .await
        .unwrap()
        .object
        .value()
        .unwrap();
    assert_eq!(
        (
            object::generation(&status),
            &status["spec"]["replicas"],
            &status["status"]["replicas"]
        ),
        (2, &json!(2), &json!(3))
    );
    let labelled = f
        .update_sub(which, "d", Subresource::MAIN, |object| {
            object::set_label(object, "a", "b")
        })
        .await
        .unwrap();
    assert_eq!(object::generation(&labelled.object.value().unwrap()), 2);
}

#[tokio::test]
async fn dry_run_does_everything_but_write() {
    let f = Fixture::open().await;
    let dry = context().with_dry_run(true);
    let maps = f.resource("", "configmaps");
    let options = CreateOptions::default();
    let created = f
        .registry
        .create(&dry, &maps, "default", config_map("x"), &options)
        .await
        .unwrap();
    assert_eq!(object::resource_version(&created.value().unwrap()), "");
    assert!(f.get("configmaps", "x").await.unwrap_err().is_not_found());
    let real = f.config_map("x").await;
    assert!(
        f.registry
            .create(&dry, &maps, "default", config_map("x"), &options)
            .await
            .unwrap_err()
            .is_already_exists()
    );
    let change = |old: &Value| {
        let mut new = old.clone();
        new["data"]["a"] = json!("dry");
        Ok(new)
    };
    let options = UpdateOptions::default();
    let updated = f
        .registry
        .update(&dry, &maps, "default", "x", Subresource::MAIN, change, &options)
        .await
        .unwrap();
    assert_eq!(updated.object.value().unwrap()["data"]["a"], "dry");
    assert_eq!(f.get("configmaps", "x").await.unwrap(), real.value().unwrap());
}

#[tokio::test]
async fn updates_create_only_where_allowed() {
    let f = Fixture::open().await;
    let maps = f.resource("", "configmaps");
    let make = |_: &Value| Ok(config_map("x"));
    let (ctx, registry) = (&f.ctx, &f.registry);
    let plain = UpdateOptions::default();
    let refused = registry
        .update(ctx, &maps, "default", "x", Subresource::MAIN, make, &plain)
        .await;
    assert!(refused.unwrap_err().is_not_found());
    let forced = UpdateOptions {
        force_allow_create: true,
        ..UpdateOptions::default()
    };
    let made = registry
        .update(ctx, &maps, "default", "x", Subresource::MAIN, make, &forced)
        .await
        .unwrap();
    assert!(made.created);
    let wrong_uid = UpdateOptions {
        uid: Some("other".to_owned()),
        ..UpdateOptions::default()
    };
    let status = registry
        .update(ctx, &maps, "default", "x", Subresource::MAIN, make, &wrong_uid)
        .await
        .unwrap_err();
    assert_eq!(status.code, 409);
    assert!(
        status
            .message
            .contains("Precondition failed: UID in precondition: other"),
        "{}",
        status.message
    );
}

#[tokio::test]
async fn pods_begin_pending() {
    let f = Fixture::open().await;
    let value = f
        .create("", "pods", "default", pod("p", ""))
        .await
        .unwrap()
        .value()
        .unwrap();
    assert_eq!(
        value["status"],
        json!({"phase": "Pending", "qosClass": "BestEffort"})
    );
}
