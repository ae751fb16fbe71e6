//! A terminal's master as an asynchronous stream.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// One of possibly several handles on a terminal's master.
#[derive(Clone)]
pub struct Master {
    file: Arc<AsyncFd<File>>,
}

impl Master {
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        // Deprecated because an arbitrary type could close its descriptor early. A File owns its own until it is dropped.
        #[allow(deprecated)]
        let file = AsyncFd::new(File::from(fd))?;
        Ok(Self { file: Arc::new(file) })
    }

    pub fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        Ok(corten_sys::terminal::resize(self.file.get_ref(), width, height)?)
    }
}

impl AsyncRead for Master {
    /// EIO, which a terminal gives when its last user has closed it, is the end.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.file.poll_read_ready(cx))?;
            let spare = buf.initialize_unfilled();
            match guard.try_io(|file| file.get_ref().read(spare)) {
                Ok(Ok(count)) => {
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_) => {}
            }
        }
    }
}

impl AsyncWrite for Master {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.file.poll_write_ready(cx))?;
            if let Ok(done) = guard.try_io(|file| file.get_ref().write(data)) {
                return Poll::Ready(done);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
