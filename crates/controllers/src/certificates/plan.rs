//! What becomes of a request: approved if a node asks for its own, signed once approved, removed when it is old.
//! Upstream: pkg/controller/certificates/{approver,signer,cleaner}.

use std::time::Duration;

use corten_client::object::MetaExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::certificates::v1::{
    CertificateSigningRequest, CertificateSigningRequestCondition, CertificateSigningRequestStatus,
};

use super::request::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING, Request};
use crate::core::context::time;
use crate::core::{Action, Write};
use crate::keys::CertificateSigner;

/// Default and longest life of a certificate (upstream's `--cluster-signing-duration`).
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// Twice what certificates are dated back.
const LIFETIME_MIN: Duration = Duration::from_secs(600);
/// How long decided requests are kept.
const DECIDED: Duration = Duration::from_secs(3600);
/// How long those are that nobody decided, or nobody signed.
const PENDING: Duration = Duration::from_secs(24 * 3600);

fn conditions(csr: &CertificateSigningRequest) -> &[CertificateSigningRequestCondition] {
    let status = csr.status.as_ref();
    status.and_then(|s| s.conditions.as_deref()).unwrap_or_default()
}

fn has(csr: &CertificateSigningRequest, kind: &str) -> bool {
    conditions(csr).iter().any(|c| c.type_ == kind)
}

/// The certificate, if one was issued.
fn issued(csr: &CertificateSigningRequest) -> Option<&[u8]> {
    let certificate = csr.status.as_ref()?.certificate.as_ref()?;
    Some(certificate.0.as_slice()).filter(|c| !c.is_empty())
}

/// A right that, if the requester has it, approves the request by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// Of `certificatesigningrequests`, to be created.
    pub subresource: &'static str,
    pub message: &'static str,
}

/// The claims to try, in order, on a request that nobody has decided.
#[must_use]
pub fn claims(csr: &CertificateSigningRequest, request: &Request) -> Vec<Claim> {
    let spec = &csr.spec;
    let usages = spec.usages.as_deref().unwrap_or_default();
    let recognized = spec.signer_name == KUBELET_CLIENT && request.check(KUBELET_CLIENT, usages).is_ok();
    if !recognized || !undecided(csr) {
        return Vec::new();
    }
    let node = Claim {
        subresource: "nodeclient",
        message: "Auto approving kubelet client certificate after SubjectAccessReview.",
    };
    let own = Claim {
        subresource: "selfnodeclient",
        message: "Auto approving self kubelet client certificate after SubjectAccessReview.",
    };
    if spec.username.as_deref() == Some(&request.common_name) {
        vec![own, node]
    } else {
        vec![node]
    }
}

/// Neither approved nor denied, and without a certificate.
#[must_use]
pub fn undecided(csr: &CertificateSigningRequest) -> bool {
    issued(csr).is_none() && !has(csr, "Approved") && !has(csr, "Denied")
}

/// The write that approves a request by a claim.
#[must_use]
pub fn approval(csr: &CertificateSigningRequest, claim: Claim) -> Action {
    let mut approved = csr.clone();
    add(&mut approved, "Approved", "AutoApproved", claim.message, None);
    Write::update_sub(&approved, "approval").into()
}

fn add(
    csr: &mut CertificateSigningRequest,
    kind: &str,
    reason: &str,
    message: &str,
    updated: Option<Timestamp>,
) {
    let status = csr
        .status
        .get_or_insert_with(CertificateSigningRequestStatus::default);
    status
        .conditions
        .get_or_insert_default()
        .push(CertificateSigningRequestCondition {
            type_: kind.into(),
            status: "True".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            last_update_time: updated.map(time),
            last_transition_time: None,
        });
}

