//! Subresources and reviews in the shapes a client may ask for: Table, metadata only.

use serde_json::{Value, json};

use crate::harness::{Harness, Reply};

const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

async fn with_deployment() -> Harness {
    let h = Harness::start().await;
    let spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template()});
    h.post(DEPLOYMENTS, json!({"metadata": {"name": "d"}, "spec": spec}))
        .await
        .ok();
    h
}

async fn with_pod() -> Harness {
    let h = Harness::start().await;
    h.post(
        "/api/v1/namespaces/default/serviceaccounts",
        json!({"metadata": {"name": "default"}}),
    )
    .await;
    let pod = json!({"metadata": {"name": "p"}, "spec": template()["spec"]});
    h.post(PODS, pod).await.ok();
    h
}

#[track_caller]
fn no_list(r: &Reply, go_type: &str) {
    let text = "you requested PartialObjectMetadataList, but the requested object is not a list";
    assert_eq!(r.code, 406, "{}", r.text());
    assert_eq!(r.json()["message"], format!("{text} (*{go_type})"));
}

#[tokio::test]
async fn a_scale_has_a_table() {
    let h = with_deployment().await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let table = h.get_as(&path, &format!("{TABLE},application/json")).await.json();
    let columns = table["columnDefinitions"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|c| (&c["name"], &c["type"])).collect();
    let known = json!([
        "Name",
        "string",
        "Desired",
        "integer",
        "Available",
        "integer",
        "Age",
        "string"
    ]);
    let pairs: Vec<_> = known
        .as_array()
        .unwrap()
        .chunks(2)
        .map(|p| (&p[0], &p[1]))
        .collect();
    assert_eq!(names, pairs);
    assert!(columns.iter().all(|c| c["description"] != ""), "{columns:?}");
    let row = &table["rows"][0];
    assert_eq!(
        row["cells"].as_array().unwrap()[..3],
        [json!("d"), json!(1), json!(0)]
    );
    assert_eq!(row["object"]["kind"], "PartialObjectMetadata");
    let whole = h
        .get_as(&format!("{path}?includeObject=Object"), TABLE)
        .await
        .json();
    assert_eq!(whole["rows"][0]["object"]["kind"], "Scale");
    assert_eq!(
        whole["metadata"]["resourceVersion"],
        table["metadata"]["resourceVersion"]
    );
}

#[tokio::test]
async fn a_scale_has_metadata() {
    let h = with_deployment().await;
    let path = format!("{DEPLOYMENTS}/d/scale");
    let partial = h.get_as(&path, PARTIAL).await.json();
    assert_eq!(partial["kind"], "PartialObjectMetadata");
    assert_eq!(
        (&partial["metadata"]["name"], partial.get("spec")),
        (&json!("d"), None)
    );
    no_list(&h.get_as(&path, PARTIAL_LIST).await, "autoscaling.Scale");
    let scale = json!({"metadata": {"name": "d"}, "spec": {"replicas": 2}});
    let request = h
        .request("PUT", &path, crate::harness::ADMIN)
        .header("accept", TABLE);
    let request = request.header("content-type", "application/json");
    let body = http_body_util::Full::new(scale.to_string().into());
    let written = h.whole(request.body(body).unwrap()).await;
    assert_eq!(written.json()["rows"][0]["cells"][1], 2, "{}", written.text());
}

#[tokio::test]
async fn reviews_have_metadata_and_no_table() {
    let h = with_pod().await;
    for (path, go_type) in [
        (
            "/api/v1/namespaces/default/serviceaccounts/default/token",
            "authentication.TokenRequest",
        ),
        (
            "/apis/authentication.k8s.io/v1/selfsubjectreviews",
            "authentication.SelfSubjectReview",
        ),
        (
            "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews",
            "authorization.SelfSubjectRulesReview",
        ),
    ] {
        let ask = async |accept: &str| {
            let request = h
                .request("POST", path, crate::harness::ADMIN)
                .header("accept", accept);
            let body = json!({"spec": {"namespace": "default"}}).to_string();
            let body = if path.contains("rules") {
                body
            } else {
                "{}".to_owned()
            };
            let request = request.header("content-type", "application/json");
            h.whole(request.body(http_body_util::Full::new(body.into())).unwrap())
                .await
        };
        let partial = ask(PARTIAL).await;
        assert_eq!(
            partial.json()["kind"],
            "PartialObjectMetadata",
            "{path}: {}",
            partial.text()
        );
        no_list(&ask(PARTIAL_LIST).await, go_type);
        assert_eq!(ask(TABLE).await.code, 406);
    }
}

#[tokio::test]
async fn some_subresources_have_no_table() {
    let h = with_pod().await;
    for subresource in ["resize", "ephemeralcontainers"] {
        let path = format!("{PODS}/p/{subresource}");
        assert_eq!(h.get_as(&path, TABLE).await.code, 406);
        let either = h.get_as(&path, &format!("{TABLE},application/json")).await;
        assert_eq!(either.json()["kind"], "Pod");
    }
    assert_eq!(
        h.get_as(&format!("{PODS}/p/status"), TABLE).await.json()["kind"],
        "Table"
    );
}

