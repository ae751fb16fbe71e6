//! PATCH: JSON, merge and strategic merge patches, and server-side apply. The patch is applied inside the registry's
//! guaranteed update, so that a write which comes between makes it run again.

use std::sync::Arc;

use corten_meta::status::Details;
use corten_meta::{GroupVersionKind, Status, json_word, object, patch as patches};
use corten_registry::UpdateOptions;
use corten_schema::decode::{self, Floats};
use http::StatusCode;
use serde_json::{Map, Value};

use crate::apply::{Ownership, may_create};
use crate::call::Call;
use crate::catalog::Served;
use crate::codec::{self, Reading};
use crate::custom::CustomKind;
use crate::options::{For, Validation, WriteOptions};
use crate::respond::Answer;
use crate::verbs::answer_object;
use crate::verbs::write::{check_name, check_namespace};
use crate::{convert, grants};

/// What a patch is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchType {
    /// RFC 6902
    Json,
    /// RFC 7386
    Merge,
    /// Upstream's own, by the schema's merge keys.
    Strategic,
    /// Server-side apply.
    Apply,
}

impl PatchType {
    /// From the Content-Type header, of those the kind takes.
    ///
    /// # Errors
    /// 415.
    pub fn read_for(call: &Call, served: &Served) -> Result<Self, Status> {
        match Self::read(call) {
            Ok(kind) if served.custom.is_none() || kind != Self::Strategic => Ok(kind),
            Err(status) if served.custom.is_none() => Err(status),
            _ => Err(Status::unsupported_media_type(&OF_CUSTOM_KINDS)),
        }
    }

    /// From the Content-Type header.
    ///
    /// # Errors
    /// The router's 415.
    pub fn read(call: &Call) -> Result<Self, Status> {
        let media = call
            .content_type()
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default()
            .trim();
        Ok(match media {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            "application/apply-patch+yaml" => Self::Apply,
            _ => {
                let text = "415: Unsupported Media Type";
                return Err(Status::new(415, "UnsupportedMediaType", text).with_details(Details::default()));
            }
        })
    }
}

/// Media types of the patches that custom kinds take: they have no merge keys.
const OF_CUSTOM_KINDS: [&str; 3] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
];

/// `PATCH` of an object or of a subresource that has the object's own kind.
///
/// # Errors
/// 400 and 422 for bad patches, 409 for conflicts, 404 without object.
pub async fn patch(mut call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let kind = PatchType::read_for(&call, &served)?;
    let body = call.read_body().await?;
    let purpose = if kind == PatchType::Apply {
        For::Apply
    } else {
        For::Patch
    };
    let options = WriteOptions::read(&call.query, purpose)?;
    let patch = Patch::parse(kind, &body, options.validation);
    let repeated = Repeated::in_configuration(kind, &options, &body);
    let ownership = Ownership::new(&call, &served, &options);
    let ctx = call.write_context(options.dry_run, ownership.manager());
    let subresource = served.subresource(&call.info.subresource);
    let create = kind == PatchType::Apply && call.info.subresource.is_empty();
    let update = UpdateOptions {
        force_allow_create: create,
        ..UpdateOptions::default()
    };
    let updated = {
        let (ns, name) = (served.namespace_of(&call), call.info.name.as_str());
        let change = |live: &Value| {
            let current = convert::as_served(&served, live);
            if live.is_null() && kind != PatchType::Apply {
                return Err(Status::not_found(&served.schema.group_resource(), name));
            }
            // What is wrong with it matters where there is something to patch.
            let patch = patch.as_ref().map_err(Status::clone)?;
            let mut wanted = if kind == PatchType::Apply {
                let applied = ownership.apply(&call, &served, &current, &patch.document, options.force)?;
                // As upstream, only after conflicts.
                repeated.refuse()?;
                applied
            } else {
                let kind = served.custom.as_ref();
                let mut wanted = patch.apply(&call, &served.schema.gvk(), kind, &current)?;
                ownership.record(subresource.0, &current, &mut wanted);
                wanted
            };
            if live.is_null() {
                names_no_object(&call, &served, &wanted)?;
                if call.notes.lock().labels_of_template {
                    ctx.share_labels();
                }
                may_create(&call, &wanted)?;
                served.may_create(name)?;
            }
            grants::check(&call, &served, live, &wanted)?;
            check_namespace(&mut wanted, ns)?;
            check_name(&wanted, name)?;
            convert::to_stored(&served, &mut wanted);
            Ok(wanted)
        };
        call.server
            .registry
            .update(&ctx, served.stored()?, ns, name, subresource, change, &update)
            .await
    };
    call.take_notes(&ctx);
    let updated = updated?;
    repeated.warn(&call);
    let code = if updated.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    answer_object(&call, &served, code, &updated.object, accepted)
}

/// A configuration with a uid is of an object that is there.
fn names_no_object(call: &Call, served: &Served, wanted: &Value) -> Result<(), Status> {
    let uid = object::uid(wanted);
    if uid.is_empty() {
        return Ok(());
    }
    let text =
        format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
    Err(Status::conflict(
        &served.schema.group_resource(),
        &call.info.name,
        text,
    ))
}

/// A key that stands twice in an applied configuration.
struct Repeated {
    text: Option<String>,
    strict: bool,
}

impl Repeated {
    fn in_configuration(kind: PatchType, options: &WriteOptions, body: &[u8]) -> Self {
        let looked_for = kind == PatchType::Apply && options.validation != Validation::Ignore;
        let found = looked_for.then(|| decode::repeated_key(body)).flatten();
        Self {
            text: found.map(|text| format!("error converting YAML to JSON: {text}")),
            strict: options.validation == Validation::Strict,
        }
    }

