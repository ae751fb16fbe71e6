//! Admission webhooks for requests that are not plain writes, and webhooks behind Services.

use std::net::SocketAddr;
use std::sync::Arc;

use corten_apiserver::{BoxIo, KubeletDialer, Target};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::harness::Harness;
use crate::hook_server::{Hook, allow, patch, review};
use crate::webhooks::{MAPS, configure, map, with};

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_is_shown_as_one() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| match asked["request"]["kind"]["kind"].as_str() {
        Some("Scale") => patch(
            asked,
            &json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]),
        ),
        Some("PodExecOptions") => review(
            asked,
            json!({"allowed": false, "status": {"message": "no shells"}}),
        ),
        _ => allow(asked),
    })
    .await;
    let rules = json!([
        {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]},
        {"operations": ["CONNECT", "CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*", "serviceaccounts/token"]},
    ]);
    configure(
        &h,
        "MutatingWebhookConfiguration",
        "m",
        json!([with(hook.webhook("m"), "rules", rules)]),
    )
    .await;
    let labels = json!({"app": "d"});
    let pod = json!({"containers": [{"name": "c", "image": "i"}]});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}},
    });
    let at = "/apis/apps/v1/namespaces/default/deployments";
    h.post(at, deployment).await.ok();
    let scale = h
        .merge(&format!("{at}/d/scale"), json!({"spec": {"replicas": 3}}))
        .await
        .ok();
    assert_eq!(scale["spec"]["replicas"], 5);
    assert_eq!(h.get(&format!("{at}/d")).await.ok()["spec"]["replicas"], 5);
    let asked = hook.requests();
    assert_eq!(asked[0]["subResource"], "scale");
    assert_eq!(
        asked[0]["kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    assert_eq!(asked[0]["resource"]["resource"], "deployments");
    assert_eq!(
        (
            &asked[0]["object"]["spec"]["replicas"],
            &asked[0]["oldObject"]["spec"]["replicas"]
        ),
        (&json!(3), &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_tokens_are_shown_as_what_is_asked() {
    let h = Harness::start().await;
    let hook = Hook::start(|_, asked| match asked["request"]["kind"]["kind"].as_str() {
        Some("Scale") => patch(
            asked,
            &json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]),
        ),
        Some("PodExecOptions") => review(
            asked,
            json!({"allowed": false, "status": {"message": "no shells"}}),
        ),
        _ => allow(asked),
    })
    .await;
    let rules = json!([
        {"operations": ["*"], "apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments/scale"]},
        {"operations": ["CONNECT", "CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/*", "serviceaccounts/token"]},
    ]);
    configure(
        &h,
        "MutatingWebhookConfiguration",
        "m",
        json!([with(hook.webhook("m"), "rules", rules)]),
    )
    .await;
    let exec = h
        .get("/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&stdin=true&container=c")
        .await;
    assert_eq!(
        exec.json()["message"],
        "admission webhook \"m.example.com\" denied the request: no shells"
    );
    let asked = hook.requests().pop().unwrap();
    assert_eq!(
        (&asked["operation"], &asked["name"]),
        (&json!("CONNECT"), &json!("p"))
    );
    assert_eq!(
        asked["object"],
        json!({"kind": "PodExecOptions", "apiVersion": "v1", "stdin": true, "container": "c", "command": ["sh", "-c"]})
    );
    assert_eq!(asked["options"], Value::Null);
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "sa"}});
    h.post("/api/v1/namespaces/default/serviceaccounts", account)
        .await
        .ok();
    let token = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    h.post("/api/v1/namespaces/default/serviceaccounts/sa/token", token)
        .await
        .ok();
    let asked = hook.requests().pop().unwrap();
    assert_eq!(
        (&asked["kind"]["kind"], &asked["operation"]),
        (&json!("TokenRequest"), &json!("CREATE"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn collections_are_deleted_one_by_one() {
    let h = Harness::start().await;
    let hook = Hook::start(
        |_, asked| match asked["request"]["oldObject"]["metadata"]["name"].as_str() {
            Some("kept") => review(asked, json!({"allowed": false})),
            _ => allow(asked),
        },
    )
    .await;
    for name in ["gone", "kept"] {
        h.post(MAPS, map(name)).await.ok();
    }
    configure(
        &h,
        "ValidatingWebhookConfiguration",
        "v",
        json!([hook.webhook("v")]),
    )
    .await;
    let reply = h.delete(MAPS).await;
    assert_eq!(reply.code, 400, "{}", reply.text());
    assert_eq!(h.get(&format!("{MAPS}/gone")).await.code, 404);
    assert_eq!(h.get(&format!("{MAPS}/kept")).await.code, 200);
    assert!(hook.requests().iter().all(|asked| asked.get("name").is_none()));
}

/// Whatever is dialled, the webhook answers.
struct Redirect {
    to: SocketAddr,
    dialled: Mutex<Vec<Target>>,
}

#[async_trait::async_trait]
impl KubeletDialer for Redirect {
    async fn connect(&self, target: &Target) -> std::io::Result<BoxIo> {
        self.dialled.lock().push(target.clone());
        Ok(Box::new(tokio::net::TcpStream::connect(self.to).await?))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_lead_to_ready_endpoints() {
    let hook = Hook::start(|_, asked| allow(asked)).await;
    let dialer = Arc::new(Redirect {
        to: hook.address,
        dialled: Mutex::default(),
    });
    let h = Harness::start_with(dialer.clone()).await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"},
        "spec": {"ports": [{"name": "https", "port": 443}]},
    });
    let mut webhook = hook.webhook("v");
    webhook["clientConfig"] =
        json!({"service": {"namespace": "default", "name": "hook", "path": "/s"}, "caBundle": hook.ca});
    configure(&h, "ValidatingWebhookConfiguration", "v", json!([webhook])).await;
    let failed = |why: &str| {
        format!(
            "Internal error occurred: failed calling webhook \"v.example.com\": failed to call webhook: \
             Post \"https://hook.default.svc:443/s?timeout=10s\": {why}"
        )
    };
    let reply = h.post(MAPS, map("one")).await;
    assert_eq!(reply.json()["message"], failed("services \"hook\" not found"));
    h.post("/api/v1/namespaces/default/services", service).await.ok();
    let reply = h.post(MAPS, map("one")).await;
    assert_eq!(
        reply.json()["message"],
        failed("no endpoints available for service \"hook\"")
    );
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "ports": [{"name": "https", "port": 8443}],
        "endpoints": [
            {"addresses": ["10.1.2.3"], "conditions": {"ready": true}, "nodeName": "n"},
            {"addresses": ["10.1.2.4"], "conditions": {"ready": false}},
        ],
    });
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    h.post(slices, slice).await.ok();
    h.post(MAPS, map("one")).await.ok();
    assert_eq!(hook.paths(), ["/s"]);
    let dialled = dialer.dialled.lock();
    assert_eq!(
        (
            dialled[0].host.as_str(),
            dialled[0].port,
            dialled[0].node.as_str(),
            dialled.len()
        ),
        ("10.1.2.3", 8443, "n", 1)
    );
}
