//! Bootstrap tokens: Secrets by which new nodes find and join the cluster. Upstream: pkg/controller/bootstrap.

pub mod cleaner;
pub mod signer;

use std::time::Duration;

use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const NAMESPACE: &str = "kube-system";
const PREFIX: &str = "bootstrap-token-";
const ID_LEN: usize = 6;
/// What both controllers watch: few, mostly none.
const QUERY: &str = "fieldSelector=type%3Dbootstrap.kubernetes.io%2Ftoken";

fn data<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|d| d.get(key));
    value
        .and_then(|v| std::str::from_utf8(&v.0).ok())
        .unwrap_or_default()
}

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE) && secret.metadata.ns() == NAMESPACE
}

/// How long a token is still good; none: for ever. An unreadable time counts as passed.
fn left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    let text = data(secret, "expiration");
    if text.is_empty() {
        return None;
    }
    let left = text.parse::<Timestamp>().ok().map(|at| at.duration_since(now));
    Some(match left {
        Some(left) if left.is_positive() => left.unsigned_abs(),
        _ => Duration::ZERO,
    })
}

/// Id and secret part of a token that may sign, if it is one.
fn signing(secret: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let id = secret.metadata.name().strip_prefix(PREFIX)?;
    let wellformed = id.len() == ID_LEN && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase());
    let part = data(secret, "token-secret");
    let good = wellformed
        && data(secret, "token-id") == id
        && !part.is_empty()
        && left(secret, now) != Some(Duration::ZERO)
        && data(secret, "usage-bootstrap-signing") == "true";
    good.then_some((id, part))
}
