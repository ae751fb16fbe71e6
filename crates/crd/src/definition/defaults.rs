//! Defaults must be what an object could hold: pruned, of the right type, and within metadata, valid metadata.

use corten_meta::field::{Error, ErrorList, Path};
use serde_json::{Map, Value};

use crate::object::{self, CoerceError, is_meta_field};
use crate::rules::Compiler;
use crate::structural::Structural;
use crate::validate;

/// A step from the resource down to a default inside its metadata.
#[derive(Clone)]
enum Step<'s> {
    Child(&'s str),
    Index,
}

struct Check<'s> {
    /// The resource around the node, embedded or not.
    root: &'s Structural,
    pruned: bool,
    rules: Option<&'s dyn Compiler>,
    errors: ErrorList,
}

/// Faults of the defaults in a version's schema.
pub(super) fn validate(
    schema: &Structural,
    path: &Path,
    pruned: bool,
    rules: Option<&dyn Compiler>,
) -> ErrorList {
    if !schema.any(&|s| s.default.is_some()) {
        return ErrorList::new();
    }
    let mut check = Check {
        root: schema,
        pruned,
        rules,
        errors: ErrorList::new(),
    };
    check.node(schema, path, &mut Vec::new(), false, true);
    check.errors
}

impl<'s> Check<'s> {
    fn node(
        &mut self,
        schema: &'s Structural,
        path: &Path,
        steps: &mut Vec<Step<'s>>,
        inside: bool,
        top: bool,
    ) {
        let outer = (self.root, std::mem::take(steps));
        let embedded = schema.embedded_resource || top;
        let inside = inside && !embedded;
        if embedded {
            self.root = schema;
        } else {
            steps.clone_from(&outer.1);
        }
        if let Some(default) = &schema.default {
            let found = if inside {
                self.inside_metadata(schema, default, &path.child("default"), steps)
            } else {
                self.plain(schema, default, &path.child("default"), embedded)
            };
            self.errors.extend(found);
        }
        // Defaults below additionalProperties of metadata are forbidden, and elsewhere upstream does not look.
        if let Some(items) = schema.items.as_deref() {
            steps.push(Step::Index);
            self.node(items, &path.child("items"), steps, inside, false);
            steps.pop();
        }
        for (name, property) in &schema.properties {
            let inside = inside || (embedded && is_meta_field(name));
            steps.push(Step::Child(name));
            self.node(
                property,
                &path.child("properties").key(name),
                steps,
                inside,
                false,
            );
            steps.pop();
        }
        (self.root, *steps) = outer;
    }

    fn inside_metadata(
        &self,
        schema: &Structural,
        default: &Value,
        path: &Path,
        steps: &[Step<'_>],
    ) -> ErrorList {
        let mut object = surrounding(default, steps);
        let invalid = |text: String| {
            let detail = format!("must result in valid metadata: {text}");
            ErrorList::from(Error::invalid(path, default.clone(), detail))
        };
        let coerced =
            object::coerce_embedded(&mut object, self.root, true, CoerceError::Report, &Path::root());
        if let Err(error) = coerced {
            return invalid(error.to_string());
        }
        let errors = object::validate_embedded(&object, self.root, true);
        if !errors.is_empty() {
            return invalid(errors.to_string());
        }
        self.schema(schema, default, path)
    }

    fn plain(&self, schema: &Structural, default: &Value, path: &Path, embedded: bool) -> ErrorList {
        let mut errors = ErrorList::new();
        if self.pruned {
            let mut pruned = default.clone();
            object::prune(&mut pruned, schema, embedded, false);
            if pruned != *default {
                errors.push(Error::invalid(
                    path,
                    default.clone(),
                    "must not have unknown fields",
                ));
            }
        }
        let mut coerced = default.clone();
        if let Err(error) = object::coerce_embedded(&mut coerced, schema, embedded, CoerceError::Report, path)
        {
            errors.push(error);
            return errors;
        }
        let place = crate::place::Place::under(path);
        let found = crate::object::validate_embedded_at(&coerced, schema, embedded, &place);
        errors.extend(if found.is_empty() {
            self.schema(schema, default, path)
        } else {
            found
        });
        errors
    }

    fn schema(&self, schema: &Structural, default: &Value, path: &Path) -> ErrorList {
        let mut errors = validate::default_value(default, schema, path);
        if errors.is_empty()
            && let Some(rules) = self
                .rules
                .and_then(|rules| rules.compile(schema, std::ptr::eq(schema, self.root)))
        {
            // Both as if it had always been there and as if it came now.
            errors = rules.validate(schema, default, Some(default));
            if errors.is_empty() {
                errors = rules.validate(schema, default, None);
            }
            for error in errors.iter_mut() {
                error.field = match error.field.as_str() {
                    "" | "<nil>" => path.to_string(),
                    below => path.child(below).to_string(),
                };
            }
        }
        errors
    }
}

/// The object that has a default at the end of these steps.
fn surrounding(default: &Value, steps: &[Step<'_>]) -> Value {
    let mut object = steps
        .iter()
        .rev()
        .fold(default.clone(), |inner, step| match step {
            Step::Child(name) => Value::Object(Map::from_iter([((*name).to_owned(), inner)])),
            Step::Index => Value::Array(vec![inner]),
        });
    if let Value::Object(map) = &mut object {
        for (name, value) in [("kind", "Validation"), ("apiVersion", "validation/v1")] {
            map.entry(name).or_insert_with(|| value.into());
        }
    }
    object
}

/// Some default has fields that would be pruned.
pub(super) fn has_unpruned(schema: &Structural) -> bool {
    schema.any(&|node| {
        node.default.as_deref().is_some_and(|default| {
            let mut pruned = default.clone();
            object::prune(&mut pruned, node, node.embedded_resource, false);
            pruned != *default
        })
    })
}