    fn refuse(&self) -> Result<(), Status> {
        match &self.text {
            Some(text) if self.strict => {
                Err(Status::bad_request(format!("error strict decoding YAML: {text}")))
            }
            _ => Ok(()),
        }
    }

    fn warn(self, call: &Call) {
        codec::warn(call, self.text);
    }
}

/// A parsed patch, ready to be applied any number of times.
pub struct Patch {
    kind: PatchType,
    document: Value,
    reading: Reading,
}

impl Patch {
    /// Parses the body.
    ///
    /// # Errors
    /// 400 for what is no patch of its kind.
    pub fn parse(kind: PatchType, raw: &[u8], validation: Validation) -> Result<Self, Status> {
        let (document, repeated) = document(kind, raw).map_err(Status::bad_request)?;
        let reading = Reading {
            validation,
            stated: matches!(kind, PatchType::Json | PatchType::Merge),
            found: match validation {
                Validation::Ignore => Vec::new(),
                _ => unknown_or_repeated(kind, repeated, &document),
            },
        };
        Ok(Self {
            kind,
            document,
            reading,
        })
    }

    /// What was sent.
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Applies to an object of any kind; gives the object wanted, defaults filled in.
    ///
    /// # Errors
    /// As the kind of patch has it; 415 for server-side apply, which needs an owner.
    pub fn apply(
        &self,
        call: &Call,
        gvk: &GroupVersionKind,
        custom: Option<&CustomKind>,
        current: &Value,
    ) -> Result<Value, Status> {
        let patched = || self.merged(gvk, current);
        codec::patched(call, gvk, custom, patched, &self.reading)
    }

    fn merged(&self, gvk: &GroupVersionKind, current: &Value) -> Result<Value, Status> {
        match self.kind {
            PatchType::Json => {
                let mut wanted = current.clone();
                patches::json_patch(&mut wanted, &self.document)?;
                Ok(wanted)
            }
            PatchType::Merge => {
                let mut wanted = current.clone();
                patches::merge_patch(&mut wanted, &self.document);
                Ok(wanted)
            }
            PatchType::Strategic => {
                let id = corten_schema::type_of(gvk)
                    .ok_or_else(|| Status::internal(format!("{} has no schema", gvk.kind)))?;
                corten_schema::strategic::merge(id, current, &self.document)
            }
            PatchType::Apply => {
                let kinds = ["application/json-patch+json", "application/merge-patch+json"];
                Err(Status::unsupported_media_type(&kinds))
            }
        }
    }
}

/// Reads a patch, and which of its members stand twice if it is JSON. None at all changes nothing.
fn document(kind: PatchType, raw: &[u8]) -> Result<(Value, Vec<String>), String> {
    let json = || decode::json_repeated(raw, Floats::Kept);
    let (head, read) = match kind {
        PatchType::Apply => {
            let document = decode::yaml_value(raw);
            (
                "error decoding YAML: ",
                document.map(|document| (document, Vec::new())),
            )
        }
        PatchType::Strategic => ("", json()),
        PatchType::Json | PatchType::Merge => ("error decoding patch: ", json()),
    };
    let wrong = |error: String| match kind {
        PatchType::Apply if error.starts_with("yaml: ") => {
            format!("{head}error converting YAML to JSON: {error}")
        }
        PatchType::Apply => format!("{head}error unmarshaling JSON: while decoding JSON: {error}"),
        _ => format!("{head}{error}"),
    };
    let (document, repeated) = read.map_err(wrong)?;
    let (fits, wanted, empty) = match kind {
        PatchType::Json => (
            document.is_array(),
            "[]handlers.jsonPatchOp",
            Value::Array(Vec::new()),
        ),
        _ => (
            document.is_object(),
            "map[string]interface {}",
            Value::Object(Map::new()),
        ),
    };
    match &document {
        Value::Null if kind == PatchType::Merge => return Err("Invalid JSON Patch".to_owned()),
        Value::Null => return Ok((empty, repeated)),
        _ if !fits => {
            let found = json_word(&document);
            let text = format!("json: cannot unmarshal {found} into Go value of type {wanted}");
            return Err(wrong(text));
        }
        _ => {}
    }
    if kind == PatchType::Json {
        check_operations(&document).map_err(wrong)?;
    }
    Ok((document, repeated))
}

/// What is remarkable in a patch: members that stand twice, and members that no operation has.
fn unknown_or_repeated(kind: PatchType, repeated: Vec<String>, document: &Value) -> Vec<String> {
    if kind != PatchType::Json {
        return repeated;
    }
    let unknown = document.as_array().into_iter().flatten().enumerate();
    let unknown = unknown.flat_map(|(at, operation)| {
        let names = operation.as_object().into_iter().flatten().map(|(name, _)| name);
        let names = names.filter(|name| !OPERATION.contains(&name.as_str()));
        names.map(move |name| format!("json patch unknown field \"[{at}].{name}\""))
    });
    unknown
        .chain(repeated.into_iter().map(|text| format!("json patch {text}")))
        .collect()
}

const OPERATION: [&str; 4] = ["op", "from", "path", "value"];

/// Operations that Go could not read, in its words.
fn check_operations(document: &Value) -> Result<(), String> {
    for operation in document.as_array().into_iter().flatten() {
        if !operation.is_object() && !operation.is_null() {
            let word = json_word(operation);
            return Err(format!(
                "json: cannot unmarshal {word} into Go value of type handlers.jsonPatchOp"
            ));
        }
        for name in ["op", "path", "from"] {
            let value = &operation[name];
            if !value.is_string() && !value.is_null() {
                let word = json_word(value);
                return Err(format!(
                    "json: cannot unmarshal {word} into Go struct field jsonPatchOp.{name} of type string"
                ));
            }
        }
    }
    Ok(())
}
