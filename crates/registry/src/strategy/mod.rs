//! What a kind may change about the generic write path (upstream's `rest.RESTCreateUpdateStrategy` and friends).
//!
//! Every method has a default that follows from the schema; a kind overrides what it must, in a file of its own.

mod admissionregistration;
mod cronjob;
pub mod custom;
mod daemonset;
pub mod definition;
mod deployment;
mod devices;
mod disabled;
mod endpoints;
mod flowcontrol;
pub mod generic;
mod job;
mod kinds;
mod namespace;
mod pod;
mod podtemplate;
mod ranges;
mod replicaset;
mod rules;
mod selectable;
pub mod service;
mod statefulset;

pub(crate) use kinds::organizations;

use std::sync::Arc;

use async_trait::async_trait;
use corten_meta::Result;
use corten_meta::field::ErrorList;
use serde_json::Value;

use crate::context::WriteContext;
use crate::options::DeleteOptions;
use crate::registry::Registry;
use crate::resource::{Resource, Subresource};

/// What a strategy may look at besides the object.
#[derive(Clone, Copy)]
pub struct StrategyContext<'a> {
    pub registry: &'a Registry,
    pub write: &'a WriteContext,
    pub resource: &'a Resource,
    pub subresource: Subresource,
}

/// What becomes of dependents when the delete request does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GcPolicy {
    DeleteDependents,
    OrphanDependents,
    /// The garbage collector does not apply (events): no propagation finalizers.
    Unsupported,
}

/// How a delete goes on after [`Strategy::delete_step`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteStep {
    /// As for every kind: grace period, finalizers, removal.
    Generic,
    /// Store the changed object; it stays until something else removes it.
    Store,
    /// Nothing to do: answer with the object as it is.
    Wait,
}

/// Called with whether the write went through, to keep or give back what `begin_*` took
/// (addresses, ports).
pub type Finish = Box<dyn FnOnce(bool) + Send>;

/// The rules of one kind. Objects are JSON in the storage version, defaulted and pruned.
#[async_trait]
pub trait Strategy: Send + Sync {
    /// PUT to a name that does not exist creates it.
    fn allow_create_on_update(&self) -> bool {
        false
    }

    /// An update without resourceVersion overwrites.
    fn allow_unconditional_update(&self) -> bool {
        true
    }

    fn gc_policy(&self) -> GcPolicy {
        GcPolicy::DeleteDependents
    }

