//! Tokens of Secrets at the door: looked up, judged, and their use noted in the Secret once a day, so that the cleaner
//! knows which nobody uses. Rules: upstream's pkg/serviceaccount/legacy.go; `corten_auth::token::legacy` decides.

use std::sync::Arc;

use corten_auth::token::legacy::{self, LegacyToken, Origin};
use corten_registry::{Registry, Subresource};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry as Metrics;
use serde_json::Value;

use crate::authn::find;
use crate::bootstrap::Writer;
use crate::call::SharedNotes;

/// How often such tokens were shown.
#[derive(Debug, Default, Clone)]
pub struct Counters {
    counted: Counter,
    manual: Counter,
    generated: Counter,
    invalidated: Counter,
}

impl Counters {
    /// Upstream's names.
    pub(crate) fn register(&self, metrics: &mut Metrics) {
        for (name, help, counter) in [
            ("legacy_tokens", "Tokens of Secrets that counted", &self.counted),
            (
                "legacy_manual_token_uses",
                "Tokens of Secrets that someone made",
                &self.manual,
            ),
            (
                "legacy_auto_token_uses",
                "Tokens of Secrets that were made for accounts",
                &self.generated,
            ),
            (
                "invalid_legacy_auto_token_uses",
                "Tokens of Secrets marked invalid",
                &self.invalidated,
            ),
        ] {
            metrics.register(format!("serviceaccount_{name}"), help, counter.clone());
        }
    }

    fn count(&self, origin: Origin) {
        match origin {
            Origin::Manual => self.manual.inc(),
            Origin::Generated => self.generated.inc(),
            Origin::Invalidated => self.invalidated.inc(),
        };
    }
}

/// Judges one such token; what is to be said of it goes to `notes`.
///
/// # Errors
/// Why it does not count.
pub async fn check(
    registry: &Arc<Registry>,
    counters: &Counters,
    legacy: LegacyToken<'_>,
    token: &str,
    notes: &SharedNotes,
) -> Result<(), String> {
    let refused = |error: corten_auth::token::TokenError| error.to_string();
    legacy.check_claims().map_err(refused)?;
    let secret = find(registry, "secrets", legacy.namespace, legacy.secret).await;
    legacy.check_secret(token, secret.as_ref()).map_err(refused)?;
    let secret = secret.unwrap_or_default();
    let account = find(registry, "serviceaccounts", legacy.namespace, legacy.account).await;
    let judged = legacy.judge(&secret, account.as_ref()).map_err(refused)?;
    counters.count(judged.origin);
    {
        let mut notes = notes.lock();
        let (key, value) = &judged.annotation;
        notes.annotate(key, value);
        if let Some(text) = judged.warning {
            notes.warn(text);
        }
    }
    mark(registry, legacy, &secret).await;
    match judged.refused {
        Some(error) => Err(refused(error)),
        None => {
            counters.counted.inc();
            Ok(())
        }
    }
}

/// Whether the token counts does not hang on this write.
async fn mark(registry: &Arc<Registry>, legacy: LegacyToken<'_>, secret: &Value) {
    let now = jiff::Timestamp::now();
    if !legacy::is_unmarked(secret, now) {
        return;
    }
    let uid = &secret["metadata"]["uid"];
    let change = |current: &mut Value| {
        if current["metadata"]["uid"] == *uid {
            legacy::mark(current, now);
        }
    };
    let (namespace, name) = (legacy.namespace, legacy.secret);
    let written = Writer::new(registry)
        .update("", "secrets", namespace, name, Subresource::MAIN, change)
        .await;
    if let Err(error) = written {
        tracing::warn!(%error, namespace, name, "the use of a token is not noted in its Secret");
    }
}
