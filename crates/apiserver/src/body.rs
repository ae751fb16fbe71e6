//! Response bodies: one buffer, frames made while they are sent, or a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{Stream, StreamExt, TryFutureExt, stream};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use prometheus_client::metrics::histogram::Histogram;
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

/// Frames that come when they are there.
pub type ByteStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// Frames that are made as they are asked for.
pub type Frames = Box<dyn Iterator<Item = Result<Bytes, BoxError>> + Send>;

/// A response body. Lists are frames, so that no list is ever copied into one allocation.
pub enum Body {
    /// Nothing left.
    Empty,
    /// One buffer.
    Full(Bytes),
    /// A whole answer in frames that are made as they are sent; an error cuts the connection.
    Frames(Frames),
    /// A whole answer likewise, some of whose frames wait for somebody (a webhook that converts a list).
    Awaited(ByteStream),
    /// Frames as they come.
    Stream(ByteStream),
    /// A body that keeps something alive (an in-flight permit, a gauge) until it is dropped.
    Held(Box<Body>, Box<dyn Send>),
}

impl Body {
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

    /// As one buffer, where it has frames that are still to be made.
    pub async fn gathered(self) -> Self {
        match self {
            Self::Frames(frames) => Self::whole(stream::iter(frames)).await,
            Self::Awaited(frames) => Self::whole(frames).await,
            Self::Held(body, guard) => Self::Held(Box::new(Box::pin(body.gathered()).await), guard),
            other => other,
        }
    }

    async fn whole(mut frames: impl Stream<Item = Result<Bytes, BoxError>> + Unpin) -> Self {
        let mut whole = Vec::new();
        while let Some(frame) = frames.next().await {
            match frame {
                Ok(frame) => whole.extend_from_slice(&frame),
                Err(error) => {
                    return Self::Frames(Box::new([Ok(whole.into()), Err(error)].into_iter()));
                }
            }
        }
        Self::Full(whole.into())
    }

    /// Ends a stream early when `stop` is cancelled; other bodies have an end of their own.
    pub fn until(self, stop: CancellationToken) -> Self {
        match self {
            Self::Stream(frames) => Self::stream(frames.take_until(stop.cancelled_owned())),
            Self::Held(body, guard) => Self::Held(Box::new(body.until(stop)), guard),
            other => other,
        }
    }

    /// Tells `sizes` how many bytes were taken of a body of frames, when it is dropped.
    pub fn sized(self, sizes: Histogram) -> Self {
        let mut taken = Taken { bytes: 0, sizes };
        match self {
            Self::Frames(frames) => Self::Frames(Box::new(frames.inspect(move |frame| taken.add(frame)))),
            Self::Awaited(frames) => Self::Awaited(Box::pin(frames.inspect(move |frame| taken.add(frame)))),
            Self::Held(body, guard) => Self::Held(Box::new(body.sized(taken.sizes.clone())), guard),
            other => other,
        }
    }

    /// Keeps `guard` alive until the body is dropped.
    pub fn holding(self, guard: impl Send + 'static) -> Self {
        Self::Held(Box::new(self), Box::new(guard))
    }
}

/// What was taken of a body so far.
struct Taken {
    bytes: usize,
    sizes: Histogram,
}

impl Taken {
    fn add(&mut self, frame: &Result<Bytes, BoxError>) {
        self.bytes += frame.as_ref().map_or(0, Bytes::len);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.sizes.observe(self.bytes as f64);
        }
    }
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
            Self::Frames(frames) => Poll::Ready(frames.next().map(|frame| frame.map(Frame::data))),
            Self::Stream(s) | Self::Awaited(s) => {
                s.as_mut().poll_next(cx).map(|o| o.map(|r| r.map(Frame::data)))
            }
            Self::Held(b, _) => Pin::new(&mut **b).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(_) | Self::Frames(_) | Self::Awaited(_) | Self::Stream(_) => false,
            Self::Held(b, _) => b.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Empty => SizeHint::with_exact(0),
            Self::Full(b) => SizeHint::with_exact(b.len() as u64),
            Self::Frames(_) | Self::Awaited(_) | Self::Stream(_) => SizeHint::default(),
            Self::Held(b, _) => b.size_hint(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn frames_that_are_waited_for_are_gathered_too() {
        let frames = |last: Result<Bytes, BoxError>| {
            let frames = stream::iter([Ok(Bytes::from("a")), last]);
            let frames = frames.then(|frame| async {
                tokio::task::yield_now().await;
                frame
            });
            Body::Awaited(Box::pin(frames)).holding(())
        };
        let whole = frames(Ok("b".into())).gathered().await;
        assert!(matches!(&whole, Body::Held(body, _) if matches!(&**body, Body::Full(text) if text == "ab")));
        let mut cut = frames(Err("no".into())).gathered().await;
        assert_eq!(cut.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
        assert!(cut.frame().await.unwrap().is_err());
    }
}
