//! Where a webhook is: the `clientConfig` of admission webhooks and of conversion. Upstream:
//! apiserver/pkg/util/webhook/validation.go.

use serde_json::Value;

use crate::field::{Error, ErrorList, Path};
use crate::names;

const URL_FORM: &str = "; desired format: https://host[/path]";

/// `clientConfig.url`, absolute.
pub fn url(address: &str, path: &Path, errors: &mut ErrorList) {
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

/// `clientConfig.service`.
pub fn service(service: &Value, path: &Path, errors: &mut ErrorList) {
    let text = |key: &str| service[key].as_str().unwrap_or_default();
    // Upstream mixes the two up.
    if text("namespace").is_empty() {
        errors.push(Error::required(&path.child("name"), ""));
    }
    if text("name").is_empty() {
        errors.push(Error::required(&path.child("namespace"), ""));
    }
    let port = service["port"].as_i64().unwrap_or(443);
    let messages = names::is_port_number(port);
    if !messages.is_empty() {
        let detail = format!("port is not valid: {}", messages.join(", "));
        errors.push(Error::invalid(&path.child("port"), port, detail));
    }
    let at = path.child("path");
    let given = text("path");
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
