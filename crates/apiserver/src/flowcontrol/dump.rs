//! The text of the debug pages. Pure. Rules: upstream's `apf_controller_debug.go` and Go's `text/tabwriter`.
//!
//! Rows of a page come by the level's name; upstream's come in no order but those of the levels' page. `TimedoutRequests` is 0
//! as in upstream, which counts requests that run out of time as cancelled. Requests give back their seats when they end, so
//! that their final seats and additional latency are none.

use std::sync::Arc;

use super::executing::{Asked, Started};
use super::tally::Totals;

/// Cells are at least so wide, in characters.
const CELL_MIN: usize = 8;
/// 10⁻⁸ seat-seconds for a seat: upstream takes every request to last 3 ms when it decides who is next.
const WORK_PER_SEAT: u64 = 300_000;
/// `StartTime` of a request that waits: Go's zero time.
const NOT_STARTED: &str = "0001-01-01T00:00:00Z";

const LEVEL_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "ActiveQueues",
    "IsIdle",
    "IsQuiescing",
    "WaitingRequests",
    "ExecutingRequests",
    "DispatchedRequests",
    "RejectedRequests",
    "TimedoutRequests",
    "CancelledRequests",
];

const QUEUE_COLUMNS: [&str; 9] = [
    "PriorityLevelName",
    "Index",
    "PendingRequests",
    "ExecutingRequests",
    "SeatsInUse",
    "NextDispatchR",
    "InitialSeatsSum",
    "MaxSeatsSum",
    "TotalWorkSum",
];

/// Misspelt as upstream's.
const REQUEST_COLUMNS: [&str; 10] = [
    "PriorityLevelName",
    "FlowSchemaName",
    "QueueIndex",
    "RequestIndexInQueue",
    "FlowDistingsher",
    "ArriveTime",
    "InitialSeats",
    "FinalSeats",
    "AdditionalLatency",
    "StartTime",
];

const DETAIL_COLUMNS: [&str; 8] = [
    "UserName",
    "Verb",
    "APIPath",
    "Namespace",
    "Name",
    "APIVersion",
    "Resource",
    "SubResource",
];

/// A level at one moment.
pub struct LevelDump {
    /// Its name.
    pub name: String,
    /// Its object is gone, its last requests are not.
    pub quiescing: bool,
    /// See [`Totals`].
    pub totals: Totals,
    /// By their indices; none where the level does not queue.
    pub queues: Vec<QueueDump>,
    /// Executing requests that came from no queue.
    pub queueless: Vec<Started>,
}

/// A queue at one moment.
#[derive(Default)]
pub struct QueueDump {
    /// Its virtual time, in seats.
    pub next_start: u64,
    /// In their order.
    pub waiting: Vec<Arc<Asked>>,
    /// The longest running first.
    pub executing: Vec<Started>,
}

type Row = Vec<String>;

/// `dump_priority_levels`.
pub fn priority_levels(levels: &[LevelDump]) -> String {
    let row = |level: &LevelDump| {
        let totals = &level.totals;
        let active = level.queues.iter().filter(|queue| !queue.waiting.is_empty());
        vec![
            level.name.clone(),
            active.count().to_string(),
            totals.idle().to_string(),
            level.quiescing.to_string(),
            totals.waiting.to_string(),
            totals.executing.to_string(),
            totals.dispatched.to_string(),
            totals.rejected.to_string(),
            "0".to_owned(),
            totals.cancelled.to_string(),
        ]
    };
    table(&LEVEL_COLUMNS, levels.iter().map(row))
}

