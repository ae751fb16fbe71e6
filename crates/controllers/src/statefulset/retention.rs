//! Who owns the claims of a set's pods, so that they go with the set, with a pod that is scaled away, or never
//! (KEP-1847). Upstream: pkg/controller/statefulset/stateful_set_utils.go.

use std::sync::Arc;

use corten_client::object::{MetaExt, controller_ref};
use k8s_openapi::Metadata;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::identity::{claim_name, ordinal};
use crate::core::{Action, Note, Write};

/// Whether claims go when the set is deleted, and when a pod is scaled away.
#[derive(Clone, Copy)]
struct Policy {
    deleted: bool,
    scaled: bool,
}

fn policy(set: &StatefulSet) -> Policy {
    let policy = set
        .spec
        .as_ref()
        .and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
    let deletes = |when: Option<&String>| when.is_some_and(|when| when == "Delete");
    Policy {
        deleted: deletes(policy.and_then(|p| p.when_deleted.as_ref())),
        scaled: deletes(policy.and_then(|p| p.when_scaled.as_ref())),
    }
}

/// The claims of a pod that exist.
fn of_pod<'a>(
    set: &'a StatefulSet,
    index: i32,
    claims: &'a [Arc<PersistentVolumeClaim>],
) -> impl Iterator<Item = &'a Arc<PersistentVolumeClaim>> {
    let templates = set
        .spec
        .iter()
        .flat_map(|s| s.volume_claim_templates.iter().flatten());
    templates.filter_map(move |template| {
        let name = claim_name(template, set.metadata.name(), index);
        claims.iter().find(|c| c.metadata.name() == name)
    })
}

/// Updates of claims whose owners are not those the policy asks for.
#[must_use]
pub fn plan(set: &StatefulSet, pods: &[Arc<Pod>], claims: &[Arc<PersistentVolumeClaim>]) -> Vec<Action> {
    let mut actions = Vec::new();
    for pod in pods {
        let Some(index) = ordinal(pod.metadata.name(), set.metadata.name()) else {
            continue;
        };
        for claim in of_pod(set, index, claims) {
            let owners = Owners {
                set,
                pod,
                wanted: wanted(set, index),
            };
            actions.extend(owners.actions(claim));
        }
    }
    actions
}

/// A claim that an earlier pod of this name takes with it keeps the next one waiting.
#[must_use]
pub fn is_stale(set: &StatefulSet, index: i32, claims: &[Arc<PersistentVolumeClaim>]) -> bool {
    let name = format!("{}-{index}", set.metadata.name());
    let of_former = |claim: &Arc<PersistentVolumeClaim>| {
        let mut owners = claim.metadata.owner_references.iter().flatten();
        owners.any(|o| o.api_version == "v1" && o.kind == "Pod" && o.name == name)
    };
    policy(set).scaled && of_pod(set, index, claims).any(of_former)
}

/// Whether the set and the pod of this ordinal should own its claims.
fn wanted(set: &StatefulSet, index: i32) -> (bool, bool) {
    let spec = set.spec.as_ref();
    let start = spec
        .and_then(|s| s.ordinals.as_ref())
        .and_then(|o| o.start)
        .unwrap_or(0);
    let replicas = spec.and_then(|s| s.replicas).unwrap_or(1);
    let away = index < start || index >= start.saturating_add(replicas);
    let policy = policy(set);
    let by_pod = policy.scaled && away;
    (policy.deleted && !by_pod, by_pod)
}

struct Owners<'a> {
    set: &'a StatefulSet,
    pod: &'a Pod,
    wanted: (bool, bool),
}

fn names<K: Metadata<Ty = ObjectMeta>>(owner: &OwnerReference, object: &K) -> bool {
    owner.api_version == K::API_VERSION && owner.kind == K::KIND && owner.name == object.metadata().name()
}

