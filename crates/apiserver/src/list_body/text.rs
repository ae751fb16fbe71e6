//! Lists and Tables of objects that are parsed one by one: indented JSON, YAML, rows, other versions.

use std::sync::Arc;

use bytes::Bytes;
use corten_meta::{Status, object};
use corten_registry::Object;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use serde_json::{Map, Value};

use super::Form;
use crate::catalog::Served;
use crate::negotiate::{Accepted, Format};
use crate::shape::{self, Rows};
use crate::verbs::served_value;

/// How text is laid out: as [`crate::respond::encode`] writes a whole value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Compact,
    Indented,
    Yaml,
}

impl Layout {
    /// None for what is no text.
    pub fn of(accepted: Accepted) -> Option<Self> {
        match accepted.format {
            Format::Json if accepted.pretty => Some(Self::Indented),
            Format::Json => Some(Self::Compact),
            Format::Yaml => Some(Self::Yaml),
            Format::Protobuf => None,
        }
    }
}

/// What an object is turned into.
pub enum Row {
    /// Itself; of built-in kinds without kind and version.
    Plain,
    /// `PartialObjectMetadata` of this version of meta.k8s.io.
    Partial(&'static str),
    /// A row of a Table.
    Table(Rows),
}

/// See the module.
pub struct Text {
    pub served: Arc<Served>,
    pub layout: Layout,
    pub row: Row,
    /// The list or Table, its items empty.
    pub whole: Map<String, Value>,
}

/// What holds the items; of the other members those before it by name go first, as in a whole value.
fn items_member(row: &Row) -> &'static str {
    match row {
        Row::Table(_) => "rows",
        Row::Plain | Row::Partial(_) => "items",
    }
}

impl Form for Text {
    fn begin(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        let name = items_member(&self.row);
        let members = std::mem::take(&mut self.whole).into_iter();
        let members = members.filter(|(member, _)| member != name);
        let (before, after): (Map<_, _>, _) = members.partition(|(member, _)| member.as_str() < name);
        self.whole = after;
        if self.layout == Layout::Yaml {
            if !before.is_empty() {
                out = corten_schema::encode::yaml(&Value::Object(before)).into_bytes();
            }
            out.extend_from_slice(format!("{name}:").as_bytes());
            return out;
        }
        out.push(b'{');
        for (name, value) in &before {
            self.member(&mut out, name);
            self.value(&mut out, value, 1);
            out.push(b',');
        }
        self.member(&mut out, name);
        out
    }

    fn item(&mut self, out: &mut Vec<u8>, object: &Object, first: bool) -> Result<Option<Bytes>, Status> {
        let value = served_value(&self.served, object)?;
        let value = self.shaped(value);
        if self.layout == Layout::Yaml {
            if first {
                out.push(b'\n');
            }
            out.extend_from_slice(corten_schema::encode::yaml_item(&value).as_bytes());
            return Ok(None);
        }
        out.push(if first { b'[' } else { b',' });
        self.line(out, 2);
        self.value(out, &value, 2);
        Ok(None)
    }

    fn end(&mut self, out: &mut Vec<u8>, empty: bool) -> Result<(), Status> {
        if self.layout == Layout::Yaml {
            if empty {
                out.push(b' ');
                out.extend_from_slice(self.none());
                out.push(b'\n');
            }
            if !self.whole.is_empty() {
                let after = Value::Object(std::mem::take(&mut self.whole));
                out.extend_from_slice(corten_schema::encode::yaml(&after).as_bytes());
            }
            return Ok(());
        }
        if empty {
            out.extend_from_slice(self.none());
        } else {
            self.line(out, 1);
            out.push(b']');
        }
        for (name, value) in &self.whole {
            out.push(b',');
            self.member(out, name);
            self.value(out, value, 1);
        }
        self.line(out, 0);
        out.push(b'}');
        if self.layout == Layout::Compact {
            out.push(b'\n');
        }
        Ok(())
    }
}

impl Text {
    /// No items at all.
    fn none(&self) -> &'static [u8] {
        match self.row {
            Row::Partial(_) => b"null",
            Row::Plain | Row::Table(_) => b"[]",
        }
    }

    fn shaped(&self, mut value: Value) -> Value {
        match &self.row {
            Row::Partial(version) => shape::partial(&value, version),
            Row::Table(rows) => rows.row(&self.served, value),
            Row::Plain => {
                if self.served.custom.is_none() {
                    let members = object::object_mut(&mut value);
                    members.remove("kind");
                    members.remove("apiVersion");
                }
                value
            }
        }
    }

    /// A new line at this depth, where lines are indented.
    fn line(&self, out: &mut Vec<u8>, depth: usize) {
        if self.layout == Layout::Indented {
            out.push(b'\n');
            out.extend(std::iter::repeat_n(b' ', 2 * depth));
        }
    }

    /// A member of the list itself up to its value.
    fn member(&self, out: &mut Vec<u8>, name: &str) {
        self.line(out, 1);
        let colon = if self.layout == Layout::Indented {
            ": "
        } else {
            ":"
        };
        out.extend_from_slice(format!("\"{name}\"{colon}").as_bytes());
    }

    fn value(&self, out: &mut Vec<u8>, value: &Value, depth: usize) {
        // A value has nothing that does not serialize, and a buffer takes everything.
        let _ = match self.layout {
            Layout::Indented => {
                let mut formatter = PrettyFormatter::new();
                for _ in 0..depth {
                    let _ = formatter.begin_array(&mut std::io::sink());
                }
                value.serialize(&mut Serializer::with_formatter(out, formatter))
            }
            Layout::Compact | Layout::Yaml => serde_json::to_writer(out, value),
        };
    }
}