/// A pod without a node has no log, and what is not there is not redirected to.
#[tokio::test]
async fn what_is_not_there_is_said_first() {
    let h = with_pod().await;
    let log = h.get(&format!("{PODS}/p/log")).await;
    assert_eq!((log.code, log.text()), (204, String::new()));
    for (path, message) in [
        ("/api/v1/nodes/none/proxy", "nodes \"none\" not found"),
        (
            "/api/v1/namespaces/default/pods/none/proxy",
            "pods \"none\" not found",
        ),
        (
            "/api/v1/namespaces/default/services/none:80/proxy",
            "services \"none\" not found",
        ),
        (
            "/api/v1/namespaces/default/services/none:x/proxy",
            "services \"none\" not found",
        ),
    ] {
        let r = h.get(path).await;
        assert_eq!((r.code, &r.json()["message"]), (404, &json!(message)));
    }
}

/// Options of a connection are read before the pod is looked for.
#[tokio::test]
async fn a_connections_options_are_said_first() {
    let h = Harness::start().await;
    for (query, code, message) in [
        (
            "portforward?ports=x",
            400,
            "cannot convert to []int32: strconv.ParseUint: parsing \"x\": invalid syntax",
        ),
        (
            "portforward?ports=80,70000",
            400,
            "cannot convert to []int32: strconv.ParseUint: parsing \"70000\": value out of range",
        ),
        (
            "log?sinceTime=x",
            400,
            "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"",
        ),
        (
            "log?sinceSeconds=5&sinceTime=2026-01-01T00:00:00Z",
            422,
            "PodLogOptions \"none\" is invalid: []: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified",
        ),
        (
            "log?stream=Stdout",
            422,
            "PodLogOptions \"none\" is invalid: stream: Forbidden: may not be specified",
        ),
        ("portforward?ports=80", 404, "pods \"none\" not found"),
    ] {
        let r = h.get(&format!("{PODS}/none/{query}")).await;
        assert_eq!((r.code, &r.json()["message"]), (code, &json!(message)), "{query}");
    }
}

/// Where a connection would lead to is found out before it is asked whether there is to be one.
#[tokio::test]
async fn a_node_without_an_address_is_said_first() {
    let h = with_pod().await;
    h.post("/api/v1/nodes", json!({"metadata": {"name": "n"}}))
        .await
        .ok();
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    h.post(&format!("{PODS}/p/binding"), binding).await.ok();
    for query in ["exec?command=ls&stdout=true", "portforward", "log"] {
        let r = h.get(&format!("{PODS}/p/{query}")).await;
        let said = r.json();
        assert_eq!(
            said["message"],
            "no preferred addresses found; known addresses: []"
        );
        assert_eq!(
            (r.code, said.get("reason"), said.get("details")),
            (500, None, None)
        );
    }
    let proxied = h.get(&format!("{PODS}/p:x/proxy/")).await;
    assert_eq!(proxied.json()["message"], "address not allowed");
}

#[tokio::test]
async fn a_log_is_asked_for_with_types_that_errors_have() {
    let h = with_pod().await;
    let log = format!("{PODS}/p/log");
    for accept in ["text/plain", "text/html", TABLE] {
        let r = h.get_as(&log, accept).await;
        assert_eq!(
            (r.code, &r.json()["reason"]),
            (406, &json!("NotAcceptable")),
            "{accept}"
        );
    }
    for accept in ["*/*", "application/json, */*", "application/yaml"] {
        assert_eq!(h.get_as(&log, accept).await.code, 204, "{accept}");
    }
}

/// Objects have no HEAD; what is passed on and what is no object has.
#[tokio::test]
async fn objects_have_no_head() {
    let h = with_pod().await;
    for (path, code) in [
        (format!("{PODS}/p"), 405),
        (PODS.to_owned(), 405),
        (format!("{PODS}/p/status"), 405),
        (format!("{PODS}/none/proxy/"), 404),
        ("/healthz".to_owned(), 200),
        ("/healthz/".to_owned(), 404),
        ("/version".to_owned(), 405),
    ] {
        let request = h.request("HEAD", &path, crate::harness::ADMIN);
        let r = h
            .whole(request.body(http_body_util::Full::default()).unwrap())
            .await;
        assert_eq!(r.code, code, "{path}");
    }
    let open = h.get_as("/openapi/v2", "").await;
    assert_eq!(
        (open.code, open.headers["content-type"].to_str().unwrap()),
        (200, "application/json")
    );
}

/// An object and what is made of it end with a newline, as Go's encoder writes them; the version does not.
#[tokio::test]
async fn objects_end_with_a_newline() {
    let h = with_pod().await;
    let path = format!("{PODS}/p");
    for accept in ["application/json", PARTIAL, TABLE, "application/json;pretty=0"] {
        let text = h.get_as(&path, accept).await.text();
        assert!(
            text.ends_with("}\n") && !text.ends_with("\n\n"),
            "{accept}: {text:?}"
        );
    }
    let changed = h.merge(&path, json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert!(changed.text().ends_with("}\n"));
    assert_eq!(
        changed.headers["content-length"],
        changed.body.len().to_string().as_str()
    );
    let version = h.get("/version").await.text();
    assert!(
        version.starts_with("{\n  \"") && version.ends_with("\n}"),
        "{version}"
    );
}

/// A watch that could not make its Tables is refused before it begins.
#[tokio::test]
async fn a_watch_of_impossible_tables_is_refused() {
    let h = Harness::start().await;
    let path = format!("{PODS}?watch=1&includeObject=x");
    let r = h.get_as(&path, TABLE).await;
    let why = "includeObject: Invalid value: \"x\": must be 'Metadata', 'Object', 'None', or empty";
    let said = r.json();
    assert_eq!(
        (r.code, &said["message"]),
        (
            400,
            &json!(format!("Unable to convert to Table as requested: {why}"))
        )
    );
}
