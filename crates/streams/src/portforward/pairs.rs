//! Pairing of SPDY streams: a data and an error stream with the same request id are one forwarded connection.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::{Failure, Forward};
use crate::spdy::{Connection, Stream};

/// How long half a pair waits for the other half.
const STREAM_CREATION: Duration = Duration::from_secs(30);
/// Half pairs waiting; further ones are refused.
const WAITING: usize = 256;

pub(super) struct Pairs {
    connection: Connection,
    /// Request id to the half that came first.
    waiting: HashMap<String, (Stream, Instant)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Data,
    Error,
}

impl Pairs {
    pub(super) fn new(connection: Connection) -> Self {
        Self {
            connection,
            waiting: HashMap::new(),
        }
    }

    pub(super) async fn next(&mut self) -> Option<Forward> {
        loop {
            let stream = self.connection.accept().await?;
            self.waiting
                .retain(|_, (_, since)| since.elapsed() < STREAM_CREATION);
            let (Some(half), Some(port)) = (half(&stream), port(&stream)) else {
                stream.reset.reset().await;
                continue;
            };
            let id = request_id(&stream, half);
            match self.waiting.remove(&id) {
                Some((first, _)) if self::half(&first) != Some(half) => {
                    return Some(forward(first, stream, half, port));
                }
                // A second half of the same kind: neither can be trusted.
                Some((first, _)) => {
                    first.reset.reset().await;
                    stream.reset.reset().await;
                }
                None if self.waiting.len() >= WAITING => stream.reset.reset().await,
                None => drop(self.waiting.insert(id, (stream, Instant::now()))),
            }
        }
    }

    pub(super) async fn close(self) {
        drop(self.waiting);
        self.connection.close().await;
    }
}

fn forward(first: Stream, second: Stream, second_half: Half, port: u16) -> Forward {
    let (data, error) = if second_half == Half::Data {
        (second, first)
    } else {
        (first, second)
    };
    let failure = Failure {
        error: error.pipe,
        resets: vec![data.reset, error.reset],
    };
    Forward {
        port,
        stream: data.pipe.io,
        failure,
    }
}

fn half(stream: &Stream) -> Option<Half> {
    match stream.headers.get("streamtype")? {
        "data" => Some(Half::Data),
        "error" => Some(Half::Error),
        _ => None,
    }
}

fn port(stream: &Stream) -> Option<u16> {
    stream.headers.get("port")?.parse().ok().filter(|port| *port > 0)
}

/// Old clients send no request id; theirs come as error stream, then data stream, with consecutive odd numbers.
fn request_id(stream: &Stream, half: Half) -> String {
    match (stream.headers.get("requestid"), half) {
        (Some(id), _) if !id.is_empty() => id.to_owned(),
        (_, Half::Error) => stream.id.to_string(),
        (_, Half::Data) => stream.id.saturating_sub(2).to_string(),
    }
}
