//! Claims, their templates and classes of devices.

use std::collections::{HashMap, HashSet};

use corten_meta::field::{Error, Path};
use corten_meta::{names, object};
use serde_json::Value;

use super::super::kinds::{PLAIN, Rules};
use super::super::pod::resources::is_extended;
use super::super::rules::{At, ErrorList, immutable, label_name, template_meta};
use super::super::{Strategy, StrategyContext};
use super::{
    ITEMS_MAX, TAINT_EFFECTS, configuration, fits, fully_qualified_name, name_of, selectors, status, text,
    unique,
};
use crate::resource::Subresource;

const FIRST_AVAILABLE_MAX: usize = 8;
const ADMIN_LABEL: &str = "resource.kubernetes.io/admin-access";

pub(in crate::strategy) const CLASS: Rules = Rules {
    body: class,
    metadata_whole: false,
    ..PLAIN
};

const CLAIM: Rules = Rules {
    create: |at, errors| {
        let spec = at.get("spec");
        devices(&spec.get("devices"), errors);
    },
    prepare_update: |ctx, claim, old| {
        if ctx.subresource == Subresource::STATUS {
            drop_deallocated(&mut claim["status"], &old["status"]);
        }
    },
    change: |at, old, errors| same_spec(at, old, errors),
    status: status::claim,
    ..PLAIN
};

const TEMPLATE: Rules = Rules {
    create: |at, errors| {
        let spec = at.get("spec");
        template_meta(&spec.get("metadata"), errors);
        let claim = spec.get("spec");
        devices(&claim.get("devices"), errors);
    },
    change: |at, old, errors| same_spec(at, old, errors),
    ..PLAIN
};

/// What a driver said of a device goes with the device (`dropDeallocatedStatusDevices`).
fn drop_deallocated(status: &mut Value, old: &Value) {
    let key = |device: &Value| ["driver", "pool", "device", "shareID"].map(|field| device[field].clone());
    let allocated = |status: &Value| -> Vec<[Value; 4]> {
        let results = status["allocation"]["devices"]["results"].as_array();
        results.into_iter().flatten().map(key).collect()
    };
    let (before, now) = (allocated(old), allocated(status));
    let Some(devices) = status.get_mut("devices").and_then(Value::as_array_mut) else {
        return;
    };
    devices.retain(|device| {
        let key = key(device);
        now.contains(&key) || !before.contains(&key)
    });
    if let (true, Some(status)) = (devices.is_empty(), status.as_object_mut()) {
        status.remove("devices");
    }
}

fn same_spec(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    let spec = at.get("spec");
    immutable(&spec.path(), spec.value, &old["spec"], errors);
}

/// A kind whose rules also look at the namespace: administrators' access is for namespaces that are labelled so.
pub(in crate::strategy) struct Claims {
    rules: Rules,
    requests: &'static str,
}

impl Claims {
    pub(in crate::strategy) fn of_claims() -> Self {
        Self {
            rules: CLAIM,
            requests: "/spec/devices/requests",
        }
    }

    pub(in crate::strategy) fn of_templates() -> Self {
        Self {
            rules: TEMPLATE,
            requests: "/spec/spec/devices/requests",
        }
    }

    fn admin_access(&self, ctx: &StrategyContext<'_>, object: &Value, errors: &mut ErrorList) {
        let requests = object.pointer(self.requests).and_then(Value::as_array);
        let index = requests
            .into_iter()
            .flatten()
            .position(|request| request["exactly"]["adminAccess"] == true);
        let Some(index) = index.filter(|_| !is_admin_namespace(ctx, object::namespace(object))) else {
            return;
        };
        let path = Path::new("spec").child("devices").child("requests").index(index);
        let detail = format!(
            "admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
        );
        errors.push(Error::forbidden(&path.child("adminAccess"), detail));
    }
}

fn is_admin_namespace(ctx: &StrategyContext<'_>, name: &str) -> bool {
    let namespaces = ctx.registry.resource("", "namespaces");
    let namespace = namespaces.and_then(|namespaces| namespaces.cache().get(name));
    namespace.is_some_and(|namespace| namespace.label(ADMIN_LABEL) == Some("true"))
}

impl Strategy for Claims {
    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, object: &mut Value) {
        self.rules.prepare_for_create(ctx, object);
    }

    fn validate(&self, ctx: &StrategyContext<'_>, object: &Value) -> ErrorList {
        let mut errors = self.rules.validate(ctx, object);
        self.admin_access(ctx, object, &mut errors);
        errors
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Value, old: &Value) {
        self.rules.prepare_for_update(ctx, object, old);
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> ErrorList {
        self.rules.validate_update(ctx, object, old)
    }
}

fn class(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    selectors(&spec.get("selectors"), errors);
    let configs = spec.get("config");
    if fits(&configs, ITEMS_MAX, errors) {
        configs.items().for_each(|config| configuration(&config, errors));
    }
    let extended = spec.get("extendedResourceName");
    if extended.is_set() && !is_extended(extended.str()) {
        extended.invalid(errors, "must be a valid extended resource name");
    }
}

/// Names of requests, with those of the alternatives of each.
pub(super) struct Requests<'v>(HashMap<&'v str, HashSet<&'v str>>);

