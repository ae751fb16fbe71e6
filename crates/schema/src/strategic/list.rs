//! Lists in strategic merges: by key, by value, and their order.

use serde_json::Value;

use super::show::{go_type, value as shown};
use super::{DIRECTIVE, ELEMENT_ORDER, Members, Outcome, Refusal, Rule, merge_map, without_directives};
use crate::types::Shape;

type Items = Vec<Value>;

fn wrong_type(expected: &str, got: &Value) -> Refusal {
    Refusal::Other(format!("expected a {expected}, but received a {}", go_type(got)))
}

fn no_merge_key(item: &Value, key: &str) -> Refusal {
    Refusal::Other(format!(
        "map: {} does not contain declared merge key: {key}",
        shown(item)
    ))
}

/// The identity of an item: its merge key, or itself where the list has none.
fn identity<'a>(item: &'a Value, key: &str) -> Option<&'a Value> {
    if key.is_empty() { Some(item) } else { item.get(key) }
}

fn position(items: &[Value], item: &Value, key: &str) -> Option<usize> {
    let wanted = identity(item, key)?;
    items.iter().position(|i| identity(i, key) == Some(wanted))
}

fn require_keys(items: &[Value], key: &str) -> Outcome<()> {
    match items.iter().find(|i| identity(i, key).is_none()) {
        Some(item) => Err(no_merge_key(item, key)),
        None => Ok(()),
    }
}

/// `$deleteFromPrimitiveList/name`.
pub(super) fn delete_from(original: &mut Members, name: &str, gone: &Value) {
    if let (Some(Value::Array(items)), Value::Array(gone)) = (original.get_mut(name), gone) {
        items.retain(|item| !gone.contains(item));
    }
}

/// Merges a patch's list into one whose elements merge.
pub(super) fn merge(original: Items, patch: Items, rule: &Rule) -> Outcome<Items> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    let maps = original.iter().chain(&patch).all(Value::is_object);
    if !maps {
        return merge_scalars(original, patch);
    }
    if rule.key.is_empty() {
        let name = rule
            .element()
            .map(|s| crate::types::go_name(s.expr))
            .unwrap_or_default();
        let name = name.rsplit('.').next().unwrap_or_default().to_owned();
        return Err(Refusal::Other(format!(
            "cannot merge lists without merge key for {name}"
        )));
    }
    let (mut merged, patch) = special_elements(original, patch, rule.key)?;
    let server_order = merged.clone();
    for item in &patch {
        if identity(item, rule.key).is_none() {
            return Err(no_merge_key(item, rule.key));
        }
        match position(&merged, item, rule.key) {
            Some(at) => {
                let (Value::Object(before), Value::Object(item)) = (merged[at].take(), item.clone()) else {
                    continue;
                };
                merged[at] = Value::Object(merge_map(before, item, rule.element())?);
            }
            None => merged.push(item.clone()),
        }
    }
    require_keys(&merged, rule.key)?;
    Ok(in_order(merged, &patch, &server_order, rule.key))
}

