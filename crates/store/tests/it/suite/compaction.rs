use corten_store::Error;

use super::*;

pub async fn forgets_the_past_and_keeps_the_present(h: &impl Harness) {
    let store = h.store();
    let first = put(store, "a", "1").await;
    put(store, "gone", "1").await;
    put(store, "a", "2").await;
    delete(store, "gone").await;
    let here = put(store, "b", "1").await;
    let later = put(store, "a", "3").await;
    store.compact(here).await.unwrap();
    assert_eq!(store.compacted_revision().await.unwrap(), here);
    let old = store.range(RangeRequest::new(Range::prefix("")).at(first)).await;
    assert!(
        matches!(old, Err(Error::Compacted { compacted }) if compacted == here),
        "{old:?}"
    );
    assert_eq!(dump(store, "", here).await, ["a=2", "b=1"]);
    assert_eq!(dump(store, "", later).await, ["a=3", "b=1"]);
    let kv = get(store, "a").await.unwrap();
    assert_eq!((kv.create_revision, kv.version), (first, 3));
    // Nothing of a deleted key is left to begin from.
    let again = put(store, "gone", "2").await;
    let kv = get(store, "gone").await.unwrap();
    assert_eq!((kv.create_revision, kv.version), (again, 1));
}

pub async fn future_and_past_are_refused(h: &impl Harness) {
    let store = h.store();
    let first = put(store, "a", "1").await;
    let second = put(store, "a", "2").await;
    let future = store
        .range(RangeRequest::new(Range::key("a")).at(second + 1))
        .await;
    assert!(
        matches!(future, Err(Error::FutureRevision { current }) if current == second),
        "{future:?}"
    );
    assert!(matches!(
        store.compact(second + 1).await,
        Err(Error::FutureRevision { .. })
    ));
    store.compact(second).await.unwrap();
    assert!(matches!(store.compact(first).await, Err(Error::Compacted { .. })));
    assert!(matches!(
        store.compact(second).await,
        Err(Error::Compacted { .. })
    ));
}
