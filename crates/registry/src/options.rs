//! Request options of `meta.k8s.io/v1`, already decoded.

use std::sync::Arc;
use std::time::Duration;

use corten_meta::{fields, labels};

use crate::admission::View;
use crate::object::Object;

/// `CreateOptions`; dry run and field manager are in the `WriteContext`.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {}

/// `UpdateOptions` plus what the handlers above add.
#[derive(Clone, Default)]
pub struct UpdateOptions {
    /// Create when absent even if the strategy does not allow it (server-side apply).
    pub force_allow_create: bool,
    /// The object must have this uid (PUT with a uid in its body).
    pub uid: Option<String>,
    /// What dynamic admission sees of an update through a subresource of another kind.
    pub view: Option<Arc<dyn View>>,
}

/// `DeleteOptions.preconditions`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

/// `DeleteOptions.propagationPolicy`; `Invalid` keeps a text that validation rejects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
    Invalid(String),
}

impl From<&str> for Propagation {
    fn from(text: &str) -> Self {
        match text {
            "Orphan" => Self::Orphan,
            "Background" => Self::Background,
            "Foreground" => Self::Foreground,
            other => Self::Invalid(other.to_owned()),
        }
    }
}

#[derive(Clone, Debug, Default)]
pub struct DeleteOptions {
    pub grace_period_seconds: Option<i64>,
    pub propagation: Option<Propagation>,
    /// The deprecated form of `propagation`; giving both is invalid.
    pub orphan_dependents: Option<bool>,
    pub preconditions: Preconditions,
}

/// `resourceVersionMatch`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    pub label_selector: Option<labels::Selector>,
    pub field_selector: Option<fields::Selector>,
    /// Page size; 0 for everything.
    pub limit: u64,
    /// The token of the page before.
    pub continue_token: String,
    /// "" is the newest, "0" is anything, N is not older than N (or exactly N, see `version_match`).
    pub resource_version: String,
    pub version_match: Option<VersionMatch>,
}

/// One page of a list, consistent at `revision`.
#[derive(Debug)]
pub struct ListPage {
    pub revision: u64,
    pub items: Vec<Object>,
    /// Token for the next page; empty when this is the last.
    pub continue_token: String,
    /// How many items follow; unknown (None) with selectors, as upstream.
    pub remaining: Option<u64>,
}

#[derive(Clone, Debug, Default)]
pub struct WatchOptions {
    pub label_selector: Option<labels::Selector>,
    pub field_selector: Option<fields::Selector>,
    /// "" and "0" begin with what there is, N with what came after N.
    pub resource_version: String,
    pub version_match: Option<VersionMatch>,
    pub bookmarks: bool,
    /// Begin with what there is, closed by the bookmark annotated `k8s.io/initial-events-end`.
    pub send_initial_events: Option<bool>,
    /// The stream ends after this long.
    pub timeout: Option<Duration>,
}
