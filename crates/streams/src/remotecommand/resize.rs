//! Terminal sizes: JSON objects one after the other on the resize stream.

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, DuplexStream};
use tokio::sync::watch;

/// More without a complete size is not a size.
const PENDING_BYTES: usize = 4096;

/// Columns and rows of the client's terminal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

/// The size as last announced. The channel closes with the stream.
pub(super) fn sizes(stream: Option<DuplexStream>) -> watch::Receiver<TerminalSize> {
    let (sender, receiver) = watch::channel(TerminalSize::default());
    if let Some(stream) = stream {
        tokio::spawn(read(stream, sender));
    }
    receiver
}

async fn read(mut stream: DuplexStream, sizes: watch::Sender<TerminalSize>) {
    let mut pending = Vec::new();
    // Reading goes on without receivers: the connection must not stand still for a size nobody wants.
    while stream.read_buf(&mut pending).await.is_ok_and(|read| read > 0) {
        let mut objects = serde_json::Deserializer::from_slice(&pending).into_iter::<TerminalSize>();
        let mut used = 0;
        let mut wrong = false;
        loop {
            match objects.next() {
                Some(Ok(size)) => {
                    used = objects.byte_offset();
                    sizes.send_replace(size);
                }
                Some(Err(error)) => {
                    wrong = !error.is_eof();
                    break;
                }
                None => break,
            }
        }
        pending.drain(..used);
        if wrong || pending.len() > PENDING_BYTES {
            pending.clear();
        }
    }
}
