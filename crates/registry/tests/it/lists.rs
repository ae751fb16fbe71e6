use corten_meta::{fields, labels};
use corten_registry::{DeleteOptions, ListOptions, ListPage, VersionMatch};
use serde_json::{Value, json};

use crate::fixture::{Fixture, config_map, pod};

async fn list(f: &Fixture, options: ListOptions) -> corten_meta::Result<ListPage> {
    f.registry
        .list(&f.resource("", "configmaps"), Some("default"), &options)
        .await
}

fn names(page: &ListPage) -> Vec<&str> {
    page.items.iter().map(|object| object.name()).collect()
}

fn at(version: u64, version_match: Option<VersionMatch>) -> ListOptions {
    ListOptions {
        resource_version: version.to_string(),
        version_match,
        ..ListOptions::default()
    }
}

#[tokio::test]
async fn an_empty_list_is_consistent_too() {
    let f = Fixture::open().await;
    let page = list(&f, ListOptions::default()).await.unwrap();
    assert!(page.items.is_empty() && page.revision > 0);
    let created = f.config_map("x").await;
    assert_eq!(
        list(&f, ListOptions::default()).await.unwrap().revision,
        created.revision()
    );
}

#[tokio::test]
async fn pages_stay_at_the_revision_of_the_first() {
    let f = Fixture::open().await;
    for name in ["a", "b", "c", "d", "e"] {
        f.config_map(name).await;
    }
    let first = list(
        &f,
        ListOptions {
            limit: 2,
            ..ListOptions::default()
        },
    )
    .await
    .unwrap();
    assert_eq!((names(&first), first.remaining), (vec!["a", "b"], Some(3)));
    f.config_map("bb").await;
    f.delete("configmaps", "d", DeleteOptions::default())
        .await
        .unwrap();
    let next = |token: &str| ListOptions {
        limit: 2,
        continue_token: token.to_owned(),
        ..ListOptions::default()
    };
    let second = list(&f, next(&first.continue_token)).await.unwrap();
    assert_eq!(
        (names(&second), second.revision, second.remaining),
        (vec!["c", "d"], first.revision, Some(1))
    );
    let last = list(&f, next(&second.continue_token)).await.unwrap();
    assert_eq!(
        (names(&last), last.continue_token.as_str(), last.remaining),
        (vec!["e"], "", None)
    );
    let exact = list(&f, at(first.revision, Some(VersionMatch::Exact)))
        .await
        .unwrap();
    assert_eq!(names(&exact), ["a", "b", "c", "d", "e"]);
    assert_eq!(
        names(&list(&f, ListOptions::default()).await.unwrap()),
        ["a", "b", "bb", "c", "e"]
    );
}

#[tokio::test]
async fn a_token_expires_though_nothing_has_changed() {
    let f = Fixture::open().await;
    for name in ["a", "b"] {
        f.config_map(name).await;
    }
    let limit = ListOptions {
        limit: 1,
        ..ListOptions::default()
    };
    let token = list(&f, limit).await.unwrap().continue_token;
    let next = ListOptions {
        continue_token: token,
        ..ListOptions::default()
    };
    assert_eq!(names(&list(&f, next.clone()).await.unwrap()), ["b"]);
    let later = json!({"metadata": {"name": "later"}});
    let later = f.create("", "namespaces", "", later).await.unwrap().revision();
    f.registry.store().compact(later).await.unwrap();
    assert_eq!(list(&f, next).await.unwrap_err().code, 410);
}

#[tokio::test]
async fn an_expired_token_offers_one_that_goes_on() {
    let f = Fixture::open().await;
    for name in ["a", "b", "c"] {
        f.config_map(name).await;
    }
    let first = list(
        &f,
        ListOptions {
            limit: 1,
            ..ListOptions::default()
        },
    )
    .await
    .unwrap();
    let newest = f.config_map("d").await.revision();
    f.registry.store().compact(newest).await.unwrap();
    // A cache that has not seen "d" yet may serve the old revision: it is its newest.
    let all = list(&f, ListOptions::default()).await.unwrap();
    assert_eq!(names(&all), ["a", "b", "c", "d"]);
    let next = |token: &str| ListOptions {
        continue_token: token.to_owned(),
        ..ListOptions::default()
    };
    let expired = list(&f, next(&first.continue_token)).await.unwrap_err();
    assert_eq!((expired.code, expired.reason.as_ref()), (410, "Expired"));
    assert!(
        expired
            .message
            .starts_with("The provided continue parameter is too old to display a consistent list")
    );
    let json = expired.to_json();
    assert_eq!(json.get("details"), None);
    let token = json["metadata"]["continue"].as_str().unwrap();
    assert_eq!(names(&list(&f, next(token)).await.unwrap()), ["b", "c", "d"]);
    let old = list(&f, at(first.revision, Some(VersionMatch::Exact)))
        .await
        .unwrap_err();
    assert_eq!(
        old.message,
        "The resourceVersion for the provided list is too old."
    );
}

