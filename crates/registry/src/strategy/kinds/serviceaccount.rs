//! ServiceAccounts.

use corten_meta::object;
use serde_json::{Value, json};

use super::super::StrategyContext;
use super::{PLAIN, Rules};

pub(super) const RULES: Rules = Rules {
    prepare,
    prepare_update: |ctx, account, _| prepare(ctx, account),
    warnings,
    ..PLAIN
};

const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";

/// References to secrets are names, whatever else was given.
fn prepare(_: &StrategyContext<'_>, account: &mut Value) {
    let secrets = account.get_mut("secrets").and_then(Value::as_array_mut);
    for secret in secrets.into_iter().flatten() {
        *secret = match secret["name"].as_str() {
            Some(name) => json!({"name": name}),
            None => json!({}),
        };
    }
}

fn warnings(account: &Value, old: Option<&Value>) -> Vec<String> {
    let has = |account: &Value| object::annotation(account, ENFORCE).is_some();
    if old.is_some_and(has) || !has(account) {
        return Vec::new();
    }
    vec![format!(
        "metadata.annotations[{ENFORCE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    )]
}
