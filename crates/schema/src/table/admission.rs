//! Admission webhooks and policies, and API services.

use corten_meta::labels::Selector;
use serde_json::Value;

use super::view::View;
use super::{Cells, Printer};

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration" => {
            |v| vec![v.name(), v.count("/webhooks").into(), v.age()]
        }
        "ValidatingAdmissionPolicy" => |v| policy(v, "/spec/validations"),
        "MutatingAdmissionPolicy" => |v| policy(v, "/spec/mutations"),
        "ValidatingAdmissionPolicyBinding" | "MutatingAdmissionPolicyBinding" => binding,
        "APIService" => api_service,
        _ => return None,
    })
}

fn policy(v: &View<'_>, rules: &str) -> Cells {
    let kind = v.at("/spec/paramKind");
    let text = |key: &str| kind[key].as_str().unwrap_or_default();
    let shown = if kind.is_null() {
        "<unset>".to_owned()
    } else {
        format!("{}/{}", text("apiVersion"), text("kind"))
    };
    vec![v.name(), v.count(rules).into(), shown.into(), v.age()]
}

fn binding(v: &View<'_>) -> Cells {
    let reference = v.at("/spec/paramRef");
    let text = |key: &str| reference[key].as_str().unwrap_or_default();
    let shown = match (text("namespace"), text("name")) {
        ("", "") if !reference["selector"].is_null() => Selector::from_label_selector(&reference["selector"])
            .map(|s| s.to_string())
            .unwrap_or_default(),
        (_, "") => "<unset>".to_owned(),
        ("", name) => format!("*/{name}"),
        (namespace, name) => format!("{namespace}/{name}"),
    };
    vec![v.name(), v.text("/spec/policyName").into(), shown.into(), v.age()]
}

fn api_service(v: &View<'_>) -> Cells {
    let service = if v.at("/spec/service").is_null() {
        "Local".to_owned()
    } else {
        format!(
            "{}/{}",
            v.text("/spec/service/namespace"),
            v.text("/spec/service/name")
        )
    };
    let text = |c: &Value, key: &str| c[key].as_str().unwrap_or_default().to_owned();
    let available = match v.condition("Available") {
        None => "Unknown".to_owned(),
        Some(c) if c["status"] == "True" || text(c, "reason").is_empty() => text(c, "status"),
        Some(c) => format!("{} ({})", text(c, "status"), text(c, "reason")),
    };
    vec![v.name(), service.into(), available.into(), v.age()]
}
