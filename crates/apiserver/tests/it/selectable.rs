//! Selectable fields of custom kinds whose versions have different ones.

use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::custom::{crd, define};
use crate::harness::{ADMIN, Harness};
use crate::hook_server::{self, Hook, Reply};

const V1: &str = "/apis/example.com/v1/namespaces/default/pages";
const V2: &str = "/apis/example.com/v2/namespaces/default/pages";

/// v2 has `host` and `port` where v1 has `hostPort`.
fn convert(asked: &Value) -> Reply {
    hook_server::convert(asked, |object, version| {
        let members = object.as_object_mut().unwrap();
        if version.ends_with("v2") {
            let both = members.remove("hostPort").unwrap_or_default();
            let (host, port) = both.as_str().unwrap_or(":").split_once(':').unwrap();
            members.insert("host".into(), host.into());
            members.insert("port".into(), port.into());
        } else {
            let mut text = |name| {
                members
                    .remove(name)
                    .map_or(String::new(), |v| v.as_str().unwrap().to_owned())
            };
            let both = format!("{}:{}", text("host"), text("port"));
            members.insert("hostPort".into(), both.into());
        }
    })
}

fn version(name: &str, storage: bool, fields: &[&str], selectable: &[&str]) -> Value {
    let properties: serde_json::Map<_, _> = fields
        .iter()
        .map(|f| ((*f).to_owned(), json!({"type": "string"})))
        .collect();
    let selectable: Vec<Value> = selectable
        .iter()
        .map(|f| json!({"jsonPath": format!(".{f}")}))
        .collect();
    json!({"name": name, "served": true, "storage": storage, "selectableFields": selectable,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}})
}

fn page(name: &str, version: &str, spec: &Value) -> Value {
    let mut page =
        json!({"apiVersion": format!("example.com/{version}"), "kind": "Page", "metadata": {"name": name}});
    let members = page.as_object_mut().unwrap();
    members.extend(spec.as_object().unwrap().clone());
    page
}

async fn names(h: &Harness, path: &str, selector: &str) -> Vec<String> {
    let list = h.get(&format!("{path}?fieldSelector={selector}")).await.ok();
    let items = list["items"].as_array().unwrap();
    let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
    items.iter().map(name).collect()
}

/// A watch that stays open.
pub struct Watch {
    body: Incoming,
    text: Vec<u8>,
}

impl Watch {
    pub async fn open(h: &Harness, path: &str, selector: &str) -> Self {
        let path = format!("{path}?watch=1&fieldSelector={selector}");
        let request = h.request("GET", &path, ADMIN).body(Full::default()).unwrap();
        let answer = h.send(request).await;
        assert_eq!(answer.status(), 200);
        Self {
            body: answer.into_body(),
            text: Vec::new(),
        }
    }

    pub async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some(end) = self.text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.text.drain(..=end).collect();
                let mut event: Value = serde_json::from_slice(&line).unwrap();
                return (event["type"].as_str().unwrap().to_owned(), event["object"].take());
            }
            let frame = self.body.frame().await.unwrap().unwrap();
            self.text.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    async fn expect(&mut self, wanted: &[(&str, &str)]) -> Value {
        let mut last = Value::Null;
        for (kind, name) in wanted {
            let (got, object) = self.next().await;
            let found = (got.as_str(), object["metadata"]["name"].as_str().unwrap());
            assert_eq!(found, (*kind, *name), "{object}");
            last = object;
        }
        last
    }
}

async fn with_pages(hook: &Hook) -> Harness {
    let h = Harness::start().await;
    let versions = vec![
        version("v1", true, &["hostPort"], &["hostPort"]),
        version("v2", false, &["host", "port"], &["host", "port"]),
    ];
    let mut definition = crd("pages", "Page", versions);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("/convert"),
    }});
    define(&h, definition).await;
    h
}

