//! The environments of upstream's users of CEL: what expressions of admission policies, match conditions and device
//! selectors can see. CRD rules declare `self` and `oldSelf` by their own schema.

use crate::env::{Env, EnvBuilder};
use crate::estimate::SizeEstimate;
use crate::provider::{SizeHints, TypeProvider};
use crate::types::Type;
use std::sync::Arc;

/// Which variables an admission expression has beside `object`, `oldObject`, `namespaceObject` and `request`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdmissionVariables {
    /// `params`: the policy has a parameter kind.
    pub params: bool,
    /// `authorizer` and `authorizer.requestResource`.
    pub authorizer: bool,
    /// `Object{..}`, `JSONPatch{..}` and `jsonpatch.escapeKey`: mutations.
    pub patches: bool,
}

/// The environment of admission policies and of webhooks' match conditions. Add [`EnvBuilder::variables`] where the
/// policy has some.
pub fn admission(variables: AdmissionVariables) -> EnvBuilder {
    let mut env = Env::builder()
        .provider(Arc::new(AdmissionTypes))
        .var("object", Type::Dyn)
        .var("oldObject", Type::Dyn)
        .var("namespaceObject", Type::object("kubernetes.Namespace"))
        .var("request", Type::object("kubernetes.AdmissionRequest"));
    if variables.params {
        env = env.var("params", Type::Dyn);
    }
    if variables.authorizer {
        env = env
            .var("authorizer", Type::object("kubernetes.authorization.Authorizer"))
            .var(
                "authorizer.requestResource",
                Type::object("kubernetes.authorization.ResourceCheck"),
            );
    }
    if variables.patches {
        env = env.mutation();
    }
    env
}

/// The environment of DRA device selectors: the variable `device`, and `cel.bind`.
pub fn device_selector() -> Env {
    Env::builder()
        .bindings()
        .provider(Arc::new(DeviceTypes))
        .var("device", Type::object(DEVICE))
        .build()
}

/// A row: object type, its fields of type string, and its other fields.
type Row = (&'static str, &'static [&'static str], fn(&str) -> Option<Type>);

const NONE: fn(&str) -> Option<Type> = |_| None;

/// `request` and `namespaceObject`. Upstream leaves out parts of a namespace, and so does this.
const ADMISSION_TYPES: [Row; 9] = [
    ("kubernetes.GroupVersionKind", &["group", "version", "kind"], NONE),
    (
        "kubernetes.GroupVersionResource",
        &["group", "version", "resource"],
        NONE,
    ),
    ("kubernetes.UserInfo", &["username", "uid"], |field| match field {
        "groups" => Some(strings()),
        "extra" => Some(Type::map(Type::String, strings())),
        _ => None,
    }),
    (
        "kubernetes.AdmissionRequest",
        &[
            "subResource",
            "requestSubResource",
            "name",
            "namespace",
            "operation",
        ],
        |field| match field {
            "kind" | "requestKind" => Some(Type::object("kubernetes.GroupVersionKind")),
            "resource" | "requestResource" => Some(Type::object("kubernetes.GroupVersionResource")),
            "userInfo" => Some(Type::object("kubernetes.UserInfo")),
            "dryRun" => Some(Type::Bool),
            "options" => Some(Type::Dyn),
            _ => None,
        },
    ),
    ("kubernetes.NamespaceSpec", &[], |field| {
        (field == "finalizers").then(strings)
    }),
    (
        "kubernetes.NamespaceCondition",
        &["status", "type", "message", "reason"],
        |field| (field == "lastTransitionTime").then_some(Type::Timestamp),
    ),
    ("kubernetes.NamespaceStatus", &["phase"], |field| {
        (field == "conditions").then(|| Type::list(Type::object("kubernetes.NamespaceCondition")))
    }),
    (
        "kubernetes.NamespaceMetadata",
        &["name", "generateName", "namespace", "UID", "resourceVersion"],
        |field| match field {
            "labels" | "annotations" => Some(Type::map(Type::String, Type::String)),
            "creationTimestamp" | "deletionTimestamp" => Some(Type::Timestamp),
            "deletionGracePeriodSeconds" | "generation" => Some(Type::Int),
            "finalizers" => Some(strings()),
            _ => None,
        },
    ),
    ("kubernetes.Namespace", &[], |field| match field {
        "metadata" => Some(Type::object("kubernetes.NamespaceMetadata")),
        "spec" => Some(Type::object("kubernetes.NamespaceSpec")),
        "status" => Some(Type::object("kubernetes.NamespaceStatus")),
        _ => None,
    }),
];

fn strings() -> Type {
    Type::list(Type::String)
}

struct AdmissionTypes;

impl TypeProvider for AdmissionTypes {
    fn has_type(&self, name: &str) -> bool {
        ADMISSION_TYPES.iter().any(|row| row.0 == name)
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        let (_, texts, others) = ADMISSION_TYPES.iter().find(|row| row.0 == type_name)?;
        if texts.contains(&field) {
            Some(Type::String)
        } else {
            others(field)
        }
    }
}

const DEVICE: &str = "kubernetes.DRADevice";
/// Bounds of a device's names and values, and of how many it has.
const DOMAIN_SIZE: u64 = 63;
const ID_SIZE: u64 = 32;
const VALUE_SIZE: u64 = 64;
const ENTRIES_MAX: u64 = 32;

struct DeviceTypes;

impl TypeProvider for DeviceTypes {
    fn has_type(&self, name: &str) -> bool {
        name == DEVICE
    }

    fn field(&self, _: &str, field: &str) -> Option<Type> {
        let by_domain = |value| Type::map(Type::String, Type::map(Type::String, value));
        Some(match field {
            "driver" => Type::String,
            "allowMultipleAllocations" => Type::Bool,
            "attributes" => by_domain(Type::Dyn),
            "capacity" => by_domain(Type::object("kubernetes.Quantity")),
            _ => return None,
        })
    }
}

/// How large the parts of a device can be, for the estimate of selectors.
pub struct DeviceSizes;

impl SizeHints for DeviceSizes {
    fn size(&self, path: &[&str], _: &Type) -> Option<SizeEstimate> {
        let max = match path {
            ["device", "driver"] => DOMAIN_SIZE,
            ["device", "allowMultipleAllocations"] => 1,
            ["device", "attributes" | "capacity"] => ENTRIES_MAX,
            ["device", "attributes" | "capacity", "@keys"] => DOMAIN_SIZE,
            ["device", "attributes" | "capacity", "@values"] => ENTRIES_MAX,
            ["device", "attributes" | "capacity", "@values", "@keys"] => ID_SIZE,
            ["device", "attributes", "@values", _] => VALUE_SIZE,
            _ => return None,
        };
        Some(SizeEstimate { min: 0, max })
    }
}
