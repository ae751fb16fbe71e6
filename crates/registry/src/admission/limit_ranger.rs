//! `LimitRanger`: containers get a namespace's defaults, and nothing leaves its bounds.

use async_trait::async_trait;
use corten_meta::quantity::Quantity;
use corten_meta::{Result, object};
use serde_json::{Value, json};

use super::totals::{self, Totals};
use super::{Admission, Attributes, Operation, in_namespace};
use crate::context::WriteContext;
use crate::registry::Registry;
use crate::resource::Subresource;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitRanger;

#[async_trait]
impl Admission for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(
        &self,
        registry: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<()> {
        if concerns(attributes) && attributes.resource.plural == "pods" {
            for range in ranges(registry, attributes).await? {
                fill(object, &range);
            }
        }
        Ok(())
    }

    async fn validate(
        &self,
        registry: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<()> {
        if !concerns(attributes) {
            return Ok(());
        }
        for range in ranges(registry, attributes).await? {
            let errors = match &*attributes.resource.plural {
                "pods" => outside_for_pod(object, &range),
                _ => outside_for_claim(object, &range),
            };
            match errors.as_slice() {
                [] => {}
                [error] => return Err(attributes.forbidden(object, error)),
                several => return Err(attributes.forbidden(object, format!("[{}]", several.join(", ")))),
            }
        }
        Ok(())
    }
}

/// Pods as they are made and resized, claims, and nothing that is on its way out.
fn concerns(attributes: &Attributes<'_>) -> bool {
    if !attributes.resource.group.is_empty() {
        return false;
    }
    let deleted = attributes
        .old
        .is_some_and(|old| object::deletion_timestamp(old).is_some());
    let update = attributes.operation == Operation::Update;
    let wanted = match (&*attributes.resource.plural, attributes.subresource) {
        ("pods", Subresource::RESIZE) => update,
        ("pods", Subresource::MAIN) => !update,
        ("persistentvolumeclaims", sub) => sub == Subresource::MAIN,
        _ => false,
    };
    wanted && !deleted
}

async fn ranges(registry: &Registry, attributes: &Attributes<'_>) -> Result<Vec<Value>> {
    in_namespace(registry, "limitranges", attributes.namespace).await
}

fn limits<'a>(range: &'a Value, kind: &'a str) -> impl Iterator<Item = &'a Value> {
    let all = range["spec"]["limits"].as_array().into_iter().flatten();
    all.filter(move |limit| limit["type"] == kind)
}

/// Gives containers what they do not state, and says so in an annotation.
fn fill(pod: &mut Value, range: &Value) {
    let (mut requests, mut most) = (serde_json::Map::new(), serde_json::Map::new());
    for limit in limits(range, "Container") {
        requests.extend(limit["defaultRequest"].as_object().cloned().unwrap_or_default());
        most.extend(limit["default"].as_object().cloned().unwrap_or_default());
    }
    let mut notes = Vec::new();
    for (field, what) in [("containers", "container"), ("initContainers", "init container")] {
        for container in pod["spec"]
            .get_mut(field)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let name = object::str_at(container, &["name"]).to_owned();
            for (list, defaults, word) in [("requests", &requests, "request"), ("limits", &most, "limit")] {
                let set = merge(container, list, defaults);
                if !set.is_empty() {
                    notes.push(format!("{} {word} for {what} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        if pod["metadata"]["annotations"].is_null() {
            pod["metadata"]["annotations"] = json!({});
        }
        pod["metadata"]["annotations"][ANNOTATION] =
            format!("LimitRanger plugin set: {}", notes.join("; ")).into();
    }
}

/// The names that were added, sorted.
fn merge(container: &mut Value, list: &str, defaults: &serde_json::Map<String, Value>) -> Vec<String> {
    let missing = |name: &String| container["resources"][list].get(name).is_none();
    let mut set: Vec<String> = defaults.keys().filter(|name| missing(name)).cloned().collect();
    set.sort_unstable();
    for name in &set {
        if container["resources"].is_null() {
            container["resources"] = json!({});
        }
        if container["resources"][list].is_null() {
            container["resources"][list] = json!({});
        }
        container["resources"][list][name] = defaults[name].clone();
    }
    set
}

fn outside_for_pod(pod: &Value, range: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    for limit in range["spec"]["limits"].as_array().into_iter().flatten() {
        match limit["type"].as_str().unwrap_or_default() {
            "Container" => {
                let all = ["containers", "initContainers"]
                    .into_iter()
                    .flat_map(|f| pod["spec"][f].as_array().into_iter().flatten());
                for container in all {
                    let resources = &container["resources"];
                    check(
                        limit,
                        &totals::list(&resources["requests"]),
                        &totals::list(&resources["limits"]),
                        &mut errors,
                    );
                }
            }
            "Pod" => {
                let (requests, most) = (
                    totals::of_pod(&pod["spec"], "requests"),
                    totals::of_pod(&pod["spec"], "limits"),
                );
                check(limit, &requests, &most, &mut errors);
            }
            _ => {}
        }
    }
    errors
}

fn outside_for_claim(claim: &Value, range: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    let requests = totals::list(&claim["spec"]["resources"]["requests"]);
    for limit in limits(range, "PersistentVolumeClaim") {
        let bound = |field: &str| totals::list(&limit[field]).into_iter();
        errors.extend(bound("min").filter_map(|(name, least)| {
            below(
                ("PersistentVolumeClaim", &name),
                &least,
                requests.get(&name),
                None,
            )
        }));
        errors.extend(bound("max").filter_map(|(name, most)| {
            let start = format!("maximum {name} usage per PersistentVolumeClaim is {most}");
            match requests.get(&name) {
                None => Some(format!("{start}.  No request is specified")),
                Some(r) if r.nanos() > most.nanos() => Some(format!("{start}, but request is {r}")),
                Some(_) => None,
            }
        }));
    }
    errors
}

fn check(limit: &Value, requests: &Totals, most: &Totals, errors: &mut Vec<String>) {
    let kind = limit["type"].as_str().unwrap_or_default();
    let mut each = |field: &str, rule: Rule| {
        for (name, bound) in totals::list(&limit[field]) {
            errors.extend(rule((kind, &name), &bound, requests.get(&name), most.get(&name)));
        }
    };
    each("min", below);
    each("max", above);
    each("maxLimitRequestRatio", lopsided);
}

/// What is limited, by how much, the request and the limit: the error, if there is one.
type Rule = fn((&str, &str), &Quantity, Option<&Quantity>, Option<&Quantity>) -> Option<String>;

fn below(
    (kind, name): (&str, &str),
    least: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let start = format!("minimum {name} usage per {kind} is {least}");
    match (request, limit) {
        (None, _) => Some(format!("{start}.  No request is specified")),
        (Some(r), _) if r.nanos() < least.nanos() => Some(format!("{start}, but request is {r}")),
        (_, Some(l)) if l.nanos() < least.nanos() => Some(format!("{start}, but limit is {l}")),
        _ => None,
    }
}

fn above(
    (kind, name): (&str, &str),
    most: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let start = format!("maximum {name} usage per {kind} is {most}");
    match (request, limit) {
        (_, None) => Some(format!("{start}.  No limit is specified")),
        (_, Some(l)) if l.nanos() > most.nanos() => Some(format!("{start}, but limit is {l}")),
        (Some(r), _) if r.nanos() > most.nanos() => Some(format!("{start}, but request is {r}")),
        _ => None,
    }
}

fn lopsided(
    (kind, name): (&str, &str),
    most: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let start = format!("{name} max limit to request ratio per {kind} is {most}");
    let Some(request) = request.filter(|r| !r.is_zero()) else {
        return Some(format!("{start}, but no request is specified or request is 0"));
    };
    let Some(limit) = limit.filter(|l| !l.is_zero()) else {
        return Some(format!("{start}, but no limit is specified or limit is 0"));
    };
    let ratio = limit.as_f64() / request.as_f64();
    (ratio > most.as_f64()).then(|| format!("{start}, but provided ratio is {ratio:.6}"))
}
