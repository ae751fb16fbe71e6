//! `/metrics`: upstream's names for what this front counts, plus the process's own figures.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::legacy_tokens::Counters;

type Text = Cow<'static, str>;

/// Labels of `apiserver_request_total`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct RequestLabels {
    /// Upper-case verb (`LIST`, `WATCH`, `POST` ...).
    pub verb: &'static str,
    /// `All` or empty.
    pub dry_run: &'static str,
    /// API group.
    pub group: Text,
    /// API version.
    pub version: Text,
    /// Plural.
    pub resource: Text,
    /// Subresource.
    pub subresource: Text,
    /// `cluster`, `namespace`, `resource` or empty.
    pub scope: &'static str,
    /// Always `apiserver`.
    pub component: &'static str,
    /// HTTP status.
    pub code: u16,
}

/// Labels of `apiserver_request_duration_seconds`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct DurationLabels {
    /// See [`RequestLabels`].
    pub verb: &'static str,
    /// See [`RequestLabels`].
    pub group: Text,
    /// See [`RequestLabels`].
    pub version: Text,
    /// See [`RequestLabels`].
    pub resource: Text,
    /// See [`RequestLabels`].
    pub subresource: Text,
    /// See [`RequestLabels`].
    pub scope: &'static str,
    /// See [`RequestLabels`].
    pub component: &'static str,
}

/// Label of `apiserver_current_inflight_requests`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindLabel {
    /// `readOnly` or `mutating`.
    pub request_kind: &'static str,
}

/// Labels of the watch families.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct WatchLabels {
    /// API group.
    pub group: Text,
    /// API version.
    pub version: Text,
    /// Plural.
    pub resource: Text,
}

/// Label of `authentication_attempts` and the like.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ResultLabel {
    /// `success`, `failure` or `error`.
    pub result: &'static str,
}

const BUCKETS_SECONDS: [f64; 21] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    30.0, 60.0,
];

fn latency() -> Histogram {
    Histogram::new(BUCKETS_SECONDS)
}

