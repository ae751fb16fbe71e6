//! Server-side apply: who owns which fields, and what happens when two want the same one (KEP-555). Every write updates
//! ownership; an apply merges a configuration into the live object and drops what its manager no longer says.

mod client_side;
mod compare;
pub mod custom;
mod managed;
mod merge;
mod overlay;
mod remove;
mod reset;
pub mod scale;
mod set;
mod shape;
mod validate;
mod versions;

use std::sync::{LazyLock, OnceLock};

use corten_meta::{GroupVersionKind, Status, object};
use serde_json::{Map, Value, json};

use crate::types::{TypeId, type_of};
use compare::Comparison;
use custom::CustomType;
pub use managed::manager_name;
use managed::{Entry, Fields, Id, Managers, Operation};
pub use overlay::{overlay, overlay_custom};
pub use reset::{FieldPath, reset_fields, reset_fields_of_custom};
pub use set::Set;
use shape::Node;

/// The write whose ownership is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Write<'a> {
    /// The kind as written: its version is the entry's `apiVersion`.
    pub gvk: &'a GroupVersionKind,
    /// The field manager (see `manager_name`).
    pub manager: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// RFC 3339, seconds.
    pub now: &'a str,
    /// Fields this write does not own, such as `status` on the object itself.
    pub reset: &'a [FieldPath],
}

impl Write<'_> {
    fn id(&self, operation: Operation) -> Id {
        Id {
            manager: self.manager.to_owned(),
            operation,
            // An applier has one entry whatever version it applies in.
            api_version: if operation == Operation::Apply {
                String::new()
            } else {
                self.gvk.api_version()
            },
            subresource: self.subresource.to_owned(),
        }
    }

    fn type_id(&self) -> corten_meta::Result<TypeId> {
        type_of(self.gvk).ok_or_else(|| Status::internal(format!("no type for {}", self.gvk)))
    }

    /// What a new custom object has from the start.
    fn custom_zero(&self) -> Value {
        json!({"apiVersion": self.gvk.api_version(), "kind": self.gvk.kind})
    }
}

/// Paths that are the server's or identify the object.
const STRIPPED: &[&[&str]] = &[
    &["apiVersion"],
    &["kind"],
    &["metadata"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "clusterName"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

fn stripped() -> &'static Set {
    static SET: LazyLock<Set> = LazyLock::new(|| Set::of_paths(STRIPPED));
    &SET
}

fn without_managed(value: &Value) -> Value {
    let mut out = value.clone();
    if let Some(Value::Object(meta)) = out.get_mut("metadata") {
        meta.remove("managedFields");
    }
    out
}

/// What stands for the live object of a create: Go's zero value, whose structs are there and empty.
fn nothing_live(id: TypeId) -> &'static Value {
    static ZEROS: LazyLock<Vec<OnceLock<Value>>> =
        LazyLock::new(|| crate::types::all().map(|_| OnceLock::new()).collect());
    ZEROS[usize::from(id.0)].get_or_init(|| {
        let mut empty = Value::Object(Map::new());
        // An empty object has no wrong types.
        let _ = crate::typed::normalize(id, &mut empty, crate::Mode::Ignore);
        empty
    })
}

/// Records in `new.metadata.managedFields` what this create or update changed. `live` is the object as it was, `None` on
/// create; both in Go's form. Never fails: managed fields that cannot be read start anew, as upstream.
pub fn update(write: &Write<'_>, live: Option<&Value>, new: &mut Value) {
    if let Ok(id) = write.type_id() {
        record(write, Node::of(id), live.unwrap_or_else(|| nothing_live(id)), new);
    }
}

/// [`update`] for a custom resource with this schema.
pub fn update_custom(write: &Write<'_>, schema: &dyn CustomType, live: Option<&Value>, new: &mut Value) {
    let node = Node::of_custom(schema, false);
    match live {
        Some(live) => record(write, node, live, new),
        None => record(write, node, &write.custom_zero(), new),
    }
}

