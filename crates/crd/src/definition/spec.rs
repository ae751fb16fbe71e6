//! `spec` and its versions. Upstream's internal form hoists what all versions share, and so do the paths of errors.

use std::collections::HashSet;

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::names;
use serde_json::Value;

use super::validate::Demands;
use super::{columns, conversion, defaults, go_form, items, keywords, schema_of, structure, text, walk};
use crate::rules::Compiler;
use crate::structural::Structural;

const WARNING_MAX: usize = 256;

/// What a definition is judged by.
#[derive(Clone, Copy)]
pub(super) struct Judge<'j> {
    pub demands: Demands,
    /// The definition before an update.
    pub old: Option<&'j Value>,
    pub rules: Option<&'j dyn Compiler>,
}

/// Parts that all versions have alike.
fn shared(versions: &[Value]) -> go_form::Shared {
    let same = |key: &str| versions.windows(2).all(|pair| pair[0][key] == pair[1][key]);
    go_form::Shared {
        schema: same("schema"),
        subresources: same("subresources"),
        columns: same("additionalPrinterColumns"),
        selectable: same("selectableFields"),
    }
}

pub(super) fn validate(spec: &Value, judge: Judge<'_>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    group(text(spec, "group"), &path.child("group"), &mut errors);
    match text(spec, "scope") {
        "" => errors.push(Error::required(&path.child("scope"), "")),
        "Cluster" | "Namespaced" => {}
        other => errors.push(Error::not_supported(
            &path.child("scope"),
            other,
            &["Cluster", "Namespaced"],
        )),
    }
    let versions = items(&spec["versions"]);
    schemas_present(spec, versions, judge, path, &mut errors);
    let preserves = spec["preserveUnknownFields"] == true;
    if preserves && versions.iter().filter_map(schema_of).any(walk::has_default) {
        let detail = "must be false in order to use defaults in the schema";
        errors.push(Error::invalid(&path.child("preserveUnknownFields"), true, detail));
    }
    let mut judge = judge;
    let extended = |schema: &Value| walk::has_default(schema) || walk::has_extension(schema);
    judge.demands.structural |= !preserves || versions.iter().filter_map(schema_of).any(extended);
    let shared = shared(versions);
    for (index, version) in versions.iter().enumerate() {
        self::version(
            version,
            judge,
            shared,
            &path.child("versions").index(index),
            &mut errors,
        );
    }
    version_list(versions, shared, &path.child("versions"), &mut errors);
    // The internal form has the first version's name once more.
    if let Some(first) = versions.first() {
        let name = text(first, "name");
        let messages = names::is_dns1035_label(name);
        if !name.is_empty() && !messages.is_empty() {
            errors.push(Error::invalid(&path.child("version"), name, messages.join(",")));
        }
    }
    required_names(&spec["names"], &path.child("names"), &mut errors);
    self::names(&spec["names"], &path.child("names"), &mut errors);
    if let Some(first) = versions.first() {
        hoisted(first, versions, judge, shared, path, &mut errors);
    }
    let demands = conversion::Demands {
        known_review: judge.demands.known_review,
        valid_bundle: judge.demands.valid_bundle,
    };
    if preserves && spec["conversion"].is_object() && text(&spec["conversion"], "strategy") != "None" {
        let at = path.child("conversion").child("strategy");
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(Error::invalid(&at, text(&spec["conversion"], "strategy"), detail));
    }
    conversion::validate(
        &spec["conversion"],
        demands,
        &path.child("conversion"),
        &mut errors,
    );
    errors
}

fn group(group: &str, path: &Path, errors: &mut ErrorList) {
    let messages = names::is_dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(Error::required(path, ""));
    } else if !messages.is_empty() {
        errors.push(Error::invalid(path, group, messages.join(",")));
    } else if !group.contains('.') {
        errors.push(Error::invalid(
            path,
            group,
            "should be a domain with at least one dot",
        ));
    }
}

fn schemas_present(spec: &Value, versions: &[Value], judge: Judge<'_>, path: &Path, errors: &mut ErrorList) {
    let all_without = versions.iter().all(|v| schema_of(v).is_none());
    let hoisted = shared(versions).schema && !all_without;
    if hoisted {
        return;
    }
    let preserves = spec["preserveUnknownFields"] == true;
    for (index, version) in versions
        .iter()
        .enumerate()
        .filter(|(_, v)| schema_of(v).is_none())
    {
        let at = path
            .child("versions")
            .index(index)
            .child("schema")
            .child("openAPIV3Schema");
        if judge.demands.schema {
            errors.push(Error::required(&at, ""));
        } else if !preserves && version["served"] == true {
            errors.push(Error::required(&at, "because otherwise all fields are pruned"));
        }
    }
}

