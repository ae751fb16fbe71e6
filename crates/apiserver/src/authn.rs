//! Bearer tokens: static ones first, then bootstrap tokens, then service-account tokens with the objects they are bound to.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use corten_auth::UserInfo;
use corten_auth::authn::{ClientCertificates, Credentials, bearer_token, holds_no_token};
use corten_auth::request_header::FrontProxies;
use corten_auth::token::{BootstrapToken, Verified, Verifier};
use corten_registry::Registry;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::call::SharedNotes;
use crate::legacy_tokens::{self, Counters};

/// A token known from the start, by its digest so that comparing leaks no timing.
struct StaticToken {
    digest: [u8; 32],
    user: UserInfo,
}

const EXTRA_SPACE: &str =
    "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// Turns `Authorization: Bearer` into a user.
pub struct Authenticator {
    /// Judges client certificates.
    pub certificates: ClientCertificates,
    /// Judges authenticating proxies.
    pub front_proxies: FrontProxies,
    fixed: Vec<StaticToken>,
    verifier: Arc<Verifier>,
    registry: Arc<Registry>,
    legacy: Counters,
}

/// What a token stands for.
pub struct Authenticated {
    /// The user, `system:authenticated` included.
    pub user: UserInfo,
    /// The audiences asked for that the token is good for.
    pub audiences: Vec<String>,
}

impl Authenticator {
    /// `fixed`: tokens with their users (the admin token of tests).
    pub fn new(
        certificates: ClientCertificates,
        front_proxies: FrontProxies,
        fixed: Vec<(String, UserInfo)>,
        verifier: Arc<Verifier>,
        registry: Arc<Registry>,
        legacy: Counters,
    ) -> Self {
        let fixed = fixed.into_iter().map(|(token, user)| StaticToken {
            digest: digest(&token),
            user: user.authenticated(),
        });
        Self {
            certificates,
            front_proxies,
            fixed: fixed.collect(),
            verifier,
            registry,
            legacy,
        }
    }

    /// The verifier of service-account tokens.
    pub fn verifier(&self) -> &Arc<Verifier> {
        &self.verifier
    }

    /// Reads the headers that may hold a bearer token. `None`: they hold none.
    ///
    /// # Errors
    /// Why the token is not good, for the log; clients read `Unauthorized`.
    pub async fn bearer(
        &self,
        credentials: &Credentials<'_>,
        notes: &SharedNotes,
    ) -> Result<Option<UserInfo>, String> {
        let Some(token) = bearer_token(credentials) else {
            if holds_no_token(credentials) {
                notes.lock().warn(EXTRA_SPACE);
            }
            return Ok(None);
        };
        match self.token(&token, &[], notes).await {
            Some(Ok(a)) => Ok(Some(a.user)),
            Some(Err(e)) => Err(e),
            None => Err("invalid bearer token".to_owned()),
        }
    }

    /// Checks a token for these audiences (none: the server's own). `None` where nobody knows it. What is to be said of it
    /// besides goes to `notes`.
    pub async fn token(
        &self,
        token: &str,
        audiences: &[String],
        notes: &SharedNotes,
    ) -> Option<Result<Authenticated, String>> {
        let d = digest(token);
        if let Some(known) = self.fixed.iter().find(|t| t.digest == d) {
            let audiences = self.verifier.audiences().to_vec();
            return Some(Ok(Authenticated {
                user: known.user.clone(),
                audiences,
            }));
        }
        if let Some(found) = self.bootstrap(token, audiences).await {
            return Some(Ok(found));
        }
        let now_s = unix_seconds();
        match self.verifier.verify(token, audiences, now_s)? {
            Ok(verified) => Some(self.bound(verified, token, now_s, notes).await),
            Err(e) => Some(Err(e.to_string())),
        }
    }

    /// A bootstrap token, which is good for the server's own audiences only.
    async fn bootstrap(&self, token: &str, wanted: &[String]) -> Option<Authenticated> {
        let token = BootstrapToken::parse(token)?;
        let mut audiences = self.verifier.audiences().to_vec();
        if !wanted.is_empty() {
            audiences.retain(|own| wanted.contains(own));
            if audiences.is_empty() {
                return None;
            }
        }
        let secret = find(&self.registry, "secrets", "kube-system", &token.secret_name()).await?;
        let user = token.user(&secret, jiff::Timestamp::now())?;
        Some(Authenticated { user, audiences })
    }

    async fn bound(
        &self,
        verified: Verified,
        token: &str,
        now_s: i64,
        notes: &SharedNotes,
    ) -> Result<Authenticated, String> {
        if let Some(legacy) = verified.legacy() {
            legacy_tokens::check(&self.registry, &self.legacy, legacy, token, notes).await?;
        }
        for object in verified.bound_objects() {
            let found = find(&self.registry, object.resource, &object.namespace, &object.name).await;
            object.check(found.as_ref(), now_s).map_err(|e| e.to_string())?;
        }
        if let Some(stale_s) = verified.stale_s(now_s) {
            let subject = &verified.claims().sub;
            let text = format!("subject: {subject}, seconds after warning threshold: {stale_s}");
            notes.lock().annotate("authentication.k8s.io/stale-token", &text);
        }
        Ok(Authenticated {
            user: verified.user(),
            audiences: verified.audiences,
        })
    }
}

/// An object of the core group that a token stands for or is kept in.
pub(crate) async fn find(registry: &Registry, plural: &str, namespace: &str, name: &str) -> Option<Value> {
    let resource = registry.resource("", plural)?;
    let found = registry.get(&resource, namespace, name, "").await.ok()?;
    found.value().ok()
}

fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Seconds since 1970.
pub fn unix_seconds() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}
