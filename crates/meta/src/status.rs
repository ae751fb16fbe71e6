//! The one API error type, with the messages and reasons of apimachinery `api/errors`.

use std::borrow::Cow;
use std::fmt::{self, Display};

use serde_json::{Map, Value, json};

use crate::field::ErrorList;
use crate::gvk::{GroupKind, GroupResource};
use crate::quote::quote;

mod order;

pub use order::InOrder;

pub type Result<T> = std::result::Result<T, Status>;

/// A failure as the client will see it: HTTP code, machine-readable reason, message and details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub code: u16,
    pub reason: Cow<'static, str>,
    pub message: String,
    pub details: Option<Box<Details>>,
}

/// What the failure was about. Empty fields are left out of the JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    pub name: String,
    pub group: String,
    /// The kind or, in most of upstream's errors, the plural resource name.
    pub kind: String,
    pub uid: String,
    pub causes: Vec<Cause>,
    pub retry_after_seconds: u32,
    /// `metadata.continue` of the Status: how to go on with a list whose token has expired.
    pub continue_token: String,
}

/// One of several reasons, usually tied to a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// `FieldValueInvalid` and the like.
    pub reason: String,
    pub message: String,
    pub field: String,
}

impl Details {
    fn resource(gr: &GroupResource, name: &str) -> Box<Self> {
        Box::new(Self {
            name: name.to_owned(),
            group: gr.group.to_string(),
            kind: gr.resource.to_string(),
            ..Self::default()
        })
    }

    fn retry(seconds: u32) -> Box<Self> {
        Box::new(Self {
            retry_after_seconds: seconds,
            ..Self::default()
        })
    }

    fn with_continue(token: &str) -> Self {
        Self {
            continue_token: token.to_owned(),
            ..Self::default()
        }
    }

    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ] {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        if !self.causes.is_empty() {
            out.insert("causes".into(), self.causes.iter().map(Cause::to_json).collect());
        }
        if self.retry_after_seconds != 0 {
            out.insert("retryAfterSeconds".into(), json!(self.retry_after_seconds));
        }
        Value::Object(out)
    }

    fn from_json(value: &Value) -> Self {
        let causes = value["causes"].as_array().map(Vec::as_slice).unwrap_or_default();
        Self {
            name: text(value, "name"),
            group: text(value, "group"),
            kind: text(value, "kind"),
            uid: text(value, "uid"),
            causes: causes.iter().map(Cause::from_json).collect(),
            retry_after_seconds: value["retryAfterSeconds"].as_u64().unwrap_or(0) as u32,
            continue_token: String::new(),
        }
    }
}

impl Cause {
    fn to_json(&self) -> Value {
        let mut out = Map::new();
        for (key, value) in [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ] {
            if !value.is_empty() {
                out.insert(key.into(), json!(value));
            }
        }
        Value::Object(out)
    }

