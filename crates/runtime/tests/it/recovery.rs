use crate::lifecycle::shell;
use crate::node::{Node, keeper_pid};
use corten_runtime::cri::RuntimeService;
use corten_runtime::embedded::Runtime;
use std::time::Duration;

async fn pid(node: &Node, id: &str) -> i32 {
    node.runtime().container_status(id, true).await.unwrap().info["pid"]
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_survive_a_restart_and_ends_are_not_missed() {
    let mut node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let lasting = node
        .start(&sandbox, &pod, node.script("lasting", "sleep 1000"))
        .await;
    let ending = node
        .start(&sandbox, &pod, node.script("ending", "cat /gate; exit 5"))
        .await;
    let fifo = node
        .start(
            &sandbox,
            &pod,
            node.script("fifo", "while :; do echo tick; sleep 0.02; done"),
        )
        .await;
    while node.log_text("fifo").lines().count() < 2 {
        tokio::task::yield_now().await;
    }
    let before = pid(&node, &lasting).await;
    let keeper = keeper_pid(&node.config.state_dir);
    // Corten goes away without a word; meanwhile a container is killed and one goes on writing.
    let victim = pid(&node, &fifo).await;
    node.lose_runtime();
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(victim),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    node.open_again().await;

    assert_eq!(keeper_pid(&node.config.state_dir), keeper);
    assert_eq!(pid(&node, &lasting).await, before);
    assert_eq!(node.ended(&fifo).await.exit_code, 137);
    assert_eq!(node.ended(&ending).await.exit_code, 5);
    assert!(node.log_text("fifo").starts_with("tick\ntick\n"));
    let output = node
        .runtime()
        .exec_sync(&lasting, shell("echo still here"), Duration::from_secs(5))
        .await
        .unwrap();
    assert_eq!(output.stdout, b"still here\n");
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_without_their_keeper_are_lost() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let id = node
        .start(&sandbox, &pod, node.script("main", "sleep 1000"))
        .await;
    let process = pid(&node, &id).await;
    let keeper = keeper_pid(&node.config.state_dir);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(keeper),
        nix::sys::signal::Signal::SIGKILL,
    )
    .unwrap();
    let status = node.ended(&id).await;
    assert_eq!((status.exit_code, status.reason.as_str()), (255, "Unknown"));
    assert!(!std::path::Path::new(&format!("/proc/{process}/exe")).exists());
    // Another keeper is there by now, or in a moment; the pod can be used again.
    let again = node.script("again", "exit 0");
    let id = node
        .runtime()
        .create_container(&sandbox, again, &pod)
        .await
        .unwrap();
    node.runtime().start_container(&id).await.unwrap();
    assert_eq!(node.ended(&id).await.exit_code, 0);
    assert_ne!(keeper_pid(&node.config.state_dir), keeper);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thirty_at_once() {
    let node = Node::new().await;
    let pods = (0..30).map(|number| {
        let node = &node;
        async move {
            let (sandbox, pod) = node.sandbox(&format!("pod-{number}")).await;
            let id = node
                .start(&sandbox, &pod, node.script(&format!("c{number}"), "echo hello"))
                .await;
            (sandbox, id)
        }
    });
    for (sandbox, id) in futures::future::join_all(pods).await {
        assert_eq!(node.ended(&id).await.exit_code, 0);
        node.runtime().remove_pod_sandbox(&sandbox).await.unwrap();
    }
    for number in 0..30 {
        assert_eq!(node.log_text(&format!("c{number}")), "hello\n");
    }
    assert!(node.runtime().list_containers(None).await.unwrap().is_empty());
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_whose_directory_is_deleted_ends() {
    let mut node = Node::new().await;
    let keeper = keeper_pid(&node.config.state_dir);
    node.lose_runtime();
    let pidfd = corten_sys::process::pidfd(keeper).unwrap();
    corten_sys::mounts::detach_below(&node.config.state_dir).unwrap();
    std::fs::remove_dir_all(&node.config.state_dir).unwrap();
    assert!(corten_sys::process::wait_ended(
        std::os::fd::AsFd::as_fd(&pidfd),
        10_000
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runtimes_do_not_share_a_directory() {
    let node = Node::new().await;
    let error = Runtime::open(node.config.clone()).await.err().unwrap();
    assert!(error.message.contains("is in use by another corten"), "{error}");
    node.finish().await;
}
