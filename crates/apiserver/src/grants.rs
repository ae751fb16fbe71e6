//! Nobody grants what they do not hold: the check of writes of RBAC objects and certificate requests, before they are stored.
//! Rules: upstream's pkg/registry/rbac/*/policybased; the comparison itself is auth's.

use corten_auth::authz::{Attributes, Decision};
use corten_auth::rbac::{Binding, Escalation, Refused, Role, confirm_no_escalation};
use corten_meta::{Status, object};
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Served;

const RBAC: &str = "rbac.authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

/// Checks a wanted object against the live one (null on create). Objects of other groups pass.
///
/// # Errors
/// 403 where the user lacks what the object grants, 404 where a binding's role does not exist.
pub fn check(call: &Call, served: &Served, live: &Value, wanted: &Value) -> Result<(), Status> {
    let schema = served.schema;
    if schema.group == CERTIFICATES && schema.kind == "CertificateSigningRequest" {
        return check_signer(call, served, live, wanted);
    }
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

/// Approving and signing certificates need a verb on the signer besides the one on the request (upstream's
/// `CertificateApproval` and `CertificateSigning`).
fn check_signer(call: &Call, served: &Served, live: &Value, wanted: &Value) -> Result<(), Status> {
    let status = |field: &str| live["status"][field] != wanted["status"][field];
    let verb = match call.info.subresource.as_str() {
        "approval" => "approve",
        "status" if status("certificate") || status("conditions") => "sign",
        _ => return Ok(()),
    };
    let signer = object::str_at(live, &["spec", "signerName"]);
    let domain = signer.split('/').next().unwrap_or_default();
    let allowed = [signer, &format!("{domain}/*")].into_iter().any(|name| {
        let mut attributes = Attributes::resource(&call.user, verb, CERTIFICATES, "signers");
        attributes.version = "*";
        attributes.name = name;
        matches!(call.server.authorizer.authorize(&attributes), Decision::Allow(_))
    });
    if allowed {
        return Ok(());
    }
    let signer = corten_meta::quote(signer);
    let text = format!("user not permitted to {verb} requests with signerName {signer}");
    let group_resource = served.schema.group_resource();
    Err(Status::forbidden(&group_resource, &call.info.name, text))
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
