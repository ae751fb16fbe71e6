//! What a definition's status says: which of its names it has, and whether it is served. Pure. Rules: upstream's naming,
//! establishing, nonstructuralschema and apiapproval controllers.

use std::collections::HashSet;

use corten_crd::definition as rules;
use corten_meta::object;
use corten_registry::strategy::definition::set_condition;
use serde_json::{Value, json};

/// Names that other definitions of a group hold.
#[derive(Debug, Default)]
pub struct Taken {
    resources: HashSet<String>,
    kinds: HashSet<String>,
}

impl Taken {
    /// Takes in another definition's accepted names.
    pub fn add(&mut self, definition: &Value) {
        let names = &definition["status"]["acceptedNames"];
        let text = |field: &str| names[field].as_str().unwrap_or_default().to_owned();
        self.resources.extend(["plural", "singular"].map(text));
        self.resources.extend(words(&names["shortNames"]));
        self.kinds.extend(["kind", "listKind"].map(text));
    }
}

fn words(list: &Value) -> Vec<String> {
    let words = list.as_array().into_iter().flatten();
    words
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect()
}

/// True where the status holds the condition with this status.
pub fn holds(definition: &Value, kind: &str, status: &str) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|c| c["type"] == kind && c["status"] == status)
}

/// The definition with the status it should have; the same where there is nothing to say. `now` is RFC 3339.
pub fn settle(definition: &Value, others: &Taken, now: &str) -> Value {
    let mut out = definition.clone();
    if object::deletion_timestamp(definition).is_some() {
        return out;
    }
    let names = named(definition, others);
    if definition["spec"]["names"] != definition["status"]["acceptedNames"]
        || !holds(definition, "NamesAccepted", "True")
    {
        out["status"]["acceptedNames"] = names.accepted;
        change(&mut out, names.condition, now);
    }
    if !holds(&out, "Established", "True") {
        let established = if holds(&out, "NamesAccepted", "True") {
            condition(
                "Established",
                "True",
                "InitialNamesAccepted",
                "the initial names have been accepted",
            )
        } else {
            condition(
                "Established",
                "False",
                "NotAccepted",
                "not all names are accepted",
            )
        };
        change(&mut out, established, now);
    }
    for (kind, wanted) in [
        ("NonStructuralSchema", rules::non_structural(definition)),
        (
            "KubernetesAPIApprovalPolicyConformant",
            rules::api_approved(definition),
        ),
    ] {
        match wanted {
            Some(wanted) => change(&mut out, wanted, now),
            None => remove(&mut out, kind),
        }
    }
    out
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({"type": kind, "status": status, "reason": reason, "message": message})
}

/// Sets a condition unless it says the same already.
fn change(definition: &mut Value, wanted: Value, now: &str) {
    let known = definition["status"]["conditions"].as_array();
    let same = known.into_iter().flatten().any(|c| {
        ["type", "status", "reason", "message"]
            .iter()
            .all(|field| c[*field] == wanted[*field])
    });
    if !same {
        set_condition(definition, wanted, now);
    }
}

fn remove(definition: &mut Value, kind: &str) {
    if let Some(list) = definition["status"]["conditions"].as_array_mut() {
        list.retain(|c| c["type"] != kind);
    }
}

struct Named {
    accepted: Value,
    condition: Value,
}

