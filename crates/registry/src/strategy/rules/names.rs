//! Names and texts, as rules on [`At`].

use corten_meta::names;

use super::{At, ErrorList};

pub(in crate::strategy) fn dns_label(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.invalid_each(errors, names::is_dns1123_label(at.str()));
}

pub(in crate::strategy) fn dns_subdomain(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.invalid_each(errors, names::is_dns1123_subdomain(at.str()));
}

pub(in crate::strategy) fn qualified(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.invalid_each(errors, names::is_qualified_name(at.str()));
}

/// Required, and a DNS label.
pub(in crate::strategy) fn required_label(at: &At<'_, '_>, errors: &mut ErrorList) {
    match at.is_empty() {
        true => at.required(errors, ""),
        false => dns_label(at, errors),
    }
}

/// A number or a name of a port, as probes have it.
pub(in crate::strategy) fn port_number_or_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    match at.value.as_str() {
        Some(name) => at.invalid_each(errors, names::is_port_name(name)),
        None => {
            let number = at.int().unwrap_or(0);
            for message in names::is_port_number(number) {
                at.invalid_as(errors, number, &message);
            }
        }
    }
}

pub(in crate::strategy) fn port_number(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.invalid_each(errors, names::is_port_number(at.int().unwrap_or(0)));
}

pub(in crate::strategy) fn user_or_group_id(at: &At<'_, '_>, errors: &mut ErrorList) {
    at.within(errors, 0, i64::from(i32::MAX));
}

/// `..` nowhere in it.
pub(in crate::strategy) fn no_backsteps(at: &At<'_, '_>, errors: &mut ErrorList) {
    if has_backsteps(at.str()) {
        at.invalid(errors, "must not contain '..'");
    }
}

pub(in crate::strategy) fn has_backsteps(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}

/// A relative path without `..`.
pub(in crate::strategy) fn local_descending_path(at: &At<'_, '_>, errors: &mut ErrorList) {
    for message in descending_path_messages(at.str()) {
        at.invalid(errors, message);
    }
}

pub(in crate::strategy) fn descending_path_messages(path: &str) -> Vec<&'static str> {
    let absolute = path.starts_with('/').then_some("must be a relative path");
    let stepping = has_backsteps(path).then_some("must not contain '..'");
    absolute.into_iter().chain(stepping).collect()
}

/// The same, and not beginning with `..` either.
pub(in crate::strategy) fn local_path(at: &At<'_, '_>, errors: &mut ErrorList) {
    local_descending_path(at, errors);
    if at.str().starts_with("..") && !at.str().starts_with("../") {
        at.invalid(errors, "must not start with '..'");
    }
}

/// Permission bits.
pub(in crate::strategy) fn file_mode(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.int().is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        at.invalid(
            errors,
            "must be a number between 0 and 0777 (octal), both inclusive",
        );
    }
}

/// Printable ASCII but `=`.
pub(in crate::strategy) fn is_relaxed_env_name(name: &str) -> Vec<String> {
    let mut messages = Vec::new();
    if name.is_empty() {
        messages.push("environment variable name must be non-empty".to_owned());
    }
    if !name
        .chars()
        .all(|c| (c == ' ' || c.is_ascii_graphic()) && c != '=')
    {
        let message = "a valid environment variable name must consist only of printable ASCII characters other than '='";
        messages.push(message.to_owned());
    }
    messages
}

/// A DNS subdomain whose labels may begin with and contain underscores.
pub(in crate::strategy) fn is_subdomain_with_underscore(value: &str) -> Vec<String> {
    const FORMAT: &str = "_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?";
    let mut messages = Vec::new();
    if value.len() > 253 {
        messages.push(names::max_length_error(253));
    }
    let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |label: &str| {
        let label = label.strip_prefix('_').unwrap_or(label).as_bytes();
        matches!((label.first(), label.last()), (Some(first), Some(last)) if plain(*first) && plain(*last))
            && label.iter().all(|c| plain(*c) || matches!(c, b'-' | b'_'))
    };
    if !value.split('.').all(label) {
        let message = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or \
                       '.', and must start and end with an alphanumeric character";
        messages.push(names::regex_error(
            message,
            &format!("{FORMAT}(\\.{FORMAT})*"),
            &["example.com"],
        ));
    }
    messages
}

/// `example.com/path` (upstream ValidateSignerName).
pub(in crate::strategy) fn signer_name(at: &At<'_, '_>, errors: &mut ErrorList) {
    if at.is_empty() {
        return at.required(errors, "");
    }
    let Some((domain, path)) = at.str().split_once('/').filter(|(_, path)| !path.contains('/')) else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return at.invalid(errors, detail);
    };
    if domain.len() > 253 {
        at.too_long(errors, 253);
    }
    signer_labels(at, errors, domain, names::is_dns1123_label);
    if !domain.contains('.') {
        at.invalid_as(
            errors,
            domain,
            "should be a domain with at least two segments separated by dots",
        );
    }
    signer_labels(at, errors, path, names::is_dns1123_subdomain);
    if at.len() > 571 {
        at.too_long(errors, 571);
    }
}

fn signer_labels(at: &At<'_, '_>, errors: &mut ErrorList, part: &str, check: fn(&str) -> Vec<String>) {
    let wrong = part
        .split('.')
        .map(|label| (label, check(label)))
        .find(|(_, messages)| !messages.is_empty());
    let Some((label, messages)) = wrong else { return };
    for message in messages {
        let detail = format!("validating label {}: {message}", corten_meta::quote(label));
        at.invalid_as(errors, part, &detail);
    }
}
