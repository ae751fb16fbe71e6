use expect_test::expect;
use serde_json::{Value, json};

use crate::cluster::{start, workload};

fn service(extra: Value) -> Value {
    let mut spec = json!({"clusterIP": "10.96.0.9", "selector": {"app": "r"},
        "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]});
    if let (Value::Object(spec), Value::Object(extra)) = (&mut spec, extra) {
        spec.extend(extra);
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "a", "name": "web",
        "labels": {"tier": "front"}}, "spec": spec})
}

#[tokio::test(start_paused = true)]
async fn slices_follow_pods() {
    let cluster = start();
    cluster.fake.put("services", service(json!({})));
    cluster
        .until("empty slice", |f| f.list("endpointslices").len() == 1)
        .await;
    cluster
        .fake
        .put("replicasets", workload("ReplicaSet", "r", json!({"replicas": 2})));
    let ready = |f: &corten_client::fake::Fake, count: usize| {
        let slices = f.list("endpointslices");
        let all = slices
            .iter()
            .flat_map(|s| s["endpoints"].as_array().cloned().unwrap_or_default());
        slices.len() == 1 && all.filter(|e| e["conditions"]["ready"] == true).count() == count
    };
    cluster.until("two ready", |f| ready(f, 2)).await;
    let slice = &cluster.fake.list("endpointslices")[0];
    expect![[r#"{"endpointslice.kubernetes.io/managed-by":"endpointslice-controller.k8s.io","kubernetes.io/service-name":"web","tier":"front"} IPv4 [{"name":"http","port":8080,"protocol":"TCP"}]"#]]
        .assert_eq(&format!("{} {} {}", slice["metadata"]["labels"], slice["addressType"].as_str().unwrap(), slice["ports"]));
    let endpoints = cluster.fake.get("endpoints", "a", "web").unwrap();
    assert_eq!(
        endpoints["subsets"][0]["addresses"].as_array().unwrap().len(),
        2,
        "{endpoints}"
    );
    // A pod that turns unready leaves.
    let name = cluster.fake.list("pods")[0]["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    cluster.fake.edit("pods", "a", &name, |p| {
        p["status"]["conditions"][0]["status"] = json!("False")
    });
    cluster.until("one ready", |f| ready(f, 1)).await;
    cluster
        .until("not ready listed", |f| {
            f.get("endpoints", "a", "web").unwrap()["subsets"][0]["notReadyAddresses"]
                .as_array()
                .map(Vec::len)
                == Some(1)
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn slices_hold_a_hundred() {
    let cluster = start();
    cluster
        .fake
        .put("services", service(json!({"clusterIP": "None"})));
    cluster.fake.put(
        "replicasets",
        workload("ReplicaSet", "r", json!({"replicas": 130})),
    );
    let sizes = |f: &corten_client::fake::Fake| {
        let slices = f.list("endpointslices");
        let mut sizes: Vec<_> = slices
            .iter()
            .map(|s| s["endpoints"].as_array().map_or(0, Vec::len))
            .collect();
        sizes.sort_unstable();
        sizes
    };
    cluster
        .until("slices", |f| sizes(f).iter().sum::<usize>() == 130)
        .await;
    assert!(sizes(&cluster.fake).iter().all(|s| *s <= 100));
    cluster
        .fake
        .edit("replicasets", "a", "r", |r| r["spec"]["replicas"] = json!(0));
    cluster.until("one empty slice", |f| sizes(f) == [0]).await;
}

#[tokio::test(start_paused = true)]
async fn endpoints_written_by_hand_are_mirrored() {
    let cluster = start();
    let mut bare = service(json!({}));
    bare["spec"].as_object_mut().unwrap().remove("selector");
    cluster.fake.put("services", bare);
    cluster.fake.put(
        "endpoints",
        json!({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"namespace": "a", "name": "web"},
        "subsets": [{"addresses": [{"ip": "192.0.2.1"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]}]}),
    );
    cluster
        .until("mirrored", |f| f.list("endpointslices").len() == 1)
        .await;
    let slice = &cluster.fake.list("endpointslices")[0];
    expect![[r#"[{"addresses":["192.0.2.1"],"conditions":{"ready":true}},{"addresses":["192.0.2.2"],"conditions":{"ready":false}}]"#]]
        .assert_eq(&slice["endpoints"].to_string());
    cluster
        .fake
        .edit("endpoints", "a", "web", |e| e["subsets"] = json!([]));
    cluster
        .until("gone", |f| f.list("endpointslices").is_empty())
        .await;
}
