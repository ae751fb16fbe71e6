use corten_store::Error;

use super::*;

const TTL: Duration = Duration::from_secs(60);

async fn put_leased(store: &dyn Store, key: &'static str, lease: i64) -> u64 {
    let op = Op::Put {
        key: key.into(),
        value: "x".into(),
        lease,
        tag: None,
    };
    write(store, vec![op]).await.revision
}

pub async fn end_takes_the_keys(h: &impl Harness) {
    let store = h.store();
    let lease = store.lease_grant(TTL).await.unwrap();
    assert_eq!(lease.ttl, TTL);
    put_leased(store, "a", lease.id).await;
    let last = put_leased(store, "b", lease.id).await;
    put(store, "c", "stays").await;
    assert_eq!(get(store, "a").await.unwrap().lease, lease.id);
    let mut stream = watch(store, "", last + 2, false).await;
    h.advance(TTL - Duration::from_secs(1));
    assert_eq!(dump(store, "", 0).await.len(), 3);
    h.advance(Duration::from_secs(1));
    let mut gone = events(&mut stream, 2).await;
    gone.sort_by_key(|event| event.split(' ').next_back().map(str::to_owned));
    let keys: Vec<&str> = gone
        .iter()
        .filter_map(|event| event.split_once(' '))
        .map(|(_, what)| what)
        .collect();
    assert_eq!(keys, ["DELETE a", "DELETE b"]);
    assert_eq!(dump(store, "", 0).await, ["c=stays"]);
    let late = Op::Put {
        key: "d".into(),
        value: "x".into(),
        lease: i64::MAX,
        tag: None,
    };
    let refused = store
        .txn(Txn {
            success: vec![late],
            ..Txn::default()
        })
        .await;
    assert!(
        matches!(refused, Err(Error::LeaseNotFound(i64::MAX))),
        "{refused:?}"
    );
}

pub async fn keepalive_begins_anew(h: &impl Harness) {
    let store = h.store();
    let lease = store.lease_grant(TTL).await.unwrap();
    let other = store.lease_grant(TTL).await.unwrap();
    assert_ne!(lease.id, other.id);
    put_leased(store, "kept", lease.id).await;
    let last = put_leased(store, "other", other.id).await;
    h.advance(TTL / 2);
    assert_eq!(store.lease_keepalive(lease.id).await.unwrap(), lease);
    let mut stream = watch(store, "", last + 1, false).await;
    h.advance(TTL / 2);
    assert_eq!(
        events(&mut stream, 1).await,
        [format!("{} DELETE other", last + 1)]
    );
    assert!(get(store, "kept").await.is_some());
    h.advance(TTL / 2);
    assert_eq!(
        events(&mut stream, 1).await,
        [format!("{} DELETE kept", last + 2)]
    );
    assert_ended(store, lease.id).await;
}

async fn assert_ended(store: &dyn Store, id: i64) {
    let kept = store.lease_keepalive(id).await;
    assert!(
        matches!(kept, Err(Error::LeaseNotFound(of)) if of == id),
        "{kept:?}"
    );
}

/// From the moment a lease ends nobody can keep it, even where its keys are still there.
pub async fn an_ended_lease_is_not_kept(h: &impl Harness) {
    let store = h.store();
    let lease = store.lease_grant(TTL).await.unwrap();
    let last = put_leased(store, "a", lease.id).await;
    let mut stream = watch(store, "", last + 1, false).await;
    h.advance(TTL);
    assert_ended(store, lease.id).await;
    assert_eq!(events(&mut stream, 1).await, [format!("{} DELETE a", last + 1)]);
    assert_ended(store, lease.id).await;
}

pub async fn revoke_takes_the_keys_now(h: &impl Harness) {
    let store = h.store();
    let lease = store.lease_grant(TTL).await.unwrap();
    put_leased(store, "a", lease.id).await;
    store.lease_revoke(lease.id).await.unwrap();
    assert_eq!(get(store, "a").await, None);
    assert!(matches!(
        store.lease_revoke(lease.id).await,
        Err(Error::LeaseNotFound(_))
    ));
}

pub async fn a_put_without_the_lease_detaches(h: &impl Harness) {
    let store = h.store();
    let lease = store.lease_grant(TTL).await.unwrap();
    put_leased(store, "a", lease.id).await;
    put(store, "a", "mine now").await;
    store.lease_revoke(lease.id).await.unwrap();
    assert_eq!(dump(store, "", 0).await, ["a=mine now"]);
}
