//! Containers: old annotations, fractions of bytes, variables that hide one another.

use std::collections::HashSet;

use super::super::super::rules::At;
use super::super::annotations::SECCOMP_CONTAINER;
use super::{IN_BYTES, SECCOMP_DETAIL, Warnings, annotation, fractional};

/// A profile in an annotation means nothing any more.
pub(super) fn seccomp(container: &At<'_, '_>, annotations: &At<'_, '_>) -> Option<String> {
    if !container.value["securityContext"]["seccompProfile"].is_null() {
        return None;
    }
    let key = format!("{SECCOMP_CONTAINER}{}", container.get("name").str());
    annotation(annotations, &key, SECCOMP_DETAIL)
}

pub(super) fn resources(container: &At<'_, '_>) -> Warnings {
    let resources = container.get("resources");
    let lists = ["limits", "requests"].map(|list| resources.get(list));
    let pairs = IN_BYTES
        .iter()
        .flat_map(|resource| lists.iter().map(move |list| (list, *resource)));
    pairs
        .filter_map(|(list, resource)| fractional(list, resource))
        .collect()
}

/// A variable may be set again only to build on its first value: `$(NAME):more`.
pub(super) fn env(container: &At<'_, '_>) -> Warnings {
    let mut seen = HashSet::new();
    let mut warnings = Warnings::new();
    for variable in container.get("env").items() {
        let (name, value) = (variable.get("name").str(), variable.get("value").str());
        if seen.insert(name) {
            continue;
        }
        let reference = format!("$({name})");
        let hides =
            !variable.value["valueFrom"].is_null() || value == reference || !value.contains(&reference);
        if hides {
            warnings.push(format!(
                "{}: hides previous definition of {}, which may be dropped when using apply",
                variable.path(),
                corten_meta::quote(name)
            ));
        }
    }
    warnings
}
