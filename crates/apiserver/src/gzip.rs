//! Compressing long answers for clients that take gzip. Watches are never compressed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY};

use crate::body::{Body, BoxError, Frames};
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
    parts
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts
        .headers
        .append(VARY, HeaderValue::from_static("Accept-Encoding"));
    parts.headers.remove(CONTENT_LENGTH);
    Answer::from_parts(parts, Body::Frames(Box::new(compressed(chunks))))
}

/// Frames compressed one after the other: no more than one of them is held, and what it was compressed to.
pub(crate) fn compressed(mut chunks: Frames) -> impl Iterator<Item = Result<Bytes, BoxError>> + Send {
    let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    std::iter::from_fn(move || {
        let mut taken = 0;
        while let Some(gz) = encoder.as_mut() {
            let Some(chunk) = chunks.next() else {
                return Some(encoder.take()?.finish().map(Bytes::from).map_err(Into::into));
            };
            let written = chunk.and_then(|chunk| {
                taken += chunk.len();
                gz.write_all(&chunk).map_err(Into::into)
            });
            if let Err(error) = written {
                encoder = None;
                return Some(Err(error));
            }
            let ready = gz.get_ref().len();
            if ready >= FLUSH_BYTES || (ready > 0 && taken >= TURN_BYTES) {
                return Some(Ok(Bytes::from(std::mem::take(gz.get_mut()))));
            }
        }
        None
    })
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
