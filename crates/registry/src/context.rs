//! Who writes, on whose behalf, and when.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;

/// The requester as admission and strategies see it (`authentication.k8s.io` UserInfo).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// How a request was put, as dynamic admission repeats it to webhooks and policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestForm {
    /// Group of the request's path: another one than the stored resource's for `events.k8s.io`.
    pub group: String,
    /// Version of the request's path; empty for the stored one (writes of the server itself).
    pub version: String,
    /// `fieldManager` as it was sent.
    pub field_manager: String,
    /// `fieldValidation` as it was sent.
    pub field_validation: String,
}

/// Everything about a write that is not the object.
#[derive(Debug)]
pub struct WriteContext {
    pub user: User,
    /// The request's `fieldManager`; empty when not given.
    pub field_manager: String,
    /// Do everything but write.
    pub dry_run: bool,
    /// See [`RequestForm`].
    pub form: RequestForm,
    /// A part of another request, which dynamic admission has seen: an eviction's delete, a binding's update.
    pub nested: bool,
    /// The server writes on its own account: who owns the fields is recorded here, as nobody has done it before.
    pub own: bool,
    /// The moment of the request: creation and deletion timestamps come from here.
    pub now: SystemTime,
    labels_of_template: AtomicBool,
    outside_nanos: AtomicU64,
    warnings: Mutex<Vec<String>>,
    annotations: Mutex<BTreeMap<String, String>>,
}

/// The field manager of what the server writes on its own account.
pub const SERVER: &str = "kube-apiserver";

/// Warnings kept for one request; further ones are dropped. Upstream sends 4,096 characters of them.
const WARNINGS_MAX: usize = 4096;
/// Audit annotations kept for one request; further ones are dropped.
const ANNOTATIONS_MAX: usize = 128;

impl WriteContext {
    pub fn new(user: User, now: SystemTime) -> Self {
        Self {
            user,
            field_manager: String::new(),
            dry_run: false,
            form: RequestForm::default(),
            nested: false,
            own: false,
            now,
            labels_of_template: AtomicBool::new(false),
            outside_nanos: AtomicU64::new(0),
            warnings: Mutex::default(),
            annotations: Mutex::default(),
        }
    }

    /// For what the server writes on its own account.
    pub fn of_server(now: SystemTime) -> Self {
        let user = User {
            name: "system:apiserver".to_owned(),
            groups: vec!["system:masters".to_owned()],
            ..User::default()
        };
        Self {
            own: true,
            ..Self::new(user, now).with_field_manager(SERVER)
        }
    }

    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
        self
    }

    pub fn with_form(mut self, form: RequestForm) -> Self {
        self.form = form;
        self
    }

    /// See [`WriteContext::nested`].
    pub fn as_nested(mut self) -> Self {
        self.nested = true;
        self
    }

    pub fn with_field_manager(mut self, manager: impl Into<String>) -> Self {
        self.field_manager = manager.into();
        self
    }

    /// The moment of the request as metadata shows it: RFC 3339, whole seconds.
    pub fn now_text(&self) -> String {
        crate::write::time_text(self.now)
    }

    /// Adds a text for the response's `Warning` header; the same text is given once.
    pub fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut warnings = self.warnings.lock();
        if warnings.len() < WARNINGS_MAX && !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Defaulting gave the object its template's labels. In upstream they are one map from then on: what is added to the
    /// template's labels is added to the object's (Jobs).
    pub fn share_labels(&self) {
        self.labels_of_template.store(true, Ordering::Relaxed);
    }

    /// See [`WriteContext::share_labels`].
    pub fn shares_labels(&self) -> bool {
        self.labels_of_template.load(Ordering::Relaxed)
    }

    /// The write has waited so long for others (webhooks), which is not the server's time.
    pub fn waited_outside(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.outside_nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// See [`WriteContext::waited_outside`].
    pub fn outside(&self) -> Duration {
        Duration::from_nanos(self.outside_nanos.load(Ordering::Relaxed))
    }

    /// Adds an annotation to the request's audit event; the first value of a key stays.
    pub fn annotate(&self, key: impl Into<String>, value: impl Into<String>) {
        let mut annotations = self.annotations.lock();
        if annotations.len() < ANNOTATIONS_MAX {
            annotations.entry(key.into()).or_insert_with(|| value.into());
        }
    }

    /// What admission wants in the request's audit event.
    pub fn take_annotations(&self) -> BTreeMap<String, String> {
        std::mem::take(&mut self.annotations.lock())
    }

    /// The warnings gathered so far.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }
}
