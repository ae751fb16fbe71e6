//! What the schema validator finds, and how it becomes field errors.

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::quote;
use serde_json::Value;

/// The classes of faults that field errors tell apart.
#[derive(Clone, Debug)]
enum Class {
    WrongType,
    Required,
    TooLong(i64),
    TooMany {
        actual: i64,
        limit: i64,
    },
    NotOneOf(Box<[Value]>),
    Other,
    /// Of no field in particular.
    Loose,
}

/// One thing wrong with a value.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    class: Class,
    path: String,
    value: Option<Value>,
    message: String,
}

impl Fault {
    fn new(class: Class, path: &str, value: Option<Value>, message: String) -> Self {
        Self {
            class,
            path: path.to_owned(),
            value,
            message,
        }
    }

    pub fn wrong_type(path: &str, wanted: &str, found: &str) -> Self {
        let message = format!("{path} in body must be of type {wanted}: {}", quote(found));
        Self::new(Class::WrongType, path, Some(found.into()), message)
    }

    pub fn required(path: &str) -> Self {
        Self::new(Class::Required, path, None, format!("{path} in body is required"))
    }

    pub fn too_long(path: &str, limit: i64, text: &str) -> Self {
        let message = format!("{path} in body should be at most {limit} chars long");
        Self::new(Class::TooLong(limit), path, Some(text.into()), message)
    }

    pub fn too_many(path: &str, actual: i64, limit: i64, message: String) -> Self {
        Self::new(
            Class::TooMany { actual, limit },
            path,
            Some(actual.into()),
            message,
        )
    }

    pub fn counted(path: &str, actual: i64, message: String) -> Self {
        Self::new(Class::Other, path, Some(actual.into()), message)
    }

    pub fn not_one_of(path: &str, value: &Value, values: &[Value]) -> Self {
        let shown: Vec<String> = values.iter().map(crate::number::shown).collect();
        let message = format!("{path} in body should be one of [{}]", shown.join(" "));
        Self::new(Class::NotOneOf(values.into()), path, Some(value.clone()), message)
    }

    pub fn other(path: &str, value: Option<Value>, message: String) -> Self {
        Self::new(Class::Other, path, value, message)
    }

    pub fn loose(message: String) -> Self {
        Self::new(Class::Loose, "", None, message)
    }

    fn into_error(self, base: &Path) -> Error {
        let path = match self.path.trim_start_matches('.') {
            "" => or_nil(base),
            path => base.child(path),
        };
        let value = self.value.unwrap_or_else(|| Value::from(""));
        match self.class {
            Class::WrongType => Error::type_invalid(&path, value, self.message),
            Class::Required => Error::required(&path, ""),
            Class::TooLong(limit) => Error::too_long(&path, limit),
            Class::TooMany { actual, limit } => Error::too_many(&path, actual, limit),
            Class::NotOneOf(values) => {
                let values: Vec<String> = values.iter().map(in_json).collect();
                Error::not_supported(&path, value, &values)
            }
            Class::Other => Error::invalid(&path, value, self.message),
            Class::Loose => Error::invalid(&or_nil(base), value, self.message),
        }
    }
}

fn in_json(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Upstream's path of nothing prints as Go prints nil.
fn or_nil(base: &Path) -> Path {
    if base.as_str().is_empty() {
        Path::new("<nil>")
    } else {
        base.clone()
    }
}

/// The faults of a value, each once, and how many checks applied.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub faults: Vec<Fault>,
    pub applied: u32,
}

impl Outcome {
    pub fn is_valid(&self) -> bool {
        self.faults.is_empty()
    }

    pub fn applied(&mut self) {
        self.applied += 1;
    }

    pub fn push(&mut self, fault: Fault) {
        if !self.faults.iter().any(|known| known.message == fault.message) {
            self.faults.push(fault);
        }
    }

    pub fn extend(&mut self, faults: impl IntoIterator<Item = Fault>) {
        faults.into_iter().for_each(|fault| self.push(fault));
    }

    pub fn merge(&mut self, other: Self) {
        self.extend(other.faults);
        self.applied += other.applied;
    }

    pub fn into_errors(self, base: &Path) -> ErrorList {
        self.faults
            .into_iter()
            .map(|fault| fault.into_error(base))
            .collect()
    }
}
