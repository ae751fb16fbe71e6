use corten_store::{Error, TXN_OPS_MAX};
use futures::future::join_all;

use super::*;

pub async fn revisions_and_versions_count(h: &impl Harness) {
    let store = h.store();
    let start = store.current_revision().await.unwrap();
    assert!(start >= 1, "0 means any revision to clients");
    assert_eq!(put(store, "a", "1").await, start + 1);
    assert_eq!(put(store, "a", "2").await, start + 2);
    let kv = get(store, "a").await.unwrap();
    assert_eq!(
        (kv.create_revision, kv.mod_revision, kv.version),
        (start + 1, start + 2, 2)
    );
    assert_eq!(delete(store, "a").await, start + 3);
    assert_eq!(get(store, "a").await, None);
    // Deleting what is not there writes nothing.
    assert_eq!(delete(store, "a").await, start + 3);
    put(store, "a", "3").await;
    let kv = get(store, "a").await.unwrap();
    assert_eq!((kv.create_revision, kv.version), (start + 4, 1));
    assert_eq!(store.current_revision().await.unwrap(), start + 4);
}

pub async fn guards_hold_or_nothing_is_written(h: &impl Harness) {
    let store = h.store();
    let revision = put(store, "a", "1").await;
    let attempt = async |compare: Compare| {
        let success = vec![Op::put("b", "yes"), Op::delete("b2")];
        let failure = vec![Op::get("a")];
        store
            .txn(Txn {
                compares: vec![compare],
                success,
                failure,
            })
            .await
            .unwrap()
    };
    for failing in [
        Compare::ModRevision("a".into(), revision + 1),
        Compare::ModRevision("a".into(), 0),
        Compare::ModRevision("none".into(), 1),
        Compare::Version("a".into(), 2),
        Compare::Exists("a".into(), false),
        Compare::Exists("none".into(), true),
    ] {
        let response = attempt(failing).await;
        assert!(!response.succeeded);
        assert_eq!(response.revision, revision);
        let [OpResult::Got(Some(kv))] = response.results.as_slice() else {
            panic!("{response:?}")
        };
        assert_eq!(text(kv), "a=1");
    }
    assert_eq!(get(store, "b").await, None);
    for holding in [
        Compare::ModRevision("a".into(), revision),
        Compare::ModRevision("none".into(), 0),
        Compare::Version("a".into(), 1),
        Compare::Exists("none".into(), false),
    ] {
        let response = attempt(holding).await;
        assert!(response.succeeded);
        assert_eq!(response.results, [OpResult::Put, OpResult::Deleted(false)]);
    }
}

pub async fn a_transaction_is_one_revision(h: &impl Harness) {
    let store = h.store();
    let before = put(store, "c", "old").await;
    let response = write(
        store,
        vec![
            Op::put("a", "1"),
            Op::get("c"),
            Op::put("b", "2"),
            Op::delete("c"),
        ],
    )
    .await;
    assert_eq!(response.revision, before + 1);
    let OpResult::Got(Some(got)) = &response.results[1] else {
        panic!("{response:?}")
    };
    assert_eq!(text(got), "c=old");
    assert_eq!(dump(store, "", 0).await, ["a=1", "b=2"]);
    for key in ["a", "b"] {
        assert_eq!(get(store, key).await.unwrap().mod_revision, before + 1);
    }
    let mut stream = watch(store, "", before + 1, false).await;
    let revision = before + 1;
    let want = [
        format!("{revision} PUT a=1"),
        format!("{revision} PUT b=2"),
        format!("{revision} DELETE c"),
    ];
    assert_eq!(events(&mut stream, 3).await, want);
}

pub async fn bad_requests_are_refused(h: &impl Harness) {
    let store = h.store();
    let before = store.current_revision().await.unwrap();
    let refused = async |ops: Vec<Op>| {
        let outcome = store
            .txn(Txn {
                success: ops,
                ..Txn::default()
            })
            .await;
        assert!(matches!(outcome, Err(Error::Invalid(_))), "{outcome:?}");
    };
    refused(vec![Op::put("a", "1"), Op::put("a", "2")]).await;
    refused(vec![Op::put("a", "1"), Op::delete("a")]).await;
    refused(vec![Op::put("", "1")]).await;
    refused(
        (0..=TXN_OPS_MAX)
            .map(|at| Op::put(format!("k{at}"), "1"))
            .collect(),
    )
    .await;
    refused(vec![Op::put("a", vec![0; corten_store::VALUE_BYTES_MAX + 1])]).await;
    assert_eq!(store.current_revision().await.unwrap(), before);
}

/// Many writers of one key: each guarded write that succeeds builds on the one before.
pub async fn guarded_increments_are_not_lost(h: &impl Harness) {
    const WRITERS: u64 = 16;
    const EACH: u64 = 8;
    let store = h.store();
    put(store, "n", "0").await;
    let writers = (0..WRITERS).map(|_| async {
        for _ in 0..EACH {
            while !increment(store).await {}
        }
    });
    join_all(writers).await;
    let kv = get(store, "n").await.unwrap();
    assert_eq!(
        (text(&kv), kv.version),
        (format!("n={}", WRITERS * EACH), WRITERS * EACH + 1)
    );
}

async fn increment(store: &dyn Store) -> bool {
    let kv = get(store, "n").await.unwrap();
    let count: u64 = std::str::from_utf8(&kv.value).unwrap().parse().unwrap();
    let compares = vec![Compare::ModRevision("n".into(), kv.mod_revision)];
    let success = vec![Op::put("n", (count + 1).to_string())];
    store
        .txn(Txn {
            compares,
            success,
            failure: Vec::new(),
        })
        .await
        .unwrap()
        .succeeded
}
