//! Pruning: fields the schema does not have are dropped.

use serde_json::{Map, Value};

use super::is_meta_field;
use crate::place::Place;
use crate::structural::{Additional, Structural};

/// Drops what the schema does not name. Answers the dropped paths, sorted, when `track` is set. At the root of a resource
/// (`resource_root`), and wherever a resource is embedded, `apiVersion`, `kind` and `metadata` stay as they are.
pub fn prune(object: &mut Value, schema: &Structural, resource_root: bool, track: bool) -> Vec<String> {
    let mut pruner = Pruner {
        track,
        unknown: Vec::new(),
    };
    pruner.prune(
        object,
        Some(schema),
        schema.embedded_resource || resource_root,
        &Place::ROOT,
    );
    pruner.unknown.sort();
    pruner.unknown
}

struct Pruner {
    track: bool,
    unknown: Vec<String>,
}

impl Pruner {
    fn prune(&mut self, value: &mut Value, schema: Option<&Structural>, embedded: bool, at: &Place<'_>) {
        if let Some(schema) = schema.filter(|s| s.preserve_unknown_fields) {
            return self.preserve(value, schema, embedded, at);
        }
        match value {
            Value::Object(map) => match schema {
                Some(schema) => self.object(map, schema, embedded, at),
                None => {
                    for name in std::mem::take(map).into_iter().map(|(name, _)| name) {
                        self.record(&name, at);
                    }
                }
            },
            Value::Array(items) => {
                let schema = schema.and_then(|s| s.items.as_deref());
                for (index, item) in items.iter_mut().enumerate() {
                    self.prune(item, schema, is_embedded(schema), &at.index(index));
                }
            }
            _ => {}
        }
    }

    fn object(&mut self, map: &mut Map<String, Value>, schema: &Structural, embedded: bool, at: &Place<'_>) {
        map.retain(|name, value| {
            if embedded && is_meta_field(name) {
                return true;
            }
            match (schema.property(name), &schema.additional) {
                (None, Additional::Unset) => {
                    if !is_meta_field(name) || !at.is_root() {
                        self.record(name, at);
                    }
                    return false;
                }
                (found, _) => {
                    let child = found.or_else(|| schema.additional_schema());
                    self.prune(value, child, is_embedded(child), &at.field(name));
                }
            }
            true
        });
    }

    /// Unknown fields stay here, but what the schema does name is pruned as anywhere.
    fn preserve(&mut self, value: &mut Value, schema: &Structural, embedded: bool, at: &Place<'_>) {
        match value {
            Value::Object(map) => {
                for (name, value) in map {
                    if embedded && is_meta_field(name) {
                        continue;
                    }
                    let child = schema.property(name);
                    if child.is_some() || schema.additional != Additional::Unset {
                        let child = child.or_else(|| schema.additional_schema());
                        self.prune(value, child, is_embedded(child), &at.field(name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(schema) = schema.items.as_deref() else {
                    return;
                };
                for (index, item) in items.iter_mut().enumerate() {
                    self.preserve(item, schema, schema.embedded_resource, &at.index(index));
                }
            }
            _ => {}
        }
    }

    fn record(&mut self, name: &str, at: &Place<'_>) {
        if self.track {
            self.unknown.push(at.field(name).dotted());
        }
    }
}

fn is_embedded(schema: Option<&Structural>) -> bool {
    schema.is_some_and(|s| s.embedded_resource)
}
