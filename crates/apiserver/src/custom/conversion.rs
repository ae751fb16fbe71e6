//! Objects of one definition from version to version: another `apiVersion`, or a webhook's answer. Rules: upstream's
//! `apiextensions-apiserver/pkg/apiserver/conversion`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use corten_crd::resource::Version;
use corten_meta::{Status, object};
use corten_registry::Versions;
use corten_schema::apply;
use serde_json::{Map, Value, json};

/// Asks a webhook.
#[async_trait]
pub trait Reviewer: Send + Sync {
    /// Posts a document to where a definition's `clientConfig` says; the answer's document, or why there is none.
    async fn review(&self, client_config: &Value, document: Bytes) -> Result<Value, String>;
}

/// How a definition's objects get from one version to another.
pub enum Strategy {
    /// Only `apiVersion` changes.
    None,
    /// A webhook is asked.
    Webhook {
        /// `spec.conversion.webhook`
        webhook: Value,
        reviewer: Arc<dyn Reviewer>,
    },
}

/// The versions of a definition and the way between them.
pub struct Conversion {
    /// By `apiVersion`; those that are neither served nor stored too.
    pub versions: BTreeMap<String, Arc<Version>>,
    /// The definition's order of them.
    pub order: Vec<String>,
    pub kind: String,
    /// The `apiVersion` objects are stored in.
    pub stored: String,
    pub strategy: Strategy,
}

/// [`Versions`] of one handle.
pub struct Between {
    conversion: Arc<Conversion>,
    /// The handle's.
    api_version: String,
    head: Vec<u8>,
}

impl Between {
    pub fn new(conversion: Arc<Conversion>, api_version: String) -> Self {
        let head = format!(
            "{{\"kind\":\"{}\",\"apiVersion\":\"{api_version}\",",
            conversion.kind
        );
        Self {
            conversion,
            api_version,
            head: head.into_bytes(),
        }
    }
}

#[async_trait]
impl Versions for Between {
    fn head(&self) -> &[u8] {
        &self.head
    }

    fn read(&self, stored: &Value) -> Option<Value> {
        let version = self.conversion.versions.get(object::api_version(stored))?;
        let mut value = stored.clone();
        version.decode_stored(&mut value);
        version.default(&mut value);
        Some(value).filter(|value| value != stored)
    }

    fn asks(&self) -> bool {
        matches!(self.conversion.strategy, Strategy::Webhook { .. })
    }

    fn to_served_at_once(&self, object: Value) -> Result<Value, Status> {
        let (mut objects, target) = ([object], self.api_version.as_str());
        self.conversion.check(&objects, target)?;
        if self.asks() {
            return Err(Status::internal("conversion asks a webhook"));
        }
        self.conversion.rename(&mut objects, target);
        self.conversion.decode(&mut objects, target)?;
        let [object] = objects;
        Ok(object)
    }

    async fn to_served(&self, objects: Vec<Value>) -> Result<Vec<Value>, Status> {
        self.conversion.convert(objects, &self.api_version).await
    }

    async fn to_stored(&self, object: Value) -> Result<Value, Status> {
        if object::api_version(&object) == self.conversion.stored {
            return Ok(object);
        }
        let mut converted = self
            .conversion
            .convert(vec![object], &self.conversion.stored)
            .await?;
        let mut stored = converted
            .pop()
            .ok_or_else(|| Status::internal("nothing was converted"))?;
        // What a read of the store would make of it: the cache shows the same.
        if let Some(version) = self.conversion.versions.get(&self.conversion.stored) {
            version.default(&mut stored);
        }
        Ok(stored)
    }

    fn all(&self, subresource: &str) -> Vec<String> {
        let has = |version: &&String| {
            let version = self.conversion.versions.get(*version);
            version.is_some_and(|version| match subresource {
                "" => true,
                "status" => version.has_status,
                "scale" => version.scale.is_some(),
                _ => false,
            })
        };
        self.conversion.order.iter().filter(has).cloned().collect()
    }

    async fn to_version(&self, object: Value, api_version: &str) -> Result<Value, Status> {
        let converted = self.conversion.convert(vec![object], api_version).await?.pop();
        converted.ok_or_else(|| Status::internal("nothing was converted"))
    }

