//! Compressing long answers for clients that take gzip. Watches are never compressed.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderValue, VARY};

use crate::body::{Body, BoxError};
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
    let mut chunks: Box<dyn Iterator<Item = Bytes> + Send> = match body {
        Body::Full(whole) if whole.len() > GZIP_THRESHOLD_BYTES => Box::new(std::iter::once(whole)),
        Body::Frames(mut frames) => {
            let (mut begun, mut length) = (Vec::new(), 0);
            while length <= GZIP_THRESHOLD_BYTES
                && let Some(frame) = frames.next()
            {
                length += frame.len();
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
    let mut encoder = Some(GzEncoder::new(Vec::new(), Compression::fast()));
    let frames = std::iter::from_fn(move || {
        let gz = encoder.as_mut()?;
        for chunk in chunks.by_ref() {
            if let Err(e) = gz.write_all(&chunk) {
                encoder = None;
                return Some(Err(BoxError::from(e)));
            }
            if gz.get_ref().len() >= FLUSH_BYTES {
                return Some(Ok(Bytes::from(std::mem::take(gz.get_mut()))));
            }
        }
        Some(encoder.take()?.finish().map(Bytes::from).map_err(Into::into))
    });
    Answer::from_parts(parts, Body::stream(stream::iter(frames)))
}

/// Compressed bytes sent as one frame.
const FLUSH_BYTES: usize = 32 * 1024;

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
