//! What every kind can do: it is in discovery, and created, read, listed, watched, patched, replaced, its status written,
//! deleted alone and as a collection. One test for each kind that the conformance behaviours name.

use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::harness::{ADMIN, Harness};

/// Kinds whose metadata a write of the status leaves as it was.
const STATUS_ALONE: [&str; 7] = [
    "apiservices",
    "flowschemas",
    "prioritylevelconfigurations",
    "resourceclaims",
    "servicecidrs",
    "validatingadmissionpolicies",
    "volumeattachments",
];
const SELECTED: &str = "labelSelector=sort%3Dtried";

/// A certificate request in PEM, in base64, of a key that nobody has.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIV01IOENBUUF3SFRFT01Bd0dBMVVFQ2d3RmRISnBaV1F4Q3pBSkJnTlZCQU1NQW0xbE1Ga3dFd1lIS29aSQp6ajBDQVFZSUtvWkl6ajBEQVFjRFFnQUVZNHppRmcvWWNJOTZYeFRnZWZDUElkMTE4WWZ5Z3ZUWUQxWDdUVy9PCjlaOFdPamd3TjlzQWVEYUgrU3NFMEhKRlAvd2s2b29PWFB1UUptSmNSeVlySGFBQU1Bb0dDQ3FHU000OUJBTUMKQTBjQU1FUUNJQVpWREhlYVNpYU9MdENkVEFEUlRlcGZCVkplM2ZVaHFLQW1JZkdaRG0xSUFpQVdHNG5RYk43eQo1Szl1Q2dRb1grSm5ZNE1rS2ZkVlpmUWNVTXo3aHdvU1dRPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

/// A resource and the least object of it.
struct Subject {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    root: &'static str,
    plural: &'static str,
    namespaced: bool,
    object: Value,
}

impl Subject {
    fn collection(&self) -> String {
        let namespace = if self.namespaced {
            "/namespaces/default"
        } else {
            ""
        };
        format!("{}{namespace}/{}", self.root, self.plural)
    }

    /// The object under a name, with the label that selects it.
    fn named(&self, name: &str) -> Value {
        let mut object = self.object.clone();
        object["metadata"] = json!({"name": name, "labels": {"sort": "tried"}});
        object
    }

    async fn go_through(&self) {
        let h = Harness::start().await;
        // The controller that makes it does not run here.
        let account = json!({"metadata": {"name": "default"}});
        h.post("/api/v1/namespaces/default/serviceaccounts", account)
            .await
            .ok();
        let [has_status, has_scale] = self.discovered(&h).await;
        let list = self.created_and_listed(&h).await;
        let name = list["items"][0]["metadata"]["name"].as_str().unwrap();
        let revision = list["metadata"]["resourceVersion"].as_str().unwrap();
        let item = format!("{}/{name}", self.collection());
        self.changed(&h, &item).await;
        if has_status {
            self.status_written(&h, &item).await;
        }
        if has_scale {
            self.scaled(&h, &item).await;
        }
        self.unprotected(&h).await;
        // Jobs and replication controllers would leave their pods to nobody otherwise.
        h.delete(&format!("{item}?propagationPolicy=Background"))
            .await
            .ok();
        assert_eq!(h.get(&item).await.code, 404, "{item} is still there");
        let all = format!("{}?{SELECTED}", self.collection());
        h.delete(&format!("{all}&propagationPolicy=Background"))
            .await
            .ok();
        let left = h.get(&all).await.ok();
        assert_eq!(left["items"].as_array().map(Vec::len), Some(0), "{left}");
        self.watched(&h, revision).await;
    }

    /// Without the finalizers that admission put there: the controllers that take them off do not run here.
    async fn unprotected(&self, h: &Harness) {
        let list = h.get(&format!("{}?{SELECTED}", self.collection())).await.ok();
        for object in list["items"].as_array().unwrap() {
            if !object["metadata"]["finalizers"].is_null() {
                let item = format!(
                    "{}/{}",
                    self.collection(),
                    object["metadata"]["name"].as_str().unwrap()
                );
                h.merge(&item, json!({"metadata": {"finalizers": null}}))
                    .await
                    .ok();
            }
        }
    }

