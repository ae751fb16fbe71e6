//! `spec.conversion`. Paths are those of upstream's internal version, where the webhook's parts stand on their own.

use std::collections::HashSet;

use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::names;
use serde_json::Value;

use super::{items, text};

/// Versions of ConversionReview.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const URL_FORM: &str = "; desired format: https://host[/path]";

/// What holds only if it held before.
#[derive(Clone, Copy)]
pub(super) struct Demands {
    pub known_review: bool,
    pub valid_bundle: bool,
}

/// The list names a review version that is known, or is empty.
pub(super) fn has_known_review(conversion: &Value) -> bool {
    let list = items(&conversion["webhook"]["conversionReviewVersions"]);
    list.is_empty() || list.iter().any(is_known)
}

fn is_known(version: &Value) -> bool {
    version.as_str().is_some_and(|version| REVIEWS.contains(&version))
}

pub(super) fn validate(conversion: &Value, demands: Demands, path: &Path, errors: &mut ErrorList) {
    if !conversion.is_object() {
        return;
    }
    let strategy = text(conversion, "strategy");
    let at = path.child("strategy");
    match strategy {
        "" => errors.push(Error::required(&at, "")),
        "None" | "Webhook" => {}
        other => errors.push(Error::not_supported(&at, other, &["None", "Webhook"])),
    }
    let webhook = &conversion["webhook"];
    let client = &webhook["clientConfig"];
    let client_path = path.child("webhookClientConfig");
    let reviews = &webhook["conversionReviewVersions"];
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if client.is_object() {
            errors.push(Error::forbidden(&client_path, detail));
        }
        if !items(reviews).is_empty() {
            errors.push(Error::forbidden(&path.child("conversionReviewVersions"), detail));
        }
        return;
    }
    if client.is_object() {
        self::client(client, demands, &client_path, errors);
    } else {
        errors.push(Error::required(
            &client_path,
            "required when strategy is set to Webhook",
        ));
    }
    review_versions(reviews, demands, &path.child("conversionReviewVersions"), errors);
}

fn client(client: &Value, demands: Demands, path: &Path, errors: &mut ErrorList) {
    let (address, service) = (&client["url"], &client["service"]);
    match (address.as_str(), service.is_object()) {
        (Some(address), false) => url(address, &path.child("url"), errors),
        (None, true) => self::service(service, &path.child("service"), errors),
        _ => errors.push(Error::required(path, "exactly one of url or service is required")),
    }
    let bundle = text(client, "caBundle");
    if !bundle.is_empty() && demands.valid_bundle && !is_bundle(bundle) {
        let detail = "unable to load root certificates: unable to parse bytes as PEM block";
        errors.push(Error::invalid(&path.child("caBundle"), bundle, detail));
    }
}

/// Base64 of text with a PEM certificate in it.
pub(super) fn is_bundle(base64: &str) -> bool {
    let mut bytes = Vec::with_capacity(base64.len() * 3 / 4);
    let (mut bits, mut have) = (0_u32, 0);
    for c in base64.bytes().filter(|c| *c != b'=') {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return false,
        };
        bits = (bits << 6) | u32::from(value);
        have += 6;
        if have >= 8 {
            have -= 8;
            bytes.push((bits >> have) as u8);
        }
    }
    let text = String::from_utf8_lossy(&bytes);
    text.contains("-----BEGIN CERTIFICATE-----") && text.contains("-----END CERTIFICATE-----")
}

fn review_versions(list: &Value, demands: Demands, path: &Path, errors: &mut ErrorList) {
    if items(list).is_empty() {
        return errors.push(Error::required(path, ""));
    }
    let mut seen = HashSet::new();
    for (index, version) in items(list).iter().enumerate() {
        let (at, version) = (path.index(index), version.as_str().unwrap_or_default());
        if !seen.insert(version) {
            errors.push(Error::invalid(&at, version, "duplicate version"));
            continue;
        }
        errors.extend_invalid(&at, version, names::is_dns1035_label(version));
    }
    if demands.known_review && !items(list).iter().any(is_known) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        errors.push(Error::invalid(path, list.clone(), detail));
    }
}

fn url(address: &str, path: &Path, errors: &mut ErrorList) {
    let (rest, fragment) = address.split_once('#').unwrap_or((address, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let is_scheme = |text: &str| {
        text.starts_with(|c: char| c.is_ascii_alphabetic())
            && text
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
    };
    let (scheme, rest) = match rest.split_once(':') {
        Some((scheme, rest)) if is_scheme(scheme) => (scheme.to_lowercase(), rest),
        _ => (String::new(), rest),
    };
    let authority = rest
        .strip_prefix("//")
        .map_or("", |rest| rest.split('/').next().unwrap_or_default());
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        let detail = format!("'https' is the only allowed URL scheme{URL_FORM}");
        errors.push(Error::invalid(path, scheme, detail));
    }
    if host.is_empty() {
        errors.push(Error::invalid(
            path,
            "",
            format!("host must be specified{URL_FORM}"),
        ));
    }
    let parts = [
        (user, "user information is not permitted in the URL"),
        (fragment, "fragments are not permitted in the URL"),
        (query, "query parameters are not permitted in the URL"),
    ];
    for (part, detail) in parts.into_iter().filter(|(part, _)| !part.is_empty()) {
        errors.push(Error::invalid(path, part, detail));
    }
}

fn service(service: &Value, path: &Path, errors: &mut ErrorList) {
    // Upstream mixes the two up.
    if text(service, "namespace").is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    if text(service, "name").is_empty() {
        errors.push(Error::required(&path.child("namespace"), ""));
    }
    let port = service["port"].as_i64().unwrap_or(443);
    let messages = names::is_port_number(port);
    if !messages.is_empty() {
        let detail = format!("port is not valid: {}", messages.join(", "));
        errors.push(Error::invalid(&path.child("port"), port, detail));
    }
    let at = path.child("path");
    let given = text(service, "path");
    match given {
        "" | "/" => return,
        "//" => return errors.push(Error::invalid(&at, given, "segment[0] may not be empty")),
        given if !given.starts_with('/') => errors.push(Error::invalid(&at, given, "must start with a '/'")),
        _ => {}
    }
    let mut rest = given.chars();
    rest.next();
    let rest = rest.as_str();
    for (index, step) in rest.strip_suffix('/').unwrap_or(rest).split('/').enumerate() {
        if step.is_empty() {
            let detail = format!("segment[{index}] may not be empty");
            errors.push(Error::invalid(&at, given, detail));
            continue;
        }
        for message in names::is_dns1123_subdomain(step) {
            errors.push(Error::invalid(&at, given, format!("segment[{index}]: {message}")));
        }
    }
}
