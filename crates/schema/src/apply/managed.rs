//! `metadata.managedFields`: the entries, their identity and order.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use corten_meta::status::Cause;
use corten_meta::{Status, quote};
use serde_json::{Map, Value, json};

use super::set::Set;
use super::versions::Comparisons;

/// Most entries of updates; the oldest beyond it are folded into one.
const UPDATE_MANAGERS_MAX: usize = 10;
const ANCIENT: &str = "ancient-changes";
/// Longest name of a field manager, in bytes.
const MANAGER_LENGTH_MAX: usize = 128;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What makes two entries the same manager's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub operation: Operation,
    pub manager: String,
    /// Empty for appliers, who have one entry in whatever version.
    pub api_version: String,
    pub subresource: String,
}

impl Id {
    /// As upstream writes it down, and orders conflicts by.
    fn encoded(&self) -> String {
        let (manager, operation) = (Value::from(self.manager.as_str()), self.operation.name());
        let mut out = format!("{{\"manager\":{manager},\"operation\":{operation:?}");
        for (name, value) in [
            ("apiVersion", &self.api_version),
            ("subresource", &self.subresource),
        ] {
            if !value.is_empty() {
                out.push_str(&format!(",{name:?}:{}", Value::from(value.as_str())));
            }
        }
        out.push('}');
        out
    }
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub api_version: String,
    /// RFC 3339; empty when never set.
    pub time: String,
    pub fields: Fields,
}

/// What a manager owns. Most writes touch nothing that most managers own, and leave their entries as they were read.
#[derive(Clone, Debug)]
pub(super) enum Fields {
    /// In the `fieldsV1` form, as [`Set::to_json`] writes it.
    Written(Value),
    Set(Set),
}

impl Fields {
    pub fn set(&self) -> Cow<'_, Set> {
        match self {
            // It was checked when it was read.
            Self::Written(json) => Cow::Owned(Set::from_written(json).unwrap_or_default()),
            Self::Set(set) => Cow::Borrowed(set),
        }
    }

    fn into_set(self) -> Set {
        match self {
            Self::Written(_) => self.set().into_owned(),
            Self::Set(set) => set,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Written(json) => json.as_object().is_none_or(Map::is_empty),
            Self::Set(set) => set.is_empty(),
        }
    }

    fn lose(&mut self, touched: &Set) {
        if matches!(self, Self::Written(json) if touched.is_disjoint(json)) {
            return;
        }
        let mut left = std::mem::replace(self, Self::Set(Set::default())).into_set();
        left.subtract(touched);
        *self = Self::Set(left);
    }

    fn into_json(self) -> Value {
        match self {
            Self::Written(json) => json,
            Self::Set(set) => set.to_json(),
        }
    }
}

/// All managers of an object.
#[derive(Clone, Debug, Default)]
pub(super) struct Managers {
    entries: BTreeMap<Id, Entry>,
}

/// The field manager of a write: the one it names, else the first word of its user agent. Upstream's word for a client that
/// says neither is `unknown`.
pub fn manager_name(named: &str, user_agent: &str) -> String {
    if !named.is_empty() {
        return named.to_owned();
    }
    let mut out = String::new();
    for c in user_agent
        .split('/')
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
    {
        if out.len() + c.len_utf8() > MANAGER_LENGTH_MAX {
            break;
        }
        out.push(c);
    }
    if out.is_empty() {
        out.push_str("unknown");
    }
    out
}

impl Managers {
    /// Reads a list that a client wrote; `None` when an entry is not one.
    pub(super) fn read(list: Value) -> Option<Self> {
        Self::entries_of(list, |fields| Set::from_json(&fields).map(Fields::Set))
    }

    /// Those of an object; none where they cannot be read.
    pub(super) fn of(object: &Value) -> Self {
        let list = corten_meta::object::metadata(object).get("managedFields");
        list.cloned().and_then(Self::read_own).unwrap_or_default()
    }

    /// Reads a list that [`Managers::write_to`] wrote; `None` when an entry is not one.
    pub(super) fn read_own(list: Value) -> Option<Self> {
        Self::entries_of(list, |fields| {
            Set::is_written(&fields).then_some(Fields::Written(fields))
        })
    }

