//! Request bodies that are read on after their answer. A server that answers before it has read everything may hang up on the
//! rest, and some clients then lose the answer: over HTTP/2 curl 7.88 does while it still sends, over HTTP/1 whoever has not
//! read it when the connection is reset. So what is left is taken in for a while, and thrown away.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::limits::{UNREAD_BYTES, UNREAD_TIME};

/// See the module.
pub struct ReadOn<B>(Option<B>)
where
    B: Body<Data = Bytes> + Unpin + Send + 'static;

impl<B> ReadOn<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    /// A body that nobody has read of yet.
    pub fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B> Body for ReadOn<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.0 = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint)
    }
}

impl<B> Drop for ReadOn<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
{
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(UNREAD_TIME, read_on(body)));
        }
    }
}

async fn read_on<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = UNREAD_BYTES;
    while let Some(Ok(frame)) = body.frame().await {
        let read = frame.data_ref().map_or(0, Buf::remaining);
        let Some(rest) = left.checked_sub(read) else {
            return;
        };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures::StreamExt;
    use http_body_util::StreamBody;
    use tokio::sync::mpsc;

    type Fed = ReadOn<StreamBody<futures::stream::BoxStream<'static, Result<Frame<Bytes>, std::io::Error>>>>;

    /// A body and what feeds it.
    fn fed() -> (mpsc::Sender<usize>, Fed) {
        let (sender, receiver) = mpsc::channel(1);
        let frames = futures::stream::unfold(receiver, |mut receiver| async move {
            let bytes: usize = receiver.recv().await?;
            Some((Ok(Frame::data(vec![0; bytes].into())), receiver))
        });
        (sender, ReadOn::new(StreamBody::new(frames.boxed())))
    }

    #[tokio::test]
    async fn the_rest_is_taken_in_up_to_a_bound() {
        let (sender, body) = fed();
        drop(body);
        let part = UNREAD_BYTES / 4;
        for _ in 0..4 {
            sender.send(part).await.unwrap();
        }
        // One byte more than it takes.
        sender.send(1).await.ok();
        sender.closed().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_is_taken_in_for_a_while() {
        let (sender, body) = fed();
        let began = tokio::time::Instant::now();
        drop(body);
        sender.closed().await;
        assert_eq!(began.elapsed(), UNREAD_TIME);
    }

    #[tokio::test]
    async fn what_was_read_to_its_end_leaves_nothing() {
        let (sender, mut body) = fed();
        sender.send(3).await.unwrap();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), 3);
        drop(sender);
        assert!(body.frame().await.is_none() && body.is_end_stream());
    }
}