    /// Names that the kind takes.
    fn names(&self) -> [String; 3] {
        let prefix = match self.plural {
            "ipaddresses" => "10.96.77.",
            _ => "tried-",
        };
        [1, 2, 3].map(|n| format!("{prefix}{n}"))
    }

    /// Whether there are the status and scale subresources, as discovery says.
    async fn discovered(&self, h: &Harness) -> [bool; 2] {
        let (group, version) = self.root.rsplit_once('/').unwrap();
        if let Some(group) = group.strip_prefix("/apis/") {
            let groups = h.get("/apis").await.ok();
            let all = groups["groups"].as_array().unwrap();
            assert!(all.iter().any(|g| g["name"] == group), "{groups}");
            let one = h.get(&format!("/apis/{group}")).await.ok();
            let versions = one["versions"].as_array().unwrap();
            assert!(versions.iter().any(|v| v["version"] == version), "{one}");
        }
        let resources = h.get(self.root).await.ok();
        let resources = resources["resources"].as_array().unwrap();
        let has = |name: &str| resources.iter().any(|r| r["name"] == name);
        assert!(has(self.plural), "{} is not in {}", self.plural, self.root);
        ["status", "scale"].map(|sub| has(&format!("{}/{sub}", self.plural)))
    }

    async fn created_and_listed(&self, h: &Harness) -> Value {
        for name in self.names() {
            let made = h.post(&self.collection(), self.named(&name)).await;
            assert_eq!(made.code, 201, "{}", made.text());
            let read = h.get(&format!("{}/{name}", self.collection())).await.ok();
            assert_eq!(read["metadata"]["uid"], made.json()["metadata"]["uid"]);
        }
        let everywhere = format!("{}/{}?{SELECTED}", self.root, self.plural);
        let list = h.get(&everywhere).await.ok();
        assert_eq!(list["items"].as_array().map(Vec::len), Some(3), "{list}");
        let here = h.get(&format!("{}?{SELECTED}", self.collection())).await.ok();
        // Whole items may differ: some kinds have a controller in the server.
        let uids = |list: &Value| -> Vec<Value> {
            let items = list["items"].as_array().unwrap().iter();
            items.map(|item| item["metadata"]["uid"].clone()).collect()
        };
        assert_eq!(uids(&here), uids(&list));
        list
    }

    async fn changed(&self, h: &Harness, item: &str) {
        let patch = json!({"metadata": {"annotations": {"patched": "true"}}});
        let patched = h.merge(item, patch).await.ok();
        assert_eq!(patched["metadata"]["annotations"]["patched"], "true");
        let replaced = replace(h, item, |object| {
            object["metadata"]["annotations"]["replaced"] = json!("true");
        })
        .await;
        for annotation in ["patched", "replaced"] {
            assert_eq!(replaced["metadata"]["annotations"][annotation], "true");
        }
    }

    async fn status_written(&self, h: &Harness, item: &str) {
        let status = format!("{item}/status");
        let before = h.get(&status).await.ok();
        let patch = json!({"metadata": {"annotations": {"status": "patched"}}});
        let patched = h.merge(&status, patch).await.ok();
        assert_eq!(patched["spec"], before["spec"]);
        if STATUS_ALONE.contains(&self.plural) {
            return assert_eq!(
                patched["metadata"]["annotations"],
                before["metadata"]["annotations"]
            );
        }
        assert_eq!(patched["metadata"]["annotations"]["status"], "patched");
        let replaced = replace(h, &status, |object| {
            object["metadata"]["annotations"]["status"] = json!("replaced");
        })
        .await;
        assert_eq!(replaced["metadata"]["annotations"]["status"], "replaced");
    }