    /// Problems of a name (`generateName` when `prefix`), in upstream's words.
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        corten_meta::names::name_is_dns_subdomain(name, prefix)
    }

    /// A name for `generateName`: the base shortened to fit, and five random characters.
    fn generate_name(&self, base: &str) -> String {
        crate::resource::generate_name(base)
    }

    /// Clears what clients may not set, sets what follows from the rest.
    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, object: &mut Value) {
        generic::prepare_for_create(ctx, object);
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, _object: &Value) -> ErrorList {
        ErrorList::default()
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Puts a valid object into its stored form.
    fn canonicalize(&self, _object: &mut Value) {}

    /// Keeps what the subresource may not change; generation rises here.
    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Value, old: &Value) {
        generic::prepare_for_update(ctx, object, old);
    }

    fn validate_update(&self, _ctx: &StrategyContext<'_>, _object: &Value, _old: &Value) -> ErrorList {
        ErrorList::default()
    }

    fn warnings_on_update(&self, _ctx: &StrategyContext<'_>, _object: &Value, _old: &Value) -> Vec<String> {
        Vec::new()
    }

    /// The grace period in seconds when the object is to be deleted gracefully, None for at once.
    /// `requested` is the request's `gracePeriodSeconds`.
    fn graceful_delete(
        &self,
        _ctx: &StrategyContext<'_>,
        _object: &Value,
        _requested: Option<i64>,
    ) -> Option<i64> {
        None
    }

    /// A kind's own way of being deleted (namespaces): may change the object; see [`DeleteStep`].
    fn delete_step(
        &self,
        _ctx: &StrategyContext<'_>,
        _object: &mut Value,
        _options: &DeleteOptions,
    ) -> DeleteStep {
        DeleteStep::Generic
    }

    /// An update that leaves no finalizers on a deleting object removes it; a kind may add conditions
    /// (a namespace also waits for `spec.finalizers`).
    fn should_delete_during_update(&self, _object: &Value, _old: &Value) -> bool {
        true
    }

    /// Names usable in field selectors besides `metadata.name` and `metadata.namespace`.
    fn selectable_fields(&self) -> &[&'static str] {
        &[]
    }

    /// Values that the watch cache keeps of a stored object, as [`Strategy::field_place`] finds them.
    fn field_values(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Where [`Strategy::field_values`] has a field's value: of most kinds in the order of
    /// [`Strategy::selectable_fields`].
    fn field_place(&self, field: &str) -> Option<usize> {
        self.selectable_fields().iter().position(|name| *name == field)
    }

    /// The value of a selectable field of an object in the strategy's own version; empty where it has none.
    fn field_value(&self, object: &Value, field: &str) -> String {
        let place = self.field_place(field);
        let mut values = self.field_values(object);
        place
            .filter(|at| *at < values.len())
            .map_or_else(String::new, |at| values.swap_remove(at))
    }

    /// The selectable field watchers are indexed by (pods: `spec.nodeName`), besides name and namespace.
    fn indexed_field(&self) -> Option<&'static str> {
        None
    }

    /// Before validation of a create: takes what must be taken atomically (cluster IPs, node ports).
    async fn begin_create(&self, _ctx: &StrategyContext<'_>, _object: &mut Value) -> Result<Option<Finish>> {
        Ok(None)
    }

    /// Before validation of an update.
    async fn begin_update(
        &self,
        _ctx: &StrategyContext<'_>,
        _object: &mut Value,
        _old: &Value,
    ) -> Result<Option<Finish>> {
        Ok(None)
    }

    async fn after_create(&self, _ctx: &StrategyContext<'_>, _object: &Value) {}

    async fn after_update(&self, _ctx: &StrategyContext<'_>, _object: &Value) {}

    /// The object has left the store.
    async fn after_delete(&self, _ctx: &StrategyContext<'_>, _object: &Value) {}
}

/// A kind without rules beyond its schema.
#[derive(Clone, Copy, Debug, Default)]
pub struct Generic;

impl Strategy for Generic {}

/// The strategy of a built-in resource: the table of kinds that need more than their schema.
pub fn for_resource(group: &str, plural: &str) -> Arc<dyn Strategy> {
    match (group, plural) {
        ("", "namespaces") => Arc::new(namespace::NamespaceStrategy),
        ("", "pods") => Arc::new(pod::PodStrategy),
        ("" | "events.k8s.io", "events") => Arc::new(selectable::EventStrategy),
        ("certificates.k8s.io", "certificatesigningrequests") => Arc::new(kinds::CertificateStrategy),
        ("", "podtemplates") => Arc::new(podtemplate::PodTemplateStrategy),
        ("", "replicationcontrollers") => Arc::new(replicaset::ReplicationControllerStrategy),
        ("", "endpoints") => Arc::new(endpoints::ENDPOINTS),
        ("", "services") => Arc::new(service::ServiceStrategy),
        ("apps", "controllerrevisions") => Arc::new(statefulset::ControllerRevisionStrategy),
        ("apps", "daemonsets") => Arc::new(daemonset::DaemonSetStrategy),
        ("apps", "deployments") => Arc::new(deployment::DeploymentStrategy),
        ("apps", "replicasets") => Arc::new(replicaset::ReplicaSetStrategy),
        ("apps", "statefulsets") => Arc::new(statefulset::StatefulSetStrategy),
        ("resource.k8s.io", "deviceclasses") => Arc::new(devices::CLASS),
        ("resource.k8s.io", "devicetaintrules") => Arc::new(devices::TAINT_RULE),
        ("resource.k8s.io", "resourceclaims") => Arc::new(devices::Claims::of_claims()),
        ("resource.k8s.io", "resourceclaimtemplates") => Arc::new(devices::Claims::of_templates()),
        ("resource.k8s.io", "resourceslices") => Arc::new(devices::SLICE),
        ("apiextensions.k8s.io", "customresourcedefinitions") => Arc::new(definition::DefinitionStrategy),
        ("discovery.k8s.io", "endpointslices") => Arc::new(endpoints::SLICE),
        ("admissionregistration.k8s.io", "mutatingadmissionpolicies") => {
            Arc::new(admissionregistration::MUTATING_POLICY)
        }
        ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings") => {
            Arc::new(admissionregistration::MUTATING_BINDING)
        }
        ("admissionregistration.k8s.io", "mutatingwebhookconfigurations") => {
            Arc::new(admissionregistration::MUTATING_WEBHOOKS)
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicies") => {
            Arc::new(admissionregistration::VALIDATING_POLICY)
        }
        ("admissionregistration.k8s.io", "validatingadmissionpolicybindings") => {
            Arc::new(admissionregistration::VALIDATING_BINDING)
        }
        ("admissionregistration.k8s.io", "validatingwebhookconfigurations") => {
            Arc::new(admissionregistration::VALIDATING_WEBHOOKS)
        }
        ("flowcontrol.apiserver.k8s.io", "flowschemas") => Arc::new(flowcontrol::SCHEMA),
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations") => Arc::new(flowcontrol::LEVEL),
        ("networking.k8s.io", "ipaddresses") => Arc::new(ranges::ADDRESS),
        ("networking.k8s.io", "servicecidrs") => Arc::new(ranges::RANGE),
        ("batch", "cronjobs") => Arc::new(cronjob::CronJobStrategy),
        ("batch", "jobs") => Arc::new(job::JobStrategy),
        _ => kinds::for_resource(group, plural),
    }
}