fn record(write: &Write<'_>, node: Node<'_>, live: &Value, new: &mut Value) {
    let reset = Set::of_paths(write.reset);
    // Managed fields are among what is stripped, so they need not be taken out first.
    let comparison = compare::values(node, live, new).without(&reset);
    let mut managers = starting_managers(write, live, new);
    // Upstream tracks from the creation on, or not before the first apply.
    if managers.is_empty() && !object::uid(live).is_empty() {
        managers.write_to(new);
        return;
    }
    let changes = versions::comparisons(write.gvk, comparison, &managers, [live, new], &reset);
    managers.lose(&changes);
    let mut gained = changes.own.modified.merge(changes.own.added);
    gained.subtract(stripped());
    gained.subtract_prefixes(&reset);
    if !gained.is_empty() {
        managers.gain(
            write.id(Operation::Update),
            &write.gvk.api_version(),
            gained,
            write.now,
        );
    }
    managers.cap(write.now);
    managers.write_to(new);
}

/// Managed fields that a client sent are taken where they can be read; else the live ones stay. Takes them out of `new`.
fn starting_managers(write: &Write<'_>, live: &Value, new: &mut Value) -> Managers {
    let sent = object::metadata_mut(new).remove("managedFields");
    let kept = object::metadata(live).get("managedFields");
    if sent.as_ref() == kept {
        return sent.and_then(Managers::read_own).unwrap_or_default();
    }
    if write.subresource.is_empty() {
        // One empty entry is how a client asks for all to be dropped.
        let reset = sent
            .as_ref()
            .and_then(Value::as_array)
            .is_some_and(|l| l.len() == 1 && l[0] == Value::Object(Map::new()));
        if reset {
            return Managers::default();
        }
        if let Some(managers) = sent.and_then(Managers::read).filter(|m| !m.is_empty()) {
            return managers;
        }
    }
    Managers::of(live)
}

/// Merges a configuration into the live object (`None` creates it), moving ownership. The answer carries its managed
/// fields and is yet to be normalized and defaulted.
///
/// Errors: a configuration that does not fit the type (upstream answers 500 with its text), a conflict (409 with a cause
/// per field) unless `force`, managed fields or another version in the configuration (400).
pub fn apply(
    write: &Write<'_>,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> corten_meta::Result<Value> {
    let id = write.type_id()?;
    apply_to(write, Node::of(id), nothing_live(id), live, config, force)
}

