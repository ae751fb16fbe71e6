//! The audit log: what was asked, by whom and what came of it, as a policy wants it. Off unless a policy is given; then a
//! request pays one look at an `Option`.
//! Rules: upstream's apiserver/pkg/audit and endpoints/filters/audit.go.
//!
//! `policy.rs` decides, `record.rs` gathers one request's event, `log.rs` and `webhook.rs` are where events go.

mod log;
mod objects;
mod policy;
mod record;
mod webhook;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::call::Call;
use crate::limits::DRAIN_TIMEOUT;

pub use log::LogOptions;
pub use policy::{Level, Policy, PolicyError, Stage};
pub use record::Record;
pub use webhook::WebhookOptions;

/// Events waiting for a backend; what finds no room is lost and counted (upstream's batch mode).
const QUEUE: usize = 10_000;

/// Why auditing cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// A file.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// The webhook's configuration.
    #[error("audit webhook: {0}")]
    Webhook(String),
}

/// What is audited, and where to.
#[derive(Debug, Clone, Default)]
pub struct AuditOptions {
    /// Which requests, and how much of them.
    pub policy: Policy,
    /// JSON lines in a file.
    pub log: Option<LogOptions>,
    /// Batches to a server.
    pub webhook: Option<WebhookOptions>,
}

/// See the module.
pub struct Auditor {
    policy: Policy,
    log: Option<mpsc::Sender<Bytes>>,
    webhook: Option<mpsc::Sender<Value>>,
    events: AtomicU64,
    lost: Arc<AtomicU64>,
    end: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Auditor {
    /// Opens the backends. Runs in a tokio runtime.
    ///
    /// # Errors
    /// Where the log cannot be opened or the webhook's configuration not be used.
    pub fn start(options: AuditOptions) -> Result<Self, AuditError> {
        let (lost, end) = (Arc::new(AtomicU64::new(0)), CancellationToken::new());
        let mut tasks = Vec::new();
        let mut auditor = Self {
            policy: options.policy,
            log: None,
            webhook: None,
            events: AtomicU64::new(0),
            lost: lost.clone(),
            end: end.clone(),
            tasks: Mutex::default(),
        };
        if let Some(log) = options.log {
            let (sender, events) = mpsc::channel(QUEUE);
            tasks.push(log::start(log, events, lost.clone(), end.clone())?);
            auditor.log = Some(sender);
        }
        if let Some(webhook) = options.webhook {
            let (sender, events) = mpsc::channel(QUEUE);
            tasks.push(webhook::start(&webhook, events, lost, end)?);
            auditor.webhook = Some(sender);
        }
        *auditor.tasks.lock() = tasks;
        Ok(auditor)
    }

    /// Takes no more events and waits until what there is has been written and sent, but not for ever.
    pub async fn close(&self) {
        self.end.cancel();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        let all = futures::future::join_all(tasks);
        if tokio::time::timeout(DRAIN_TIMEOUT, all).await.is_err() {
            tracing::warn!("audit events are left undelivered");
        }
    }

    /// Begins the record of a request whose user is known; `None` where the policy does not want one.
    pub fn begin(self: &Arc<Self>, call: &Call) -> Option<Record> {
        let record = self.begin_quietly(call)?;
        record.stage(Stage::RequestReceived);
        Some(record)
    }

    /// Records a request whose credentials are not good.
    pub fn refused(self: &Arc<Self>, call: &Call) {
        if let Some(record) = self.begin_quietly(call) {
            record.unauthenticated(call);
            record.refused(http::StatusCode::UNAUTHORIZED);
        }
    }

    fn begin_quietly(self: &Arc<Self>, call: &Call) -> Option<Record> {
        let wanted = self.policy.evaluate(&call.user, &call.info);
        let record = (wanted.level != Level::None).then(|| Record::new(self.clone(), wanted, call))?;
        for (key, value) in &call.notes.lock().annotations {
            record.annotate(key, value);
        }
        Some(record)
    }

    fn send(&self, event: Value) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if let Some(log) = &self.log {
            let mut line = event.to_string();
            line.push('\n');
            if log.try_send(Bytes::from(line)).is_err() {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
        if let Some(webhook) = &self.webhook
            && webhook.try_send(event).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// `apiserver_audit_*`.
    pub fn render(&self, out: &mut String) {
        use std::fmt::Write as _;
        for (name, value) in [("event_total", &self.events), ("error_total", &*self.lost)] {
            let name = format!("apiserver_audit_{name}");
            let value = value.load(Ordering::Relaxed);
            let _ = writeln!(out, "# TYPE {name} counter\n{name} {value}");
        }
    }
}