fn version_list(versions: &[Value], shared: go_form::Shared, path: &Path, errors: &mut ErrorList) {
    let mut invalid = |detail: &str| {
        let shown = go_form::versions(versions, shared);
        let mut error = Error::invalid(path, Value::Null, format!("{shown}: {detail}"));
        error.bad_value = None;
        errors.push(error);
    };
    let unique: HashSet<&str> = versions.iter().map(|v| text(v, "name")).collect();
    if unique.len() != versions.len() {
        invalid("must contain unique version names");
    }
    if versions.iter().filter(|v| v["storage"] == true).count() != 1 {
        invalid("must have exactly one version marked as storage version");
    }
}

/// What a version has of its own.
fn version(version: &Value, judge: Judge<'_>, shared: go_form::Shared, path: &Path, errors: &mut ErrorList) {
    let name = text(version, "name");
    let messages = names::is_dns1035_label(name);
    if !messages.is_empty() {
        errors.push(Error::invalid(&path.child("name"), name, messages.join(",")));
    }
    for problem in deprecation_warning(version) {
        let given = version["deprecationWarning"].clone();
        errors.push(Error::invalid(&path.child("deprecationWarning"), given, problem));
    }
    if !shared.schema {
        let status = version["subresources"]["status"].is_object();
        schema(version, status, judge, &path.child("schema"), errors);
    }
    if !shared.subresources {
        columns::subresources(&version["subresources"], &path.child("subresources"), errors);
    }
    if !shared.columns {
        let at = path.child("additionalPrinterColumns");
        columns::columns(&version["additionalPrinterColumns"], &at, errors);
    }
    if !shared.selectable && !items(&version["selectableFields"]).is_empty() {
        let at = path.child("selectableFields");
        match schema_of(version).filter(|_| !shared.schema) {
            None => errors.push(Error::invalid(
                &at,
                "",
                "may only be set when `version.schema.openAPIV3Schema` is not included",
            )),
            Some(schema) => selectable(version, schema, judge, path, &at, errors),
        }
    }
}

/// What all versions share, as if it stood in the spec.
fn hoisted(
    first: &Value,
    versions: &[Value],
    judge: Judge<'_>,
    shared: go_form::Shared,
    path: &Path,
    errors: &mut ErrorList,
) {
    if shared.schema {
        let status = versions.iter().any(|v| v["subresources"]["status"].is_object());
        schema(first, status, judge, &path.child("validation"), errors);
    }
    if shared.subresources {
        columns::subresources(&first["subresources"], &path.child("subresources"), errors);
    }
    if shared.columns {
        let at = path.child("additionalPrinterColumns");
        columns::columns(&first["additionalPrinterColumns"], &at, errors);
    }
    if shared.selectable && !items(&first["selectableFields"]).is_empty() {
        let at = path.child("selectableFields");
        match schema_of(first).filter(|_| shared.schema) {
            None => errors.push(Error::invalid(
                &at,
                "",
                "may only be set when validations.schema is included",
            )),
            Some(schema) => selectable(first, schema, judge, path, &at, errors),
        }
    }
}

fn selectable(
    version: &Value,
    schema: &Value,
    judge: Judge<'_>,
    path: &Path,
    at: &Path,
    errors: &mut ErrorList,
) {
    let parsed = Structural::parse(schema);
    if let Err(error) = &parsed {
        let at = path.child("schema").child("openAPIV3Schema");
        errors.push(Error::invalid(&at, "", error.to_string()));
    }
    let fields = &version["selectableFields"];
    let old = judge
        .old
        .and_then(|old| super::version(old, text(version, "name")));
    let before = old.is_some_and(|old| columns::had_too_many(fields, &old["selectableFields"]));
    columns::selectable(fields, parsed.ok().as_ref(), before, at, errors);
}