    fn overlay(&self, object: &Value, configuration: &Value) -> Result<Value, String> {
        let api_version = object::api_version(object);
        let version = self.conversion.versions.get(api_version);
        let version = version.ok_or_else(|| format!("{api_version} is not served"))?;
        apply::overlay_custom(&version.apply_type(), object, configuration)
    }
}

impl Conversion {
    /// Each object in the version `target`; the others are sent to the webhook in one document.
    async fn convert(&self, mut objects: Vec<Value>, target: &str) -> Result<Vec<Value>, Status> {
        self.check(&objects, target)?;
        match &self.strategy {
            Strategy::None => self.rename(&mut objects, target),
            Strategy::Webhook { webhook, reviewer } => {
                self.ask(webhook, reviewer.as_ref(), &mut objects, target).await?;
            }
        }
        self.decode(&mut objects, target)?;
        Ok(objects)
    }

    /// The definition has all these versions.
    fn check(&self, objects: &[Value], target: &str) -> Result<(), Status> {
        if !self.versions.contains_key(target) {
            let text = format!("request to convert CR to an invalid group/version: {target}");
            return Err(Status::internal(text));
        }
        for object in objects {
            let from = object::api_version(object);
            if !self.versions.contains_key(from) {
                let text = format!("request to convert CR from an invalid group/version: {from}");
                return Err(Status::internal(text));
            }
        }
        Ok(())
    }

    /// All there is to it where nobody is asked.
    fn rename(&self, objects: &mut [Value], target: &str) {
        let objects = objects.iter_mut();
        objects.for_each(|object| object["apiVersion"] = json!(target));
    }

    /// What conversion gave, as the version `target` has it.
    fn decode(&self, objects: &mut [Value], target: &str) -> Result<(), Status> {
        if let Some(version) = self.versions.get(target) {
            for object in objects {
                version.decode(object, false)?;
            }
        }
        Ok(())
    }

    async fn ask(
        &self,
        webhook: &Value,
        reviewer: &dyn Reviewer,
        objects: &mut [Value],
        target: &str,
    ) -> Result<(), Status> {
        let others: Vec<usize> = (0..objects.len())
            .filter(|at| object::api_version(&objects[*at]) != target)
            .collect();
        let Some(first) = others.first() else {
            return Ok(());
        };
        let from = object::api_version(&objects[*first]).to_owned();
        let failed = |error: String| {
            let kind = &self.kind;
            Status::internal(format!(
                "conversion webhook for {from}, Kind={kind} failed: {error}"
            ))
        };
        let Some(review) = review_version(webhook) else {
            return Err(Status::internal("no supported conversion review versions"));
        };
        let uid = object::new_uid();
        let sent: Vec<&Value> = others.iter().map(|at| &objects[*at]).collect();
        let document = json!({
            "kind": "ConversionReview",
            "apiVersion": format!("apiextensions.k8s.io/{review}"),
            "request": {"uid": uid, "desiredAPIVersion": target, "objects": sent},
        });
        let answer = reviewer
            .review(&webhook["clientConfig"], Bytes::from(document.to_string()))
            .await
            .map_err(failed)?;
        let converted = converted_of(answer, review, &uid).map_err(failed)?;
        if converted.len() != others.len() {
            let kind = &self.kind;
            return Err(Status::internal(format!(
                "conversion webhook for {from}, Kind={kind} returned {} objects, expected {}",
                converted.len(),
                others.len()
            )));
        }
        for (place, (at, answer)) in others.into_iter().zip(converted).enumerate() {
            objects[at] = accepted(&objects[at], answer, target).map_err(|error| {
                let kind = &self.kind;
                Status::internal(format!(
                    "conversion webhook for {from}, Kind={kind} returned invalid converted object at index {place}: {error}"
                ))
            })?;
        }
        Ok(())
    }
}

/// The first version of ConversionReview that both sides know.
fn review_version(webhook: &Value) -> Option<&str> {
    let known = webhook["conversionReviewVersions"].as_array()?;
    known
        .iter()
        .filter_map(Value::as_str)
        .find(|version| matches!(*version, "v1" | "v1beta1"))
}

