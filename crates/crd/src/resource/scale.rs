//! The scale subresource: where a custom object keeps its replicas.

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{Status, object};
use corten_schema::apply::scale::ReplicasPaths;
use serde_json::{Map, Value, json};

use crate::number::shown;

/// Dotted paths into the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScalePaths {
    pub spec_replicas: String,
    pub status_replicas: String,
    /// Empty where there is none.
    pub label_selector: String,
}

/// What upstream puts for replicas that are not there, to tell whether a client has set them.
pub const UNSET_REPLICAS: i64 = i32::MIN as i64;

impl ScalePaths {
    pub(super) fn of_version(version: &Value) -> Option<Self> {
        let scale = version["subresources"]["scale"].as_object()?;
        let text = |key: &str| {
            scale
                .get(key)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Some(Self {
            spec_replicas: text("specReplicasPath"),
            status_replicas: text("statusReplicasPath"),
            label_selector: text("labelSelectorPath"),
        })
    }

    /// The object's `autoscaling/v1` Scale, and whether the object has replicas at all.
    pub fn scale(&self, object: &Value) -> Result<(Value, bool), String> {
        let replicas = int(object, &self.spec_replicas)?;
        let status = int(object, &self.status_replicas)?.unwrap_or(0);
        let selector = match self.label_selector.as_str() {
            "" => "",
            path => text(object, path)?,
        };
        let mut metadata = Map::new();
        for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            if let Some(value) = object["metadata"].get(key) {
                metadata.insert(key.to_owned(), value.clone());
            }
        }
        let mut out = json!({
            "apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata,
            "spec": {}, "status": {"replicas": status as i32},
        });
        if let Some(replicas) = replicas.filter(|r| *r as i32 != 0) {
            out["spec"]["replicas"] = json!(replicas as i32);
        }
        if !selector.is_empty() {
            out["status"]["selector"] = json!(selector);
        }
        Ok((out, replicas.is_some()))
    }

    /// What GET answers: an internal error where the object has no replicas.
    pub fn get(&self, object: &Value) -> corten_meta::Result<Value> {
        match self.scale(object) {
            Ok((scale, true)) => Ok(scale),
            Ok(_) => Err(Status::internal(format!(
                "the spec replicas field {} does not exist",
                corten_meta::quote(&self.spec_replicas)
            ))),
            Err(text) => Err(Status::internal(text)),
        }
    }

    /// Writes a Scale's replicas, and its resourceVersion as a precondition, into the object.
    pub fn set(&self, object: &mut Value, scale: &Value) -> corten_meta::Result<()> {
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas == UNSET_REPLICAS {
            return Err(Status::bad_request(format!(
                "the spec replicas field {} cannot be empty",
                corten_meta::quote(&self.spec_replicas)
            )));
        }
        let mut at = &mut *object;
        for step in steps(&self.spec_replicas) {
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
            let Some(map) = at.as_object_mut() else {
                let path = self.spec_replicas.trim_start_matches('.');
                return Err(Status::internal(format!(
                    "value cannot be set because .{path} is not a map[string]interface{{}}"
                )));
            };
            at = map.entry(step).or_insert(Value::Null);
        }
        *at = Value::from(replicas);
        let version = object::resource_version(scale);
        if !version.is_empty() {
            object["metadata"]["resourceVersion"] = Value::from(version);
        }
        Ok(())
    }

    pub(super) fn validate_spec(&self, object: &Value) -> ErrorList {
        count(object, &self.spec_replicas)
    }

    pub(super) fn validate_status(&self, object: &Value) -> ErrorList {
        let mut errors = count(object, &self.status_replicas);
        if !self.label_selector.is_empty()
            && let Err(problem) = text(object, &self.label_selector)
        {
            errors.push(Error::invalid(&Path::new(&self.label_selector), "", problem));
        }
        errors
    }
}

/// Of each version of a definition's spec, by `group/version`.
pub(super) fn replicas(spec: &Value) -> ReplicasPaths {
    let group = spec["group"].as_str().unwrap_or_default();
    let versions = spec["versions"].as_array().into_iter().flatten();
    let one = |version: &Value| {
        let name = version["name"].as_str().unwrap_or_default();
        let path = ScalePaths::of_version(version).map(|paths| paths.spec_replicas);
        let steps = path.map(|path| steps(&path).map(str::to_owned).collect());
        (format!("{group}/{name}"), steps)
    };
    versions.map(one).collect()
}

fn count(object: &Value, path: &str) -> ErrorList {
    let at = Path::new(path);
    let (value, problem) = match int(object, path) {
        Err(problem) => (0, problem),
        Ok(None) => return ErrorList::new(),
        Ok(Some(n)) if n < 0 => (n, "should be a non-negative integer".to_owned()),
        Ok(Some(n)) if n > i64::from(i32::MAX) => {
            (n, format!("should be less than or equal to {}", i32::MAX))
        }
        Ok(Some(_)) => return ErrorList::new(),
    };
    Error::invalid(&at, value, problem).into()
}

fn steps(path: &str) -> std::str::Split<'_, char> {
    path.strip_prefix('.').unwrap_or(path).split('.')
}

fn found<'v>(object: &'v Value, path: &str) -> Result<Option<&'v Value>, String> {
    let mut at = object;
    let mut taken = String::new();
    for step in steps(path) {
        match at {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(step) {
                Some(value) => at = value,
                None => return Ok(None),
            },
            other => {
                let asked = format!("{taken}.{step}");
                return Err(wrong(&asked, other, "map[string]interface{}"));
            }
        }
        taken.push('.');
        taken.push_str(step);
    }
    Ok(Some(at))
}

fn int(object: &Value, path: &str) -> Result<Option<i64>, String> {
    match found(object, path)? {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            Some(int) => Ok(Some(int)),
            None => Err(wrong(&dotted(path), value, "int64")),
        },
    }
}

fn text<'v>(object: &'v Value, path: &str) -> Result<&'v str, String> {
    match found(object, path)? {
        None => Ok(""),
        Some(value) => value
            .as_str()
            .ok_or_else(|| wrong(&dotted(path), value, "string")),
    }
}

fn dotted(path: &str) -> String {
    format!(".{}", path.strip_prefix('.').unwrap_or(path))
}

fn wrong(path: &str, value: &Value, wanted: &str) -> String {
    let (kind, text) = match value {
        Value::Null => ("<nil>", "<nil>".to_owned()),
        Value::Bool(flag) => ("bool", flag.to_string()),
        Value::Number(n) if n.is_i64() => ("int64", n.to_string()),
        Value::Number(_) => ("float64", shown(value)),
        Value::String(text) => ("string", text.clone()),
        Value::Array(_) => ("[]interface {}", value.to_string()),
        Value::Object(_) => ("map[string]interface {}", value.to_string()),
    };
    format!("{path} accessor error: {text} is of the type {kind}, expected {wanted}")
}