/// The write that issues the certificate of an approved request, or says why its signer never will.
///
/// # Errors
/// Why it could not be signed now.
pub fn signature(
    csr: &CertificateSigningRequest,
    signer: &dyn CertificateSigner,
    now: Timestamp,
) -> Result<Option<Action>, String> {
    let spec = &csr.spec;
    let ours = [KUBELET_CLIENT, KUBELET_SERVING, CLIENT].contains(&spec.signer_name.as_str());
    let failed = conditions(csr)
        .iter()
        .any(|c| c.type_ == "Failed" && c.status == "True");
    if !ours || issued(csr).is_some() || !has(csr, "Approved") || has(csr, "Denied") || failed {
        return Ok(None);
    }
    let request = Request::parse(&spec.request.0)
        .map_err(|error| format!("unable to parse csr {:?}: {error}", csr.metadata.name()))?;
    let usages = spec.usages.as_deref().unwrap_or_default();
    let mut signed = csr.clone();
    if let Err(why) = request.check(&spec.signer_name, usages) {
        add(&mut signed, "Failed", "SignerValidationFailure", &why, Some(now));
    } else {
        let lifetime = lifetime(spec.expiration_seconds);
        let certificate = signer
            .sign(&spec.request.0, usages, lifetime, now)
            .map_err(|error| format!("error auto signing csr: {error}"))?;
        signed.status.get_or_insert_default().certificate = Some(ByteString(certificate.into_bytes()));
    }
    Ok(Some(Write::status(&signed).into()))
}

fn lifetime(asked_s: Option<i32>) -> Duration {
    asked_s.map_or(LIFETIME, |asked_s| {
        Duration::from_secs(asked_s.max(0).unsigned_abs().into()).clamp(LIFETIME_MIN, LIFETIME)
    })
}

/// How long a request is still kept.
#[must_use]
pub fn left(csr: &CertificateSigningRequest, now: Timestamp) -> Option<Duration> {
    let until = |since: Option<Timestamp>, kept: Duration| since.map(|since| since + kept);
    let created = csr.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let mut ends = Vec::new();
    if conditions(csr).is_empty() {
        ends.extend(until(created, PENDING));
    }
    for condition in conditions(csr) {
        let at = condition.last_update_time.as_ref().map(|t| t.0);
        match (condition.type_.as_str(), issued(csr)) {
            ("Denied" | "Failed", _) => ends.extend(until(at, DECIDED)),
            ("Approved", Some(certificate)) => {
                ends.extend(until(at, DECIDED));
                ends.extend(expiry(certificate));
            }
            ("Approved", None) => ends.extend(until(at, PENDING)),
            _ => {}
        }
    }
    let left = ends.into_iter().min()?.duration_since(now);
    Some(if left.is_positive() {
        left.unsigned_abs()
    } else {
        Duration::ZERO
    })
}