/// As upstream's conformance test of selectable fields goes.
#[tokio::test]
async fn fields_are_selected_in_the_version_that_is_asked() {
    let hook = Hook::start(|_, asked| convert(asked)).await;
    let h = with_pages(&hook).await;
    let mut by_host = Watch::open(&h, V2, "host%3Dhost1").await;
    let mut by_both = Watch::open(&h, V2, "host%3Dhost1,port%3D80").await;
    let mut stored = Watch::open(&h, V1, "hostPort%3Dhost1:80").await;
    for (name, spec) in [
        ("a", json!({"host": "host1", "port": "80"})),
        ("b", json!({"host": "host1", "port": "8080"})),
        ("c", json!({"host": "host2"})),
    ] {
        h.post(V2, page(name, "v2", &spec)).await.ok();
    }
    assert_eq!(names(&h, V2, "host%3Dhost1").await, ["a", "b"]);
    assert_eq!(names(&h, V2, "host!%3Dhost1").await, ["c"]);
    assert_eq!(names(&h, V2, "host%3Dhost1,port%3D80").await, ["a"]);
    assert_eq!(names(&h, V2, "host%3Dhost1,metadata.name%3Db").await, ["b"]);
    assert_eq!(names(&h, V1, "hostPort%3Dhost1:80").await, ["a"]);
    assert_eq!(names(&h, V1, "hostPort%3Dhost1:8080").await, ["b"]);
    let unknown = h.get(&format!("{V2}?fieldSelector=hostPort%3Dx")).await;
    assert_eq!(unknown.code, 400);
    assert_eq!(unknown.json()["message"], "field label not supported: hostPort");

    // Pages end and go on behind what was selected.
    let first = h
        .get(&format!("{V2}?fieldSelector=host%3Dhost1&limit=1"))
        .await
        .ok();
    let token = first["metadata"]["continue"].as_str().unwrap();
    assert_eq!(first["items"][0]["metadata"]["name"], "a");
    let second = h
        .get(&format!(
            "{V2}?fieldSelector=host%3Dhost1&limit=1&continue={token}"
        ))
        .await
        .ok();
    assert_eq!(
        (&second["items"][0]["host"], &second["metadata"]["continue"]),
        (&json!("host1"), &json!(""))
    );

    let added = by_host.expect(&[("ADDED", "a"), ("ADDED", "b")]).await;
    assert_eq!(
        (&added["apiVersion"], &added["port"]),
        (&json!("example.com/v2"), &json!("8080"))
    );
    by_both.expect(&[("ADDED", "a")]).await;
    stored.expect(&[("ADDED", "a")]).await;
    // What is there already is selected likewise.
    let mut late = Watch::open(&h, V2, "port%3D8080").await;
    late.expect(&[("ADDED", "b")]).await;

    let gone = format!("{V2}?fieldSelector=host%3Dhost1,port%3D80");
    assert_eq!(h.delete(&gone).await.ok()["items"].as_array().unwrap().len(), 1);
    h.merge(&format!("{V2}/b"), json!({"host": "host2"})).await.ok();
    assert!(names(&h, V2, "host%3Dhost1").await.is_empty());
    assert_eq!(names(&h, V2, "host%3Dhost2").await, ["b", "c"]);
    let left = by_host.expect(&[("DELETED", "a"), ("DELETED", "b")]).await;
    assert_eq!(left["host"], "host1", "as it was when it was selected");
    by_both.expect(&[("DELETED", "a")]).await;
    stored.expect(&[("DELETED", "a")]).await;
    late.expect(&[("MODIFIED", "b")]).await;
}

/// Without a webhook versions differ in name only: every version's fields are known of every object.
#[tokio::test]
async fn versions_without_a_webhook_have_their_own_fields() {
    let h = Harness::start().await;
    let fields = ["host", "port"];
    let versions = vec![
        version("v1", true, &fields, &["host"]),
        // With the same schema for all versions, upstream too refuses fields of their own.
        version("v2", false, &["host", "port", "more"], &["port", "host"]),
    ];
    define(&h, crd("pages", "Page", versions)).await;
    for (name, port) in [("a", "80"), ("b", "8080")] {
        h.post(V1, page(name, "v1", &json!({"host": "h", "port": port})))
            .await
            .ok();
    }
    assert_eq!(names(&h, V2, "port%3D8080").await, ["b"]);
    assert_eq!(names(&h, V2, "host%3Dh,port!%3D8080").await, ["a"]);
    assert_eq!(names(&h, V1, "host%3Dh").await, ["a", "b"]);
    assert_eq!(h.get(&format!("{V1}?fieldSelector=port%3D80")).await.code, 400);
    let mut watch = Watch::open(&h, V2, "port%3D80").await;
    let seen = watch.expect(&[("ADDED", "a")]).await;
    assert_eq!(seen["apiVersion"], "example.com/v2");
    h.merge(&format!("{V1}/b"), json!({"port": "80"})).await.ok();
    watch.expect(&[("ADDED", "b")]).await;
}

