//! Defaults: declared ones from the type table and coded ones per group, applied wherever a type stands, parents before
//! what they hold; then the forms that upstream's round trip through its internal types leaves (aliases, merged fields).

mod admission;
mod apps;
mod autoscaling;
mod batch;
mod core;
mod image;
mod networking;
mod pod;
mod pod_resources;
mod storage;

use std::collections::HashMap;
use std::sync::LazyLock;

use corten_meta::Quantity;
use serde_json::{Map, Value};

use crate::types::{self, Field, Kind, Shape, TypeId, named};

pub use image::tag as image_tag;

/// The members of one struct.
type Members = Map<String, Value>;

/// Sets the defaults of one struct.
type Hook = fn(&mut Members);

/// A hook and the Go type it belongs to.
type Entry = (&'static str, &'static str, Hook);

/// What to do at each type. Built once: the type table is fixed.
struct Plan {
    hooks: HashMap<TypeId, Vec<Hook>>,
    declared: HashMap<TypeId, Vec<(&'static str, Value)>>,
    canonical: HashMap<TypeId, Vec<Hook>>,
    /// Members under which something is to be done.
    descend: HashMap<TypeId, Vec<&'static Field>>,
}

static PLAN: LazyLock<Plan> = LazyLock::new(Plan::build);

/// Applies all defaults of a type to an object that `normalize` has brought to Go's form.
pub fn default(id: TypeId, value: &mut Value) {
    let shape = Shape {
        kind: Kind::Struct(id),
        pointer: false,
        expr: id.expr(),
    };
    PLAN.walk(&shape, value, Pass::Defaults);
    PLAN.walk(&shape, value, Pass::Canonical);
}

#[derive(Clone, Copy)]
enum Pass {
    Defaults,
    Canonical,
}

fn index(entries: impl Iterator<Item = Entry>) -> HashMap<TypeId, Vec<Hook>> {
    let mut out: HashMap<TypeId, Vec<Hook>> = HashMap::new();
    for (package, name, hook) in entries {
        let id = named(package, name);
        debug_assert!(id.is_some(), "no type {package}#{name}");
        out.entry(id.unwrap_or(TypeId(u16::MAX))).or_default().push(hook);
    }
    out
}

/// A declared default as a value; named constants are spelled out.
fn declared_value(text: &str) -> Option<Value> {
    match text {
        "ref(AzureDataDiskCachingReadWrite)" => Some(Value::from("ReadWrite")),
        "ref(AzureSharedBlobDisk)" => Some(Value::from("Shared")),
        text => serde_json::from_str(text).ok(),
    }
}

impl Plan {
    fn build() -> Self {
        let groups = [
            admission::HOOKS,
            apps::HOOKS,
            autoscaling::HOOKS,
            batch::HOOKS,
            core::HOOKS,
            networking::HOOKS,
        ];
        let more = [pod::HOOKS, storage::HOOKS];
        let hooks = index(groups.iter().chain(&more).copied().flatten().copied());
        let canonical = index(
            apps::CANONICAL
                .iter()
                .chain(core::CANONICAL)
                .chain(pod::CANONICAL)
                .copied(),
        );
        let declared: HashMap<_, _> = types::all()
            .map(|(id, ty)| (id, declared_of(ty.fields)))
            .filter(|(_, d)| !d.is_empty())
            .collect();
        let mut plan = Self {
            hooks,
            declared,
            canonical,
            descend: HashMap::new(),
        };
        let mut reaches: HashMap<TypeId, bool> = HashMap::new();
        // Types refer to each other in cycles (JSON schemas): repeat until nothing new is reached.
        loop {
            let before = reaches.values().filter(|r| **r).count();
            for (id, ty) in types::all() {
                let own = plan.acts_on(id);
                let below = ty.fields.iter().any(|f| plan.shape_reaches(&f.shape, &reaches));
                reaches.insert(id, own || below);
            }
            if reaches.values().filter(|r| **r).count() == before {
                break;
            }
        }
        for (id, ty) in types::all() {
            let fields: Vec<_> = ty
                .fields
                .iter()
                .filter(|f| plan.shape_reaches(&f.shape, &reaches))
                .collect();
            if !fields.is_empty() {
                plan.descend.insert(id, fields);
            }
        }
        plan
    }

    fn acts_on(&self, id: TypeId) -> bool {
        self.hooks.contains_key(&id) || self.declared.contains_key(&id) || self.canonical.contains_key(&id)
    }

