//! Everything else: disruption budgets, RBAC, certificates, leases, scheduling, flow control and runtime classes.

use serde_json::Value;

use super::view::{View, flag, human_duration, plain};
use super::{Cells, Printer};

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "PodDisruptionBudget" => disruption_budget,
        "RoleBinding" | "ClusterRoleBinding" => binding,
        "CertificateSigningRequest" => signing_request,
        "Lease" => |v| vec![v.name(), v.text("/spec/holderIdentity").into(), v.age()],
        "PriorityClass" => priority_class,
        "RuntimeClass" => |v| vec![v.name(), v.text("/handler").into(), v.age()],
        "FlowSchema" => flow_schema,
        "PriorityLevelConfiguration" => priority_level,
        "StorageVersionMigration" => migration,
        _ => return None,
    })
}

fn disruption_budget(v: &View<'_>) -> Cells {
    let bound = |path: &str| match v.at(path) {
        Value::Null => Value::from("N/A"),
        set => Value::from(plain(set)),
    };
    let (least, most) = (bound("/spec/minAvailable"), bound("/spec/maxUnavailable"));
    vec![
        v.name(),
        least,
        most,
        v.int("/status/disruptionsAllowed"),
        v.age(),
    ]
}

/// The last of its conditions that holds.
fn migration(v: &View<'_>) -> Cells {
    let known = ["Running", "Failed", "Succeeded"];
    let holds = |c: &&Value| c["status"] == "True" && known.iter().any(|known| c["type"] == *known);
    let last = v.list("/status/conditions").iter().rfind(holds);
    let status = last.map_or("Unknown".into(), |c| c["type"].clone());
    let (group, resource) = (v.text("/spec/resource/group"), v.text("/spec/resource/resource"));
    let resource = if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    };
    vec![v.name(), resource.into(), status]
}

fn binding(v: &View<'_>) -> Cells {
    let role = format!("{}/{}", v.text("/roleRef/kind"), v.text("/roleRef/name"));
    let mut cells = vec![v.name(), role.into(), v.age()];
    cells.extend(["User", "Group", "ServiceAccount"].map(|kind| {
        let subjects = v.list("/subjects").iter().filter(|s| s["kind"] == kind).map(|s| {
            let text = |key: &str| s[key].as_str().unwrap_or_default();
            match kind {
                "ServiceAccount" => format!("{}/{}", text("namespace"), text("name")),
                _ => text("name").to_owned(),
            }
        });
        Value::from(subjects.collect::<Vec<_>>().join(", "))
    }));
    cells
}

fn signing_request(v: &View<'_>) -> Cells {
    let mut status = match () {
        () if v.condition("Denied").is_some() => "Denied",
        () if v.condition("Approved").is_some() => "Approved",
        () => "Pending",
    }
    .to_owned();
    if v.condition("Failed").is_some() {
        status.push_str(",Failed");
    }
    if !v.text("/status/certificate").is_empty() {
        status.push_str(",Issued");
    }
    let wanted = v.at("/spec/expirationSeconds").as_i64();
    let wanted = wanted.map_or("<none>".to_owned(), |seconds| human_duration(seconds * 1000));
    vec![
        v.name(),
        v.age(),
        v.text_or("/spec/signerName", "<none>"),
        v.text("/spec/username").into(),
        wanted.into(),
        status.into(),
    ]
}

fn priority_class(v: &View<'_>) -> Cells {
    vec![
        v.name(),
        v.int("/value"),
        flag(v.at("/globalDefault")),
        v.age(),
        v.text("/preemptionPolicy").into(),
    ]
}

fn flow_schema(v: &View<'_>) -> Cells {
    let dangling = v.condition("Dangling").and_then(|c| c["status"].as_str());
    vec![
        v.name(),
        v.text("/spec/priorityLevelConfiguration/name").into(),
        v.int("/spec/matchingPrecedence"),
        v.text_or("/spec/distinguisherMethod/type", "<none>"),
        v.age(),
        dangling.unwrap_or("?").into(),
    ]
}

fn priority_level(v: &View<'_>) -> Cells {
    let or_none = |path: &str| match v.at(path) {
        Value::Null => Value::from("<none>"),
        set => set.clone(),
    };
    let queuing = |name: &str| or_none(&format!("/spec/limited/limitResponse/queuing/{name}"));
    vec![
        v.name(),
        v.text("/spec/type").into(),
        or_none("/spec/limited/nominalConcurrencyShares"),
        queuing("queues"),
        queuing("handSize"),
        queuing("queueLengthLimit"),
        v.age(),
    ]
}