/// A page of more than a review takes is converted in several; one that fails is the answer.
#[tokio::test]
async fn conversion_is_in_batches_and_its_failure_an_answer() {
    let hook = Hook::start(|_, asked| {
        let objects = asked["request"]["objects"].as_array().unwrap();
        let fails = objects.iter().any(|object| object["hostPort"] == "bad:");
        if fails {
            Reply::Text(500, "no")
        } else {
            convert(asked)
        }
    })
    .await;
    let h = with_pages(&hook).await;
    let make = |n: usize, host: String| {
        let page = page(&format!("p{n:04}"), "v1", &json!({"hostPort": host}));
        let h = &h;
        async move { h.post(V1, page).await.ok() }
    };
    for batch in 0..11 {
        let batch = (0..100).map(|n| make(batch * 100 + n, format!("h{n}:80")));
        futures::future::join_all(batch).await;
    }
    assert!(hook.requests().is_empty());
    let list = h.get(V2).await.ok();
    assert_eq!(list["items"].as_array().unwrap().len(), 1100);
    assert_eq!(list["items"][1099]["host"], "h99");
    let asked = hook.requests();
    let sizes: Vec<usize> = asked
        .iter()
        .map(|r| r["objects"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [500, 500, 100]);
    assert_eq!(names(&h, V2, "host%3Dh7").await.len(), 11);
    // In the first review: what a later one refuses cuts the connection.
    let bad = page("a", "v1", &json!({"hostPort": "bad:"}));
    h.post(V1, bad).await.ok();
    let failed = h.get(V2).await;
    assert_eq!(failed.code, 500);
    assert!(
        failed.json()["message"]
            .as_str()
            .unwrap()
            .contains("conversion webhook")
    );
    // What the stored version is asked for, nobody converts.
    assert_eq!(h.get(V1).await.ok()["items"].as_array().unwrap().len(), 1101);
}

/// Objects of custom kinds, those that are renamed on the way too, in every encoding and shape.
#[tokio::test]
async fn custom_lists_are_the_same_in_every_encoding() {
    let h = Harness::start().await;
    let versions = vec![
        version("v1", true, &["host"], &[]),
        version("v2", false, &["host", "port"], &[]),
    ];
    define(&h, crd("pages", "Page", versions)).await;
    for (name, at, made) in [("a", V1, "v1"), ("b", V2, "v2"), ("c", V1, "v1")] {
        let made = page(name, made, &json!({"host": "h\nh\n"}));
        h.post(at, made).await.ok();
    }
    let as_ = |kind: &str, format: &str| format!("application/{format};as={kind};v=v1;g=meta.k8s.io");
    let named = |list: &Value, member: &str| -> Vec<String> {
        let items = list["items"].as_array().or(list["rows"].as_array()).unwrap();
        let name = |item: &Value| item.pointer(member).unwrap().as_str().unwrap().to_owned();
        items.iter().map(name).collect()
    };
    for (path, api_version) in [(V1, "example.com/v1"), (V2, "example.com/v2")] {
        let list = h.get(path).await.ok();
        assert_eq!(named(&list, "/metadata/name"), ["a", "b", "c"]);
        assert_eq!(named(&list, "/apiVersion"), [api_version; 3]);
        assert_eq!(h.get(&format!("{path}?pretty=1")).await.ok(), list);
        let yaml = h.get_as(path, "application/yaml").await;
        assert_eq!(corten_schema::decode::yaml_value(&yaml.body).unwrap(), list);
        let table = h.get_as(path, &as_("Table", "json")).await.ok();
        assert_eq!(named(&table, "/cells/0"), ["a", "b", "c"]);
        let partial = h
            .get_as(path, &as_("PartialObjectMetadataList", "json"))
            .await
            .ok();
        for (part, item) in partial["items"]
            .as_array()
            .unwrap()
            .iter()
            .zip(list["items"].as_array().unwrap())
        {
            assert_eq!(part["metadata"], item["metadata"]);
        }
        let media = as_("PartialObjectMetadataList", "vnd.kubernetes.protobuf");
        let message = h.get_as(path, &media).await;
        let (gvk, value) = corten_schema::decode::protobuf(&message.body).unwrap();
        assert_eq!(gvk.kind.as_ref(), "PartialObjectMetadataList");
        assert_eq!(named(&value, "/metadata/name"), ["a", "b", "c"]);
    }
}
