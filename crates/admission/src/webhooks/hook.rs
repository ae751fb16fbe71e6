//! One webhook of a configuration, ready to be matched and called.

use std::sync::Arc;
use std::time::Duration;

use corten_meta::object;
use corten_webhook::{ClientConfig, ConfigError};
use serde_json::Value;

use crate::matching::Matcher;

/// Where `timeoutSeconds` is not given.
const TIMEOUT_DEFAULT_S: u64 = 10;

/// See the module.
pub(crate) struct Hook {
    pub name: String,
    /// Tells webhooks of one name apart: configuration, name and place.
    pub id: String,
    pub matcher: Matcher,
    pub client: Result<Arc<ClientConfig>, ConfigError>,
    pub timeout: Duration,
    /// `failurePolicy: Ignore`
    pub ignore_failures: bool,
    /// None where not given.
    pub side_effects: Option<String>,
    /// `reinvocationPolicy: IfNeeded`
    pub reinvoke: bool,
    /// The first AdmissionReview version that both sides know.
    pub review_version: Option<&'static str>,
}

/// A configuration's webhooks in its order.
pub(crate) fn hooks(configuration: &Value) -> Vec<Hook> {
    let list = configuration["webhooks"].as_array().map(Vec::as_slice);
    let owner = object::name(configuration);
    let of = |(place, hook): (usize, &Value)| Hook::new(owner, place, hook);
    list.unwrap_or_default().iter().enumerate().map(of).collect()
}

impl Hook {
    fn new(configuration: &str, place: usize, hook: &Value) -> Self {
        let name = hook["name"].as_str().unwrap_or_default().to_owned();
        let versions = hook["admissionReviewVersions"].as_array().map(Vec::as_slice);
        let known = |version: &Value| ["v1", "v1beta1"].into_iter().find(|known| version == known);
        Self {
            id: format!("{configuration}/{name}/{place}"),
            matcher: Matcher::of_webhook(hook),
            client: ClientConfig::from_json(&hook["clientConfig"]).map(Arc::new),
            timeout: Duration::from_secs(hook["timeoutSeconds"].as_u64().unwrap_or(TIMEOUT_DEFAULT_S)),
            ignore_failures: hook["failurePolicy"] == "Ignore",
            side_effects: hook["sideEffects"].as_str().map(str::to_owned),
            reinvoke: hook["reinvocationPolicy"] == "IfNeeded",
            review_version: versions.unwrap_or_default().iter().find_map(known),
            name,
        }
    }

    /// May be called for a request that is not to have effects.
    pub fn supports_dry_run(&self) -> bool {
        matches!(self.side_effects.as_deref(), Some("None" | "NoneOnDryRun"))
    }
}
