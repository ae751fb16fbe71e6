//! apps, batch and autoscaling.

use serde_json::Value;

use super::view::{View, flag, human_duration};
use super::{Cells, Printer};

pub(super) fn printer(kind: &str) -> Option<Printer> {
    Some(match kind {
        "Deployment" => deployment,
        "ReplicaSet" => replica_set,
        "StatefulSet" => stateful_set,
        "DaemonSet" => daemon_set,
        "ControllerRevision" => controller_revision,
        "Job" => job,
        "CronJob" => cron_job,
        "HorizontalPodAutoscaler" => autoscaler,
        _ => return None,
    })
}

const CONTAINERS: &str = "/spec/template/spec/containers";

fn ready_of_desired(v: &View<'_>) -> Value {
    format!(
        "{}/{}",
        v.number("/status/readyReplicas"),
        v.number("/spec/replicas")
    )
    .into()
}

fn deployment(v: &View<'_>) -> Cells {
    let [names, images] = v.containers(CONTAINERS);
    let (updated, available) = (
        v.int("/status/updatedReplicas"),
        v.int("/status/availableReplicas"),
    );
    let selector = v.selector("/spec/selector");
    let selector = match selector.as_str() {
        Some("<error>") => "<invalid>".into(),
        Some("<none>") => "".into(),
        _ => selector,
    };
    vec![
        v.name(),
        ready_of_desired(v),
        updated,
        available,
        v.age(),
        names,
        images,
        selector,
    ]
}

fn replica_set(v: &View<'_>) -> Cells {
    let [names, images] = v.containers(CONTAINERS);
    let [desired, current, ready] =
        ["/spec/replicas", "/status/replicas", "/status/readyReplicas"].map(|p| v.int(p));
    vec![
        v.name(),
        desired,
        current,
        ready,
        v.age(),
        names,
        images,
        v.selector("/spec/selector"),
    ]
}

fn stateful_set(v: &View<'_>) -> Cells {
    let [names, images] = v.containers(CONTAINERS);
    vec![v.name(), ready_of_desired(v), v.age(), names, images]
}

fn daemon_set(v: &View<'_>) -> Cells {
    let [names, images] = v.containers(CONTAINERS);
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    let mut cells = vec![v.name()];
    cells.extend(counts.map(|count| v.int(&format!("/status/{count}"))));
    cells.extend([
        v.labels("/spec/template/spec/nodeSelector"),
        v.age(),
        names,
        images,
        v.selector("/spec/selector"),
    ]);
    cells
}

fn controller_revision(v: &View<'_>) -> Cells {
    let owner = corten_meta::object::controller_of(v.object);
    let controller = owner.map_or("<none>".to_owned(), |owner| {
        let text = |key: &str| owner[key].as_str().unwrap_or_default();
        let group = text("apiVersion").split_once('/').map_or("", |(group, _)| group);
        let kind = corten_meta::GroupKind::new(group.to_owned(), text("kind").to_owned());
        format!("{}/{}", kind.to_string().to_lowercase(), text("name"))
    });
    vec![v.name(), controller.into(), v.int("/revision"), v.age()]
}

fn job(v: &View<'_>) -> Cells {
    let [names, images] = v.containers(CONTAINERS);
    let succeeded = v.number("/status/succeeded");
    let completions = match (v.at("/spec/completions").as_i64(), v.number("/spec/parallelism")) {
        (Some(wanted), _) => format!("{succeeded}/{wanted}"),
        (None, parallel) if parallel > 1 => format!("{succeeded}/1 of {parallel}"),
        _ => format!("{succeeded}/1"),
    };
    let status = if v.has_condition("Complete") {
        "Complete"
    } else if v.has_condition("Failed") {
        "Failed"
    } else if v.is_deleted() {
        "Terminating"
    } else {
        let rest = ["Suspended", "FailureTarget", "SuccessCriteriaMet"];
        rest.into_iter().find(|c| v.has_condition(c)).unwrap_or("Running")
    };
    let selector = v.selector("/spec/selector");
    vec![
        v.name(),
        status.into(),
        completions.into(),
        job_duration(v),
        v.age(),
        names,
        images,
        selector,
    ]
}

