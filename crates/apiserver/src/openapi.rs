//! `/openapi/v2` and `/openapi/v3`, as JSON and in gnostic's protobuf (for older kubectl). The documents are the schema's,
//! made on first demand and kept compressed.

use corten_meta::Status;
use corten_schema::openapi::{self, Document};
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, ETAG, EXPIRES, HeaderValue, IF_NONE_MATCH, LOCATION, VARY,
};
use http::{HeaderMap, StatusCode};
use jiff::SignedDuration;

use crate::aggregator;
use crate::body::Body;
use crate::call::Call;
use crate::custom::{self, openapi::Name};
use crate::negotiate;
use crate::respond::{self, Answer};

/// The protobuf media type without the `@`. Clients ask with either and are answered with this one, as on upstream: an `@`
/// is no token of a media type, and Go's parser refuses it.
const V2_PROTOBUF_PLAIN: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
/// The types of version 3; the last with an `@` for those who still ask so.
const V3_TYPES: [&str; 3] = [
    "application/json",
    openapi::V3_PROTOBUF,
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
];
/// A document named by its hash does not change.
const IMMUTABLE: &str = "public, immutable";
/// How long it may be kept: a year.
const KEPT: SignedDuration = SignedDuration::from_hours(365 * 24);

/// The whole API as one document.
///
/// # Errors
/// 406 where the client takes none of the three types.
pub async fn v2(call: &Call) -> Result<Answer, Status> {
    let types = ["application/json", openapi::V2_PROTOBUF, V2_PROTOBUF_PLAIN];
    let Some(content_type) = wanted(call, types) else {
        return Ok(not_acceptable());
    };
    let protobuf = content_type != types[0];
    let name = if protobuf { Name::V2Protobuf } else { Name::V2 };
    let document = match custom::openapi::document(&call.server, name).await? {
        Some(document) => document,
        None => tokio::task::spawn_blocking(move || openapi::v2(protobuf))
            .await
            .map_err(Status::internal)?,
    };
    let named = if content_type == types[0] {
        content_type
    } else {
        V2_PROTOBUF_PLAIN
    };
    Ok(answer(call, &document.hash, &document.gzip, named))
}

/// Without a body, as upstream.
fn not_acceptable() -> Answer {
    let mut answer = respond::empty(StatusCode::NOT_ACCEPTABLE);
    answer
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept"));
    answer
}

/// The first type the client takes, in its order.
fn wanted(call: &Call, types: [&'static str; 3]) -> Option<&'static str> {
    let clauses = negotiate::clauses(call.accept().filter(|a| !a.is_empty()).unwrap_or("*/*"));
    clauses
        .iter()
        .find_map(|c| types.into_iter().find(|t| c.admits(t)))
}

/// Which documents there are.
///
/// # Errors
/// Where definitions of custom kinds cannot be read.
pub async fn v3_index(call: &Call) -> Result<Answer, Status> {
    let mut custom = Vec::new();
    for (group, version) in call.server.catalog.custom().versions() {
        let name = Name::V3(group.clone(), version.clone());
        if let Some(document) = custom::openapi::document(&call.server, name).await? {
            custom.push((format!("apis/{group}/{version}"), document.hash.clone()));
        }
    }
    let selection = call.server.catalog.selection().clone();
    let index = tokio::task::spawn_blocking(move || openapi::v3_index(&selection, &custom))
        .await
        .map_err(Status::internal)?;
    let index = aggregator::merged_v3_index(&call.server.aggregator, index);
    // Upstream's aggregator leaves it to Go to say what this is.
    Ok(respond::bytes(StatusCode::OK, "text/plain; charset=utf-8", index))
}

/// One document: `path` is `api/v1`, `apis/apps/v1`, or one above resources such as `version`.
///
/// # Errors
/// Where making it fails. 406 where the client takes none of the types.
pub async fn v3(call: &Call, path: &str) -> Result<Answer, Status> {
    let custom = match path.split('/').collect::<Vec<_>>()[..] {
        ["apis", group, version] => {
            let name = Name::V3(group.to_owned(), version.to_owned());
            custom::openapi::document(&call.server, name).await?
        }
        _ => None,
    };
    let (at, selection) = (path.to_owned(), call.server.catalog.selection().clone());
    let found = match custom {
        Some(document) => Some(document),
        None => tokio::task::spawn_blocking(move || openapi::v3_at(&selection, &at))
            .await
            .map_err(Status::internal)?,
    };
    let Some(document) = found else {
        return Ok(respond::empty(StatusCode::NOT_FOUND));
    };
    let Some(content_type) = wanted(call, V3_TYPES) else {
        return Ok(not_acceptable());
    };
    let hash = call.query.get("hash").filter(|hash| !hash.is_empty());
    if hash.is_some_and(|hash| hash != document.hash) {
        return Ok(moved(path, &document));
    }
    let mut out = if content_type == V3_TYPES[0] {
        answer(call, &document.hash, &document.gzip, content_type)
    } else {
        let made = document.clone();
        // The first time it is made of the JSON form.
        tokio::task::spawn_blocking(move || made.v3_protobuf().len())
            .await
            .map_err(Status::internal)?;
        answer(call, &document.hash, document.v3_protobuf(), openapi::V3_PROTOBUF)
    };
    if hash.is_some() {
        let headers = out.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(IMMUTABLE));
        headers.insert(EXPIRES, in_a_year());
    }
    Ok(out)
}

fn in_a_year() -> HeaderValue {
    let expires = jiff::Timestamp::now().saturating_add(KEPT).ok();
    let text = expires.map(|at| at.strftime("%a, %d %b %Y %H:%M:%S UTC").to_string());
    text.and_then(|text| HeaderValue::try_from(text).ok())
        .unwrap_or(HeaderValue::from_static(""))
}

/// To the address of the document as it is now.
fn moved(path: &str, document: &Document) -> Answer {
    let mut out = respond::bytes(StatusCode::MOVED_PERMANENTLY, "application/json", Body::Empty);
    if let Ok(v) = HeaderValue::from_str(&format!("/openapi/v3/{path}?hash={}", document.hash)) {
        out.headers_mut().insert(LOCATION, v);
    }
    out
}

fn answer(call: &Call, hash: &str, compressed: &[u8], content_type: &'static str) -> Answer {
    let tag = format!("\"{hash}\"");
    let same = call.header(IF_NONE_MATCH).is_some_and(|t| t == tag);
    let gzip = crate::gzip::accepted(&call.headers);
    let (code, body) = if same {
        (StatusCode::NOT_MODIFIED, Body::Empty)
    } else if gzip {
        (StatusCode::OK, Body::from(compressed.to_vec()))
    } else {
        (StatusCode::OK, Body::from(openapi::plain(compressed)))
    };
    let mut out = respond::bytes(code, content_type, body);
    let headers: &mut HeaderMap = out.headers_mut();
    if gzip && !same {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.append(VARY, HeaderValue::from_static("Accept"));
    if let Ok(v) = HeaderValue::from_str(&tag) {
        headers.insert(ETAG, v);
    }
    out
}
