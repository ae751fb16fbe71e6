//! Request options read from queries and bodies, validated in upstream's words
//! (apimachinery `meta/v1/validation` and `meta/internalversion/validation`).

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{GroupKind, Status, fields, labels};
use corten_registry::{DeleteOptions, ListOptions, Preconditions, Propagation, VersionMatch, WatchOptions};
use serde_json::{Value, json};

use crate::query::Query;

/// `fieldValidation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validation {
    /// Unknown and duplicate fields are dropped.
    Ignore,
    /// Dropped, with warnings. The default.
    Warn,
    /// Refused.
    Strict,
}

/// Options of create, update and patch.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// `?dryRun=All`
    pub dry_run: bool,
    /// `?fieldManager=`
    pub field_manager: String,
    /// `?fieldValidation=`
    pub validation: Validation,
    /// `?force=`, for apply only.
    pub force: Option<bool>,
}

/// Which kind of request options are validated for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum For {
    /// `CreateOptions`
    Create,
    /// `UpdateOptions`
    Update,
    /// `PatchOptions` of JSON, merge and strategic patches.
    Patch,
    /// `PatchOptions` of server-side apply.
    Apply,
}

fn invalid(kind: &'static str, errors: ErrorList) -> Result<(), Status> {
    if errors.is_empty() {
        return Ok(());
    }
    Err(Status::invalid(&GroupKind::new("meta.k8s.io", kind), "", errors))
}

impl WriteOptions {
    /// Reads and validates.
    ///
    /// # Errors
    /// 422 as upstream.
    pub fn read(query: &Query, purpose: For) -> Result<Self, Status> {
        let mut errors = ErrorList::new();
        let (manager, force) = (query.text("fieldManager"), query.flag("force"));
        match purpose {
            For::Apply if manager.is_empty() => {
                errors.push(Error::required(
                    &Path::new("fieldManager"),
                    "is required for apply patch",
                ));
            }
            For::Patch if force.is_some() => {
                errors.push(Error::forbidden(
                    &Path::new("force"),
                    "may not be specified for non-apply patch",
                ));
            }
            _ => {}
        }
        check_manager(manager, &mut errors);
        let dry_run = check_dry_run(query.all("dryRun").collect(), &mut errors);
        let directive = query.text("fieldValidation");
        let validation = match directive {
            "" | "Warn" => Validation::Warn,
            "Ignore" => Validation::Ignore,
            "Strict" => Validation::Strict,
            _ => {
                let known = ["", "Ignore", "Strict", "Warn"];
                errors.push(Error::not_supported(
                    &Path::new("fieldValidation"),
                    directive,
                    &known,
                ));
                Validation::Warn
            }
        };
        let kind = match purpose {
            For::Create => "CreateOptions",
            For::Update => "UpdateOptions",
            For::Patch | For::Apply => "PatchOptions",
        };
        invalid(kind, errors)?;
        Ok(Self {
            dry_run,
            field_manager: manager.to_owned(),
            validation,
            force,
        })
    }
}

const MANAGER_MAX: usize = 128;

fn check_manager(manager: &str, errors: &mut ErrorList) {
    let path = Path::new("fieldManager");
    if manager.len() > MANAGER_MAX {
        errors.push(Error::too_long(&path, MANAGER_MAX as i64));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| c.is_control()) {
        let text = format!("invalid character U+{:04X} (at position {at})", c as u32);
        errors.push(Error::invalid(&path, manager, text));
    }
}

fn check_dry_run(values: Vec<&str>, errors: &mut ErrorList) -> bool {
    if values.iter().any(|v| *v != "All") {
        errors.push(Error::not_supported(
            &Path::new("dryRun"),
            json!(values),
            &["All"],
        ));
    }
    !values.is_empty()
}

/// Options of delete and deletecollection, with the dry-run flag.
#[derive(Debug, Default)]
pub struct Deletion {
    /// For the registry.
    pub options: DeleteOptions,
    /// `dryRun: [All]`
    pub dry_run: bool,
}

