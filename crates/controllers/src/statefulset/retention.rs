//! Whose claims go, and when: `persistentVolumeClaimRetentionPolicy` (KEP-1847), by the owners a claim has. Upstream:
//! pkg/controller/statefulset/stateful_set_utils.go.

use corten_client::Pod;
use corten_client::object::{MetaExt, controller_ref};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// What the claims of a set go with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Policy {
    pub with_set: bool,
    pub with_pod: bool,
}

impl Policy {
    pub fn of(set: &StatefulSet) -> Self {
        let policy = set
            .spec
            .as_ref()
            .and_then(|s| s.persistent_volume_claim_retention_policy.as_ref());
        let deletes = |when: Option<&String>| when.is_some_and(|w| w == "Delete");
        Self {
            with_set: policy.is_some_and(|p| deletes(p.when_deleted.as_ref())),
            with_pod: policy.is_some_and(|p| deletes(p.when_scaled.as_ref())),
        }
    }
}

fn is_set(owner: &OwnerReference, set: &StatefulSet) -> bool {
    owner.api_version == "apps/v1" && owner.kind == "StatefulSet" && owner.name == set.metadata.name()
}

fn is_pod(owner: &OwnerReference, pod: &str) -> bool {
    owner.api_version == "v1" && owner.kind == "Pod" && owner.name == pod
}

/// Whether the claim still belongs to an earlier pod of this name and is about to go with it.
pub(super) fn is_stale(set: &StatefulSet, claim: &PersistentVolumeClaim, pod: &str) -> bool {
    let owners = claim.metadata.owner_references.iter().flatten();
    Policy::of(set).with_pod && owners.into_iter().any(|o| is_pod(o, pod))
}

/// The owners the claim should have, if it has others. `surplus`: the pod is beyond the ordinals the set wants.
pub(super) fn owners(
    set: &StatefulSet,
    pod: &Pod,
    claim: &PersistentVolumeClaim,
    surplus: bool,
) -> Option<Vec<OwnerReference>> {
    let now = claim.metadata.owner_references.as_deref().unwrap_or_default();
    let (set_uid, pod_uid) = (set.metadata.uid(), pod.metadata.uid());
    let by_set = |o: &OwnerReference| is_set(o, set);
    let by_pod = |o: &OwnerReference| is_pod(o, pod.metadata.name());
    let stale = |o: &OwnerReference| by_set(o) && o.uid != set_uid || by_pod(o) && o.uid != pod_uid;
    if now.iter().any(stale) {
        // Another set or pod of the same name had it: the garbage collector's business.
        return None;
    }
    let ours = |o: &OwnerReference| o.uid == set_uid || o.uid == pod_uid;
    let policy = Policy::of(set);
    let others: Vec<_> = now.iter().filter(|o| !by_set(o) && !by_pod(o)).cloned().collect();
    let foreign = others.iter().any(|o| o.controller == Some(true));
    let wanted = if foreign && policy != Policy::default() {
        others
    } else {
        let with_pod = (policy.with_pod && surplus).then(|| controller_ref(pod));
        let with_set = (policy.with_set && !(policy.with_pod && surplus)).then(|| controller_ref(set));
        others.into_iter().chain(with_set).chain(with_pod).collect()
    };
    let controllers = |list: &[OwnerReference]| {
        let mut uids: Vec<_> = list
            .iter()
            .filter(|o| ours(o))
            .map(|o| (o.uid.clone(), o.controller == Some(true)))
            .collect();
        uids.sort();
        uids
    };
    (controllers(now) != controllers(&wanted)).then_some(wanted)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use expect_test::{Expect, expect};
    use serde_json::{Value, json};

    use super::*;

    fn check(deleted: &str, scaled: &str, owners_now: Value, surplus: bool, wanted: &Expect) {
        let set = json!({"metadata": {"name": "s", "uid": "set"}, "spec": {"serviceName": "s", "selector": {},
            "template": {}, "persistentVolumeClaimRetentionPolicy": {"whenDeleted": deleted, "whenScaled": scaled}}});
        let set: StatefulSet = serde_json::from_value(set).unwrap();
        let pod = json!({"metadata": {"name": "s-0", "uid": "pod"}});
        let claim = json!({"metadata": {"name": "c", "ownerReferences": owners_now}});
        let claim = serde_json::from_value(claim).unwrap();
        let found = owners(&set, &serde_json::from_value(pod).unwrap(), &claim, surplus);
        let found = found.map(|all| all.iter().map(|o| o.uid.clone()).collect::<Vec<_>>());
        wanted.assert_eq(&format!("{found:?}"));
    }

    fn owner(kind: &str, name: &str, uid: &str) -> Value {
        let group = if kind == "Pod" { "v1" } else { "apps/v1" };
        json!({"apiVersion": group, "kind": kind, "name": name, "uid": uid, "controller": true})
    }

    #[test]
    fn claims_go_with_what_the_policy_says() {
        let by_set = json!([owner("StatefulSet", "s", "set")]);
        check("Retain", "Retain", json!([]), false, &expect!["None"]);
        check("Retain", "Retain", by_set.clone(), false, &expect!["Some([])"]);
        check(
            "Delete",
            "Retain",
            json!([]),
            true,
            &expect![[r#"Some(["set"])"#]],
        );
        check("Delete", "Retain", by_set.clone(), true, &expect!["None"]);
        check("Retain", "Delete", json!([]), false, &expect!["None"]);
        check(
            "Retain",
            "Delete",
            json!([]),
            true,
            &expect![[r#"Some(["pod"])"#]],
        );
        check("Delete", "Delete", by_set, true, &expect![[r#"Some(["pod"])"#]]);
        let by_pod = json!([owner("Pod", "s-0", "pod")]);
        check("Delete", "Delete", by_pod, false, &expect![[r#"Some(["set"])"#]]);
        let stranger = json!([owner("Database", "x", "other")]);
        check("Delete", "Delete", stranger, false, &expect!["None"]);
        let former = json!([owner("StatefulSet", "s", "former")]);
        check("Delete", "Delete", former, false, &expect!["None"]);
    }
}
