//! Kinds whose rules are functions on the object: a [`Rules`] value each, found by [`for_resource`].

mod apiservice;
mod autoscaler;
mod budget;
mod claim;
mod configmap;
mod csr;
mod difference;
mod event;
mod ingress;
mod key_pair;
mod lease;
mod limitrange;
mod migration;
mod networkpolicy;
mod node;
mod pem;
mod priorityclass;
mod quota;
mod rbac;
mod references;
mod runtimeclass;
mod secret;
mod serviceaccount;
mod storage;
mod volume;

pub(super) use csr::CertificateStrategy;
pub(crate) use csr::organizations;
pub(super) use event::{validate as event_rules, validate_update as event_update_rules};

use std::sync::Arc;

use corten_meta::names;
use serde_json::Value;

use super::rules::{At, ErrorList, object_meta, object_meta_update};
use super::{Generic, Strategy, StrategyContext, generic};
use crate::metadata;
use crate::resource::Subresource;

/// What a kind adds to the generic write path. Fields a kind does not name are those of [`PLAIN`].
#[derive(Clone, Copy)]
pub(super) struct Rules {
    pub(super) name: fn(&str, bool) -> Vec<String>,
    /// After the generic preparation, on create.
    pub(super) prepare: fn(&StrategyContext<'_>, &mut Value),
    /// After the generic preparation, on update of any subresource.
    pub(super) prepare_update: fn(&StrategyContext<'_>, &mut Value, &Value),
    /// What holds on create only.
    pub(super) create: fn(&At<'_, '_>, &mut ErrorList),
    /// What holds for every object, on create and on update of the main resource.
    pub(super) body: fn(&At<'_, '_>, &mut ErrorList),
    /// What a change of the main resource must keep, besides `body`.
    pub(super) change: fn(&At<'_, '_>, &Value, &mut ErrorList),
    /// What a change of the status must keep.
    pub(super) status: fn(&At<'_, '_>, &Value, &mut ErrorList),
    /// For the main resource; the old object on update.
    pub(super) warnings: fn(&Value, Option<&Value>) -> Vec<String>,
    /// For an update of the status.
    pub(super) status_warnings: fn(&Value) -> Vec<String>,
    /// Creators may set the status (nodes).
    pub(super) status_on_create: bool,
    /// And who writes the object later (ranges of addresses).
    pub(super) status_on_update: bool,
    pub(super) selectable: &'static [&'static str],
    /// What a selectable field reads as where it is absent: Go's zero value of its type.
    pub(super) absent: &'static str,
    /// Metadata's update rules are the kind's own as well: their errors come twice.
    pub(super) metadata_twice: bool,
    /// An update of the main resource asks the rules of creation of its metadata, the name's included.
    pub(super) metadata_whole: bool,
    /// The kind's own rules want finalizers to be standard ones or to have a domain.
    pub(super) kube_finalizers: bool,
    pub(super) unconditional_update: bool,
    pub(super) create_on_update: bool,
}

/// Nothing beyond metadata.
pub(super) const PLAIN: Rules = Rules {
    name: names::name_is_dns_subdomain,
    prepare: |_, _| {},
    prepare_update: |_, _, _| {},
    create: |_, _| {},
    body: |_, _| {},
    change: |_, _, _| {},
    status: |_, _, _| {},
    warnings: |_, _| Vec::new(),
    status_warnings: |_| Vec::new(),
    status_on_create: false,
    status_on_update: false,
    selectable: &[],
    absent: "",
    metadata_twice: true,
    metadata_whole: true,
    kube_finalizers: true,
    unconditional_update: true,
    create_on_update: false,
};

impl Rules {
    /// `ValidateObjectMeta`, of the core kinds or of all.
    fn object_meta(&self, ctx: &StrategyContext<'_>, object: &Value) -> ErrorList {
        match self.kube_finalizers {
            true => object_meta(object, ctx.resource.namespaced, self.name),
            false => metadata::validate(object, ctx.resource.namespaced, &self.name),
        }
    }
}

impl Strategy for Rules {
    fn allow_create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn allow_unconditional_update(&self) -> bool {
        self.unconditional_update
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        (self.name)(name, prefix)
    }

    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, object: &mut Value) {
        // Indexing for writing would leave a null where there is no status.
        let status = if self.status_on_create {
            object["status"].take()
        } else {
            Value::Null
        };
        generic::prepare_for_create(ctx, object);
        if !status.is_null() {
            object["status"] = status;
        }
        (self.prepare)(ctx, object);
    }

