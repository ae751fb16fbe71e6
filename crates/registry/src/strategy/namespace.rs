//! Namespaces: terminated in two steps (`pkg/registry/core/namespace`). A delete marks them; the namespace controller
//! empties them and takes `kubernetes` out of `spec.finalizers`; that removes them.

use corten_meta::{names, object};
use serde_json::{Value, json};

use super::rules::{At, ErrorList, kube_finalizer, object_meta, object_meta_update, qualified};
use super::{DeleteStep, Strategy, StrategyContext, generic};
use crate::options::{DeleteOptions, Propagation};
use crate::resource::Subresource;
use crate::write::{FOREGROUND_FINALIZER, ORPHAN_FINALIZER};

/// The finalizer every namespace begins with.
const KUBERNETES: &str = "kubernetes";
/// Every namespace carries its name as a label, for selectors.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

#[derive(Clone, Copy, Debug)]
pub struct NamespaceStrategy;

impl Strategy for NamespaceStrategy {
    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_dns_label(name, prefix)
    }

    fn prepare_for_create(&self, ctx: &StrategyContext<'_>, namespace: &mut Value) {
        generic::prepare_for_create(ctx, namespace);
        namespace["status"] = json!({"phase": "Active"});
        let mut finalizers = spec_finalizers(namespace);
        if !finalizers.iter().any(|finalizer| finalizer == KUBERNETES) {
            finalizers.push(KUBERNETES.to_owned());
        }
        namespace["spec"] = json!({"finalizers": finalizers});
        let name = object::name(namespace).to_owned();
        object::set_label(namespace, NAME_LABEL, &name);
    }

    /// `spec.finalizers` change through the finalize subresource only, the status through its own.
    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, namespace: &mut Value, old: &Value) {
        match ctx.subresource {
            Subresource::FINALIZE => generic::reset_status(namespace, &old["status"]),
            Subresource::STATUS => generic::keep_all_but_status(namespace, old),
            _ => {
                namespace["spec"]["finalizers"] = old["spec"]["finalizers"].clone();
                generic::reset_status(namespace, &old["status"]);
            }
        }
        if namespace["spec"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
        {
            namespace["spec"] = json!({});
        }
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, namespace: &Value) -> ErrorList {
        let mut errors = object_meta(namespace, false, names::name_is_dns_label);
        validate_finalizers(namespace, false, &mut errors);
        errors
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, namespace: &Value, _old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(namespace, &mut errors);
        match ctx.subresource {
            Subresource::STATUS => validate_phase(namespace, &mut errors),
            Subresource::FINALIZE => validate_finalizers(namespace, true, &mut errors),
            _ => {}
        }
        errors
    }

    fn delete_step(
        &self,
        ctx: &StrategyContext<'_>,
        namespace: &mut Value,
        options: &DeleteOptions,
    ) -> DeleteStep {
        if object::deletion_timestamp(namespace).is_none() {
            object::set_deletion_timestamp(namespace, Some(&ctx.write.now_text()));
            namespace["status"]["phase"] = json!("Terminating");
            set_propagation_finalizers(namespace, options);
            return DeleteStep::Store;
        }
        if spec_finalizers(namespace).is_empty() {
            DeleteStep::Generic
        } else {
            DeleteStep::Wait
        }
    }

    fn should_delete_during_update(&self, namespace: &Value, _old: &Value) -> bool {
        spec_finalizers(namespace).is_empty()
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["status.phase"]
    }

    fn field_values(&self, namespace: &Value) -> Vec<String> {
        vec![object::str_at(namespace, &["status", "phase"]).to_owned()]
    }
}

/// Upstream names the list, and only on finalizing (`by_item`) the item.
fn validate_finalizers(namespace: &Value, by_item: bool, errors: &mut ErrorList) {
    let root = At::root(namespace);
    let spec = root.get("spec");
    let list = spec.get("finalizers");
    for finalizer in list.items() {
        let at = if by_item {
            finalizer
        } else {
            list.with(finalizer.value)
        };
        qualified(&at, errors);
        kube_finalizer(&at, errors);
    }
}

/// A namespace is terminating if and only if it is being deleted.
fn validate_phase(namespace: &Value, errors: &mut ErrorList) {
    let (wanted, detail) = match object::deletion_timestamp(namespace) {
        None => ("Active", "may only be 'Active' if `deletionTimestamp` is empty"),
        Some(_) => (
            "Terminating",
            "may only be 'Terminating' if `deletionTimestamp` is not empty",
        ),
    };
    let root = At::root(namespace);
    let status = root.get("status");
    let phase = status.get("phase");
    if phase.str() != wanted {
        let at = status.get("Phase").with(phase.value);
        at.invalid_as(errors, phase.str(), detail);
    }
}

fn spec_finalizers(namespace: &Value) -> Vec<String> {
    let finalizers = namespace["spec"]["finalizers"].as_array().into_iter().flatten();
    finalizers.filter_map(Value::as_str).map(str::to_owned).collect()
}

fn set_propagation_finalizers(namespace: &mut Value, options: &DeleteOptions) {
    let mut finalizers = object::finalizers(namespace);
    let wanted = |have: bool, by_orphan: bool, policy: &Propagation| match (
        options.orphan_dependents,
        &options.propagation,
    ) {
        (Some(orphan), _) => orphan == by_orphan,
        (None, Some(asked)) => asked == policy,
        (None, None) => have,
    };
    for (finalizer, by_orphan, policy) in [
        (ORPHAN_FINALIZER, true, Propagation::Orphan),
        (FOREGROUND_FINALIZER, false, Propagation::Foreground),
    ] {
        let have = finalizers.iter().any(|present| present == finalizer);
        match (have, wanted(have, by_orphan, &policy)) {
            (true, false) => finalizers.retain(|present| present != finalizer),
            (false, true) => finalizers.push(finalizer.to_owned()),
            _ => {}
        }
    }
    object::set_finalizers(namespace, &finalizers);
}
