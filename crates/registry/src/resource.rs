//! What the registry knows of a resource, and the handle callers pass.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use corten_meta::{GroupKind, GroupResource};

use crate::strategy::Strategy;

/// A subresource by its path segment; [`Subresource::MAIN`] is the object itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subresource(pub &'static str);

impl Subresource {
    pub const MAIN: Self = Self("");
    pub const STATUS: Self = Self("status");
    pub const SCALE: Self = Self("scale");
    pub const FINALIZE: Self = Self("finalize");
    pub const APPROVAL: Self = Self("approval");
    pub const BINDING: Self = Self("binding");
    pub const EVICTION: Self = Self("eviction");
    pub const RESIZE: Self = Self("resize");
    pub const EPHEMERAL_CONTAINERS: Self = Self("ephemeralcontainers");
    pub const TOKEN: Self = Self("token");
}

/// Static for built-in resources, owned for those of CustomResourceDefinitions.
pub type Part = Cow<'static, str>;

/// One stored resource: a row of the schema, or of a CustomResourceDefinition.
pub struct ResourceInfo {
    pub group: Part,
    /// The version objects are stored in.
    pub version: Part,
    pub kind: Part,
    /// Lower-case plural, as in the URL.
    pub plural: Part,
    pub namespaced: bool,
    /// The status is a subresource, which the main resource does not change.
    pub has_status: bool,
    /// `metadata.generation` counts changes of what the user wants.
    pub has_generation: bool,
    /// Store key prefix with a slash at its end, as upstream: `/registry/pods/`.
    pub prefix: String,
    /// Objects leave by themselves after this long (events).
    pub ttl: Option<Duration>,
    pub strategy: Arc<dyn Strategy>,
}

impl ResourceInfo {
    pub fn group_resource(&self) -> GroupResource {
        GroupResource {
            group: self.group.clone(),
            resource: self.plural.clone(),
        }
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind {
            group: self.group.clone(),
            kind: self.kind.clone(),
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        corten_meta::api_version(&self.group, &self.version)
    }
}

/// Handle on a resource the registry serves; clone freely.
#[derive(Clone)]
pub struct Resource(Arc<ResourceInfo>);

impl Deref for Resource {
    type Target = ResourceInfo;

    fn deref(&self) -> &ResourceInfo {
        &self.0
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.plural, self.group)
    }
}

/// Length of a DNS label, which generated names must not exceed.
const NAME_LENGTH_MAX: usize = 63;
/// Random characters added to `generateName`.
const RANDOM_LENGTH: usize = 5;

/// Upstream's `names.SimpleNameGenerator`.
pub fn generate_name(base: &str) -> String {
    let limit = NAME_LENGTH_MAX - RANDOM_LENGTH;
    let mut end = base.len().min(limit);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!(
        "{}{}",
        &base[..end],
        corten_stdx::ids::random_suffix(RANDOM_LENGTH)
    )
}
