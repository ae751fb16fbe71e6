//! Names of things elsewhere.

use corten_meta::field::Path;
use corten_meta::names;
use serde_json::Value;

use super::super::rules::{At, ErrorList, immutable};

/// Required, and fit for a path.
pub(super) fn segment(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.nonempty(errors);
    at.invalid_each(errors, names::is_path_segment(at.str(), false));
}

/// A DNS subdomain, if set.
pub(super) fn group_if_set(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.is_set() {
        at.invalid_each(errors, names::is_dns1123_subdomain(at.str()));
    }
}

/// An object of some group and kind in the same place.
pub(super) fn typed_local(at: &At<'_, '_>, errors: &mut ErrorList) {
    group_if_set(&at.get("apiGroup"), errors);
    segment(&at.get("kind"), errors);
    segment(&at.get("name"), errors);
}

/// `acme.io/foo`.
pub(super) fn domain_prefixed_path(at: &At<'_, '_>, errors: &mut ErrorList) {
    const PATH: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
    if at.is_empty() {
        return at.required(errors, "");
    }
    let parts = at
        .str()
        .split_once('/')
        .filter(|(host, path)| !host.is_empty() && !path.is_empty());
    let Some((host, path)) = parts else {
        return at.invalid(errors, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    };
    for message in names::is_dns1123_subdomain(host) {
        at.invalid_as(errors, host, &message);
    }
    if !path
        .bytes()
        .all(|c| c.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&c))
    {
        at.invalid_as(errors, path, &names::regex_error("Invalid path", PATH, &[]));
    }
}

/// The same as before, or an error that shows it.
pub(super) fn same(at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    immutable(&at.path(), at.value, old, errors);
}

/// [`same`] at another path.
pub(super) fn same_at(path: &str, at: &At<'_, '_>, old: &Value, errors: &mut ErrorList) {
    immutable(&Path::from(path), at.value, old, errors);
}