    fn shape_reaches(&self, shape: &Shape, reaches: &HashMap<TypeId, bool>) -> bool {
        match shape.kind {
            Kind::Struct(id) => reaches.get(&id).copied().unwrap_or(false),
            Kind::Map(_) if is_resource_list(shape) => true,
            Kind::List(e) | Kind::Map(e) => self.shape_reaches(&e.shape, reaches),
            _ => false,
        }
    }

    fn walk(&self, shape: &Shape, value: &mut Value, pass: Pass) {
        match (shape.kind, value) {
            (Kind::Struct(id), Value::Object(members)) => self.structure(id, members, pass),
            (Kind::List(e), Value::Array(items)) => {
                items.iter_mut().for_each(|item| self.walk(&e.shape, item, pass));
            }
            (Kind::Map(_), Value::Object(entries)) if is_resource_list(shape) => {
                entries.values_mut().for_each(round_to_milli);
            }
            (Kind::Map(e), Value::Object(entries)) => {
                entries
                    .values_mut()
                    .for_each(|entry| self.walk(&e.shape, entry, pass));
            }
            _ => {}
        }
    }

    fn structure(&self, id: TypeId, members: &mut Members, pass: Pass) {
        let hooks = match pass {
            Pass::Defaults => &self.hooks,
            Pass::Canonical => &self.canonical,
        };
        for hook in hooks.get(&id).into_iter().flatten() {
            hook(members);
        }
        if matches!(pass, Pass::Defaults) {
            for (name, value) in self.declared.get(&id).into_iter().flatten() {
                set_absent(members, name, value.clone());
            }
        }
        for field in self.descend.get(&id).into_iter().flatten() {
            if let Some(value) = members.get_mut(field.name) {
                self.walk(&field.shape, value, pass);
            }
        }
    }
}

/// Declared defaults that show: one that is a non-pointer's zero changes nothing.
fn declared_of(fields: &'static [Field]) -> Vec<(&'static str, Value)> {
    let shows = |field: &&Field| !field.rules.default.is_empty();
    let value = |field: &Field| {
        let value = declared_value(field.rules.default)?;
        let zero = !field.shape.pointer && crate::typed::is_empty(&field.shape, &value);
        (!zero).then_some((field.name, value))
    };
    fields.iter().filter(shows).filter_map(value).collect()
}

/// `core/v1` ResourceList, wherever it stands.
fn is_resource_list(shape: &Shape) -> bool {
    shape.expr.ends_with(".ResourceList")
}

/// Amounts finer than a thousandth are rounded up to one.
fn round_to_milli(value: &mut Value) {
    const MILLI: i128 = 1_000_000;
    let Some(text) = value.as_str().filter(|t| t.ends_with(['n', 'u'])) else {
        return;
    };
    let Ok(amount) = Quantity::parse(text) else { return };
    let rest = amount.nanos() % MILLI;
    if rest != 0 {
        let rounded = amount.nanos() - rest + MILLI * rest.signum();
        *value = Value::from(Quantity::from_nanos(rounded, amount.format()).to_string());
    }
}

/// A member that is not there or is null: Go's nil, and the zero of a plain member, which reading leaves out. An empty string
/// that is there is what a pointer points to, and stays for validation to judge.
fn is_unset(members: &Members, name: &str) -> bool {
    members.get(name).is_none_or(Value::is_null)
}

fn set(members: &mut Members, name: &str, value: impl Into<Value>) {
    members.insert(name.to_owned(), value.into());
}

fn set_absent(members: &mut Members, name: &str, value: impl Into<Value>) {
    if is_unset(members, name) {
        set(members, name, value);
    }
}

/// A plain string that is written even when it is empty.
fn set_empty(members: &mut Members, name: &str, value: impl Into<Value>) {
    if text(members, name).is_empty() {
        set(members, name, value);
    }
}

/// A number that is absent or zero.
fn set_zero(members: &mut Members, name: &str, value: i64) {
    if int(members, name) == 0 {
        set(members, name, value);
    }
}

fn int(members: &Members, name: &str) -> i64 {
    members.get(name).and_then(Value::as_i64).unwrap_or(0)
}

fn text<'a>(members: &'a Members, name: &str) -> &'a str {
    members.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// A struct member, made when absent.
fn child<'a>(members: &'a mut Members, name: &str) -> &'a mut Members {
    corten_meta::object::child_mut(members, name)
}

/// The objects of a list member.
fn items<'a>(members: &'a mut Members, name: &str) -> impl Iterator<Item = &'a mut Members> {
    let list = members.get_mut(name).and_then(Value::as_array_mut);
    list.into_iter().flatten().filter_map(Value::as_object_mut)
}

fn list_is_empty(members: &Members, name: &str) -> bool {
    members
        .get(name)
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
}