impl Owners<'_> {
    fn names_us(&self, owner: &OwnerReference) -> bool {
        names(owner, self.set) || names(owner, self.pod)
    }

    fn is_us(&self, owner: &OwnerReference) -> bool {
        owner.uid == self.set.metadata.uid() || owner.uid == self.pod.metadata.uid()
    }

    /// Somebody else manages the claim: the policy is not applied.
    fn conflicts(&self, owners: &[OwnerReference]) -> bool {
        let policy = policy(self.set);
        let other = |o: &OwnerReference| !self.names_us(o) && o.controller == Some(true);
        (policy.scaled || policy.deleted) && owners.iter().any(other)
    }

    fn actions(&self, claim: &PersistentVolumeClaim) -> Vec<Action> {
        let owners = claim.metadata.owner_references.clone().unwrap_or_default();
        // Of an earlier set or pod of the same name: the garbage collector's.
        if owners.iter().any(|o| self.names_us(o) && !self.is_us(o)) {
            return Vec::new();
        }
        let conflict = self.conflicts(&owners);
        let (by_set, by_pod) = if conflict { (false, false) } else { self.wanted };
        let owned = |meta: &ObjectMeta| owners.iter().any(|o| o.uid == meta.uid());
        let all_control = owners
            .iter()
            .filter(|o| self.is_us(o))
            .all(|o| o.controller == Some(true));
        let settled = owned(&self.set.metadata) == by_set && owned(&self.pod.metadata) == by_pod;
        if settled && all_control {
            return Vec::new();
        }
        let mut actions = Vec::new();
        if conflict {
            let message = format!(
                "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a manging controller, \
                 the retention policy is ignored for this claim",
                claim.metadata.name()
            );
            actions.push(Note::warning(self.set, "ConflictingController", message).into());
        }
        let mut updated = claim.clone();
        let mut kept: Vec<_> = owners.into_iter().filter(|o| !self.names_us(o)).collect();
        kept.extend(by_set.then(|| controller_ref(self.set)));
        kept.extend(by_pod.then(|| controller_ref(self.pod)));
        updated.metadata.owner_references = Some(kept).filter(|kept| !kept.is_empty());
        actions.push(Write::update(&updated).into());
        actions
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn set(deleted: &str, scaled: &str, replicas: i32) -> StatefulSet {
        serde_json::from_value(json!({"metadata": {"name": "s", "uid": "set"}, "spec": {
            "replicas": replicas, "selector": {}, "serviceName": "s", "template": {},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled},
            "volumeClaimTemplates": [{"metadata": {"name": "d"}, "spec": {}}]}}))
        .unwrap()
    }

    fn pod(index: i32) -> Arc<Pod> {
        let name = format!("s-{index}");
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name, "uid": name}})).unwrap())
    }

    fn claim(index: i32, owners: serde_json::Value) -> Arc<PersistentVolumeClaim> {
        let value =
            json!({"metadata": {"name": format!("d-s-{index}"), "ownerReferences": owners}, "spec": {}});
        Arc::new(serde_json::from_value(value).unwrap())
    }

    fn owner(kind: &str, name: &str, uid: &str, controller: bool) -> serde_json::Value {
        let version = if kind == "Pod" { "v1" } else { "apps/v1" };
        json!({"apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": controller})
    }

    /// The owners each claim ends up with, where that changes.
    fn owners(actions: &[Action]) -> Vec<String> {
        let writes = actions.iter().filter_map(|a| match a {
            Action::Write(w) => Some(w),
            _ => None,
        });
        writes
            .map(|w| {
                let refs = w.body["metadata"]["ownerReferences"].as_array().cloned();
                let refs: Vec<_> = refs.iter().flatten().map(|o| o["uid"].to_string()).collect();
                format!("{} {}", w.name, refs.join(","))
            })
            .collect()
    }

    #[test]
    fn claims_are_owned_as_the_policy_says() {
        let (pods, free) = ([pod(0), pod(1)], [claim(0, json!([])), claim(1, json!([]))]);
        let after = |deleted, scaled| owners(&plan(&set(deleted, scaled, 1), &pods, &free));
        assert!(after("Retain", "Retain").is_empty());
        assert_eq!(after("Delete", "Retain"), ["d-s-0 \"set\"", "d-s-1 \"set\""]);
        assert_eq!(after("Retain", "Delete"), ["d-s-1 \"s-1\""]);
        assert_eq!(after("Delete", "Delete"), ["d-s-0 \"set\"", "d-s-1 \"s-1\""]);
        // Scaled up again, or the policy taken back.
        let held = [claim(1, json!([owner("Pod", "s-1", "s-1", true)]))];
        assert_eq!(
            owners(&plan(&set("Delete", "Delete", 2), &pods, &held)),
            ["d-s-1 \"set\""]
        );
        assert_eq!(
            owners(&plan(&set("Retain", "Retain", 1), &pods, &held)),
            ["d-s-1 "]
        );
        assert!(owners(&plan(&set("Retain", "Delete", 1), &pods, &held)).is_empty());
    }

    #[test]
    fn claims_of_others_are_left_and_told_of() {
        let pods = [pod(0)];
        let foreign = [claim(
            0,
            json!([
                owner("Thing", "t", "t", true),
                owner("StatefulSet", "s", "set", true)
            ]),
        )];
        let actions = plan(&set("Delete", "Retain", 1), &pods, &foreign);
        assert!(matches!(&actions[0], Action::Note(note) if note.reason == "ConflictingController"));
        assert_eq!(owners(&actions), ["d-s-0 \"t\""]);
        let stale = [claim(0, json!([owner("Pod", "s-0", "former", true)]))];
        assert!(plan(&set("Delete", "Delete", 1), &pods, &stale).is_empty());
        assert!(is_stale(&set("Retain", "Delete", 1), 0, &stale));
        assert!(!is_stale(&set("Delete", "Retain", 1), 0, &stale));
    }
}
