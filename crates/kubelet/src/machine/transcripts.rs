//! Golden transcripts: whole lives of pods, as the machine decides them. The simulated runtime does at once what it
//! is asked to; `UPDATE_EXPECT=1` rewrites them, to be reviewed.

use super::memory::{Memory, Step};
use super::view::{ContainerView, PodView, SandboxView, State};
use super::{Action, Input, NodeFacts, sync};
use crate::pod::{PodExt, container_hash};
use crate::probes::{Outcome, ProbeKind, Results};
use expect_test::{Expect, expect};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodStatus};
use serde_json::{Value, json};
use std::fmt::Write;

struct Sim {
    pod: Pod,
    view: PodView,
    memory: Memory,
    probes: Results,
    node: NodeFacts,
    start: Timestamp,
    now: Timestamp,
    log: String,
    ids: u32,
    /// Starts that have not come back.
    slow: bool,
}

fn sim(spec: Value) -> Sim {
    let pod =
        json!({"metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": 1}, "spec": spec});
    let start = Timestamp::new(1_000_000, 0).unwrap();
    Sim {
        pod: serde_json::from_value(pod).unwrap(),
        view: PodView::default(),
        memory: Memory::default(),
        probes: Results::default(),
        node: NodeFacts {
            host_ips: vec!["10.9.9.9".into()],
            memory_bytes: 1 << 33,
            cpu_milli: 2000,
        },
        start,
        now: start,
        log: String::new(),
        ids: 0,
        slow: false,
    }
}

impl Sim {
    /// Looks at the pod until there is nothing more to do.
    fn run(mut self) -> Self {
        for _ in 0..50 {
            let (pod, view, probes) = (self.pod.clone(), self.view.clone(), self.probes.clone());
            let input = Input {
                pod: &pod,
                view: &view,
                probes: &probes,
                node: &self.node,
                now: self.now,
            };
            let plan = sync(&input, &mut self.memory);
            for action in &plan.actions {
                self.memory.begin(action, &input);
            }
            self.memory.status_written = true;
            let quiet = plan.actions.is_empty();
            for action in plan.actions {
                let line = self.carry_out(action);
                writeln!(self.log, "  {line}").unwrap();
            }
            if quiet {
                let wake = plan
                    .wake
                    .map(|w| format!(", again in {}s", w.duration_since(self.now).as_secs()));
                let line = summary(&plan.status);
                let held = if plan.held.is_some() { " (not told)" } else { "" };
                writeln!(self.log, "= {line}{held}{}", wake.unwrap_or_default()).unwrap();
                return self;
            }
        }
        panic!("it does not come to rest:\n{}", self.log);
    }

    fn carry_out(&mut self, action: Action) -> String {
        match action {
            Action::Prepare => {
                self.memory.volumes = Step::Done;
                "prepare".into()
            }
            Action::RunSandbox { attempt } => {
                self.memory.sandbox = Step::Idle;
                let ips = vec![format!("10.0.0.{}", attempt + 1)];
                let id = format!("sandbox{attempt}");
                self.view.upsert_sandbox(SandboxView {
                    id,
                    attempt,
                    ready: true,
                    ips,
                    ..SandboxView::default()
                });
                format!("run sandbox {attempt}")
            }
            Action::Start {
                name, restart_count, ..
            } => self.started(&name, restart_count),
            Action::Kill {
                id,
                name,
                message,
                deadline,
                pre_stop,
            } => {
                self.memory.killing.remove(&id);
                self.end(&id, 143);
                let left = deadline.duration_since(self.now).as_secs();
                let hook = if pre_stop { "" } else { ", no hook" };
                format!("kill {name} within {left}s{hook}: {message}")
            }
            Action::Resize { name, .. } => format!("resize {name}"),
            Action::Remove { id } => {
                self.memory.removing.remove(&id);
                self.view.remove(&id);
                format!("remove {id}")
            }
            Action::RemoveSandbox { id } => {
                self.view.remove(&id);
                format!("remove {id}")
            }
            Action::StopSandboxes => {
                self.memory.stop_sandboxes = Step::Idle;
                self.view.sandboxes.iter_mut().for_each(|s| s.ready = false);
                "stop sandboxes".into()
            }
            Action::Clean => {
                self.memory.clean = Step::Done;
                "clean".into()
            }
            Action::Purge => {
                self.memory.purge = Step::Done;
                "purge".into()
            }
            Action::DeleteObject => {
                self.memory.delete = Step::Done;
                "delete object".into()
            }
            Action::Event(e) => format!("event {}: {}", e.reason, e.message),
        }
    }

