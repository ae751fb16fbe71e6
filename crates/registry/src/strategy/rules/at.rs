//! A value with its place in the object. The path is rendered only when something is wrong with it.

use corten_meta::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

static NULL: Value = Value::Null;

/// A value (`v`) reached by steps from the root (`p`).
#[derive(Clone, Copy)]
pub(in crate::strategy) struct At<'p, 'v> {
    parent: Option<&'p At<'p, 'v>>,
    step: Step<'p>,
    pub(in crate::strategy) value: &'v Value,
}

#[derive(Clone, Copy)]
enum Step<'p> {
    Child(&'p str),
    Index(usize),
    Key(&'p str),
}

impl<'p, 'v> At<'p, 'v> {
    /// The object itself, whose path is empty.
    pub(in crate::strategy) fn root(value: &'v Value) -> Self {
        Self {
            parent: None,
            step: Step::Child(""),
            value,
        }
    }

    /// A value at the top of a path of its own.
    pub(in crate::strategy) fn top(name: &'p str, value: &'v Value) -> Self {
        Self {
            parent: None,
            step: Step::Child(name),
            value,
        }
    }

    /// The field `name`, null if absent.
    pub(in crate::strategy) fn get<'s>(&'s self, name: &'s str) -> At<'s, 'v> {
        At {
            parent: Some(self),
            step: Step::Child(name),
            value: self.value.get(name).unwrap_or(&NULL),
        }
    }

    /// Another value under the same path.
    pub(in crate::strategy) fn with(self, value: &'v Value) -> Self {
        Self { value, ..self }
    }

    /// The same value's path one step further, `[key]`.
    pub(in crate::strategy) fn key<'s>(&'s self, key: &'s str) -> At<'s, 'v> {
        At {
            parent: Some(self),
            step: Step::Key(key),
            value: self.value.get(key).unwrap_or(&NULL),
        }
    }

    /// The item of a list, null if there is none.
    pub(in crate::strategy) fn index(&self, index: usize) -> At<'_, 'v> {
        let value = self.value.get(index).unwrap_or(&NULL);
        At {
            parent: Some(self),
            step: Step::Index(index),
            value,
        }
    }

    /// The items of a list; none if it is not one.
    pub(in crate::strategy) fn items(&self) -> impl Iterator<Item = At<'_, 'v>> {
        let list: &'v [Value] = self.value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().enumerate().map(|(index, value)| At {
            parent: Some(self),
            step: Step::Index(index),
            value,
        })
    }

    /// The entries of a map, by key.
    pub(in crate::strategy) fn entries(&self) -> impl Iterator<Item = (&'v str, &'v Value)> + use<'v> {
        let map: Option<&'v Map<String, Value>> = self.value.as_object();
        map.into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// The text, empty if absent.
    pub(in crate::strategy) fn str(&self) -> &'v str {
        self.value.as_str().unwrap_or_default()
    }

    pub(in crate::strategy) fn int(&self) -> Option<i64> {
        self.value.as_i64()
    }

    /// Absent is false.
    pub(in crate::strategy) fn bool(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    pub(in crate::strategy) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Items of a list, entries of a map, bytes of a text; 0 otherwise.
    pub(in crate::strategy) fn len(&self) -> usize {
        match self.value {
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            Value::String(text) => text.len(),
            _ => 0,
        }
    }

    pub(in crate::strategy) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(in crate::strategy) fn path(&self) -> Path {
        let parent = self.parent.map(At::path).unwrap_or_default();
        match self.step {
            Step::Child("") => parent,
            Step::Child(name) => parent.child(name),
            Step::Index(index) => parent.index(index),
            Step::Key(key) => parent.key(key),
        }
    }

    pub(in crate::strategy) fn required(&self, errors: &mut ErrorList, detail: &str) {
        errors.push(Error::required(&self.path(), detail));
    }

    pub(in crate::strategy) fn forbidden(&self, errors: &mut ErrorList, detail: &str) {
        errors.push(Error::forbidden(&self.path(), detail));
    }

    pub(in crate::strategy) fn invalid(&self, errors: &mut ErrorList, detail: &str) {
        errors.push(Error::invalid(&self.path(), self.value.clone(), detail));
    }

    /// Invalid, showing another value than the one at this place.
    pub(in crate::strategy) fn invalid_as(
        &self,
        errors: &mut ErrorList,
        shown: impl Into<Value>,
        detail: &str,
    ) {
        errors.push(Error::invalid(&self.path(), shown, detail));
    }

    /// Invalid, showing `shown` as it is (see [`go_struct`]).
    pub(in crate::strategy) fn invalid_raw(&self, errors: &mut ErrorList, shown: &str, detail: &str) {
        let mut error = Error::invalid(&self.path(), Value::Null, format!("{shown}: {detail}"));
        error.bad_value = None;
        errors.push(error);
    }

    /// Once per message.
    pub(in crate::strategy) fn invalid_each(&self, errors: &mut ErrorList, messages: Vec<String>) {
        for message in messages {
            self.invalid(errors, &message);
        }
    }

    pub(in crate::strategy) fn duplicate(&self, errors: &mut ErrorList) {
        errors.push(Error::duplicate(&self.path(), self.value.clone()));
    }

    pub(in crate::strategy) fn duplicate_as(&self, errors: &mut ErrorList, shown: impl Into<Value>) {
        errors.push(Error::duplicate(&self.path(), shown));
    }

    /// Duplicate, showing `shown` as it is (see [`go_struct`]).
    pub(in crate::strategy) fn duplicate_raw(&self, errors: &mut ErrorList, shown: &str) {
        let mut error = Error::duplicate(&self.path(), Value::Null);
        error.detail = shown.to_owned();
        error.bad_value = None;
        errors.push(error);
    }

    pub(in crate::strategy) fn not_found(&self, errors: &mut ErrorList) {
        errors.push(Error::not_found(&self.path(), self.value.clone()));
    }

    pub(in crate::strategy) fn not_supported(&self, errors: &mut ErrorList, supported: &[&str]) {
        let value = if self.is_set() {
            self.value.clone()
        } else {
            Value::from("")
        };
        errors.push(Error::not_supported(&self.path(), value, supported));
    }

    /// Not supported, showing `shown` as it is (see [`go_struct`]).
    pub(in crate::strategy) fn not_supported_raw(
        &self,
        errors: &mut ErrorList,
        shown: &str,
        supported: &[&str],
    ) {
        let mut error = Error::not_supported(&self.path(), Value::Null, supported);
        error.detail = format!("{shown}: {}", error.detail);
        error.bad_value = None;
        errors.push(error);
    }

    pub(in crate::strategy) fn too_long(&self, errors: &mut ErrorList, max: i64) {
        errors.push(Error::too_long(&self.path(), max));
    }

    pub(in crate::strategy) fn too_many(&self, errors: &mut ErrorList, max: i64) {
        let actual = i64::try_from(self.len()).unwrap_or(i64::MAX);
        errors.push(Error::too_many(&self.path(), actual, max));
    }

    /// Required if empty.
    pub(in crate::strategy) fn nonempty(&self, errors: &mut ErrorList) {
        if self.is_empty() {
            self.required(errors, "");
        }
    }

    /// One of `supported` (in upstream's order), required.
    pub(in crate::strategy) fn one_of(&self, errors: &mut ErrorList, supported: &[&str]) {
        match self.str() {
            "" => self.required(errors, ""),
            text if supported.contains(&text) => {}
            _ => self.not_supported(errors, supported),
        }
    }

    /// One of `supported`, if set at all.
    pub(in crate::strategy) fn one_of_if_set(&self, errors: &mut ErrorList, supported: &[&str]) {
        if self.is_set() && !supported.contains(&self.str()) {
            self.not_supported(errors, supported);
        }
    }

    pub(in crate::strategy) fn nonnegative(&self, errors: &mut ErrorList) {
        if self.int().is_some_and(|number| number < 0) {
            self.invalid(errors, "must be greater than or equal to 0");
        }
    }

    /// Absent counts as 0.
    pub(in crate::strategy) fn positive(&self, errors: &mut ErrorList) {
        let number = self.int().unwrap_or(0);
        if number <= 0 {
            self.invalid_as(errors, number, "must be greater than zero");
        }
    }

    /// Between two numbers, both included, if set.
    pub(in crate::strategy) fn within(&self, errors: &mut ErrorList, low: i64, high: i64) {
        if self.int().is_some_and(|number| number < low || number > high) {
            self.invalid(errors, &corten_meta::names::inclusive_range_error(low, high));
        }
    }
}

/// A struct without JSON tags as upstream's messages show it: its fields in order, under their Go names, absent ones
/// null.
pub(in crate::strategy) fn go_struct(value: &Value, fields: &[(&str, &str)]) -> String {
    let shown = fields.iter().map(|(go, json)| {
        let field = value.get(json).unwrap_or(&NULL);
        format!("\"{go}\":{field}")
    });
    format!("{{{}}}", shown.collect::<Vec<_>>().join(","))
}
