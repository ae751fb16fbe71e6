//! The routing table's first level: paths outside the resource tree, then resources.

use corten_meta::Status;
use http::StatusCode;
use serde_json::{Value, json};

use crate::aggregator;
use crate::call::Call;
use crate::respond::{self, Answer};
use crate::{discovery, flowcontrol, metrics_page, oidc, openapi, resources};

/// Finds what serves a request.
///
/// # Errors
/// Whatever the handler gives; 404 and 405 for paths and methods nothing serves.
pub async fn dispatch(call: Call) -> Result<Answer, Status> {
    if let Some(to) = call.server.aggregator.route(&call.info.path) {
        return Box::pin(aggregator::proxy(call, to)).await;
    }
    if call.info.is_resource {
        return resources::dispatch(call).await;
    }
    let path = call.info.path.trim_end_matches('/').to_owned();
    if let Some(answer) = call.server.health.answer(&call.info.path, &call.query) {
        return Ok(answer);
    }
    // The group without a name is not among the named ones.
    if path.starts_with("/apis//") {
        return Ok(respond::not_found_text());
    }
    if path == "/api" || path == "/apis" || path.starts_with("/api/") || path.starts_with("/apis/") {
        return discovery::answer(&call, &path);
    }
    if let Some(page) = flowcontrol::debug_page(&call) {
        return Ok(page);
    }
    if let Some((_, types)) = ROUTED.iter().find(|(at, _)| path == *at) {
        call.routed_get(types)?;
    }
    match path.as_str() {
        "" | "/index.html" => page(&index(&call)),
        "/version" => page(&version()),
        "/metrics" => Ok(metrics_page::answer(&call)),
        "/metrics/slis" => Ok(metrics_page::slis(&call)),
        "/openapi/v2" => Box::pin(openapi::v2(&call)).await,
        // It is a document without a name below it.
        "/openapi/v3" if call.info.path.ends_with('/') => Ok(respond::empty(StatusCode::NOT_FOUND)),
        "/openapi/v3" => Box::pin(openapi::v3_index(&call)).await,
        "/.well-known/openid-configuration" => Ok(oidc::configuration(&call)),
        "/openid/v1/jwks" => Ok(oidc::keys(&call)),
        p if p.starts_with("/openapi/v3/") => {
            let document = &p["/openapi/v3/".len()..];
            match aggregator::v3_server(&call.server.aggregator, document) {
                Some(to) => Box::pin(aggregator::proxy(call, to)).await,
                None => Box::pin(openapi::v3(&call, document)).await,
            }
        }
        p if ROUTED.iter().any(|(at, _)| is_below(p, at)) => Err(Status::unknown_path()),
        _ => Ok(respond::not_found_text()),
    }
}

/// Paths that have a router, whose refusals are objects, with what they give. The other paths here take any method.
const ROUTED: [(&str, &[&str]); 3] = [
    ("/version", &["application/json"]),
    ("/.well-known/openid-configuration", &["application/json"]),
    ("/openid/v1/jwks", &[corten_auth::oidc::KEYS_CONTENT_TYPE]),
];

fn is_below(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'))
}

/// `/`: every path there is.
fn index(call: &Call) -> Value {
    let mut paths: Vec<String> = vec![
        "/.well-known/openid-configuration".into(),
        "/api".into(),
        "/apis".into(),
    ];
    for (group, version) in call.server.catalog.group_versions() {
        if group.is_empty() {
            paths.push(format!("/api/{version}"));
        } else {
            paths.push(format!("/apis/{group}"));
            paths.push(format!("/apis/{group}/{version}"));
        }
    }
    for service in call.server.aggregator.services() {
        paths.push(format!("/apis/{}", service.group));
        paths.push(format!("/apis/{}/{}", service.group, service.version));
    }
    let plain = [
        "/healthz",
        "/index.html",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(plain.map(str::to_owned));
    paths.sort_unstable();
    paths.dedup();
    json!({ "paths": paths })
}

/// Indented and without a newline, whoever asks.
fn page(value: &Value) -> Result<Answer, Status> {
    let page = serde_json::to_vec_pretty(value).map_err(Status::internal)?;
    Ok(respond::bytes(StatusCode::OK, "application/json", page))
}

/// What `kubectl version` prints. The number is the API level served; the suffix says whose server it is.
pub fn version() -> Value {
    json!({
        "major": "1", "minor": "36",
        "emulationMajor": "1", "emulationMinor": "36",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "35",
        "gitVersion": concat!("v1.36.2+corten.", env!("CARGO_PKG_VERSION")),
        "gitCommit": "", "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, go_arch()),
    })
}

/// The machine's architecture by Go's name.
fn go_arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}
