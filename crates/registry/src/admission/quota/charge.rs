//! What one write costs a quota, and whether it has that much left (`resourcequota.CheckRequest`).

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde_json::Value;

use super::super::totals::{self, Totals};
use super::super::{Attributes, Operation};
use super::usage::{self, Kind};

/// A write, measured.
pub(super) struct Charge {
    kind: Kind,
    object: Value,
    /// The object before, where this is an update.
    old: Option<Value>,
    usage: Totals,
    /// Only what was not already counted.
    difference: Totals,
}

impl Charge {
    pub(super) fn new(attributes: &Attributes<'_>, object: &Value, now: SystemTime) -> Self {
        let kind = Kind::of(attributes);
        let measured = usage::measure(&kind, object, now);
        let old = attributes
            .old
            .filter(|_| attributes.operation == Operation::Update);
        let mut difference = measured.clone();
        if let Some(old) = old {
            for (name, before) in usage::measure(&kind, old, now) {
                difference.entry(name).and_modify(|amount| {
                    let more = amount.sub(&before);
                    *amount = if more.nanos() < 0 { totals::number(0) } else { more };
                });
            }
        }
        Self {
            kind,
            object: object.clone(),
            old: old.cloned(),
            usage: measured,
            difference,
        }
    }

    /// What the quota's `used` becomes; `None` where this is nothing to it. The error is upstream's text.
    pub(super) fn on(&self, quota: &Value) -> Result<Option<Totals>, String> {
        let hard = totals::list(&quota["status"]["hard"]);
        let restricted: Vec<&String> = hard.keys().filter(|name| self.kind.counts(name)).collect();
        if restricted.is_empty() || !usage::in_scope(&self.kind, quota, &self.object) {
            return Ok(None);
        }
        let name = corten_meta::object::name(quota);
        if matches!(self.kind, Kind::Pod) {
            unstated(&self.object, &restricted)
                .map_or(Ok(()), |text| Err(format!("failed quota: {name}: {text}")))?;
        }
        let used = totals::list(&quota["status"]["used"]);
        if restricted.iter().any(|name| !used.contains_key(*name)) {
            return Err(format!(
                "status unknown for quota: {name}, resources: {}",
                join(restricted.iter().map(|n| n.as_str()))
            ));
        }
        let negative: Vec<&str> = self
            .usage
            .iter()
            .filter(|(_, v)| v.nanos() < 0)
            .map(|(k, _)| k.as_str())
            .collect();
        if !negative.is_empty() {
            return Err(format!(
                "quota usage is negative for resource(s): {}",
                join(negative.into_iter())
            ));
        }
        let was_in = self
            .old
            .as_ref()
            .is_some_and(|old| usage::in_scope(&self.kind, quota, old));
        let mut asked = if was_in {
            self.difference.clone()
        } else {
            self.usage.clone()
        };
        asked.retain(|name, amount| hard.contains_key(name) && !amount.is_zero());
        if asked.is_empty() {
            return Ok(None);
        }
        let mut new = used.clone();
        totals::add(&mut new, &asked);
        let over = |name: &&String| new[*name].nanos() > hard[*name].nanos();
        let exceeded: Vec<&String> = asked.keys().filter(over).collect();
        if exceeded.is_empty() {
            return Ok(Some(new));
        }
        let show = |from: &Totals| {
            join_owned(
                exceeded
                    .iter()
                    .filter_map(|n| Some(format!("{n}={}", from.get(*n)?))),
            )
        };
        Err(format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&asked),
            show(&used),
            show(&hard)
        ))
    }
}

fn join<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(",")
}

fn join_owned(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

/// Where CPU and memory are limited, each container must state them, unless the pod does.
fn unstated(pod: &Value, restricted: &[&String]) -> Option<String> {
    let own = &pod["spec"]["resources"];
    if ["requests", "limits"]
        .iter()
        .any(|list| own[list].as_object().is_some_and(|l| !l.is_empty()))
    {
        return None;
    }
    let mut missing: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let all = ["containers", "initContainers"]
        .into_iter()
        .flat_map(|f| pod["spec"][f].as_array().into_iter().flatten());
    for container in all {
        for name in restricted {
            let (list, resource) = match name.as_str() {
                "cpu" | "requests.cpu" => ("requests", "cpu"),
                "memory" | "requests.memory" => ("requests", "memory"),
                "limits.cpu" => ("limits", "cpu"),
                "limits.memory" => ("limits", "memory"),
                _ => continue,
            };
            if container["resources"][list].get(resource).is_none() {
                missing
                    .entry(name)
                    .or_default()
                    .push(container["name"].as_str().unwrap_or_default());
            }
        }
    }
    let texts = missing.into_iter().map(|(resource, mut containers)| {
        containers.sort_unstable();
        containers.dedup();
        format!("{resource} for: {}", containers.join(","))
    });
    let texts: Vec<String> = texts.collect();
    (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
}
