use std::sync::Arc;

use corten_client::Pod;
use corten_scheduler::{Budget, Core, Outcome};
use expect_test::{Expect, expect};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Node;
use serde_json::{Value, json};

const T0: Timestamp = Timestamp::constant(1_000_000, 0);

fn node(name: &str, cpu: &str, extra: Value) -> Arc<Node> {
    let mut node = json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "zone": &name[..1]}},
        "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}}
    });
    merge(&mut node, extra);
    Arc::new(serde_json::from_value(node).unwrap())
}

fn pod(name: &str, spec: Value) -> Arc<Pod> {
    let mut full = json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
    merge(&mut full, spec);
    Arc::new(
        serde_json::from_value(json!({
            "metadata": {"name": name, "namespace": "d", "uid": name, "labels": {"app": "a"}}, "spec": full
        }))
        .unwrap(),
    )
}

fn merge(target: &mut Value, patch: Value) {
    match (target, patch) {
        (Value::Object(target), Value::Object(patch)) => {
            for (k, v) in patch {
                merge(target.entry(k).or_insert(Value::Null), v);
            }
        }
        (target, patch) => *target = patch,
    }
}

/// Schedules what is queued and says what became of it.
fn run(core: &mut Core) -> String {
    let mut out = String::new();
    while let Some(outcome) = core.schedule_one(T0) {
        out += &match outcome {
            Outcome::Bind { pod, node } => format!("{} -> {node}\n", pod.metadata.name),
            Outcome::Unschedulable {
                pod,
                message,
                preemption,
            } => {
                let name = &pod.metadata.name;
                let victims = preemption.map(|p| {
                    let names: Vec<_> = p.victims.iter().map(|v| &*v.metadata.name).collect();
                    format!(" preempts {} on {}", names.join(","), p.node)
                });
                format!("{name}: {message}{}\n", victims.unwrap_or_default())
            }
        };
    }
    out
}

fn check(nodes: &[Arc<Node>], pods: &[Arc<Pod>], expected: Expect) {
    let mut core = Core::default();
    for node in nodes {
        core.set_node(None, node, T0);
    }
    for pod in pods {
        core.set_pod(pod, true, T0);
    }
    expected.assert_eq(&run(&mut core));
}