/// When the first certificate ends.
fn expiry(certificate: &[u8]) -> Option<Timestamp> {
    let (_, block) = x509_parser::pem::parse_x509_pem(certificate).ok()?;
    let ends = block.parse_x509().ok()?.validity().not_after.timestamp();
    Timestamp::from_second(ends).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;
    use crate::core::action::transcript;

    fn csr(status: serde_json::Value) -> CertificateSigningRequest {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "creationTimestamp": "1970-01-01T00:00:00Z"},
            "spec": {"request": "", "signerName": CLIENT, "usages": ["client auth"]},
            "status": status,
        }))
        .unwrap()
    }

    #[test]
    fn old_requests_go_by_what_became_of_them() {
        let now = Timestamp::from_second(1800).unwrap();
        let left_s = |status| left(&csr(status), now).map(|d| d.as_secs());
        let condition = |kind: &str| {
            json!({"conditions": [{"type": kind, "status": "True",
            "lastUpdateTime": "1970-01-01T00:10:00Z"}]})
        };
        assert_eq!(left_s(json!({})), Some(24 * 3600 - 1800));
        assert_eq!(left_s(condition("Denied")), Some(3600 - 1200));
        assert_eq!(left_s(condition("Failed")), Some(3600 - 1200));
        assert_eq!(left_s(condition("Approved")), Some(24 * 3600 - 1200));
        let mut with = condition("Approved");
        with["certificate"] = json!("bm90IGEgY2VydGlmaWNhdGU=");
        assert_eq!(left_s(with), Some(3600 - 1200));
    }

    struct Fixed;

    impl CertificateSigner for Fixed {
        fn sign(&self, _: &[u8], usages: &[String], life: Duration, _: Timestamp) -> Result<String, String> {
            Ok(format!("{} for {} s", usages.join("+"), life.as_secs()))
        }
    }

    /// A request of a node for its client certificate.
    fn of_node(status: serde_json::Value) -> CertificateSigningRequest {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let name = &mut params.distinguished_name;
        name.push(rcgen::DnType::OrganizationName, "system:nodes");
        name.push(rcgen::DnType::CommonName, "system:node:a");
        let pem = params.serialize_request(&key).unwrap().pem().unwrap();
        let mut csr = csr(status);
        csr.spec.request = ByteString(pem.into_bytes());
        csr.spec.signer_name = KUBELET_CLIENT.into();
        csr.spec.usages = Some(vec!["client auth".into(), "digital signature".into()]);
        csr.spec.expiration_seconds = Some(3600);
        csr
    }

    #[test]
    fn a_node_s_request_is_approved_and_signed() {
        let now = Timestamp::UNIX_EPOCH;
        let mut csr = of_node(json!({}));
        let request = Request::parse(&csr.spec.request.0).unwrap();
        let tried = |csr: &CertificateSigningRequest| -> Vec<_> {
            claims(csr, &request).iter().map(|c| c.subresource).collect()
        };
        csr.spec.username = Some("system:bootstrap:abcdef".into());
        assert_eq!(tried(&csr), ["nodeclient"]);
        csr.spec.username = Some("system:node:a".into());
        assert_eq!(tried(&csr), ["selfnodeclient", "nodeclient"]);
        assert_eq!(signature(&csr, &Fixed, now), Ok(None));
        let approved = approval(&csr, claims(&csr, &request)[0]);
        assert_eq!(
            transcript(&[approved]),
            "status certificatesigningrequests c {\"conditions\":[{\"message\":\"Auto approving self kubelet \
             client certificate after SubjectAccessReview.\",\"reason\":\"AutoApproved\",\"status\":\"True\",\
             \"type\":\"Approved\"}]}\n"
        );
        let csr = of_node(json!({"conditions": [{"type": "Approved", "status": "True"}]}));
        assert!(tried(&csr).is_empty());
        let Some(Action::Write(write)) = signature(&csr, &Fixed, now).unwrap() else {
            panic!("not signed");
        };
        let signed = CertificateSigningRequest::deserialize(&*write.body).unwrap();
        let certificate = issued(&signed).unwrap();
        assert_eq!(certificate, b"client auth+digital signature for 3600 s");
        assert_eq!(signature(&signed, &Fixed, now), Ok(None));
    }

    #[test]
    fn what_a_signer_never_gives_fails() {
        let mut csr = of_node(json!({"conditions": [{"type": "Approved", "status": "True"}]}));
        csr.spec.signer_name = KUBELET_SERVING.into();
        let failed = signature(&csr, &Fixed, Timestamp::UNIX_EPOCH).unwrap().unwrap();
        assert_eq!(
            transcript(&[failed]),
            "status certificatesigningrequests c {\"conditions\":[{\"status\":\"True\",\"type\":\"Approved\"},\
             {\"lastUpdateTime\":\"1970-01-01T00:00:00Z\",\"message\":\"DNS or IP subjectAltName is required\",\
             \"reason\":\"SignerValidationFailure\",\"status\":\"True\",\"type\":\"Failed\"}]}\n"
        );
        csr.spec.signer_name = "example.com/other".into();
        assert_eq!(signature(&csr, &Fixed, Timestamp::UNIX_EPOCH), Ok(None));
    }

    #[test]
    fn lifetimes_are_bounded() {
        assert_eq!(lifetime(None), LIFETIME);
        assert_eq!(lifetime(Some(1)), LIFETIME_MIN);
        assert_eq!(lifetime(Some(3600)), Duration::from_secs(3600));
        assert_eq!(lifetime(Some(i32::MAX)), LIFETIME);
    }
}