impl<'v> Requests<'v> {
    pub(super) fn of(devices: &'v Value) -> Self {
        let list = |value: &'v Value| value.as_array().into_iter().flatten();
        let requests = list(&devices["requests"]);
        let alternatives = |request: &'v Value| list(&request["firstAvailable"]).map(name_of).collect();
        Self(
            requests
                .map(|request| (name_of(request), alternatives(request)))
                .collect(),
        )
    }

    fn has(&self, name: &str) -> bool {
        match name.split_once('/') {
            None => self.0.contains_key(name),
            Some((request, alternative)) => self.0.get(request).is_some_and(|all| all.contains(alternative)),
        }
    }

    /// `request` or `request/alternative`.
    pub(super) fn reference(&self, at: &At<'_, '_>, errors: &mut ErrorList) {
        const DETAIL: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
        if at.str().matches('/').count() > 1 {
            return at.invalid(errors, DETAIL);
        }
        for part in at.str().split('/') {
            for message in names::is_dns1123_label(part) {
                at.invalid_as(errors, part, &message);
            }
        }
        if !self.has(at.str()) {
            at.invalid(errors, DETAIL);
        }
    }

    pub(super) fn references(&self, list: &At<'_, '_>, errors: &mut ErrorList) {
        if fits(list, ITEMS_MAX, errors) {
            list.items().for_each(|name| self.reference(&name, errors));
            unique(list, text, errors);
        }
    }
}

fn devices(at: &At<'_, '_>, errors: &mut ErrorList) {
    let requests = at.get("requests");
    let known = Requests::of(at.value);
    if fits(&requests, ITEMS_MAX, errors) {
        requests
            .items()
            .for_each(|request| self::request(&request, errors));
        unique(&requests, name_of, errors);
    }
    let constraints = at.get("constraints");
    if fits(&constraints, ITEMS_MAX, errors) {
        for constraint in constraints.items() {
            self::constraint(&constraint, &known, errors);
        }
    }
    let configs = at.get("config");
    if fits(&configs, ITEMS_MAX, errors) {
        for config in configs.items() {
            known.references(&config.get("requests"), errors);
            configuration(&config, errors);
        }
    }
}

fn constraint(at: &At<'_, '_>, known: &Requests<'_>, errors: &mut ErrorList) {
    known.references(&at.get("requests"), errors);
    let (same, distinct) = (at.get("matchAttribute"), at.get("distinctAttribute"));
    if same.is_set() {
        fully_qualified_name(&same, errors);
    } else if distinct.is_set() {
        fully_qualified_name(&distinct, errors);
    } else {
        let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set";
        at.required(errors, detail);
    }
}

fn request(at: &At<'_, '_>, errors: &mut ErrorList) {
    request_name(&at.get("name"), errors);
    let (exactly, first) = (at.get("exactly"), at.get("firstAvailable"));
    match (exactly.is_set(), first.is_empty()) {
        (false, true) => at.required(errors, "exactly one of `exactly` or `firstAvailable` is required"),
        (true, false) => at.invalid_as(
            errors,
            Value::Null,
            "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
        ),
        (true, true) => wanted(&exactly, errors),
        (false, false) => {
            if fits(&first, FIRST_AVAILABLE_MAX, errors) {
                for alternative in first.items() {
                    request_name(&alternative.get("name"), errors);
                    wanted(&alternative, errors);
                }
                unique(&first, name_of, errors);
            }
        }
    }
}

fn request_name(name: &At<'_, '_>, errors: &mut ErrorList) {
    for message in names::is_dns1123_label(name.str()) {
        name.invalid_as(errors, name.str(), &message);
    }
}

/// Which devices, and how many.
fn wanted(at: &At<'_, '_>, errors: &mut ErrorList) {
    let class = at.get("deviceClassName");
    match class.is_empty() {
        true => class.required(errors, ""),
        false => class.invalid_each(errors, names::is_dns1123_subdomain(class.str())),
    }
    selectors(&at.get("selectors"), errors);
    let (mode, count) = (at.get("allocationMode"), at.get("count"));
    let number = count.int().unwrap_or(0);
    match mode.str() {
        "All" if number != 0 => {
            count.invalid(errors, "must not be specified when allocationMode is 'All'");
        }
        "All" => {}
        "ExactCount" => count.positive(errors),
        _ => mode.not_supported(errors, &["All", "ExactCount"]),
    }
    for toleration in at.get("tolerations").items() {
        self::toleration(&toleration, errors);
    }
}

fn toleration(at: &At<'_, '_>, errors: &mut ErrorList) {
    let [key, operator, value, effect] = ["key", "operator", "value", "effect"].map(|field| at.get(field));
    if !key.is_empty() {
        label_name(&key, errors);
    }
    match operator.str() {
        "Exists" if !value.is_empty() => value.invalid(errors, "must be empty for operator `Exists`"),
        "Exists" => {}
        "Equal" => value.invalid_each(errors, names::is_label_value(value.str())),
        "" => operator.required(errors, ""),
        _ => operator.not_supported(errors, &["Equal", "Exists"]),
    }
    if !effect.is_empty() && !TAINT_EFFECTS.contains(&effect.str()) {
        effect.not_supported(errors, TAINT_EFFECTS);
    }
}
