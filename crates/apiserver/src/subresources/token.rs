//! `serviceaccounts/NAME/token`: TokenRequest.

use corten_auth::token::{Bound, Reference, TokenSpec};
use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::object::{self, str_at};
use corten_meta::{GroupKind, GroupResource, GroupVersionKind, Status};
use corten_registry::Operation;
use http::StatusCode;
use serde_json::{Value, json};

use crate::authn::unix_seconds;
use crate::call::Call;
use crate::codec;
use crate::options::{For, WriteOptions};
use crate::respond::{self, Answer};
use crate::shape;

const GROUP: &str = "authentication.k8s.io";
/// Upstream's default lifetime, seconds.
const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;

/// Makes a token for the service account of the path.
///
/// # Errors
/// 404 without account or bound object, 409 for a uid that differs, 422 for bad lifetimes.
pub async fn request(mut call: Call) -> Result<Answer, Status> {
    let accepted = call.plain_answer()?;
    let format = call.body_format()?;
    let body = call.read_body().await?;
    let options = WriteOptions::read(&call.query, For::Create)?;
    let gvk = GroupVersionKind::new(GROUP, "v1", "TokenRequest");
    let mut review = codec::decode(&call, &gvk, &body, format, options.validation)?;
    let (ns, name) = (call.info.namespace.clone(), call.info.name.clone());
    crate::verbs::check_namespace(&mut review, &ns)?;
    matches_path(&review, &name)?;
    let ctx = call.write_context(options.dry_run, &options.field_manager);
    let accounts = call.server.stored("", "serviceaccounts")?;
    call.admit(&ctx, Operation::Create, &accounts, &mut review)
        .await?;
    call.take_notes(&ctx);
    let account = call.server.fetch("", "serviceaccounts", &ns, &name).await?;
    let asked = object::uid(&review).to_owned();
    if !asked.is_empty() && asked != object::uid(&account) {
        let uid = object::uid(&account);
        let text = format!(
            "the UID in the token request ({asked}) does not match the UID of the service account ({uid})"
        );
        return Err(Status::conflict(
            &GroupResource::new(GROUP, "TokenRequest"),
            &name,
            text,
        ));
    }
    let own = call.server.authenticator.verifier().audiences().to_vec();
    complete(&mut review, &account, &own);
    let seconds = lifetime(&review)?;
    let bound = bound_object(&call, &review, &name).await?;
    let audiences: Vec<String> = strings(&review["spec"]["audiences"]);
    let mut spec = TokenSpec {
        namespace: ns,
        service_account: reference(&account),
        expiration_s: seconds,
        bound,
        warn_after_s: None,
        audiences,
    };
    spec.extend_default_mount(spec.audiences.iter().all(|a| own.contains(a)));
    let now_s = unix_seconds();
    let issued = call
        .server
        .issuer
        .sign(&spec, now_s)
        .map_err(|e| Status::internal(format!("failed to generate token: {e}")))?;
    let expires = jiff::Timestamp::from_second(issued.expires_s).map_err(Status::internal)?;
    review["status"] =
        json!({"token": issued.token, "expirationTimestamp": corten_meta::time::format(expires)});
    let review = shape::of_another_kind(review, accepted, "authentication.TokenRequest")?;
    respond::object(StatusCode::CREATED, &review, accepted)
}

fn strings(v: &Value) -> Vec<String> {
    v.as_array()
        .map(|a| a.iter().filter_map(Value::as_str).map(str::to_owned).collect())
        .unwrap_or_default()
}

fn reference(of: &Value) -> Reference {
    Reference {
        name: object::name(of).to_owned(),
        uid: object::uid(of).to_owned(),
    }
}

fn matches_path(review: &Value, name: &str) -> Result<(), Status> {
    let own = object::name(review);
    if own.is_empty() || own == name {
        return Ok(());
    }
    let text = "must match the service account name if specified";
    let error = Error::invalid(&Path::new("metadata").child("name"), own, text);
    Err(Status::invalid(
        &GroupKind::new(GROUP, "TokenRequest"),
        name,
        ErrorList::from(vec![error]),
    ))
}

fn complete(review: &mut Value, account: &Value, own: &[String]) {
    if strings(&review["spec"]["audiences"]).is_empty() {
        review["spec"]["audiences"] = json!(own);
    }
    object::set_name(review, object::name(account));
    object::set_namespace(review, object::namespace(account));
    object::set_uid(review, object::uid(account));
    object::set_creation_timestamp(review, &corten_meta::time::format(jiff::Timestamp::now()));
    if review["spec"]["expirationSeconds"].is_null() {
        review["spec"]["expirationSeconds"] = json!(DEFAULT_SECONDS);
    }
}

fn lifetime(review: &Value) -> Result<i64, Status> {
    let seconds = review["spec"]["expirationSeconds"]
        .as_i64()
        .unwrap_or(DEFAULT_SECONDS);
    let text = match seconds {
        s if s < MIN_SECONDS => "may not specify a duration less than 10 minutes",
        s if s > MAX_SECONDS => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(seconds),
    };
    let error = Error::invalid(&Path::new("spec").child("expirationSeconds"), seconds, text);
    Err(Status::invalid(
        &GroupKind::new(GROUP, "TokenRequest"),
        "",
        ErrorList::from(vec![error]),
    ))
}

async fn bound_object(call: &Call, review: &Value, account: &str) -> Result<Bound, Status> {
    let to = &review["spec"]["boundObjectRef"];
    if !to.is_object() {
        return Ok(Bound::None);
    }
    let (kind, version, name) = (
        str_at(to, &["kind"]),
        str_at(to, &["apiVersion"]),
        str_at(to, &["name"]),
    );
    let ns = &call.info.namespace;
    // Of the version upstream asks its group only.
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let plural = match (group, kind) {
        ("", "Pod") => "pods",
        ("", "Secret") => "secrets",
        ("", "Node") => "nodes",
        _ => {
            let text = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Status::bad_request(text));
        }
    };
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    let ns = if plural == "nodes" { "" } else { ns };
    let found = call.server.fetch("", plural, ns, name).await?;
    if plural == "pods" && str_at(&found, &["spec", "serviceAccountName"]) != account {
        let text = format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
        );
        return Err(Status::bad_request(text));
    }
    let uid = str_at(to, &["uid"]);
    if !uid.is_empty() && uid != object::uid(&found) {
        let text = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. \
             The object might have been deleted and then recreated"
        );
        return Err(Status::conflict(
            &GroupResource::new("", kind.to_owned()),
            name,
            text,
        ));
    }
    Ok(match plural {
        "pods" => Bound::Pod(reference(&found), node_of(call, &found).await),
        "secrets" => Bound::Secret(reference(&found)),
        _ => Bound::Node(reference(&found)),
    })
}

/// The node a pod runs on; only its name where the node is gone.
async fn node_of(call: &Call, pod: &Value) -> Option<Reference> {
    let name = str_at(pod, &["spec", "nodeName"]);
    if name.is_empty() {
        return None;
    }
    let node = call.server.fetch("", "nodes", "", name).await;
    Some(node.map_or_else(
        |_| Reference {
            name: name.to_owned(),
            uid: String::new(),
        },
        |n| reference(&n),
    ))
}
