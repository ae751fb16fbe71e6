//! The embedded engine: the suite, and what holds across a restart.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use corten_stdx::ManualClock;
use corten_store::embedded::{Engine, Options};
use corten_store::{Error, Op, Range, RangeRequest, Store, Txn};

use crate::suite::Harness;

pub struct Embedded {
    engine: Engine,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
}

impl Harness for Embedded {
    fn store(&self) -> &dyn Store {
        &self.engine
    }

    fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

fn options(clock: &Arc<ManualClock>) -> Options {
    Options {
        clock: clock.clone(),
        compact_interval: None,
        free_bytes_min: 0,
    }
}

async fn open() -> Embedded {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let engine = Engine::open(dir.path(), options(&clock)).await.unwrap();
    Embedded { engine, clock, dir }
}

impl Embedded {
    async fn reopen(self) -> Self {
        let Self { engine, clock, dir } = self;
        drop(engine);
        let engine = Engine::open(dir.path(), options(&clock)).await.unwrap();
        Self { engine, clock, dir }
    }
}

crate::suite::suite!(open);

fn put(key: &str, value: &str, lease: i64) -> Txn {
    let op = Op::Put {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        lease,
        tag: None,
    };
    Txn {
        success: vec![op],
        ..Txn::default()
    }
}

async fn keys(engine: &Engine) -> Vec<String> {
    let answer = engine.range(RangeRequest::new(Range::prefix(""))).await.unwrap();
    answer
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect()
}

#[tokio::test]
async fn a_restart_keeps_states_revisions_and_leases() {
    let e = open().await;
    let lease = e.engine.lease_grant(Duration::from_secs(60)).await.unwrap();
    e.engine.txn(put("leased", "x", lease.id)).await.unwrap();
    let revision = e.engine.txn(put("a", "x", 0)).await.unwrap().revision;
    let e = e.reopen().await;
    assert_eq!(e.engine.current_revision().await.unwrap(), revision);
    assert_eq!(keys(&e.engine).await, ["a", "leased"]);
    e.engine.compact(revision).await.unwrap();
    let e = e.reopen().await;
    assert_eq!(e.engine.current_revision().await.unwrap(), revision);
    assert_eq!(e.engine.compacted_revision().await.unwrap(), revision);
    e.advance(Duration::from_secs(61));
    while keys(&e.engine).await.len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(keys(&e.engine).await, ["a"]);
}

#[tokio::test]
async fn a_directory_has_one_owner() {
    let e = open().await;
    let second = Engine::open(e.dir.path(), Options::default()).await;
    let error = second.err().unwrap();
    assert!(matches!(&error, Error::Locked { .. }), "{error}");
    assert!(
        error.to_string().contains("is in use by another process"),
        "{error}"
    );
}

#[tokio::test]
async fn a_place_that_cannot_hold_data_is_an_error() {
    let error = Engine::open(Path::new("/proc/no/such"), Options::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, Error::Io(_)), "{error}");
}

#[tokio::test]
async fn old_states_are_compacted_at_their_time() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let interval = Duration::from_secs(300);
    let engine = Engine::open(
        dir.path(),
        Options {
            compact_interval: Some(interval),
            ..options(&clock)
        },
    )
    .await
    .unwrap();
    let first = engine.txn(put("a", "1", 0)).await.unwrap().revision;
    let mut passed = Duration::ZERO;
    while engine.compacted_revision().await.unwrap() < first {
        assert!(
            engine
                .range(RangeRequest::new(Range::key("a")).at(first))
                .await
                .is_ok()
        );
        clock.advance(interval / 10);
        passed += interval / 10;
        tokio::task::yield_now().await;
    }
    assert!(passed >= interval, "forgotten after {passed:?}");
    assert_eq!(keys(&engine).await, ["a"]);
}
