//! Addresses and node ports of Services.

use std::collections::HashSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::fixture::Fixture;

fn service(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

fn plain(name: &str) -> Value {
    service(name, json!({"ports": [{"port": 80}], "selector": {"a": "b"}}))
}

async fn create(fixture: &Fixture, object: Value) -> Value {
    let created = fixture.create("", "services", "default", object).await;
    created.unwrap().value().unwrap()
}

async fn refusal(fixture: &Fixture, object: Value) -> String {
    fixture
        .create("", "services", "default", object)
        .await
        .unwrap_err()
        .message
}

async fn names(fixture: &Fixture) -> HashSet<String> {
    let addresses = fixture.resource("networking.k8s.io", "ipaddresses");
    let options = corten_registry::ListOptions::default();
    let page = fixture.registry.list(&addresses, None, &options).await.unwrap();
    page.items
        .iter()
        .map(|address| address.name().to_owned())
        .collect()
}

/// Claims are given back behind the write.
async fn eventually(mut check: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if check().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("did not happen");
}

#[tokio::test]
async fn services_get_addresses_of_their_own() {
    let fixture = Fixture::open().await;
    let mut seen = HashSet::new();
    for index in 0..50 {
        let created = create(&fixture, plain(&format!("s{index}"))).await;
        let ip = created["spec"]["clusterIP"].as_str().unwrap().to_owned();
        assert!(ip.starts_with("10.96."), "{ip}");
        assert_eq!(created["spec"]["clusterIPs"], json!([ip]));
        assert_eq!(created["spec"]["ipFamilies"], json!(["IPv4"]));
        assert_eq!(created["spec"]["ipFamilyPolicy"], "SingleStack");
        assert!(seen.insert(ip));
    }
    assert_eq!(names(&fixture).await, seen);
}

#[tokio::test]
async fn an_address_is_nobody_elses_until_its_service_is_gone() {
    let fixture = Fixture::open().await;
    let fixed = |name| service(name, json!({"clusterIP": "10.96.0.10", "ports": [{"port": 53}]}));
    create(&fixture, fixed("one")).await;
    let message = refusal(&fixture, fixed("two")).await;
    let expected = "Service \"two\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.10\"]: failed to allocate \
                    IP 10.96.0.10: provided IP is already allocated";
    assert_eq!(message, expected);
    let fixture = fixture.reopen().await;
    assert_eq!(refusal(&fixture, fixed("two")).await, expected);
    fixture
        .delete("services", "one", corten_registry::DeleteOptions::default())
        .await
        .unwrap();
    create(&fixture, fixed("two")).await;
}

#[tokio::test]
async fn what_a_refused_service_took_is_given_back() {
    let fixture = Fixture::open().await;
    let wrong = service("s", json!({"ports": [{"port": 80}], "sessionAffinity": "nope"}));
    refusal(&fixture, wrong).await;
    eventually(async || names(&fixture).await.is_empty()).await;
}

#[tokio::test]
async fn node_ports_are_given_kept_and_given_back() {
    let fixture = Fixture::open().await;
    let ports =
        json!([{"name": "a", "port": 53, "protocol": "UDP"}, {"name": "b", "port": 53, "protocol": "TCP"}]);
    let created = create(
        &fixture,
        service("dns", json!({"type": "NodePort", "ports": ports})),
    )
    .await;
    let port = created["spec"]["ports"][0]["nodePort"].as_i64().unwrap();
    assert!((30000..=32767).contains(&port));
    assert_eq!(created["spec"]["ports"][1]["nodePort"], port);
    let asked = |name| {
        service(
            name,
            json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": port}]}),
        )
    };
    let expected = format!(
        "Service \"two\" is invalid: spec.ports[0].nodePort: Invalid value: {port}: provided port is already allocated"
    );
    assert_eq!(refusal(&fixture, asked("two")).await, expected);
    let fixture = fixture.reopen().await;
    assert_eq!(refusal(&fixture, asked("two")).await, expected);
    let cluster_ip = fixture
        .update("services", "dns", |service| {
            service["spec"]["type"] = json!("ClusterIP")
        })
        .await
        .unwrap();
    let cluster_ip = cluster_ip.object.value().unwrap();
    assert_eq!(cluster_ip["spec"]["ports"][0].get("nodePort"), None);
    eventually(async || {
        let again = fixture.create("", "services", "default", asked("three")).await;
        again.is_ok()
    })
    .await;
    let outside = service(
        "four",
        json!({"type": "NodePort", "ports": [{"port": 1, "nodePort": 80}]}),
    );
    assert!(
        refusal(&fixture, outside)
            .await
            .ends_with("provided port is not in the valid range. The range of valid ports is 30000-32767")
    );
}

#[tokio::test]
async fn updates_without_addresses_keep_them() {
    let fixture = Fixture::open().await;
    let created = create(
        &fixture,
        service("s", json!({"type": "NodePort", "ports": [{"port": 80}]})),
    )
    .await;
    fixture.get("services", "s").await.unwrap();
    let updated = fixture
        .update("services", "s", |service| {
            let spec = service["spec"].as_object_mut().unwrap();
            spec.remove("clusterIP");
            spec.remove("clusterIPs");
            spec.insert(
                "ports".to_owned(),
                json!([{"port": 81, "protocol": "TCP", "targetPort": 81}]),
            );
        })
        .await
        .unwrap();
    let updated = updated.object.value().unwrap();
    assert_eq!(updated["spec"]["clusterIP"], created["spec"]["clusterIP"]);
    assert_eq!(
        updated["spec"]["ports"][0]["nodePort"],
        created["spec"]["ports"][0]["nodePort"]
    );
    let changed = fixture
        .update("services", "s", |service| {
            service["spec"]["clusterIP"] = json!("10.96.3.3")
        })
        .await;
    let message = changed.unwrap_err().message;
    assert!(message.contains("may not change once set"), "{message}");
}

#[tokio::test]
async fn headless_and_external_services_have_no_address() {
    let fixture = Fixture::open().await;
    let headless = create(
        &fixture,
        service("h", json!({"clusterIP": "None", "selector": {"a": "b"}})),
    )
    .await;
    assert_eq!(headless["spec"]["clusterIPs"], json!(["None"]));
    let manual = create(&fixture, service("m", json!({"clusterIP": "None"}))).await;
    assert_eq!(manual["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(manual["spec"]["ipFamilyPolicy"], "RequireDualStack");
    let external = create(
        &fixture,
        service("e", json!({"type": "ExternalName", "externalName": "a.b"})),
    )
    .await;
    assert_eq!(external["spec"].get("clusterIP"), None);
    assert!(names(&fixture).await.is_empty());
    let plain = fixture
        .update("services", "e", |service| {
            service["spec"]["type"] = json!("ClusterIP");
            service["spec"]["sessionAffinity"] = json!("None");
            service["spec"]["internalTrafficPolicy"] = json!("Cluster");
            service["spec"]["ports"] = json!([{"port": 80, "protocol": "TCP", "targetPort": 80}]);
        })
        .await
        .unwrap();
    let ip = plain.object.value().unwrap()["spec"]["clusterIP"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(names(&fixture).await.contains(&ip));
}

/// Families that only endpoints by hand may have are refused once there is a selector.
#[tokio::test]
async fn a_selector_asks_for_families_that_the_cluster_has() {
    let fixture = Fixture::open().await;
    // A range of another family than those that the server was started with does not make it dual-stack.
    for (name, range) in [("kubernetes", "10.43.0.0/24"), ("more", "fd00:43::/112")] {
        let cidr = json!({"metadata": {"name": name}, "spec": {"cidrs": [range]}});
        fixture
            .create("networking.k8s.io", "servicecidrs", "", cidr)
            .await
            .unwrap();
    }
    create(&fixture, service("m", json!({"clusterIP": "None"}))).await;
    let refused = fixture
        .update("services", "m", |service| {
            service["spec"]["selector"] = json!({"a": "b"})
        })
        .await
        .unwrap_err();
    assert_eq!(
        refused.message,
        "Service \"m\" is invalid: [spec.ipFamilyPolicy: Invalid value: \"RequireDualStack\": this cluster is not configured \
         for dual-stack services, spec.ipFamilies[1]: Invalid value: \"IPv6\": not configured on this cluster]"
    );
}

#[tokio::test]
async fn ranges_come_from_their_objects() {
    let fixture = Fixture::open().await;
    for (name, ranges) in [
        ("kubernetes", json!(["10.43.0.0/24", "fd00:43::/112"])),
        ("more", json!(["10.44.0.0/24"])),
    ] {
        let cidr = json!({"metadata": {"name": name}, "spec": {"cidrs": ranges}});
        fixture
            .create("networking.k8s.io", "servicecidrs", "", cidr)
            .await
            .unwrap();
    }
    let dual = json!({"ipFamilyPolicy": "PreferDualStack", "ports": [{"port": 80}]});
    let created = create(&fixture, service("dual", dual)).await;
    assert_eq!(created["spec"]["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert!(
        created["spec"]["clusterIPs"][1]
            .as_str()
            .unwrap()
            .starts_with("fd00:43::")
    );
    let fixed = service(
        "fixed",
        json!({"clusterIP": "10.44.0.7", "ports": [{"port": 80}]}),
    );
    create(&fixture, fixed).await;
    let single = fixture
        .update("services", "dual", |service| {
            service["spec"]["ipFamilyPolicy"] = json!("SingleStack")
        })
        .await
        .unwrap();
    let single = single.object.value().unwrap();
    assert_eq!(single["spec"]["clusterIPs"].as_array().unwrap().len(), 1);
    eventually(async || names(&fixture).await.len() == 2).await;
}

#[tokio::test]
async fn repair_gives_services_their_claims_and_takes_back_lost_ones() {
    let fixture = Fixture::open().await;
    let created = create(&fixture, plain("s")).await;
    let ip = created["spec"]["clusterIP"].as_str().unwrap().to_owned();
    let addresses = fixture.resource("networking.k8s.io", "ipaddresses");
    let options = corten_registry::DeleteOptions::default();
    fixture
        .registry
        .delete(&fixture.ctx, &addresses, "", &ip, &options)
        .await
        .unwrap();
    let lost = json!({
        "metadata": {"name": "10.96.9.9", "labels": {"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "gone"}},
    });
    fixture
        .create("networking.k8s.io", "ipaddresses", "", lost)
        .await
        .unwrap();
    let later = fixture.ctx.now + Duration::from_secs(120);
    corten_registry::strategy::service::repair(&fixture.registry, later)
        .await
        .unwrap();
    assert_eq!(names(&fixture).await, HashSet::from([ip]));
}
