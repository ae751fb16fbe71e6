//! What is done about one object. Upstream: pkg/controller/garbagecollector/garbagecollector.go.

use corten_client::object::MetaExt;
use corten_client::request::MERGE_PATCH;
use corten_client::{Error, Partial};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use super::Collector;
use super::graph::{FOREGROUND, Node, ORPHAN, Place, Task};
use crate::core::{Action, Note};

/// Works on one task.
pub(crate) async fn work(collector: &Collector, task: Task) -> Result<(), Error> {
    match task {
        Task::Delete(uid) => try_delete(collector, &uid).await,
        Task::Orphan(uid) => orphan(collector, &uid).await,
    }
}

/// Owners of an object, by what has become of them.
#[derive(Default)]
struct Owners {
    solid: Vec<OwnerReference>,
    dangling: Vec<String>,
    waiting: Vec<String>,
}

async fn try_delete(collector: &Collector, uid: &str) -> Result<(), Error> {
    let Some(node) = collector.graph.lock().get(uid).cloned() else {
        return Ok(());
    };
    if node.being_deleted && !node.deleting_dependents && !node.is_virtual {
        return Ok(());
    }
    let Some(meta) = live(collector, &node.place, uid).await? else {
        // It is not there, whatever the watches say or will say.
        let tasks = collector.graph.lock().gone(uid);
        collector.push(tasks);
        return Ok(());
    };
    if node.is_virtual {
        let tasks = collector.graph.lock().observe(node.place.clone(), &meta);
        collector.push(tasks);
        return Ok(());
    }
    if node.deleting_dependents {
        return wait_for_dependents(collector, uid, &node, &meta).await;
    }
    let owners = sort_owners(collector, &node, &meta).await?;
    if meta.owner_references.as_ref().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    if !owners.solid.is_empty() {
        if owners.dangling.is_empty() && owners.waiting.is_empty() {
            return Ok(());
        }
        return patch(
            collector,
            &node.place,
            uid,
            json!({"ownerReferences": owners.solid}),
            &meta,
        )
        .await;
    }
    let has = |f: &str| meta.finalizers.iter().flatten().any(|x| x == f);
    if !owners.waiting.is_empty() && !node.dependents.is_empty() {
        break_cycle(collector, uid, &node, &meta).await?;
        return delete(collector, &node.place, uid, "Foreground", None).await;
    }
    let policy = if has(ORPHAN) {
        "Orphan"
    } else if has(FOREGROUND) {
        "Foreground"
    } else {
        "Background"
    };
    // The owners were judged by this revision: if it has others by now, it is judged again.
    delete(collector, &node.place, uid, policy, Some(meta.rv())).await
}

/// An object deleted in the foreground goes when nothing that blocks it is left.
async fn wait_for_dependents(
    collector: &Collector,
    uid: &str,
    node: &Node,
    meta: &ObjectMeta,
) -> Result<(), Error> {
    let blocking: Vec<(String, bool)> = {
        let graph = collector.graph.lock();
        graph
            .blocking(uid)
            .into_iter()
            .map(|(uid, n)| (uid, n.deleting_dependents))
            .collect()
    };
    if blocking.is_empty() {
        return remove_finalizer(collector, &node.place, uid, meta, FOREGROUND).await;
    }
    for (dependent, deleting) in blocking {
        if !deleting {
            collector.queue.add(Task::Delete(dependent));
        }
    }
    Ok(())
}

/// In a circle of owners somebody has to let go first.
async fn break_cycle(collector: &Collector, uid: &str, node: &Node, meta: &ObjectMeta) -> Result<(), Error> {
    let circular = {
        let graph = collector.graph.lock();
        node.dependents
            .iter()
            .any(|d| graph.get(d).is_some_and(|n| n.deleting_dependents))
    };
    if !circular {
        return Ok(());
    }
    let mut owners = meta.owner_references.clone().unwrap_or_default();
    for owner in &mut owners {
        owner.block_owner_deletion = Some(false);
    }
    patch(
        collector,
        &node.place,
        uid,
        json!({"ownerReferences": owners}),
        meta,
    )
    .await
}

async fn orphan(collector: &Collector, uid: &str) -> Result<(), Error> {
    let Some(node) = collector.graph.lock().get(uid).cloned().filter(|n| n.orphaning) else {
        return Ok(());
    };
    for dependent in &node.dependents {
        let Some(child) = collector.graph.lock().get(dependent).cloned() else {
            continue;
        };
        let Some(meta) = live(collector, &child.place, dependent).await? else {
            continue;
        };
        let kept: Vec<_> = meta
            .owner_references
            .iter()
            .flatten()
            .filter(|o| o.uid != uid)
            .cloned()
            .collect();
        let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
        patch(
            collector,
            &child.place,
            dependent,
            json!({"ownerReferences": kept}),
            &meta,
        )
        .await?;
    }
    match live(collector, &node.place, uid).await? {
        Some(meta) => remove_finalizer(collector, &node.place, uid, &meta, ORPHAN).await,
        None => Ok(()),
    }
}

