//! Checking tokens: signature and claims here, the objects they are bound to with what the caller looks up.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;

use super::LEGACY_ISSUER;
use super::claims::{Claims, Kubernetes, Reference};
use super::key::PublicKey;
use super::legacy::LegacyToken;
use crate::user::{UserInfo, extra};

/// Clocks may differ by this much.
const LEEWAY_S: i64 = 60;
/// Tokens whose signature is known to be good; at the bound all are forgotten.
const CACHE_TOKENS: usize = 4096;
/// Longer ones are not tokens of ours.
const TOKEN_BYTES: usize = 16 * 1024;

/// Why a token is not accepted. The texts are upstream's, shown in TokenReview status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("service account token has expired")]
    Expired,
    #[error("service account token is not valid yet")]
    NotYetValid,
    #[error("service account token is issued in the future")]
    IssuedInFuture,
    #[error("invalid signature, no keys found")]
    UnknownKey,
    #[error("square/go-jose: error in cryptographic primitive")]
    Signature,
    #[error("token audiences {0:?} is invalid for the target audiences {1:?}")]
    Audience(Vec<String>, Vec<String>),
    #[error("service account token has been invalidated")]
    Invalidated,
    #[error("{0}")]
    Object(String),
}

/// Verifies tokens of one or more issuers against one or more keys.
pub struct Verifier {
    issuers: Vec<String>,
    keys: Vec<PublicKey>,
    audiences: Vec<String>,
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

/// A token with a good signature. It counts only after every object of [`Verified::bound_objects`] has been checked.
#[derive(Clone, Debug)]
pub struct Verified {
    claims: Arc<Claims>,
    /// The audiences of the token that were asked for.
    pub audiences: Vec<String>,
}

/// An object that must still be there, with the uid the token names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundObject {
    /// Plural, in the core group: serviceaccounts, secrets, pods or nodes.
    pub resource: &'static str,
    /// Empty for nodes.
    pub namespace: String,
    pub name: String,
    uid: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

impl Verifier {
    /// `audiences` are the API server's own; they are also what tokens without audience are taken to be for.
    pub fn new(issuers: Vec<String>, keys: Vec<PublicKey>, audiences: Vec<String>) -> Self {
        Self {
            issuers,
            keys,
            audiences,
            verified: Mutex::default(),
        }
    }

    pub fn audiences(&self) -> &[String] {
        &self.audiences
    }

    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// Checks signature, times and audience. `None`: not a token of these issuers, another authenticator may know it.
    /// `wanted` are the audiences asked for; empty means the API server's own.
    pub fn verify(&self, token: &str, wanted: &[String], now_s: i64) -> Option<Result<Verified, TokenError>> {
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let digest = digest(token);
        let known = self.verified.lock().get(&digest).cloned();
        let claims = match known {
            Some(claims) => claims,
            None => match self.parse(token)? {
                Ok(claims) => self.remember(digest, claims),
                Err(error) => return Some(Err(error)),
            },
        };
        Some(self.accept(claims, wanted, now_s))
    }

    fn remember(&self, digest: [u8; 32], claims: Claims) -> Arc<Claims> {
        let claims = Arc::new(claims);
        let mut verified = self.verified.lock();
        if verified.len() >= CACHE_TOKENS {
            verified.clear();
        }
        verified.insert(digest, Arc::clone(&claims));
        claims
    }

    fn parse(&self, token: &str) -> Option<Result<Claims, TokenError>> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let claims: Claims = serde_json::from_slice(&decode(payload)?).ok()?;
        if claims.iss != LEGACY_ISSUER && !self.issuers.contains(&claims.iss) {
            return None;
        }
        let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
        let signature = decode(signature)?;
        let mut keys = self
            .keys
            .iter()
            .filter(|key| header.kid.is_empty() || key.id() == header.kid)
            .peekable();
        if keys.peek().is_none() {
            return Some(Err(TokenError::UnknownKey));
        }
        let good =
            |key: &PublicKey| key.algorithm() == header.alg && key.verify(signed.as_bytes(), &signature);
        Some(if keys.any(good) {
            Ok(claims)
        } else {
            Err(TokenError::Signature)
        })
    }

