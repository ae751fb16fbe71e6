//! Other shapes of objects and lists: metadata only, and Tables for `kubectl get`.

use corten_meta::field::{Error, Path};
use corten_meta::{Status, object};
use corten_schema::resources::Column;
use corten_schema::table;
use serde_json::{Map, Value, json};

use crate::call::Call;
use crate::catalog::Served;
use crate::negotiate::{Accepted, Shape};

/// `PartialObjectMetadata` of an object.
pub fn partial(value: &Value, version: &str) -> Value {
    let mut out = Map::new();
    out.insert("kind".into(), json!("PartialObjectMetadata"));
    out.insert("apiVersion".into(), json!(format!("meta.k8s.io/{version}")));
    out.insert("metadata".into(), Value::Object(object::metadata(value).clone()));
    Value::Object(out)
}

/// What the JSON of a `PartialObjectMetadata` has before its metadata.
pub fn partial_head(version: &str) -> &'static str {
    match version {
        "v1beta1" => r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1beta1","metadata":"#,
        _ => r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#,
    }
}

/// What the JSON of a list of items that begin with `item` has before its resourceVersion.
pub fn partial_list_head(item: &str) -> String {
    let head = item.replacen("PartialObjectMetadata", "PartialObjectMetadataList", 1);
    head + r#"{"resourceVersion":""#
}

/// `PartialObjectMetadataList` of a list; upstream's has null for no items.
pub fn partial_list(values: &[Value], metadata: Value, version: &str) -> Value {
    let items: Vec<Value> = values.iter().map(|v| partial(v, version)).collect();
    let items = Some(items).filter(|items| !items.is_empty());
    json!({
        "kind": "PartialObjectMetadataList",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "items": items,
    })
}

/// The list itself, its items without kind and version.
pub fn plain_list(served: &Served, mut values: Vec<Value>, metadata: Value) -> Value {
    let bare = values.iter_mut().filter(|_| served.custom.is_none());
    for v in bare {
        let members = object::object_mut(v);
        members.remove("kind");
        members.remove("apiVersion");
    }
    json!({
        "kind": served.schema.list_kind, "apiVersion": served.api_version, "metadata": metadata, "items": values,
    })
}

fn not_acceptable(text: String) -> Status {
    Status::new(406, "NotAcceptable", text)
}

/// A list was asked for where there is one object.
fn not_a_list(served: &Served) -> Status {
    of_one_object(&go_type(served, served.schema.kind))
}

fn of_one_object(go_type: &str) -> Status {
    not_acceptable(format!(
        "you requested PartialObjectMetadataList, but the requested object is not a list (*{go_type})"
    ))
}

/// An object of the path's kind in the shape that was asked for.
///
/// # Errors
/// 406 where a list is asked for, 400 for a bad `includeObject`.
pub fn of_one(call: &Call, served: &Served, value: Value, accepted: Accepted) -> Result<Value, Status> {
    match accepted.shape {
        Shape::Plain => Ok(value),
        Shape::Partial => Ok(partial(&value, accepted.meta_version)),
        Shape::PartialList => Err(not_a_list(served)),
        Shape::Table => table_of_one(call, served, value, accepted),
    }
}

/// An object of another kind than the path's; its metadata, where that is asked for. It has no Table of its own.
///
/// # Errors
/// 406 where a list is asked for, which names the object's type as upstream does.
pub fn of_another_kind(value: Value, accepted: Accepted, go_type: &str) -> Result<Value, Status> {
    match accepted.shape {
        Shape::Plain | Shape::Table => Ok(value),
        Shape::Partial => Ok(partial(&value, accepted.meta_version)),
        Shape::PartialList => Err(of_one_object(go_type)),
    }
}

/// The Table of a Scale.
///
/// # Errors
/// 400 for a bad `includeObject`.
pub fn scale_table(call: &Call, served: &Served, scale: Value, accepted: Accepted) -> Result<Value, Status> {
    let rows = Rows::new(TableOptions::read(call), accepted.meta_version)?;
    let columns = table::scale_columns(served.custom.is_some());
    let metadata = json!({"resourceVersion": object::resource_version(&scale)});
    let cells = table::scale_cells(&scale, rows.now);
    let columns = columns.iter().map(|c| column("Scale", c)).collect();
    let mut table = table_of(columns, metadata, accepted.meta_version);
    table["rows"] = json!([rows.row_of(json!({"cells": cells}), scale)]);
    Ok(table)
}

/// One object was asked for where there is a list.
pub fn not_an_object(served: &Served) -> Status {
    let of = go_type(served, served.schema.list_kind);
    not_acceptable(format!(
        "you requested PartialObjectMetadata, but the requested object is a list (*{of})"
    ))
}

/// Upstream's internal type of a kind: its package is the group's first part.
fn go_type(served: &Served, kind: &str) -> String {
    if served.custom.is_some() {
        let list = if kind == served.schema.kind { "" } else { "List" };
        return format!("unstructured.Unstructured{list}");
    }
    let package = match served.schema.group {
        "" | "events.k8s.io" => "core",
        "internal.apiserver.k8s.io" => "apiserverinternal",
        group => group.split('.').next().unwrap_or_default(),
    };
    format!("{package}.{kind}")
}

