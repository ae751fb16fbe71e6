//! What is served: resources with their kinds, names, verbs, subresources and printer columns, as upstream's
//! discovery lists them (`generated/resources.tsv`).

pub mod custom;
mod selection;

pub use selection::Selection;

use std::collections::HashMap;
use std::sync::LazyLock;

use corten_meta::{GroupKind, GroupResource, GroupVersionKind, GroupVersionResource};

const TABLE: &str = include_str!("generated/resources.tsv");
const OPTIONAL: &str = include_str!("resources/optional.tsv");

/// A group and version in discovery order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ServedVersion {
    pub group: &'static str,
    pub version: &'static str,
}

/// One served resource.
#[derive(Debug)]
pub struct Resource {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub list_kind: &'static str,
    pub plural: &'static str,
    pub singular: &'static str,
    pub short_names: &'static [&'static str],
    pub categories: &'static [&'static str],
    pub namespaced: bool,
    pub verbs: &'static [&'static str],
    /// Empty for resources that are not stored.
    pub storage_version_hash: &'static str,
    /// The group and version whose form is stored: another one where two groups share a resource.
    pub storage: ServedVersion,
    pub subresources: &'static [Subresource],
    /// Table columns in order; empty where upstream prints only Name and Created At.
    pub columns: &'static [Column],
}

/// A subresource such as `status` or `scale`.
#[derive(Debug)]
pub struct Subresource {
    pub name: &'static str,
    /// Group and version of its kind as discovery shows them: both empty where they are the resource's own.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub verbs: &'static [&'static str],
}

/// A printer column.
#[derive(Debug, PartialEq, Eq)]
pub struct Column {
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `date`.
    pub kind: &'static str,
    /// `name` marks the column of the object's name.
    pub format: &'static str,
    /// 0 is always shown, 1 in wide output.
    pub priority: i32,
}

impl Resource {
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group, self.version, self.kind)
    }

    pub fn served_version(&self) -> ServedVersion {
        ServedVersion {
            group: self.group,
            version: self.version,
        }
    }

    pub fn list_gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group, self.version, self.list_kind)
    }

    pub fn gvr(&self) -> GroupVersionResource {
        GroupVersionResource::new(self.group, self.version, self.plural)
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource::new(self.group, self.plural)
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group, self.kind)
    }

    pub fn api_version(&self) -> String {
        corten_meta::api_version(self.group, self.version)
    }

    pub fn has_verb(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// The resource whose form is stored for this one; itself for nearly all.
    pub fn storage_resource(&'static self) -> &'static Self {
        lookup(self.storage.group, self.storage.version, self.plural).unwrap_or(self)
    }
}

impl Subresource {
    /// The kind that the subresource takes and gives, resolved against its resource.
    pub fn gvk(&self, of: &Resource) -> GroupVersionKind {
        if self.version.is_empty() {
            GroupVersionKind::new(of.group, of.version, self.kind)
        } else {
            GroupVersionKind::new(self.group, self.version, self.kind)
        }
    }
}

/// What is always served comes first, then what is optional.
struct Tables {
    all: Vec<Resource>,
    versions: Vec<ServedVersion>,
    /// How many of each are always served.
    served: (usize, usize),
    by_path: HashMap<(&'static str, &'static str, &'static str), usize>,
    by_kind: HashMap<(&'static str, &'static str, &'static str), usize>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(load);

/// Every resource that is always served, in discovery order.
pub fn all() -> &'static [Resource] {
    &TABLES.all[..TABLES.served.0]
}

/// Resources that are served only where their group and version is switched on.
pub fn optional() -> &'static [Resource] {
    &TABLES.all[TABLES.served.0..]
}

/// Every group and version that is always served, in discovery order (the preferred version of a group first).
pub fn versions() -> &'static [ServedVersion] {
    &TABLES.versions[..TABLES.served.1]
}

/// Groups and versions that can be switched on.
pub fn optional_versions() -> &'static [ServedVersion] {
    &TABLES.versions[TABLES.served.1..]
}

/// The resource at `/apis/group/version/…/plural`, served or optional; the core group is empty.
pub fn lookup(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    TABLES
        .by_path
        .get(&(group, version, plural))
        .map(|at| &TABLES.all[*at])
}

/// The resource that serves a kind, always or where it is switched on.
pub fn by_kind(gvk: &GroupVersionKind) -> Option<&'static Resource> {
    let key = (gvk.group.as_ref(), gvk.version.as_ref(), gvk.kind.as_ref());
    TABLES.by_kind.get(&key).map(|at| &TABLES.all[*at])
}

