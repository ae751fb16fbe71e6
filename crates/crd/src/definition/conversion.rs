//! `spec.conversion`. Paths are those of upstream's internal version, where the webhook's parts stand on their own.

use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::{names, webhook};
use serde_json::Value;

use super::{items, text};

/// Versions of ConversionReview.
const REVIEWS: [&str; 2] = ["v1", "v1beta1"];

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
        (Some(address), false) => webhook::url(address, &path.child("url"), errors),
        (None, true) => webhook::service(service, &path.child("service"), errors),
        _ => errors.push(Error::required(path, "exactly one of url or service is required")),
    }
    let bundle = text(client, "caBundle");
    if !bundle.is_empty() && demands.valid_bundle && !is_bundle(bundle) {
        let detail = "unable to load root certificates: unable to parse bytes as PEM block";
        errors.push(Error::invalid(&path.child("caBundle"), bundle, detail));
    }
}

/// With padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Base64 of text with a PEM certificate in it.
pub(super) fn is_bundle(base64: &str) -> bool {
    let Ok(bytes) = LENIENT.decode(base64) else {
        return false;
    };
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
