//! One served version of a custom resource: all that the server does with its objects.

mod columns;
mod scale;
mod strategy;

use std::fmt;
use std::sync::Arc;

use corten_meta::field::Path;
use corten_meta::time::Timestamp;
use corten_meta::{GroupVersionKind, Status};
use corten_schema::apply::scale::ReplicasPaths;
use corten_schema::apply::{FieldPath, reset_fields_of_custom};
use serde_json::Value;

pub use columns::Column;
pub use scale::{ScalePaths, UNSET_REPLICAS};

use crate::jsonpath::{JsonPath, print};
use crate::object::{self, CoerceError};
use crate::rules::{Compiler, Rules};
use crate::structural::Structural;

/// A version with what follows from its schema. Cheap to share; made anew when the definition changes.
pub struct Version {
    pub gvk: GroupVersionKind,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub namespaced: bool,
    pub served: bool,
    /// Objects are stored in this version.
    pub storage: bool,
    /// The text of the `Warning` header of every answer, for versions on their way out.
    pub deprecated: Option<String>,
    pub has_status: bool,
    pub scale: Option<ScalePaths>,
    /// Where each version of the definition keeps its replicas.
    pub replicas: ReplicasPaths,
    /// Besides the name.
    pub columns: Vec<Column>,
    /// Names usable in field selectors besides those of metadata, without a leading dot.
    pub selectable: Vec<String>,
    /// `None` for definitions without a schema, from before one was demanded.
    pub schema: Option<Arc<Structural>>,
    selectable_paths: Vec<Option<JsonPath>>,
    rules: Option<Box<dyn Rules>>,
    preserve_unknown_fields: bool,
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Version")
            .field("gvk", &self.gvk)
            .finish_non_exhaustive()
    }
}

/// What becomes of nulls that a schema neither allows nor has a default for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    Drop,
    Keep,
}

impl Version {
    /// Reads a version of a definition; `None` when it is not there or its schema is not structural.
    pub fn new(definition: &Value, name: &str, rules: Option<&dyn Compiler>) -> Option<Self> {
        let spec = &definition["spec"];
        let version = crate::definition::version(definition, name)?;
        let schema = match &version["schema"]["openAPIV3Schema"] {
            Value::Null => None,
            schema => Some(Arc::new(Structural::parse(schema).ok()?.for_objects())),
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let names = &spec["names"];
        let selectable: Vec<String> = version["selectableFields"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|field| text(&field["jsonPath"]))
            .collect();
        Some(Self {
            gvk: GroupVersionKind::new(text(&spec["group"]), name.to_owned(), text(&names["kind"])),
            list_kind: text(&names["listKind"]),
            plural: text(&names["plural"]),
            singular: text(&names["singular"]),
            namespaced: spec["scope"] == "Namespaced",
            served: version["served"] == true,
            storage: version["storage"] == true,
            deprecated: crate::definition::deprecation(definition, version),
            has_status: version["subresources"]["status"].is_object(),
            scale: ScalePaths::of_version(version),
            replicas: scale::replicas(spec),
            columns: Column::of_version(version),
            selectable_paths: selectable.iter().map(|path| JsonPath::parse(path)).collect(),
            selectable: selectable
                .iter()
                .map(|path| path.strip_prefix('.').unwrap_or(path).to_owned())
                .collect(),
            rules: rules
                .zip(schema.as_deref())
                .and_then(|(rules, schema)| rules.compile(schema, true)),
            preserve_unknown_fields: spec["preserveUnknownFields"] == true,
            schema,
        })
    }

    /// Brings what a client sent into shape: metadata in its form, unknown fields and meaningless nulls dropped. Answers the
    /// paths of unknown fields where `report_unknown` is set. Defaults come after (see [`Version::default`]).
    ///
    /// Errors: a bad request with upstream's text for metadata of a wrong type.
    pub fn decode(&self, object: &mut Value, report_unknown: bool) -> corten_meta::Result<Vec<String>> {
        self.shape(object, CoerceError::Report, report_unknown, Nulls::Drop)
            .map_err(|text| self.unfit(&text))
    }

    /// The same for what an apply merged: its nulls stay, and are refused where the schema has none.
    ///
    /// Errors: as [`Version::decode`].
    pub fn decode_merged(&self, object: &mut Value) -> corten_meta::Result<()> {
        let unknown = self.shape(object, CoerceError::Report, false, Nulls::Keep);
        unknown.map(drop).map_err(|text| self.unfit(&text))
    }

    fn unfit(&self, text: &str) -> Status {
        let (kind, version) = (&self.gvk.kind, &self.gvk.version);
        Status::bad_request(format!(
            "{kind} in version {} cannot be handled as a {kind}: {text}",
            corten_meta::quote(version)
        ))
    }

    /// The same for an object out of the store: what does not fit is dropped, and a generation that is missing added.
    pub fn decode_stored(&self, object: &mut Value) {
        // Nothing is reported of what is dropped.
        let _ = self.shape(object, CoerceError::Drop, false, Nulls::Drop);
        if corten_meta::object::generation(object) == 0 {
            corten_meta::object::set_generation(object, 1);
        }
    }

    fn shape(
        &self,
        value: &mut Value,
        errors: CoerceError,
        report: bool,
        nulls: Nulls,
    ) -> Result<Vec<String>, String> {
        let Some(map) = value.as_object_mut() else {
            return Ok(Vec::new());
        };
        let mut unknown = object::coerce(map, errors, &Path::root())?;
        let Some(schema) = &self.schema else {
            return Ok(unknown);
        };
        if !self.preserve_unknown_fields {
            unknown.extend(object::prune(value, schema, true, report));
            if nulls == Nulls::Drop {
                object::drop_nulls(value, schema);
            }
        }
        let embedded = object::coerce_embedded(value, schema, false, errors, &Path::root());
        unknown.extend(embedded.map_err(|error| error.to_string())?);
        if !report {
            unknown.clear();
        }
        Ok(unknown)
    }

    /// Fills in the schema's defaults.
    pub fn default(&self, object: &mut Value) {
        if let Some(schema) = &self.schema {
            object::default(object, schema);
        }
    }

    /// The cells of a row after the name's.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        self.columns
            .iter()
            .map(|column| column.cell(object, now))
            .collect()
    }

    /// The value of the field at this place of `selectable`; empty where the object has none.
    pub fn field_value(&self, at: usize, object: &Value) -> String {
        let path = self.selectable_paths.get(at).and_then(Option::as_ref);
        let found = path.and_then(|path| path.first(object));
        found.filter(|v| !v.is_null()).map(print).unwrap_or_default()
    }

    /// The objects as server-side apply sees them, for `corten_schema::apply::{apply_custom, update_custom}`.
    pub fn apply_type(&self) -> crate::apply::Resource<'_> {
        crate::apply::Resource(self.schema.as_deref().filter(|_| !self.preserve_unknown_fields))
    }

    /// Fields whose owners a write does not change (see `corten_schema::apply::Write`).
    pub fn reset_fields(&self, subresource: &str) -> &'static [FieldPath] {
        reset_fields_of_custom(subresource, self.has_status)
    }
}