fn job_duration(v: &View<'_>) -> Value {
    let time = |path: &str| v.at(path).as_str().and_then(corten_meta::time::parse);
    match (time("/status/startTime"), time("/status/completionTime")) {
        (None, _) => "".into(),
        (Some(_), None) => v.since(v.at("/status/startTime")).into(),
        (Some(start), Some(end)) => human_duration(end.as_millisecond() - start.as_millisecond()).into(),
    }
}

fn cron_job(v: &View<'_>) -> Cells {
    let [names, images] = v.containers("/spec/jobTemplate/spec/template/spec/containers");
    let last = match v.at("/status/lastScheduleTime") {
        Value::Null => "<none>".into(),
        time => v.since(time).into(),
    };
    let suspend = match v.at("/spec/suspend") {
        Value::Null => "<unset>".into(),
        set => if flag(set) == Value::Bool(true) {
            "True"
        } else {
            "False"
        }
        .into(),
    };
    vec![
        v.name(),
        v.text("/spec/schedule").into(),
        v.text_or("/spec/timeZone", "<none>"),
        suspend,
        v.count("/status/active").into(),
        last,
        v.age(),
        names,
        images,
        v.selector("/spec/jobTemplate/spec/selector"),
    ]
}

fn autoscaler(v: &View<'_>) -> Cells {
    // Both versions print the newer one's metrics.
    let object = crate::convert::to_v2(v.object);
    let empty = Vec::new();
    let metrics = object["spec"]["metrics"].as_array().unwrap_or(&empty);
    let current = object["status"]["currentMetrics"].as_array().unwrap_or(&empty);
    let reference = format!(
        "{}/{}",
        v.text("/spec/scaleTargetRef/kind"),
        v.text("/spec/scaleTargetRef/name")
    );
    let least = v
        .at("/spec/minReplicas")
        .as_i64()
        .map_or("<unset>".to_owned(), |n| n.to_string());
    vec![
        v.name(),
        reference.into(),
        targets(metrics, current).into(),
        least.into(),
        v.int("/spec/maxReplicas"),
        v.int("/status/currentReplicas"),
        v.age(),
    ]
}

const TARGETS_SHOWN: usize = 2;

fn targets(metrics: &[Value], current: &[Value]) -> String {
    if metrics.is_empty() {
        return "<none>".to_owned();
    }
    let all: Vec<String> = metrics
        .iter()
        .enumerate()
        .map(|(i, m)| target(m, current.get(i).unwrap_or(&Value::Null)))
        .collect();
    if all.len() > TARGETS_SHOWN {
        return format!(
            "{} + {} more...",
            all[..TARGETS_SHOWN].join(", "),
            all.len() - TARGETS_SHOWN
        );
    }
    all.join(", ")
}

/// One metric as `current/target`.
fn target(metric: &Value, status: &Value) -> String {
    let (member, named) = match metric["type"].as_str().unwrap_or_default() {
        "External" => ("external", false),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        _ => return "<unknown type>".to_owned(),
    };
    let (wanted, now) = (&metric[member]["target"], &status[member]["current"]);
    let prefix = if named {
        format!("{}: ", metric[member]["name"].as_str().unwrap_or_default())
    } else {
        String::new()
    };
    let amount = |v: &Value, or: &str| v.as_str().unwrap_or(or).to_owned();
    let percent = |v: &Value, or: &str| v.as_i64().map_or(or.to_owned(), |n| format!("{n}%"));
    if !wanted["averageValue"].is_null() {
        let suffix = if matches!(member, "external" | "object") {
            " (avg)"
        } else {
            ""
        };
        let (now, wanted) = (
            amount(&now["averageValue"], "<unknown>"),
            amount(&wanted["averageValue"], ""),
        );
        return format!("{prefix}{now}/{wanted}{suffix}");
    }
    if named {
        let now = percent(&now["averageUtilization"], "<unknown>");
        return format!(
            "{prefix}{now}/{}",
            percent(&wanted["averageUtilization"], "<auto>")
        );
    }
    format!(
        "{prefix}{}/{}",
        amount(&now["value"], "<unknown>"),
        amount(&wanted["value"], "")
    )
}