    async fn scaled(&self, h: &Harness, item: &str) {
        let path = format!("{item}/scale");
        let mut scale = h.get(&path).await.ok();
        assert_eq!(
            (&scale["kind"], &scale["spec"]["replicas"]),
            (&json!("Scale"), &json!(1))
        );
        scale["spec"]["replicas"] = json!(2);
        h.put(&path, scale).await.ok();
        assert_eq!(h.get(item).await.ok()["spec"]["replicas"], 2);
        h.merge(&path, json!({"spec": {"replicas": 4}})).await.ok();
        assert_eq!(h.get(item).await.ok()["spec"]["replicas"], 4);
    }

    /// Everything since the list comes by a watch that begins there.
    async fn watched(&self, h: &Harness, revision: &str) {
        let path = format!(
            "{}?watch=true&{SELECTED}&resourceVersion={revision}",
            self.collection()
        );
        let request = h.request("GET", &path, ADMIN).body(Full::default()).unwrap();
        let mut body = h.send(request).await.into_body();
        let (mut text, mut deleted, mut modified) = (Vec::new(), 0, 0);
        while deleted < 3 {
            let frame = body.frame().await.unwrap().unwrap();
            text.extend_from_slice(frame.data_ref().unwrap());
            while let Some(end) = text.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = text.drain(..=end).collect();
                let event: Value = serde_json::from_slice(&line).unwrap();
                match event["type"].as_str().unwrap() {
                    "MODIFIED" => modified += 1,
                    "DELETED" => deleted += 1,
                    other => panic!("{other}: {event}"),
                }
            }
        }
        assert!(modified >= 2, "only {modified} changes");
    }
}

/// Reads, changes and writes an object, again where another writer came between.
async fn replace(h: &Harness, path: &str, change: impl Fn(&mut Value)) -> Value {
    for _ in 0..10 {
        let mut object = h.get(path).await.ok();
        change(&mut object);
        let answer = h.put(path, object).await;
        if answer.code != 409 {
            return answer.ok();
        }
    }
    panic!("{path} changes all the time");
}

macro_rules! kinds {
    ($($test:ident: $scope:ident $root:literal $plural:literal $object:tt;)*) => {$(
        #[tokio::test]
        async fn $test() {
            let namespaced = stringify!($scope) == "namespaced";
            Subject { root: $root, plural: $plural, namespaced, object: json!($object) }.go_through().await;
        }
    )*};
}

