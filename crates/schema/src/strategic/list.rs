//! Lists in strategic merges: by key, by value, and their order.

use serde_json::Value;

use super::show::{go_type, value as shown};
use super::{
    DIRECTIVE, ELEMENT_ORDER, Members, Outcome, Refusal, Rule, bad_patch_type, list_of, merge_map,
    without_directives,
};
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

/// Items that go by a key have to have it, and so has the order to be of objects as far as it is searched for them.
fn require_keys(items: &[Value], order: &[Value], key: &str) -> Outcome<()> {
    if key.is_empty() {
        return Ok(());
    }
    for item in items {
        required(item, key)?;
        let searched = position(order, item, key).unwrap_or(order.len());
        if let Some(at) = order[..searched].iter().position(|name| !name.is_object()) {
            return Err(Refusal::Other(format!("value for key {at} is not a map")));
        }
    }
    Ok(())
}

/// The elements of both lists are objects. They are of one type, or the patch is refused.
fn are_objects(original: &[Value], patch: &[Value]) -> Outcome<bool> {
    let mut items = original.iter().chain(patch);
    match items.next() {
        None => Err(Refusal::Other(
            "no elements in any of the given slices".to_owned(),
        )),
        Some(Value::Array(_)) => Err(Refusal::Unprocessable),
        Some(first) if items.all(|item| go_type(item) == go_type(first)) => Ok(first.is_object()),
        Some(_) => {
            let both = shown(&Value::from(vec![original, patch]));
            Err(Refusal::Other(format!(
                "list element types are not identical: {both}"
            )))
        }
    }
}

/// Takes scalars out of a list. A list of objects is merged instead.
pub(super) fn delete(mut original: Items, gone: Items, rule: &Rule) -> Outcome<Items> {
    if original.is_empty() && gone.is_empty() {
        return Ok(original);
    }
    if are_objects(&original, &gone)? {
        return merge_objects(original, gone, rule);
    }
    original.retain(|item| !gone.contains(item));
    Ok(original)
}

/// Merges a patch's list into one whose elements merge.
pub(super) fn merge(original: Items, patch: Items, rule: &Rule) -> Outcome<Items> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    match are_objects(&original, &patch)? {
        true => merge_objects(original, patch, rule),
        false => Ok(merge_scalars(original, patch)),
    }
}

fn merge_objects(original: Items, patch: Items, rule: &Rule) -> Outcome<Items> {
    if rule.key.is_empty() {
        return Err(Refusal::Other(format!(
            "cannot merge lists without merge key for {}",
            rule.element_kind()
        )));
    }
    let (mut merged, patch) = special_elements(original, patch, rule.key)?;
    let server_order = merged.clone();
    for item in &patch {
        required(item, rule.key)?;
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
    require_keys(&merged, &patch, rule.key)?;
    Ok(in_order(merged, &patch, &server_order, rule.key))
}

fn merge_scalars(original: Items, patch: Items) -> Items {
    let mut merged = Items::new();
    for item in original.iter().chain(&patch) {
        if !merged.contains(item) {
            merged.push(item.clone());
        }
    }
    in_order(merged, &patch, &original, "")
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
            Some(_) => return Err(bad_patch_type(&item[DIRECTIVE], &item)),
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
    const WRONG: Refusal = Refusal::Format("invalid patch format of setElementOrder list");
    let directives: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(ELEMENT_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let order = match patch.remove(&directive) {
            Some(Value::Array(order)) => order,
            other => return Err(wrong_type("[]interface {}", &other.unwrap_or(Value::Null))),
        };
        let name = list_of(&directive, ELEMENT_ORDER).ok_or(WRONG)?.to_owned();
        let rule = Rule::of(shape, &name);
        let live = list_member(original, &name)?;
        let ours = list_member(patch, &name)?;
        validate_order(ours.as_deref().unwrap_or_default(), &order, rule.key)?;
        patch.remove(&name);
        let live_order = live.clone().unwrap_or_default();
        let ours_before = ours.clone().unwrap_or_default();
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
        require_keys(&merged, &order, rule.key)?;
        are_objects(&live_order, &ours_before)?;
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