    fn validate(&self, ctx: &StrategyContext<'_>, object: &Value) -> ErrorList {
        let mut errors = self.object_meta(ctx, object);
        (self.create)(&At::root(object), &mut errors);
        (self.body)(&At::root(object), &mut errors);
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, object: &Value) -> Vec<String> {
        (self.warnings)(object, None)
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Value, old: &Value) {
        let status = (self.status_on_update && ctx.subresource == Subresource::MAIN)
            .then(|| object.get("status").cloned());
        generic::prepare_for_update(ctx, object, old);
        if let Some(status) = status {
            object["status"] = status.unwrap_or_else(|| ctx.resource.empty_status.clone());
        }
        (self.prepare_update)(ctx, object, old);
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let is_status = ctx.subresource == Subresource::STATUS;
        if self.metadata_whole && !is_status {
            errors.extend(self.object_meta(ctx, object));
        }
        if self.metadata_twice {
            errors.extend(metadata::validate_update(object, old));
            if self.kube_finalizers {
                object_meta_update(object, &mut errors);
            }
        }
        let at = At::root(object);
        if is_status {
            (self.status)(&at, old, &mut errors);
        } else {
            (self.body)(&at, &mut errors);
            (self.change)(&at, old, &mut errors);
        }
        errors
    }

    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> Vec<String> {
        match ctx.subresource {
            Subresource::MAIN => (self.warnings)(object, Some(old)),
            Subresource::STATUS => (self.status_warnings)(object),
            _ => Vec::new(),
        }
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        self.selectable
    }

    fn field_values(&self, object: &Value) -> Vec<String> {
        self.selectable
            .iter()
            .map(|field| super::selectable::text_at(object, field))
            .map(|text| {
                if text.is_empty() {
                    self.absent.to_owned()
                } else {
                    text
                }
            })
            .collect()
    }
}

/// The strategy of a built-in resource that has no file of its own further up.
pub(super) fn for_resource(group: &str, plural: &str) -> Arc<dyn Strategy> {
    match rules_of(group, plural) {
        Some(rules) => Arc::new(rules),
        None => Arc::new(Generic),
    }
}

fn rules_of(group: &str, plural: &str) -> Option<Rules> {
    Some(match (group, plural) {
        ("", "configmaps") => configmap::RULES,
        ("", "limitranges") => limitrange::RULES,
        ("", "nodes") => node::RULES,
        ("", "resourcequotas") => quota::RULES,
        ("", "secrets") => secret::RULES,
        ("", "serviceaccounts") => serviceaccount::RULES,
        ("apiregistration.k8s.io", "apiservices") => apiservice::RULES,
        ("", "persistentvolumes") => volume::RULES,
        ("", "persistentvolumeclaims") => claim::RULES,
        ("autoscaling", "horizontalpodautoscalers") => autoscaler::RULES,
        ("coordination.k8s.io", "leases") => lease::RULES,
        ("networking.k8s.io", "ingresses") => ingress::RULES,
        ("networking.k8s.io", "ingressclasses") => ingress::CLASS,
        ("networking.k8s.io", "networkpolicies") => networkpolicy::RULES,
        ("node.k8s.io", "runtimeclasses") => runtimeclass::RULES,
        ("policy", "poddisruptionbudgets") => budget::RULES,
        ("rbac.authorization.k8s.io", "roles") => rbac::ROLE,
        ("rbac.authorization.k8s.io", "clusterroles") => rbac::CLUSTER_ROLE,
        ("rbac.authorization.k8s.io", "rolebindings") => rbac::ROLE_BINDING,
        ("rbac.authorization.k8s.io", "clusterrolebindings") => rbac::CLUSTER_ROLE_BINDING,
        ("scheduling.k8s.io", "priorityclasses") => priorityclass::RULES,
        ("storagemigration.k8s.io", "storageversionmigrations") => migration::RULES,
        ("storage.k8s.io", "storageclasses") => storage::CLASS,
        ("storage.k8s.io", "csidrivers") => storage::DRIVER,
        ("storage.k8s.io", "csinodes") => storage::NODE,
        ("storage.k8s.io", "csistoragecapacities") => storage::CAPACITY,
        ("storage.k8s.io", "volumeattachments") => storage::ATTACHMENT,
        ("storage.k8s.io", "volumeattributesclasses") => storage::ATTRIBUTES,
        _ => return None,
    })
}

