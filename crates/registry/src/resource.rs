//! What the registry knows of a resource, and the handle callers pass.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use corten_meta::{GroupKind, GroupResource, GroupVersionKind, Status, names, quote};
use corten_schema::resources::{self, Selection};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::cache::{Cache, Change};
use crate::converted::Converted;
use crate::metrics::Metrics;
use crate::strategy::{self, Strategy};
use crate::versions::Versions;

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
#[derive(Clone)]
pub struct ResourceInfo {
    pub group: Part,
    /// The group of the path it was asked for by, where that is another: events are those of `events.k8s.io` as well.
    pub asked_group: Option<Part>,
    /// The version objects are stored in.
    pub version: Part,
    pub kind: Part,
    /// Lower-case plural, as in the URL.
    pub plural: Part,
    pub namespaced: bool,
    /// The status is a subresource, which the main resource does not change.
    pub has_status: bool,
    /// What a status without anything in it looks like: Go writes some members even when empty.
    pub empty_status: Value,
    /// `metadata.generation` counts changes of what the user wants.
    pub has_generation: bool,
    /// Store key prefix with a slash at its end, as upstream: `/registry/pods/`.
    pub prefix: String,
    /// Objects leave by themselves after this long (events).
    pub ttl: Option<Duration>,
    /// Of a CustomResourceDefinition: its versions may be stored side by side. None for built-in resources.
    pub versions: Option<Arc<dyn Versions>>,
    pub strategy: Arc<dyn Strategy>,
}

impl ResourceInfo {
    /// Every built-in resource that is always served and stored, in the version it is stored in.
    pub fn builtin() -> Vec<Self> {
        Self::selected(&Selection::default())
    }

    /// Every built-in resource of a selection that is stored, in the version it is stored in.
    pub fn selected(selection: &Selection) -> Vec<Self> {
        let stored = |row: &&'static resources::Resource| {
            row.has_verb("create")
                && !row.storage_version_hash.is_empty()
                && (row.group, row.version) == (row.storage.group, row.storage.version)
        };
        selection
            .resources()
            .filter(stored)
            .map(Self::from_schema)
            .collect()
    }

    fn from_schema(row: &'static resources::Resource) -> Self {
        let is_event = row.plural == "events";
        Self {
            group: row.group.into(),
            asked_group: None,
            version: row.version.into(),
            kind: row.kind.into(),
            plural: row.plural.into(),
            namespaced: row.namespaced,
            has_status: row.subresource("status").is_some(),
            empty_status: empty_status(row),
            has_generation: GENERATIONS.contains(&row.plural),
            prefix: builtin_prefix(row.group, row.plural),
            ttl: is_event.then_some(EVENT_TTL),
            versions: None,
            strategy: strategy::for_resource(row.group, row.plural),
        }
    }

    /// As errors name it: by the group it was asked for in.
    pub fn group_resource(&self) -> GroupResource {
        GroupResource {
            group: self.asked_group.as_ref().unwrap_or(&self.group).clone(),
            resource: self.plural.clone(),
        }
    }

    /// Why there is no object of this name.
    pub(crate) fn missing(&self, name: &str) -> Status {
        let refused = names::is_path_segment(name, false);
        if refused.is_empty() {
            return Status::not_found(&self.group_resource(), name);
        }
        let (name, why) = (quote(name), refused.join(";"));
        Status::bad_request(format!("Name parameter invalid: {name}: {why}"))
    }

    pub fn group_kind(&self) -> GroupKind {
        GroupKind {
            group: self.group.clone(),
            kind: self.kind.clone(),
        }
    }

    /// The kind as it is stored.
    pub fn gvk(&self) -> GroupVersionKind {
        GroupVersionKind::new(self.group.clone(), self.version.clone(), self.kind.clone())
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        corten_meta::api_version(&self.group, &self.version)
    }

    /// The cache's key of an object: the store's without the prefix.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> Arc<str> {
        if self.namespaced {
            format!("{namespace}/{name}").into()
        } else {
            name.into()
        }
    }

    pub(crate) fn store_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

/// kube-apiserver's `--event-ttl`.
const EVENT_TTL: Duration = Duration::from_secs(3600);

/// Built-in resources whose strategies count generations.
const GENERATIONS: [&str; 27] = [
    "cronjobs",
    "customresourcedefinitions",
    "daemonsets",
    "deployments",
    "deviceclasses",
    "devicetaintrules",
    "endpointslices",
    "flowschemas",
    "ingressclasses",
    "ingresses",
    "jobs",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "mutatingwebhookconfigurations",
    "networkpolicies",
    "poddisruptionbudgets",
    "pods",
    "podtemplates",
    "priorityclasses",
    "prioritylevelconfigurations",
    "replicasets",
    "replicationcontrollers",
    "resourceslices",
    "statefulsets",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "validatingwebhookconfigurations",
];

