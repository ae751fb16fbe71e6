//! What types and fields are for, in our own words: OpenAPI carries it, and `kubectl explain` shows it.
//!
//! A file for each group, whose lines are `Type: text` or `Type.field: text`, in the order of their keys; types that stand in
//! several versions of a group share theirs. What is the same for every kind and list is said here.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Value, json};

/// Lines of a group by what its definitions' names contain.
const GROUPS: [(&str, &str); 22] = [
    (
        ".api.admissionregistration.",
        include_str!("admissionregistration.txt"),
    ),
    (".apiextensions-apiserver.", include_str!("apiextensions.txt")),
    (".kube-aggregator.", include_str!("apiregistration.txt")),
    (".api.apps.", include_str!("apps.txt")),
    (".api.authentication.", include_str!("authentication.txt")),
    (".api.authorization.", include_str!("authorization.txt")),
    (".api.autoscaling.", include_str!("autoscaling.txt")),
    (".api.batch.", include_str!("batch.txt")),
    (".api.certificates.", include_str!("certificates.txt")),
    (".api.coordination.", include_str!("coordination.txt")),
    (".api.core.", include_str!("core.txt")),
    (".api.discovery.", include_str!("discovery.txt")),
    (".api.events.", include_str!("events.txt")),
    (".api.flowcontrol.", include_str!("flowcontrol.txt")),
    (".apimachinery.", include_str!("meta.txt")),
    (".api.networking.", include_str!("networking.txt")),
    (".api.node.", include_str!("node.txt")),
    (".api.policy.", include_str!("policy.txt")),
    (".api.rbac.", include_str!("rbac.txt")),
    (".api.resource.", include_str!("resource.txt")),
    (".api.scheduling.", include_str!("scheduling.txt")),
    (".api.storage.", include_str!("storage.txt")),
];

/// Members of every kind.
const OF_KINDS: [(&str, &str); 5] = [
    (
        "apiVersion",
        "Group and version of the schema that the object is written in: GROUP/VERSION, or v1 for the core group.",
    ),
    (
        "kind",
        "Name of the kind of object this is, in CamelCase. It cannot be changed.",
    ),
    (
        "metadata",
        "Name, namespace, labels and what else is kept of every object.",
    ),
    ("spec", "What is wanted."),
    (
        "status",
        "What was last observed. Written by the system, not by users.",
    ),
];

/// Members of every list of a kind.
const OF_LISTS: [(&str, &str); 4] = [
    OF_KINDS[0],
    OF_KINDS[1],
    (
        "metadata",
        "The revision the list was read at and, where it is a page, the token for the next one.",
    ),
    ("items", "The objects."),
];

/// What the columns of tables show: `Kind.Column` where a column of that name means something of its own there, else `Column`.
const COLUMNS: &str = include_str!("columns.txt");

/// What a column of a kind's table shows; nothing for a column that no kind served here has.
pub(crate) fn column(kind: &str, column: &str) -> &'static str {
    find(COLUMNS, &format!("{kind}.{column}"))
        .or_else(|| find(COLUMNS, column))
        .unwrap_or_default()
}

/// Adds what is known of a definition and its properties.
pub(crate) fn describe(name: &str, definition: &mut Value) {
    let Some((_, kind)) = name.rsplit_once('.') else {
        return;
    };
    let lines = GROUPS.iter().find(|(part, _)| name.contains(part));
    let lines = lines.map_or("", |(_, lines)| *lines);
    let properties = definition.get_mut("properties").and_then(Value::as_object_mut);
    let mut general: &[(&str, &str)] = &[];
    let mut list_of = None;
    if let Some(properties) = properties {
        let has = |member: &str| properties.contains_key(member);
        if has("kind") && has("apiVersion") {
            list_of = kind.strip_suffix("List").filter(|_| has("items"));
            general = if list_of.is_some() { &OF_LISTS } else { &OF_KINDS };
        }
        for (member, property) in properties {
            let said = find(lines, &format!("{kind}.{member}")).or_else(|| {
                let general = general.iter().find(|(known, _)| known == member);
                general.map(|(_, said)| *said)
            });
            put(property, said.map(Cow::Borrowed));
        }
    }
    let of_list = || list_of.map(|of| Cow::Owned(format!("A list of objects of the kind {of}.")));
    put(definition, find(lines, kind).map(Cow::Borrowed).or_else(of_list));
}

fn put(schema: &mut Value, said: Option<Cow<'static, str>>) {
    let (Some(said), Some(schema)) = (said, schema.as_object_mut()) else {
        return;
    };
    // Version 3 has no siblings to a reference.
    let reference = schema.get("$ref").and_then(Value::as_str);
    if reference.is_some_and(|to| to.starts_with("#/components/")) {
        return;
    }
    schema.insert("description".to_owned(), json!(said));
}

/// The text of a key among lines that are in the order of their keys.
fn find(lines: &'static str, key: &str) -> Option<&'static str> {
    let (mut low, mut high) = (0, lines.len());
    while low < high {
        let middle = low.midpoint(high);
        let start = lines[..middle].rfind('\n').map_or(0, |at| at + 1);
        let end = lines[middle..].find('\n').map_or(lines.len(), |at| middle + at);
        let (known, said) = lines[start..end].split_once(": ")?;
        match known.cmp(key) {
            Ordering::Less => low = end + 1,
            Ordering::Greater => high = start,
            Ordering::Equal => return Some(said),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_described() {
        for resource in crate::resources::all() {
            for shown in crate::table::columns(resource) {
                let said = column(resource.kind, shown.name);
                assert!(!said.is_empty(), "{} {}", resource.kind, shown.name);
            }
        }
        assert_eq!(column("Pod", "Nothing"), "");
        assert_ne!(column("Pod", "Ready"), column("Deployment", "Ready"));
    }

    #[test]
    fn keys_are_in_order_and_found() {
        for (group, lines) in GROUPS.into_iter().chain([("columns", COLUMNS)]) {
            assert!(lines.is_ascii(), "{group}");
            let keys: Vec<&str> = lines
                .lines()
                .filter_map(|line| Some(line.split_once(": ")?.0))
                .collect();
            assert_eq!(
                keys.len(),
                lines.lines().count(),
                "{group} has a line without a key"
            );
            assert!(keys.is_sorted_by(|a, b| a < b), "{group}");
            for key in keys {
                assert!(
                    find(lines, key).is_some_and(|said| said.ends_with('.')),
                    "{group} {key}"
                );
            }
            assert_eq!(find(lines, "Nothing"), None);
        }
    }
}
