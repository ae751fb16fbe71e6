use corten_store::Error;

use super::*;

pub async fn from_the_past_into_the_present(h: &impl Harness) {
    let store = h.store();
    put(store, "a", "0").await;
    let first = put(store, "a", "1").await;
    delete(store, "a").await;
    let mut stream = watch(store, "", first, false).await;
    let mut live = watch(store, "", 0, false).await;
    put(store, "b", "2").await;
    let want = [
        format!("{first} PUT a=1"),
        format!("{} DELETE a", first + 1),
        format!("{} PUT b=2", first + 2),
    ];
    assert_eq!(events(&mut stream, 3).await, want);
    assert_eq!(events(&mut live, 1).await, want[2..]);
}

pub async fn only_what_is_asked_for(h: &impl Harness) {
    let store = h.store();
    let mut stream = watch(store, "/a/", 0, false).await;
    put(store, "/b/1", "x").await;
    let revision = put(store, "/a/1", "x").await;
    put(store, "/b/2", "x").await;
    assert_eq!(events(&mut stream, 1).await, [format!("{revision} PUT /a/1=x")]);
    // The stream says how far it has come, even where nothing was for it.
    let last = put(store, "/b/3", "x").await;
    loop {
        let batch = tokio::time::timeout(PATIENCE, stream.next())
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(batch.events.is_empty());
        if batch.revision >= last {
            break;
        }
    }
}

pub async fn previous_states_on_demand(h: &impl Harness) {
    let store = h.store();
    let first = put(store, "a", "1").await;
    put(store, "a", "2").await;
    delete(store, "a").await;
    let mut stream = watch(store, "", first, true).await;
    let want = [
        format!("{first} PUT a=1"),
        format!("{} PUT a=2 before a=1", first + 1),
        format!("{} DELETE a before a=2", first + 2),
    ];
    assert_eq!(events(&mut stream, 3).await, want);
}

/// More than any memory of recent events holds: nothing is left out, nothing comes twice.
pub async fn far_behind_reads_the_log(h: &impl Harness) {
    const KEYS: usize = 100;
    const ROUNDS: usize = 60;
    let store = h.store();
    let start = store.current_revision().await.unwrap() + 1;
    for round in 0..ROUNDS {
        let puts = (0..KEYS)
            .map(|key| Op::put(format!("k{key:03}"), round.to_string()))
            .collect();
        write(store, puts).await;
    }
    let mut stream = watch(store, "k", start, false).await;
    let found = events(&mut stream, KEYS * ROUNDS).await;
    let want = (0..ROUNDS).flat_map(|round| {
        (0..KEYS).map(move |key| format!("{} PUT k{key:03}={round}", start + round as u64))
    });
    assert!(found.iter().cloned().eq(want));
    let last = put(store, "kx", "live").await;
    assert_eq!(events(&mut stream, 1).await, [format!("{last} PUT kx=live")]);
}

pub async fn compacted_starts_are_refused(h: &impl Harness) {
    let store = h.store();
    let first = put(store, "a", "1").await;
    let second = put(store, "a", "2").await;
    store.compact(second).await.unwrap();
    let request = WatchRequest {
        range: Range::prefix(""),
        start_revision: first,
        prev: false,
    };
    let refused = match store.watch(request).await {
        Ok(mut stream) => stream.next().await.unwrap().err(),
        Err(error) => Some(error),
    };
    assert!(
        matches!(refused, Some(Error::Compacted { compacted }) if compacted == second),
        "{refused:?}"
    );
    let mut stream = watch(store, "", second + 1, false).await;
    let third = put(store, "a", "3").await;
    assert_eq!(events(&mut stream, 1).await, [format!("{third} PUT a=3")]);
}
