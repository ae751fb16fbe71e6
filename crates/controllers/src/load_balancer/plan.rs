//! What a Service of type LoadBalancer needs, and what has to be taken from one that no longer is.

use std::net::IpAddr;

use corten_client::object::MetaExt;
use corten_client::request::STRATEGIC_PATCH;
use k8s_openapi::api::core::v1::{LoadBalancerIngress, Service};
use serde_json::{Value, json};

use super::claims::Outcome;
use crate::core::{Action, Note, Write};

/// Keeps a Service until its addresses are taken from it.
pub const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";
const FAILED: &str = "SyncLoadBalancerFailed";

pub struct View<'a> {
    /// One that wants a balancer.
    pub service: &'a Service,
    pub outcome: &'a Outcome,
    /// What was written last; none where that is not known.
    pub last: Option<&'a Outcome>,
    /// The Service itself has changed.
    pub asked: bool,
}

/// With a class it is another controller's.
#[must_use]
pub fn wants(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    spec.is_some_and(|s| s.type_.as_deref() == Some("LoadBalancer") && s.load_balancer_class.is_none())
}

fn has_finalizer(service: &Service) -> bool {
    service.metadata.finalizers().iter().any(|f| f == FINALIZER)
}

#[must_use]
pub fn needs_cleanup(service: &Service) -> bool {
    let kind = service.spec.as_ref().and_then(|s| s.type_.as_deref());
    has_finalizer(service) && (service.metadata.terminating() || kind != Some("LoadBalancer"))
}

/// Whether a change asks for another balancer. Not looked at, unlike upstream: annotations, which mean nothing to this
/// provider.
#[must_use]
pub fn needs_update(old: &Service, new: &Service) -> bool {
    if !wants(old) && !wants(new) {
        return false;
    }
    if wants(old) != wants(new) || old.metadata.uid() != new.metadata.uid() {
        return true;
    }
    let (Some(old), Some(new)) = (&old.spec, &new.spec) else {
        return true;
    };
    old.load_balancer_source_ranges != new.load_balancer_source_ranges
        || old.ports != new.ports
        || old.session_affinity != new.session_affinity
        || old.session_affinity_config != new.session_affinity_config
        || old.load_balancer_ip != new.load_balancer_ip
        || old.external_ips != new.external_ips
        || old.external_traffic_policy != new.external_traffic_policy
        || old.health_check_node_port != new.health_check_node_port
        || old.ip_families != new.ip_families
}

/// Nothing while neither the Service nor what is to come of it changes, whatever the status says meanwhile.
#[must_use]
pub fn plan(view: &View<'_>) -> Vec<Action> {
    let (service, last) = (view.service, view.last);
    let mut actions = Vec::new();
    let moved = match last.filter(|_| !view.asked) {
        Some(before) if before == view.outcome => return actions,
        Some(before) => before.is_ok() && view.outcome.is_ok(),
        None => false,
    };
    if !moved {
        actions.push(Note::normal(service, "EnsuringLoadBalancer", "Ensuring load balancer").into());
    }
    if !has_finalizer(service) {
        actions.push(finalize(service));
    }
    let none = Vec::new();
    let addresses = view.outcome.as_ref().unwrap_or(&none);
    // The cache may not show the last write yet.
    let changed = last.is_none_or(|last| last.as_ref().unwrap_or(&none) != addresses);
    if changed || ingress_of(service) != ingress(addresses) {
        actions.push(set_status(service, addresses));
    }
    let note = match view.outcome {
        Err(obstacle) => Note::warning(service, FAILED, said("ensure load balancer", obstacle)),
        Ok(found) if found.is_empty() => {
            let message = "There are no available nodes for LoadBalancer";
            Note::warning(service, "UnAvailableLoadBalancer", message)
        }
        Ok(_) if moved => Note::normal(
            service,
            "UpdatedLoadBalancer",
            "Updated load balancer with new hosts",
        ),
        Ok(_) => Note::normal(service, "EnsuredLoadBalancer", "Ensured load balancer"),
    };
    actions.push(note.into());
    actions
}

fn said(what: &str, error: &str) -> String {
    format!("Error syncing load balancer: failed to {what}: {error}")
}

fn finalize(service: &Service) -> Action {
    let patch = json!({"metadata": {"finalizers": [FINALIZER]}});
    let message = said("add load balancer cleanup finalizer", "{error}");
    let write = Write::patch_sub(service, STRATEGIC_PATCH, "status", patch);
    write.err(Note::warning(service, FAILED, message)).into()
}

fn set_status(service: &Service, addresses: &[IpAddr]) -> Action {
    let message = said("update load balancer status", "{error}");
    let write = Write::patch_sub(
        service,
        STRATEGIC_PATCH,
        "status",
        json!({"status": status(addresses)}),
    );
    write.err(Note::warning(service, FAILED, message)).into()
}

fn status(addresses: &[IpAddr]) -> Value {
    let ingress = (!addresses.is_empty()).then(|| ingress(addresses));
    json!({"loadBalancer": {"ingress": ingress}})
}

fn ingress(addresses: &[IpAddr]) -> Vec<LoadBalancerIngress> {
    let of = |ip: &IpAddr| LoadBalancerIngress {
        ip: Some(ip.to_string()),
        ip_mode: Some("VIP".into()),
        ..LoadBalancerIngress::default()
    };
    addresses.iter().map(of).collect()
}

fn ingress_of(service: &Service) -> Vec<LoadBalancerIngress> {
    let balancer = service.status.as_ref().and_then(|s| s.load_balancer.as_ref());
    balancer.and_then(|b| b.ingress.clone()).unwrap_or_default()
}

/// Takes the addresses and the finalizer at once: nothing is left to do where the Service goes with it.
#[must_use]
pub fn cleanup(service: &Service) -> Vec<Action> {
    let patch =
        json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}, "status": status(&[])});
    let message = said("remove load balancer cleanup finalizer", "{error}");
    let write = Write::patch_sub(service, STRATEGIC_PATCH, "status", patch);
    let write = write
        .ok(Note::normal(
            service,
            "DeletedLoadBalancer",
            "Deleted load balancer",
        ))
        .err(Note::warning(service, FAILED, message));
    let deleting = Note::normal(service, "DeletingLoadBalancer", "Deleting load balancer");
    vec![deleting.into(), write.into()]
}
