//! Lists, shapes and encodings.

use serde_json::{Value, json};

use crate::harness::Harness;

const MAPS: &str = "/api/v1/namespaces/kube-public/configmaps";

async fn with_maps(count: usize) -> Harness {
    let h = Harness::start().await;
    for i in 0..count {
        let labels = json!({"i": i.to_string(), "even": (i % 2 == 0).to_string()});
        h.post(
            MAPS,
            json!({"metadata": {"name": format!("m{i}"), "labels": labels}}),
        )
        .await
        .ok();
    }
    h
}

fn names(list: &Value) -> Vec<String> {
    let items = list["items"].as_array().unwrap();
    items
        .iter()
        .map(|i| i["metadata"]["name"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn pages_selectors_and_their_errors() {
    let h = with_maps(5).await;
    let all = h.get(MAPS).await.ok();
    assert_eq!((&all["kind"], names(&all).len()), (&json!("ConfigMapList"), 5));
    assert!(all["items"][0].get("kind").is_none());
    let page = h.get(&format!("{MAPS}?limit=2")).await.ok();
    assert_eq!(page["metadata"]["remainingItemCount"], 3);
    let token = page["metadata"]["continue"].as_str().unwrap();
    let rest = h.get(&format!("{MAPS}?limit=10&continue={token}")).await.ok();
    assert_eq!(names(&rest), ["m2", "m3", "m4"]);
    assert_eq!(
        names(&h.get(&format!("{MAPS}?labelSelector=even%3Dtrue")).await.ok()),
        ["m0", "m2", "m4"]
    );
    assert_eq!(
        names(
            &h.get(&format!("{MAPS}?fieldSelector=metadata.name%3Dm3"))
                .await
                .ok()
        ),
        ["m3"]
    );
    let text = |q: &'static str| {
        let h = &h;
        async move {
            h.get(&format!("{MAPS}?{q}")).await.json()["message"]
                .as_str()
                .unwrap()
                .to_owned()
        }
    };
    assert_eq!(
        text("limit=x").await,
        "strconv.ParseInt: parsing \"x\": invalid syntax"
    );
    assert_eq!(
        text("labelSelector=a%3D%3D%3Db").await,
        "unable to parse requirement: found '=', expected: identifier"
    );
    assert!(text("continue=zzz").await.starts_with("invalid continue token"));
}

#[tokio::test]
async fn tables_and_partial_metadata() {
    let h = with_maps(2).await;
    let t = h
        .get_as(MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await
        .ok();
    assert_eq!(
        (&t["kind"], &t["apiVersion"]),
        (&json!("Table"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(
        (&t["rows"][0]["cells"][0], &t["rows"][0]["object"]["kind"]),
        (&json!("m0"), &json!("PartialObjectMetadata"))
    );
    let p = h
        .get_as(
            MAPS,
            "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io",
        )
        .await
        .ok();
    assert_eq!(p["items"][0]["kind"], "PartialObjectMetadata");
    let r = h.get_as(MAPS, "text/html").await;
    assert_eq!(r.code, 406);
}

#[tokio::test]
async fn protobuf_both_ways() {
    let h = with_maps(2).await;
    let media = "application/vnd.kubernetes.protobuf";
    let one = h.get_as(&format!("{MAPS}/m0"), media).await;
    assert_eq!(
        (&one.body[..4], one.headers["content-type"].to_str().unwrap()),
        (&b"k8s\0"[..], media)
    );
    let list = h.get_as(MAPS, media).await;
    let (gvk, value) = corten_schema::decode::protobuf(&list.body).unwrap();
    assert_eq!((gvk.kind.as_ref(), names(&value).len()), ("ConfigMapList", 2));
    h.delete(&format!("{MAPS}/m0")).await.ok();
    let (gvk, mut value) = corten_schema::decode::protobuf(&one.body).unwrap();
    value["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("resourceVersion");
    let r = h
        .body(
            "POST",
            MAPS,
            media,
            corten_schema::encode::protobuf(&gvk, &value).unwrap(),
        )
        .await;
    assert_eq!((r.code, r.json()["metadata"]["name"].as_str()), (201, Some("m0")));
}

#[tokio::test]
async fn yaml_both_ways() {
    let h = with_maps(1).await;
    let r = h.get_as(&format!("{MAPS}/m0"), "application/yaml").await;
    assert!(r.text().contains("kind: ConfigMap\n"), "{}", r.text());
    let text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y1}\ndata: {a: \"1\"}\n";
    assert_eq!(
        h.body("POST", MAPS, "application/yaml", text).await.ok()["data"]["a"],
        "1"
    );
}

#[tokio::test]
async fn events_in_both_groups() {
    let h = Harness::start().await;
    let event = json!({"metadata": {"name": "e", "namespace": "default"}, "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "x.y/z", "reportingInstance": "i", "action": "a", "reason": "r", "type": "Normal",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"}, "note": "n"});
    h.post("/apis/events.k8s.io/v1/namespaces/default/events", event)
        .await
        .ok();
    let core = h.get("/api/v1/namespaces/default/events/e").await.ok();
    assert_eq!(
        (&core["involvedObject"]["name"], &core["message"]),
        (&json!("p"), &json!("n"))
    );
    let new = h
        .get("/apis/events.k8s.io/v1/namespaces/default/events")
        .await
        .ok();
    assert_eq!(new["items"][0]["note"], "n");
}

/// Lists longer than a frame, of objects that are joined and of objects that are frames of their own.
#[tokio::test]
async fn long_lists_are_whole() {
    let h = Harness::start().await;
    for i in 0..60 {
        let text = "x".repeat(if i % 7 == 0 { 20_000 } else { 2_000 + i });
        h.post(
            MAPS,
            json!({"metadata": {"name": format!("m{i:02}")}, "data": {"text": text}}),
        )
        .await
        .ok();
    }
    let all = h.get(MAPS).await.ok();
    assert_eq!(
        names(&all),
        (0..60).map(|i| format!("m{i:02}")).collect::<Vec<_>>()
    );
    for (i, item) in all["items"].as_array().unwrap().iter().enumerate() {
        let mut one = h.get(&format!("{MAPS}/m{i:02}")).await.ok();
        one.as_object_mut().unwrap().remove("kind");
        one.as_object_mut().unwrap().remove("apiVersion");
        assert_eq!(*item, one);
    }
    let mut paged = Vec::new();
    let mut token = String::new();
    loop {
        let page = h.get(&format!("{MAPS}?limit=33&continue={token}")).await.ok();
        paged.extend(page["items"].as_array().unwrap().clone());
        match page["metadata"]["continue"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(&Value::from(paged), &all["items"]);
    let partial = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
    let partial = h.get_as(MAPS, partial).await.ok();
    assert_eq!(
        (&partial["kind"], &partial["apiVersion"]),
        (&json!("PartialObjectMetadataList"), &json!("meta.k8s.io/v1"))
    );
    assert_eq!(partial["metadata"], all["metadata"]);
    for (part, item) in partial["items"]
        .as_array()
        .unwrap()
        .iter()
        .zip(all["items"].as_array().unwrap())
    {
        let want = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": item["metadata"]});
        assert_eq!(*part, want);
    }
    let table = h
        .get_as(MAPS, "application/json;as=Table;v=v1;g=meta.k8s.io")
        .await
        .ok();
    assert_eq!(table["rows"].as_array().unwrap().len(), 60);
}
