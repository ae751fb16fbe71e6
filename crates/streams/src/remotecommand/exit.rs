//! The end of a session as the client learns it.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::sync::oneshot;

use crate::spdy::Connection;
use crate::transport::Pipe;
use crate::websocket::Channels;

/// How the command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// Not zero.
    ExitCode(i32),
    /// It could not be run or attached to; upstream's texts begin `error executing command in container: `.
    Failed(String),
}

impl Outcome {
    /// The outcome of a command that has run.
    pub fn of_code(code: i32) -> Self {
        if code == 0 {
            Self::Success
        } else {
            Self::ExitCode(code)
        }
    }

    fn status(&self) -> Value {
        match self {
            Self::Success => json!({"status": "Success"}),
            Self::ExitCode(code) => json!({
                "status": "Failure",
                "message": self.message(),
                "reason": "NonZeroExitCode",
                "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
            }),
            Self::Failed(_) => json!({
                "status": "Failure",
                "message": self.message(),
                "reason": "InternalError",
                "code": 500,
            }),
        }
    }

    fn message(&self) -> String {
        match self {
            Self::Success => String::new(),
            Self::ExitCode(code) => format!("command terminated with non-zero exit code: exit status {code}"),
            Self::Failed(reason) => format!("Internal error occurred: {reason}"),
        }
    }
}

/// What the error stream carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A Status object, from protocol version 4 on.
    Status,
    /// Text, and nothing for success.
    Text,
}

impl Format {
    pub(super) fn of(protocol: &str) -> Self {
        if protocol.starts_with("v4.") || protocol.starts_with("v5.") {
            Self::Status
        } else {
            Self::Text
        }
    }
}

pub(super) enum End {
    Spdy(Connection),
    WebSocket(Channels),
}

/// Ends a session.
pub struct Exit {
    error: Option<Pipe>,
    outputs: Vec<oneshot::Receiver<()>>,
    end: End,
    format: Format,
}

impl Exit {
    pub(super) fn new(
        error: Option<Pipe>,
        outputs: Vec<oneshot::Receiver<()>>,
        end: End,
        format: Format,
    ) -> Self {
        Self {
            error,
            outputs,
            end,
            format,
        }
    }

    /// Waits until all output is on its way, tells the client the outcome, and closes the connection. The session's
    /// `stdin`, `stdout` and `stderr` must have been dropped (or, the outputs, shut down): else this waits for it.
    pub async fn send(self, outcome: &Outcome) {
        for sent in self.outputs {
            // Ends in an error by design: the sender is dropped when the stream is through.
            let _ = sent.await;
        }
        let text = match (self.format, outcome) {
            (Format::Status, outcome) => outcome.status().to_string(),
            (Format::Text, Outcome::Success) => String::new(),
            (Format::Text, outcome) => outcome.message(),
        };
        if let Some(mut error) = self.error {
            // A client that has gone does not want to know.
            let _ = error.io.write_all(text.as_bytes()).await;
        }
        match self.end {
            End::Spdy(connection) => connection.close().await,
            End::WebSocket(channels) => channels.close().await,
        }
    }
}
