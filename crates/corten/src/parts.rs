//! The parts of a process, by name, and how long the process waits for each of them to end.

use std::time::Duration;
use tokio::task::JoinHandle;

/// Longer than any part needs to finish what it holds; what is late then is named in the log and left.
const END: Duration = Duration::from_secs(10);

/// Tasks that run until the token they were started with is cancelled.
#[derive(Default)]
pub(crate) struct Parts(Vec<(&'static str, JoinHandle<()>)>);

impl Parts {
    pub(crate) fn spawn(&mut self, name: &'static str, part: impl Future<Output = ()> + Send + 'static) {
        self.0.push((name, tokio::spawn(part)));
    }

    /// Waits for all of them, once they have been told to end.
    pub(crate) async fn ended(self) {
        let deadline = tokio::time::Instant::now() + END;
        for (name, part) in self.0 {
            match tokio::time::timeout_at(deadline, part).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(part = name, %error, "ended unexpectedly"),
                Err(_) => tracing::warn!(part = name, "did not end in time and is left"),
            }
        }
    }
}