/// `TableOptions` of a request.
#[derive(Debug, Clone, Default)]
pub struct TableOptions {
    include_object: String,
}

impl TableOptions {
    /// Reads `?includeObject=`.
    pub fn read(call: &Call) -> Self {
        Self {
            include_object: call.query.text("includeObject").to_owned(),
        }
    }

    /// Whether a Table can be made so.
    ///
    /// # Errors
    /// 400 for a bad `includeObject`.
    pub fn check(&self) -> Result<(), Status> {
        if matches!(self.include_object.as_str(), "" | "Metadata" | "Object" | "None") {
            return Ok(());
        }
        let text = "must be 'Metadata', 'Object', 'None', or empty";
        let error = Error::invalid(&Path::new("includeObject"), self.include_object.as_str(), text);
        Err(Status::bad_request(format!(
            "Unable to convert to Table as requested: {error}"
        )))
    }
}

/// The Table of a list.
///
/// # Errors
/// 400 for a bad `includeObject`.
pub fn whole_table(
    call: &Call,
    served: &Served,
    values: Vec<Value>,
    metadata: Value,
    accepted: Accepted,
) -> Result<Value, Status> {
    rows(
        &TableOptions::read(call),
        served,
        values,
        metadata,
        accepted.meta_version,
        true,
    )
}

/// The Table of one object.
///
/// # Errors
/// 400 for a bad `includeObject`.
fn table_of_one(call: &Call, served: &Served, value: Value, accepted: Accepted) -> Result<Value, Status> {
    let metadata = json!({"resourceVersion": object::resource_version(&value)});
    whole_table(call, served, vec![value], metadata, accepted)
}

fn columns(served: &Served) -> Value {
    if let Some(kind) = &served.custom {
        let one = |c: &corten_crd::resource::Column| json!({"name": c.name, "type": c.kind, "format": c.format, "description": c.description, "priority": c.priority});
        let name = json!({"name": "Name", "type": "string", "format": "name", "description": table::describe("", "Name"), "priority": 0});
        return std::iter::once(name)
            .chain(kind.version.columns.iter().map(one))
            .collect();
    }
    let one = |c: &Column| column(served.schema.kind, c);
    table::columns(served.schema).iter().map(one).collect()
}

fn column(kind: &str, c: &Column) -> Value {
    let description = table::describe(kind, c.name);
    json!({"name": c.name, "type": c.kind, "format": c.format, "description": description, "priority": c.priority})
}

/// What turns objects into rows of a Table, all at the same moment.
pub struct Rows {
    options: TableOptions,
    version: &'static str,
    now: jiff::Timestamp,
}

impl Rows {
    /// For a Table of this version of meta.k8s.io.
    ///
    /// # Errors
    /// 400 for a bad `includeObject`.
    pub fn new(options: TableOptions, version: &'static str) -> Result<Self, Status> {
        options.check()?;
        Ok(Self {
            options,
            version,
            now: jiff::Timestamp::now(),
        })
    }

    /// The row of an object.
    pub fn row(&self, served: &Served, value: Value) -> Value {
        let cells = match &served.custom {
            Some(kind) => {
                let mut cells = kind.version.cells(&value, self.now);
                cells.insert(0, json!(object::name(&value)));
                cells
            }
            None => table::cells(served.schema, &value, self.now),
        };
        let mut row = json!({"cells": cells});
        if let Some(conditions) = table::conditions(served.schema, &value) {
            row["conditions"] = conditions;
        }
        self.row_of(row, value)
    }

    /// Puts into the row what is wanted of its object.
    fn row_of(&self, mut row: Value, value: Value) -> Value {
        row["object"] = match self.options.include_object.as_str() {
            "None" => Value::Null,
            "Object" => value,
            _ => partial(&value, self.version),
        };
        row
    }
}

/// A Table without rows; `headers` is false from the second event of a watch on.
pub fn empty_table(served: &Served, metadata: Value, version: &str, headers: bool) -> Value {
    let columns = if headers { columns(served) } else { Value::Null };
    table_of(columns, metadata, version)
}

fn table_of(columns: Value, metadata: Value, version: &str) -> Value {
    json!({
        "kind": "Table",
        "apiVersion": format!("meta.k8s.io/{version}"),
        "metadata": metadata,
        "columnDefinitions": columns,
        "rows": [],
    })
}

/// A Table; `headers` is false from the second event of a watch on.
///
/// # Errors
/// 400 for a bad `includeObject`.
pub fn rows(
    options: &TableOptions,
    served: &Served,
    values: Vec<Value>,
    metadata: Value,
    version: &'static str,
    headers: bool,
) -> Result<Value, Status> {
    let rows = Rows::new(options.clone(), version)?;
    let mut table = empty_table(served, metadata, version, headers);
    table["rows"] = values.into_iter().map(|value| rows.row(served, value)).collect();
    Ok(table)
}
