//! Service-account tokens for projected volumes: asked for once, used until four fifths of their life are over.

use crate::pod::PodExt;
use corten_client::Caller;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::collections::HashMap;

/// Upstream renews tokens at least this often, however long they live.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(24);

#[derive(Clone)]
struct Token {
    text: String,
    renew: Timestamp,
    expires: Timestamp,
}

/// Pod uid, audience, lifetime in seconds.
type Key = (String, String, i64);

/// Bounded by the volumes of the pods of this node: a pod's tokens go with it.
pub struct Tokens {
    caller: Caller,
    cache: Mutex<HashMap<Key, Token>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status: AnswerStatus,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerStatus {
    token: String,
    expiration_timestamp: Timestamp,
}

impl Tokens {
    pub fn new(caller: Caller) -> Self {
        Self {
            caller,
            cache: Mutex::default(),
        }
    }

    /// A token and when to ask for its successor.
    ///
    /// # Errors
    /// When the API refuses and no valid token is at hand.
    pub async fn get(
        &self,
        pod: &Pod,
        audience: &str,
        seconds: i64,
        now: Timestamp,
    ) -> Result<(String, Timestamp), String> {
        let key = (pod.uid().to_owned(), audience.to_owned(), seconds);
        let known = self.cache.lock().get(&key).cloned();
        if let Some(token) = &known
            && now < token.renew
        {
            return Ok((token.text.clone(), token.renew));
        }
        match self.request(pod, audience, seconds).await {
            Ok(answer) => {
                let life = answer.expiration_timestamp.duration_since(now);
                let token = Token {
                    text: answer.token,
                    renew: now + (life * 4 / 5).min(MAX_AGE),
                    expires: answer.expiration_timestamp,
                };
                let out = (token.text.clone(), token.renew);
                self.cache.lock().insert(key, token);
                Ok(out)
            }
            Err(error) => match known.filter(|t| now < t.expires) {
                Some(token) => Ok((token.text, now + SignedDuration::from_secs(10))),
                None => Err(format!("failed to fetch token: {error}")),
            },
        }
    }

    async fn request(&self, pod: &Pod, audience: &str, seconds: i64) -> Result<AnswerStatus, String> {
        let spec = pod.spec();
        let account = spec
            .service_account_name
            .as_deref()
            .filter(|s| !s.is_empty())
            .unwrap_or("default");
        let ns = pod.namespace();
        let path = format!("/api/v1/namespaces/{ns}/serviceaccounts/{account}/token");
        let audiences: Vec<&str> = Some(audience).filter(|a| !a.is_empty()).into_iter().collect();
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": audiences,
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": pod.name(), "uid": pod.uid()},
            },
        });
        let body = serde_json::to_vec(&body).map_err(|e| e.to_string())?;
        let text = self
            .caller
            .send(http::Method::POST, &path, "application/json", body)
            .await
            .map_err(|e| e.to_string())?;
        let answer: Answer = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        Ok(answer.status)
    }

    pub fn forget(&self, uid: &str) {
        self.cache.lock().retain(|(pod, _, _), _| pod != uid);
    }
}
