//! `AdmissionReview`: the question as a webhook gets it, and the checks its answer must pass.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_meta::Status;
use serde_json::{Map, Value, json};

use crate::matching::Shown;
use crate::request::Request;

const GROUP: &str = "admission.k8s.io";

/// A checked answer.
pub(crate) struct Answer {
    pub allowed: bool,
    /// `status` of the answer, `Null` where absent.
    pub result: Value,
    pub warnings: Vec<String>,
    pub audit_annotations: Vec<(String, String)>,
    /// JSON text; empty for none.
    pub patch: Vec<u8>,
    pub patch_type: String,
}

/// The whole document that is posted.
pub(crate) fn question(
    version: &str,
    uid: &str,
    request: &Request<'_>,
    shown: &Shown,
    object: &Value,
    old: Value,
) -> Value {
    let (kind, resource) = (&shown.kind, &shown.resource);
    let (own_kind, own) = (&request.kind, &request.resource);
    let mut body = json!({
        "uid": uid,
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "resource": {"group": resource.group, "version": resource.version, "resource": resource.resource},
        "requestKind": {"group": own_kind.group, "version": own_kind.version, "kind": own_kind.kind},
        "requestResource": {"group": own.group, "version": own.version, "resource": own.resource},
        "operation": request.operation.as_str(),
        "userInfo": user_info(request),
        "object": object,
        "oldObject": old,
        "dryRun": request.ctx.dry_run,
        "options": request.options(),
    });
    if let Some(members) = body.as_object_mut() {
        let optional = [
            ("subResource", request.subresource),
            ("requestSubResource", request.subresource),
            ("name", request.name.as_str()),
            ("namespace", request.namespace.as_str()),
        ];
        for (key, text) in optional.into_iter().filter(|(_, text)| !text.is_empty()) {
            members.insert(key.to_owned(), json!(text));
        }
    }
    json!({"kind": "AdmissionReview", "apiVersion": format!("{GROUP}/{version}"), "request": body})
}

/// `authentication.k8s.io/v1` UserInfo, with what is empty left out.
pub(crate) fn user_info(request: &Request<'_>) -> Value {
    let user = &request.ctx.user;
    let mut out = Map::new();
    if !user.name.is_empty() {
        out.insert("username".into(), json!(user.name));
    }
    if !user.uid.is_empty() {
        out.insert("uid".into(), json!(user.uid));
    }
    if !user.groups.is_empty() {
        out.insert("groups".into(), json!(user.groups));
    }
    if !user.extra.is_empty() {
        out.insert("extra".into(), json!(user.extra));
    }
    Value::Object(out)
}

/// Checks an answer as upstream's `VerifyAdmissionResponse` does.
///
/// # Errors
/// Upstream's text for what is wrong.
pub(crate) fn answer(version: &str, uid: &str, mutating: bool, review: &Value) -> Result<Answer, String> {
    let response = &review["response"];
    if !response.is_object() {
        return Err("webhook response was absent".to_owned());
    }
    let strict = version == "v1";
    if strict {
        let echoed = response["uid"].as_str().unwrap_or_default();
        if echoed != uid {
            return Err(format!("expected response.uid={uid:?}, got {echoed:?}"));
        }
        let text = |key: &str| review[key].as_str().unwrap_or_default();
        let wanted = format!("{GROUP}/v1");
        if text("apiVersion") != wanted || text("kind") != "AdmissionReview" {
            return Err(format!(
                "expected webhook response of {wanted}, Kind=AdmissionReview, got {}, Kind={}",
                group_version(text("apiVersion")),
                text("kind")
            ));
        }
    }
    let (patch, patch_type) = patch_of(response, mutating, strict)?;
    Ok(Answer {
        allowed: response["allowed"].as_bool().unwrap_or(false),
        result: response["status"].clone(),
        warnings: texts(&response["warnings"]),
        audit_annotations: pairs(&response["auditAnnotations"]),
        patch,
        patch_type,
    })
}

/// Go prints an empty version of an empty group as a slash.
fn group_version(text: &str) -> &str {
    if text.is_empty() { "/" } else { text }
}

fn patch_of(response: &Value, mutating: bool, strict: bool) -> Result<(Vec<u8>, String), String> {
    let encoded = response["patch"].as_str().unwrap_or_default();
    let patch = STANDARD
        .decode(encoded)
        .map_err(|_| "response.patch is not base64".to_owned())?;
    let patch_type = response["patchType"].as_str();
    if !strict {
        let kind = if patch.is_empty() { "" } else { "JSONPatch" };
        return Ok(if mutating {
            (patch, kind.to_owned())
        } else {
            (Vec::new(), String::new())
        });
    }
    let wrong = match (mutating, patch.is_empty(), patch_type) {
        (true, false, None) => "webhook returned response.patch but not response.patchType",
        (true, true, Some(_)) => "webhook returned response.patchType but not response.patch",
        (true, _, Some("")) => "webhook returned invalid response.patchType of \"\"",
        (false, false, _) => "validating webhook may not return response.patch",
        (false, _, Some(_)) => "validating webhook may not return response.patchType",
        _ => return Ok((patch, patch_type.unwrap_or_default().to_owned())),
    };
    Err(wrong.to_owned())
}

fn texts(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn pairs(value: &Value) -> Vec<(String, String)> {
    let members = value.as_object().into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The API's answer to a refusal (`webhookerrors.ToStatusErr`).
pub(crate) fn refusal(hook: &str, result: &Value) -> Status {
    let text = |key: &str| result[key].as_str().unwrap_or_default();
    let denied = format!("admission webhook {hook:?} denied the request");
    let (message, reason) = (text("message"), text("reason"));
    let message = match (message, reason) {
        ("", "") => format!("{denied} without explanation"),
        ("", reason) => format!("{denied}: {reason}"),
        (message, _) => format!("{denied}: {message}"),
    };
    let code = result["code"].as_u64().and_then(|code| u16::try_from(code).ok());
    let failure = json!({
        "kind": "Status", "status": "Failure",
        "code": code.filter(|code| *code >= 400).unwrap_or(400),
        "reason": reason, "message": message,
    });
    let mut status = Status::from_json(&failure).unwrap_or_else(|| Status::bad_request(denied));
    if result["details"].is_object() {
        let mut with_details = failure;
        with_details["details"] = result["details"].clone();
        status = Status::from_json(&with_details).unwrap_or(status);
    }
    status
}
