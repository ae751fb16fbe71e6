//! What a server serves of the built-in resources: those that are always served, and those of groups and versions that were
//! switched on (`optional.tsv`, written by hand: upstream's discovery shows them only where they are on).

use super::{Resource, ServedVersion, all, optional, optional_versions, versions};

/// See the module. The default has nothing switched on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selection(Vec<ServedVersion>);

impl Selection {
    /// Of what can be switched on, that which `on` says is.
    pub fn of(on: impl Fn(&ServedVersion) -> bool) -> Self {
        Self(optional_versions().iter().copied().filter(|v| on(v)).collect())
    }

    /// Whether anything is switched on.
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a group and version is served.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.versions().any(|v| (v.group, v.version) == (group, version))
    }

    /// Served groups and versions in discovery order.
    pub fn versions(&self) -> impl Iterator<Item = ServedVersion> + '_ {
        versions().iter().chain(&self.0).copied()
    }

    /// Served resources in discovery order.
    pub fn resources(&self) -> impl Iterator<Item = &'static Resource> + '_ {
        let switched_on = |r: &&Resource| self.0.contains(&r.served_version());
        all().iter().chain(optional().iter().filter(switched_on))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::{by_kind, lookup};

    const GROUP: &str = "storagemigration.k8s.io";

    #[test]
    fn what_is_optional_is_known_but_not_served() {
        let off = Selection::default();
        assert!(off.is_default() && !off.serves(GROUP, "v1beta1") && off.serves("apps", "v1"));
        assert!(off.resources().all(|r| r.group != GROUP));
        assert_eq!(off.resources().count(), all().len());
        let on = Selection::of(|v| v.group == GROUP);
        assert!(on.serves(GROUP, "v1beta1"));
        assert_eq!(on.resources().count(), all().len() + 1);
        assert_eq!(on.versions().last().map(|v| v.group), Some(GROUP));
        let row = lookup(GROUP, "v1beta1", "storageversionmigrations");
        assert!(row.is_some_and(|r| by_kind(&r.gvk()).is_some_and(|k| std::ptr::eq(k, r))));
        assert!(versions().iter().all(|v| v.group != GROUP));
    }
}
