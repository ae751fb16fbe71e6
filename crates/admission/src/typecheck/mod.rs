//! Type checking of ValidatingAdmissionPolicies: what their expressions get wrong about the kinds they are for, written
//! into `status.typeChecking`. It warns; what a policy does is not changed by it.
//! Rules and texts: upstream's policy/validating/typechecking.go and the controller `validatingadmissionpolicy-status`.

mod check;
mod types;

use std::sync::Arc;

use corten_meta::{Result, object};
use corten_registry::{
    Registry, Resource, Subresource, UpdateOptions, User, WatchEvent, WatchOptions, WriteContext,
};
use corten_schema::apply::{self, Write, reset_fields};
use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const MANAGER: &str = "validatingadmissionpolicy-status-controller";

/// Checks policies as they come and change, until stopped.
pub fn start(registry: &Arc<Registry>, stop: &CancellationToken) {
    let Some(policies) = registry.resource("admissionregistration.k8s.io", "validatingadmissionpolicies")
    else {
        return;
    };
    let (registry, stop) = (Arc::clone(registry), stop.clone());
    tokio::spawn(async move {
        tokio::select! {
            () = follow(&registry, &policies) => {}
            () = stop.cancelled() => {}
        }
    });
}

/// Watches from what there is; begins anew where a watch ends.
async fn follow(registry: &Registry, policies: &Resource) {
    loop {
        let watch = registry.watch(policies, None, &WatchOptions::default()).await;
        let Ok(mut events) = watch else { return };
        while let Some(event) = events.next().await {
            let (WatchEvent::Added(policy) | WatchEvent::Modified(policy)) = event else {
                continue;
            };
            let Ok(policy) = policy.value() else { continue };
            if object::generation(&policy) <= policy["status"]["observedGeneration"].as_i64().unwrap_or(0) {
                continue;
            }
            match report(registry, policies, &policy).await {
                Err(error) if !error.is_not_found() => {
                    tracing::warn!(%error, policy = object::name(&policy), "type checking is not reported");
                }
                _ => {}
            }
        }
    }
}

/// Applies the status, as the controller's own field manager.
async fn report(registry: &Registry, policies: &Resource, policy: &Value) -> Result<()> {
    let kind = policies.gvk();
    let warnings = check::warnings(policy);
    let mut checked = json!({});
    if !warnings.is_empty() {
        checked["expressionWarnings"] = json!(warnings);
    }
    let name = object::name(policy);
    let configuration = json!({
        "apiVersion": kind.api_version(), "kind": kind.kind, "metadata": {"name": name},
        "status": {"observedGeneration": object::generation(policy), "typeChecking": checked},
    });
    let user = User {
        name: format!("system:serviceaccount:kube-system:{MANAGER}"),
        ..User::default()
    };
    let ctx = WriteContext::new(user, registry.clock().now()).with_field_manager(MANAGER);
    let now = ctx.now_text();
    let write = Write {
        gvk: &kind,
        manager: MANAGER,
        subresource: "status",
        now: &now,
        reset: reset_fields(&kind, "status", true),
    };
    let change = |live: &Value| {
        let merged = apply::apply(&write, Some(live), &configuration, true)?;
        crate::request::read(&kind, merged)
    };
    let options = UpdateOptions::default();
    registry
        .update(&ctx, policies, "", name, Subresource::STATUS, change, &options)
        .await?;
    Ok(())
}