fn merge_scalars(original: Items, patch: Items) -> Outcome<Items> {
    let first = original.iter().chain(&patch).next().unwrap_or(&Value::Null);
    if first.is_array() {
        return Err(Refusal::Unprocessable);
    }
    let same = |v: &Value| go_type(v) == go_type(first);
    if !original.iter().chain(&patch).all(same) {
        return Err(Refusal::Other("list element types are not identical".to_owned()));
    }
    let mut merged = Items::new();
    for item in original.iter().chain(&patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    Ok(in_order(merged, &patch, &original, ""))
}

/// Takes `$patch` elements out of a list: deletes what they name, or drops the original altogether.
fn special_elements(mut original: Items, patch: Items, key: &str) -> Outcome<(Items, Items)> {
    let (mut rest, mut replace) = (Items::new(), false);
    for item in patch {
        match item.get(DIRECTIVE).map(|d| d.as_str().unwrap_or_default()) {
            None => rest.push(item),
            Some("delete") => {
                let gone = item.get(key).ok_or_else(|| no_merge_key(&item, key))?;
                original.retain(|i| i.get(key) != Some(gone));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(Refusal::Other(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            Some(_) => {
                let directive = shown(&item[DIRECTIVE]);
                return Err(Refusal::Other(format!(
                    "unknown patch type: {directive} in map: {}",
                    shown(&item)
                )));
            }
        }
    }
    Ok(if replace {
        (rest, Items::new())
    } else {
        (original, rest)
    })
}

/// Orders a merged list: what the patch names in the patch's order, the rest where the live list has it.
fn in_order(merged: Items, patch_order: &[Value], server_order: &[Value], key: &str) -> Items {
    let (mut ours, mut theirs): (Items, Items) = merged
        .into_iter()
        .partition(|item| position(patch_order, item, key).is_some());
    sort_by(&mut ours, patch_order, key);
    sort_by(&mut theirs, server_order, key);
    let mut out = Items::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter().peekable(), theirs.into_iter().peekable());
    while let (Some(our), Some(their)) = (ours.peek(), theirs.peek()) {
        let at = (
            position(server_order, their, key),
            position(server_order, our, key),
        );
        let first = matches!(at, (Some(their), Some(our)) if their < our);
        out.extend(if first { theirs.next() } else { ours.next() });
    }
    out.extend(ours);
    out.extend(theirs);
    out
}

/// Lists up to this long are sorted by upstream's library with insertions.
const INSERTIONS_MAX: usize = 20;

/// Sorts as upstream does, which takes whatever the order does not name for smaller than all before it.
fn sort_by(items: &mut Items, order: &[Value], key: &str) {
    let place = |item: Value| (position(order, &item, key), item);
    let mut placed: Vec<(Option<usize>, Value)> = std::mem::take(items).into_iter().map(place).collect();
    if placed.len() > INSERTIONS_MAX || placed.iter().all(|(at, _)| at.is_some()) {
        placed.sort_by_key(|(at, _)| *at);
    } else {
        let less = |a: Option<usize>, b: Option<usize>| match (a, b) {
            (Some(a), Some(b)) => a < b,
            _ => true,
        };
        for sorted in 1..placed.len() {
            let mut at = sorted;
            while at > 0 && less(placed[at].0, placed[at - 1].0) {
                placed.swap(at, at - 1);
                at -= 1;
            }
        }
    }
    items.extend(placed.into_iter().map(|(_, item)| item));
}

/// Applies every `$setElementOrder/name` with the list it orders, and takes both from the patch.
pub(super) fn apply_orders(original: &mut Members, patch: &mut Members, shape: Option<Shape>) -> Outcome<()> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let name = directive[ELEMENT_ORDER.len()..].to_owned();
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            other => return Err(wrong_type("[]interface {}", &other.unwrap_or(Value::Null))),
        };
        let rule = Rule::of(shape, &name);
        let live = list_member(original, &name)?;
        let ours = list_member(patch, &name)?;
        validate_order(ours.as_deref().unwrap_or_default(), &order, rule.key)?;
        patch.remove(&name);
        let live_order = live.clone().unwrap_or_default();
        let nothing = live_order.is_empty() && ours.as_ref().is_none_or(Vec::is_empty);
        let merged = match (live, ours) {
            (Some(live), None) => live,
            (None, Some(ours)) => match without_directives(Value::Array(ours)) {
                Some(Value::Array(items)) => items,
                _ => continue,
            },
            (Some(live), Some(ours)) if rule.merge => merge(live, ours, &rule)?,
            (Some(_), Some(ours)) => ours,
            (None, None) => continue,
        };
        require_keys(&merged, rule.key)?;
        if nothing {
            return Err(Refusal::Other(
                "no elements in any of the given slices".to_owned(),
            ));
        }
        original.insert(
            name,
            Value::Array(in_order(merged, &order, &live_order, rule.key)),
        );
    }
    Ok(())
}

fn list_member(members: &Members, name: &str) -> Outcome<Option<Items>> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(other) => Err(wrong_type("[]interface {}", other)),
    }
}

/// The patch's list must stand in the order the directive gives. As upstream, elements with directives are passed over only
/// while there is order left.
fn validate_order(patch: &[Value], order: &[Value], key: &str) -> Outcome<()> {
    if order.is_empty() || patch.is_empty() {
        return Ok(());
    }
    let mut rest: Vec<&Value> = patch.iter().collect();
    if !key.is_empty() {
        if let Some(item) = patch.iter().find(|item| !item.is_object()) {
            return Err(wrong_type("map[string]interface {}", item));
        }
        rest.retain(|item| item[DIRECTIVE] != "delete");
    }
    let mut rest = rest.into_iter().peekable();
    let mut names = order.iter().peekable();
    while let (Some(item), Some(name)) = (rest.peek(), names.peek()) {
        if item.get(DIRECTIVE).is_some() {
            rest.next();
            continue;
        }
        let same = required(item, key)? == required(name, key)?;
        names.next();
        if same {
            rest.next();
        }
    }
    if rest.peek().is_none() {
        return Ok(());
    }
    let (patch, order) = (shown(&Value::from(patch)), shown(&Value::from(order)));
    Err(Refusal::Other(format!(
        "The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n"
    )))
}

/// The identity of an item that has to have one.
fn required<'a>(item: &'a Value, key: &str) -> Outcome<&'a Value> {
    if !key.is_empty() && !item.is_object() {
        return Err(wrong_type("map[string]interface {}", item));
    }
    identity(item, key).ok_or_else(|| no_merge_key(item, key))
}
