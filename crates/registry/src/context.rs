//! Who writes, on whose behalf, and when.

use std::collections::BTreeMap;
use std::time::SystemTime;

use parking_lot::Mutex;

/// The requester as admission and strategies see it (`authentication.k8s.io` UserInfo).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
    pub extra: BTreeMap<String, Vec<String>>,
}

/// Everything about a write that is not the object.
#[derive(Debug)]
pub struct WriteContext {
    pub user: User,
    /// The request's `fieldManager`; empty when not given.
    pub field_manager: String,
    /// Do everything but write.
    pub dry_run: bool,
    /// The moment of the request: creation and deletion timestamps come from here.
    pub now: SystemTime,
    warnings: Mutex<Vec<String>>,
}

/// Warnings kept for one request; further ones are dropped (upstream truncates by size).
const WARNINGS_MAX: usize = 64;

impl WriteContext {
    pub fn new(user: User, now: SystemTime) -> Self {
        Self {
            user,
            field_manager: String::new(),
            dry_run: false,
            now,
            warnings: Mutex::default(),
        }
    }

    pub fn with_dry_run(mut self, dry_run: bool) -> Self {
        self.dry_run = dry_run;
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

    /// The warnings gathered so far.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.warnings.lock())
    }
}
