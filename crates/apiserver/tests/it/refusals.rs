//! Options, reviews and versions that upstream refuses, in its words; and what it shows of health checks.

use http_body_util::Full;
use serde_json::json;

use crate::harness::{ADMIN, Harness, Reply};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

#[track_caller]
fn refused(r: &Reply, code: u16, message: &str) {
    let said = r.json();
    assert_eq!(r.code, code, "{said}");
    assert_eq!(said["message"], message);
}

/// A ConfigMap's path.
async fn made(h: &Harness) -> String {
    h.post(CONFIGMAPS, json!({"metadata": {"name": "a"}})).await.ok();
    format!("{CONFIGMAPS}/a")
}

#[tokio::test]
async fn delete_options_are_no_object_of_the_path() {
    let h = Harness::start().await;
    let path = made(&h).await;
    let scheme = "pkg/apis/meta/internalversion/scheme/register.go:27";
    let unknown = |kind: &str, version: &str| {
        format!("no kind \"{kind}\" is registered for version \"{version}\" in scheme \"{scheme}\"")
    };
    for (body, message) in [
        (r#"{"kind":"X","apiVersion":"v1"}"#, unknown("X", "v1")),
        (r#"{"kind":"Pod","apiVersion":"v1"}"#, unknown("Pod", "v1")),
        (
            r#"{"gracePeriodSeconds":"x"}"#,
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64"
                .to_owned(),
        ),
        (
            "x",
            "couldn't get version/kind; json parse error: invalid character 'x' looking for beginning of value"
                .to_owned(),
        ),
    ] {
        refused(&h.body("DELETE", &path, "application/json", body).await, 400, &message);
    }
}

#[tokio::test]
async fn a_deletes_query_has_preconditions() {
    let h = Harness::start().await;
    let path = made(&h).await;
    let of = |r: &Reply| r.json()["message"].as_str().unwrap_or_default().to_owned();
    for target in [path.as_str(), CONFIGMAPS] {
        let r = h.delete(&format!("{target}?dryRun=All&uid=x")).await;
        assert_eq!(r.code, 409, "{}", r.text());
        assert!(
            of(&r).contains("the UID in the precondition (x) does not match"),
            "{}",
            of(&r)
        );
        let r = h.delete(&format!("{target}?dryRun=All&resourceVersion=0")).await;
        assert_eq!(r.code, 409, "{}", r.text());
        assert!(
            of(&r).contains("the ResourceVersion in the precondition (0)"),
            "{}",
            of(&r)
        );
    }
    assert_eq!(h.delete(&format!("{path}?uid=&resourceVersion=")).await.code, 200);
}

#[tokio::test]
async fn versions_that_are_no_numbers() {
    let h = Harness::start().await;
    let path = made(&h).await;
    let syntax = "strconv.ParseUint: parsing \"x\": invalid syntax";
    let field = format!("resourceVersion: Invalid value: \"x\": {syntax}");
    refused(
        &h.get(&format!("{CONFIGMAPS}?watch=1&resourceVersion=x")).await,
        500,
        &field,
    );
    refused(&h.get(&format!("{path}?resourceVersion=x")).await, 500, &field);
    let listed = h.get(&format!("{CONFIGMAPS}?resourceVersion=x")).await;
    refused(&listed, 400, &format!("invalid resource version: {field}"));
    let body = json!({"metadata": {"name": "a", "resourceVersion": "x"}});
    for r in [h.merge(&path, body.clone()).await, h.put(&path, body).await] {
        refused(&r, 500, syntax);
        assert!(r.json().get("reason").is_none(), "{}", r.text());
    }
    let body = json!({"metadata": {"name": "a", "resourceVersion": "99999999999999999999"}});
    let range = "strconv.ParseUint: parsing \"99999999999999999999\": value out of range";
    refused(&h.put(&path, body).await, 500, range);
}

#[tokio::test]
async fn component_statuses_are_listed_like_everything() {
    let h = Harness::start().await;
    let path = "/api/v1/componentstatuses";
    for (query, code) in [
        ("labelSelector=a%3D%3D%3Db", 400),
        ("fieldSelector=metadata.name", 400),
        ("timeoutSeconds=x", 400),
        ("resourceVersionMatch=Exact", 422),
        ("sendInitialEvents=true", 422),
    ] {
        assert_eq!(h.get(&format!("{path}?{query}")).await.code, code, "{query}");
    }
    let only = "\"nope\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    refused(&h.get(&format!("{path}?fieldSelector=nope%3Dx")).await, 400, only);
    let watched = "watch is not supported on resources of kind \"componentstatuses\"";
    refused(&h.get(&format!("{path}?watch=1")).await, 405, watched);
    for (query, count) in [
        ("labelSelector=a%3Db", 0),
        ("labelSelector=!a", 3),
        ("fieldSelector=metadata.name%3Dscheduler", 1),
        ("fieldSelector=metadata.namespace%3Dx", 0),
    ] {
        let listed = h.get(&format!("{path}?{query}")).await.ok();
        assert_eq!(listed["items"].as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn selectors_of_access_reviews_are_validated() {
    let h = Harness::start().await;
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    let review = |which: &str, requirements: serde_json::Value| {
        let selector = json!({which: {"requirements": requirements}});
        json!({"spec": {"user": "u", "resourceAttributes": selector}})
    };
    let bad = json!([
        {"key": "-a", "operator": "In", "values": ["-y"]},
        {"key": "x", "operator": "In"},
        {"key": "x", "operator": "Exists", "values": ["y"]},
    ]);
    let fields = |r: &Reply| -> Vec<String> {
        let said = r.json();
        let causes = said["details"]["causes"].as_array().unwrap();
        let field = |c: &serde_json::Value| {
            c["field"]
                .as_str()
                .unwrap()
                .rsplit_once("requirements")
                .unwrap()
                .1
                .to_owned()
        };
        causes.iter().map(field).collect()
    };
    let r = h.post(path, review("labelSelector", bad.clone())).await;
    assert_eq!(r.code, 422);
    assert_eq!(
        fields(&r),
        ["[0].key", "[0].values[0]", "[1].values", "[2].values"]
    );
    let r = h.post(path, review("fieldSelector", bad)).await;
    assert_eq!(fields(&r), ["[1].values", "[2].values"]);
    let newer = json!([{"key": "x", "operator": "Newer"}]);
    assert_eq!(h.post(path, review("labelSelector", newer)).await.code, 201);
}

#[tokio::test]
async fn subresources_check_their_bodies() {
    let h = Harness::start().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let r = h
        .post(path, json!({"metadata": {"namespace": "x"}, "spec": {}}))
        .await;
    let text = "the namespace of the provided object does not match the namespace sent on the request";
    refused(&r, 400, text);
    let path = "/api/v1/namespaces/default/pods/p/eviction?dryRun=All";
    let eviction = |version: &str, dry: &str| {
        let options = json!({"dryRun": [dry]});
        json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": "p"}, "deleteOptions": options})
    };
    let text = "Non-matching dry-run options in request and content: [All] and [Nope]";
    refused(&h.post(path, eviction("policy/v1", "Nope")).await, 500, text);
    let old = h.post(path, eviction("policy/v1beta1", "All")).await;
    refused(&old, 404, "pods \"p\" not found");
}

#[tokio::test]
async fn lists_of_nothing_have_no_items() {
    let h = Harness::start().await;
    let r = h.get_as("/api/v1/namespaces/none/configmaps", PARTIAL_LIST).await;
    assert!(r.ok()["items"].is_null(), "{}", r.text());
    let yaml = PARTIAL_LIST.replace("json", "yaml");
    let r = h.get_as("/api/v1/namespaces/none/configmaps", &yaml).await;
    assert!(r.text().contains("items: null\n"), "{}", r.text());
    let r = h
        .get_as(CONFIGMAPS, &PARTIAL_LIST.replace("MetadataList", "Metadata"))
        .await;
    let text =
        "you requested PartialObjectMetadata, but the requested object is a list (*core.ConfigMapList)";
    refused(&r, 406, text);
}

#[tokio::test]
async fn health_checks_are_counted() {
    let h = Harness::start().await;
    h.get("/readyz").await;
    let page = h.get("/metrics/slis").await.text();
    assert!(
        page.contains("kubernetes_healthcheck{name=\"ping\",type=\"readyz\"} 1\n"),
        "{page}"
    );
    let counted = "kubernetes_healthchecks_total{name=\"ping\",status=\"success\",type=\"readyz\"} ";
    assert!(page.contains(counted), "{page}");
    let index = h.get("/").await.ok();
    assert!(
        index["paths"]
            .as_array()
            .unwrap()
            .contains(&json!("/metrics/slis"))
    );
}

/// People who type curl read failures too.
#[tokio::test]
async fn failures_are_indented_for_who_asks() {
    let h = Harness::start().await;
    let indented = async |query: &str, agent: &str| {
        let path = format!("{CONFIGMAPS}/none{query}");
        let request = h.request("GET", &path, ADMIN).header("user-agent", agent);
        let reply = h.whole(request.body(Full::default()).unwrap()).await;
        assert_eq!(reply.code, 404);
        reply.text().starts_with("{\n  \"kind\": \"Status\"")
    };
    assert!(indented("", "curl/8").await);
    assert!(indented("?pretty=1", "kubectl").await);
    assert!(!indented("", "kubectl").await);
    assert!(!indented("?pretty=0", "curl/8").await);
}

#[tokio::test]
async fn subresources_are_created_in_namespaces_that_are_there() {
    let h = Harness::start().await;
    let pods = "/api/v1/namespaces/nope/pods/x";
    let binding = json!({"metadata": {"name": "x"}, "target": {"name": "n"}});
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "x"}});
    let token = "/api/v1/namespaces/nope/serviceaccounts/x/token";
    for (path, body) in [
        (format!("{pods}/binding"), binding),
        (format!("{pods}/eviction"), eviction),
        (token.to_owned(), json!({"spec": {}})),
    ] {
        refused(&h.post(&path, body).await, 404, "namespaces \"nope\" not found");
    }
}

/// Events are one resource in two groups: errors name the one of the path.
#[tokio::test]
async fn an_error_names_the_group_that_was_asked() {
    const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
    const CORE: &str = "/api/v1/namespaces/default/events";
    let h = Harness::start().await;
    let event = json!({"metadata": {"name": "e"}, "eventTime": "2026-01-02T03:04:05.000000Z", "action": "a", "reason": "r",
        "type": "Normal", "reportingController": "c.io/x", "reportingInstance": "i",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}});
    let missing = "events.events.k8s.io \"e\" not found";
    refused(&h.get(&format!("{EVENTS}/e")).await, 404, missing);
    refused(&h.delete(&format!("{EVENTS}/e")).await, 404, missing);
    refused(&h.get(&format!("{CORE}/e")).await, 404, "events \"e\" not found");
    h.post(EVENTS, event.clone()).await.ok();
    let again = h.post(EVENTS, event).await;
    refused(&again, 409, "events.events.k8s.io \"e\" already exists");
    assert_eq!(again.json()["details"]["group"], "events.k8s.io");
    let mut stored = h.get(&format!("{CORE}/e")).await.json();
    stored["message"] = json!("x");
    stored["metadata"]["resourceVersion"] = json!("1");
    let modified =
        "the object has been modified; please apply your changes to the latest version and try again";
    let conflict = format!("Operation cannot be fulfilled on events \"e\": {modified}");
    refused(&h.put(&format!("{CORE}/e"), stored).await, 409, &conflict);
}

/// Parameters in Go's words, and what of them counts for nothing.
#[tokio::test]
async fn parameters_are_read_as_go_does() {
    let h = Harness::start().await;
    let path = made(&h).await;
    let timeout = "invalid timeout specified in the request URL - time:";
    for (query, message) in [
        ("timeout=1", format!("{timeout} missing unit in duration \"1\"")),
        (
            "timeout=1x",
            format!("{timeout} unknown unit \"x\" in duration \"1x\""),
        ),
        ("timeout=x", format!("{timeout} invalid duration \"x\"")),
    ] {
        refused(&h.get(&format!("{path}?{query}")).await, 400, &message);
    }
    for value in ["0", "0s", "-1s", "%2B1m", "1.5h"] {
        h.get(&format!("{path}?timeout={value}")).await.ok();
    }
    let token = "invalid continue token: continue key is not valid:";
    for (value, why) in [
        ("x", "illegal base64 data at input byte 0"),
        ("abcde", "illegal base64 data at input byte 4"),
        (
            "null",
            "invalid character '\\u009e' looking for beginning of value",
        ),
    ] {
        let r = h.get(&format!("{CONFIGMAPS}?continue={value}")).await;
        refused(&r, 400, &format!("{token} {why}"));
    }
    let hidden = h
        .post(
            &format!("{CONFIGMAPS}?fieldManager=%E2%80%8B"),
            json!({"metadata": {"name": "b"}}),
        )
        .await;
    let why = "fieldManager: Invalid value: \"\\u200b\": invalid character U+200B (at position 0)";
    refused(
        &hidden,
        422,
        &format!("CreateOptions.meta.k8s.io \"\" is invalid: {why}"),
    );
}

/// Annotations that stand for fields of old versions are read when a body is, by whichever way it comes.
#[tokio::test]
async fn annotations_that_are_fields_elsewhere() {
    const GENERATION: &str = "deprecated.daemonset.template.generation";
    let h = Harness::start().await;
    let (sets, deployments) = (
        "/apis/apps/v1/namespaces/default/daemonsets",
        "/apis/apps/v1/namespaces/default/deployments",
    );
    let workload = |kind: &str, key: &str, value: &str| {
        json!({
            "apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "w", "annotations": {key: value}},
            "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
                "metadata": {"labels": {"a": "b"}, "annotations": {"pod.alpha.kubernetes.io/init-containers": "[]"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]},
            }},
        })
    };
    let wrong = "strconv.ParseInt: parsing \"x\": invalid syntax";
    let made = h.post(sets, workload("DaemonSet", GENERATION, "x")).await;
    let why = format!("DaemonSet in version \"v1\" cannot be handled as a DaemonSet: {wrong}");
    refused(&made, 400, &why);
    let applied = workload("DaemonSet", GENERATION, "x").to_string();
    let path = format!("{sets}/w?fieldManager=me");
    let r = h
        .body("PATCH", &path, "application/apply-patch+yaml", applied)
        .await;
    let why = format!("failed to convert to unversioned (/w; apps/v1, Kind=DaemonSet): {wrong}");
    refused(&r, 500, &why);
    let set = h.post(sets, workload("DaemonSet", "other", "x")).await.ok();
    assert_eq!(set["metadata"]["annotations"][GENERATION], "1");
    assert!(set["spec"]["template"]["metadata"]["annotations"].is_null());
    let owned = &set["metadata"]["managedFields"][0]["fieldsV1"]["f:metadata"]["f:annotations"];
    assert_eq!(owned[format!("f:{GENERATION}")], json!({}));
    let to = "deprecated.deployment.rollback.to";
    let r = h.post(deployments, workload("Deployment", to, "-1")).await;
    let why = "Deployment.apps \"w\" is invalid: spec.rollback.version: Invalid value: -1: must be greater than or equal to 0";
    refused(&r, 422, why);
}