#[test]
fn pods_spread_by_free_resources() {
    let nodes = [node("a1", "4", json!({})), node("b1", "2", json!({}))];
    let pods: Vec<_> = ["p1", "p2", "p3", "p4", "p5", "p6", "p7"]
        .map(|n| pod(n, json!({})))
        .into();
    check(
        &nodes,
        &pods,
        expect![[r#"
            p1 -> a1
            p2 -> b1
            p3 -> a1
            p4 -> a1
            p5 -> b1
            p6 -> a1
            p7: 0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate, preemption: 0/2 nodes are available: 2 No preemption victims found for incoming pod.
        "#]],
    );
}

#[test]
fn refusals_have_upstreams_words() {
    let nodes = [
        node("a1", "4", json!({"spec": {"unschedulable": true}})),
        node(
            "b1",
            "4",
            json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}),
        ),
        node("c1", "4", json!({})),
    ];
    let pods = [
        pod("selector", json!({"nodeSelector": {"zone": "x"}})),
        pod(
            "huge",
            json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1000", "memory": "1Ti"}}}]}),
        ),
        pod(
            "gpu",
            json!({"containers": [{"name": "c", "resources": {"requests": {"x.y/gpu": "1"}}}]}),
        ),
        pod(
            "tolerant",
            json!({"tolerations": [{"operator": "Exists"}], "nodeSelector": {"zone": "b"}}),
        ),
    ];
    check(
        &nodes,
        &pods,
        expect![[r#"
        selector: 0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        huge: 0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        gpu: 0/3 nodes are available: 1 Insufficient x.y/gpu, 1 node(s) had untolerated taint(s), 1 node(s) were unschedulable. no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.
        tolerant -> b1
    "#]],
    );
}

#[test]
fn affinity_and_spread_look_at_other_pods() {
    let nodes = [
        node("a1", "4", json!({})),
        node("a2", "4", json!({})),
        node("b1", "4", json!({})),
    ];
    let spread = json!({"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone",
        "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {"matchLabels": {"app": "a"}}}],
        "containers": [{"name": "c"}]});
    let alone = json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}}}]}}});
    let pods = [
        pod("s1", spread.clone()),
        pod("s2", spread.clone()),
        pod("s3", spread),
        pod("x1", alone),
    ];
    check(
        &nodes,
        &pods,
        expect![[r#"
        s1 -> a1
        s2 -> b1
        s3 -> a2
        x1: 0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, preemption: 0/3 nodes are available: 3 No preemption victims found for incoming pod.
    "#]],
    );
}

#[test]
fn affinity_reaches_into_namespaces_by_their_labels() {
    let mut core = Core::default();
    let namespace =
        |labels: Value| serde_json::from_value(json!({"metadata": {"name": "d", "labels": labels}})).unwrap();
    core.set_namespace(&namespace(json!({"team": "x"})), T0);
    core.set_node(None, &node("a1", "4", json!({})), T0);
    let away_from = |team: &str| {
        json!({"affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "a"}},
             "namespaceSelector": {"matchLabels": {"team": team}}}]}}})
    };
    core.set_pod(&pod("first", json!({})), true, T0);
    core.set_pod(&pod("other", away_from("y")), true, T0);
    core.set_pod(&pod("same", away_from("x")), true, T0);
    expect![[r#"
        first -> a1
        other -> a1
        same: 0/1 nodes are available: 1 node(s) didn't match pod anti-affinity rules. no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.
    "#]]
    .assert_eq(&run(&mut core));
}

#[test]
fn the_important_preempt_the_least_important() {
    let mut core = Core::default();
    for name in ["a1", "b1"] {
        core.set_node(None, &node(name, "2", json!({})), T0);
    }
    core.budgets = vec![Budget {
        ns: "d".into(),
        selector: corten_client::selector::Selector::from_labels(Some(&[("app".into(), "a".into())].into())),
        allowed: 0,
    }];
    let two = json!([{"name": "c", "resources": {"requests": {"cpu": "2"}}}]);
    for (name, priority, node, app) in [("low", 1, "a1", "b"), ("guarded", 0, "b1", "a")] {
        let mut bound = (*pod(
            name,
            json!({"priority": priority, "nodeName": node, "containers": two}),
        ))
        .clone();
        bound.metadata.labels = Some(Arc::new([("app".to_string(), app.to_string())].into()));
        core.set_pod(&Arc::new(bound), true, T0);
    }
    core.set_pod(
        &pod("high", json!({"priority": 100, "containers": two})),
        true,
        T0,
    );
    expect![[r#"
        high: 0/2 nodes are available: 2 Insufficient cpu. preempts low on a1
    "#]]
    .assert_eq(&run(&mut core));
    // The room it made is kept for it, and it is tried again when its victim is gone.
    core.remove_pod("low", T0);
    core.set_pod(
        &pod("thief", json!({"priority": 50, "containers": two})),
        true,
        T0,
    );
    let later = T0 + std::time::Duration::from_secs(2);
    let mut order = Vec::new();
    while let Some(outcome) = core.schedule_one(later) {
        if let Outcome::Bind { pod, node } = outcome {
            order.push(format!("{} -> {node}", pod.metadata.name));
        }
    }
    assert_eq!(order, ["high -> a1"]);
}

#[test]
fn ten_thousand_pods_on_five_thousand_nodes_are_quick() {
    let mut core = Core::default();
    for i in 0..5000 {
        core.set_node(None, &node(&format!("n{i}"), "32", json!({})), T0);
    }
    for i in 0..2000 {
        core.set_pod(
            &pod(
                &format!("p{i}"),
                json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "10m"}}}]}),
            ),
            true,
            T0,
        );
    }
    let start = std::time::Instant::now();
    let mut bound = 0;
    while let Some(Outcome::Bind { .. }) = core.schedule_one(T0) {
        bound += 1;
    }
    assert_eq!(bound, 2000);
    eprintln!("2000 pods on 5000 nodes: {:?}", start.elapsed());
}