/// Everything counted. One per server; cheap to share behind its `Arc`.
pub struct Metrics {
    registry: Registry,
    /// `apiserver_request_total`
    pub requests: Family<RequestLabels, Counter>,
    /// `apiserver_request_duration_seconds`; long-running requests are left out, as upstream does.
    pub durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    /// `apiserver_current_inflight_requests`
    pub in_flight: Family<KindLabel, Gauge>,
    /// `apiserver_longrunning_requests`
    pub long_running: Family<WatchLabels, Gauge>,
    /// `apiserver_watch_events_total`
    pub watch_events: Family<WatchLabels, Counter>,
    /// `apiserver_watch_events_sizes` as a plain byte count.
    pub watch_bytes: Family<WatchLabels, Counter>,
    /// `apiserver_rejected_requests_total`
    pub rejected: Family<KindLabel, Counter>,
    /// `authentication_attempts`
    pub authentications: Family<ResultLabel, Counter>,
    /// `apiserver_request_terminations_total`: requests cut off by their deadline or by a panic.
    pub terminations: Counter,
    /// Uses of tokens of Secrets.
    pub legacy_tokens: Counters,
    started_seconds: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Registers every family.
    pub fn new() -> Self {
        let mut m = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(latency),
            in_flight: Family::default(),
            long_running: Family::default(),
            watch_events: Family::default(),
            watch_bytes: Family::default(),
            rejected: Family::default(),
            authentications: Family::default(),
            terminations: Counter::default(),
            legacy_tokens: Counters::default(),
            started_seconds: unix_seconds(),
        };
        let r = &mut m.registry;
        r.register(
            "apiserver_request",
            "Requests by verb, resource and answer code",
            m.requests.clone(),
        );
        r.register(
            "apiserver_request_duration_seconds",
            "Time from head read to answer ready",
            m.durations.clone(),
        );
        r.register(
            "apiserver_current_inflight_requests",
            "Requests being served",
            m.in_flight.clone(),
        );
        r.register(
            "apiserver_longrunning_requests",
            "Watches and streams open",
            m.long_running.clone(),
        );
        r.register(
            "apiserver_watch_events",
            "Events sent to watchers",
            m.watch_events.clone(),
        );
        r.register(
            "apiserver_watch_events_bytes",
            "Bytes of events sent to watchers",
            m.watch_bytes.clone(),
        );
        r.register(
            "apiserver_rejected_requests",
            "Requests turned away with 429",
            m.rejected.clone(),
        );
        r.register(
            "authentication_attempts",
            "Authentications by result",
            m.authentications.clone(),
        );
        r.register(
            "apiserver_request_terminations",
            "Requests cut off by the server",
            m.terminations.clone(),
        );
        m.legacy_tokens.register(r);
        m
    }

    /// The text of `/metrics` in the classic exposition format.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("metrics could not be written out");
        }
        if text.ends_with("# EOF\n") {
            text.truncate(text.len() - "# EOF\n".len());
        }
        self.process(&mut text);
        text
    }

    fn process(&self, out: &mut String) {
        let mut gauge = |name: &str, kind: &str, value: f64| {
            let _ = writeln!(out, "# TYPE {name} {kind}\n{name} {value}");
        };
        gauge("process_start_time_seconds", "gauge", self.started_seconds);
        let Ok(stat) = std::fs::read_to_string("/proc/self/stat") else {
            return;
        };
        // Fields after the parenthesised command name: see proc(5).
        let fields: Vec<f64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|f| f.parse().unwrap_or(0.0))
            .collect();
        let at = |n: usize| fields.get(n).copied().unwrap_or(0.0);
        gauge("process_cpu_seconds_total", "counter", (at(11) + at(12)) / 100.0);
        gauge("process_virtual_memory_bytes", "gauge", at(20));
        gauge("process_resident_memory_bytes", "gauge", at(21) * 4096.0);
        let open = std::fs::read_dir("/proc/self/fd")
            .map(Iterator::count)
            .unwrap_or(0);
        gauge("process_open_fds", "gauge", open as f64);
    }
}

fn unix_seconds() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_secs_f64()
}

/// The registry's totals by upstream's names where upstream has them.
pub fn registry_counters(m: &corten_registry::metrics::Metrics, out: &mut String) {
    let mut line = |name: &str, kind: &str, value: u64| {
        let _ = writeln!(out, "# TYPE {name} {kind}\n{name} {value}");
    };
    line("apiserver_registered_watchers", "gauge", m.watches_open.get());
    line(
        "apiserver_watch_cache_events_received_total",
        "counter",
        m.events_received.get(),
    );
    line(
        "apiserver_watch_cache_events_dispatched_total",
        "counter",
        m.events_delivered.get(),
    );
    line(
        "apiserver_terminated_watchers_total",
        "counter",
        m.watches_ended_slow.get(),
    );
    line("corten_registry_creates_total", "counter", m.creates.get());
    line("corten_registry_updates_total", "counter", m.updates.get());
    line(
        "corten_registry_updates_unchanged_total",
        "counter",
        m.updates_unchanged.get(),
    );
    line("corten_registry_deletes_total", "counter", m.deletes.get());
    line("corten_registry_gets_total", "counter", m.gets.get());
    line("corten_registry_lists_total", "counter", m.lists.get());
    line(
        "corten_registry_conflicts_retried_total",
        "counter",
        m.conflicts_retried.get(),
    );
    line(
        "corten_registry_watches_started_total",
        "counter",
        m.watches_started.get(),
    );
    line(
        "corten_registry_watches_expired_total",
        "counter",
        m.watches_too_old.get(),
    );
    line(
        "corten_registry_lists_expired_total",
        "counter",
        m.lists_expired.get(),
    );
}
