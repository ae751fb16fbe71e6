//! `TaintNodesByCondition`: a new node takes no pods until the node controller has seen it ready.

use async_trait::async_trait;
use corten_meta::Result;
use serde_json::{Value, json};

use super::{Admission, Attributes, Operation};
use crate::context::WriteContext;
use crate::registry::Registry;

const NOT_READY: &str = "node.kubernetes.io/not-ready";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct TaintNodesByCondition;

#[async_trait]
impl Admission for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn admit(
        &self,
        _: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        node: &mut Value,
    ) -> Result<()> {
        if !attributes.is_plain("", "nodes") {
            return Ok(());
        }
        let taint = json!({"key": NOT_READY, "effect": "NoSchedule"});
        let same = |known: &Value| known["key"] == taint["key"] && known["effect"] == taint["effect"];
        match node["spec"]["taints"].as_array_mut() {
            Some(taints) if taints.iter().any(same) => {}
            Some(taints) => taints.push(taint),
            None => node["spec"]["taints"] = json!([taint]),
        }
        Ok(())
    }
}