    fn started(&mut self, name: &str, restart_count: i32) -> String {
        if self.slow {
            return format!("start {name} #{restart_count} (takes its time)");
        }
        self.memory.starting.remove(name);
        self.memory.failures.remove(name);
        let (_, c) = self.pod.container(name).unwrap();
        self.ids += 1;
        let now = i64::try_from(self.now.as_nanosecond()).unwrap();
        self.view.upsert(ContainerView {
            id: format!("c{}", self.ids),
            hash: container_hash(&c),
            image: c.image.unwrap_or_default(),
            state: State::Running,
            created_at: now + i64::from(self.ids),
            started_at: now,
            restart_count,
            name: name.to_owned(),
            ..ContainerView::default()
        });
        format!("start {name} #{restart_count}")
    }

    fn end(&mut self, id: &str, code: i32) {
        let v = self.view.containers.iter_mut().find(|c| c.id == id).unwrap();
        v.state = State::Exited;
        v.exit_code = code;
        v.reason = if code == 0 { "Completed" } else { "Error" }.into();
        v.finished_at = i64::try_from(self.now.as_nanosecond()).unwrap();
    }

    fn note(mut self, what: &str) -> Self {
        let at = self.now.duration_since(self.start).as_secs();
        writeln!(self.log, "{at}s {what}").unwrap();
        self
    }

    fn exit(self, name: &str, code: i32) -> Self {
        let mut this = self.note(&format!("{name} exits with {code}"));
        let id = this.view.find(name).unwrap().id.clone();
        this.end(&id, code);
        this.run()
    }

    fn pass(mut self, seconds: i64) -> Self {
        self.now += SignedDuration::from_secs(seconds);
        self.note("time passes").run()
    }

    fn probe(mut self, name: &str, kind: ProbeKind, outcome: Outcome) -> Self {
        let id = self.view.find(name).unwrap().id.clone();
        self.probes.set(&id, kind, outcome);
        self.note(&format!("{name}: {kind:?} {outcome:?}")).run()
    }

    fn delete(mut self, grace: i64) -> Self {
        let at = k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(self.now);
        self.pod.metadata.deletion_timestamp = Some(at);
        self.pod.metadata.deletion_grace_period_seconds = Some(grace);
        self.note("deleted").run()
    }

    fn gone(mut self) -> Self {
        self.memory.removed = true;
        self.note("object gone").run()
    }

    #[allow(clippy::needless_pass_by_value)]
    fn check(self, expect: Expect) {
        expect.assert_eq(&self.log);
    }
}

fn container(s: &ContainerStatus) -> String {
    let state = s.state.clone().unwrap_or_default();
    let mut out = format!("{} ", s.name);
    if state.running.is_some() {
        out += if s.ready { "ready" } else { "running" };
    } else if let Some(t) = state.terminated {
        out += &format!("{}({})", t.reason.unwrap_or_default(), t.exit_code);
    } else {
        out += &state.waiting.and_then(|w| w.reason).unwrap_or_default();
    }
    if s.restart_count > 0 {
        out += &format!(" x{}", s.restart_count);
    }
    if let Some(t) = s.last_state.as_ref().and_then(|l| l.terminated.as_ref()) {
        out += &format!(" last({})", t.exit_code);
    }
    out
}

