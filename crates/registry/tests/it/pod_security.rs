//! Pod security standards by namespace labels.

use serde_json::{Value, json};

use crate::fixture::Fixture;

const ENFORCE: &str = "pod-security.kubernetes.io/enforce";

async fn namespace(fixture: &Fixture, name: &str, labels: Value) {
    let object = json!({"metadata": {"name": name, "labels": labels}});
    fixture.create("", "namespaces", "", object).await.unwrap();
    fixture.service_account(name).await;
}

fn pod(name: &str, spec: &Value) -> Value {
    let mut pod = json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    for (field, value) in spec.as_object().unwrap() {
        pod["spec"][field] = value.clone();
    }
    pod
}

async fn refusal(fixture: &Fixture, namespace: &str, spec: Value) -> String {
    let created = fixture.create("", "pods", namespace, pod("p", &spec)).await;
    created.map_or_else(|status| status.message, |_| String::new())
}

#[tokio::test]
async fn baseline_refuses_what_reaches_the_host() {
    let fixture = Fixture::open().await;
    namespace(&fixture, "base", json!({ENFORCE: "baseline"})).await;
    let spec = json!({
        "hostNetwork": true,
        "containers": [{"name": "c", "image": "i", "securityContext": {"privileged": true}}],
        "volumes": [{"name": "v", "hostPath": {"path": "/"}}],
    });
    let expected = "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces \
                    (hostNetwork=true), hostPath volumes (volume \"v\"), privileged (container \"c\" must not set \
                    securityContext.privileged=true)";
    assert_eq!(refusal(&fixture, "base", spec).await, expected);
    assert_eq!(refusal(&fixture, "base", json!({})).await, "");
}

#[tokio::test]
async fn restricted_wants_everything_dropped() {
    let fixture = Fixture::open().await;
    namespace(&fixture, "strict", json!({ENFORCE: "restricted"})).await;
    let expected = "pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != \
                    false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted \
                    capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), \
                    runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), \
                    seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \
                    \"RuntimeDefault\" or \"Localhost\")";
    assert_eq!(refusal(&fixture, "strict", json!({})).await, expected);
    let good = json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "image": "i", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    });
    assert_eq!(refusal(&fixture, "strict", good).await, "");
}

#[tokio::test]
async fn workloads_and_existing_pods_are_warned_about() {
    let fixture = Fixture::open().await;
    namespace(&fixture, "later", json!({})).await;
    fixture
        .create("", "pods", "later", pod("a", &json!({"hostPID": true})))
        .await
        .unwrap();
    fixture.ctx.take_warnings();
    fixture
        .update("namespaces", "later", |namespace| {
            namespace["metadata"]["labels"][ENFORCE] = json!("baseline");
        })
        .await
        .unwrap();
    let expected = [
        "existing pods in namespace \"later\" violate the new PodSecurity enforce level \"baseline:latest\"",
        "a: host namespaces",
    ];
    assert_eq!(fixture.ctx.take_warnings(), expected);
    fixture.get("namespaces", "later").await.unwrap();
    let template = json!({
        "metadata": {"name": "t"},
        "template": {"spec": {"hostIPC": true, "containers": [{"name": "c", "image": "i"}]}},
    });
    fixture
        .create("", "podtemplates", "later", template)
        .await
        .unwrap();
    let expected = ["would violate PodSecurity \"baseline:latest\": host namespaces (hostIPC=true)"];
    assert_eq!(fixture.ctx.take_warnings(), expected);
    let wrong = json!({"metadata": {"name": "wrong", "labels": {ENFORCE: "strict"}}});
    let message = fixture
        .create("", "namespaces", "", wrong)
        .await
        .unwrap_err()
        .message;
    assert_eq!(
        message,
        "Namespace \"wrong\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \
         \"strict\": must be one of privileged, baseline, restricted"
    );
}
