//! Patches that say what an object is, or say something twice.

use serde_json::{Value, json};

use crate::harness::{Harness, Reply};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON: &str = "application/json-patch+json";

async fn with_map() -> Harness {
    let h = Harness::start().await;
    h.post(MAPS, json!({"metadata": {"name": "a"}, "data": {"x": "1"}}))
        .await
        .ok();
    h
}

fn warnings(reply: &Reply) -> Vec<&str> {
    let all = reply.headers.get_all("warning").iter();
    all.map(|value| value.to_str().unwrap()).collect()
}

#[tokio::test]
async fn an_object_stays_what_it_is() {
    let h = with_map().await;
    let path = format!("{MAPS}/a");
    for (patch, problem) in [
        (
            json!({"apiVersion": "v9"}),
            "no kind \"ConfigMap\" is registered for version \"v9\"",
        ),
        (
            json!({"kind": "X"}),
            "no kind \"X\" is registered for version \"v1\"",
        ),
        (
            json!({"kind": "Secret"}),
            "converting (v1.Secret) to (core.ConfigMap): unknown conversion",
        ),
    ] {
        let refused = h.merge(&path, patch.clone()).await;
        assert_eq!(refused.code, 422, "{patch}: {}", refused.text());
        let message = refused.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(problem), "{message}");
        // A strategic patch is read into the kind of the path.
        let taken = h.body("PATCH", &path, STRATEGIC, patch.to_string()).await.ok();
        assert_eq!(
            (&taken["apiVersion"], &taken["kind"]),
            (&json!("v1"), &json!("ConfigMap"))
        );
    }
    let scalers = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers";
    let target = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"});
    let scaler = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 3, "scaleTargetRef": target}});
    h.post(scalers, scaler).await.ok();
    let other = json!({"apiVersion": "autoscaling/v2", "spec": {"maxReplicas": 4, "targetCPUUtilizationPercentage": null}});
    let changed = h.merge(&format!("{scalers}/h"), other).await.ok();
    assert_eq!(
        (&changed["apiVersion"], &changed["spec"]["maxReplicas"]),
        (&json!("autoscaling/v1"), &json!(4))
    );
}

#[tokio::test]
async fn what_stands_twice_in_a_patch_is_told() {
    let h = with_map().await;
    let path = format!("{MAPS}/a");
    let twice = r#"{"data": {"a": "2", "a": "3"}}"#;
    for media in [MERGE, STRATEGIC] {
        let told = h.body("PATCH", &path, media, twice).await;
        assert_eq!(told.ok()["data"]["a"], "3");
        assert_eq!(warnings(&told), ["299 - \"duplicate field \\\"data.a\\\"\""]);
        let strict = h
            .body("PATCH", &format!("{path}?fieldValidation=Strict"), media, twice)
            .await;
        assert_eq!(strict.code, 422);
        assert!(
            strict.text().contains("strict decoding error: duplicate field"),
            "{}",
            strict.text()
        );
        let ignored = h
            .body("PATCH", &format!("{path}?fieldValidation=Ignore"), media, twice)
            .await;
        assert!(ignored.code == 200 && warnings(&ignored).is_empty());
    }
    let odd = r#"[{"op": "add", "path": "/data/b", "value": "1", "value": "2", "zz": 1}, {"op": "add", "path": "/zz", "value": 1}]"#;
    let strict = h
        .body("PATCH", &format!("{path}?fieldValidation=Strict"), JSON, odd)
        .await;
    let message = strict.json()["message"].as_str().unwrap().to_owned();
    let told = "strict decoding error: json patch unknown field \"[0].zz\", json patch duplicate field \"[0].value\", unknown \
                field \"zz\"";
    assert!(message.ends_with(told), "{message}");
    assert_eq!(warnings(&h.body("PATCH", &path, JSON, odd).await).len(), 3);
}

#[tokio::test]
async fn a_job_says_that_it_leaves_its_pods() {
    let h = Harness::start().await;
    let jobs = "/apis/batch/v1/namespaces/default/jobs";
    let job = |name: &str| -> Value {
        let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]});
        json!({"metadata": {"name": name}, "spec": {"template": {"spec": pod}}})
    };
    for name in ["a", "b"] {
        h.post(jobs, job(name)).await.ok();
    }
    let said = h.delete(&format!("{jobs}/a?propagationPolicy=Background")).await;
    assert!(said.code == 200 && warnings(&said).is_empty());
    for path in [format!("{jobs}/b?dryRun=All"), jobs.to_owned()] {
        let unsaid = h.delete(&path).await;
        assert_eq!(unsaid.code, 200);
        assert!(
            warnings(&unsaid)[0].contains("child pods are preserved by default"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_object_without_a_version_has_no_name() {
    let h = with_map().await;
    let path = format!("{MAPS}/a");
    let patch = json!({"apiVersion": null});
    let told = h.merge(&path, patch.clone()).await;
    let text = "the name of the object (a based on URL) was undeterminable: name must be provided";
    assert_eq!((told.code, &told.json()["message"]), (400, &json!(text)));
    assert_eq!(warnings(&told).len(), 2);
    let ignored = h
        .merge(&format!("{path}?fieldValidation=Ignore"), patch.clone())
        .await;
    assert!(ignored.code == 400 && warnings(&ignored).is_empty());
    let strict = h.merge(&format!("{path}?fieldValidation=Strict"), patch).await;
    assert_eq!(strict.code, 422);
    let problem = "strict decoding error: unknown field \"data\", unknown field \"metadata\"";
    assert!(strict.json()["message"].as_str().unwrap().ends_with(problem));
}

#[tokio::test]
async fn what_is_said_of_a_device_goes_with_it() {
    let h = Harness::start().await;
    let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let request = json!({"name": "r", "exactly": {"deviceClassName": "c"}});
    let claim = json!({"metadata": {"name": "x"}, "spec": {"devices": {"requests": [request]}}});
    h.post(claims, claim).await.ok();
    let device = json!({"request": "r", "driver": "d.example.com", "pool": "p", "device": "d1"});
    let status = json!({"status": {
        "allocation": {"devices": {"results": [device]}},
        "devices": [{"driver": "d.example.com", "pool": "p", "device": "d1"}],
    }});
    let path = format!("{claims}/x/status");
    assert!(h.merge(&path, status).await.ok()["status"]["devices"].is_array());
    let freed = h.merge(&path, json!({"status": {"allocation": null}})).await.ok();
    assert_eq!(freed["status"], json!({}));
}