    fn entries_of(list: Value, fields_of: impl Fn(Value) -> Option<Fields>) -> Option<Self> {
        let Value::Array(list) = list else { return None };
        let mut entries = BTreeMap::new();
        for mut entry in list {
            let fields = entry.get_mut("fieldsV1").map(Value::take).unwrap_or_default();
            let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
            if entry["fieldsType"] != "FieldsV1" || text("apiVersion").is_empty() {
                return None;
            }
            let operation = match entry["operation"].as_str()? {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return None,
            };
            let by_version = operation == Operation::Update;
            let api_version = if by_version {
                text("apiVersion")
            } else {
                String::new()
            };
            let id = Id {
                operation,
                manager: text("manager"),
                api_version,
                subresource: text("subresource"),
            };
            let fields = match fields {
                Value::Null => Fields::Set(Set::default()),
                fields => fields_of(fields)?,
            };
            entries.insert(
                id,
                Entry {
                    api_version: text("apiVersion"),
                    time: text("time"),
                    fields,
                },
            );
        }
        Some(Self { entries })
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries as a list.
    pub(super) fn into_list(self) -> Value {
        let mut all: Vec<(Id, Entry)> = self.entries.into_iter().collect();
        all.sort_by(|a, b| place(a).cmp(&place(b)));
        all.into_iter().map(|(id, entry)| render(id, entry)).collect()
    }

    /// Takes the entries of others, which own nothing here yet.
    pub(super) fn absorb(&mut self, others: Self) {
        self.entries.extend(others.entries);
    }

    /// What `change` makes of each entry.
    pub(super) fn map(self, change: impl FnMut((Id, Entry)) -> Option<(Id, Entry)>) -> Self {
        Self {
            entries: self.entries.into_iter().filter_map(change).collect(),
        }
    }

    pub(super) fn take(&mut self, id: &Id) -> Option<Entry> {
        self.entries.remove(id)
    }

    pub(super) fn put(&mut self, id: Id, entry: Entry) {
        if !entry.fields.is_empty() {
            self.entries.insert(id, entry);
        }
    }

    /// Adds fields to a manager's and stamps it.
    pub(super) fn gain(&mut self, id: Id, api_version: &str, set: Set, now: &str) {
        let entry = self.entries.entry(id).or_insert_with(|| Entry {
            api_version: api_version.to_owned(),
            time: String::new(),
            fields: Fields::Set(Set::default()),
        });
        let own = std::mem::replace(&mut entry.fields, Fields::Set(Set::default()));
        entry.fields = Fields::Set(own.into_set().merge(set));
        now.clone_into(&mut entry.time);
    }

    /// The versions of the entries.
    pub(super) fn versions(&self) -> BTreeSet<&String> {
        self.entries.values().map(|entry| &entry.api_version).collect()
    }

    /// All fields that anyone owns, by the version of the entry.
    pub(super) fn by_version(&self) -> BTreeMap<String, Set> {
        let mut all: BTreeMap<String, Set> = BTreeMap::new();
        for entry in self.entries.values() {
            let own = all.entry(entry.api_version.clone()).or_default();
            *own = own.union(&entry.fields.set());
        }
        all
    }

    /// Everyone loses what a change touched.
    pub(super) fn lose(&mut self, changes: &Comparisons) {
        for entry in self.entries.values_mut() {
            let change = changes.of(&entry.api_version);
            for touched in [&change.modified, &change.added, &change.removed] {
                entry.fields.lose(touched);
            }
        }
        self.entries.retain(|_, entry| !entry.fields.is_empty());
    }

    /// All fields anyone owns.
    pub(super) fn union(&self) -> Set {
        self.entries
            .values()
            .fold(Set::default(), |all, entry| all.union(&entry.fields.set()))
    }

    /// Fails where a change touches what others own, but for what `spared` gives.
    pub(super) fn conflicts(
        &self,
        changes: &Comparisons,
        spared: impl FnOnce() -> Option<Set>,
    ) -> corten_meta::Result<()> {
        let touched_in = |entry: &Entry| {
            let change = changes.of(&entry.api_version);
            let own = entry.fields.set();
            own.intersection(&change.modified)
                .union(&own.intersection(&change.added))
        };
        let mut conflicts: Vec<_> = self
            .entries
            .iter()
            .map(|(id, entry)| (id, entry, touched_in(entry)))
            .filter(|(.., touched)| !touched.is_empty())
            .collect();
        if let Some(spared) = (!conflicts.is_empty()).then(spared).flatten() {
            for (.., touched) in &mut conflicts {
                touched.subtract(&spared);
            }
            conflicts.retain(|(.., touched)| !touched.is_empty());
        }
        conflicts.sort_by_cached_key(|(id, ..)| id.encoded());
        let conflicts: Vec<(String, Vec<String>)> = conflicts
            .into_iter()
            .map(|(id, entry, touched)| (describe(id, entry), touched.paths()))
            .collect();
        if conflicts.is_empty() {
            Ok(())
        } else {
            Err(conflict_status(&conflicts))
        }
    }

    /// Folds the oldest updates beyond the limit into one entry a version.
    pub(super) fn cap(&mut self, now: &str) {
        let mut updates: Vec<(String, Id)> = self
            .entries
            .iter()
            .filter(|(id, _)| id.operation == Operation::Update && id.manager != ANCIENT)
            .map(|(id, entry)| (entry.time.clone(), id.clone()))
            .collect();
        if updates.len() <= UPDATE_MANAGERS_MAX {
            return;
        }
        updates.sort();
        let beyond = updates.len() - UPDATE_MANAGERS_MAX + 1;
        for (time, id) in updates.into_iter().take(beyond) {
            let Some(entry) = self.entries.remove(&id) else {
                continue;
            };
            let ancient = Id {
                manager: ANCIENT.to_owned(),
                ..id
            };
            let time = if time.is_empty() { now } else { &time };
            self.gain(ancient, &entry.api_version, entry.fields.into_set(), time);
        }
    }

    /// Writes the list into an object, in upstream's order; no list where there are no managers.
    pub(super) fn write_to(self, object: &mut Value) {
        let meta = corten_meta::object::metadata_mut(object);
        if self.entries.is_empty() {
            meta.remove("managedFields");
            return;
        }
        meta.insert("managedFields".to_owned(), self.into_list());
    }
}

/// Upstream's order.
fn place((id, entry): &(Id, Entry)) -> (Operation, [&str; 4]) {
    (
        id.operation,
        [&entry.time, &id.manager, &entry.api_version, &id.subresource],
    )
}

fn render(id: Id, entry: Entry) -> Value {
    let mut out = Map::new();
    out.insert("operation".to_owned(), json!(id.operation.name()));
    out.insert("apiVersion".to_owned(), Value::String(entry.api_version));
    out.insert("fieldsType".to_owned(), json!("FieldsV1"));
    out.insert("fieldsV1".to_owned(), entry.fields.into_json());
    for (name, text) in [
        ("manager", id.manager),
        ("time", entry.time),
        ("subresource", id.subresource),
    ] {
        if !text.is_empty() {
            out.insert(name.to_owned(), Value::String(text));
        }
    }
    Value::Object(out)
}

/// A manager as conflicts name it.
fn describe(id: &Id, entry: &Entry) -> String {
    let mut out = quote(&id.manager);
    if !id.subresource.is_empty() {
        out.push_str(&format!(" with subresource {}", quote(&id.subresource)));
    }
    if id.operation == Operation::Update {
        out.push_str(&format!(" using {}", entry.api_version));
    }
    out
}

fn conflict_status(conflicts: &[(String, Vec<String>)]) -> Status {
    let causes: Vec<Cause> = conflicts
        .iter()
        .flat_map(|(manager, paths)| {
            paths.iter().map(move |path| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {manager}"),
                field: path.clone(),
            })
        })
        .collect();
    let message = match (conflicts, causes.as_slice()) {
        ([(manager, _)], [cause]) => {
            format!(
                "Apply failed with 1 conflict: conflict with {manager}: {}",
                cause.field
            )
        }
        _ => {
            let each = conflicts.iter().map(|(manager, paths)| {
                let paths: Vec<String> = paths.iter().map(|p| format!("\n- {p}")).collect();
                format!("conflicts with {manager}:{}", paths.concat())
            });
            format!(
                "Apply failed with {} conflicts: {}",
                causes.len(),
                each.collect::<Vec<_>>().join("\n")
            )
        }
    };
    Status::apply_conflict(causes, message)
}
