//! `DefaultTolerationSeconds`: pods stay five minutes on a node that is not ready or not reachable.

use async_trait::async_trait;
use corten_meta::Result;
use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::context::WriteContext;
use crate::registry::Registry;

/// Upstream's `--default-not-ready-toleration-seconds` and its sibling.
const SECONDS: i64 = 300;
const KEYS: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefaultTolerationSeconds;

#[async_trait]
impl Admission for DefaultTolerationSeconds {
    fn name(&self) -> &'static str {
        "DefaultTolerationSeconds"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    async fn admit(
        &self,
        _: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        pod: &mut Value,
    ) -> Result<()> {
        if attributes.is_plain("", "pods") {
            add(pod);
        }
        Ok(())
    }
}

fn add(pod: &mut Value) {
    let tolerations = pod["spec"]["tolerations"].as_array().cloned().unwrap_or_default();
    let tolerates = |key: &str| {
        tolerations
            .iter()
            .any(|t| is_or_empty(&t["key"], key) && is_or_empty(&t["effect"], "NoExecute"))
    };
    let missing: Vec<Value> = KEYS
        .iter()
        .filter(|key| !tolerates(key))
        .map(|key| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}))
        .collect();
    if !missing.is_empty() {
        pod["spec"]["tolerations"] = tolerations.into_iter().chain(missing).collect();
    }
}

fn is_or_empty(value: &Value, wanted: &str) -> bool {
    let text = value.as_str().unwrap_or_default();
    text.is_empty() || text == wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_added() {
        let mut pod = json!({"spec": {"tolerations": [{"key": KEYS[0], "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}]}});
        add(&mut pod);
        assert_eq!(pod["spec"]["tolerations"].as_array().map(Vec::len), Some(2));
        let mut all = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        add(&mut all);
        assert_eq!(all["spec"]["tolerations"].as_array().map(Vec::len), Some(1));
    }
}