/// A review is nobody's object, but says who asked with what, as everything that is created.
#[tokio::test]
async fn reviews_say_who_set_what() {
    let h = Harness::start().await;
    let spec = json!({"spec": {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let r = h.post(
        "/apis/authorization.k8s.io/v1/subjectaccessreviews?fieldManager=me",
        spec,
    );
    let owners = &r.await.ok()["metadata"]["managedFields"];
    assert_eq!(owners[0]["manager"], "me");
    assert!(owners[0]["fieldsV1"]["f:status"].is_null());
    let named = json!({"metadata": {"name": "x", "labels": {"a": "b"}}});
    let own = h
        .post("/apis/authentication.k8s.io/v1/selfsubjectreviews", named)
        .await
        .ok();
    let members = own["metadata"].as_object().unwrap().keys();
    assert!(members.eq(["creationTimestamp"]), "{own}");
}

/// A patch is read when there is something to patch.
#[tokio::test]
async fn patches_of_nothing_are_not_read() {
    let h = Harness::start().await;
    let path = "/api/v1/namespaces/default/configmaps/none";
    for kind in ["json-patch", "merge-patch", "strategic-merge-patch"] {
        let r = h
            .body("PATCH", path, &format!("application/{kind}+json"), "[")
            .await;
        refused(&r, 404, "configmaps \"none\" not found");
    }
}

/// Kinds refuse unknown fields of selectors in words of their own.
#[tokio::test]
async fn unknown_fields_of_selectors() {
    let h = Harness::start().await;
    let known = "is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
    for (list, why) in [
        ("apps/v1/replicasets", format!("\"status.replicas\" {known}")),
        (
            "networking.k8s.io/v1/ipaddresses",
            format!("\"status.replicas\" {known}"),
        ),
        (
            "batch/v1/jobs",
            "field label \"status.replicas\" not supported for Job".to_owned(),
        ),
        (
            "resource.k8s.io/v1/resourceslices",
            "field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: status.replicas"
                .to_owned(),
        ),
    ] {
        refused(
            &h.get(&format!("/apis/{list}?fieldSelector=status.replicas%3D1"))
                .await,
            400,
            &why,
        );
    }
    let named = h.get("/api/v1/componentstatuses/nope").await;
    refused(&named, 404, "componentstatus \"nope\" not found");
    let review = h.get("/apis/authentication.k8s.io/v1/tokenreviews/nope").await;
    refused(&review, 404, "the server could not find the requested resource");
}
