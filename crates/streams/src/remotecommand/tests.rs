#![allow(clippy::unwrap_used)]
//! Clients of each protocol over an in-memory connection.

use futures::{SinkExt as _, StreamExt as _};
use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::spdy::{Frame, HeaderBlock, Reader, Writer};

const ALL: Options = Options {
    stdin: true,
    stdout: true,
    stderr: true,
    tty: false,
};

/// Echoes stdin to stdout, writes to stderr, exits with 3.
async fn echo(protocol: Protocol, transport: tokio::io::DuplexStream) {
    let mut session = protocol.serve(Box::new(transport), ALL).await.unwrap();
    let (mut stdin, mut stdout) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
    tokio::io::copy(&mut stdin, &mut stdout).await.unwrap();
    drop((stdin, stdout));
    let mut stderr = session.stderr.take().unwrap();
    stderr.write_all(b"done").await.unwrap();
    drop(stderr);
    session.exit.send(&Outcome::ExitCode(3)).await;
}

fn headers(pairs: &[(&str, &str)]) -> HeaderBlock {
    HeaderBlock(
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    )
}

#[tokio::test]
async fn spdy_carries_more_than_any_buffer_and_the_exit_code() {
    let (client, server) = tokio::io::duplex(1024);
    let server = tokio::spawn(echo(Protocol::Spdy("v4.channel.k8s.io"), server));
    let (read, write) = tokio::io::split(client);
    let (mut reader, mut writer) = (Reader::new(read), Writer::new(write).unwrap());
    let sent: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
    let copy = sent.clone();
    let sending = tokio::spawn(async move {
        for (stream, kind) in [(1, "error"), (3, "stdin"), (5, "stdout"), (7, "stderr")] {
            let headers = headers(&[("streamtype", kind)]);
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
        for chunk in copy.chunks(20_000) {
            let data = bytes::Bytes::copy_from_slice(chunk);
            writer
                .write(&Frame::Data {
                    stream: 3,
                    fin: false,
                    data,
                })
                .await
                .unwrap();
        }
        writer
            .write(&Frame::Data {
                stream: 3,
                fin: true,
                data: bytes::Bytes::new(),
            })
            .await
            .unwrap();
        writer.flush().await.unwrap();
        writer
    });
    let mut received: std::collections::HashMap<u32, Vec<u8>> = std::collections::HashMap::new();
    let (mut replies, mut pings, mut ended) = (0, 0, Vec::new());
    while let Some(frame) = reader.next().await.unwrap() {
        match frame {
            Frame::SynReply { .. } => replies += 1,
            Frame::Ping { id: 1 } => pings += 1,
            Frame::Data { stream, fin, data } => {
                received.entry(stream).or_default().extend_from_slice(&data);
                if fin {
                    ended.push(stream);
                }
            }
            Frame::GoAway { last } => {
                assert_eq!(last, 7);
                break;
            }
            Frame::WindowUpdate { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    drop((reader, sending.await.unwrap()));
    server.await.unwrap();
    assert_eq!((replies, pings), (4, 1));
    assert!(received[&5] == sent);
    assert_eq!(received[&7], b"done");
    let status: serde_json::Value = serde_json::from_slice(&received[&1]).unwrap();
    assert_eq!(status["reason"], "NonZeroExitCode");
    assert_eq!(status["details"]["causes"][0]["message"], "3");
    assert_eq!(ended.last(), Some(&1));
    ended.sort_unstable();
    assert_eq!(ended, [1, 3, 5, 7]);
}

#[tokio::test]
async fn websocket_v5_half_closes_stdin() {
    let (client, server) = tokio::io::duplex(1024);
    let server = tokio::spawn(echo(Protocol::WebSocket("v5.channel.k8s.io"), server));
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    client.send(Message::binary(&b"\x00hello"[..])).await.unwrap();
    client.send(Message::Ping(vec![1].into())).await.unwrap();
    client.send(Message::binary(&[255_u8, 0][..])).await.unwrap();
    let mut messages = Vec::new();
    while let Some(Ok(message)) = client.next().await {
        match message {
            Message::Binary(data) => messages.push(data),
            Message::Pong(data) => assert_eq!(data.as_ref(), [1]),
            Message::Close(_) => {}
            other => panic!("{other:?}"),
        }
    }
    server.await.unwrap();
    assert_eq!(messages[0].as_ref(), [1]);
    assert_eq!(messages[1].as_ref(), b"\x01hello");
    assert_eq!(messages[2].as_ref(), b"\x02done");
    assert!(messages[3].starts_with(b"\x03{"));
}

#[tokio::test]
async fn base64_websocket_writes_text() {
    let (client, server) = tokio::io::duplex(1024);
    let options = Options { stdin: false, ..ALL };
    let server = tokio::spawn(async move {
        let protocol = Protocol::WebSocket("base64.channel.k8s.io");
        let mut session = protocol.serve(Box::new(server), options).await.unwrap();
        session.stdout.take().unwrap().write_all(b"hi").await.unwrap();
        session.stderr = None;
        session.exit.send(&Outcome::Failed("no".to_owned())).await;
    });
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let texts: Vec<String> = client
        .filter_map(|message| async { message.ok().filter(Message::is_text).map(|m| m.to_string()) })
        .collect()
        .await;
    server.await.unwrap();
    assert_eq!(texts[..2], ["1", "1aGk="]);
    assert!(texts[2].starts_with('3'));
}

#[tokio::test]
async fn sizes_arrive_and_a_vanished_client_is_noticed() {
    let (client, server) = tokio::io::duplex(1024);
    let options = Options {
        tty: true,
        stderr: false,
        ..ALL
    };
    let protocol = Protocol::WebSocket("v4.channel.k8s.io");
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let mut session = protocol.serve(Box::new(server), options).await.unwrap();
    client
        .send(Message::binary(&b"\x04{\"Width\":80,\"Height\":24}\n"[..]))
        .await
        .unwrap();
    session.resize.changed().await.unwrap();
    assert_eq!(
        *session.resize.borrow(),
        TerminalSize {
            width: 80,
            height: 24
        }
    );
    drop(client);
    session.closed.cancelled().await;
    let mut rest = Vec::new();
    session.stdin.unwrap().read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

#[test]
fn what_cannot_be_negotiated_is_refused_as_upstream_does() {
    let request = |pairs: &[(&str, &str)]| {
        let mut builder = Request::builder();
        for (name, value) in pairs {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    };
    let plain = request(&[]);
    assert_eq!(negotiate(&plain).unwrap_err().status(), StatusCode::BAD_REQUEST);
    let spdy = [
        ("connection", "Upgrade"),
        ("upgrade", "SPDY/3.1"),
        ("x-stream-protocol-version", "v9"),
    ];
    let refused = negotiate(&request(&spdy)).unwrap_err();
    assert_eq!(refused.status(), StatusCode::FORBIDDEN);
    assert_eq!(
        refused
            .headers()
            .get_all("x-accepted-stream-protocol-versions")
            .iter()
            .count(),
        4
    );
    let websocket = request(&[
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-protocol", "v5.channel.k8s.io, v4.channel.k8s.io"),
    ]);
    let (reply, protocol) = negotiate(&websocket).unwrap();
    assert_eq!(protocol, Protocol::WebSocket("v5.channel.k8s.io"));
    assert_eq!(
        reply.headers()["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}