/// The resource that serves a kind of a group in its preferred version.
pub fn by_group_kind(group: &str, kind: &str) -> Option<&'static Resource> {
    all().iter().find(|r| r.group == group && r.kind == kind)
}

fn leak<T>(items: Vec<T>) -> &'static [T] {
    items.leak()
}

fn words(list: &'static str) -> &'static [&'static str] {
    if list.is_empty() {
        &[]
    } else {
        leak(list.split(',').collect())
    }
}

/// Where two groups serve one stored resource, the one that is stored.
fn storage(group: &'static str, version: &'static str, plural: &str) -> ServedVersion {
    match (group, version, plural) {
        ("events.k8s.io", "v1", "events") => ServedVersion {
            group: "",
            version: "v1",
        },
        ("autoscaling", "v1", "horizontalpodautoscalers") => ServedVersion { group, version: "v2" },
        _ => ServedVersion { group, version },
    }
}

/// A resource while its lines are being read.
struct Draft {
    resource: Resource,
    subresources: Vec<Subresource>,
    columns: Vec<Column>,
}

fn draft(served: ServedVersion, f: &[&'static str]) -> Draft {
    let ServedVersion { group, version } = served;
    let resource = Resource {
        group,
        version,
        kind: f[2],
        list_kind: String::leak(format!("{}List", f[2])),
        plural: f[1],
        singular: f[3],
        short_names: words(f[7]),
        categories: words(f[8]),
        namespaced: f[4] == "Namespaced",
        verbs: words(f[6]),
        storage_version_hash: f[5],
        storage: storage(group, version, f[1]),
        subresources: &[],
        columns: &[],
    };
    Draft {
        resource,
        subresources: Vec::new(),
        columns: Vec::new(),
    }
}

fn load() -> Tables {
    let (mut drafts, mut versions): (Vec<Draft>, Vec<ServedVersion>) = (Vec::new(), Vec::new());
    read(TABLE, &mut drafts, &mut versions);
    let served = (drafts.len(), versions.len());
    read(OPTIONAL, &mut drafts, &mut versions);
    let all: Vec<Resource> = drafts
        .into_iter()
        .map(|d| Resource {
            subresources: leak(d.subresources),
            columns: leak(d.columns),
            ..d.resource
        })
        .collect();
    let by_path = all
        .iter()
        .enumerate()
        .map(|(i, r)| ((r.group, r.version, r.plural), i))
        .collect();
    let by_kind = all
        .iter()
        .enumerate()
        .map(|(i, r)| ((r.group, r.version, r.kind), i))
        .collect();
    Tables {
        all,
        versions,
        served,
        by_path,
        by_kind,
    }
}

/// Reads an embedded table; its form is codegen's, so a bad line is a build mistake that the tests show.
fn read(table: &'static str, drafts: &mut Vec<Draft>, versions: &mut Vec<ServedVersion>) {
    for line in table.lines() {
        let f: Vec<&'static str> = line.split('\t').collect();
        match (f[0], drafts.last_mut(), versions.last()) {
            ("G", _, _) => versions.push(ServedVersion {
                group: f[1],
                version: f[2],
            }),
            ("R", _, Some(served)) => drafts.push(draft(*served, &f)),
            ("S", Some(d), _) => {
                let sub = Subresource {
                    name: f[1],
                    group: f[2],
                    version: f[3],
                    kind: f[4],
                    verbs: words(f[5]),
                };
                d.subresources.push(sub);
            }
            ("C", Some(d), _) => {
                let priority = f[4].parse().unwrap_or(0);
                d.columns.push(Column {
                    name: f[1],
                    kind: f[2],
                    format: f[3],
                    priority,
                });
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn deployments_are_served() {
        let r = lookup("apps", "v1", "deployments").unwrap();
        assert_eq!(
            (r.kind, r.list_kind, r.singular),
            ("Deployment", "DeploymentList", "deployment")
        );
        assert_eq!(r.short_names, ["deploy"]);
        assert!(r.namespaced && r.has_verb("deletecollection"));
        assert_eq!(
            r.subresource("scale").unwrap().gvk(r),
            GroupVersionKind::new("autoscaling", "v1", "Scale")
        );
        assert_eq!(r.columns[1].name, "Ready");
        assert!(std::ptr::eq(by_kind(&r.gvk()).unwrap(), r));
    }

    #[test]
    fn events_are_stored_once() {
        let r = lookup("events.k8s.io", "v1", "events").unwrap();
        assert_eq!(r.storage_resource().group, "");
        assert_eq!(
            versions()[0],
            ServedVersion {
                group: "",
                version: "v1"
            }
        );
        assert_eq!(all().len(), 65.max(all().len()));
    }
}
