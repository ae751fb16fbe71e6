//! Making tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use super::claims::{Claims, Kubernetes, Reference};
use super::key::{KeyError, SigningKey};
use super::{EXTENDED_EXPIRATION_S, LEGACY_ISSUER, WARN_ONLY_EXPIRATION_S};
use crate::user::service_account_username;

/// Signs tokens under one issuer name with one key.
pub struct Issuer {
    name: String,
    header: String,
    key: SigningKey,
}

/// A token to make.
#[derive(Clone, Debug, Default)]
pub struct TokenSpec {
    pub namespace: String,
    pub service_account: Reference,
    pub audiences: Vec<String>,
    pub expiration_s: i64,
    pub bound: Bound,
    /// Set by kubelets' requests for the default mount: see [`TokenSpec::extend_default_mount`].
    pub warn_after_s: Option<i64>,
}

/// The object whose deletion ends the token.
#[derive(Clone, Debug, Default)]
pub enum Bound {
    #[default]
    None,
    /// With the node the pod runs on, where it is known.
    Pod(Reference, Option<Reference>),
    Secret(Reference),
    Node(Reference),
}

/// A signed token.
#[derive(Clone, Debug)]
pub struct Issued {
    pub token: String,
    /// Seconds since 1970, to be shown as `status.expirationTimestamp`.
    pub expires_s: i64,
    /// The claim `jti`.
    pub id: String,
}

impl TokenSpec {
    /// Upstream's rule for tokens that kubelets request for pods: asked for exactly 3607 seconds and for the API
    /// server's own audiences, they live for a year, and use after 3607 seconds is only recorded.
    pub fn extend_default_mount(&mut self, for_api_server: bool) {
        let to_pod = matches!(self.bound, Bound::Pod(..));
        if to_pod && for_api_server && self.expiration_s == WARN_ONLY_EXPIRATION_S {
            self.warn_after_s = Some(self.expiration_s);
            self.expiration_s = EXTENDED_EXPIRATION_S;
        }
    }
}

impl Issuer {
    /// `name` is the claim `iss`: the API server's URL as in-cluster clients know it.
    pub fn new(name: impl Into<String>, key: SigningKey) -> Self {
        let header = json!({"alg": key.public().algorithm(), "kid": key.public().id()});
        Self {
            name: name.into(),
            header: URL_SAFE_NO_PAD.encode(header.to_string()),
            key,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// Signs a bound token. `now_s` is seconds since 1970. The expiry shown is the one asked for, even where the
    /// token lives longer.
    pub fn sign(&self, spec: &TokenSpec, now_s: i64) -> Result<Issued, KeyError> {
        let (mut pod, mut secret, mut node) = (None, None, None);
        match spec.bound.clone() {
            Bound::None => {}
            Bound::Pod(own, its_node) => (pod, node) = (Some(own), its_node),
            Bound::Secret(own) => secret = Some(own),
            Bound::Node(own) => node = Some(own),
        }
        let id = uuid::Uuid::new_v4().to_string();
        let claims = Claims {
            aud: spec.audiences.clone(),
            exp: Some(now_s + spec.expiration_s),
            iat: Some(now_s),
            nbf: Some(now_s),
            iss: self.name.clone(),
            jti: Some(id.clone()),
            kubernetes: Some(Kubernetes {
                namespace: spec.namespace.clone(),
                serviceaccount: spec.service_account.clone(),
                warnafter: spec.warn_after_s.map(|after| now_s + after),
                node,
                pod,
                secret,
            }),
            sub: service_account_username(&spec.namespace, &spec.service_account.name),
            ..Claims::default()
        };
        let expires_s = now_s + spec.warn_after_s.unwrap_or(spec.expiration_s);
        Ok(Issued {
            token: self.encode(&claims)?,
            expires_s,
            id,
        })
    }

    /// Signs the token of a Secret of type `kubernetes.io/service-account-token`: it lives as long as the Secret.
    pub fn sign_legacy(
        &self,
        namespace: &str,
        account: &Reference,
        secret: &str,
    ) -> Result<String, KeyError> {
        self.encode(&Claims {
            iss: LEGACY_ISSUER.to_owned(),
            sub: service_account_username(namespace, &account.name),
            legacy_namespace: Some(namespace.to_owned()),
            legacy_name: Some(account.name.clone()),
            legacy_uid: Some(account.uid.clone()),
            legacy_secret: Some(secret.to_owned()),
            ..Claims::default()
        })
    }

    fn encode(&self, claims: &Claims) -> Result<String, KeyError> {
        let payload = serde_json::to_vec(claims).map_err(|_| KeyError::Sign)?;
        let mut token = format!("{}.{}", self.header, URL_SAFE_NO_PAD.encode(payload));
        let signature = self.key.sign(token.as_bytes())?;
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }
}
