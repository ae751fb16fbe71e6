//! Response bodies: one buffer, a run of shared buffers, or a stream.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, TryFutureExt};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use tokio_util::sync::CancellationToken;

/// Any error a body or transport may give.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A request body with its type erased; read once, bounded by [`crate::limits::MAX_BODY_BYTES`].
pub type RequestBody = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>;

/// Erases the type of a request body.
pub fn request_body<B>(body: B) -> RequestBody
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// A request body with nothing in it.
pub fn empty_body() -> RequestBody {
    http_body_util::Empty::new()
        .map_err(|never| match never {})
        .boxed_unsync()
}

/// Reads a body to its end; one longer than `limit` bytes gives `LengthLimitError`.
pub fn read_whole<B>(body: B, limit: usize) -> BoxFuture<'static, Result<Bytes, BoxError>>
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    Box::pin(
        http_body_util::Limited::new(body, limit)
            .collect()
            .map_ok(http_body_util::Collected::to_bytes),
    )
}

type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// A response body. Lists are runs of the watch cache's own buffers, so no list is ever copied into one allocation.
pub enum Body {
    /// Nothing left.
    Empty,
    /// One buffer.
    Full(Bytes),
    /// Several buffers whose total length is known.
    Chunks {
        /// What is still to be sent.
        parts: VecDeque<Bytes>,
        /// Sum of the lengths of `parts`, bytes.
        left: u64,
    },
    /// Frames as they come.
    Stream(ByteStream),
    /// A body that keeps something alive (an in-flight permit, a gauge) until it is dropped.
    Held(Box<Body>, Box<dyn Send>),
}

impl Body {
    /// A run of buffers.
    pub fn chunks(parts: VecDeque<Bytes>) -> Self {
        let left = parts.iter().map(|p| p.len() as u64).sum();
        Self::Chunks { parts, left }
    }

    /// A stream of frames.
    pub fn stream(frames: impl Stream<Item = Result<Bytes, BoxError>> + Send + 'static) -> Self {
        Self::Stream(Box::pin(frames))
    }

    /// Another body (a proxied response) passed through.
    pub fn wrap<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::stream(http_body_util::BodyDataStream::new(body.map_err(Into::into)))
    }

    /// Ends a stream early when `stop` is cancelled; other bodies have an end of their own.
    pub fn until(self, stop: CancellationToken) -> Self {
        match self {
            Self::Stream(frames) => Self::stream(frames.take_until(stop.cancelled_owned())),
            Self::Held(body, guard) => Self::Held(Box::new(body.until(stop)), guard),
            other => other,
        }
    }

    /// Keeps `guard` alive until the body is dropped.
    pub fn holding(self, guard: impl Send + 'static) -> Self {
        Self::Held(Box::new(self), Box::new(guard))
    }
}

/// Parts shorter than this are joined into frames of about [`FRAME_BYTES`]: one frame costs more than copying so little.
const SMALL_BYTES: usize = 8 * 1024;
const FRAME_BYTES: usize = 32 * 1024;

/// Takes the next frame off a run of buffers: a long buffer as it is, short ones joined.
pub fn next_chunk(parts: &mut VecDeque<Bytes>) -> Option<Bytes> {
    let first = parts.pop_front()?;
    if first.len() >= SMALL_BYTES || parts.front().is_none_or(|b| b.len() >= SMALL_BYTES) {
        return Some(first);
    }
    let mut frame = Vec::with_capacity(FRAME_BYTES);
    frame.extend_from_slice(&first);
    while let Some(b) = parts.pop_front_if(|b| b.len() < SMALL_BYTES && frame.len() + b.len() <= FRAME_BYTES)
    {
        frame.extend_from_slice(&b);
    }
    Some(Bytes::from(frame))
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(b: T) -> Self {
        let b = b.into();
        if b.is_empty() { Self::Empty } else { Self::Full(b) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Full(b) => {
                let b = std::mem::take(b);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(b))))
            }
            Self::Chunks { parts, left } => Poll::Ready(next_chunk(parts).map(|b| {
                *left -= b.len() as u64;
                Ok(Frame::data(b))
            })),
            Self::Stream(s) => s.as_mut().poll_next(cx).map(|o| o.map(|r| r.map(Frame::data))),
            Self::Held(b, _) => Pin::new(&mut **b).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) | Self::Stream(_) => false,
            Self::Chunks { parts, .. } => parts.is_empty(),
            Self::Held(b, _) => b.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(b) => SizeHint::with_exact(b.len() as u64),
            Self::Chunks { left, .. } => SizeHint::with_exact(*left),
            Self::Stream(_) => SizeHint::default(),
            Self::Held(b, _) => b.size_hint(),
        }
    }
}