/// Keys as upstream, the odd ones included (`kubeapiserver.SpecialDefaultResourcePrefixes`).
fn empty_status(row: &resources::Resource) -> Value {
    let mut object = json!({"status": {}});
    if let Some(id) = corten_schema::type_of(&row.gvk()) {
        // An empty status has no wrong types.
        let _ = corten_schema::normalize(id, &mut object, corten_schema::Mode::Ignore);
    }
    match object["status"].take() {
        Value::Null => json!({}),
        status => status,
    }
}

fn builtin_prefix(group: &str, plural: &str) -> String {
    match (group, plural) {
        ("", "replicationcontrollers") => "/registry/controllers/".to_owned(),
        ("", "endpoints") => "/registry/services/endpoints/".to_owned(),
        ("", "nodes") => "/registry/minions/".to_owned(),
        ("", "services") => "/registry/services/specs/".to_owned(),
        ("networking.k8s.io", "ingresses") => "/registry/ingress/".to_owned(),
        ("apiextensions.k8s.io" | "apiregistration.k8s.io", plural) => format!("/registry/{group}/{plural}/"),
        (_, plural) => format!("/registry/{plural}/"),
    }
}

pub(crate) struct Served {
    info: ResourceInfo,
    /// Objects are written in this version.
    stored: bool,
    pub cache: Arc<Cache>,
    /// Caches of the rows that this one replaced, while a request still reads them: it must not miss a write that was
    /// acknowledged before it asked.
    former: Mutex<Vec<Weak<Cache>>>,
    /// Made when a webhook is first asked.
    converted: OnceLock<Arc<Converted>>,
}

/// Handle on a resource the registry serves; clone freely.
#[derive(Clone)]
pub struct Resource(Arc<Served>);

/// Clones of one handle are equal.
impl PartialEq for Resource {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Resource {
    pub(crate) fn new(info: ResourceInfo, cache: Cache) -> Self {
        Self::with(info, Arc::new(cache), true)
    }

    fn with(info: ResourceInfo, cache: Arc<Cache>, stored: bool) -> Self {
        Self(Arc::new(Served {
            info,
            stored,
            cache,
            former: Mutex::default(),
            converted: OnceLock::new(),
        }))
    }

    /// Its version is the one objects are written in, and not a [`Resource::view`].
    pub(crate) fn is_stored_version(&self) -> bool {
        self.0.stored
    }

    /// Keeps `old`, which this one replaces, up to date for those who still hold it.
    pub(crate) fn succeed(&self, old: &Self) {
        let mut former = std::mem::take(&mut *old.0.former.lock());
        former.push(Arc::downgrade(&old.0.cache));
        self.0.former.lock().append(&mut former);
    }

    /// Takes changes into the cache, and into those it has replaced.
    pub(crate) fn feed(&self, changes: Vec<Change>, metrics: &Metrics) {
        self.0.former.lock().retain(|former| {
            let former = former.upgrade();
            former.is_some_and(|cache| {
                cache.apply(changes.clone(), metrics);
                true
            })
        });
        self.cache().apply(changes, metrics);
    }

    /// The same objects in another version: reads convert to it, writes validate in it and store in the version that
    /// is stored. `info` differs in version, strategy and [`Versions`] only.
    pub fn view(&self, info: ResourceInfo) -> Self {
        Self::with(info, Arc::clone(&self.0.cache), false)
    }

    /// The same, asked for in another group.
    pub fn asked_in(&self, group: &'static str) -> Self {
        let info = ResourceInfo {
            asked_group: Some(group.into()),
            ..self.0.info.clone()
        };
        Self::with(info, Arc::clone(&self.0.cache), self.0.stored)
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    /// What a webhook made of the cache's objects for this handle.
    pub(crate) fn converted(&self) -> &Arc<Converted> {
        self.0.converted.get_or_init(Arc::default)
    }

    /// How many objects there are, and about how many bytes one has (the mean of a few).
    pub fn size(&self) -> (usize, usize) {
        const SAMPLE: usize = 8;
        let snapshot = self.0.cache.snapshot();
        let sample = snapshot.objects.iter().take(SAMPLE);
        let (n, bytes) = sample.fold((0, 0), |(n, bytes), o| (n + 1, bytes + o.json().len()));
        (snapshot.objects.len(), bytes / n.max(1))
    }
}

impl Deref for Resource {
    type Target = ResourceInfo;

    fn deref(&self) -> &ResourceInfo {
        &self.0.info
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.group_resource())
    }
}

/// Length of a DNS label, which generated names must not exceed.
const NAME_LENGTH_MAX: usize = 63;
/// Random characters added to `generateName`.
const RANDOM_LENGTH: usize = 5;

/// Upstream's `names.SimpleNameGenerator`.
pub fn generate_name(base: &str) -> String {
    let mut end = base.len().min(NAME_LENGTH_MAX - RANDOM_LENGTH);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    format!(
        "{}{}",
        &base[..end],
        corten_stdx::ids::random_suffix(RANDOM_LENGTH)
    )
}