/// The objects of an answer that says it went well.
fn converted_of(mut answer: Value, review: &str, uid: &str) -> Result<Vec<Value>, String> {
    if review == "v1" {
        let (version, kind) = (object::api_version(&answer), object::kind(&answer));
        if version != "apiextensions.k8s.io/v1" || kind != "ConversionReview" {
            return Err(format!(
                "expected webhook response of apiextensions.k8s.io/v1, Kind=ConversionReview, got {version}, Kind={kind}"
            ));
        }
    }
    let response = &mut answer["response"];
    if !response.is_object() {
        return Err("no response provided".to_owned());
    }
    let got = response["uid"].as_str().unwrap_or_default();
    if review == "v1" && got != uid {
        let (uid, got) = (corten_meta::quote(uid), corten_meta::quote(got));
        return Err(format!("expected response.uid={uid}, got {got}"));
    }
    let result = &response["result"];
    let status = result["status"].as_str().unwrap_or_default();
    if status != "Success" {
        let message = result["message"].as_str().filter(|text| !text.is_empty());
        return Err(message.map_or_else(
            || format!("response.result.status was '{status}', not 'Success'"),
            str::to_owned,
        ));
    }
    match response["convertedObjects"].take() {
        Value::Array(objects) => Ok(objects),
        _ => Ok(Vec::new()),
    }
}

/// A converted object: its identity must be the original's, and of its metadata only labels and annotations count.
fn accepted(original: &Value, mut converted: Value, target: &str) -> Result<Value, String> {
    let version = object::api_version(&converted);
    if version != target {
        return Err(format!(
            "invalid groupVersion (expected {target}, received {version})"
        ));
    }
    let (kind, wanted) = (object::kind(&converted), object::kind(original));
    if kind != wanted {
        return Err(format!("invalid kind (expected {wanted}, received {kind})"));
    }
    for (word, of) in [
        ("name", object::name as fn(&Value) -> &str),
        ("namespace", object::namespace),
        ("UID", object::uid),
    ] {
        let (expected, got) = (of(original), of(&converted));
        if expected != got {
            return Err(format!("must have the same {word}: {expected} != {got}"));
        }
    }
    let Some(given) = converted.get("metadata") else {
        return Err("missing metadata in converted object".to_owned());
    };
    let mut metadata = original["metadata"].as_object().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match given.get(field).filter(|map| !map.is_null()) {
            None => drop(metadata.remove(field)),
            Some(map) => {
                texts(field, map)?;
                metadata.insert(field.to_owned(), map.clone());
            }
        }
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(converted)
}

/// Labels and annotations are texts.
fn texts(field: &str, map: &Value) -> Result<(), String> {
    let go_type = |value: &Value| match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    };
    let members: &Map<String, Value> = map.as_object().ok_or_else(|| {
        let of = go_type(map);
        format!("invalid metadata.{field} of type {of} in converted object")
    })?;
    for (key, value) in members {
        if !value.is_string() {
            let of = go_type(value);
            return Err(format!(
                "metadata.{field}[{key}] must be a string, but is {of} in converted object"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn answer(uid: &str, result: Value, objects: Value) -> Value {
        json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview",
            "response": {"uid": uid, "result": result, "convertedObjects": objects},
        })
    }

    #[test]
    fn answers_must_be_to_the_question() {
        let good = answer("u", json!({"status": "Success"}), json!([{"a": 1}]));
        assert_eq!(converted_of(good.clone(), "v1", "u").unwrap().len(), 1);
        let error = converted_of(good, "v1", "other").unwrap_err();
        assert_eq!(error, "expected response.uid=\"other\", got \"u\"");
        let refused = answer("u", json!({"status": "Failed", "message": "no way"}), json!([]));
        assert_eq!(converted_of(refused, "v1", "u").unwrap_err(), "no way");
    }

    #[test]
    fn only_labels_and_annotations_of_metadata_count() {
        let original = json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "a", "uid": "1",
            "resourceVersion": "7", "labels": {"x": "y"}}});
        let given = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "a", "uid": "1",
            "annotations": {"k": "v"}, "finalizers": ["f"]}, "spec": {}});
        let got = accepted(&original, given, "g/v2").unwrap();
        let want = json!({"name": "a", "uid": "1", "resourceVersion": "7", "annotations": {"k": "v"}});
        assert_eq!(got["metadata"], want);
        let wrong = json!({"apiVersion": "g/v2", "kind": "K", "metadata": {"name": "b", "uid": "1"}});
        let error = accepted(&original, wrong, "g/v2").unwrap_err();
        assert_eq!(error, "must have the same name: a != b");
    }
}