fn deprecation_warning(version: &Value) -> Vec<String> {
    let Some(warning) = version["deprecationWarning"].as_str() else {
        return Vec::new();
    };
    if version["deprecated"] != true {
        return vec!["can only be set for deprecated versions".to_owned()];
    }
    let mut out = Vec::new();
    if warning.len() > WARNING_MAX {
        out.push("must be <= 256 characters long".to_owned());
    }
    if warning.is_empty() {
        out.push("must not be an empty string".to_owned());
    }
    let hidden = |c: char| {
        c.is_control()
            || (c != ' ' && c.is_whitespace())
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{feff}')
    };
    if let Some(at) = warning.find(hidden) {
        out.push(format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
    out
}

fn required_names(names: &Value, path: &Path, errors: &mut ErrorList) {
    for key in ["plural", "singular", "kind", "listKind"] {
        if text(names, key).is_empty() {
            errors.push(Error::required(&path.child(key), ""));
        }
    }
}

/// Names as they stand in spec and status.
pub(super) fn names(given: &Value, path: &Path, errors: &mut ErrorList) {
    for key in ["plural", "singular"] {
        let name = text(given, key);
        let messages = names::is_dns1035_label(name);
        if !name.is_empty() && !messages.is_empty() {
            errors.push(Error::invalid(&path.child(key), name, messages.join(",")));
        }
    }
    for key in ["kind", "listKind"] {
        let name = text(given, key);
        let messages = names::is_dns1035_label(&name.to_lowercase());
        if !name.is_empty() && !messages.is_empty() {
            let detail = format!(
                "may have mixed case, but should otherwise match: {}",
                messages.join(",")
            );
            errors.push(Error::invalid(&path.child(key), name, detail));
        }
    }
    let labels = |key: &str, errors: &mut ErrorList| {
        for (index, label) in items(&given[key]).iter().enumerate() {
            let label = label.as_str().unwrap_or_default();
            let messages = names::is_dns1035_label(label);
            if !messages.is_empty() {
                errors.push(Error::invalid(
                    &path.child(key).index(index),
                    label,
                    messages.join(","),
                ));
            }
        }
    };
    labels("shortNames", errors);
    let kind = text(given, "kind");
    if !kind.is_empty() && kind == text(given, "listKind") {
        let detail = "kind and listKind may not be the same";
        errors.push(Error::invalid(&path.child("listKind"), kind, detail));
    }
    labels("categories", errors);
}

/// A version's schema, or the one that all share.
fn schema(version: &Value, status: bool, judge: Judge<'_>, path: &Path, errors: &mut ErrorList) {
    let Some(schema) = schema_of(version) else { return };
    if status {
        errors.extend(beside_status(schema, path));
    }
    let before = errors.len();
    if schema["nullable"] == true {
        let at = path.child("openAPIV3Schema").child("nullable");
        errors.push(Error::forbidden(&at, "nullable cannot be true at the root"));
    }
    let path = path.child("openAPIV3Schema");
    let (mut parsed, mut unparsed) = (None, None);
    if judge.demands.structural {
        match Structural::parse(schema) {
            Err(error) => unparsed = Some(Error::invalid(&path, "", error.to_string())),
            Ok(tree) => {
                let mut found = structure::validate(schema, &path);
                if found.is_empty() {
                    found = defaults::validate(&tree, &path, judge.demands.pruned_defaults, judge.rules);
                }
                parsed = found.is_empty().then_some(tree);
                errors.extend(found);
            }
        }
    }
    let found = keywords::validate(schema, judge.demands.keywords, &path);
    let sound = found.is_empty();
    errors.extend(found);
    if let Some(error) = unparsed.filter(|_| errors.len() == before) {
        errors.push(error);
    }
    if let (Some(tree), Some(rules), true) = (parsed, judge.rules, sound) {
        let old = judge
            .old
            .and_then(|old| super::version(old, text(version, "name")));
        let old = old
            .and_then(schema_of)
            .and_then(|schema| Structural::parse(schema).ok());
        errors.extend(rules.check(&tree, &path, old.as_ref()));
    }
}

/// The status has a schema of its own only if nothing at the root applies to it.
fn beside_status(schema: &Value, path: &Path) -> Option<Error> {
    for field in go_form::fields_set(schema) {
        if field == "Type" {
            let kind = text(schema, "type");
            if kind != "object" {
                let at = path.child("openAPIV3Schema").child("type");
                let detail = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
                return Some(Error::invalid(&at, kind, detail));
            }
        } else if !go_form::ALLOWED_AT_ROOT.contains(&field) {
            let detail = format!(
                "{}: only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
                go_form::shown_schema(schema),
                go_form::ALLOWED_AT_ROOT.join(" ")
            );
            let mut error = Error::invalid(&path.child("openAPIV3Schema"), Value::Null, detail);
            error.bad_value = None;
            return Some(error);
        }
    }
    None
}