    fn from_json(value: &Value) -> Self {
        Self {
            reason: text(value, "reason"),
            message: text(value, "message"),
            field: text(value, "field"),
        }
    }
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// Constructors, one per upstream `errors.New…`.
impl Status {
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.into(),
            message: message.into(),
            details: None,
        }
    }

    /// The same failure with these details.
    #[must_use]
    pub fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    fn about(code: u16, reason: &'static str, message: String, gr: &GroupResource, name: &str) -> Self {
        Self {
            code,
            reason: reason.into(),
            message,
            details: Some(Details::resource(gr, name)),
        }
    }

    pub fn not_found(gr: &GroupResource, name: &str) -> Self {
        Self::about(
            404,
            "NotFound",
            format!("{gr} {} not found", quote(name)),
            gr,
            name,
        )
    }

    /// The answer for a path that no resource serves.
    pub fn unknown_path() -> Self {
        Self::new(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(Details::default())
    }

    pub fn already_exists(gr: &GroupResource, name: &str) -> Self {
        Self::about(
            409,
            "AlreadyExists",
            format!("{gr} {} already exists", quote(name)),
            gr,
            name,
        )
    }

    pub fn generate_name_conflict(gr: &GroupResource, name: &str, retry_after_seconds: u32) -> Self {
        let message = format!(
            "{gr} {} already exists, the server was not able to generate a unique name for the object",
            quote(name)
        );
        let mut status = Self::about(409, "AlreadyExists", message, gr, name);
        status.details_mut().retry_after_seconds = retry_after_seconds;
        status
    }

    pub fn conflict(gr: &GroupResource, name: &str, error: impl Display) -> Self {
        let message = format!("Operation cannot be fulfilled on {gr} {}: {error}", quote(name));
        Self::about(409, "Conflict", message, gr, name)
    }

    /// A conflict of server-side apply: details carry only the causes.
    pub fn apply_conflict(causes: Vec<Cause>, message: impl Into<String>) -> Self {
        Self::new(409, "Conflict", message).with_details(Details {
            causes,
            ..Details::default()
        })
    }

    pub fn invalid(gk: &GroupKind, name: &str, errors: ErrorList) -> Self {
        let head = format!("{gk} {} is invalid", quote(name));
        let message = if errors.is_empty() {
            head
        } else {
            format!("{head}: {errors}")
        };
        let causes = errors.iter().map(|e| Cause {
            reason: e.error_type.reason().to_owned(),
            message: e.body(),
            field: e.field.clone(),
        });
        Self::new(422, "Invalid", message).with_details(Details {
            name: name.to_owned(),
            group: gk.group.to_string(),
            kind: gk.kind.to_string(),
            causes: causes.collect(),
            ..Details::default()
        })
    }

    pub fn forbidden(gr: &GroupResource, name: &str, error: impl Display) -> Self {
        let message = match (gr.is_empty(), name) {
            (true, _) => format!("forbidden: {error}"),
            (false, "") => format!("{gr} is forbidden: {error}"),
            (false, _) => format!("{gr} {} is forbidden: {error}", quote(name)),
        };
        Self::about(403, "Forbidden", message, gr, name)
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    /// `message` empty means upstream's `not authorized`. The API server's filter answers `Unauthorized`.
    pub fn unauthorized(message: &str) -> Self {
        Self::new(
            401,
            "Unauthorized",
            if message.is_empty() {
                "not authorized"
            } else {
                message
            },
        )
    }

    pub fn method_not_supported(gr: &GroupResource, action: &str) -> Self {
        let message = format!(
            "{action} is not supported on resources of kind {}",
            quote(&gr.to_string())
        );
        Self::about(405, "MethodNotAllowed", message, gr, "")
    }

    /// The router's answer to a method that a path does not take.
    pub fn method_not_allowed() -> Self {
        Self::new(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// `accepted`: media types the server could have sent.
    pub fn not_acceptable(accepted: &[&str]) -> Self {
        let message = format!(
            "only the following media types are accepted: {}",
            accepted.join(", ")
        );
        Self::new(406, "NotAcceptable", message)
    }

    /// `accepted`: media types the server could have read.
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, "UnsupportedMediaType", message)
    }

    pub fn request_too_large(message: impl Display) -> Self {
        Self::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {message}"),
        )
    }

    pub fn gone(message: impl Into<String>) -> Self {
        Self::new(410, "Gone", message)
    }

    /// A resourceVersion or continue token too old to serve.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, "Expired", message)
    }

    pub fn timeout(message: impl Display, retry_after_seconds: u32) -> Self {
        let mut status = Self::new(504, "Timeout", format!("Timeout: {message}"));
        status.details = Some(Details::retry(retry_after_seconds));
        status
    }

    /// A transient failure of an operation (`create`, `update`, …) that the client should try again.
    pub fn server_timeout(gr: &GroupResource, operation: &str, retry_after_seconds: u32) -> Self {
        let message = format!(
            "The {operation} operation against {gr} could not be completed at this time, please try again."
        );
        let mut status = Self::about(500, "ServerTimeout", message, gr, operation);
        status.details_mut().retry_after_seconds = retry_after_seconds;
        status
    }

    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        let mut status = Self::new(429, "TooManyRequests", message);
        status.details = Some(Details::retry(retry_after_seconds));
        status
    }

    pub fn internal(error: impl Display) -> Self {
        let text = error.to_string();
        Self::new(500, "InternalError", format!("Internal error occurred: {text}")).with_details(Details {
            causes: vec![Cause {
                message: text,
                ..Cause::default()
            }],
            ..Details::default()
        })
    }

    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::new(503, "ServiceUnavailable", message)
    }

    fn details_mut(&mut self) -> &mut Details {
        self.details.get_or_insert_default()
    }
}

/// Questions and conversions.
impl Status {
    pub fn is(&self, reason: &str) -> bool {
        self.reason == reason
    }

    pub fn is_not_found(&self) -> bool {
        self.is("NotFound")
    }

    pub fn is_conflict(&self) -> bool {
        self.is("Conflict")
    }

    pub fn is_already_exists(&self) -> bool {
        self.is("AlreadyExists")
    }

    /// The `v1` Status object.
    pub fn to_json(&self) -> Value {
        let mut out = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": self.code,
        });
        if !self.message.is_empty() {
            out["message"] = json!(self.message);
        }
        if !self.reason.is_empty() {
            out["reason"] = json!(self.reason);
        }
        if let Some(details) = &self.details {
            let token = &details.continue_token;
            if token.is_empty() || **details != Details::with_continue(token) {
                out["details"] = details.to_json();
            }
            if !token.is_empty() {
                out["metadata"]["continue"] = json!(token);
            }
        }
        out
    }

    /// The `v1` Status of a success, as deletes answer it.
    pub fn success_json(details: &Details) -> Value {
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details.to_json(),
        })
    }

    /// Reads a `v1` Status object that reports a failure; `None` for anything else.
    pub fn from_json(value: &Value) -> Option<Self> {
        if value["kind"] != "Status" || value["status"] != "Failure" {
            return None;
        }
        Some(Self {
            code: value["code"]
                .as_u64()
                .and_then(|c| u16::try_from(c).ok())
                .unwrap_or(500),
            reason: text(value, "reason").into(),
            message: text(value, "message"),
            details: value.get("details").map(|d| Box::new(Details::from_json(d))),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::field::{Error, Path};

    #[test]
    fn messages_are_upstreams() {
        let pods = GroupResource::new("", "pods");
        assert_eq!(Status::not_found(&pods, "a").message, "pods \"a\" not found");
        let gk = GroupKind::new("apps", "Deployment");
        let errors = ErrorList::from(vec![Error::required(&Path::new("spec").child("selector"), "")]);
        let status = Status::invalid(&gk, "web", errors);
        assert_eq!(
            status.message,
            "Deployment.apps \"web\" is invalid: spec.selector: Required value"
        );
        assert_eq!(
            status.to_json()["details"]["causes"][0]["reason"],
            "FieldValueRequired"
        );
        assert_eq!(Status::from_json(&status.to_json()).unwrap(), status);
    }
}
