//! Identifiers: group, version, kind, resource, in upstream's combinations and spellings.

use std::borrow::Cow;
use std::fmt;

/// One part of an identifier: static for built-in kinds, owned for what requests and CRDs bring.
pub type Part = Cow<'static, str>;

/// A kind in a version of a group (`apps/v1, Kind=Deployment`). The core group is empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupVersionKind {
    pub group: Part,
    pub version: Part,
    pub kind: Part,
}

/// A resource in a version of a group (`apps/v1, Resource=deployments`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupVersionResource {
    pub group: Part,
    pub version: Part,
    pub resource: Part,
}

/// A resource without its version; displayed as `deployments.apps`, or `pods` in the core group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupResource {
    pub group: Part,
    pub resource: Part,
}

/// A kind without its version; displayed as `Deployment.apps`, or `Pod` in the core group.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupKind {
    pub group: Part,
    pub kind: Part,
}

/// A group and a version, displayed as an `apiVersion` (`apps/v1`, `v1`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupVersion {
    pub group: Part,
    pub version: Part,
}

/// The `apiVersion` string of a group and version: `v1` for the core group, `group/version` otherwise.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

fn dotted(f: &mut fmt::Formatter<'_>, name: &str, group: &str) -> fmt::Result {
    f.write_str(name)?;
    if group.is_empty() {
        Ok(())
    } else {
        write!(f, ".{group}")
    }
}

impl GroupVersionKind {
    pub fn new(group: impl Into<Part>, version: impl Into<Part>, kind: impl Into<Part>) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            kind: kind.into(),
        }
    }

    /// Reads `apiVersion` and `kind` as an object carries them. `apiVersion` with more than one slash is an error
    /// with upstream's text.
    pub fn from_api_version(api_version: &str, kind: &str) -> Result<Self, String> {
        let gv = GroupVersion::parse(api_version)?;
        Ok(Self {
            group: gv.group,
            version: gv.version,
            kind: Cow::Owned(kind.to_owned()),
        })
    }

    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind {
            group: self.group.clone(),
            kind: self.kind.clone(),
        }
    }

    pub fn group_version(&self) -> GroupVersion {
        GroupVersion {
            group: self.group.clone(),
            version: self.version.clone(),
        }
    }
}

impl GroupVersionResource {
    pub fn new(group: impl Into<Part>, version: impl Into<Part>, resource: impl Into<Part>) -> Self {
        Self {
            group: group.into(),
            version: version.into(),
            resource: resource.into(),
        }
    }

    pub fn group_resource(&self) -> GroupResource {
        GroupResource {
            group: self.group.clone(),
            resource: self.resource.clone(),
        }
    }

    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

impl GroupResource {
    pub fn new(group: impl Into<Part>, resource: impl Into<Part>) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.group.is_empty() && self.resource.is_empty()
    }
}

impl GroupKind {
    pub fn new(group: impl Into<Part>, kind: impl Into<Part>) -> Self {
        Self {
            group: group.into(),
            kind: kind.into(),
        }
    }
}

impl GroupVersion {
    /// Parses an `apiVersion`. Empty and `/` mean the empty group and version, as upstream.
    pub fn parse(api_version: &str) -> Result<Self, String> {
        let owned = |s: &str| Cow::Owned(s.to_owned());
        match api_version.split('/').collect::<Vec<_>>().as_slice() {
            [""] | ["", ""] => Ok(Self::default()),
            [version] => Ok(Self {
                group: Cow::Borrowed(""),
                version: owned(version),
            }),
            [group, version] => Ok(Self {
                group: owned(group),
                version: owned(version),
            }),
            _ => Err(format!("unexpected GroupVersion string: {api_version}")),
        }
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

impl fmt::Display for GroupVersionResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}, Resource={}", self.group, self.version, self.resource)
    }
}

impl fmt::Display for GroupResource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.resource, &self.group)
    }
}

impl fmt::Display for GroupKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        dotted(f, &self.kind, &self.group)
    }
}

impl fmt::Display for GroupVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.group.is_empty() {
            f.write_str(&self.version)
        } else {
            write!(f, "{}/{}", self.group, self.version)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn identifiers_are_spelled_as_upstream() {
        assert_eq!(
            GroupResource::new("apps", "deployments").to_string(),
            "deployments.apps"
        );
        assert_eq!(GroupResource::new("", "pods").to_string(), "pods");
        assert_eq!(
            GroupVersionKind::new("", "v1", "Pod").to_string(),
            "/v1, Kind=Pod"
        );
        assert_eq!(GroupVersion::parse("apps/v1").unwrap().to_string(), "apps/v1");
        assert!(GroupVersion::parse("a/b/c").is_err());
    }
}