#[cfg(test)]
mod status_tests;

#[cfg(test)]
mod warning_tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn said(group: &str, plural: &str, object: &Value) -> Vec<String> {
        (rules_of(group, plural).unwrap().warnings)(object, None)
    }

    /// Texts: upstream's server.
    #[test]
    fn kinds_warn_as_upstream() {
        let term = json!({"matchExpressions": [{"key": "beta.kubernetes.io/arch", "operator": "Exists"}]});
        let volume = json!({
            "metadata": {"annotations": {"volume.beta.kubernetes.io/mount-options": "x"}},
            "spec": {
                "persistentVolumeReclaimPolicy": "Recycle",
                "nodeAffinity": {"required": {"nodeSelectorTerms": [term]}},
                "storageos": {},
            },
        });
        let claim = json!({
            "metadata": {"annotations": {"volume.beta.kubernetes.io/storage-class": "x"}},
            "spec": {"resources": {"requests": {"storage": "1m"}, "limits": {"storage": "1"}}},
        });
        let node = json!({"spec": {"externalID": "x", "podCIDRs": ["010.0.0.0/8"]}});
        let class = json!({"scheduling": {"nodeSelector": {"app.kubernetes.io/created-by": "x"}}});
        let topology =
            json!({"allowedTopologies": [{"matchLabelExpressions": [{"key": "beta.kubernetes.io/os"}]}]});
        let policy = json!({"spec": {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/8"}}]}]}});
        let starts = |warnings: Vec<String>, expected: &[&str]| {
            assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
            for (warning, start) in warnings.iter().zip(expected) {
                assert!(warning.starts_with(start), "{warning}");
            }
        };
        starts(
            said("", "persistentvolumes", &volume),
            &[
                "metadata.annotations[volume.beta.kubernetes.io/mount-options]: deprecated since v1.31; use \"mountOptions\"",
                "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated.",
                "spec.nodeAffinity.required.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/arch is deprecated",
                "spec.storageOS: deprecated in v1.22, non-functional in v1.25+",
            ],
        );
        starts(
            said("", "persistentvolumeclaims", &claim),
            &[
                "metadata.annotations[volume.beta.kubernetes.io/storage-class]: deprecated since v1.8;",
                "spec.resources.requests[storage]: fractional byte value \"1m\" is invalid, must be an integer",
            ],
        );
        starts(
            said("", "nodes", &node),
            &["spec.externalID: this field is deprecated", "spec.podCIDRs[0]: "],
        );
        starts(
            said("node.k8s.io", "runtimeclasses", &class),
            &["scheduling.nodeSelector: deprecated since v1.9"],
        );
        starts(
            said("storage.k8s.io", "storageclasses", &topology),
            &["allowedTopologies[0].matchLabelExpressions[0].key: deprecated since v1.14"],
        );
        starts(
            said("networking.k8s.io", "networkpolicies", &policy),
            &["spec.egress[0].to[0].ipBlock.cidr: "],
        );
        let status = json!({"status": {"loadBalancer": {"ingress": [{"ip": "::ffff:1.2.3.4"}]}}});
        starts(
            (ingress::RULES.status_warnings)(&status),
            &["status.loadBalancer.ingress[0]: "],
        );
    }
}
