use crate::node::Node;
use corten_runtime::cri::{ContainerState, Int64Value, KeyValue, LinuxContainerResources, RuntimeService};
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn runs_to_its_end_with_logs_and_exit_code() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let mut config = node.script(
        "main",
        "echo out $FROM_IMAGE $MINE; echo err >&2; hostname; printf tail; exit 7",
    );
    config.envs.push(KeyValue {
        key: "MINE".into(),
        value: b"too".to_vec(),
    });
    let id = node.start(&sandbox, &pod, config).await;
    let status = node.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (7, "Error"));
    assert!(status.started_at > 0 && status.finished_at >= status.started_at);
    let log = std::fs::read_to_string(node.log_path("main")).unwrap();
    for part in [
        " stdout F out yes too\n",
        " stderr F err\n",
        " stdout F one\n",
        " stdout P tail\n",
    ] {
        assert!(log.contains(part), "{part:?} not in {log}");
    }
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_a_start_error() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    for (name, program, reason) in [
        (
            "a",
            "nosuch",
            "exec: \"nosuch\": executable file not found in $PATH",
        ),
        (
            "b",
            "/no/such",
            "exec: \"/no/such\": stat /no/such: no such file or directory",
        ),
        ("c", "/etc/passwd", "exec: \"/etc/passwd\": permission denied"),
        ("d", "/tmp", "exec: \"/tmp\": is a directory"),
    ] {
        let config = node.container(name, &[program]);
        let id = node
            .runtime()
            .create_container(&sandbox, config, &pod)
            .await
            .unwrap();
        let error = node.runtime().start_container(&id).await.unwrap_err();
        assert!(
            error.message.starts_with("failed to create containerd task: "),
            "{error}"
        );
        assert!(error.message.ends_with(reason), "{error}");
        let status = node.status(&id).await;
        assert_eq!((status.exit_code, status.reason.as_str()), (128, "StartError"));
        assert_eq!(status.state, ContainerState::ContainerExited as i32);
        assert_eq!(status.message, error.message);
    }
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stops_gently_then_by_force() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let gentle = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done";
    let id = node.start(&sandbox, &pod, node.script("gentle", gentle)).await;
    node.runtime()
        .exec_sync(&id, wait_for_log("gentle"), Duration::from_secs(5))
        .await
        .unwrap();
    node.runtime()
        .stop_container(&id, Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(node.status(&id).await.exit_code, 3);

    let id = node
        .start(
            &sandbox,
            &pod,
            node.script("deaf", "trap '' TERM; sleep 1000 & sleep 1000"),
        )
        .await;
    let began = Instant::now();
    node.runtime()
        .stop_container(&id, Duration::from_secs(1))
        .await
        .unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1) && began.elapsed() < Duration::from_secs(5));
    assert_eq!(node.status(&id).await.exit_code, 137);
    // Both are idempotent.
    node.runtime().stop_container(&id, Duration::ZERO).await.unwrap();
    node.runtime().remove_container(&id).await.unwrap();
    node.runtime().remove_container(&id).await.unwrap();
    assert!(
        node.runtime()
            .container_status(&id, false)
            .await
            .unwrap_err()
            .is_not_found()
    );
    node.finish().await;
}

/// The shell in the container sets its trap before it writes; a moment inside it is enough to have both.
fn wait_for_log(_name: &str) -> Vec<String> {
    [
        "sh",
        "-c",
        "while ! grep -q 'SigCgt.*[4567cdef]...$' /proc/1/status; do :; done",
    ]
    .map(str::to_owned)
    .to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_limits_kill_and_can_be_raised() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let limit = |bytes| LinuxContainerResources {
        memory_limit_in_bytes: bytes,
        cpu_shares: 512,
        ..Default::default()
    };
    let mut config = node.script(
        "hungry",
        "head -c 100000000 /dev/zero | tail | wc -c; sleep 1; exit 1",
    );
    config.linux.as_mut().unwrap().resources = Some(limit(20 << 20));
    let id = node.start(&sandbox, &pod, config).await;
    let status = node.ended(&id).await;
    assert_eq!(status.reason, "OOMKilled");

    let mut config = node.script("growing", "sleep 1000");
    config.linux.as_mut().unwrap().resources = Some(limit(20 << 20));
    let id = node.start(&sandbox, &pod, config).await;
    node.runtime()
        .update_container_resources(&id, limit(64 << 20))
        .await
        .unwrap();
    let resources = node.status(&id).await.resources.unwrap().linux.unwrap();
    assert_eq!(
        (resources.memory_limit_in_bytes, resources.cpu_shares),
        (64 << 20, 512)
    );
    let stats = node.runtime().container_stats(&id).await.unwrap();
    let memory = stats.memory.unwrap();
    let (used, free) = (
        memory.working_set_bytes.unwrap().value,
        memory.available_bytes.unwrap().value,
    );
    assert_eq!(used + free, 64 << 20);
    assert!(stats.cpu.unwrap().usage_core_nano_seconds.unwrap().value > 0);
    assert!(
        node.runtime()
            .pod_sandbox_stats(&sandbox)
            .await
            .unwrap()
            .linux
            .unwrap()
            .containers
            .len()
            == 2
    );
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_and_groups() {
    let node = Node::new().await;
    let number = |value| Some(Int64Value { value });
    let (code, text) = node.output(|_| {}, "id; echo $HOME").await;
    assert_eq!(
        (code, text.as_str()),
        (0, "uid=0(root) gid=0(root) groups=0(root)\n/root\n")
    );
    let (_, text) = node
        .output(
            |config| {
                let context = config.linux.as_mut().unwrap().security_context.as_mut().unwrap();
                context.run_as_user = number(1000);
                context.supplemental_groups = vec![3000];
            },
            "id; echo $HOME; echo again > /dev/stdout; touch /x 2>&1; touch /tmp/x && echo made",
        )
        .await;
    let want = "uid=1000(app) gid=1000(app) groups=1000(app),2000(extra),3000\n/home/app\nagain\n\
                touch: /x: Permission denied\nmade\n";
    assert_eq!(text, want);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_working_directory_is_made() {
    let node = Node::new().await;
    let (_, text) = node
        .output(
            |config| config.working_dir = "/new/dir".into(),
            "readlink /proc/self/cwd",
        )
        .await;
    assert_eq!(text, "/new/dir\n");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_are_reopened_after_rotation() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let mut config = node.container("chatty", &["cat"]);
    config.stdin = true;
    let id = node.start(&sandbox, &pod, config).await;
    let old = node.log_path("old");
    std::fs::rename(node.log_path("chatty"), &old).unwrap();
    node.runtime().reopen_container_log(&id).await.unwrap();
    node.runtime()
        .exec_sync(&id, shell("echo new > /proc/1/fd/1"), Duration::from_secs(5))
        .await
        .unwrap();
    node.runtime().stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(node.log_text("chatty"), "new\n");
    assert_eq!(std::fs::read_to_string(old).unwrap(), "");
    node.finish().await;
}

pub fn shell(script: &str) -> Vec<String> {
    vec!["sh".into(), "-c".into(), script.into()]
}