/// Each name is taken over where it is free or its own already; the last conflict is what the condition tells.
fn named(definition: &Value, others: &Taken) -> Named {
    let (wanted, held) = (
        &definition["spec"]["names"],
        &definition["status"]["acceptedNames"],
    );
    let mut accepted = held.as_object().cloned().unwrap_or_default();
    let mut conflict: Option<(&str, String)> = None;
    let mut take = |field: &str, reason: &'static str, taken: &HashSet<String>| {
        let name = wanted[field].as_str().unwrap_or_default();
        if name == held[field].as_str().unwrap_or_default() || !taken.contains(name) {
            accepted.insert(field.to_owned(), json!(name));
        } else {
            conflict = Some((reason, in_use(name)));
        }
    };
    take("plural", "PluralConflict", &others.resources);
    take("singular", "SingularConflict", &others.resources);
    if let Some(text) = short_names_in_use(&wanted["shortNames"], &held["shortNames"], &others.resources) {
        conflict = Some(("ShortNamesConflict", text));
    } else {
        copy(&mut accepted, "shortNames", wanted);
    }
    for (field, reason) in [("kind", "KindConflict"), ("listKind", "ListKindConflict")] {
        let name = wanted[field].as_str().unwrap_or_default();
        if name == held[field].as_str().unwrap_or_default() || !others.kinds.contains(name) {
            accepted.insert(field.to_owned(), json!(name));
        } else {
            conflict = Some((reason, in_use(name)));
        }
    }
    copy(&mut accepted, "categories", wanted);
    // Members that are there in the type even when empty.
    for field in ["plural", "kind"] {
        accepted.entry(field).or_insert_with(|| json!(""));
    }
    accepted.retain(|field, name| matches!(field.as_str(), "plural" | "kind") || name != "");
    let condition = match conflict {
        Some((reason, message)) => condition("NamesAccepted", "False", reason, &message),
        None => condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
    };
    Named {
        accepted: Value::Object(accepted),
        condition,
    }
}

fn copy(accepted: &mut serde_json::Map<String, Value>, field: &str, wanted: &Value) {
    match wanted.get(field) {
        Some(list) => drop(accepted.insert(field.to_owned(), list.clone())),
        None => drop(accepted.remove(field)),
    }
}

fn in_use(name: &str) -> String {
    format!("{} is already in use", corten_meta::quote(name))
}

/// Upstream's aggregate: one text plain, several in brackets.
fn short_names_in_use(wanted: &Value, held: &Value, taken: &HashSet<String>) -> Option<String> {
    let held: HashSet<String> = words(held).into_iter().collect();
    let mut texts: Vec<String> = Vec::new();
    for name in words(wanted) {
        let text = in_use(&name);
        if !held.contains(&name) && taken.contains(&name) && !texts.contains(&text) {
            texts.push(text);
        }
    }
    match texts.len() {
        0 => None,
        1 => texts.pop(),
        _ => Some(format!("[{}]", texts.join(", "))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(plural: &str, kind: &str, short: &[&str]) -> Value {
        json!({
            "metadata": {"name": format!("{plural}.example.com")},
            "spec": {
                "group": "example.com",
                "names": {
                    "plural": plural, "singular": kind.to_lowercase(), "kind": kind, "listKind": format!("{kind}List"),
                    "shortNames": short,
                },
                "versions": [],
            },
            "status": {"conditions": null, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": ["v1"]},
        })
    }

    #[test]
    fn a_new_definition_is_accepted_and_established() {
        let settled = settle(&definition("foos", "Foo", &["f"]), &Taken::default(), "T");
        let told: Vec<_> = settled["status"]["conditions"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|c| format!("{}={} {}", c["type"], c["status"], c["reason"]))
            .collect();
        let want = [
            r#""NamesAccepted"="True" "NoConflicts""#,
            r#""Established"="True" "InitialNamesAccepted""#,
        ];
        assert_eq!(told, want);
        assert_eq!(settled["status"]["acceptedNames"], settled["spec"]["names"]);
        assert_eq!(settle(&settled, &Taken::default(), "later"), settled);
    }

    #[test]
    fn names_of_others_are_not_taken() {
        let first = settle(&definition("foos", "Foo", &["f"]), &Taken::default(), "T");
        let mut others = Taken::default();
        others.add(&first);
        let second = settle(&definition("bars", "Foo", &["f"]), &others, "T");
        assert!(holds(&second, "NamesAccepted", "False") && holds(&second, "Established", "False"));
        let accepted = &second["status"]["conditions"][0];
        assert_eq!(accepted["reason"], "ListKindConflict");
        assert_eq!(accepted["message"], "\"FooList\" is already in use");
        assert_eq!(second["status"]["acceptedNames"]["plural"], "bars");
        assert_eq!(second["status"]["acceptedNames"]["kind"], "");
        // The other goes: the names are free.
        let freed = settle(&second, &Taken::default(), "U");
        assert!(holds(&freed, "Established", "True"));
    }
}
