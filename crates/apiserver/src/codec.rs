//! Request bodies into objects: the schema's decoder with this request's warnings and defaults.

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{GroupKind, GroupVersionKind, Status, object};
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
    warn(call, read.warnings);
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
    warn(call, decoded.warnings);
    complete(call, gvk, decoded.value)
}

/// Tells what is unknown or stands twice; of YAML's errors each line.
pub fn warn(call: &Call, texts: impl IntoIterator<Item = String>) {
    const HEADS: [&str; 2] = [
        "error converting YAML to JSON: yaml: unmarshal errors:\n",
        "yaml: unmarshal errors:\n",
    ];
    for text in texts {
        match HEADS.iter().find_map(|head| text.strip_prefix(head)) {
            Some(lines) => lines.lines().for_each(|line| call.warn(line.trim())),
            None => call.warn(text),
        }
    }
}

/// Fills in defaults.
fn complete(call: &Call, gvk: &GroupVersionKind, mut value: Value) -> Value {
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

/// How the outcome of a patch is read.
pub struct Reading {
    pub validation: Validation,
    /// The outcome may say to be of another kind or version, as a body may.
    pub stated: bool,
    /// What is to be said of the patch itself.
    pub found: Vec<String>,
}

impl Reading {
    /// Of what the server merged itself.
    pub const MERGED: Self = Self {
        validation: Validation::Ignore,
        stated: false,
        found: Vec::new(),
    };
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
    reading: &Reading,
) -> Result<Value, Status> {
    let value = outcome()?;
    let read = match custom {
        None if reading.stated && object::api_version(&value).is_empty() => {
            Ok((None, unknown_to_internal(&value, reading)))
        }
        None => read_outcome(gvk, value, reading).map(|(value, unknown)| (Some(value), unknown)),
        Some(kind) if !reading.stated => {
            custom::body::merged(&kind.version, value).map(|value| (Some(value), Vec::new()))
        }
        Some(kind) => {
            if call.info.subresource.is_empty() {
                stays_of_kind(call, gvk, &value)?;
            }
            custom::body::patched(&kind.version, value, lenient(reading.validation))
                .map(|read| (Some(read.value), read.warnings))
        }
    };
    let problem = match read {
        Ok((value, unknown)) => {
            let texts: Vec<String> = reading.found.iter().cloned().chain(unknown).collect();
            if reading.validation != Validation::Strict || texts.is_empty() {
                warn(call, texts);
                let value = value.ok_or_else(|| nameless(&call.info.name))?;
                return Ok(match custom {
                    None => complete(call, gvk, value),
                    Some(_) => value,
                });
            }
            format!("strict decoding error: {}", texts.join(", "))
        }
        Err(status) => {
            let wrapping = format!("cannot be handled as a {}: ", gvk.kind);
            let error = status.message.split_once(&wrapping);
            error.map_or(status.message.as_str(), |(_, e)| e).to_owned()
        }
    };
    let text = outcome()?.to_string();
    let errors = ErrorList::from(vec![Error::invalid(&Path::new("patch"), text, problem)]);
    Err(Status::invalid(&GroupKind::new("", ""), "", errors))
}

/// An object that a patch has left without a version is read as upstream's internal type, which knows none of its members.
fn unknown_to_internal(value: &Value, reading: &Reading) -> Vec<String> {
    if reading.validation == Validation::Ignore {
        return Vec::new();
    }
    let members = value.as_object().into_iter().flatten().map(|(name, _)| name);
    members
        .filter(|name| !matches!(name.as_str(), "apiVersion" | "kind"))
        .map(|name| format!("unknown field {}", corten_meta::quote(name)))
        .collect()
}

fn nameless(name: &str) -> Status {
    Status::bad_request(format!(
        "the name of the object ({name} based on URL) was undeterminable: name must be provided"
    ))
}

/// A custom object stays of its kind and version.
fn stays_of_kind(call: &Call, gvk: &GroupVersionKind, value: &Value) -> Result<(), Status> {
    let stated = (object::kind(value), object::api_version(value));
    if stated.1.is_empty() {
        let text = "Object 'apiVersion' is missing in 'object has no apiVersion field'";
        return Err(Status::new(500, "", text));
    }
    let wanted = (&*gvk.kind, &*gvk.api_version());
    let mut errors = ErrorList::new();
    for (field, stated, wanted) in [("kind", stated.0, wanted.0), ("apiVersion", stated.1, wanted.1)] {
        if stated != wanted {
            let path = Path::new(field);
            errors.push(Error::invalid(&path, stated, format!("must be {wanted}")));
        }
    }
    if errors.is_empty() {
        return Ok(());
    }
    let group = stated.1.split_once('/').map_or("", |(group, _)| group);
    let kind = GroupKind::new(group.to_owned(), stated.0.to_owned());
    Err(Status::invalid(&kind, &call.info.name, errors))
}

/// What is unknown is told of before it is refused.
fn lenient(validation: Validation) -> Validation {
    match validation {
        Validation::Strict => Validation::Warn,
        other => other,
    }
}

/// The object and what is unknown in it.
fn read_outcome(
    gvk: &GroupVersionKind,
    value: Value,
    reading: &Reading,
) -> Result<(Value, Vec<String>), Status> {
    let mode = lenient(reading.validation).into();
    let decoded = match reading.stated {
        true => decode::as_stated(value, gvk, mode)?,
        false => decode::as_kind(value, gvk, mode)?,
    };
    let value = match decoded.gvk == *gvk {
        true => decoded.value,
        false => corten_schema::convert::to(decoded.value, gvk),
    };
    Ok((value, decoded.warnings))
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
