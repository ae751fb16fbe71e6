//! Parameters of policies: `paramKind` names their kind, a binding's `paramRef` which objects.

use corten_meta::labels::Selector;
use corten_registry::{Registry, Resource};
use serde_json::Value;

/// `paramKind`
pub(super) struct ParamKind {
    api_version: String,
    kind: String,
}

/// `paramRef`
pub(super) struct ParamRef {
    name: String,
    namespace: String,
    /// None where not given.
    selector: Option<Result<Selector, String>>,
    /// `parameterNotFoundAction: Deny`, which is also the default.
    deny_missing: bool,
}

impl ParamKind {
    pub fn new(kind: &Value) -> Option<Self> {
        let text = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
        kind.is_object().then(|| Self {
            api_version: text("apiVersion"),
            kind: text("kind"),
        })
    }

    /// The resource of the kind.
    ///
    /// # Errors
    /// Upstream's text where it is not served.
    pub fn resource(&self, registry: &Registry) -> Result<Resource, String> {
        let group = self.api_version.split_once('/').map_or("", |(group, _)| group);
        let found = registry
            .resources()
            .into_iter()
            .find(|resource| resource.group == group && resource.kind == self.kind);
        found.ok_or_else(|| {
            let version = self.api_version.rsplit('/').next().unwrap_or_default();
            let group_version = if group.is_empty() {
                format!("/{version}")
            } else {
                format!("{group}/{version}")
            };
            format!(
                "failed to find resource referenced by paramKind: '{group_version}, Kind={}'",
                self.kind
            )
        })
    }
}

impl ParamRef {
    pub fn new(reference: &Value) -> Option<Self> {
        let text = |key: &str| reference[key].as_str().unwrap_or_default().to_owned();
        let selector = &reference["selector"];
        reference.is_object().then(|| Self {
            name: text("name"),
            namespace: text("namespace"),
            selector: selector
                .is_object()
                .then(|| Selector::from_label_selector(selector)),
            deny_missing: reference["parameterNotFoundAction"] != "Allow",
        })
    }

    /// The objects, in the version the policy names; `namespace` is the request's.
    ///
    /// # Errors
    /// Upstream's text for what is wrong with policy and binding together, or for objects that must be there.
    pub fn collect(
        &self,
        registry: &Registry,
        kind: &ParamKind,
        namespace: &str,
    ) -> Result<Vec<Value>, String> {
        let resource = kind.resource(registry)?;
        let namespace = match (resource.namespaced, self.namespace.as_str()) {
            (true, "") if namespace.is_empty() => {
                let text =
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources";
                return Err(text.to_owned());
            }
            (true, "") => namespace,
            (false, "") => "",
            (true, own) => own,
            (false, _) => {
                return Err(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned(),
                );
            }
        };
        let found = match (self.name.as_str(), &self.selector) {
            ("", None) => return Err("one of name or selector must be provided".to_owned()),
            ("", Some(selector)) => {
                let selector = selector.as_ref().map_err(Clone::clone)?;
                let mut all = registry.cached(&resource);
                all.retain(|object| {
                    object.namespace() == namespace && selector.matches_with(|key| object.label(key))
                });
                all
            }
            (name, None) => registry.peek(&resource, namespace, name).into_iter().collect(),
            (_, Some(_)) => {
                return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned());
            }
        };
        if found.is_empty() && self.deny_missing {
            let text = "no params found for policy binding with `Deny` parameterNotFoundAction";
            return Err(text.to_owned());
        }
        found
            .iter()
            .map(|object| object.value().map_err(|status| status.message))
            .collect()
    }
}
