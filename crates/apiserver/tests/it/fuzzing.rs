//! Spoiled requests against a whole server in this process: it answers every one of them, and stays of its size.
//! `CORTEN_FUZZ_REQUESTS` says how many; the figures are printed.

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::Bytes;
use corten_auth::{UserInfo, groups};
use corten_fuzz::{Random, bytes, objects, value};
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tower::Service as _;

use crate::harness::Harness;

/// Requests where nobody says how many.
const REQUESTS: u64 = 3_000;
/// So often everything that the requests made is deleted.
const SWEEP: u64 = 2_000;
/// What the server may grow by in the second half of a long run. Nothing is kept for longer than some minutes: the caches'
/// recent events leave by age, so the first half shows all there is but a table of the store (8 MiB) that waits to be written
/// while the next one fills.
const GROWTH_KIB: u64 = 20 << 10;
/// A run that is long enough to see growth.
const LONG: u64 = 50_000;

const COLLECTIONS: [&str; 9] = [
    "/api/v1/namespaces/default/pods",
    "/apis/apps/v1/namespaces/default/deployments",
    "/api/v1/namespaces/default/services",
    "/api/v1/namespaces/default/configmaps",
    "/apis/batch/v1/namespaces/default/cronjobs",
    "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims",
];
const SUBRESOURCES: [&str; 8] = ["", "", "", "/status", "/scale", "/log", "/binding", "/nope"];
const QUERIES: [&str; 16] = [
    "",
    "",
    "",
    "dryRun=All",
    "fieldValidation=Strict",
    "fieldManager=x&force=true",
    "limit=1",
    "limit=-1",
    "continue=zzz",
    "labelSelector=a%3Db",
    "fieldSelector=metadata.name%3Dx",
    "resourceVersion=1&resourceVersionMatch=Exact",
    "timeoutSeconds=x",
    "gracePeriodSeconds=-1",
    "propagationPolicy=Foreground",
    "watch=1&timeoutSeconds=1",
];
const TYPES: [&str; 8] = [
    "application/json",
    "application/json",
    "application/yaml",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/json-patch+json",
    "application/apply-patch+yaml",
    "application/vnd.kubernetes.protobuf",
];
const ACCEPTS: [&str; 5] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    "application/json;as=Table;g=meta.k8s.io;v=v1",
    "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,*/*",
];

/// A text spoiled, without what no request can have in its place.
fn odd(random: &mut Random, text: &str, without: &str) -> String {
    String::from_utf8_lossy(&bytes(random, &[text.as_bytes().to_vec()]))
        .chars()
        .filter(|c| c.is_ascii_graphic() && !without.contains(*c))
        .collect()
}

/// One request, of which much is right and something is likely to be wrong.
fn spoiled(random: &mut Random, corpus: &[Value]) -> Request<Full<Bytes>> {
    let at = random.below(COLLECTIONS.len());
    let mut object = corpus[at].clone();
    let name = format!("f{}", random.below(4));
    object["metadata"]["name"] = json!(name);
    let method = [
        Method::GET,
        Method::POST,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::PATCH,
        Method::DELETE,
    ][random.below(7)]
    .clone();
    let mut path = COLLECTIONS[at].to_owned();
    if method != Method::POST || random.below(8) == 0 {
        path += &format!("/{name}{}", random.pick(&SUBRESOURCES).unwrap());
    }
    let mut query = (*random.pick(&QUERIES).unwrap()).to_owned();
    let mut accept = (*random.pick(&ACCEPTS).unwrap()).to_owned();
    match random.below(60) {
        0 | 1 => path = odd(random, &path, "?#\\\"<>^`{|}"),
        2 => query = odd(random, &query, "#\\\"<>^`{|}"),
        3 => accept = odd(random, &accept, ""),
        _ => {}
    }
    for _ in 0..random.below(3) {
        value(random, &mut object);
    }
    let mut body = object.to_string().into_bytes();
    if random.below(4) == 0 {
        body = bytes(random, &[body]);
    }
    // Mostly a type that the method takes.
    let types = match (&method, random.below(10)) {
        (_, 0) => &TYPES[..],
        (&Method::PATCH, _) => &TYPES[3..7],
        _ => &TYPES[..3],
    };
    let uri = format!("/{}?{query}", path.trim_start_matches('/'));
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("content-type", *random.pick(types).unwrap())
        .header("accept", accept)
        .header("user-agent", "fuzz");
    let bodied = request.body(Full::new(Bytes::from(body)));
    bodied.unwrap_or_else(|_| Request::new(Full::default()))
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn spoiled_requests_are_answered() {
    let wanted = std::env::var("CORTEN_FUZZ_REQUESTS")
        .ok()
        .and_then(|text| text.parse().ok());
    let wanted: u64 = wanted.unwrap_or(REQUESTS);
    let h = Harness::start().await;
    let account = json!({"metadata": {"name": "default"}});
    h.post("/api/v1/namespaces/default/serviceaccounts", account)
        .await
        .ok();
    let mut service = h.server.in_process(UserInfo::new("fuzz", [groups::MASTERS]));
    let corpus = objects();
    let (began, mut codes, mut halfway) = (Instant::now(), BTreeMap::<u16, u64>::new(), 0);
    let mut errors = BTreeMap::<String, u64>::new();
    for round in 0..wanted {
        let request = spoiled(&mut Random::new(round), &corpus);
        let is_watch = request
            .uri()
            .query()
            .is_some_and(|query| query.starts_with("watch"));
        let answer = service.call(request).await.unwrap();
        let code = answer.status();
        *codes.entry(code.as_u16()).or_default() += 1;
        // A watch is left as it begins.
        if !is_watch || !code.is_success() {
            let body = answer
                .into_body()
                .collect()
                .await
                .map(|body| body.to_bytes())
                .unwrap_or_default();
            if code.as_u16() == 500 {
                let message: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                *errors.entry(message).or_default() += 1;
            }
        }
        if round % SWEEP == SWEEP - 1 {
            for path in COLLECTIONS.iter().filter(|path| !path.ends_with("clusterroles")) {
                h.delete(&format!(
                    "{path}?propagationPolicy=Background&gracePeriodSeconds=0"
                ))
                .await;
            }
        }
        if round == wanted / 2 {
            halfway = resident_kib();
        }
    }
    let (end, seconds) = (resident_kib(), began.elapsed().as_secs_f64());
    eprintln!("{wanted} requests in {seconds:.0} s; {codes:?}; {halfway} KiB halfway, {end} KiB at the end");
    for (message, count) in errors.iter().take(40) {
        eprintln!("500, {count} times: {message}");
    }
    assert_eq!(h.get("/readyz").await.code, 200);
    assert!(
        codes.get(&201).is_some_and(|created| *created > wanted / 100),
        "{codes:?}"
    );
    assert!(
        codes.get(&400).is_some_and(|bad| *bad > wanted / 100),
        "{codes:?}"
    );
    if wanted >= LONG {
        assert!(
            end < halfway + GROWTH_KIB,
            "from {halfway} to {end} KiB in the second half"
        );
    }
}