    fn accept(&self, claims: Arc<Claims>, wanted: &[String], now_s: i64) -> Result<Verified, TokenError> {
        let wanted = if wanted.is_empty() {
            &self.audiences
        } else {
            wanted
        };
        let own = if claims.aud.is_empty() {
            &self.audiences
        } else {
            &claims.aud
        };
        let audiences: Vec<String> = own
            .iter()
            .filter(|audience| wanted.contains(audience))
            .cloned()
            .collect();
        if audiences.is_empty() {
            return Err(TokenError::Audience(own.clone(), wanted.to_vec()));
        }
        if claims.nbf.is_some_and(|nbf| now_s + LEEWAY_S < nbf) {
            return Err(TokenError::NotYetValid);
        }
        if claims.exp.is_some_and(|exp| now_s - LEEWAY_S > exp) {
            return Err(TokenError::Expired);
        }
        if claims.iat.is_some_and(|iat| now_s + LEEWAY_S < iat) {
            return Err(TokenError::IssuedInFuture);
        }
        Ok(Verified { claims, audiences })
    }
}

impl Verified {
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Seconds by which a mounted default token has outlived its nominal hour.
    pub fn stale_s(&self, now_s: i64) -> Option<i64> {
        let warn_after = self.claims.kubernetes.as_ref()?.warnafter?;
        (now_s > warn_after).then_some(now_s - warn_after)
    }

    /// The token as one of a Secret, if it is: then it counts by what [`LegacyToken`] says.
    pub fn legacy(&self) -> Option<LegacyToken<'_>> {
        self.claims
            .kubernetes
            .is_none()
            .then(|| LegacyToken::of(&self.claims))
    }

    /// The objects to look up, each to be handed to [`BoundObject::check`]. None of a token of a Secret.
    pub fn bound_objects(&self) -> Vec<BoundObject> {
        let Some(private) = &self.claims.kubernetes else {
            return Vec::new();
        };
        let namespace = private.namespace.as_str();
        let bound = |resource, namespace: &str, reference: &Reference| BoundObject {
            resource,
            namespace: namespace.to_owned(),
            name: reference.name.clone(),
            uid: reference.uid.clone(),
        };
        let mut objects = vec![bound("serviceaccounts", namespace, &private.serviceaccount)];
        objects.extend(
            private
                .secret
                .as_ref()
                .map(|secret| bound("secrets", namespace, secret)),
        );
        match (&private.pod, &private.node) {
            // The node of a pod-bound token only informs.
            (Some(pod), _) => objects.push(bound("pods", namespace, pod)),
            (None, Some(node)) => objects.push(bound("nodes", "", node)),
            (None, None) => {}
        }
        objects
    }

    /// The identity the token gives, once its objects have been checked.
    pub fn user(&self) -> UserInfo {
        let legacy;
        let private = match &self.claims.kubernetes {
            Some(private) => private,
            None => {
                legacy = self.legacy_private();
                &legacy
            }
        };
        let account = &private.serviceaccount;
        let mut user = UserInfo::service_account(&private.namespace, &account.name, &account.uid);
        user.extra = self.extra(private);
        user
    }

    fn extra(&self, private: &Kubernetes) -> BTreeMap<String, Vec<String>> {
        let mut extra = BTreeMap::new();
        let mut add = |key: &str, value: String| drop(extra.insert(key.to_owned(), vec![value]));
        if let Some(id) = &self.claims.jti {
            add(extra::CREDENTIAL_ID, format!("JTI={id}"));
        }
        if let Some(pod) = &private.pod {
            add(extra::POD_NAME, pod.name.clone());
            add(extra::POD_UID, pod.uid.clone());
        }
        if let Some(node) = &private.node {
            add(extra::NODE_NAME, node.name.clone());
            add(extra::NODE_UID, node.uid.clone());
        }
        extra
    }

    fn legacy_private(&self) -> Kubernetes {
        let claim = |value: &Option<String>| value.clone().unwrap_or_default();
        let serviceaccount = Reference {
            name: claim(&self.claims.legacy_name),
            uid: claim(&self.claims.legacy_uid),
        };
        Kubernetes {
            namespace: claim(&self.claims.legacy_namespace),
            serviceaccount,
            ..Kubernetes::default()
        }
    }
}

