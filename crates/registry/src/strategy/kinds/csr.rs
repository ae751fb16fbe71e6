//! CertificateSigningRequests: what is asked for never changes; approval and issuing have subresources of their own.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use corten_meta::field::{Error, Path};
use corten_meta::object;
use serde_json::{Value, json};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::super::rules::{At, ErrorList, object_meta_update, signer_name};
use super::super::{Strategy, StrategyContext, generic};
use super::pem::blocks;
use crate::metadata;
use crate::resource::Subresource;

#[derive(Clone, Copy, Debug)]
pub(in crate::strategy) struct CertificateStrategy;

const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
/// Conditions that are decisions: they are `True`, and they stay.
const DECISIONS: [&str; 3] = ["Approved", "Denied", "Failed"];
const EXPIRATION_MIN_S: i64 = 600;

impl Strategy for CertificateStrategy {
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        corten_meta::names::is_path_segment(name, prefix)
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.signerName"]
    }

    fn field_values(&self, request: &Value) -> Vec<String> {
        vec![object::str_at(request, &["spec", "signerName"]).to_owned()]
    }

    /// Who asks is who writes.
    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, request: &mut Value) {
        generic::prepare_for_create(ctx, request);
        let user = &ctx.write.user;
        let spec = object::child_mut(object::object_mut(request), "spec");
        for field in ["username", "uid", "groups", "extra"] {
            spec.remove(field);
        }
        for (field, text) in [("username", &user.name), ("uid", &user.uid)] {
            if !text.is_empty() {
                spec.insert(field.to_owned(), text.as_str().into());
            }
        }
        if !user.groups.is_empty() {
            spec.insert("groups".to_owned(), json!(user.groups));
        }
        if !user.extra.is_empty() {
            spec.insert("extra".to_owned(), json!(user.extra));
        }
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, request: &Value) -> ErrorList {
        let mut errors = metadata::validate(request, false, &|_, _| Vec::new());
        body(&At::root(request), &mut errors);
        certificate(&request["status"]["certificate"], &mut errors);
        errors
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, request: &mut Value, old: &Value) {
        request["spec"] = old["spec"].clone();
        let (mut conditions, given) = (request["status"]["conditions"].clone(), request["status"].clone());
        match ctx.subresource {
            Subresource::STATUS => {
                keep_approval(&mut conditions, &old["status"]["conditions"]);
                request["status"] = given;
            }
            Subresource::APPROVAL => generic::reset_status(request, &old["status"]),
            _ => return generic::reset_status(request, &old["status"]),
        }
        stamp(
            &mut conditions,
            &old["status"]["conditions"],
            &ctx.write.now_text(),
        );
        match conditions {
            Value::Null => {
                drop(object::child_mut(object::object_mut(request), "status").remove("conditions"))
            }
            conditions => request["status"]["conditions"] = conditions,
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, request: &Value, old: &Value) -> ErrorList {
        validate_update(ctx.subresource, request, old)
    }
}

fn validate_update(subresource: Subresource, request: &Value, old: &Value) -> ErrorList {
    let mut errors = ErrorList::new();
    body(&At::root(request), &mut errors);
    let (new, before) = (&request["status"]["certificate"], &old["status"]["certificate"]);
    if new != before {
        certificate(new, &mut errors);
    }
    kept(subresource, request, old, &mut errors);
    if new != before {
        let path = Path::new("status").child("certificate");
        if subresource != Subresource::STATUS {
            errors.push(Error::forbidden(&path, "updates may not set certificate content"));
        } else if !before.is_null() {
            let detail = "updates may not modify existing certificate content";
            errors.push(Error::forbidden(&path, detail));
        }
    }
    object_meta_update(request, &mut errors);
    errors
}

fn of_kind<'a>(conditions: &'a Value, kind: &str) -> Vec<&'a Value> {
    let list = conditions.as_array().into_iter().flatten();
    list.filter(|condition| condition["type"] == kind).collect()
}

/// Approval is not the status writer's to change.
fn keep_approval(conditions: &mut Value, old: &Value) {
    for kind in ["Approved", "Denied"] {
        let before = of_kind(old, kind);
        if of_kind(conditions, kind).len() != before.len() {
            continue;
        }
        let places = conditions.as_array_mut().into_iter().flatten();
        let places = places.filter(|condition| condition["type"] == kind);
        places
            .zip(before)
            .for_each(|(place, condition)| *place = condition.clone());
    }
}