/// `dump_queues`.
pub fn queues(levels: &[LevelDump]) -> String {
    let row = |level: &LevelDump, index: usize, queue: &QueueDump| {
        let waiting: u64 = queue.waiting.iter().map(|r| u64::from(r.seats)).sum();
        let in_use: u64 = queue.executing.iter().map(|r| u64::from(r.asked.seats)).sum();
        vec![
            level.name.clone(),
            index.to_string(),
            queue.waiting.len().to_string(),
            queue.executing.len().to_string(),
            in_use.to_string(),
            seat_seconds(queue.next_start),
            waiting.to_string(),
            waiting.to_string(),
            seat_seconds(waiting),
        ]
    };
    let rows = levels.iter().flat_map(|level| {
        let queues = level.queues.iter().enumerate();
        queues.map(move |(index, queue)| row(level, index, queue))
    });
    table(&QUEUE_COLUMNS, rows)
}

/// `dump_requests`, with `details` what each asks for.
pub fn requests(levels: &[LevelDump], details: bool) -> String {
    let mut rows = Vec::new();
    for level in levels {
        let mut add = |place: (Option<usize>, Option<usize>), asked: &Asked, start: String| {
            rows.push(request(level, place, asked, start, details));
        };
        for (at, queue) in level.queues.iter().enumerate() {
            for (index, asked) in queue.waiting.iter().enumerate() {
                add((Some(at), Some(index)), asked, NOT_STARTED.to_owned());
            }
            for started in &queue.executing {
                add((Some(at), None), &started.asked, started.at.to_string());
            }
        }
        for started in &level.queueless {
            add((None, None), &started.asked, started.at.to_string());
        }
    }
    let mut columns = REQUEST_COLUMNS.to_vec();
    if details {
        columns.extend(DETAIL_COLUMNS);
    }
    table(&columns, rows)
}

/// `place` is the queue and the index in it; both are -1 where there is none.
fn request(
    level: &LevelDump,
    place: (Option<usize>, Option<usize>),
    asked: &Asked,
    start: String,
    details: bool,
) -> Row {
    let index = |at: Option<usize>| at.map_or_else(|| "-1".to_owned(), |at| at.to_string());
    let mut row = vec![
        level.name.clone(),
        asked.schema.clone(),
        index(place.0),
        index(place.1),
        asked.distinguisher.clone(),
        asked.arrived.to_string(),
        asked.seats.to_string(),
        "0".to_owned(),
        "0s".to_owned(),
        start,
    ];
    if details {
        let info = &asked.info;
        let version = match info.group.as_str() {
            "" => info.version.clone(),
            group => format!("{group}/{}", info.version),
        };
        row.extend([
            asked.user.username.clone(),
            info.verb.to_string(),
            info.path.clone(),
            info.namespace.clone(),
            info.name.clone(),
            version,
            info.resource.clone(),
            info.subresource.clone(),
        ]);
    }
    row
}

fn seat_seconds(seats: u64) -> String {
    const SCALE: u64 = 100_000_000;
    let work = seats.saturating_mul(WORK_PER_SEAT);
    format!("{}.{:08}ss", work / SCALE, work % SCALE)
}

