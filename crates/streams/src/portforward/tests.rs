#![allow(clippy::unwrap_used)]
//! Clients of each protocol over an in-memory connection.

use futures::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::spdy::{Frame, HeaderBlock, Reader, Writer};

/// Answers each connection with what it sends; port 9 fails.
async fn echo(transport: Box<dyn Transport>, protocol: Protocol) {
    let mut session = serve(transport, protocol).await.unwrap();
    while let Some(mut forward) = session.next().await {
        if forward.port == 9 {
            drop(forward.stream);
            forward.failure.report("error forwarding port 9").await;
            continue;
        }
        let (mut read, mut write) = tokio::io::split(forward.stream);
        tokio::io::copy(&mut read, &mut write).await.unwrap();
        forward.stream = read.unsplit(write);
    }
    session.close().await;
}

/// Opens a good and a failing connection and collects what comes back per stream.
async fn spdy_client(transport: impl Transport) -> Vec<(u32, Vec<u8>, bool)> {
    let (read, write) = tokio::io::split(transport);
    let (mut reader, mut writer) = (Reader::new(read), Writer::new(write).unwrap());
    let opened = [
        (1, "error", "80", "0"),
        (3, "data", "80", "0"),
        (5, "error", "9", "1"),
        (7, "data", "9", "1"),
    ];
    for (stream, kind, port, id) in opened {
        let pairs = [("streamtype", kind), ("port", port), ("requestid", id)];
        let headers = HeaderBlock(
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
        );
        writer
            .write(&Frame::SynStream {
                stream,
                fin: kind == "error",
                headers,
            })
            .await
            .unwrap();
    }
    let data = bytes::Bytes::from_static(b"hello");
    writer
        .write(&Frame::Data {
            stream: 3,
            fin: true,
            data,
        })
        .await
        .unwrap();
    writer.flush().await.unwrap();
    let mut streams = vec![
        (1, Vec::new(), false),
        (3, Vec::new(), false),
        (5, Vec::new(), false),
    ];
    while !streams.iter().all(|(_, _, ended)| *ended) {
        let Some(frame) = reader.next().await.unwrap() else {
            break;
        };
        let Frame::Data { stream, fin, data } = frame else {
            continue;
        };
        if let Some(found) = streams.iter_mut().find(|(id, ..)| *id == stream) {
            found.1.extend_from_slice(&data);
            found.2 |= fin;
        }
    }
    streams
}

fn expected() -> Vec<(u32, Vec<u8>, bool)> {
    vec![
        (1, vec![], true),
        (3, b"hello".to_vec(), true),
        (5, b"error forwarding port 9".to_vec(), true),
    ]
}

#[tokio::test]
async fn spdy_pairs_streams_by_request() {
    let (client, server) = tokio::io::duplex(1024);
    let server = tokio::spawn(echo(Box::new(server), Protocol::Spdy));
    assert_eq!(spdy_client(client).await, expected());
    server.await.unwrap();
}

#[tokio::test]
async fn spdy_runs_inside_a_websocket() {
    let (client, server) = tokio::io::duplex(1024);
    let server = tokio::spawn(echo(Box::new(server), Protocol::Tunnel));
    let client: Box<dyn Transport> = Box::new(client);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    assert_eq!(spdy_client(Tunnel::new(client)).await, expected());
    server.await.unwrap();
}

#[tokio::test]
async fn websocket_channels_begin_with_their_port() {
    let (client, server) = tokio::io::duplex(1024);
    let protocol = Protocol::WebSocket("v4.channel.k8s.io", vec![9, 8080]);
    let server = tokio::spawn(echo(Box::new(server), protocol));
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    client.send(Message::binary(&b"\x02hello"[..])).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 6 {
        let Message::Binary(data) = client.next().await.unwrap().unwrap() else {
            continue;
        };
        seen.push(data.to_vec());
    }
    for expected in [
        &[0, 9, 0][..],
        &[1, 9, 0],
        &[2, 144, 31],
        &[3, 144, 31],
        b"\x01error forwarding port 9",
        b"\x02hello",
    ] {
        assert!(
            seen.iter().any(|message| message == expected),
            "{expected:?} in {seen:?}"
        );
    }
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn a_websocket_closes_when_its_connections_have_ended() {
    let (client, server) = tokio::io::duplex(1024);
    let protocol = Protocol::WebSocket("v4.channel.k8s.io", vec![9]);
    let server = tokio::spawn(echo(Box::new(server), protocol));
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let mut seen = Vec::new();
    while let Some(message) = client.next().await {
        seen.push(message.unwrap());
    }
    assert_eq!(
        seen[2],
        Message::binary(&b"\x01error forwarding port 9"[..]),
        "{seen:?}"
    );
    assert!(matches!(seen[3], Message::Close(_)), "{seen:?}");
    server.await.unwrap();
}
