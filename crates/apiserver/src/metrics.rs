//! `/metrics`: upstream's names for what this front counts, plus the process's own figures.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::legacy_tokens::Counters;
use crate::server::Inner;

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

/// Labels of `apiserver_requested_deprecated_apis`.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct DeprecatedLabels {
    /// API group.
    pub group: Text,
    /// API version.
    pub version: Text,
    /// Plural.
    pub resource: Text,
    /// Subresource.
    pub subresource: Text,
    /// The minor release without it, `1.40`; empty where none is named.
    pub removed_release: &'static str,
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

const OWN_BUCKETS_SECONDS: [f64; 20] = [
    0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0,
    60.0,
];
const SIZE_BUCKETS_BYTES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

fn own_latency() -> Histogram {
    Histogram::new(OWN_BUCKETS_SECONDS)
}

fn sizes() -> Histogram {
    Histogram::new(SIZE_BUCKETS_BYTES)
}

/// What requests of one kind are measured by.
pub struct Figures {
    /// Of `apiserver_request_duration_seconds`.
    pub duration: Histogram,
    /// Of `apiserver_request_sli_duration_seconds`.
    pub own: Histogram,
    /// Of `apiserver_response_sizes`, of what is read.
    pub size: Option<Histogram>,
}

/// Everything counted. One per server; cheap to share behind its `Arc`.
pub struct Metrics {
    registry: Registry,
    /// `apiserver_request_total`
    pub requests: Family<RequestLabels, Counter>,
    /// `apiserver_request_duration_seconds`; long-running requests are left out, as upstream does.
    durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    /// `apiserver_current_inflight_requests`
    pub in_flight: Family<KindLabel, Gauge>,
    /// `apiserver_request_sli_duration_seconds`: the same without the time that webhooks took.
    own_durations: Family<DurationLabels, Histogram, fn() -> Histogram>,
    /// `apiserver_response_sizes`, in bytes, of what is read.
    answer_sizes: Family<DurationLabels, Histogram, fn() -> Histogram>,
    /// The three of each kind of request: every request asks for them.
    figures: RwLock<HashMap<DurationLabels, Arc<Figures>>>,
    /// `apiserver_longrunning_requests`
    pub long_running: Family<DurationLabels, Gauge>,
    /// `apiserver_requested_deprecated_apis`
    pub deprecated: Family<DeprecatedLabels, Gauge>,
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
            own_durations: Family::new_with_constructor(own_latency),
            answer_sizes: Family::new_with_constructor(sizes),
            figures: RwLock::default(),
            in_flight: Family::default(),
            long_running: Family::default(),
            deprecated: Family::default(),
            watch_events: Family::default(),
            watch_bytes: Family::default(),
            rejected: Family::default(),
            authentications: Family::default(),
            terminations: Counter::default(),
            legacy_tokens: Counters::default(),
            started_seconds: unix_seconds(),
        };
        m.register();
        m
    }

    fn register(&mut self) {
        let m = self;
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
            "apiserver_request_sli_duration_seconds",
            "Time from head read to answer ready without that of webhooks",
            m.own_durations.clone(),
        );
        r.register(
            "apiserver_response_sizes",
            "Bytes of answers to what is read",
            m.answer_sizes.clone(),
        );
        r.register(
            "apiserver_requested_deprecated_apis",
            "APIs on their way out that somebody asked for",
            m.deprecated.clone(),
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
    }

    /// What requests with these labels are measured by.
    pub fn figures(&self, labels: DurationLabels) -> Arc<Figures> {
        if let Some(known) = self.figures.read().get(&labels) {
            return known.clone();
        }
        let is_read = matches!(labels.verb, "GET" | "LIST");
        let made = Arc::new(Figures {
            duration: self.durations.get_or_create_owned(&labels),
            own: self.own_durations.get_or_create_owned(&labels),
            size: is_read.then(|| self.answer_sizes.get_or_create_owned(&labels)),
        });
        self.figures.write().entry(labels).or_insert(made).clone()
    }

    /// The text of `/metrics` in the classic exposition format.
    pub fn render(&self) -> String {
        let mut text = String::with_capacity(16 * 1024);
        if prometheus_client::encoding::text::encode(&mut text, &self.registry).is_err() {
            tracing::error!("metrics could not be written out");
        }
        let mut text = classic(&text);
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
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        gauge(
            "process_max_fds",
            "gauge",
            most.map_or(f64::INFINITY, |n| n as f64),
        );
    }
}

/// Counters that upstream names without `_total`.
const BARE: [&str; 1] = ["authentication_attempts"];

/// OpenMetrics' text as the classic one, in which counters are declared by the name that their samples have.
fn classic(open: &str) -> String {
    let mut out = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        let declared = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' '));
        let Some((name, kind)) = declared else {
            let bare = BARE.iter().find_map(|name| {
                let rest = line.strip_prefix(name)?.strip_prefix("_total")?;
                Some(format!("{name}{rest}"))
            });
            if line != "# EOF" {
                let _ = writeln!(out, "{}", bare.as_deref().unwrap_or(line));
            }
            continue;
        };
        let totals = kind == "counter" && !BARE.contains(&name);
        let suffix = if totals { "_total" } else { "" };
        if let Some((_, text)) = help.take() {
            let _ = writeln!(out, "# HELP {name}{suffix} {text}");
        }
        let _ = writeln!(out, "# TYPE {name}{suffix} {kind}");
    }
    out
}

fn unix_seconds() -> f64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.unwrap_or(Duration::ZERO).as_secs_f64()
}

/// What there is: objects of each resource, servers of extensions, and which program this is.
pub fn census(server: &Inner, out: &mut String) {
    let resources = server.registry.resources();
    let _ = writeln!(out, "# TYPE apiserver_resource_objects gauge");
    for of in &resources {
        let (group, plural, count) = (&of.group, &of.plural, server.registry.count(of));
        let _ = writeln!(
            out,
            "apiserver_resource_objects{{group=\"{group}\",resource=\"{plural}\"}} {count}"
        );
    }
    let _ = writeln!(out, "# TYPE apiserver_storage_objects gauge");
    for of in &resources {
        let (resource, count) = (of.group_resource(), server.registry.count(of));
        let _ = writeln!(
            out,
            "apiserver_storage_objects{{resource=\"{resource}\"}} {count}"
        );
    }
    let _ = writeln!(out, "# TYPE aggregator_unavailable_apiservice gauge");
    for service in server.aggregator.services() {
        let (name, down) = (&service.name, u8::from(!service.available()));
        let _ = writeln!(out, "aggregator_unavailable_apiservice{{name=\"{name}\"}} {down}");
    }
    let build = crate::routes::version();
    let text = |key: &str| build[key].as_str().unwrap_or_default().to_owned();
    let _ = writeln!(
        out,
        "# TYPE kubernetes_build_info gauge\nkubernetes_build_info{{build_date=\"{}\",compiler=\"{}\",git_commit=\"{}\",git_tree_state=\"{}\",git_version=\"{}\",go_version=\"{}\",major=\"{}\",minor=\"{}\",platform=\"{}\"}} 1",
        text("buildDate"),
        text("compiler"),
        text("gitCommit"),
        text("gitTreeState"),
        text("gitVersion"),
        text("goVersion"),
        text("major"),
        text("minor"),
        text("platform"),
    );
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
