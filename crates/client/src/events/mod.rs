//! Events about objects, as `kubectl describe` shows them: recorded without waiting, correlated, written in the background.

mod correlator;

use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSeries, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use correlator::{Correlator, Verdict};
use corten_stdx::SharedClock;

use crate::object::{MetaExt, path};
use crate::request::{Caller, Error, STRATEGIC_PATCH};

/// Events waiting to be written; more are dropped, as upstream's broadcaster does.
pub const MAX_PENDING: usize = 1000;
/// The API refuses longer messages.
pub const MAX_MESSAGE_BYTES: usize = 1024;

/// How serious an event is: the two types the API knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    Normal,
    Warning,
}

impl Level {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub about: ObjectReference,
    pub level: Level,
    pub reason: String,
    pub message: String,
    /// The `action` of an events.k8s.io event; empty for the older kind, which counts by message.
    pub action: &'static str,
    pub at: Timestamp,
}

/// Records events for one component. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Record>,
    clock: SharedClock,
}

impl Recorder {
    /// A recorder for `component` (`source.component`), on `host` if it is a node's.
    #[must_use]
    pub fn new(
        client: kube::Client,
        component: &'static str,
        host: &str,
        clock: SharedClock,
        stop: CancellationToken,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(MAX_PENDING);
        let writer = Writer {
            caller: client.into(),
            component,
            host: host.to_owned(),
            correlator: Correlator::default(),
        };
        tokio::spawn(writer.run(receiver, stop));
        Self { sender, clock }
    }

    /// Records an event in core/v1 style: repetitions raise its count.
    pub fn event(&self, about: ObjectReference, level: Level, reason: &str, message: impl Into<String>) {
        self.record(about, level, reason, message.into(), "");
    }

    /// Records an event in events.k8s.io style, with the action that was taken: repetitions become a series.
    pub fn acted(
        &self,
        about: ObjectReference,
        level: Level,
        reason: &str,
        action: &'static str,
        message: impl Into<String>,
    ) {
        self.record(about, level, reason, message.into(), action);
    }

    fn record(
        &self,
        about: ObjectReference,
        level: Level,
        reason: &str,
        mut message: String,
        action: &'static str,
    ) {
        if message.len() > MAX_MESSAGE_BYTES {
            let end = (0..=MAX_MESSAGE_BYTES - 4)
                .rev()
                .find(|i| message.is_char_boundary(*i))
                .unwrap_or(0);
            message.truncate(end);
            message.push_str(" ...");
        }
        let at = timestamp(&self.clock);
        let record = Record {
            about,
            level,
            reason: reason.to_owned(),
            message,
            action,
            at,
        };
        if self.sender.try_send(record).is_err() {
            tracing::debug!(
                bound = MAX_PENDING,
                "too many events are waiting; one was dropped"
            );
        }
    }
}

/// The clock's time in the API's terms.
#[must_use]
pub fn timestamp(clock: &SharedClock) -> Timestamp {
    Timestamp::try_from(clock.now()).unwrap_or(Timestamp::UNIX_EPOCH)
}

struct Writer {
    caller: Caller,
    component: &'static str,
    host: String,
    correlator: Correlator,
}

impl Writer {
    async fn run(mut self, mut records: mpsc::Receiver<Record>, stop: CancellationToken) {
        loop {
            let record = tokio::select! {
                () = stop.cancelled() => return,
                record = records.recv() => record,
            };
            let Some(record) = record else { return };
            if let Err(error) = self.write(record).await {
                tracing::debug!(component = self.component, %error, "an event was not written");
            }
        }
    }

    async fn write(&mut self, record: Record) -> Result<(), Error> {
        match self.correlator.judge(&record) {
            Verdict::Drop => Ok(()),
            Verdict::Create { slot, message } => self.create(&record, slot, message, 1).await,
            Verdict::Repeat {
                slot,
                name,
                message,
                count,
            } => {
                let ns = namespace(&record.about);
                let target = path::<Event>(ns, &name, "");
                let body = if record.action.is_empty() {
                    json!({"count": count, "lastTimestamp": Time(seconds(record.at)), "message": message})
                } else {
                    json!({"series": {"count": count, "lastObservedTime": MicroTime(record.at)}})
                };
                match self.caller.patch(&target, STRATEGIC_PATCH, &body).await {
                    // The event expired or was deleted: it starts anew.
                    Err(error) if error.is_not_found() => self.create(&record, slot, message, count).await,
                    other => other.map(drop),
                }
            }
        }
    }

    async fn create(&mut self, record: &Record, slot: u64, message: String, count: i32) -> Result<(), Error> {
        let name = format!(
            "{}.{:016x}",
            record.about.name.as_deref().unwrap_or_default(),
            // The slot keeps events of one instant apart.
            (record.at.as_nanosecond().cast_unsigned() as u64).wrapping_add(slot)
        );
        let event = self.event(record, name.clone(), message, count);
        let target = path::<Event>(event.metadata.ns(), "", "");
        self.caller
            .send(
                Method::POST,
                &target,
                "application/json",
                serde_json::to_vec(&event)?,
            )
            .await?;
        self.correlator.written(slot, name);
        Ok(())
    }

    fn event(&self, record: &Record, name: String, message: String, count: i32) -> Event {
        let metadata = ObjectMeta {
            name: Some(name),
            namespace: Some(namespace(&record.about).to_owned()),
            ..ObjectMeta::default()
        };
        let host = Some(self.host.clone()).filter(|h| !h.is_empty());
        let mut event = Event {
            metadata,
            involved_object: record.about.clone(),
            type_: Some(record.level.as_str().into()),
            reason: Some(record.reason.clone()),
            message: Some(message),
            reporting_component: Some(self.component.into()),
            reporting_instance: Some(self.host.clone()),
            ..Event::default()
        };
        if record.action.is_empty() {
            let at = Some(Time(seconds(record.at)));
            event.first_timestamp.clone_from(&at);
            event.last_timestamp = at;
            event.count = Some(count);
            event.source = Some(EventSource {
                component: Some(self.component.into()),
                host,
            });
        } else {
            event.event_time = Some(MicroTime(record.at));
            event.action = Some(record.action.into());
            let instance = if self.host.is_empty() { "local" } else { &self.host };
            event.reporting_instance = Some(format!("{}-{instance}", self.component));
            if count > 1 {
                let last_observed_time = Some(MicroTime(record.at));
                event.series = Some(EventSeries {
                    count: Some(count),
                    last_observed_time,
                });
            }
        }
        event
    }
}

/// Events about cluster-scoped objects live in `default`.
fn namespace(about: &ObjectReference) -> &str {
    about
        .namespace
        .as_deref()
        .filter(|ns| !ns.is_empty())
        .unwrap_or("default")
}

/// metav1.Time has whole seconds on the wire.
fn seconds(at: Timestamp) -> Timestamp {
    Timestamp::from_second(at.as_second()).unwrap_or(at)
}
