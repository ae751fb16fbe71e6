//! Field errors as apimachinery's `field` package words them: path, type, bad value, detail.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write};

use serde_json::Value;

use crate::quote::{html_safe, print_float, quote};

/// Where in an object an error is: `spec.containers[0].name`. Cheap enough to clone per child: paths are built
/// only as deep as validation goes, and rendered only in errors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The root of an object, for rules that start at its top.
    pub fn root() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() {
            Self::new(name)
        } else {
            Self(format!("{}.{name}", self.0))
        }
    }

    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&str> for Path {
    fn from(path: &str) -> Self {
        Self(path.to_owned())
    }
}

/// What is wrong with a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorType {
    NotFound,
    Required,
    Duplicate,
    Invalid,
    NotSupported,
    Forbidden,
    TooLong,
    TooShort,
    TooMany,
    TooFew,
    Internal,
    TypeInvalid,
}

impl ErrorType {
    /// The cause reason in a Status (`FieldValueInvalid`).
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooShort => "FieldValueTooShort",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooShort => "Too short",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
        }
    }

    fn hides_value(self) -> bool {
        use ErrorType::{Forbidden, Internal, Required, TooLong, TooShort};
        matches!(self, Required | Forbidden | TooLong | TooShort | Internal)
    }
}

/// One field error.
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    pub error_type: ErrorType,
    /// The path, rendered.
    pub field: String,
    /// The value at fault; `None` leaves it out of the message.
    pub bad_value: Option<Value>,
    pub detail: String,
}

impl Error {
    fn new(error_type: ErrorType, path: &Path, bad_value: Option<Value>, detail: impl Into<String>) -> Self {
        Self {
            error_type,
            field: path.to_string(),
            bad_value,
            detail: detail.into(),
        }
    }

    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::NotFound, path, Some(value.into()), "")
    }

    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Required, path, None, detail)
    }

    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorType::Duplicate, path, Some(value.into()), "")
    }

    pub fn invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Invalid, path, Some(value.into()), detail)
    }

    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::TypeInvalid, path, Some(value.into()), detail)
    }

    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::new(ErrorType::Forbidden, path, None, detail)
    }

    pub fn internal(path: &Path, error: impl Display) -> Self {
        Self::new(ErrorType::Internal, path, None, error.to_string())
    }

    /// `supported` in the order upstream lists it (sorted sets there: sort before calling).
    pub fn not_supported<S: AsRef<str>>(path: &Path, value: impl Into<Value>, supported: &[S]) -> Self {
        let quoted: Vec<String> = supported.iter().map(|s| quote(s.as_ref())).collect();
        let detail = if quoted.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", quoted.join(", "))
        };
        Self::new(ErrorType::NotSupported, path, Some(value.into()), detail)
    }

    /// `max` in bytes; negative leaves the number out.
    pub fn too_long(path: &Path, max: i64) -> Self {
        Self::new(
            ErrorType::TooLong,
            path,
            None,
            at_most("may not be more than", max, "byte", "value is too long"),
        )
    }

    /// `max` in characters; negative leaves the number out.
    pub fn too_long_characters(path: &Path, max: i64) -> Self {
        let detail = at_most("may not be more than", max, "character", "value is too long");
        Self::new(ErrorType::TooLong, path, None, detail)
    }

    pub fn too_short(path: &Path, min: i64) -> Self {
        Self::new(
            ErrorType::TooShort,
            path,
            None,
            at_most("must be at least", min, "character", "value is too short"),
        )
    }

    /// `actual` negative leaves the count out.
    pub fn too_many(path: &Path, actual: i64, max: i64) -> Self {
        let bad = (actual >= 0).then(|| actual.into());
        Self::new(
            ErrorType::TooMany,
            path,
            bad,
            at_most("must have at most", max, "item", "has too many items"),
        )
    }

    pub fn too_few(path: &Path, actual: i64, min: i64) -> Self {
        let bad = (actual >= 0).then(|| actual.into());
        Self::new(
            ErrorType::TooFew,
            path,
            bad,
            at_most("must have at least", min, "item", "has too few items"),
        )
    }

    /// The message without the field, as a Status cause carries it.
    pub fn body(&self) -> String {
        let mut out = self.error_type.words().to_owned();
        if let (false, Some(value)) = (self.error_type.hides_value(), &self.bad_value) {
            let shown = match value {
                Value::String(s) => quote(s),
                Value::Number(n) if n.is_f64() => print_float(n.as_f64().unwrap_or_default()),
                Value::Array(_) | Value::Object(_) => html_safe(&value.to_string()),
                other => other.to_string(),
            };
            let _ = write!(out, ": {shown}");
        }
        if !self.detail.is_empty() {
            let _ = write!(out, ": {}", self.detail);
        }
        out
    }
}

fn at_most(words: &str, count: i64, unit: &str, without: &str) -> String {
    match count {
        1 => format!("{words} 1 {unit}"),
        n if n >= 0 => format!("{words} {n} {unit}s"),
        _ => without.to_owned(),
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

/// Errors of one object, in the order they were found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ErrorList(Vec<Error>);

impl ErrorList {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn into_vec(self) -> Vec<Error> {
        self.0
    }

    /// Adds `invalid` once per message that a name check returned.
    pub fn extend_invalid(&mut self, path: &Path, value: &str, messages: Vec<String>) {
        self.0
            .extend(messages.into_iter().map(|m| Error::invalid(path, value, m)));
    }
}

impl From<Vec<Error>> for ErrorList {
    fn from(errors: Vec<Error>) -> Self {
        Self(errors)
    }
}

impl From<Error> for ErrorList {
    fn from(error: Error) -> Self {
        Self(vec![error])
    }
}

impl std::ops::Deref for ErrorList {
    type Target = Vec<Error>;
    fn deref(&self) -> &Vec<Error> {
        &self.0
    }
}

impl std::ops::DerefMut for ErrorList {
    fn deref_mut(&mut self) -> &mut Vec<Error> {
        &mut self.0
    }
}

impl IntoIterator for ErrorList {
    type Item = Error;
    type IntoIter = std::vec::IntoIter<Error>;
    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Extend<Error> for ErrorList {
    fn extend<I: IntoIterator<Item = Error>>(&mut self, errors: I) {
        self.0.extend(errors);
    }
}

impl FromIterator<Error> for ErrorList {
    fn from_iter<I: IntoIterator<Item = Error>>(errors: I) -> Self {
        Self(errors.into_iter().collect())
    }
}

/// One error alone, several as `[a, b]`; a message that repeats is shown once.
impl Display for ErrorList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen = BTreeSet::new();
        let unique: Vec<String> = self
            .0
            .iter()
            .map(ToString::to_string)
            .filter(|m| seen.insert(m.clone()))
            .collect();
        match unique.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_worded_as_upstream() {
        let path = Path::new("spec").child("ports").index(0).child("port");
        assert_eq!(
            Error::invalid(&path, 0, "must be between 1 and 65535, inclusive").to_string(),
            "spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"
        );
        assert_eq!(
            Error::not_supported(&path, "x", &["A", "B"]).to_string(),
            "spec.ports[0].port: Unsupported value: \"x\": supported values: \"A\", \"B\""
        );
        assert_eq!(
            Error::too_many(&path, 3, 1).body(),
            "Too many: 3: must have at most 1 item"
        );
        let twice: ErrorList = vec![Error::required(&path, ""), Error::required(&path, "")].into();
        assert_eq!(twice.to_string(), "spec.ports[0].port: Required value");
    }
}