/// Cells but a row's last end in a comma and are as wide as their column's widest and a space.
fn table(columns: &[&str], rows: impl IntoIterator<Item = Row>) -> String {
    let head = columns.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Row> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let widest = rows.iter().map(|row| row[column].chars().count()).max();
        (widest.unwrap_or(0) + ", ".len()).max(CELL_MIN)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut out = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths).take(row.len() - 1) {
            out.push_str(cell);
            out.push(',');
            let written = cell.chars().count() + 1;
            out.extend(std::iter::repeat_n(' ', width - written));
        }
        out.extend(row.last().map(String::as_str));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::flowcontrol::executing::example;
    use crate::query::Query;
    use crate::request_info::RequestInfo;
    use jiff::Timestamp;

    fn levels() -> Vec<LevelDump> {
        let mut listing = Arc::into_inner(example(10)).unwrap();
        let path = "/apis/apps/v1/namespaces/default/deployments/d/status";
        listing.info = RequestInfo::parse(&http::Method::GET, path, &Query::default()).unwrap();
        let mut page = Arc::into_inner(example(1)).unwrap();
        (page.schema, page.distinguisher) = ("exempt".to_owned(), String::new());
        let started = |queue, asked: Asked| Started {
            queue,
            at: Timestamp::constant(1_689_639_172, 0),
            asked: Arc::new(asked),
        };
        let busy = QueueDump {
            next_start: 1_000,
            waiting: vec![example(1), example(2)],
            executing: vec![started(Some(1), listing)],
        };
        let level = |name: &str, totals, queues, queueless| LevelDump {
            name: name.to_owned(),
            quiescing: false,
            totals,
            queues,
            queueless,
        };
        let totals = Totals {
            waiting: 2,
            executing: 1,
            dispatched: 1_234_567_890_123_456_789,
            rejected: 3,
            cancelled: 1,
        };
        vec![
            level("exempt", Totals::default(), Vec::new(), vec![started(None, page)]),
            level(
                "workload-low",
                totals,
                vec![QueueDump::default(), busy],
                Vec::new(),
            ),
        ]
    }

    #[test]
    fn pages_are_as_upstream_writes_them() {
        let levels = levels();
        assert_eq!(
            priority_levels(&levels),
            "PriorityLevelName, ActiveQueues, IsIdle, IsQuiescing, WaitingRequests, ExecutingRequests, \
             DispatchedRequests,  RejectedRequests, TimedoutRequests, CancelledRequests\n\
             exempt,            0,            true,   false,       0,               0,                 \
             0,                   0,                0,                0\n\
             workload-low,      1,            false,  false,       2,               1,                 \
             1234567890123456789, 3,                0,                1\n"
        );
        assert_eq!(
            queues(&levels),
            "PriorityLevelName, Index,  PendingRequests, ExecutingRequests, SeatsInUse, NextDispatchR, \
             InitialSeatsSum, MaxSeatsSum, TotalWorkSum\n\
             workload-low,      0,      0,               0,                 0,          0.00000000ss,  \
             0,               0,           0.00000000ss\n\
             workload-low,      1,      2,               1,                 10,         3.00000000ss,  \
             3,               3,           0.00900000ss\n"
        );
    }

    #[test]
    fn requests_that_wait_come_before_those_that_execute() {
        let rows = requests(&levels(), false);
        let lines: Vec<&str> = rows.lines().collect();
        assert_eq!(
            lines[..3],
            [
                "PriorityLevelName, FlowSchemaName,   QueueIndex, RequestIndexInQueue, \
                 FlowDistingsher,                        ArriveTime,                 InitialSeats, FinalSeats, \
                 AdditionalLatency, StartTime",
                "exempt,            exempt,           -1,         -1,                  \
                 ,                                       2023-07-18T00:12:51.38655Z, 1,            0,          \
                 0s,                2023-07-18T00:12:52Z",
                "workload-low,      service-accounts, 1,          0,                   \
                 system:serviceaccount:default:loadtest, 2023-07-18T00:12:51.38655Z, 1,            0,          \
                 0s,                0001-01-01T00:00:00Z",
            ]
        );
        assert!(lines[3].starts_with("workload-low,      service-accounts, 1,          1,  "));
        assert!(lines[4].starts_with("workload-low,      service-accounts, 1,          -1, "));
    }

    #[test]
    fn details_are_more_columns() {
        let rows = requests(&levels(), true);
        let cells = |line: usize| -> Vec<&str> {
            let line = rows.lines().nth(line).unwrap();
            line.split(',').map(str::trim_start).skip(9).collect()
        };
        assert_eq!(cells(0)[0], "StartTime");
        assert_eq!(cells(0)[1..], DETAIL_COLUMNS);
        let wanted = "2023-07-18T00:12:52Z system:serviceaccount:default:loadtest get \
                      /apis/apps/v1/namespaces/default/deployments/d/status default d apps/v1 deployments status";
        assert_eq!(cells(4).join(" "), wanted);
        assert_eq!(cells(1)[2..], [""; 7]);
    }
}