kinds! {
    pods: namespaced "/api/v1" "pods" {"spec": {"containers": [{"name": "c", "image": "i"}]}};
    pod_templates: namespaced "/api/v1" "podtemplates" {"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}};
    config_maps: namespaced "/api/v1" "configmaps" {"data": {"k": "v"}};
    secrets: namespaced "/api/v1" "secrets" {"data": {"k": "dg=="}};
    services: namespaced "/api/v1" "services" {"spec": {"ports": [{"port": 80}]}};
    endpoints: namespaced "/api/v1" "endpoints" {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]};
    service_accounts: namespaced "/api/v1" "serviceaccounts" {"automountServiceAccountToken": false};
    limit_ranges: namespaced "/api/v1" "limitranges" {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}};
    resource_quotas: namespaced "/api/v1" "resourcequotas" {"spec": {"hard": {"pods": "100"}}};
    replication_controllers: namespaced "/api/v1" "replicationcontrollers" {
        "spec": {"selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    };
    core_events: namespaced "/api/v1" "events" {"involvedObject": {"namespace": "default", "kind": "Pod", "name": "p"}, "reason": "r", "message": "m"};
    nodes: cluster "/api/v1" "nodes" {"spec": {"unschedulable": true}};
    deployments: namespaced "/apis/apps/v1" "deployments" {
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    };
    replica_sets: namespaced "/apis/apps/v1" "replicasets" {
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    };
    stateful_sets: namespaced "/apis/apps/v1" "statefulsets" {
        "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    };
    daemon_sets: namespaced "/apis/apps/v1" "daemonsets" {
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}
    };
    controller_revisions: namespaced "/apis/apps/v1" "controllerrevisions" {"revision": 1, "data": {"a": "b"}};
    jobs: namespaced "/apis/batch/v1" "jobs" {
        "spec": {"suspend": true, "template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
    };
    cron_jobs: namespaced "/apis/batch/v1" "cronjobs" {
        "spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}}}
    };
    autoscalers: namespaced "/apis/autoscaling/v2" "horizontalpodautoscalers" {
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}
    };
    disruption_budgets: namespaced "/apis/policy/v1" "poddisruptionbudgets" {"spec": {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}};
    events: namespaced "/apis/events.k8s.io/v1" "events" {
        "eventTime": "2026-01-01T00:00:00.000000Z", "reportingController": "c.test/x", "reportingInstance": "i", "action": "a", "reason": "r",
        "type": "Normal", "regarding": {"namespace": "default", "kind": "Pod", "name": "p"}
    };
    leases: namespaced "/apis/coordination.k8s.io/v1" "leases" {"spec": {"holderIdentity": "h", "leaseDurationSeconds": 30}};
    endpoint_slices: namespaced "/apis/discovery.k8s.io/v1" "endpointslices" {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]};
    ingresses: namespaced "/apis/networking.k8s.io/v1" "ingresses" {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}};
    ingress_classes: cluster "/apis/networking.k8s.io/v1" "ingressclasses" {"spec": {"controller": "c.test/x"}};
    network_policies: namespaced "/apis/networking.k8s.io/v1" "networkpolicies" {"spec": {"podSelector": {}}};
    ip_addresses: cluster "/apis/networking.k8s.io/v1" "ipaddresses" {
        "spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "none"}}
    };
    service_cidrs: cluster "/apis/networking.k8s.io/v1" "servicecidrs" {"spec": {"cidrs": ["10.200.0.0/24"]}};
    runtime_classes: cluster "/apis/node.k8s.io/v1" "runtimeclasses" {"handler": "h"};
    priority_classes: cluster "/apis/scheduling.k8s.io/v1" "priorityclasses" {"value": 7};
    csi_drivers: cluster "/apis/storage.k8s.io/v1" "csidrivers" {"spec": {"attachRequired": false}};
    csi_nodes: cluster "/apis/storage.k8s.io/v1" "csinodes" {"spec": {"drivers": []}};
    csi_capacities: namespaced "/apis/storage.k8s.io/v1" "csistoragecapacities" {"storageClassName": "s"};
    storage_classes: cluster "/apis/storage.k8s.io/v1" "storageclasses" {"provisioner": "c.test/x"};
    volume_attachments: cluster "/apis/storage.k8s.io/v1" "volumeattachments" {
        "spec": {"attacher": "c.test", "nodeName": "n", "source": {"persistentVolumeName": "v"}}
    };
    attributes_classes: cluster "/apis/storage.k8s.io/v1" "volumeattributesclasses" {"driverName": "c.test/x", "parameters": {"a": "b"}};
    flow_schemas: cluster "/apis/flowcontrol.apiserver.k8s.io/v1" "flowschemas" {
        "spec": {"matchingPrecedence": 10000, "priorityLevelConfiguration": {"name": "global-default"}}
    };
    priority_levels: cluster "/apis/flowcontrol.apiserver.k8s.io/v1" "prioritylevelconfigurations" {
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}
    };
    certificate_requests: cluster "/apis/certificates.k8s.io/v1" "certificatesigningrequests" {
        "spec": {"signerName": "tried.test/signer", "usages": ["client auth"], "request": REQUEST}
    };
    device_classes: cluster "/apis/resource.k8s.io/v1" "deviceclasses" {"spec": {}};
    resource_claims: namespaced "/apis/resource.k8s.io/v1" "resourceclaims" {
        "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c.test"}}]}}
    };
    resource_claim_templates: namespaced "/apis/resource.k8s.io/v1" "resourceclaimtemplates" {
        "spec": {"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c.test"}}]}}}
    };
    resource_slices: cluster "/apis/resource.k8s.io/v1" "resourceslices" {
        "spec": {"driver": "c.test", "nodeName": "n", "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}, "devices": [{"name": "d"}]}
    };
    mutating_webhooks: cluster "/apis/admissionregistration.k8s.io/v1" "mutatingwebhookconfigurations" {"webhooks": []};
    validating_webhooks: cluster "/apis/admissionregistration.k8s.io/v1" "validatingwebhookconfigurations" {"webhooks": []};
    validating_policies: cluster "/apis/admissionregistration.k8s.io/v1" "validatingadmissionpolicies" {
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": ["c.test"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["xs"]}]},
            "validations": [{"expression": "true"}]
        }
    };
    validating_policy_bindings: cluster "/apis/admissionregistration.k8s.io/v1" "validatingadmissionpolicybindings" {
        "spec": {"policyName": "none.test", "validationActions": ["Deny"]}
    };
    mutating_policies: cluster "/apis/admissionregistration.k8s.io/v1" "mutatingadmissionpolicies" {
        "spec": {
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [{"apiGroups": ["c.test"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["xs"]}]},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: \"add\", path: \"/a\", value: \"b\"}]"}}]
        }
    };
    mutating_policy_bindings: cluster "/apis/admissionregistration.k8s.io/v1" "mutatingadmissionpolicybindings" {"spec": {"policyName": "none.test"}};
}