/// [`apply`] for a custom resource with this schema.
pub fn apply_custom(
    write: &Write<'_>,
    schema: &dyn CustomType,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> corten_meta::Result<Value> {
    let node = Node::of_custom(schema, false);
    apply_to(write, node, &write.custom_zero(), live, config, force)
}

fn apply_to(
    write: &Write<'_>,
    node: Node<'_>,
    zero: &Value,
    live: Option<&Value>,
    config: &Value,
    force: bool,
) -> corten_meta::Result<Value> {
    let reset = Set::of_paths(write.reset);
    check(write, node, config)?;
    let live = live.unwrap_or(zero);
    let mut managers = Managers::of(live);
    let before = without_managed(live);
    if managers.is_empty() && !object::uid(live).is_empty() {
        own_what_was_there(write, node, zero, &before, &mut managers);
    }
    let own = write.id(Operation::Apply);
    let last = managers.take(&own);
    let mut set = shape::field_set(node, config);
    set.subtract_prefixes(&reset);
    let merged = merge::values(node, Some(&before), Some(config)).unwrap_or(Value::Null);
    // With the name in it, which no manager keeps: without, metadata would go with the last of its fields.
    let merged = prune(write, node, merged, last.as_ref(), &managers, &set);
    set.subtract(stripped());
    let version = write.gvk.api_version();
    let comparison = compare::values(node, &before, &merged).without(&reset);
    let changes = versions::comparisons(write.gvk, comparison, &managers, [&before, &merged], &reset);
    if !force {
        let spared = || client_side::not_in_conflict(write.manager, node, &before, &version);
        managers.conflicts(&changes, spared)?;
    }
    managers.lose(&changes);
    let time = match merged == before {
        // Who says only what is there already, and is new, has no time.
        true => last.map(|last| last.time).unwrap_or_default(),
        false => write.now.to_owned(),
    };
    let entry = Entry {
        api_version: version,
        time,
        fields: Fields::Set(set),
    };
    managers.put(own, entry);
    let mut out = merged;
    client_side::note(write.manager, config, &mut out);
    managers.write_to(&mut out);
    Ok(out)
}

/// An object from before anyone applied: what it has belongs to `before-first-apply`.
fn own_what_was_there(
    write: &Write<'_>,
    node: Node<'_>,
    zero: &Value,
    before: &Value,
    managers: &mut Managers,
) {
    let comparison = compare::values(node, zero, before);
    let mut set = comparison.modified.merge(comparison.added);
    set.subtract(stripped());
    set.subtract_prefixes(&Set::of_paths(write.reset));
    if !set.is_empty() {
        let id = Id {
            manager: "before-first-apply".to_owned(),
            operation: Operation::Update,
            api_version: write.gvk.api_version(),
            subresource: write.subresource.to_owned(),
        };
        managers.gain(id, &write.gvk.api_version(), set, write.now);
    }
}

fn check(write: &Write<'_>, node: Node<'_>, config: &Value) -> corten_meta::Result<()> {
    let stated = GroupVersionKind::from_api_version(object::api_version(config), object::kind(config));
    let stated = stated.unwrap_or_default();
    if stated != *write.gvk {
        return Err(Status::bad_request(format!(
            "invalid object type: {}",
            go_gvk(&stated)
        )));
    }
    if object::metadata(config)
        .get("managedFields")
        .is_some_and(|m| !m.is_null())
    {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let errors = validate::errors(node, config);
    if errors.is_empty() {
        return Ok(());
    }
    let text = overlay::joined(&errors);
    let place = format!("{}/{}", object::namespace(config), object::name(config));
    let kind = go_gvk(write.gvk);
    Err(Status::new(
        500,
        "",
        format!("failed to create typed patch object ({place}; {kind}): {text}"),
    ))
}

/// A kind as Go prints it: the core group leaves its slash.
fn go_gvk(gvk: &GroupVersionKind) -> String {
    format!("{}/{}, Kind={}", gvk.group, gvk.version, gvk.kind)
}

/// Removes what the manager applied last time and does not now, where no one else has it.
fn prune(
    write: &Write<'_>,
    node: Node<'_>,
    merged: Value,
    last: Option<&Entry>,
    others: &Managers,
    now: &Set,
) -> Value {
    let Some(last) = last.filter(|last| !last.fields.is_empty()) else {
        return merged;
    };
    if let Some(pruned) = versions::prune(write.gvk, &merged, last, others, now) {
        return pruned;
    }
    let named = |set: &Set| shape::with_named_fields(node, set);
    let gone = named(&last.fields.set());
    let pruned = remove::items(node, &merged, &gone);
    // What others own, or this configuration still says, comes back.
    let owned = named(&others.union().union(now));
    let all = named(&shape::field_set(node, &merged));
    let kept = named(&shape::field_set(node, &pruned));
    let pruned = remove::items(node, &merged, &all.difference(&kept.union(&owned)));
    // And what stood under it without being the manager's own.
    let kept = named(&shape::field_set(node, &pruned));
    remove::items(node, &merged, &all.difference(&kept).intersection(&gone))
}

impl Comparison {
    /// Leaves out the fields a strategy resets.
    fn without(mut self, reset: &Set) -> Self {
        for set in [&mut self.added, &mut self.modified, &mut self.removed] {
            set.subtract_prefixes(reset);
        }
        self
    }
}

#[cfg(test)]
mod tests;
