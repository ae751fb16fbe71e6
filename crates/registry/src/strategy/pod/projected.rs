//! Projected volumes: files from several sources in one directory.

use corten_meta::names;

use super::super::rules::{At, ErrorList, file_mode, go_struct, label_selector, local_path, signer_name};
use super::{env, volumes};

const DUPLICATE: &str = "conflicting duplicate paths";
const KEY_TYPES: &[&str] = &[
    "RSA3072",
    "RSA4096",
    "ECDSAP256",
    "ECDSAP384",
    "ECDSAP521",
    "ED25519",
];
/// Longest life of a pod certificate, and of one that Kubernetes' own signers make.
const CERTIFICATE_SECONDS_MAX: i64 = 91 * 24 * 60 * 60;
const KUBERNETES_CERTIFICATE_SECONDS_MAX: i64 = 24 * 60 * 60;

pub(super) fn validate(at: &At<'_, '_>, errors: &mut ErrorList) {
    file_mode(&at.get("defaultMode"), errors);
    let mut paths: Vec<String> = Vec::new();
    for source in at.get("sources").items() {
        let mut kinds = 0;
        for kind in [
            "secret",
            "configMap",
            "downwardAPI",
            "serviceAccountToken",
            "clusterTrustBundle",
            "podCertificate",
        ] {
            let own = source.get(kind);
            if !own.is_set() {
                continue;
            }
            kinds += 1;
            match kind {
                "secret" | "configMap" => keys(at, &own, &mut paths, errors),
                "downwardAPI" => downward(at, &own, &mut paths, errors),
                "serviceAccountToken" => token(at, &own, errors),
                "clusterTrustBundle" => trust_bundle(at, &own, &mut paths, errors),
                _ => certificate(at, &own, &mut paths, errors),
            }
        }
        if kinds > 1 {
            source.forbidden(errors, "may not specify more than 1 volume type per source");
        }
    }
}

/// Each path once; upstream names the volume, and shows `shown`.
fn take(volume: &At<'_, '_>, path: &str, shown: &str, paths: &mut Vec<String>, errors: &mut ErrorList) {
    if paths.iter().any(|known| known == path) {
        volume.invalid_as(errors, shown, DUPLICATE);
    } else {
        paths.push(path.to_owned());
    }
}

fn keys(volume: &At<'_, '_>, own: &At<'_, '_>, paths: &mut Vec<String>, errors: &mut ErrorList) {
    own.get("name").nonempty(errors);
    for item in own.get("items").items() {
        volumes::key_to_path(&item, errors);
        let path = item.get("path").str();
        if !path.is_empty() {
            take(volume, path, own.get("name").str(), paths, errors);
        }
    }
}

fn downward(volume: &At<'_, '_>, own: &At<'_, '_>, paths: &mut Vec<String>, errors: &mut ErrorList) {
    for item in own.get("items").items() {
        env::downward_file(&own.with(item.value), errors);
        let path = item.get("path").str();
        if !path.is_empty() {
            take(volume, path, path, paths, errors);
        }
    }
}

fn token(volume: &At<'_, '_>, own: &At<'_, '_>, errors: &mut ErrorList) {
    let (expiration, path) = (own.get("expirationSeconds"), own.get("path"));
    let seconds = expiration.int().unwrap_or(0);
    if seconds < 600 {
        expiration.invalid_as(errors, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > 1 << 32 {
        expiration.invalid(errors, "may not specify a duration larger than 2^32 seconds");
    }
    let shown = volume.get("path").with(path.value);
    match path.is_empty() {
        true => shown.required(errors, ""),
        false => local_path(&shown, errors),
    }
}

fn trust_bundle(volume: &At<'_, '_>, own: &At<'_, '_>, paths: &mut Vec<String>, errors: &mut ErrorList) {
    let (name, signer, selector) = (own.get("name"), own.get("signerName"), own.get("labelSelector"));
    match (name.is_set(), signer.is_set()) {
        (true, true) => {
            let fields = [
                ("Name", "name"),
                ("SignerName", "signerName"),
                ("LabelSelector", "labelSelector"),
                ("Optional", "optional"),
                ("Path", "path"),
            ];
            own.invalid_raw(
                errors,
                &go_struct(own.value, &fields),
                "only one of name and signerName may be used",
            );
        }
        (true, false) => {
            if name.is_empty() {
                name.required(errors, "must be a valid object name");
            }
            for message in trust_bundle_name(name.str()) {
                name.invalid(errors, &format!("not a valid clustertrustbundlename: {message}"));
            }
            if selector.is_set() {
                selector.invalid(errors, "labelSelector must be unset if name is specified");
            }
        }
        (false, true) => {
            if signer.is_empty() {
                signer.required(errors, "must be a valid signer name");
            }
            signer_name(&signer, errors);
            label_selector(&selector, errors);
        }
        (false, false) => own.required(errors, "either name or signerName must be specified"),
    }
    let path = own.get("path");
    path.nonempty(errors);
    local_path(&path, errors);
    take(volume, path.str(), path.str(), paths, errors);
}

/// With a signer, the name begins with the signer's.
fn trust_bundle_name(name: &str) -> Vec<String> {
    let own = name.rsplit_once(':').map_or(name, |(_, own)| own);
    names::name_is_dns_subdomain(own, false)
}

fn certificate(volume: &At<'_, '_>, own: &At<'_, '_>, paths: &mut Vec<String>, errors: &mut ErrorList) {
    let signer = own.get("signerName");
    signer_name(&signer, errors);
    let annotations = own.get("userAnnotations");
    for (key, _) in annotations.entries() {
        domain_prefixed(&annotations, &key.to_lowercase(), errors);
    }
    if !KEY_TYPES.contains(&own.get("keyType").str()) {
        own.get("keyType").not_supported(errors, KEY_TYPES);
    }
    let expiration = own.get("maxExpirationSeconds");
    if let Some(seconds) = expiration.int() {
        let domain = signer.str().split('/').next().unwrap_or_default();
        let most = match domain == "kubernetes.io" || domain.ends_with(".kubernetes.io") {
            true => KUBERNETES_CERTIFICATE_SECONDS_MAX,
            false => CERTIFICATE_SECONDS_MAX,
        };
        if seconds < 3600 {
            expiration.invalid(errors, "if provided, maxExpirationSeconds must be >= 3600");
        }
        if seconds > most {
            expiration.invalid(
                errors,
                &format!("if provided, maxExpirationSeconds must be <= {most}"),
            );
        }
    }
    let mut given = 0;
    for field in ["credentialBundlePath", "keyPath", "certificateChainPath"] {
        let path = own.get(field);
        if !path.is_empty() {
            given += 1;
            local_path(&path, errors);
            take(volume, path.str(), path.str(), paths, errors);
        }
    }
    if given == 0 {
        own.required(
            errors,
            "specify at least one of credentialBundlePath, keyPath, and certificateChainPath",
        );
    }
}

fn domain_prefixed(at: &At<'_, '_>, key: &str, errors: &mut ErrorList) {
    let messages = names::is_qualified_name(key);
    if messages.is_empty() && !key.contains('/') {
        at.invalid_as(
            errors,
            key,
            "must be a domain-prefixed key (such as \"acme.io/foo\")",
        );
    }
    messages
        .iter()
        .for_each(|message| at.invalid_as(errors, key, message));
}
