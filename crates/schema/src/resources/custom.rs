//! Rows for the kinds of CustomResourceDefinitions. A row lives as long as the program, so that requests can hold it
//! without counting; equal rows are one, so that a definition which comes and goes costs nothing further.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use super::{Resource, ServedVersion, Subresource, leak};

/// Different rows that may be made. At the bound a definition is not served (about 20 MB would be held then).
const ROWS_MAX: usize = 16_384;

const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];
const SUBRESOURCE_VERBS: [&str; 3] = ["get", "patch", "update"];

/// What a definition says of one of its versions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    pub group: String,
    pub version: String,
    pub kind: String,
    pub list_kind: String,
    pub plural: String,
    pub singular: String,
    pub short_names: Vec<String>,
    pub categories: Vec<String>,
    pub namespaced: bool,
    /// Empty where the stored version is not served.
    pub storage_version_hash: String,
    pub status: bool,
    pub scale: bool,
}

#[derive(Default)]
struct Made {
    rows: HashMap<Row, &'static Resource>,
    texts: HashSet<&'static str>,
}

static MADE: LazyLock<Mutex<Made>> = LazyLock::new(Mutex::default);

/// A text that lives as long as the program; equal texts are one.
pub fn text(text: &str) -> &'static str {
    MADE.lock().unwrap_or_else(PoisonError::into_inner).text(text)
}

/// The row of a version; `None` at the bound.
pub fn row(row: &Row) -> Option<&'static Resource> {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = made.rows.get(row) {
        return Some(found);
    }
    if made.rows.len() >= ROWS_MAX {
        return None;
    }
    let resource: &'static Resource = Box::leak(Box::new(made.resource(row)));
    made.rows.insert(row.clone(), resource);
    Some(resource)
}

impl Made {
    fn text(&mut self, text: &str) -> &'static str {
        if let Some(found) = self.texts.get(text) {
            return found;
        }
        let text: &'static str = String::leak(text.to_owned());
        self.texts.insert(text);
        text
    }

    fn words(&mut self, words: &[String]) -> &'static [&'static str] {
        leak(words.iter().map(|word| self.text(word)).collect())
    }

    fn resource(&mut self, row: &Row) -> Resource {
        let (group, version) = (self.text(&row.group), self.text(&row.version));
        let kind = self.text(&row.kind);
        let mut subresources = Vec::new();
        if row.status {
            subresources.push(Subresource {
                name: "status",
                group: "",
                version: "",
                kind,
                verbs: &SUBRESOURCE_VERBS,
            });
        }
        if row.scale {
            subresources.push(Subresource {
                name: "scale",
                group: "autoscaling",
                version: "v1",
                kind: "Scale",
                verbs: &SUBRESOURCE_VERBS,
            });
        }
        Resource {
            group,
            version,
            kind,
            list_kind: self.text(&row.list_kind),
            plural: self.text(&row.plural),
            singular: self.text(&row.singular),
            short_names: self.words(&row.short_names),
            categories: self.words(&row.categories),
            namespaced: row.namespaced,
            verbs: &VERBS,
            storage_version_hash: self.text(&row.storage_version_hash),
            storage: ServedVersion { group, version },
            subresources: leak(subresources),
            columns: &[],
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn equal_rows_are_one() {
        let first = Row {
            group: "example.com".into(),
            version: "v1".into(),
            kind: "Widget".into(),
            list_kind: "WidgetList".into(),
            plural: "widgets".into(),
            singular: "widget".into(),
            short_names: vec!["wd".into()],
            categories: Vec::new(),
            namespaced: true,
            storage_version_hash: String::new(),
            status: true,
            scale: false,
        };
        let made = row(&first).unwrap();
        assert!(std::ptr::eq(made, row(&first.clone()).unwrap()));
        assert_eq!(made.short_names, ["wd"]);
        assert_eq!(made.subresource("status").unwrap().gvk(made), made.gvk());
        assert!(made.subresource("scale").is_none());
    }
}