fn summary(s: &PodStatus) -> String {
    let all = s
        .init_container_statuses
        .iter()
        .chain(&s.container_statuses)
        .flatten();
    let containers: Vec<String> = all.map(container).collect();
    let on: Vec<&str> = s
        .conditions
        .iter()
        .flatten()
        .filter(|c| c.status == "True" && c.type_ != "PodScheduled")
        .map(|c| c.type_.as_str())
        .collect();
    let reason = s.reason.as_ref().map(|r| format!(" {r}")).unwrap_or_default();
    let phase = s.phase.as_deref().unwrap_or_default();
    format!("{phase}{reason} [{}] {}", containers.join(", "), on.join(" "))
}

#[test]
fn a_crash_loop() {
    sim(json!({"containers": [{"name": "main"}]}))
        .run()
        .exit("main", 1)
        .pass(5)
        .exit("main", 1)
        .pass(10)
        .exit("main", 1)
        .delete(30)
        .gone()
        .check(expect![[r#"
              prepare
              run sandbox 0
              start main #0
            = Running [main ready] PodReadyToStartContainers Initialized Ready ContainersReady
            0s main exits with 1
              start main #1
            = Running [main ready x1 last(1)] PodReadyToStartContainers Initialized Ready ContainersReady
            5s time passes
            = Running [main ready x1 last(1)] PodReadyToStartContainers Initialized Ready ContainersReady
            5s main exits with 1
              event BackOff: Back-off restarting failed container main in pod web_shop(u1)
            = Running [main CrashLoopBackOff x1 last(1)] PodReadyToStartContainers Initialized, again in 10s
            15s time passes
              start main #2
              remove c1
            = Running [main ready x2 last(1)] PodReadyToStartContainers Initialized Ready ContainersReady
            15s main exits with 1
              event BackOff: Back-off restarting failed container main in pod web_shop(u1)
            = Running [main CrashLoopBackOff x2 last(1)] PodReadyToStartContainers Initialized, again in 20s
            15s deleted
              stop sandboxes
              clean
              delete object
            = Failed [main Error(1) x2 last(1)] Initialized
            15s object gone
              purge
            = Failed [main Error(1) x2 last(1)] Initialized
        "#]]);
}

#[test]
fn init_containers_one_by_one_and_sidecars_last() {
    sim(json!({
        "restartPolicy": "OnFailure",
        "terminationGracePeriodSeconds": 20,
        "initContainers": [
            {"name": "first"},
            {"name": "side", "restartPolicy": "Always", "startupProbe": {}},
            {"name": "last"},
        ],
        "containers": [{"name": "main"}],
    }))
    .run()
    .exit("first", 1)
    .exit("first", 0)
    .probe("side", ProbeKind::Startup, Outcome::Success)
    .exit("last", 0)
    .exit("side", 2)
    .exit("main", 0)
    .check(expect![[r#"
          prepare
          run sandbox 0
          start first #0
        = Pending [first running, side PodInitializing, last PodInitializing, main PodInitializing] PodReadyToStartContainers
        0s first exits with 1
          start first #1
        = Pending [first running x1 last(1), side PodInitializing, last PodInitializing, main PodInitializing] PodReadyToStartContainers
        0s first exits with 0
          start side #0
        = Pending [first Completed(0) x1 last(1), side running, last PodInitializing, main PodInitializing] PodReadyToStartContainers
        0s side: Startup Success
          start last #0
        = Pending [first Completed(0) x1 last(1), side ready, last running, main PodInitializing] PodReadyToStartContainers
        0s last exits with 0
          start main #0
        = Running [first Completed(0) x1 last(1), side ready, last Completed(0), main ready] PodReadyToStartContainers Initialized Ready ContainersReady
        0s side exits with 2
          start side #1
        = Running [first Completed(0) x1 last(1), side running x1 last(2), last Completed(0), main ready] PodReadyToStartContainers Initialized
        0s main exits with 0
          kill side within 20s: Stopping container side
          stop sandboxes
          clean
        = Succeeded [first Completed(0) x1 last(1), side Error(143) x1 last(2), last Completed(0), main Completed(0)] Initialized
    "#]]);
}

#[test]
fn init_failure_for_good() {
    sim(json!({
        "restartPolicy": "Never",
        "initContainers": [{"name": "first"}],
        "containers": [{"name": "main"}],
    }))
    .run()
    .exit("first", 1)
    .check(expect![[r#"
          prepare
          run sandbox 0
          start first #0
        = Pending [first running, main PodInitializing] PodReadyToStartContainers
        0s first exits with 1
          stop sandboxes
          clean
        = Failed [first Error(1), main PodInitializing] 
    "#]]);
}

#[test]
fn liveness_restarts_with_the_probes_grace() {
    sim(json!({
        "terminationGracePeriodSeconds": 30,
        "containers": [
            {"name": "main", "livenessProbe": {"terminationGracePeriodSeconds": 3}},
            {"name": "other"},
        ],
    }))
    .run()
    .probe("main", ProbeKind::Liveness, Outcome::Failure)
    .check(expect![[r#"
          prepare
          run sandbox 0
          start main #0
          start other #0
        = Running [main ready, other ready] PodReadyToStartContainers Initialized Ready ContainersReady
        0s main: Liveness Failure
          kill main within 3s: Container main failed liveness probe, will be restarted
          start main #1
        = Running [main ready x1 last(143), other ready] PodReadyToStartContainers Initialized Ready ContainersReady
    "#]]);
}

#[test]
fn a_replaced_container_is_told_of_when_it_runs_or_after_a_second() {
    let image = |mut sim: Sim, image: &str| {
        let spec = sim.pod.spec.as_mut().unwrap();
        spec.containers[0].image = Some(image.into());
        sim.note(&format!("image {image}"))
    };
    let mut s = image(
        sim(json!({"containers": [{"name": "main", "image": "a"}]})).run(),
        "b",
    );
    s = s.run();
    s.slow = true;
    image(s, "c").run().pass(1).check(expect![[r#"
          prepare
          run sandbox 0
          start main #0
        = Running [main ready] PodReadyToStartContainers Initialized Ready ContainersReady
        0s image b
          kill main within 30s: Container main definition changed, will be restarted
          start main #1
        = Running [main ready x1 last(143)] PodReadyToStartContainers Initialized Ready ContainersReady
        0s image c
          kill main within 30s: Container main definition changed, will be restarted
          start main #2 (takes its time)
        = Running [main Error(143) x1 last(143)] PodReadyToStartContainers Initialized (not told), again in 1s
        1s time passes
        = Running [main Error(143) x1 last(143)] PodReadyToStartContainers Initialized
    "#]]);
}

#[test]
fn liveness_restarts_are_counted_one_by_one() {
    let mut s = sim(json!({"containers": [{"name": "main", "livenessProbe": {}}]})).run();
    for _ in 0..5 {
        s = s.probe("main", ProbeKind::Liveness, Outcome::Failure).pass(300);
    }
    s.check(expect![[r#"
          prepare
          run sandbox 0
          start main #0
        = Running [main ready] PodReadyToStartContainers Initialized Ready ContainersReady
        0s main: Liveness Failure
          kill main within 30s: Container main failed liveness probe, will be restarted
          start main #1
        = Running [main ready x1 last(143)] PodReadyToStartContainers Initialized Ready ContainersReady
        300s time passes
        = Running [main ready x1 last(143)] PodReadyToStartContainers Initialized Ready ContainersReady
        300s main: Liveness Failure
          kill main within 30s: Container main failed liveness probe, will be restarted
          event BackOff: Back-off restarting failed container main in pod web_shop(u1)
        = Running [main CrashLoopBackOff x1 last(143)] PodReadyToStartContainers Initialized, again in 10s
        600s time passes
          start main #2
          remove c1
        = Running [main ready x2 last(143)] PodReadyToStartContainers Initialized Ready ContainersReady
        600s main: Liveness Failure
          kill main within 30s: Container main failed liveness probe, will be restarted
          event BackOff: Back-off restarting failed container main in pod web_shop(u1)
        = Running [main CrashLoopBackOff x2 last(143)] PodReadyToStartContainers Initialized, again in 20s
        900s time passes
          start main #3
          remove c2
        = Running [main ready x3 last(143)] PodReadyToStartContainers Initialized Ready ContainersReady
        900s main: Liveness Failure
          kill main within 30s: Container main failed liveness probe, will be restarted
          event BackOff: Back-off restarting failed container main in pod web_shop(u1)
        = Running [main CrashLoopBackOff x3 last(143)] PodReadyToStartContainers Initialized, again in 40s
        1200s time passes
          start main #4
          remove c3
        = Running [main ready x4 last(143)] PodReadyToStartContainers Initialized Ready ContainersReady
        1200s main: Liveness Failure
          kill main within 30s: Container main failed liveness probe, will be restarted
          event BackOff: Back-off restarting failed container main in pod web_shop(u1)
        = Running [main CrashLoopBackOff x4 last(143)] PodReadyToStartContainers Initialized, again in 80s
        1500s time passes
          start main #5
          remove c4
        = Running [main ready x5 last(143)] PodReadyToStartContainers Initialized Ready ContainersReady
    "#]]);
}

#[test]
fn a_lost_sandbox_is_replaced() {
    let mut s = sim(json!({"containers": [{"name": "main"}]})).run();
    s.view.sandboxes[0].ready = false;
    s.note("the sandbox dies").exit("main", 137).check(expect![[r#"
          prepare
          run sandbox 0
          start main #0
        = Running [main ready] PodReadyToStartContainers Initialized Ready ContainersReady
        0s the sandbox dies
        0s main exits with 137
          event SandboxChanged: Pod sandbox changed, it will be killed and re-created.
          run sandbox 1
          start main #1
        = Running [main ready x1 last(137)] PodReadyToStartContainers Initialized Ready ContainersReady
    "#]]);
}

#[test]
fn the_deadline_ends_a_pod() {
    sim(json!({"activeDeadlineSeconds": 60, "containers": [{"name": "main"}]}))
        .run()
        .pass(60)
        .check(expect![[r#"
              prepare
              run sandbox 0
              start main #0
            = Running [main ready] PodReadyToStartContainers Initialized Ready ContainersReady, again in 60s
            60s time passes
              kill main within 30s: Stopping container main
              stop sandboxes
              clean
            = Failed DeadlineExceeded [main Error(143)] Initialized
        "#]]);
}

#[test]
fn a_start_under_way_is_waited_for() {
    let mut s = sim(json!({"containers": [{"name": "main"}]}));
    s.slow = true;
    let mut s = s.run().delete(30);
    s.memory.starting.clear();
    s.note("the start comes back with nothing")
        .run()
        .check(expect![[r#"
              prepare
              run sandbox 0
              start main #0 (takes its time)
            = Pending [main ContainerCreating] PodReadyToStartContainers Initialized
            0s deleted
            = Pending [main ContainerCreating] PodReadyToStartContainers Initialized
            0s the start comes back with nothing
              stop sandboxes
              clean
              delete object
            = Failed [main ContainerStatusUnknown(137)] Initialized
        "#]]);
}

#[test]
fn a_job_with_a_container_rule() {
    sim(json!({
        "restartPolicy": "Never",
        "containers": [{
            "name": "main",
            "restartPolicy": "Never",
            "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
        }],
    }))
    .run()
    .exit("main", 42)
    .exit("main", 1)
    .check(expect![[r#"
          prepare
          run sandbox 0
          start main #0
        = Running [main ready] PodReadyToStartContainers Initialized Ready ContainersReady
        0s main exits with 42
          start main #1
        = Running [main ready x1 last(42)] PodReadyToStartContainers Initialized Ready ContainersReady
        0s main exits with 1
          stop sandboxes
          clean
        = Failed [main Error(1) x1 last(42)] Initialized
    "#]]);
}