impl BoundObject {
    /// Whether the object found (or not) still backs the token.
    pub fn check(&self, found: Option<&Value>, now_s: i64) -> Result<(), TokenError> {
        let account = self.resource == "serviceaccounts";
        let Some(found) = found else {
            let name = &self.name;
            return Err(match account {
                true => TokenError::Object(format!("serviceaccounts {} not found", corten_meta::quote(name))),
                false => TokenError::Invalidated,
            });
        };
        let uid = found["metadata"]["uid"].as_str().unwrap_or_default();
        if uid != self.uid {
            return Err(TokenError::Object(self.uid_mismatch(uid)));
        }
        if deleted_before(found, now_s - LEEWAY_S) {
            return Err(match account {
                true => TokenError::Object(format!(
                    "service account {}/{} has been deleted",
                    self.namespace, self.name
                )),
                false => TokenError::Invalidated,
            });
        }
        Ok(())
    }

    fn uid_mismatch(&self, uid: &str) -> String {
        let what = match self.resource {
            "serviceaccounts" => {
                return format!("service account UID ({uid}) does not match claim ({})", self.uid);
            }
            resource => resource.trim_end_matches('s'),
        };
        format!(
            "{what} UID ({uid}) does not match service account {what} ref claim ({})",
            self.uid
        )
    }
}

fn deleted_before(object: &Value, time_s: i64) -> bool {
    let deleted = object["metadata"]["deletionTimestamp"].as_str();
    let deleted = deleted.and_then(|time| time.parse::<jiff::Timestamp>().ok());
    deleted.is_some_and(|time| time.as_second() < time_s)
}

