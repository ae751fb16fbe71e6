//! Compressing long answers for clients that take gzip. Watches are never compressed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::{Stream, StreamExt, stream};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY};
use http::response::Parts;

use crate::body::{Body, BoxError, ByteStream, Frames};
use crate::limits::GZIP_THRESHOLD_BYTES;
use crate::respond::Answer;

/// True where the client names gzip and does not refuse it.
pub fn accepted(headers: &HeaderMap) -> bool {
    let lines = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok());
    lines.flat_map(|l| l.split(',')).any(|part| {
        let mut pieces = part.split(';').map(str::trim);
        pieces.next() == Some("gzip") && !pieces.any(|p| matches!(p, "q=0" | "q=0.0"))
    })
}

/// Compresses an answer over the threshold; shorter ones and streams pass.
pub fn compress(answer: Answer) -> Answer {
    if answer.headers().contains_key(CONTENT_ENCODING) {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let chunks: Frames = match body {
        // It is longer than one review of a webhook.
        Body::Awaited(frames) => {
            encoded(&mut parts);
            return Answer::from_parts(parts, Body::Awaited(Box::pin(compressed_stream(frames))));
        }
        Body::Full(whole) if whole.len() > GZIP_THRESHOLD_BYTES => Box::new(std::iter::once(Ok(whole))),
        Body::Frames(mut frames) => {
            let (mut begun, mut length) = (Vec::new(), 0);
            while length <= GZIP_THRESHOLD_BYTES
                && let Some(frame) = frames.next()
            {
                length += frame.as_ref().map_or(0, Bytes::len);
                begun.push(frame);
            }
            if length <= GZIP_THRESHOLD_BYTES {
                return Answer::from_parts(parts, Body::Frames(Box::new(begun.into_iter())));
            }
            Box::new(begun.into_iter().chain(frames))
        }
        other => return Answer::from_parts(parts, other),
    };
    encoded(&mut parts);
    Answer::from_parts(parts, Body::Frames(Box::new(compressed(chunks))))
}

/// What the head of a compressed answer says.
fn encoded(parts: &mut Parts) {
    let headers = &mut parts.headers;
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.remove(CONTENT_LENGTH);
}

/// Frames compressed one after the other: no more than one of them is held, and what it was compressed to.
pub(crate) fn compressed(mut chunks: Frames) -> impl Iterator<Item = Result<Bytes, BoxError>> + Send {
    let mut gz = Compressor::default();
    std::iter::from_fn(move || {
        while !gz.ended {
            let made = gz.take(chunks.next());
            if made.is_some() {
                return made;
            }
        }
        None
    })
}

/// The same of frames that are waited for.
fn compressed_stream(chunks: ByteStream) -> impl Stream<Item = Result<Bytes, BoxError>> + Send {
    stream::unfold(
        (chunks, Compressor::default()),
        async |(mut chunks, mut gz): (ByteStream, Compressor)| {
            while !gz.ended {
                if let Some(made) = gz.take(chunks.next().await) {
                    return Some((made, (chunks, gz)));
                }
            }
            None
        },
    )
}

struct Compressor {
    encoder: GzEncoder<Vec<u8>>,
    /// Bytes of input since the last frame.
    taken: usize,
    /// After the last frame or a failure.
    ended: bool,
}

impl Default for Compressor {
    fn default() -> Self {
        Self {
            encoder: GzEncoder::new(Vec::new(), Compression::fast()),
            taken: 0,
            ended: false,
        }
    }
}

impl Compressor {
    /// Takes a frame or, with `None`, the end; gives a compressed frame where there is enough for one.
    fn take(&mut self, chunk: Option<Result<Bytes, BoxError>>) -> Option<Result<Bytes, BoxError>> {
        let Some(chunk) = chunk else {
            self.ended = true;
            let finished = self.encoder.try_finish();
            return Some(finished.map(|()| self.made()).map_err(Into::into));
        };
        let written = chunk.and_then(|chunk| {
            self.taken += chunk.len();
            self.encoder.write_all(&chunk).map_err(Into::into)
        });
        if let Err(error) = written {
            self.ended = true;
            return Some(Err(error));
        }
        let ready = self.encoder.get_ref().len();
        let enough = ready >= FLUSH_BYTES || (ready > 0 && self.taken >= TURN_BYTES);
        enough.then(|| Ok(self.made()))
    }

    fn made(&mut self) -> Bytes {
        self.taken = 0;
        Bytes::from(std::mem::take(self.encoder.get_mut()))
    }
}

/// Compressed bytes sent as one frame.
const FLUSH_BYTES: usize = 32 * 1024;
/// After so many bytes of input a frame is sent with what there is: text that compresses well must not keep a thread.
pub(crate) const TURN_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http::StatusCode;
    use http_body_util::BodyExt;
    use std::io::Read;

    #[tokio::test]
    async fn long_answers_shrink() {
        let text = "0123456789".repeat(50_000);
        let answer = compress(crate::respond::text(StatusCode::OK, text.clone()));
        assert_eq!(answer.headers()[CONTENT_ENCODING], "gzip");
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(bytes.len() < 10_000);
        let mut out = String::new();
        flate2::read::GzDecoder::new(&bytes[..])
            .read_to_string(&mut out)
            .unwrap();
        assert_eq!(out, text);
        assert!(
            !compress(crate::respond::text(StatusCode::OK, "short"))
                .headers()
                .contains_key(CONTENT_ENCODING)
        );
    }
}