async fn sort_owners(collector: &Collector, node: &Node, meta: &ObjectMeta) -> Result<Owners, Error> {
    let mut owners = Owners::default();
    for owner in meta.owner_references.iter().flatten() {
        match owner_state(collector, node, owner).await? {
            None => owners.dangling.push(owner.uid.clone()),
            Some(true) => owners.waiting.push(owner.uid.clone()),
            Some(false) => owners.solid.push(owner.clone()),
        }
    }
    Ok(owners)
}

/// None: there is no such owner. Otherwise whether it waits for its dependents to go.
async fn owner_state(
    collector: &Collector,
    node: &Node,
    owner: &OwnerReference,
) -> Result<Option<bool>, Error> {
    let known = collector
        .graph
        .lock()
        .get(&owner.uid)
        .cloned()
        .filter(|n| !n.is_virtual);
    if let Some(known) = known {
        if !known.place.ns.is_empty() && known.place.ns != node.place.ns {
            warn_of_namespace(collector, node, owner).await?;
            return Ok(None);
        }
        if known.place.kind == owner.kind && *known.place.name == *owner.name {
            let waits =
                known.being_deleted && known.deleting_dependents && owner.block_owner_deletion == Some(true);
            return Ok(Some(waits));
        }
    }
    let place = Place::of_owner(owner, &node.place.ns);
    let found = live(collector, &place, &owner.uid).await?;
    let waits = |m: &ObjectMeta| {
        let foreground = m.finalizers.iter().flatten().any(|f| f == FOREGROUND);
        m.terminating() && foreground && owner.block_owner_deletion == Some(true)
    };
    Ok(found.map(|meta| waits(&meta)))
}

async fn warn_of_namespace(collector: &Collector, node: &Node, owner: &OwnerReference) -> Result<(), Error> {
    let (place, o) = (&node.place, owner);
    let message = format!(
        "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace \"{}\"",
        o.api_version, o.kind, place.ns, o.name, o.uid, place.ns
    );
    let about = k8s_openapi::api::core::v1::ObjectReference {
        api_version: Some(place.api_version.clone()),
        kind: Some(place.kind.clone()),
        namespace: Some(place.ns.to_string()),
        name: Some(place.name.to_string()),
        ..Default::default()
    };
    let level = corten_client::events::Level::Warning;
    let note = Note {
        about,
        level,
        reason: "OwnerRefInvalidNamespace",
        message,
    };
    collector.executor.apply(vec![Action::Note(note)], None).await
}

fn path(collector: &Collector, place: &Place) -> Option<String> {
    let kind = collector.kind(&place.api_version, &place.kind)?;
    Some(kind.path(if kind.namespaced { &place.ns } else { "" }, &place.name))
}

/// The object as the server has it now; none if it is another one or not there. A kind that is not served cannot have
/// objects that anybody could reach, but it may come back: its objects are left alone.
async fn live(collector: &Collector, place: &Place, uid: &str) -> Result<Option<ObjectMeta>, Error> {
    let Some(path) = path(collector, place) else {
        return Err(Error::Other(format!(
            "kind {} {} is not served",
            place.api_version, place.kind
        )));
    };
    match collector.caller.read::<Partial>(&path).await {
        Ok(found) if found.metadata.uid() == uid => Ok(Some(found.metadata)),
        Ok(_) => Ok(None),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

async fn remove_finalizer(
    collector: &Collector,
    place: &Place,
    uid: &str,
    meta: &ObjectMeta,
    name: &str,
) -> Result<(), Error> {
    let kept: Vec<_> = meta.finalizers.iter().flatten().filter(|f| *f != name).collect();
    let kept = if kept.is_empty() { Value::Null } else { json!(kept) };
    patch(collector, place, uid, json!({"finalizers": kept}), meta).await
}

/// Merge-patches metadata of this very object, as it was read.
async fn patch(
    collector: &Collector,
    place: &Place,
    uid: &str,
    mut fields: Value,
    meta: &ObjectMeta,
) -> Result<(), Error> {
    let Some(path) = path(collector, place) else {
        return Ok(());
    };
    fields["uid"] = json!(uid);
    fields["resourceVersion"] = json!(meta.rv());
    match collector
        .caller
        .patch(&path, MERGE_PATCH, &json!({"metadata": fields}))
        .await
    {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

async fn delete(
    collector: &Collector,
    place: &Place,
    uid: &str,
    policy: &str,
    revision: Option<&str>,
) -> Result<(), Error> {
    let Some(path) = path(collector, place) else {
        return Ok(());
    };
    let mut options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy,
        "preconditions": {"uid": uid}});
    if let Some(revision) = revision {
        options["preconditions"]["resourceVersion"] = json!(revision);
    }
    match collector.caller.delete(&path, &options).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
