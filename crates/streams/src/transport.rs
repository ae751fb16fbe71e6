//! What every protocol here runs on, an upgraded connection, and what it is turned into: pipes.

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::sync::oneshot;

/// Bytes in flight per stream and direction; whoever writes more waits.
pub(crate) const PIPE_BYTES: usize = 32 * 1024;

/// How long the client has to close its end after ours.
pub(crate) const CLOSE_WAIT: Duration = Duration::from_secs(5);

/// A byte stream in both directions.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Transport for T {}

/// The session's end of one stream or channel.
pub(crate) struct Pipe {
    /// Reads what the client sends; writing sends; shutting it down or dropping it ends our direction.
    pub(crate) io: DuplexStream,
    /// Ends (in an error) when all that was written is on its way.
    pub(crate) sent: oneshot::Receiver<()>,
}
