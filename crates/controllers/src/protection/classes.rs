//! Protection of VolumeAttributesClasses: a class stays while a claim or a volume names it. Upstream:
//! pkg/controller/volume/vacprotection.

use corten_client::object::{MetaExt, Object};
use corten_client::{Event, Informer, Key, Queue};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::VolumeAttributesClass;

use super::Protection;
use crate::core::Context;
use crate::core::context::queue_self;

pub(super) const CLASSES: Protection = Protection {
    name: "vacprotection",
    controller: "volumeattributesclass-protection-controller",
    finalizer: "kubernetes.io/vac-protection",
};
const INDEX: &str = "volumeattributesclass";

/// The classes a claim asks for, has, or is being changed to.
fn classes_of_claim(claim: &PersistentVolumeClaim) -> Vec<String> {
    let wanted = claim
        .spec
        .as_ref()
        .and_then(|s| s.volume_attributes_class_name.clone());
    let status = claim.status.as_ref();
    let current = status.and_then(|s| s.current_volume_attributes_class_name.clone());
    let modify = status.and_then(|s| s.modify_volume_status.as_ref());
    let target = modify.and_then(|m| m.target_volume_attributes_class_name.clone());
    let mut names: Vec<String> = [wanted, current, target].into_iter().flatten().collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// The class a volume has.
fn classes_of_volume(volume: &PersistentVolume) -> Vec<String> {
    let class = volume
        .spec
        .as_ref()
        .and_then(|s| s.volume_attributes_class_name.clone());
    class.into_iter().filter(|name| !name.is_empty()).collect()
}

/// Classes that an object no longer names.
fn let_go<K>(event: &Event<'_, K>, classes: fn(&K) -> Vec<String>) -> Vec<String> {
    match event {
        Event::Added(_) => Vec::new(),
        Event::Deleted(object) => classes(object),
        Event::Updated { old, new } => {
            let kept = classes(new);
            let mut names = classes(old);
            names.retain(|name| !kept.contains(name));
            names
        }
    }
}

fn queue_let_go<K: Object>(informer: &Informer<K>, queue: &Queue<Key>, classes: fn(&K) -> Vec<String>) {
    informer.add_index(INDEX, classes);
    let queue = queue.clone();
    informer.on_event(move |event| {
        for name in let_go(&event, classes) {
            queue.add(Key::new("", &name));
        }
    });
}

/// Runs the controller until its context stops.
pub(super) async fn run(context: Context) {
    let classes = context.factory.informer::<VolumeAttributesClass>();
    let claims = context.factory.informer::<PersistentVolumeClaim>();
    let volumes = context.factory.informer::<PersistentVolume>();
    let queue = CLASSES.queue();
    queue_self(&classes, &queue);
    queue_let_go(&claims, &queue, classes_of_claim);
    queue_let_go(&volumes, &queue, classes_of_volume);
    classes.synced().await;
    claims.synced().await;
    volumes.synced().await;
    let used = move |class: &VolumeAttributesClass| {
        let name = class.metadata.name();
        !volumes.indexed(INDEX, name).is_empty() || !claims.indexed(INDEX, name).is_empty()
    };
    CLASSES.run(&context, queue, classes, used).await;
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test")]
mod tests {
    use std::sync::Arc;

    use super::super::plan;
    use super::*;

    fn claim(json: &str) -> Arc<PersistentVolumeClaim> {
        Arc::new(serde_json::from_str(json).unwrap())
    }

    #[test]
    fn a_claim_names_what_it_wants_has_and_becomes() {
        let all = claim(
            r#"{"spec": {"volumeAttributesClassName": "b"}, "status": {"currentVolumeAttributesClassName": "a",
                "modifyVolumeStatus": {"status": "Pending", "targetVolumeAttributesClassName": "b"}}}"#,
        );
        assert_eq!(classes_of_claim(&all), ["a", "b"]);
        let none = claim(r#"{"spec": {"volumeAttributesClassName": ""}}"#);
        assert!(classes_of_claim(&none).is_empty());
    }

    #[test]
    fn a_class_is_looked_at_when_it_is_let_go() {
        let old = claim(r#"{"spec": {"volumeAttributesClassName": "a"}}"#);
        let new = claim(r#"{"spec": {"volumeAttributesClassName": "b"}}"#);
        let changed = Event::Updated { old: &old, new: &new };
        assert_eq!(let_go(&changed, classes_of_claim), ["a"]);
        assert_eq!(let_go(&Event::Deleted(&new), classes_of_claim), ["b"]);
        assert!(let_go(&Event::Added(&new), classes_of_claim).is_empty());
    }

    #[test]
    fn a_class_that_goes_is_kept_while_it_is_used() {
        let mut class = VolumeAttributesClass::default();
        assert!(
            plan(&class, CLASSES.finalizer, || true).is_some(),
            "it gets its finalizer"
        );
        class.metadata.finalizers = Some(vec![CLASSES.finalizer.to_owned()]);
        assert!(plan(&class, CLASSES.finalizer, || false).is_none(), "it lives");
        let gone = r#"{"driverName": "d", "metadata": {"deletionTimestamp": "2024-01-01T00:00:00Z",
            "finalizers": ["kubernetes.io/vac-protection"]}}"#;
        let class: VolumeAttributesClass = serde_json::from_str(gone).unwrap();
        assert!(plan(&class, CLASSES.finalizer, || true).is_none());
        assert!(plan(&class, CLASSES.finalizer, || false).is_some());
    }
}
