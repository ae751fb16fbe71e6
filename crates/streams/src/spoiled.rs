#![allow(clippy::unwrap_used)]
//! Clients that send nearly what they should: every session ends, with all that waits on it.

use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::spdy::{Frame, HeaderBlock, Writer};
use crate::{portforward, remotecommand};

/// Longer than any session takes whose client has gone.
const HUNG: Duration = Duration::from_secs(60);

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

/// What a client's messages are on the wire.
async fn wire_of(messages: Vec<Message>) -> Vec<u8> {
    let (client, mut server) = tokio::io::duplex(1 << 20);
    let mut socket = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    for message in messages {
        socket.send(message).await.unwrap();
    }
    drop(socket);
    let mut wire = Vec::new();
    server.read_to_end(&mut wire).await.unwrap();
    wire
}

async fn spdy_wire(opened: &[&[(&str, &str)]]) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut writer = Writer::new(&mut wire).unwrap();
    for (stream, pairs) in (1..).step_by(2).zip(opened) {
        let pairs = pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let headers = HeaderBlock(pairs.collect());
        writer
            .write(&Frame::SynStream {
                stream,
                fin: false,
                headers,
            })
            .await
            .unwrap();
    }
    writer.write(&Frame::Ping { id: 1 }).await.unwrap();
    for (stream, _) in (1..).step_by(2).zip(opened) {
        let data = Bytes::from_static(b"{\"Width\": 80, \"Height\": 24}");
        writer
            .write(&Frame::Data {
                stream,
                fin: true,
                data,
            })
            .await
            .unwrap();
    }
    writer.flush().await.unwrap();
    wire
}

/// Sends `wire` and closes, reading what comes back.
async fn client(wire: &[u8], connection: DuplexStream) {
    let (mut read, mut write) = tokio::io::split(connection);
    let send = async {
        // The server may have had enough before the end.
        let _ = write.write_all(wire).await;
        let _ = write.shutdown().await;
    };
    let mut answer = Vec::new();
    let _ = tokio::join!(send, read.read_to_end(&mut answer));
}

async fn exec(protocol: remotecommand::Protocol, wire: &[u8]) {
    let (ours, theirs) = tokio::io::duplex(4096);
    let all = remotecommand::Options {
        stdin: true,
        stdout: true,
        stderr: true,
        tty: false,
    };
    let server = async {
        let Ok(mut session) = protocol.serve(Box::new(theirs), all).await else {
            return;
        };
        let (mut stdin, mut stdout) = (session.stdin.take(), session.stdout.take());
        if let (Some(stdin), Some(stdout)) = (&mut stdin, &mut stdout) {
            let _ = tokio::io::copy(stdin, stdout).await;
        }
        drop((stdin, stdout, session.stderr.take()));
        session.exit.send(&remotecommand::Outcome::ExitCode(0)).await;
    };
    tokio::join!(client(wire, ours), server);
}

async fn forward(protocol: portforward::Protocol, wire: &[u8]) {
    let (ours, theirs) = tokio::io::duplex(4096);
    let server = async {
        let Ok(mut session) = portforward::serve(Box::new(theirs), protocol).await else {
            return;
        };
        while let Some(forward) = session.next().await {
            forward.failure.report("nobody listens").await;
        }
    };
    tokio::join!(client(wire, ours), server);
}

#[test]
fn spoiled_websocket_sessions_end() {
    let runtime = runtime();
    let raw = |parts: &[&[u8]]| parts.iter().map(|part| Message::binary(part.to_vec())).collect();
    let corpus = [
        raw(&[b"\x00hello", b"\x04{\"Width\": 80, \"Height\": 24}", b"\xff\x00"]),
        vec![
            Message::text("0aGVsbG8="),
            Message::Ping(Bytes::from_static(b"x")),
            Message::Close(None),
        ],
    ];
    let corpus: Vec<Vec<u8>> = corpus
        .into_iter()
        .map(|all| runtime.block_on(wire_of(all)))
        .collect();
    corten_fuzz::spoil("websocket", &corpus, |wire| {
        runtime.block_on(async {
            for protocol in ["v5.channel.k8s.io", "v4.base64.channel.k8s.io"] {
                let session = exec(remotecommand::Protocol::WebSocket(protocol), wire);
                tokio::time::timeout(HUNG, session).await.unwrap();
            }
            let session = forward(
                portforward::Protocol::WebSocket("v4.channel.k8s.io", vec![80, 81]),
                wire,
            );
            tokio::time::timeout(HUNG, session).await.unwrap();
        });
    });
}

#[test]
fn spoiled_spdy_sessions_end() {
    let runtime = runtime();
    let corpus = runtime.block_on(async {
        let names = ["error", "stdin", "stdout", "stderr", "resize"];
        let headers = names.map(|name| [("streamtype", name)]);
        let exec = spdy_wire(&headers.each_ref().map(|pairs| &pairs[..])).await;
        let pair = |kind| [("streamtype", kind), ("port", "80"), ("requestid", "0")];
        let forward = spdy_wire(&[&pair("error"), &pair("data")]).await;
        let tunnelled = wire_of(vec![Message::binary(forward.clone())]).await;
        [exec, forward, tunnelled]
    });
    corten_fuzz::spoil("spdy session", &corpus, |wire| {
        runtime.block_on(async {
            let session = exec(remotecommand::Protocol::Spdy("v4.channel.k8s.io"), wire);
            tokio::time::timeout(HUNG, session).await.unwrap();
            for protocol in [portforward::Protocol::Spdy, portforward::Protocol::Tunnel] {
                tokio::time::timeout(HUNG, forward(protocol, wire)).await.unwrap();
            }
        });
    });
}
