//! Request bodies into objects: the schema's decoder with this request's warnings and defaults.

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{GroupKind, GroupVersionKind, Status};
use corten_schema::decode::{self, Decoded, Media};
use corten_schema::typed::Mode;
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Served;
use crate::custom::{self, CustomKind};
use crate::negotiate::{Format, MEDIA_TYPES};
use crate::options::Validation;

impl From<Format> for Media {
    fn from(f: Format) -> Self {
        match f {
            Format::Json => Self::Json,
            Format::Yaml => Self::Yaml,
            Format::Protobuf => Self::Protobuf,
        }
    }
}

impl From<Validation> for Mode {
    fn from(v: Validation) -> Self {
        match v {
            Validation::Ignore => Self::Ignore,
            Validation::Warn => Self::Warn,
            Validation::Strict => Self::Strict,
        }
    }
}

/// Reads a body as an object of a served kind, defaults filled in; what is dropped becomes warnings.
///
/// # Errors
/// 400 in upstream's words.
pub fn decode_served(
    call: &Call,
    served: &Served,
    body: &[u8],
    format: Format,
    validation: Validation,
) -> Result<Value, Status> {
    let Some(kind) = &served.custom else {
        return decode(call, &served.schema.gvk(), body, format, validation);
    };
    let read = custom::body::read(&kind.version, body, format, validation)?;
    read.warnings.into_iter().for_each(|text| call.warn(text));
    Ok(read.value)
}

/// Reads a body as an object of `gvk`, defaults filled in; what is dropped becomes warnings.
///
/// # Errors
/// 400 in upstream's words.
pub fn decode(
    call: &Call,
    gvk: &GroupVersionKind,
    body: &[u8],
    format: Format,
    validation: Validation,
) -> Result<Value, Status> {
    let decoded = decode::object(body, format.into(), gvk, validation.into())?;
    if decoded.gvk.group != gvk.group || decoded.gvk.version != gvk.version {
        let (own, wanted) = (decoded.gvk.api_version(), gvk.api_version());
        return Err(Status::bad_request(format!(
            "the API version in the data ({own}) does not match the expected API version ({wanted})"
        )));
    }
    Ok(accept(call, gvk, decoded))
}

fn has_labels(object: &Value) -> bool {
    let labels = object["metadata"]["labels"].as_object();
    labels.is_some_and(|labels| !labels.is_empty())
}

/// Takes the warnings and fills in defaults.
fn accept(call: &Call, gvk: &GroupVersionKind, decoded: Decoded) -> Value {
    for text in decoded.warnings {
        call.warn(text);
    }
    let mut value = decoded.value;
    let is_unlabeled_job = gvk.group == "batch" && gvk.kind == "Job" && !has_labels(&value);
    set_defaults(gvk, &mut value);
    if is_unlabeled_job && has_labels(&value) {
        call.notes.lock().labels_of_template = true;
    }
    value
}

/// Fills in a kind's defaults.
pub fn set_defaults(gvk: &GroupVersionKind, value: &mut Value) {
    if let Some(id) = corten_schema::type_of(gvk) {
        corten_schema::default(id, value);
    }
}

/// The outcome of a patch as an object of `gvk`, as a body would be read. `outcome` is asked again for what an error says.
///
/// # Errors
/// Those of `outcome`; 422 about `patch`, in upstream's words.
pub fn patched(
    call: &Call,
    gvk: &GroupVersionKind,
    custom: Option<&CustomKind>,
    outcome: impl Fn() -> Result<Value, Status>,
    validation: Validation,
) -> Result<Value, Status> {
    let value = outcome()?;
    let read = match custom {
        None => decode::as_kind(value, gvk, validation.into()).map(|decoded| accept(call, gvk, decoded)),
        Some(kind) => custom::body::patched(&kind.version, value, validation).map(|read| {
            read.warnings.into_iter().for_each(|text| call.warn(text));
            read.value
        }),
    };
    match read {
        Ok(value) => Ok(value),
        Err(status) => {
            let wrapping = format!("cannot be handled as a {}: ", gvk.kind);
            let error = status
                .message
                .split_once(&wrapping)
                .map_or(status.message.as_str(), |(_, e)| e);
            let text = outcome()?.to_string();
            let errors = ErrorList::from(vec![Error::invalid(&Path::new("patch"), text, error)]);
            Err(Status::invalid(&GroupKind::new("", ""), "", errors))
        }
    }
}

/// Reads options of meta.k8s.io from a body.
///
/// # Errors
/// 400 with the reader's own words; they are no object of the path's, so nothing is said of what it should have been.
pub fn decode_options(body: &[u8], format: Format, kind: &'static str) -> Result<Value, Status> {
    let gvk = GroupVersionKind::new("meta.k8s.io", "v1", kind);
    let read = decode::options(body, format.into(), &gvk);
    read.map_err(|status| match other_kind(body, format, kind) {
        Some(other) => unregistered(&other),
        None => bare(status, kind),
    })
}

fn unregistered((kind, version): &(String, String)) -> Status {
    let scheme = "pkg/apis/meta/internalversion/scheme/register.go:27";
    let (kind, version) = (corten_meta::quote(kind), corten_meta::quote(version));
    Status::bad_request(format!(
        "no kind {kind} is registered for version {version} in scheme \"{scheme}\""
    ))
}

/// Kind and version of a body that says to be something else.
fn other_kind(body: &[u8], format: Format, kind: &str) -> Option<(String, String)> {
    if format != Format::Json {
        return None;
    }
    let value: Value = serde_json::from_slice(body).ok()?;
    let own = value["kind"].as_str().filter(|k| !k.is_empty() && *k != kind)?;
    let version = value["apiVersion"].as_str().filter(|v| v.split('/').count() < 3);
    Some((own.to_owned(), version.filter(|v| !v.is_empty())?.to_owned()))
}

/// The reader's error without what goes around it for objects.
fn bare(status: Status, kind: &str) -> Status {
    let text = status.message.as_str();
    let wrapping = format!("cannot be handled as a {kind}: ");
    let unrecognized = format!("the object provided is unrecognized (must be of type {kind}): ");
    let text = match (text.split_once(&wrapping), text.strip_prefix(&unrecognized)) {
        (Some((_, error)), _) => error,
        // The body's first bytes stand behind the error.
        (None, Some(shown)) => shown.rsplit_once(" (").map_or(shown, |(error, _)| error),
        (None, None) => return status,
    };
    Status::bad_request(text)
}

impl Call {
    /// The encoding of the body.
    ///
    /// # Errors
    /// 415.
    pub fn body_format(&self) -> Result<Format, Status> {
        let known = crate::negotiate::content_format(self.content_type());
        known.ok_or_else(|| Status::unsupported_media_type(&MEDIA_TYPES.map(|(m, _)| m)))
    }
}
