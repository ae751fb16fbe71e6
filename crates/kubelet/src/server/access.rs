//! Who may use the kubelet's server.

use async_trait::async_trait;
use corten_client::Caller;
use corten_stdx::SharedClock;
use http::Method;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

/// An authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct User {
    pub name: String,
    pub uid: String,
    pub groups: Vec<String>,
}

/// What a caller wants: a verb on a subresource of this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes<'a> {
    pub verb: &'static str,
    pub node: &'a str,
    /// Of `nodes`: `proxy`, `stats`, `metrics`, `log`, `pods`, `healthz`, `configz`.
    pub subresource: &'a str,
    pub path: &'a str,
}

/// Authentication and authorization, delegated: to the API server, or to what decides there, in process.
#[async_trait]
pub trait Access: Send + Sync {
    /// `certificates` were verified by TLS, the client's first. None: nobody that is known.
    async fn authenticate(
        &self,
        certificates: &[CertificateDer<'static>],
        bearer: Option<&str>,
    ) -> Result<Option<User>, String>;
    async fn authorize(&self, user: &User, attributes: &Attributes<'_>) -> Result<bool, String>;
}

/// Verb and subresources of a request; any of the latter, allowed, is enough (upstream's fine-grained authorization).
pub(super) fn attributes(method: &Method, path: &str) -> (&'static str, Vec<&'static str>) {
    let verb = match method.as_str() {
        "POST" => "create",
        "PUT" => "update",
        "PATCH" => "patch",
        "DELETE" => "delete",
        _ => "get",
    };
    let first = path.split('/').find(|p| !p.is_empty()).unwrap_or_default();
    let list = match first {
        "pods" | "runningpods" => vec!["pods", "proxy"],
        "healthz" => vec!["healthz", "proxy"],
        "configz" => vec!["configz", "proxy"],
        "stats" => vec!["stats"],
        "metrics" => vec!["metrics"],
        "logs" => vec!["log"],
        "checkpoint" => vec!["checkpoint"],
        _ => vec!["proxy"],
    };
    (verb, list)
}

/// The user that a client certificate names: its common name, its organizations as groups.
pub fn certificate_user(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, cert) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = cert.subject();
    let text = |a: &x509_parser::x509::AttributeTypeAndValue<'_>| a.as_str().ok().map(str::to_owned);
    let name = subject.iter_common_name().next().and_then(text)?;
    let mut groups: Vec<String> = subject.iter_organization().filter_map(text).collect();
    groups.push("system:authenticated".into());
    Some(User {
        name,
        uid: String::new(),
        groups,
    })
}

/// How long answers of the API server are used again, as upstream's kubelet.
const TOKEN: Duration = Duration::from_secs(120);
const ALLOWED: Duration = Duration::from_secs(300);
const DENIED: Duration = Duration::from_secs(30);
/// Answers kept; past it all are forgotten.
const MAX_KEPT: usize = 4096;

type Kept<K, V> = Mutex<HashMap<K, (V, Duration)>>;

/// Asks the API server: TokenReview and SubjectAccessReview.
pub struct Delegated {
    caller: Caller,
    clock: SharedClock,
    tokens: Kept<String, Option<User>>,
    decisions: Kept<(User, String), bool>,
}

impl Delegated {
    pub fn new(client: kube::Client, clock: SharedClock) -> Self {
        let (tokens, decisions) = (Mutex::default(), Mutex::default());
        Self {
            caller: client.into(),
            clock,
            tokens,
            decisions,
        }
    }

    async fn ask(&self, group: &str, plural: &str, body: &Value) -> Result<Value, String> {
        let path = format!("/apis/{group}/v1/{plural}");
        let body = serde_json::to_vec(body).map_err(|e| e.to_string())?;
        let answer = self
            .caller
            .send(Method::POST, &path, "application/json", body)
            .await;
        serde_json::from_str(&answer.map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }

    fn known<K: Eq + std::hash::Hash, V: Clone>(&self, kept: &Kept<K, V>, key: &K) -> Option<V> {
        let now = self.clock.monotonic();
        kept.lock()
            .get(key)
            .filter(|(_, until)| *until > now)
            .map(|(v, _)| v.clone())
    }

    fn keep<K: Eq + std::hash::Hash, V>(&self, kept: &Kept<K, V>, key: K, value: V, life: Duration) {
        let mut kept = kept.lock();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, (value, self.clock.monotonic() + life));
    }

    async fn review(&self, token: &str) -> Result<Option<User>, String> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}});
        let answer = self.ask("authentication.k8s.io", "tokenreviews", &body).await?;
        if answer["status"]["authenticated"] != true {
            return Ok(None);
        }
        let user = &answer["status"]["user"];
        let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
        let groups = user["groups"]
            .as_array()
            .into_iter()
            .flatten()
            .map(text)
            .collect();
        Ok(Some(User {
            name: text(&user["username"]),
            uid: text(&user["uid"]),
            groups,
        }))
    }
}

#[async_trait]
impl Access for Delegated {
    async fn authenticate(
        &self,
        certificates: &[CertificateDer<'static>],
        bearer: Option<&str>,
    ) -> Result<Option<User>, String> {
        if let Some(user) = certificates.first().and_then(certificate_user) {
            return Ok(Some(user));
        }
        let Some(token) = bearer else { return Ok(None) };
        if let Some(known) = self.known(&self.tokens, &token.to_owned()) {
            return Ok(known);
        }
        let user = self.review(token).await?;
        self.keep(&self.tokens, token.to_owned(), user.clone(), TOKEN);
        Ok(user)
    }

    async fn authorize(&self, user: &User, a: &Attributes<'_>) -> Result<bool, String> {
        let key = (user.clone(), format!("{}/{}", a.verb, a.subresource));
        if let Some(known) = self.known(&self.decisions, &key) {
            return Ok(known);
        }
        let body = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": user.name,
                "uid": user.uid,
                "groups": user.groups,
                "resourceAttributes": {
                    "verb": a.verb, "version": "v1", "resource": "nodes",
                    "subresource": a.subresource, "name": a.node,
                },
            },
        });
        let answer = self
            .ask("authorization.k8s.io", "subjectaccessreviews", &body)
            .await?;
        let allowed = answer["status"]["allowed"] == true;
        self.keep(
            &self.decisions,
            key,
            allowed,
            if allowed { ALLOWED } else { DENIED },
        );
        Ok(allowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subresources() {
        assert_eq!(attributes(&Method::GET, "/pods"), ("get", vec!["pods", "proxy"]));
        assert_eq!(
            attributes(&Method::POST, "/exec/a/b/c"),
            ("create", vec!["proxy"])
        );
        assert_eq!(
            attributes(&Method::GET, "/metrics/cadvisor"),
            ("get", vec!["metrics"])
        );
    }
}
