//! Counting each request once, when its answer is ready; long-running ones also while they last.

use std::sync::Arc;
use std::time::Duration;

use http_body::Body as _;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use crate::metrics::{DurationLabels, Metrics, RequestLabels};
use crate::query::Query;
use crate::request_info::RequestInfo;
use crate::respond::Answer;
use crate::server::Inner;

/// The labels of one request, fixed before it runs.
pub struct Observed {
    metrics: Arc<Metrics>,
    labels: RequestLabels,
    long_running: bool,
}

struct OpenGauge(Gauge);

impl Drop for OpenGauge {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Observed {
    /// Reads the labels. Only resources the server knows become label values, so that clients cannot grow the families.
    pub fn new(server: &Inner, info: &RequestInfo, query: &Query) -> Self {
        let lookup = || server.catalog.lookup(&info.group, &info.version, &info.resource);
        let row = info
            .is_resource
            .then(lookup)
            .flatten()
            .map(|served| served.schema);
        let sub = match row {
            Some(row) => row.subresource(&info.subresource).map_or("", |sub| sub.name),
            None if info.is_resource => "",
            None => plain_path(&info.path),
        };
        let labels = RequestLabels {
            verb: upper(&info.verb, info.is_resource),
            dry_run: if query.get("dryRun") == Some("All") {
                "All"
            } else {
                ""
            },
            group: row.map_or("", |row| row.group).into(),
            version: row.map_or("", |row| row.version).into(),
            resource: row.map_or("", |row| row.plural).into(),
            subresource: sub.into(),
            scope: scope(info),
            component: "apiserver",
            code: 0,
        };
        Self {
            metrics: server.metrics.clone(),
            labels,
            long_running: info.long_running(),
        }
    }

    /// Counts the answer.
    pub fn answered(mut self, answer: Answer, took: Duration, outside: Duration) -> Answer {
        self.labels.code = answer.status().as_u16();
        self.metrics.requests.get_or_create(&self.labels).inc();
        let l = self.labels;
        let labels = DurationLabels {
            verb: l.verb,
            group: l.group,
            version: l.version,
            resource: l.resource,
            subresource: l.subresource,
            scope: l.scope,
            component: l.component,
        };
        if self.long_running {
            let gauge = self.metrics.long_running.get_or_create_owned(&labels);
            return if answer.body().is_end_stream() {
                answer
            } else {
                gauge.inc();
                answer.map(|b| b.holding(OpenGauge(gauge)))
            };
        }
        let figures = self.metrics.figures(labels);
        figures.duration.observe(took.as_secs_f64());
        figures.own.observe(took.saturating_sub(outside).as_secs_f64());
        match &figures.size {
            Some(sizes) => sized(sizes, answer),
            None => answer,
        }
    }
}

/// Counts the bytes of an answer: at once where it is whole, else as they are sent.
fn sized(sizes: &Histogram, answer: Answer) -> Answer {
    match answer.body().size_hint().exact() {
        Some(bytes) => {
            sizes.observe(bytes as f64);
            answer
        }
        None => answer.map(|body| body.sized(sizes.clone())),
    }
}

fn plain_path(path: &str) -> &'static str {
    const PATHS: [&str; 9] = [
        "/healthz",
        "/livez",
        "/readyz",
        "/version",
        "/metrics",
        "/api",
        "/apis",
        "/openapi/v2",
        "/openapi/v3",
    ];
    PATHS
        .into_iter()
        .find(|p| path.trim_end_matches('/') == *p)
        .unwrap_or("")
}

/// Upstream's verbs for metrics: HTTP's, but LIST, WATCH, APPLY and DELETECOLLECTION by name.
fn upper(verb: &str, resource: bool) -> &'static str {
    match (verb, resource) {
        ("create", true) | ("post", false) => "POST",
        ("get", _) => "GET",
        ("head", _) => "HEAD",
        ("list", _) => "LIST",
        ("watch", _) => "WATCH",
        ("update", true) | ("put", false) => "PUT",
        ("patch", _) => "PATCH",
        ("delete", _) => "DELETE",
        ("deletecollection", _) => "DELETECOLLECTION",
        ("proxy", _) => "CONNECT",
        _ => "other",
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    if !info.is_resource {
        ""
    } else if !info.name.is_empty() {
        "resource"
    } else if !info.namespace.is_empty() {
        "namespace"
    } else {
        "cluster"
    }
}
