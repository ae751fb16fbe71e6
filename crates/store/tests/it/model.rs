//! Random histories: the engine must agree with a model that forgets nothing.

use std::collections::BTreeMap;

use corten_store::embedded::{Engine, Options};
use corten_store::{Compare, Error, EventKind, Op, Range, RangeRequest, Store, Txn, WatchRequest};
use futures::StreamExt;
use proptest::prelude::*;

const KEYS: [&str; 5] = ["/a", "/a/b", "/a/c", "/b", "/b/a"];

#[derive(Clone, Debug)]
enum Step {
    /// Written in one go: each of these is a transaction, and they may share a commit.
    Writes(Vec<Write>),
    Compact(prop::sample::Index),
    Reopen,
}

#[derive(Clone, Debug)]
struct Write {
    key: usize,
    /// None deletes.
    value: Option<u8>,
    /// Guarded by the key's true mod revision, or by a wrong one.
    guard: Option<bool>,
}

fn write() -> impl Strategy<Value = Write> {
    (
        0..KEYS.len(),
        prop::option::of(any::<u8>()),
        prop::option::of(any::<bool>()),
    )
        .prop_map(|(key, value, guard)| Write { key, value, guard })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => prop::collection::vec(write(), 1..6).prop_map(Step::Writes),
        1 => any::<prop::sample::Index>().prop_map(Step::Compact),
        1 => Just(Step::Reopen),
    ]
}

type State = BTreeMap<String, (u8, u64)>;

/// Every state there ever was, by revision; and every change.
struct Model {
    states: BTreeMap<u64, State>,
    changes: Vec<(u64, String, Option<u8>)>,
    compacted: u64,
}

impl Model {
    fn newest(&self) -> (u64, &State) {
        let (revision, state) = self.states.last_key_value().unwrap();
        (*revision, state)
    }

    fn write(&mut self, write: &Write) -> (Txn, bool) {
        let key = KEYS[write.key];
        let (revision, state) = self.newest();
        let stored = state.get(key).map_or(0, |(_, revision)| *revision);
        let compares = write
            .guard
            .map(|right| Compare::ModRevision(key.into(), if right { stored } else { stored + 1 }));
        let op = write
            .value
            .map_or_else(|| Op::delete(key), |value| Op::put(key, vec![value]));
        let txn = Txn {
            compares: compares.into_iter().collect(),
            success: vec![op],
            failure: Vec::new(),
        };
        let succeeds = write.guard != Some(false);
        if succeeds && (write.value.is_some() || stored != 0) {
            let mut next = state.clone();
            match write.value {
                Some(value) => drop(next.insert(key.to_owned(), (value, revision + 1))),
                None => drop(next.remove(key)),
            }
            self.states.insert(revision + 1, next);
            self.changes.push((revision + 1, key.to_owned(), write.value));
        }
        (txn, succeeds)
    }
}

async fn open(dir: &std::path::Path) -> Engine {
    let options = Options {
        compact_interval: None,
        free_bytes_min: 0,
        ..Options::default()
    };
    Engine::open(dir, options).await.unwrap()
}

async fn check(engine: &Engine, model: &Model) {
    assert_eq!(engine.current_revision().await.unwrap(), model.newest().0);
    for (revision, want) in &model.states {
        let answer = engine
            .range(RangeRequest::new(Range::prefix("")).at(*revision))
            .await;
        if *revision < model.compacted {
            assert!(matches!(answer, Err(Error::Compacted { .. })));
            continue;
        }
        let found: State = answer
            .unwrap()
            .kvs
            .iter()
            .map(|kv| {
                (
                    String::from_utf8_lossy(&kv.key).into_owned(),
                    (kv.value[0], kv.mod_revision),
                )
            })
            .collect();
        assert_eq!(&found, want, "at {revision}");
    }
    check_watch(engine, model).await;
}

async fn check_watch(engine: &Engine, model: &Model) {
    let start = model.compacted + 1;
    let want: Vec<_> = model
        .changes
        .iter()
        .filter(|(revision, ..)| *revision >= start)
        .cloned()
        .collect();
    let request = WatchRequest {
        range: Range::prefix(""),
        start_revision: start,
        prev: false,
    };
    let mut stream = engine.watch(request).await.unwrap();
    let mut found = Vec::new();
    while found.len() < want.len() {
        for event in stream.next().await.unwrap().unwrap().events {
            let value = (event.kind == EventKind::Put).then(|| event.kv.value[0]);
            found.push((
                event.kv.mod_revision,
                String::from_utf8_lossy(&event.kv.key).into_owned(),
                value,
            ));
        }
    }
    assert_eq!(found, want);
}

async fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let mut engine = open(dir.path()).await;
    let start = engine.current_revision().await.unwrap();
    let mut model = Model {
        states: BTreeMap::from([(start, State::new())]),
        changes: Vec::new(),
        compacted: 0,
    };
    for step in steps {
        match step {
            Step::Writes(writes) => {
                let (txns, outcomes): (Vec<_>, Vec<_>) =
                    writes.iter().map(|write| model.write(write)).unzip();
                // Sent in this order, answered together.
                let responses = futures::future::join_all(txns.into_iter().map(|txn| engine.txn(txn))).await;
                let succeeded: Vec<bool> = responses.into_iter().map(|r| r.unwrap().succeeded).collect();
                assert_eq!(succeeded, outcomes);
            }
            Step::Compact(at) => {
                let revisions: Vec<u64> = model.states.keys().copied().collect();
                let revision = *at.get(&revisions);
                let outcome = engine.compact(revision).await;
                assert_eq!(outcome.is_ok(), revision > model.compacted, "{outcome:?}");
                model.compacted = model.compacted.max(revision);
            }
            Step::Reopen => {
                drop(engine);
                engine = open(dir.path()).await;
            }
        }
    }
    check(&engine, &model).await;
    drop(engine);
    check(&open(dir.path()).await, &model).await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn histories_agree_with_the_model(steps in prop::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