/// Conditions without times get them; one that stays as it was keeps its own.
fn stamp(conditions: &mut Value, old: &Value, now: &str) {
    for condition in conditions.as_array_mut().into_iter().flatten() {
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.into();
        }
        if condition["lastTransitionTime"].is_null() {
            let same = |known: &&Value| {
                ["type", "status"]
                    .iter()
                    .all(|field| known[*field] == condition[*field])
                    && !known["lastTransitionTime"].is_null()
            };
            let known = old.as_array().into_iter().flatten().find(same);
            condition["lastTransitionTime"] =
                known.map_or_else(|| now.into(), |known| known["lastTransitionTime"].clone());
        }
    }
}

fn body(at: &At<'_, '_>, errors: &mut ErrorList) {
    let spec = at.get("spec");
    let request = spec.get("request");
    if let Some(problem) = request_problem(request.str()) {
        request.invalid_as(errors, request.str(), &problem);
    }
    let usages = spec.get("usages");
    usages.nonempty(errors);
    let mut seen: Vec<&str> = Vec::new();
    for usage in usages.items() {
        usage.one_of_if_set(errors, USAGES);
        if seen.contains(&usage.str()) {
            usage.duplicate(errors);
        }
        seen.push(usage.str());
    }
    let signer = spec.get("signerName");
    match signer.str() {
        "kubernetes.io/legacy-unknown" => {
            signer.invalid(
                errors,
                "the legacy signerName is not allowed via this API version",
            );
        }
        _ => signer_name(&signer, errors),
    }
    let expiration = spec.get("expirationSeconds");
    if expiration.int().is_some_and(|seconds| seconds < EXPIRATION_MIN_S) {
        expiration.invalid(
            errors,
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
    let status = at.get("status");
    conditions(&status.get("conditions"), errors);
}

/// Why the text is not a signed request in PEM.
fn request_problem(text: &str) -> Option<String> {
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let block = blocks(&bytes).into_iter().next();
    let Some(block) = block.filter(|block| block.kind == "CERTIFICATE REQUEST") else {
        return Some("PEM block type must be CERTIFICATE REQUEST".to_owned());
    };
    match X509CertificationRequest::from_der(&block.bytes) {
        Err(error) => Some(format!("x509: malformed certificate request: {error}")),
        Ok((_, request)) => request
            .verify_signature()
            .err()
            .map(|_| "x509: signature is not valid".to_owned()),
    }
}

fn conditions(list: &At<'_, '_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for condition in list.items() {
        let kind = condition.get("type");
        kind.nonempty(errors);
        let allowed: &[&str] = if DECISIONS.contains(&kind.str()) {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        condition.get("status").one_of(errors, allowed);
        let opposite = match kind.str() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !opposite.is_empty() && seen.contains(&opposite) {
            list.invalid_as(
                errors,
                kind.str(),
                "Approved and Denied conditions are mutually exclusive",
            );
        }
        if seen.contains(&kind.str()) {
            kind.duplicate(errors);
        }
        seen.push(kind.str());
    }
}

/// Decisions are not taken back, and approval has its own subresource.
fn kept(subresource: Subresource, new: &Value, old: &Value, errors: &mut ErrorList) {
    let (new, old) = (&new["status"]["conditions"], &old["status"]["conditions"]);
    let path = Path::new("status").child("conditions");
    for kind in DECISIONS {
        let (now, before) = (of_kind(new, kind), of_kind(old, kind));
        let quoted = corten_meta::quote(kind);
        if now.len() < before.len() {
            let detail = format!("updates may not remove a condition of type {quoted}");
            errors.push(Error::forbidden(&path, detail));
        }
    }
    if subresource == Subresource::APPROVAL {
        return;
    }
    for kind in ["Approved", "Denied"] {
        let (now, before) = (of_kind(new, kind), of_kind(old, kind));
        let quoted = corten_meta::quote(kind);
        if now.len() > before.len() {
            let detail = format!("updates may not add a condition of type {quoted}");
            errors.push(Error::forbidden(&path, detail));
        } else if now.len() == before.len() && now != before {
            let detail = format!("updates may not modify a condition of type {quoted}\n");
            errors.push(Error::forbidden(&path, detail));
        }
    }
}

/// The issued certificate: PEM blocks of certificates, nothing else.
fn certificate(value: &Value, errors: &mut ErrorList) {
    let Some(text) = value.as_str().filter(|text| !text.is_empty()) else {
        return;
    };
    if let Some(problem) = certificate_problem(&STANDARD.decode(text).unwrap_or_default()) {
        let path = Path::new("status").child("certificate");
        errors.push(Error::invalid(&path, "<certificate data>", problem));
    }
}

fn certificate_problem(bytes: &[u8]) -> Option<String> {
    let blocks = blocks(bytes);
    for block in &blocks {
        if block.kind != "CERTIFICATE" {
            let found = corten_meta::quote(&block.kind);
            return Some(format!("only CERTIFICATE PEM blocks are allowed, found {found}"));
        }
        if block.headers {
            return Some("no PEM block headers are permitted".to_owned());
        }
        if X509Certificate::from_der(&block.bytes).is_err() {
            return Some("x509: malformed certificate".to_owned());
        }
    }
    blocks
        .is_empty()
        .then(|| "must contain at least one CERTIFICATE PEM block".to_owned())
}

/// Organizations in the subject of a request; none if it cannot be read.
pub(crate) fn organizations(request: &Value) -> Vec<String> {
    let text = object::str_at(request, &["spec", "request"]);
    let bytes = STANDARD.decode(text).unwrap_or_default();
    let Some(block) = blocks(&bytes).into_iter().next() else {
        return Vec::new();
    };
    let Ok((_, request)) = X509CertificationRequest::from_der(&block.bytes) else {
        return Vec::new();
    };
    let subject = &request.certification_request_info.subject;
    subject
        .iter_organization()
        .filter_map(|part| part.as_str().ok())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `O=system:masters, CN=a`, signed with its own key.
    const REQUEST: &str = "\
        LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIZk1JR0hBZ0VBTUNVeEZ6QVZCZ05WQkFvTURuTj\
        VjM1JsYlRwdFlYTjBaWEp6TVFvd0NBWURWUVFEREFGaApNRmt3RXdZSEtvWkl6ajBDQVFZSUtvWkl6ajBEQVFjRFFn\
        QUVlTlZCWFJPQjJQejRtd3hCQzQyY0MwbzJ6NlVoCnJrWmxLOHptWWlTOWxwVFR5N3BjOFFOT3dDZDZJNXU5bXJNOU\
        ZOeVdERzZ2Ry8zYlNvemhQUGVBUzZBQU1Bb0cKQ0NxR1NNNDlCQU1DQTBjQU1FUUNJR3lCVkVCRzVVMkMvak52VUlS\
        MTdrSWZrM1IvcmxYSm16SXRkWWN2SzhzcQpBaUJBUDU0Q0d6Y014MjF0UGRrK0RPUDVaVFJoc1FSNjZzUXRBL2ZHMH\
        kyWThBPT0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

    #[test]
    fn requests_are_read_and_their_signatures_checked() {
        let text: String = REQUEST.split_whitespace().collect();
        assert_eq!(request_problem(&text), None);
        assert_eq!(
            organizations(&json!({"spec": {"request": text}})),
            ["system:masters"]
        );
        let problem = "PEM block type must be CERTIFICATE REQUEST";
        assert_eq!(request_problem("bm90IGEgY3Ny").as_deref(), Some(problem));
    }

    #[test]
    fn blocks_of_certificates_have_no_headers() {
        let block =
            |header: &str| format!("-----BEGIN CERTIFICATE-----\n{header}AAAA\n-----END CERTIFICATE-----\n");
        let problem = |text: String| certificate_problem(text.as_bytes()).unwrap_or_default();
        let header = "no PEM block headers are permitted";
        assert_eq!(problem(block("A: b\nC: d\n\n")), header);
        assert!(problem(block("")).starts_with("x509: "));
        let key = block("A: b\n").replace("CERTIFICATE", "KEY");
        assert_eq!(
            problem(key),
            "only CERTIFICATE PEM blocks are allowed, found \"KEY\""
        );
    }

    #[test]
    fn causes_come_in_upstreams_order() {
        let condition = |kind: &str| json!({"type": kind, "status": "True"});
        let old = json!({"status": {"conditions": [condition("Failed"), condition("Denied")], "certificate": "AA=="}});
        let new = json!({
            "metadata": {"finalizers": ["x"]},
            "status": {"conditions": [condition("Approved")], "certificate": "eA=="},
        });
        let errors = validate_update(Subresource::STATUS, &new, &old);
        let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let of_status: Vec<&str> = said
            .iter()
            .map(String::as_str)
            .filter(|text| !text.starts_with("spec."))
            .collect();
        assert_eq!(
            of_status,
            [
                "status.certificate: Invalid value: \"<certificate data>\": must contain at least one CERTIFICATE PEM block",
                "status.conditions: Forbidden: updates may not remove a condition of type \"Denied\"",
                "status.conditions: Forbidden: updates may not remove a condition of type \"Failed\"",
                "status.conditions: Forbidden: updates may not add a condition of type \"Approved\"",
                "status.certificate: Forbidden: updates may not modify existing certificate content",
                "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully \
                 qualified",
            ]
        );
    }

    #[test]
    fn approval_is_for_its_own_subresource() {
        let old = json!({"status": {}});
        let new = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}});
        let problems = |subresource| {
            let mut errors = ErrorList::new();
            kept(subresource, &new, &old, &mut errors);
            errors.len()
        };
        assert_eq!(
            (problems(Subresource::APPROVAL), problems(Subresource::STATUS)),
            (0, 1)
        );
    }
}
