//! What every engine promises, told by an engine-independent harness.

pub mod compaction;
pub mod leases;
pub mod ranges;
pub mod transactions;
pub mod watches;

use std::time::Duration;

use bytes::Bytes;
use corten_store::{
    Compare, Event, EventKind, KeyValue, Op, OpResult, Range, RangeRequest, Store, Txn, TxnResponse,
    WatchRequest, WatchStream,
};
use futures::StreamExt;

/// An engine under test, empty, and its clock.
pub trait Harness {
    fn store(&self) -> &dyn Store;

    /// Lets time pass for the engine's leases.
    fn advance(&self, by: Duration);
}

/// An event that does not come is a failure, not a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs every case, each on an engine of its own.
macro_rules! cases {
    ($open:path; $($module:ident :: $case:ident),* $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::suite::$module::$case(&$open().await).await;
            }
        )*
    };
}

/// The whole suite for the engine that `open` makes.
macro_rules! suite {
    ($open:path) => {
        crate::suite::cases! {
            $open;
            transactions::revisions_and_versions_count,
            transactions::guards_hold_or_nothing_is_written,
            transactions::a_transaction_is_one_revision,
            transactions::bad_requests_are_refused,
            transactions::guarded_increments_are_not_lost,
            ranges::bounds_and_limits,
            ranges::keys_within_keys,
            ranges::older_revisions_can_be_read,
            compaction::forgets_the_past_and_keeps_the_present,
            compaction::future_and_past_are_refused,
            watches::from_the_past_into_the_present,
            watches::only_what_is_asked_for,
            watches::previous_states_on_demand,
            watches::far_behind_reads_the_log,
            watches::compacted_starts_are_refused,
            leases::end_takes_the_keys,
            leases::keepalive_begins_anew,
            leases::an_ended_lease_is_not_kept,
            leases::revoke_takes_the_keys_now,
            leases::a_put_without_the_lease_detaches,
        }
    };
}

pub(crate) use {cases, suite};

async fn put(store: &dyn Store, key: &'static str, value: &str) -> u64 {
    let put = Op::put(key, Bytes::copy_from_slice(value.as_bytes()));
    write(store, vec![put]).await.revision
}

async fn delete(store: &dyn Store, key: &'static str) -> u64 {
    write(store, vec![Op::delete(key)]).await.revision
}

async fn write(store: &dyn Store, ops: Vec<Op>) -> TxnResponse {
    store
        .txn(Txn {
            success: ops,
            ..Txn::default()
        })
        .await
        .unwrap()
}

async fn get(store: &dyn Store, key: &str) -> Option<KeyValue> {
    store
        .range(RangeRequest::new(Range::key(key)))
        .await
        .unwrap()
        .kvs
        .pop()
}

/// `key=value` of everything under a prefix, at a revision.
async fn dump(store: &dyn Store, prefix: &str, revision: u64) -> Vec<String> {
    let answer = store
        .range(RangeRequest::new(Range::prefix(prefix)).at(revision))
        .await
        .unwrap();
    answer.kvs.iter().map(text).collect()
}

fn text(kv: &KeyValue) -> String {
    format!(
        "{}={}",
        String::from_utf8_lossy(&kv.key),
        String::from_utf8_lossy(&kv.value)
    )
}

async fn watch(store: &dyn Store, prefix: &str, start_revision: u64, prev: bool) -> WatchStream {
    store
        .watch(WatchRequest {
            range: Range::prefix(prefix),
            start_revision,
            prev,
        })
        .await
        .unwrap()
}

/// The next `count` events as `revision PUT key=value` or `revision DELETE key`, with ` before key=value` if known.
async fn events(stream: &mut WatchStream, count: usize) -> Vec<String> {
    let mut found = Vec::new();
    while found.len() < count {
        let batch = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(
            batch
                .events
                .iter()
                .all(|event| event.kv.mod_revision <= batch.revision)
        );
        found.extend(batch.events.iter().map(event_text));
    }
    found
}

fn event_text(event: &Event) -> String {
    let kv = &event.kv;
    let what = match event.kind {
        EventKind::Put => format!("PUT {}", text(kv)),
        EventKind::Delete => format!("DELETE {}", String::from_utf8_lossy(&kv.key)),
    };
    let before = event
        .prev
        .as_ref()
        .map(|prev| format!(" before {}", text(prev)))
        .unwrap_or_default();
    format!("{} {what}{before}", kv.mod_revision)
}
