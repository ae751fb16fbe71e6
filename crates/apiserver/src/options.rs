//! Options of writes, read from queries and bodies, validated in upstream's words (apimachinery `meta/v1/validation`).

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{GroupKind, Status, is_printed};
use corten_registry::{DeleteOptions, Preconditions, Propagation};
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
    /// `?force=true`, for apply only.
    pub force: bool,
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

pub(crate) fn invalid(kind: &'static str, errors: ErrorList) -> Result<(), Status> {
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
            force: force.unwrap_or(false),
        })
    }
}

const MANAGER_MAX: usize = 128;

fn check_manager(manager: &str, errors: &mut ErrorList) {
    let path = Path::new("fieldManager");
    if manager.len() > MANAGER_MAX {
        errors.push(Error::too_long(&path, MANAGER_MAX as i64));
    }
    for (at, c) in manager.char_indices().filter(|(_, c)| !is_printed(*c)) {
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
#[derive(Clone, Debug, Default)]
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
        let given = |key| query.get(key).filter(|v| !v.is_empty()).map(str::to_owned);
        let options = DeleteOptions {
            grace_period_seconds: query.int("gracePeriodSeconds").map_err(Status::bad_request)?,
            propagation: query.get("propagationPolicy").map(Propagation::from),
            orphan_dependents: query.flag("orphanDependents"),
            preconditions: Preconditions {
                uid: given("uid"),
                resource_version: given("resourceVersion"),
            },
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