impl Deletion {
    /// Reads a decoded `DeleteOptions`.
    ///
    /// # Errors
    /// 400 for wrong types, 422 for bad values.
    pub fn from_body(body: &Value) -> Result<Self, Status> {
        let text = |v: &Value| v.as_str().map(str::to_owned);
        let wrong = |f: &str| {
            Status::bad_request(format!(
                "json: cannot unmarshal into Go struct field DeleteOptions.{f}"
            ))
        };
        let grace = match &body["gracePeriodSeconds"] {
            Value::Null => None,
            v => Some(v.as_i64().ok_or_else(|| wrong("gracePeriodSeconds"))?),
        };
        let dry: Vec<&str> = body["dryRun"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let preconditions = Preconditions {
            uid: text(&body["preconditions"]["uid"]),
            resource_version: text(&body["preconditions"]["resourceVersion"]),
        };
        let options = DeleteOptions {
            grace_period_seconds: grace,
            propagation: body["propagationPolicy"].as_str().map(Propagation::from),
            orphan_dependents: body["orphanDependents"].as_bool(),
            preconditions,
        };
        Self::validated(options, dry)
    }

    /// Reads the query of a delete without body.
    ///
    /// # Errors
    /// As [`Deletion::from_body`].
    pub fn from_query(query: &Query) -> Result<Self, Status> {
        let options = DeleteOptions {
            grace_period_seconds: query.int("gracePeriodSeconds").map_err(Status::bad_request)?,
            propagation: query.get("propagationPolicy").map(Propagation::from),
            orphan_dependents: query.flag("orphanDependents"),
            preconditions: Preconditions::default(),
        };
        Self::validated(options, query.all("dryRun").collect())
    }

    fn validated(options: DeleteOptions, dry: Vec<&str>) -> Result<Self, Status> {
        let mut errors = ErrorList::new();
        let path = Path::new("propagationPolicy");
        if let Some(policy) = &options.propagation {
            if options.orphan_dependents.is_some() {
                let text = "orphanDependents and deletionPropagation cannot be both set";
                errors.push(Error::invalid(&path, word(policy), text));
            }
            if let Propagation::Invalid(p) = policy {
                errors.push(Error::not_supported(
                    &path,
                    p.as_str(),
                    &["Foreground", "Background", "Orphan", "nil"],
                ));
            }
        }
        let dry_run = check_dry_run(dry, &mut errors);
        invalid("DeleteOptions", errors)?;
        Ok(Self { options, dry_run })
    }
}

fn word(p: &Propagation) -> &str {
    match p {
        Propagation::Orphan => "Orphan",
        Propagation::Background => "Background",
        Propagation::Foreground => "Foreground",
        Propagation::Invalid(p) => p,
    }
}

/// The query of a list or watch.
pub struct Listing {
    label_selector: Option<labels::Selector>,
    field_selector: Option<fields::Selector>,
    limit: u64,
    continue_token: String,
    resource_version: String,
    version_match: Option<VersionMatch>,
    bookmarks: bool,
    send_initial_events: Option<bool>,
    /// `timeoutSeconds`
    pub timeout_seconds: Option<u64>,
}

impl Listing {
    /// Reads and validates. `name` is the object's where the path or a field selector pins one.
    ///
    /// # Errors
    /// 400 for what does not parse, 422 for what does not go together.
    pub fn read(query: &Query, name: &str, watch: bool) -> Result<Self, Status> {
        let selector = query.text("labelSelector");
        let label_selector = match selector {
            "" => None,
            s => Some(labels::Selector::parse(s).map_err(Status::bad_request)?),
        };
        let mut field_selector = match query.text("fieldSelector") {
            "" => None,
            s => Some(fields::Selector::parse(s).map_err(Status::bad_request)?),
        };
        if !name.is_empty() {
            match &field_selector {
                Some(s) if s.exact("metadata.name") != Some(name) => {
                    return Err(Status::bad_request(
                        "fieldSelector metadata.name doesn't match requested name",
                    ));
                }
                Some(_) => {}
                None => field_selector = Some(fields::Selector::equal("metadata.name", name)),
            }
        }
        let int = |key| query.int(key).map_err(Status::bad_request);
        let listing = Self {
            label_selector,
            field_selector,
            limit: int("limit")?.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            continue_token: query.text("continue").to_owned(),
            resource_version: query.text("resourceVersion").to_owned(),
            version_match: match query.text("resourceVersionMatch") {
                "Exact" => Some(VersionMatch::Exact),
                "NotOlderThan" => Some(VersionMatch::NotOlderThan),
                _ => None,
            },
            bookmarks: query.flag("allowWatchBookmarks").unwrap_or(false),
            send_initial_events: query.flag("sendInitialEvents"),
            timeout_seconds: int("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()),
        };
        let matching = query.text("resourceVersionMatch");
        let errors = if watch {
            listing.watch_errors(matching)
        } else {
            listing.list_errors(matching)
        };
        invalid("ListOptions", errors)?;
        Ok(listing)
    }

    fn list_errors(&self, matching: &str) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = Path::new("resourceVersionMatch");
        if !matching.is_empty() {
            let mut no = |text: &str| errors.push(Error::forbidden(&path, text));
            if self.resource_version.is_empty() {
                no("resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !self.continue_token.is_empty() {
                no("resourceVersionMatch is forbidden when continue is provided");
            }
            if matching == "Exact" && self.resource_version == "0" {
                no("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
            if self.version_match.is_none() {
                errors.push(Error::not_supported(
                    &path,
                    matching,
                    &["Exact", "NotOlderThan", ""],
                ));
            }
        }
        if self.send_initial_events.is_some() {
            let text = "sendInitialEvents is forbidden for list";
            errors.push(Error::forbidden(&Path::new("sendInitialEvents"), text));
        }
        errors
    }

    fn watch_errors(&self, matching: &str) -> ErrorList {
        let mut errors = ErrorList::new();
        let path = Path::new("resourceVersionMatch");
        let mut no = |text: &str| errors.push(Error::forbidden(&path, text));
        let not_older = self.version_match == Some(VersionMatch::NotOlderThan);
        if self.send_initial_events.is_some() && !not_older {
            no("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if matching.is_empty() {
            return errors;
        }
        if self.send_initial_events.is_none() {
            no("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided");
        }
        if !self.continue_token.is_empty() {
            no("resourceVersionMatch is forbidden when continue is provided");
        }
        if !not_older {
            errors.push(Error::not_supported(&path, matching, &["NotOlderThan"]));
        }
        errors
    }

    /// For the registry's lists.
    pub fn into_list(self) -> ListOptions {
        ListOptions {
            label_selector: self.label_selector,
            field_selector: self.field_selector,
            limit: self.limit,
            continue_token: self.continue_token,
            resource_version: self.resource_version,
            version_match: self.version_match,
        }
    }

    /// For the registry's watches.
    pub fn into_watch(self, timeout: std::time::Duration) -> WatchOptions {
        WatchOptions {
            label_selector: self.label_selector,
            field_selector: self.field_selector,
            resource_version: self.resource_version,
            version_match: self.version_match,
            bookmarks: self.bookmarks,
            send_initial_events: self.send_initial_events,
            timeout: Some(timeout),
        }
    }
}
