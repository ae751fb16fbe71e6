//! The rules of a definition on create, update and status update (`apis/apiextensions/validation`). Metadata's own rules
//! are the registry's, but for the name.

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{names, object};
use serde_json::Value;

use super::spec::Judge;
use super::{
    APPROVED, Approval, approval, conversion, defaults, is_protected, items, keywords, listing, schema_of,
    spec, structure, text, versions, walk,
};
use crate::rules::Compiler;
use crate::structural::Structural;

/// What is asked of a definition; an update is not held to what it did not keep to before.
#[derive(Clone, Copy)]
pub(super) struct Demands {
    pub schema: bool,
    pub structural: bool,
    pub pruned_defaults: bool,
    pub known_review: bool,
    pub valid_bundle: bool,
    pub keywords: keywords::Demands,
}

impl Demands {
    const ALL: Self = Self {
        schema: true,
        structural: true,
        pruned_defaults: true,
        known_review: true,
        // Nobody calls the webhook before the definition is established.
        valid_bundle: false,
        keywords: keywords::Demands {
            known_types: true,
            atomic_sets: true,
            sound_keys: true,
        },
    };

    fn after(old: &Value) -> Self {
        let schemas = || versions(old).iter().filter_map(schema_of);
        let conversion = &old["spec"]["conversion"];
        let bundle = text(&conversion["webhook"]["clientConfig"], "caBundle");
        let unpruned = |schema: &Value| {
            walk::has_default(schema)
                && structure::validate(schema, &Path::root()).is_empty()
                && Structural::parse(schema).is_ok_and(|tree| defaults::has_unpruned(&tree))
        };
        let unstructured = |schema: &Value| {
            Structural::parse(schema).is_err() || !structure::validate(schema, &Path::root()).is_empty()
        };
        Self {
            schema: versions(old).iter().all(|v| schema_of(v).is_some()),
            structural: !schemas().any(unstructured),
            pruned_defaults: !schemas().any(unpruned),
            known_review: conversion.is_null() || conversion::has_known_review(conversion),
            valid_bundle: is_established(old) && (bundle.is_empty() || conversion::is_bundle(bundle)),
            keywords: keywords::Demands {
                known_types: !schemas().any(keywords::has_unknown_type),
                atomic_sets: !schemas().any(listing::has_non_atomic_set),
                sound_keys: !schemas().any(listing::has_unsound_keys),
            },
        }
    }
}

fn is_established(definition: &Value) -> bool {
    let conditions = items(&definition["status"]["conditions"]);
    conditions
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True")
}

/// Problems of a definition's name, for the registry's rule on names.
pub fn name_problem(definition: &Value, name: &str) -> Option<String> {
    let spec = &definition["spec"];
    let wanted = format!("{}.{}", text(&spec["names"], "plural"), text(spec, "group"));
    (name != wanted).then(|| "must be spec.names.plural+\".\"+spec.group".to_owned())
}

/// A new definition. `rules` checks its expressions; without it they are taken as they are.
pub fn validate(definition: &Value, rules: Option<&dyn Compiler>) -> ErrorList {
    let mut errors = ErrorList::new();
    let name = object::name(definition);
    if !name.is_empty() {
        let path = Path::new("metadata").child("name");
        errors.extend_invalid(&path, name, names::name_is_dns_subdomain(name, false));
        errors.extend_invalid(&path, name, name_problem(definition, name).into_iter().collect());
    }
    let judge = Judge {
        demands: Demands::ALL,
        old: None,
        rules,
    };
    errors.extend(spec::validate(&definition["spec"], judge, &Path::new("spec")));
    status(definition, true, &mut errors);
    approved(definition, None, &mut errors);
    preserve_unknown(definition, None, &mut errors);
    errors
}

pub fn validate_update(definition: &Value, old: &Value, rules: Option<&dyn Compiler>) -> ErrorList {
    let judge = Judge {
        demands: Demands::after(old),
        old: Some(old),
        rules,
    };
    let path = Path::new("spec");
    let (new_spec, old_spec) = (&definition["spec"], &old["spec"]);
    let mut errors = spec::validate(new_spec, judge, &path);
    let mut immutable = |keys: &[&str]| {
        let at = keys.iter().fold(path.clone(), |path, key| path.child(key));
        let value = |spec: &Value| {
            let found = keys.iter().fold(spec, |value, key| &value[*key]);
            found.as_str().unwrap_or_default().to_owned()
        };
        if value(new_spec) != value(old_spec) {
            errors.push(Error::invalid(&at, value(new_spec), "field is immutable"));
        }
    };
    if is_established(old) {
        immutable(&["scope"]);
        immutable(&["names", "kind"]);
    }
    immutable(&["group"]);
    immutable(&["names", "plural"]);
    status(definition, true, &mut errors);
    approved(definition, Some(old), &mut errors);
    preserve_unknown(definition, Some(old), &mut errors);
    errors
}

pub fn validate_status_update(definition: &Value, _old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    status(definition, false, &mut errors);
    errors
}

fn status(definition: &Value, stored: bool, errors: &mut ErrorList) {
    let path = Path::new("status");
    let status = &definition["status"];
    spec::names(&status["acceptedNames"], &path.child("acceptedNames"), errors);
    if !stored {
        return;
    }
    let path = path.child("storedVersions");
    let list = items(&status["storedVersions"]);
    if list.is_empty() {
        let shown = if status["storedVersions"].is_array() {
            status["storedVersions"].clone()
        } else {
            Value::Null
        };
        return errors.push(Error::invalid(
            &path,
            shown,
            "must have at least one stored version",
        ));
    }
    // A name counts once: a second version of it is not found any more.
    let mut left = list.to_vec();
    for version in versions(definition) {
        let found = left.iter().position(|name| *name == version["name"]);
        if let Some(at) = found {
            left.remove(at);
        } else if version["storage"] == true {
            let detail = format!("must have the storage version {}", text(version, "name"));
            errors.push(Error::invalid(&path, list.to_vec(), detail));
        }
    }
    for (index, name) in list.iter().enumerate() {
        if !versions(definition)
            .iter()
            .any(|version| version["name"] == *name)
        {
            let name = name.as_str().unwrap_or_default();
            let detail = format!(
                "missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {name} and removes {name} from status.storedVersions"
            );
            errors.push(Error::invalid(&path.index(index), name, detail));
        }
    }
}

fn approved(definition: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    if !is_protected(definition) {
        return;
    }
    let (state, reason) = approval(definition);
    if old.is_some_and(|old| approval(old).0 == state) {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(APPROVED);
    let given = object::annotation(definition, APPROVED).unwrap_or_default();
    match state {
        Approval::Invalid => errors.push(Error::invalid(&path, given, reason)),
        Approval::Missing => errors.push(Error::required(&path, reason)),
        Approval::Approved | Approval::Bypassed => {}
    }
}

fn preserve_unknown(definition: &Value, old: Option<&Value>, errors: &mut ErrorList) {
    let preserves = |definition: &Value| definition["spec"]["preserveUnknownFields"] == true;
    if preserves(definition) && !old.is_some_and(preserves) {
        let path = Path::new("spec").child("preserveUnknownFields");
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        errors.push(Error::invalid(&path, true, detail));
    }
}