pub(super) fn digest(text: impl AsRef<[u8]>) -> [u8; 32] {
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_ref());
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest.as_ref());
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::token::{Bound, Issuer, SigningKey, TokenSpec};
    use serde_json::json;

    const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
    const NOW: i64 = 1_800_000_000;

    fn pair() -> (Issuer, Verifier) {
        let key = SigningKey::from_pem(&SigningKey::generate_pem().unwrap()).unwrap();
        let audiences = vec![ISSUER.to_owned()];
        let verifier = Verifier::new(audiences.clone(), vec![key.public().clone()], audiences);
        (Issuer::new(ISSUER, key), verifier)
    }

    fn spec() -> TokenSpec {
        let reference = |name: &str| Reference {
            name: name.into(),
            uid: format!("uid-{name}"),
        };
        TokenSpec {
            namespace: "n".into(),
            service_account: reference("sa"),
            audiences: vec![ISSUER.into()],
            expiration_s: 3607,
            bound: Bound::Pod(reference("p"), Some(reference("node"))),
            warn_after_s: None,
        }
    }

    /// No other text than the one that was signed is believed.
    #[test]
    fn spoiled_tokens_are_not_believed() {
        let (issuer, verifier) = pair();
        let token = issuer.sign(&spec(), NOW).unwrap().token;
        let parts: Vec<Vec<u8>> = token
            .split('.')
            .filter_map(|part| URL_SAFE_NO_PAD.decode(part).ok())
            .collect();
        corten_fuzz::spoil("token", &[token.clone().into_bytes()], |input| {
            let text = String::from_utf8_lossy(input);
            let believed = verifier.verify(&text, &[], NOW).is_some_and(|read| read.is_ok());
            assert_eq!(believed, text == token);
        });
        corten_fuzz::spoil("token's parts", &parts[..2], |input| {
            let part = URL_SAFE_NO_PAD.encode(input);
            let tail = URL_SAFE_NO_PAD.encode(&parts[2]);
            let head = URL_SAFE_NO_PAD.encode(&parts[0]);
            for text in [
                format!("{head}.{part}.{tail}"),
                format!("{part}.{}.{tail}", URL_SAFE_NO_PAD.encode(&parts[1])),
            ] {
                let believed = verifier.verify(&text, &[], NOW).is_some_and(|read| read.is_ok());
                assert!(!believed || text == token);
            }
        });
    }

    #[test]
    fn a_token_gives_its_user_and_its_objects() {
        let (issuer, verifier) = pair();
        let mut spec = spec();
        spec.extend_default_mount(true);
        let issued = issuer.sign(&spec, NOW).unwrap();
        assert_eq!(issued.expires_s, NOW + 3607);
        for _ in 0..2 {
            let verified = verifier.verify(&issued.token, &[], NOW + 4000).unwrap().unwrap();
            assert_eq!(verified.user().username, "system:serviceaccount:n:sa");
            assert_eq!(verified.user().extra[extra::POD_NAME], ["p"]);
            assert_eq!(verified.user().extra[extra::NODE_NAME], ["node"]);
            assert_eq!(verified.stale_s(NOW + 4000), Some(393));
            let resources: Vec<_> = verified
                .bound_objects()
                .iter()
                .map(|object| object.resource)
                .collect();
            assert_eq!(resources, ["serviceaccounts", "pods"]);
        }
        let expired = verifier
            .verify(&issued.token, &[], NOW + 366 * 24 * 3600)
            .unwrap();
        assert_eq!(expired.unwrap_err(), TokenError::Expired);
    }

    #[test]
    fn forged_foreign_and_misdirected_tokens_are_refused() {
        let (issuer, verifier) = pair();
        let token = issuer.sign(&spec(), NOW).unwrap().token;
        let (other_issuer, _) = pair();
        let foreign_key = other_issuer.sign(&spec(), NOW).unwrap().token;
        assert_eq!(
            verifier.verify(&foreign_key, &[], NOW).unwrap().unwrap_err(),
            TokenError::UnknownKey
        );
        let mut parts: Vec<&str> = token.split('.').collect();
        parts[2] = "AAAA";
        assert_eq!(
            verifier.verify(&parts.join("."), &[], NOW).unwrap().unwrap_err(),
            TokenError::Signature
        );
        let vault = ["vault".to_owned()];
        let error = verifier.verify(&token, &vault, NOW).unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("token audiences [\"{ISSUER}\"] is invalid for the target audiences [\"vault\"]")
        );
        assert!(verifier.verify("abc", &[], NOW).is_none());
        assert!(verifier.verify("a.b.c", &[], NOW).is_none());
    }

    #[test]
    fn an_object_that_is_gone_or_another_ends_the_token() {
        let (issuer, verifier) = pair();
        let token = issuer.sign(&spec(), NOW).unwrap().token;
        let verified = verifier.verify(&token, &[], NOW).unwrap().unwrap();
        let pod = &verified.bound_objects()[1];
        assert_eq!(
            pod.check(Some(&json!({"metadata": {"uid": "uid-p"}})), NOW),
            Ok(())
        );
        assert_eq!(pod.check(None, NOW), Err(TokenError::Invalidated));
        let other = pod
            .check(Some(&json!({"metadata": {"uid": "x"}})), NOW)
            .unwrap_err();
        assert_eq!(
            other.to_string(),
            "pod UID (x) does not match service account pod ref claim (uid-p)"
        );
        let deleted = json!({"metadata": {"uid": "uid-p", "deletionTimestamp": "2020-01-01T00:00:00Z"}});
        assert_eq!(pod.check(Some(&deleted), NOW), Err(TokenError::Invalidated));
    }
}
