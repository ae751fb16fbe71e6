//! CustomResourceDefinitions themselves (upstream's `registry/customresourcedefinition`). The rules are the `crd` crate's.

use corten_crd::cel::Cel;
use corten_crd::definition;
use corten_meta::field::ErrorList;
use corten_meta::object;
use serde_json::{Value, json};

use super::{DeleteStep, Strategy, StrategyContext};
use crate::options::DeleteOptions;
use crate::resource::Subresource;

/// Keeps a definition until its instances have gone.
pub const CLEANUP_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

#[derive(Clone, Copy, Debug, Default)]
pub struct DefinitionStrategy;

impl Strategy for DefinitionStrategy {
    fn allow_unconditional_update(&self) -> bool {
        false
    }

    fn prepare_for_create(&self, _ctx: &StrategyContext<'_>, object: &mut Value) {
        definition::prepare_for_create(object);
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, object: &Value) -> ErrorList {
        definition::validate(object, Some(&Cel))
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, object: &Value) -> Vec<String> {
        definition::warnings(object, None)
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, object: &mut Value, old: &Value) {
        if ctx.subresource == Subresource::STATUS {
            definition::prepare_for_status_update(object, old);
        } else {
            definition::prepare_for_update(object, old);
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> ErrorList {
        if ctx.subresource == Subresource::STATUS {
            definition::validate_status_update(object, old)
        } else {
            definition::validate_update(object, old, Some(&Cel))
        }
    }

    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, object: &Value, old: &Value) -> Vec<String> {
        if ctx.subresource == Subresource::STATUS {
            return Vec::new();
        }
        definition::warnings(object, Some(old))
    }

    /// The first delete marks the definition; it goes when its instances have.
    fn delete_step(
        &self,
        ctx: &StrategyContext<'_>,
        object: &mut Value,
        _options: &DeleteOptions,
    ) -> DeleteStep {
        if object::deletion_timestamp(object).is_some() {
            return DeleteStep::Generic;
        }
        let now = ctx.write.now_text();
        object::set_deletion_timestamp(object, Some(&now));
        let mut finalizers = object::finalizers(object);
        if !finalizers.iter().any(|finalizer| finalizer == CLEANUP_FINALIZER) {
            finalizers.push(CLEANUP_FINALIZER.to_owned());
            object::set_finalizers(object, &finalizers);
        }
        let pending = json!({
            "type": "Terminating",
            "status": "True",
            "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        });
        set_condition(object, pending, &now);
        DeleteStep::Store
    }
}

/// Sets a condition by its type (upstream's `SetCRDCondition`): the time is that of the last change of its status.
pub fn set_condition(definition: &mut Value, mut condition: Value, now: &str) {
    condition["lastTransitionTime"] = json!(now);
    let conditions = &mut definition["status"]["conditions"];
    if !conditions.is_array() {
        *conditions = json!([]);
    }
    let Some(list) = conditions.as_array_mut() else {
        return;
    };
    match list.iter_mut().find(|known| known["type"] == condition["type"]) {
        None => list.push(condition),
        Some(known) => {
            if known["status"] == condition["status"] && known["lastTransitionTime"].is_string() {
                condition["lastTransitionTime"] = known["lastTransitionTime"].take();
            }
            for field in ["status", "reason", "message", "lastTransitionTime"] {
                known[field] = condition[field].take();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_keep_their_time_while_their_status_does() {
        let mut crd = json!({});
        set_condition(
            &mut crd,
            json!({"type": "A", "status": "True", "reason": "X"}),
            "1",
        );
        set_condition(
            &mut crd,
            json!({"type": "A", "status": "True", "reason": "Y"}),
            "2",
        );
        assert_eq!(crd["status"]["conditions"][0]["lastTransitionTime"], "1");
        assert_eq!(crd["status"]["conditions"][0]["reason"], "Y");
        set_condition(
            &mut crd,
            json!({"type": "A", "status": "False", "reason": "Y"}),
            "3",
        );
        assert_eq!(crd["status"]["conditions"][0]["lastTransitionTime"], "3");
    }
}
