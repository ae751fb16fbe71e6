//! SubjectAccessReview, SelfSubjectAccessReview, LocalSubjectAccessReview: may this user do that?
//! Rules: upstream's pkg/apis/authorization/validation.

use std::collections::BTreeMap;

use corten_auth::UserInfo;
use corten_auth::authz::{Attributes, Decision};
use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::object::{self, str_at};
use corten_meta::{GroupKind, Status, fields, names};
use serde_json::{Map, Value, json};

use crate::apply::Ownership;
use crate::call::Call;

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// SubjectAccessReview
    Anyone,
    /// LocalSubjectAccessReview
    InNamespace,
    /// SelfSubjectAccessReview
    Myself,
}

impl Form {
    /// By the resource's plural.
    pub fn of(plural: &str) -> Self {
        match plural {
            "localsubjectaccessreviews" => Self::InNamespace,
            "selfsubjectaccessreviews" => Self::Myself,
            _ => Self::Anyone,
        }
    }
}

/// Fills in `status`.
///
/// # Errors
/// 422 for what does not validate.
pub fn review(call: &Call, mut review: Value, form: Form, ownership: &Ownership) -> Result<Value, Status> {
    if form == Form::InNamespace {
        crate::verbs::check_namespace(&mut review, &call.info.namespace)?;
    }
    let errors = validate(&review, form, ownership);
    if !errors.is_empty() {
        return Err(Status::invalid(
            &GroupKind::new("authorization.k8s.io", ""),
            "",
            errors,
        ));
    }
    let subject = if form == Form::Myself {
        (*call.user).clone()
    } else {
        subject(&review["spec"])
    };
    let decision = decide(call, &review["spec"], &subject);
    let mut status = json!({"allowed": decision.is_allowed()});
    if matches!(decision, Decision::Deny(_)) {
        status["denied"] = json!(true);
    }
    if !decision.reason().is_empty() {
        status["reason"] = json!(decision.reason());
    }
    ownership.record("", &Value::Null, &mut review);
    review["status"] = status;
    Ok(review)
}

fn decide(call: &Call, spec: &Value, user: &UserInfo) -> Decision {
    let text = |at: &'static str, key: &'static str| str_at(spec, &[at, key]);
    if spec["nonResourceAttributes"].is_object() {
        let (verb, path) = (
            text("nonResourceAttributes", "verb"),
            text("nonResourceAttributes", "path"),
        );
        return call
            .server
            .authorizer
            .authorize(&Attributes::non_resource(user, verb, path));
    }
    let of = |key| text("resourceAttributes", key);
    let selector = selected(&spec["resourceAttributes"]["fieldSelector"]);
    call.server.authorizer.authorize(&Attributes {
        version: of("version"),
        subresource: of("subresource"),
        namespace: of("namespace"),
        name: of("name"),
        field_selector: selector.as_ref(),
        ..Attributes::resource(user, of("verb"), of("group"), of("resource"))
    })
}

/// A FieldSelectorAttributes as a selector; terms it cannot say are left out, which only widens what is asked for.
fn selected(selector: &Value) -> Option<fields::Selector> {
    let raw = selector["rawSelector"].as_str().unwrap_or_default();
    if !raw.is_empty() {
        return fields::Selector::parse(raw).ok();
    }
    let one = |r: &Value| match (r["operator"].as_str()?, r["values"].as_array()?.as_slice()) {
        ("In", [value]) => Some(format!("{}={}", r["key"].as_str()?, value.as_str()?)),
        _ => None,
    };
    let terms: Vec<String> = selector["requirements"]
        .as_array()?
        .iter()
        .filter_map(one)
        .collect();
    fields::Selector::parse(&terms.join(",")).ok()
}