#[tokio::test]
async fn namespaces_are_changed() {
    let h = Harness::start().await;
    let path = "/api/v1/namespaces/tried";
    h.post("/api/v1/namespaces", json!({"metadata": {"name": "tried"}}))
        .await
        .ok();
    let patched = h
        .merge(path, json!({"metadata": {"labels": {"patched": "true"}}}))
        .await
        .ok();
    assert_eq!(patched["metadata"]["labels"]["patched"], "true");
    let mut object = patched;
    object["metadata"]["labels"]["replaced"] = json!("true");
    let replaced = h.put(path, object).await.ok();
    assert_eq!(replaced["metadata"]["labels"]["replaced"], "true");
    assert_eq!(
        replaced["metadata"]["labels"]["kubernetes.io/metadata.name"],
        "tried"
    );
    let status = format!("{path}/status");
    let condition = json!({"type": "Tried", "status": "True", "reason": "E2E", "message": "m"});
    let patched = h
        .merge(&status, json!({"status": {"conditions": [condition]}}))
        .await
        .ok();
    assert_eq!(patched["status"]["conditions"][0]["type"], "Tried");
    let mut object = h.get(&status).await.ok();
    object["status"]["conditions"][0]["message"] = json!("n");
    let replaced = h.put(&status, object).await.ok();
    assert_eq!(replaced["status"]["conditions"][0]["message"], "n");
    let mut object = h.get(path).await.ok();
    object["spec"]["finalizers"] = json!(["kubernetes", "tried.test/end"]);
    let finalized = h.put(&format!("{path}/finalize"), object).await.ok();
    assert_eq!(
        finalized["spec"]["finalizers"],
        json!(["kubernetes", "tried.test/end"])
    );
}

/// A kind without objects cannot be shown as a table.
#[tokio::test]
async fn reviews_are_no_tables() {
    let h = Harness::start().await;
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let body = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}
    });
    let request = h
        .request("POST", path, ADMIN)
        .header("content-type", "application/json")
        .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
        .body(Full::new(body.to_string().into()))
        .unwrap();
    let answer = h.whole(request).await;
    assert_eq!(answer.code, 406, "{}", answer.text());
}

#[tokio::test]
async fn the_issuer_of_tokens_is_discovered() {
    let h = Harness::start().await;
    let about = h.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(about["issuer"], "https://kubernetes.default.svc.cluster.local");
    assert!(
        about["jwks_uri"].as_str().unwrap().ends_with("/openid/v1/jwks"),
        "{about}"
    );
    assert_eq!(about["response_types_supported"], json!(["id_token"]));
    let keys = h.get("/openid/v1/jwks").await;
    assert_eq!(keys.headers["content-type"], "application/jwk-set+json");
    let key = &keys.json()["keys"][0];
    assert_eq!((&key["use"], key["kid"].is_string()), (&json!("sig"), true));
}