#[tokio::test]
async fn selectors_select() {
    let f = Fixture::open().await;
    for (name, node) in [("a", "n1"), ("b", "n2"), ("c", "n1")] {
        f.create("", "pods", "default", pod(name, node)).await.unwrap();
    }
    let by_field = |text: &str| ListOptions {
        field_selector: Some(fields::Selector::parse(text).unwrap()),
        ..ListOptions::default()
    };
    assert_eq!(f.names("pods", by_field("spec.nodeName=n1")).await, ["a", "c"]);
    assert_eq!(
        f.names("pods", by_field("metadata.name=b,metadata.namespace=default"))
            .await,
        ["b"]
    );
    assert_eq!(f.names("pods", by_field("metadata.name!=b")).await, ["a", "c"]);
    let by_label = ListOptions {
        label_selector: Some(labels::Selector::parse("app in (b, c)").unwrap()),
        limit: 1,
        ..ListOptions::default()
    };
    let page = f
        .registry
        .list(&f.resource("", "pods"), None, &by_label)
        .await
        .unwrap();
    assert_eq!(
        (names(&page), page.remaining, page.continue_token.is_empty()),
        (vec!["b"], None, false)
    );
    let unknown = f
        .registry
        .list(&f.resource("", "pods"), None, &by_field("spec.x=1"))
        .await
        .unwrap_err();
    assert_eq!(
        (unknown.code, unknown.message.as_str()),
        (400, "field label not supported: spec.x")
    );
}

#[tokio::test]
async fn an_absent_flag_is_selected_as_false() {
    let f = Fixture::open().await;
    let node = |name: &str, spec: Value| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": spec});
    f.create("", "nodes", "", node("on", json!({}))).await.unwrap();
    let closed = node("off", json!({"unschedulable": true}));
    f.create("", "nodes", "", closed).await.unwrap();
    for (text, expected) in [("false", "on"), ("true", "off")] {
        let options = ListOptions {
            field_selector: Some(fields::Selector::parse(&format!("spec.unschedulable={text}")).unwrap()),
            ..ListOptions::default()
        };
        assert_eq!(f.names("nodes", options).await, [expected]);
    }
}

#[tokio::test]
async fn resource_versions_mean_what_they_say() {
    let f = Fixture::open().await;
    let created = f.config_map("x").await.revision();
    assert_eq!(list(&f, ListOptions::default()).await.unwrap().items.len(), 1);
    assert_eq!(list(&f, at(0, None)).await.unwrap().items.len(), 1);
    assert!(
        list(&f, at(created, Some(VersionMatch::NotOlderThan)))
            .await
            .unwrap()
            .revision
            >= created
    );
    let forbidden = list(&f, at(0, Some(VersionMatch::Exact))).await.unwrap_err();
    assert_eq!(forbidden.code, 422);
    let bad = ListOptions {
        resource_version: "x".to_owned(),
        ..ListOptions::default()
    };
    let status = list(&f, bad).await.unwrap_err();
    assert_eq!(
        status.message,
        "invalid resource version: resourceVersion: Invalid value: \"x\": strconv.ParseUint: parsing \"x\": invalid syntax"
    );
    let both = ListOptions {
        continue_token: "zzz".to_owned(),
        ..ListOptions::default()
    };
    assert_eq!(list(&f, both).await.unwrap_err().code, 400);
}

#[tokio::test]
async fn namespaces_do_not_mix() {
    let f = Fixture::open().await;
    f.create("", "namespaces", "", json!({"metadata": {"name": "default-2"}}))
        .await
        .unwrap();
    f.config_map("x").await;
    let other: Value = config_map("y");
    f.create("", "configmaps", "default-2", other).await.unwrap();
    assert_eq!(names(&list(&f, ListOptions::default()).await.unwrap()), ["x"]);
    assert_eq!(f.names("configmaps", ListOptions::default()).await, ["y", "x"]);
}
