use crate::lifecycle::shell;
use crate::node::Node;
use corten_runtime::cri::{AttachRequest, Code, ExecRequest, RuntimeService, Streaming, TerminalSize};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};

#[tokio::test(flavor = "multi_thread")]
async fn exec_sync_codes_streams_and_limits() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let id = node
        .start(&sandbox, &pod, node.script("main", "sleep 1000"))
        .await;
    let five = Duration::from_secs(5);
    let run = |script: &str| node.runtime().exec_sync(&id, shell(script), five);
    let output = run("echo out; echo err >&2; exit 4").await.unwrap();
    assert_eq!(
        (output.exit_code, &output.stdout[..], &output.stderr[..]),
        (4, &b"out\n"[..], &b"err\n"[..])
    );
    let large = run("head -c 300000 /dev/zero").await.unwrap();
    assert_eq!(large.stdout.len(), 300_000);
    let killed = run("kill -9 $$").await.unwrap();
    assert_eq!(killed.exit_code, 137);
    let error = node
        .runtime()
        .exec_sync(&id, vec!["nosuch".into()], five)
        .await
        .unwrap_err();
    assert!(
        error
            .message
            .ends_with("exec: \"nosuch\": executable file not found in $PATH"),
        "{error}"
    );
    let began = Instant::now();
    let slow = node
        .runtime()
        .exec_sync(&id, shell("sleep 100 | cat"), Duration::from_secs(1))
        .await
        .unwrap_err();
    assert_eq!(slow.code, Code::DeadlineExceeded);
    assert!(began.elapsed() < Duration::from_secs(3));
    let processes = run("ps | grep -c 'sleep 10[0]$'").await.unwrap();
    assert_eq!(
        processes.stdout, b"0\n",
        "the command that took too long still runs"
    );
    node.runtime().stop_container(&id, Duration::ZERO).await.unwrap();
    assert_eq!(run("true").await.unwrap_err().code, Code::FailedPrecondition);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_with_and_without_a_terminal() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let id = node
        .start(&sandbox, &pod, node.script("main", "sleep 1000"))
        .await;
    let request = |tty, script: &str| ExecRequest {
        container_id: id.clone(),
        cmd: shell(script),
        tty,
        stdin: true,
        stdout: true,
        stderr: !tty,
    };
    let mut session = node
        .runtime()
        .exec(request(false, "cat; echo done >&2; exit 9"))
        .await
        .unwrap();
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    drop(stdin);
    let (mut out, mut err) = (String::new(), String::new());
    session.stdout.unwrap().read_to_string(&mut out).await.unwrap();
    session.stderr.unwrap().read_to_string(&mut err).await.unwrap();
    assert_eq!(
        (out.as_str(), err.as_str(), session.exit.await.unwrap()),
        ("hello", "done\n", 9)
    );

    let mut session = node
        .runtime()
        .exec(request(true, "tty; read x; stty size; echo got $x; exit 6"))
        .await
        .unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines();
    assert!(lines.next_line().await.unwrap().unwrap().starts_with("/dev/pts/"));
    session
        .resize
        .send(TerminalSize {
            width: 101,
            height: 33,
        })
        .await
        .unwrap();
    while session.resize.capacity() < session.resize.max_capacity() {
        tokio::task::yield_now().await;
    }
    // The size is applied by a task that takes it off the channel first; the line is written after it by this one.
    let mut stdin = session.stdin.take().unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    stdin.write_all(b"it\n").await.unwrap();
    let mut rest = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        rest.push(line.trim_end().to_owned());
    }
    assert_eq!(rest, ["it", "33 101", "got it"]);
    assert_eq!(session.exit.await.unwrap(), 6);
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn attach_to_plain_and_terminal_containers() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    for tty in [false, true] {
        let mut config = node.script("main", "read a; echo first $a; read b; echo second $b");
        (config.stdin, config.tty) = (true, tty);
        config.log_path = format!("tty-{tty}.log");
        let id = node.start(&sandbox, &pod, config).await;
        let attach = |stdin| AttachRequest {
            container_id: id.clone(),
            stdin,
            tty,
            stdout: true,
            stderr: !tty,
        };
        let mut watcher = node.runtime().attach(attach(false)).await.unwrap();
        let mut writer = node.runtime().attach(attach(true)).await.unwrap();
        let mut stdin = writer.stdin.take().unwrap();
        stdin.write_all(b"x\n").await.unwrap();
        stdin.write_all(b"y\n").await.unwrap();
        let mut seen = String::new();
        watcher
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut seen)
            .await
            .unwrap();
        assert!(seen.contains("first x") && seen.contains("second y"), "{seen:?}");
        assert_eq!(watcher.exit.await.unwrap(), 0);
        assert_eq!(node.ended(&id).await.exit_code, 0);
        assert!(node.log_text(&format!("tty-{tty}")).contains("first x"));
        node.runtime().remove_container(&id).await.unwrap();
    }
    node.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn port_forward_reaches_into_the_pod() {
    let node = Node::new().await;
    let (sandbox, pod) = node.sandbox("one").await;
    let id = node
        .start(
            &sandbox,
            &pod,
            node.script("main", "while :; do nc -l -p 8080 -e cat; done"),
        )
        .await;
    let listening = shell("while ! grep -q ':1F90 .* 0A ' /proc/net/tcp /proc/net/tcp6; do :; done");
    node.runtime()
        .exec_sync(&id, listening, Duration::from_secs(10))
        .await
        .unwrap();
    let mut stream = node.runtime().port_forward(&sandbox, 8080).await.unwrap();
    stream.write_all(b"there and back").await.unwrap();
    let mut answer = [0; 14];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"there and back");
    assert!(node.runtime().port_forward(&sandbox, 81).await.is_err());
    node.finish().await;
}
