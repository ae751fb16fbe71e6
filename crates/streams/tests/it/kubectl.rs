//! exec and port-forward by kubectl, over WebSocket and over SPDY.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use crate::server;

/// What does not come by then does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether to prefer WebSocket.
#[derive(Clone, Copy, Debug)]
enum Over {
    WebSocket,
    Spdy,
}

const BOTH: [Over; 2] = [Over::WebSocket, Over::Spdy];

fn is_there() -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|dir| dir.join("kubectl").is_file())
}

fn kubectl(home: &std::path::Path, server: SocketAddr, over: Over, args: &[&str]) -> Command {
    let websockets = matches!(over, Over::WebSocket).to_string();
    let mut command = Command::new("kubectl");
    command
        .arg(format!("--server=http://{server}"))
        .args(args)
        .env("HOME", home)
        .env_remove("KUBECONFIG")
        .env("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", &websockets)
        .env("KUBECTL_PORT_FORWARD_WEBSOCKETS", &websockets)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn output(mut child: Child, input: &[u8]) -> (Option<i32>, Vec<u8>, String) {
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writing = tokio::spawn(async move {
        stdin.write_all(&input).await.unwrap();
    });
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .unwrap()
        .unwrap();
    writing.await.unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), output.stdout, without_discarded(&errors))
}

/// Without what kubectl before 1.34 says of messages it read before it had made its streams: it starts to read and
/// makes them at the same time, and the empty message that opens a session may come first. Nothing else may: what
/// commands say here, they say after input, which kubectl sends when its streams are there.
fn without_discarded(errors: &str) -> String {
    let lines = errors.split_inclusive('\n');
    lines
        .filter(|line| !line.contains("Unknown stream id 1, discarding message"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_gives_output_and_exit_code() {
    if !is_there() {
        return;
    }
    let (home, server) = (tempfile::tempdir().unwrap(), server::start().await);
    for over in BOTH {
        let script = "read line; echo $line; echo err >&2; exit 7";
        let args = ["exec", "-i", "p", "--", "sh", "-c", script];
        let child = kubectl(home.path(), server, over, &args).spawn().unwrap();
        let (code, out, errors) = output(child, b"out\n").await;
        assert_eq!(
            (code, out.as_slice()),
            (Some(7), b"out\n".as_slice()),
            "{over:?}: {errors}"
        );
        assert!(errors.starts_with("err\n"), "{over:?}: {errors}");
        assert!(
            errors.contains("command terminated with exit code 7"),
            "{over:?}: {errors}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_carries_input_to_its_end_and_back() {
    if !is_there() {
        return;
    }
    let (home, server) = (tempfile::tempdir().unwrap(), server::start().await);
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    for over in BOTH {
        let args = ["exec", "-i", "p", "--", "cat"];
        let child = kubectl(home.path(), server, over, &args).spawn().unwrap();
        let (code, out, errors) = output(child, &sent).await;
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{over:?}");
        assert!(out == sent, "{over:?}: {} bytes came back", out.len());
    }
}

/// Echoes each connection until its end.
async fn echo() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await.unwrap();
                write.shutdown().await.unwrap();
            });
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn ports_are_forwarded() {
    if !is_there() {
        return;
    }
    let (home, server, port) = (tempfile::tempdir().unwrap(), server::start().await, echo().await);
    for over in BOTH {
        let ports = format!(":{port}");
        let args = ["port-forward", "--address=127.0.0.1", "pod/p", &ports];
        let mut child = kubectl(home.path(), server, over, &args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let local = line
            .split("127.0.0.1:")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap();
        for round in 0..3_u8 {
            let talk = async {
                let mut stream = TcpStream::connect(format!("127.0.0.1:{local}")).await.unwrap();
                let sent = vec![round; 500_000];
                let (mut read, mut write) = stream.split();
                let mut received = Vec::new();
                let send = async {
                    write.write_all(&sent).await.unwrap();
                    write.shutdown().await.unwrap();
                };
                tokio::join!(send, async { read.read_to_end(&mut received).await.unwrap() });
                assert!(received == sent, "{over:?}: {} bytes came back", received.len());
            };
            tokio::time::timeout(PATIENCE, talk).await.unwrap();
        }
        child.kill().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_nobody_listens_on_is_reported() {
    if !is_there() {
        return;
    }
    let (home, server) = (tempfile::tempdir().unwrap(), server::start().await);
    for over in BOTH {
        let args = ["port-forward", "--address=127.0.0.1", "pod/p", ":1"];
        let mut child = kubectl(home.path(), server, over, &args).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        let local = line
            .split("127.0.0.1:")
            .nth(1)
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .to_owned();
        let mut stream = TcpStream::connect(format!("127.0.0.1:{local}")).await.unwrap();
        let mut nothing = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut nothing))
            .await
            .unwrap();
        assert!(read.is_err() || nothing.is_empty(), "{over:?}");
        let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut told = false;
        while let Ok(Ok(Some(line))) = tokio::time::timeout(PATIENCE, errors.next_line()).await {
            if line.contains("cannot connect: Connection refused") {
                told = true;
                break;
            }
        }
        assert!(told, "{over:?}");
        let _ = child.kill().await;
    }
}