fn subject(spec: &Value) -> UserInfo {
    let list = |v: &Value| -> Vec<String> {
        v.as_array()
            .map(|a| a.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            .unwrap_or_default()
    };
    let extra: BTreeMap<String, Vec<String>> = spec["extra"]
        .as_object()
        .map(|m| m.iter().map(|(k, v)| (k.clone(), list(v))).collect())
        .unwrap_or_default();
    UserInfo {
        username: str_at(spec, &["user"]).to_owned(),
        uid: str_at(spec, &["uid"]).to_owned(),
        groups: list(&spec["groups"]),
        extra,
    }
}

/// Go's JSON of the internal type, which has no tags.
fn internal_non_resource(v: &Value) -> Value {
    json!({"Path": v["path"].as_str().unwrap_or_default(), "Verb": v["verb"].as_str().unwrap_or_default()})
}

fn validate(review: &Value, form: Form, ownership: &Ownership) -> ErrorList {
    let spec = &review["spec"];
    let path = Path::new("spec");
    let (resource, other) = (&spec["resourceAttributes"], &spec["nonResourceAttributes"]);
    let mut errors = ErrorList::new();
    if resource.is_object() && other.is_object() {
        let text = "cannot be specified in combination with resourceAttributes";
        errors.push(Error::invalid(
            &path.child("nonResourceAttributes"),
            internal_non_resource(other),
            text,
        ));
    }
    if !resource.is_object() && !other.is_object() {
        let text = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        errors.push(Error::invalid(
            &path.child("resourceAttributes"),
            Value::Null,
            text,
        ));
    }
    let nobody = str_at(spec, &["user"]).is_empty() && spec["groups"].as_array().is_none_or(Vec::is_empty);
    if form != Form::Myself && nobody {
        let text = "at least one of user or group must be specified";
        errors.push(Error::invalid(&path.child("user"), "", text));
    }
    for selector in ["fieldSelector", "labelSelector"] {
        check_selector(
            &resource[selector],
            selector == "labelSelector",
            &path.child("resourceAttributes").child(selector),
            &mut errors,
        );
    }
    check_metadata(review, form, ownership, &mut errors);
    if form == Form::InNamespace {
        if resource.is_object() && str_at(resource, &["namespace"]) != object::namespace(review) {
            let at = path.child("resourceAttributes").child("namespace");
            errors.push(Error::invalid(
                &at,
                str_at(resource, &["namespace"]),
                "must match metadata.namespace",
            ));
        }
        if other.is_object() {
            let text = "disallowed on this kind of request";
            errors.push(Error::invalid(
                &path.child("nonResourceAttributes"),
                internal_non_resource(other),
                text,
            ));
        }
    }
    errors
}

fn check_metadata(review: &Value, form: Form, ownership: &Ownership, errors: &mut ErrorList) {
    let mut rest: Map<String, Value> = object::metadata(review).clone();
    rest.remove("managedFields");
    rest.remove("creationTimestamp");
    let mut text = "must be empty";
    if form == Form::InNamespace {
        rest.remove("namespace");
        text = "must be empty except for namespace";
    }
    if rest.is_empty() {
        return;
    }
    // Upstream has recorded the write's owner by the time it shows the metadata.
    let mut shown = review.clone();
    ownership.record("", &Value::Null, &mut shown);
    let mut error = Error::invalid(&Path::new("metadata"), Value::Null, "");
    error.bad_value = None;
    error.detail = format!("{}: {text}", go_metadata(object::metadata(&shown)));
    errors.push(error);
}

/// Members of ObjectMeta in the order Go writes them; those of a managed-fields entry behind.
const GO_ORDER: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];
const GO_ENTRY_ORDER: [&str; 7] = [
    "manager",
    "operation",
    "apiVersion",
    "time",
    "fieldsType",
    "fieldsV1",
    "subresource",
];

/// JSON of metadata as Go prints it.
fn go_metadata(metadata: &Map<String, Value>) -> String {
    ordered(metadata, &GO_ORDER, |key, value| match value {
        Value::Array(entries) if key == "managedFields" => {
            let entries = entries.iter().filter_map(Value::as_object);
            let entries: Vec<String> = entries
                .map(|e| ordered(e, &GO_ENTRY_ORDER, |_, v| v.to_string()))
                .collect();
            format!("[{}]", entries.join(","))
        }
        value => value.to_string(),
    })
}

fn ordered(map: &Map<String, Value>, order: &[&str], show: impl Fn(&str, &Value) -> String) -> String {
    let members = order
        .iter()
        .filter_map(|key| Some(format!("\"{key}\":{}", show(key, map.get(*key)?))));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

fn check_selector(selector: &Value, labels: bool, path: &Path, errors: &mut ErrorList) {
    if !selector.is_object() {
        return;
    }
    let raw = str_at(selector, &["rawSelector"]);
    let terms = selector["requirements"].as_array().is_some_and(|r| !r.is_empty());
    if !raw.is_empty() && terms {
        let text = "may not specified at the same time as requirements";
        errors.push(Error::invalid(&path.child("rawSelector"), raw, text));
    } else if raw.is_empty() && !terms {
        let text = format!("when {path} is specified, requirements or rawSelector is required");
        errors.push(Error::required(&path.child("requirements"), text));
    }
    let all = selector["requirements"].as_array();
    for (at, requirement) in all.into_iter().flatten().enumerate() {
        check_requirement(requirement, labels, &path.child("requirements").index(at), errors);
    }
}

/// An operator this server does not know is no error: clients may be newer.
fn check_requirement(requirement: &Value, labels: bool, path: &Path, errors: &mut ErrorList) {
    let key = str_at(requirement, &["key"]);
    let values = requirement["values"].as_array().map_or(&[][..], Vec::as_slice);
    let check_key = |errors: &mut ErrorList| {
        if labels {
            errors.extend_invalid(&path.child("key"), key, names::is_qualified_name(key));
        } else if key.is_empty() {
            errors.push(Error::required(&path.child("key"), "must be specified"));
        }
    };
    if !labels {
        check_key(errors);
    }
    match str_at(requirement, &["operator"]) {
        "In" | "NotIn" if values.is_empty() => {
            let text = "must be specified when `operator` is 'In' or 'NotIn'";
            errors.push(Error::required(&path.child("values"), text));
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.push(Error::forbidden(&path.child("values"), text));
        }
        _ => {}
    }
    if labels {
        check_key(errors);
        for (at, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            let at = path.child("values").index(at);
            errors.extend_invalid(&at, value, names::is_label_value(value));
        }
    }
}
