//! Reads a document against a type, in one pass and in document order, as Go's decoder with upstream's strict checks does:
//! wrong JSON types are errors, unknown and repeated fields are warnings, and what comes out is what Go would write
//! again (no nulls, no empty omitempty members, canonical quantities and times).

mod base64;
mod read;
mod scalar;
mod text;
mod zero;

use corten_meta::Status;
use serde::de::{DeserializeSeed, Deserializer};
use serde_json::Value;

use crate::types::{Field, Kind, Shape, TypeId};

pub(crate) use scalar::number;
pub use text::{duration_nanos, duration_text, time};
pub(crate) use zero::fill;
pub use zero::{is_empty, zero};

/// What to do about unknown and repeated fields: `fieldValidation` of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    Ignore,
    #[default]
    Warn,
    Strict,
}

impl Mode {
    /// Reads the query parameter; an empty one means Warn. `None` for other words.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "Ignore" => Self::Ignore,
            "" | "Warn" => Self::Warn,
            "Strict" => Self::Strict,
            _ => return None,
        })
    }
}

/// Most unknown or repeated fields that are reported.
pub const MAX_FIELD_WARNINGS: usize = 100;

/// What the reader has found so far.
#[derive(Default)]
pub(crate) struct Findings {
    /// The first value of a wrong JSON type; reading goes on.
    pub type_error: Option<String>,
    /// An error of a type's own reader (quantity, time, base64); reading stops.
    pub hard_error: Option<String>,
    /// Unknown and repeated fields in document order.
    pub warnings: Vec<String>,
    /// Inside a type that decodes itself, where nobody looks for unknown and repeated fields.
    unwatched: bool,
}

/// A step from a value to its parent, kept on the stack while reading.
#[derive(Clone, Copy)]
pub(crate) struct Place<'p> {
    parent: Option<&'p Place<'p>>,
    step: Step<'p>,
    /// Go's name of the innermost struct that a field of leads here.
    owner: &'static str,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Root,
    Field(&'static Field),
    Key(&'p str),
    Index(usize),
}

impl<'p> Place<'p> {
    fn root() -> Self {
        Self {
            parent: None,
            step: Step::Root,
            owner: "",
        }
    }

    fn child(&'p self, step: Step<'p>) -> Place<'p> {
        Place {
            parent: Some(self),
            step,
            owner: self.owner,
        }
    }

    /// `spec.containers[0].name`, with `last` appended where not empty.
    fn path(&self, last: &str) -> String {
        let mut out = String::new();
        self.push_path(&mut out);
        if !last.is_empty() {
            dot(&mut out);
            out.push_str(last);
        }
        out
    }

    fn push_path(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.push_path(out);
        }
        match self.step {
            Step::Root => {}
            Step::Field(field) => {
                dot(out);
                out.push_str(field.name);
            }
            Step::Key(name) => {
                dot(out);
                out.push_str(name);
            }
            Step::Index(at) => {
                out.push('[');
                out.push_str(&at.to_string());
                out.push(']');
            }
        }
    }

    /// `spec.containers.livenessProbe.ProbeHandler.exec`: Go's type errors name fields only, inlined structs among them.
    fn field_path(&self, out: &mut String) {
        if let Some(parent) = self.parent {
            parent.field_path(out);
        }
        if let Step::Field(field) = self.step {
            for name in [field.through, field.name].into_iter().filter(|n| !n.is_empty()) {
                dot(out);
                out.push_str(name);
            }
        }
    }
}

fn dot(out: &mut String) {
    if !out.is_empty() {
        out.push('.');
    }
}

/// The outcome of a read that did not break off at the syntax.
pub(crate) type Outcome = Result<Value, String>;

/// Reads one value of a shape. `Err` is the text of the first type error or hard error; `None` for a syntax error, whose text
/// the caller has.
pub(crate) fn read<'de, D: Deserializer<'de>>(
    deserializer: D,
    shape: Shape,
    findings: &mut Findings,
) -> Option<Outcome> {
    let place = Place::root();
    let read = read::Reader {
        shape,
        place: &place,
        findings,
    }
    .deserialize(deserializer);
    if let Some(error) = findings.hard_error.take() {
        return Some(Err(error));
    }
    let value = read.ok()?;
    Some(match findings.type_error.take() {
        Some(error) => Err(error),
        None => Ok(value),
    })
}

/// Brings a value to the form that Go would write of it. Answers unknown fields (`unknown field "spec.foo"`) according
/// to `mode`; the error is a bad request with upstream's text but without its wrapping (see `decode::object`).
pub fn normalize(id: TypeId, value: &mut Value, mode: Mode) -> corten_meta::Result<Vec<String>> {
    let (read, findings) = normalize_with(id, std::mem::take(value));
    *value = read.map_err(Status::bad_request)?;
    match mode {
        Mode::Ignore => Ok(Vec::new()),
        Mode::Warn => Ok(findings),
        Mode::Strict if findings.is_empty() => Ok(Vec::new()),
        Mode::Strict => Err(Status::bad_request(strict_error(&findings))),
    }
}

pub(crate) fn normalize_with(id: TypeId, value: Value) -> (Outcome, Vec<String>) {
    let mut findings = Findings::default();
    let shape = Shape {
        kind: Kind::Struct(id),
        pointer: false,
        expr: "",
    };
    let read = read(value, shape, &mut findings);
    let unreadable = || Err("json: the value nests too deeply".to_owned());
    (read.unwrap_or_else(unreadable), findings.warnings)
}

/// Upstream's text for a list of unknown and repeated fields.
pub(crate) fn strict_error(findings: &[String]) -> String {
    format!("strict decoding error: {}", findings.join(", "))
}
