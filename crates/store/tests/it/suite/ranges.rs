use super::*;

pub async fn bounds_and_limits(h: &impl Harness) {
    let store = h.store();
    for key in ["/r/a/1", "/r/a/2", "/r/b/1", "/r/b", "/s/1"] {
        put(store, key, "x").await;
    }
    assert_eq!(
        dump(store, "/r/", 0).await,
        ["/r/a/1=x", "/r/a/2=x", "/r/b=x", "/r/b/1=x"]
    );
    assert_eq!(dump(store, "/r/b/", 0).await, ["/r/b/1=x"]);
    assert_eq!(dump(store, "/t", 0).await, Vec::<String>::new());
    let mut range = Range::prefix("/r/");
    let mut pages = Vec::new();
    loop {
        let page = store
            .range(RangeRequest::new(range.clone()).limit(2))
            .await
            .unwrap();
        pages.push(page.kvs.len());
        let Some(last) = page.kvs.last().filter(|_| page.more) else {
            break;
        };
        range.start = Range::key(&last.key).end;
    }
    assert_eq!(pages, [2, 2]);
}

/// Keys that begin with other keys, and bytes at the ends of their range.
pub async fn keys_within_keys(h: &impl Harness) {
    let store = h.store();
    for key in ["a", "a/", "a/b", "a\u{1}", "aa", "b\u{7f}", "b"] {
        put(store, key, key).await;
        put(store, key, key).await;
    }
    for key in ["a", "a/", "a/b", "a\u{1}", "aa", "b\u{7f}", "b"] {
        assert_eq!(get(store, key).await.unwrap().value, key.as_bytes());
    }
    let all = store.range(RangeRequest::new(Range::prefix(""))).await.unwrap();
    assert_eq!(all.kvs.len(), 7);
    assert!(all.kvs.is_sorted_by(|a, b| a.key < b.key));
    let behind_a = Range {
        start: Range::key("a").end,
        end: "a/c".into(),
    };
    let some = store.range(RangeRequest::new(behind_a)).await.unwrap();
    let keys: Vec<_> = some
        .kvs
        .iter()
        .map(|kv| String::from_utf8_lossy(&kv.key).into_owned())
        .collect();
    assert_eq!(keys, ["a\u{1}", "a/", "a/b"]);
}

pub async fn older_revisions_can_be_read(h: &impl Harness) {
    let store = h.store();
    let first = put(store, "a", "1").await;
    put(store, "b", "1").await;
    let third = put(store, "a", "2").await;
    let fourth = delete(store, "b").await;
    let fifth = put(store, "b", "2").await;
    assert_eq!(dump(store, "", first).await, ["a=1"]);
    assert_eq!(dump(store, "", third).await, ["a=2", "b=1"]);
    assert_eq!(dump(store, "", fourth).await, ["a=2"]);
    assert_eq!(dump(store, "", fifth).await, ["a=2", "b=2"]);
    let page = store
        .range(RangeRequest::new(Range::prefix("")).at(third).limit(1))
        .await
        .unwrap();
    assert_eq!((page.kvs.len(), page.more, page.revision), (1, true, third));
    let page = store
        .range(RangeRequest::new(Range::prefix("")).at(fourth).limit(1))
        .await
        .unwrap();
    assert_eq!((page.kvs.len(), page.more), (1, false));
}
