//! Nobody grants what they do not hold: the check of every write of RBAC objects, before it is stored.
//! Rules: upstream's pkg/registry/rbac/*/policybased; the comparison itself is auth's.

use corten_auth::rbac::{Binding, Escalation, Refused, Role, confirm_no_escalation};
use corten_meta::{Status, object};
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Served;

const RBAC: &str = "rbac.authorization.k8s.io";

/// Checks a wanted object against the live one (null on create). Objects of other groups pass.
///
/// # Errors
/// 403 where the user lacks what the object grants, 404 where a binding's role does not exist.
pub fn check(call: &Call, served: &Served, live: &Value, wanted: &Value) -> Result<(), Status> {
    let schema = served.schema;
    if schema.group != RBAC || only_bookkeeping(live, wanted) {
        return Ok(());
    }
    let name = if call.info.name.is_empty() {
        object::name(wanted)
    } else {
        &call.info.name
    };
    let namespace = served.namespace_of(call);
    let outcome = match schema.kind {
        "Role" | "ClusterRole" => {
            let role = Role::from_object(wanted);
            let aggregated = [live, wanted].iter().any(|o| o["aggregationRule"].is_object());
            confirm(
                call,
                Escalation::Role {
                    namespace,
                    name,
                    rules: &role.rules,
                    aggregated,
                },
            )
        }
        "RoleBinding" | "ClusterRoleBinding" => {
            let binding = Binding::from_object(wanted);
            confirm(
                call,
                Escalation::Binding {
                    namespace,
                    role_ref: &binding.role_ref,
                },
            )
        }
        _ => Ok(()),
    };
    outcome.map_err(|refused| match refused {
        Refused::Forbidden(text) => Status::forbidden(&schema.group_resource(), name, text),
        Refused::RoleNotFound(text) => Status::new(404, "NotFound", text),
    })
}

fn confirm(call: &Call, write: Escalation<'_>) -> Result<(), Refused> {
    confirm_no_escalation(&call.server.rbac, &*call.server.authorizer, &call.user, write)
}

/// True where only owners, finalizers and what the server keeps itself differ: the garbage collector may do that.
fn only_bookkeeping(live: &Value, wanted: &Value) -> bool {
    if live.is_null() {
        return false;
    }
    let bare = |object: &Value| {
        let mut bare = object.clone();
        if let Some(metadata) = bare.get_mut("metadata").and_then(Value::as_object_mut) {
            for key in [
                "ownerReferences",
                "finalizers",
                "managedFields",
                "resourceVersion",
            ] {
                metadata.remove(key);
            }
        }
        bare
    };
    bare(live) == bare(wanted)
}
