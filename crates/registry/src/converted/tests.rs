//! Who asks the webhook for what, and what is kept of its answers.
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use corten_meta::object;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::*;

/// A webhook that notes what it is sent.
struct Webhook {
    /// Names of the objects of each review.
    reviews: Mutex<Vec<Vec<String>>>,
    fails: AtomicBool,
    /// A review is answered with each.
    turns: Semaphore,
}

impl Webhook {
    fn new(turns: usize) -> Arc<Self> {
        Arc::new(Self {
            reviews: Mutex::default(),
            fails: AtomicBool::new(false),
            turns: Semaphore::new(turns),
        })
    }

    /// How many objects each review held.
    fn sizes(&self) -> Vec<usize> {
        self.reviews.lock().iter().map(Vec::len).collect()
    }

    /// Waits until it has been asked so often.
    async fn asked(&self, reviews: usize) {
        while self.reviews.lock().len() < reviews {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Versions for Webhook {
    fn head(&self) -> &[u8] {
        br#"{"kind":"Widget","apiVersion":"example.com/v2","#
    }

    fn read(&self, _: &Value) -> Option<Value> {
        None
    }

    fn asks(&self) -> bool {
        true
    }

    fn to_served_at_once(&self, _: Value) -> Result<Value> {
        Err(Status::internal("asks"))
    }

    async fn to_served(&self, mut objects: Vec<Value>) -> Result<Vec<Value>> {
        let names = objects.iter().map(|o| object::name(o).to_owned()).collect();
        self.reviews.lock().push(names);
        self.turns.acquire().await.unwrap().forget();
        if self.fails.load(Ordering::Relaxed) {
            return Err(Status::internal("no way"));
        }
        let objects_mut = objects.iter_mut();
        objects_mut.for_each(|object| object["apiVersion"] = json!("example.com/v2"));
        Ok(objects)
    }

    async fn to_stored(&self, object: Value) -> Result<Value> {
        Ok(object)
    }

    fn all(&self, _: &str) -> Vec<String> {
        Vec::new()
    }

    async fn to_version(&self, object: Value, _: &str) -> Result<Value> {
        Ok(object)
    }

    fn overlay(&self, object: &Value, _: &Value) -> std::result::Result<Value, String> {
        Ok(object.clone())
    }
}

/// As it is stored: in v1.
fn stored(name: &str, revision: u64) -> Object {
    sized(name, revision, 1)
}

fn sized(name: &str, revision: u64, bytes: usize) -> Object {
    let value = json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": name},
        "text": "x".repeat(bytes), "number": revision});
    Object::new(name, &crate::encode::encode(&value).unwrap(), revision, None)
}

struct Fixture {
    webhook: Arc<Webhook>,
    converted: Arc<Converted>,
}

impl Fixture {
    /// A webhook that answers at once.
    fn ready() -> Self {
        Self::of(Webhook::new(Semaphore::MAX_PERMITS), Converted::default())
    }

    /// One that answers when it is told to.
    fn told() -> Self {
        Self::of(Webhook::new(0), Converted::default())
    }

    fn of(webhook: Arc<Webhook>, converted: Converted) -> Self {
        let converted = Arc::new(converted);
        Self { webhook, converted }
    }

    async fn ask(&self, objects: Vec<Object>) -> Result<Vec<Object>> {
        let webhook: Arc<dyn Versions> = self.webhook.clone();
        self.converted.all(&webhook, objects).await
    }

    async fn ask_one(&self, name: &str, revision: u64) -> Object {
        let mut made = self.ask(vec![stored(name, revision)]).await.unwrap();
        made.pop().unwrap()
    }

    /// Asks on a task of its own.
    fn spawn(&self, objects: Vec<Object>) -> tokio::task::JoinHandle<Result<Vec<Object>>> {
        let (webhook, converted) = (self.webhook.clone(), self.converted.clone());
        tokio::spawn(async move {
            let webhook: Arc<dyn Versions> = webhook;
            converted.all(&webhook, objects).await
        })
    }

    /// Nothing is under way, and what is kept is counted right and within the bound.
    fn settled(&self) {
        let state = self.converted.state.lock();
        assert!(state.asked.is_empty(), "{} claims", state.asked.len());
        let objects = |kept: &Kept| bytes_of(&kept.newest) + kept.before.as_ref().map_or(0, bytes_of);
        let counted: usize = state.kept.iter().map(|(_, kept)| objects(kept)).sum();
        assert_eq!(state.bytes, counted);
        assert!(counted <= self.converted.most, "{counted}");
    }
}

#[tokio::test]
async fn a_revision_is_sent_once_for_all_who_ask() {
    let f = Fixture::told();
    let asking = (0..40).map(|_| f.spawn(vec![stored("a", 7)]));
    let asking: Vec<_> = asking.collect();
    f.webhook.asked(1).await;
    f.webhook.turns.add_permits(1);
    for made in join_all(asking).await {
        let value = made.unwrap().unwrap()[0].value().unwrap();
        assert_eq!(
            (&value["apiVersion"], object::resource_version(&value)),
            (&json!("example.com/v2"), "7")
        );
    }
    // Neither does anybody ask after them.
    f.ask_one("a", 7).await;
    assert_eq!(f.webhook.sizes(), [1]);
    f.settled();
}

#[tokio::test]
async fn many_are_sent_together_and_come_in_their_order() {
    let f = Fixture::ready();
    let mut objects: Vec<Object> = (0..1200).map(|i| stored(&format!("w{i}"), i + 1)).collect();
    let own = f.ask_one("w7", 8).await;
    objects[7] = own.clone();
    // The same twice is one.
    objects.push(stored("w3", 4));
    let made = f.ask(objects.clone()).await.unwrap();
    assert_eq!(f.webhook.sizes(), [1, 500, 500, 199]);
    for (object, made) in objects.iter().zip(&made) {
        assert_eq!((object.key(), object.revision()), (made.key(), made.revision()));
        assert_eq!(made.value().unwrap()["number"], object.revision());
        assert!(made.json().starts_with(f.webhook.head()));
    }
    let long = (0..3).map(|i| sized(&format!("l{i}"), 9000, CONVERTED_TOGETHER_BYTES / 2));
    f.ask(long.collect()).await.unwrap();
    assert_eq!(f.webhook.sizes()[4..], [2, 1], "reviews are bounded by bytes too");
    f.settled();
}

#[tokio::test]
async fn what_another_has_sent_is_waited_for_and_the_rest_is_sent() {
    let f = Fixture::told();
    let first = f.spawn(vec![stored("a", 1), stored("b", 2)]);
    f.webhook.asked(1).await;
    let second = f.spawn(vec![stored("b", 2), stored("c", 3)]);
    f.webhook.asked(2).await;
    f.webhook.turns.add_permits(2);
    assert_eq!(first.await.unwrap().unwrap()[1].key(), "b");
    let made = second.await.unwrap().unwrap();
    assert_eq!((made[0].key(), made[1].key()), ("b", "c"));
    assert_eq!(*f.webhook.reviews.lock(), [vec!["a", "b"], vec!["c"]]);
    f.settled();
}

/// Who claimed goes; who waits carries the review on.
#[tokio::test]
async fn a_cancelled_request_holds_up_nobody() {
    let f = Fixture::told();
    let first = f.spawn(vec![stored("a", 1)]);
    f.webhook.asked(1).await;
    let second = f.spawn(vec![stored("a", 1)]);
    tokio::task::yield_now().await;
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    f.webhook.turns.add_permits(1);
    assert_eq!(second.await.unwrap().unwrap()[0].revision(), 1);
    assert_eq!(f.webhook.sizes(), [1]);
    f.settled();

    // With nobody left, what was claimed is free again.
    let alone = f.spawn(vec![stored("b", 2)]);
    f.webhook.asked(2).await;
    alone.abort();
    assert!(alone.await.unwrap_err().is_cancelled());
    f.settled();
    f.webhook.turns.add_permits(1);
    assert_eq!(f.ask_one("b", 2).await.revision(), 2);
    assert_eq!(f.webhook.sizes(), [1, 1, 1]);
}

/// A client that does not read its list has claimed, and is not polled any more.
#[tokio::test]
async fn a_request_that_stands_still_holds_up_nobody() {
    let f = Fixture::told();
    let mut still = Box::pin(f.ask(vec![stored("a", 1)]));
    assert!(futures::poll!(&mut still).is_pending());
    assert_eq!(f.webhook.sizes(), [1]);
    f.webhook.turns.add_permits(1);
    assert_eq!(f.ask_one("a", 1).await.revision(), 1);
    assert_eq!(still.await.unwrap()[0].revision(), 1);
    assert_eq!(f.webhook.sizes(), [1]);
}

#[tokio::test]
async fn a_failure_is_told_to_all_and_kept_for_nobody() {
    let f = Fixture::told();
    f.webhook.fails.store(true, Ordering::Relaxed);
    let asking: Vec<_> = (0..3).map(|_| f.spawn(vec![stored("a", 1)])).collect();
    f.webhook.asked(1).await;
    f.webhook.turns.add_permits(1);
    for outcome in join_all(asking).await {
        assert_eq!(
            outcome.unwrap().unwrap_err().message,
            "Internal error occurred: no way"
        );
    }
    f.settled();
    f.webhook.fails.store(false, Ordering::Relaxed);
    f.webhook.turns.add_permits(1);
    assert_eq!(f.ask_one("a", 1).await.revision(), 1);
    assert_eq!(f.webhook.sizes(), [1, 1]);
}

/// Sixteen times what is kept goes through it.
#[tokio::test]
async fn what_was_not_asked_for_the_longest_goes_first() {
    let most = 100 * bytes_of(&stored("w0000", 1000));
    let f = Fixture::of(Webhook::new(Semaphore::MAX_PERMITS), Converted::with_most(most));
    f.ask_one("often", 1).await;
    for i in 0..1600 {
        f.ask_one(&format!("w{i:04}"), 1000).await;
        if i % 50 == 0 {
            f.ask_one("often", 1).await;
            f.settled();
        }
    }
    let before = f.webhook.sizes().len();
    assert_eq!(before, 1601, "what is asked for often stays");
    f.ask_one("w1599", 1000).await;
    assert_eq!(f.webhook.sizes().len(), before);
    f.ask_one("w1000", 1000).await;
    assert_eq!(f.webhook.sizes().len(), before + 1);
    // Longer than all that may be kept.
    let long = || vec![sized("long", 1, most)];
    assert_eq!(f.ask(long()).await.unwrap().len(), 1);
    assert_eq!(f.ask(long()).await.unwrap().len(), 1);
    assert_eq!(f.webhook.sizes().len(), before + 3);
    f.ask_one("often", 1).await;
    assert_eq!(f.webhook.sizes().len(), before + 3);
    f.settled();
}

#[tokio::test]
async fn of_a_key_the_two_newest_revisions_stay() {
    let f = Fixture::ready();
    for revision in [5, 6, 5, 6] {
        f.ask_one("a", revision).await;
    }
    assert_eq!(f.webhook.sizes().len(), 2);
    f.ask_one("a", 7).await;
    f.ask_one("a", 6).await;
    assert_eq!(f.webhook.sizes().len(), 3);
    // An old one is asked for each time, and drives nothing out.
    for _ in 0..2 {
        assert_eq!(f.ask_one("a", 5).await.revision(), 5);
    }
    f.ask_one("a", 7).await;
    f.ask_one("a", 6).await;
    assert_eq!(f.webhook.sizes().len(), 5);
    f.settled();
}

/// What was never stored has no revision, and is not the same as another of that key.
#[tokio::test]
async fn without_a_revision_nothing_is_shared() {
    let f = Fixture::told();
    f.webhook.turns.add_permits(2);
    let both = vec![sized("a", 0, 1), sized("a", 0, 2)];
    let made = f.ask(both.clone()).await.unwrap();
    let text = |object: &Object| object.value().unwrap()["text"].clone();
    assert_eq!((text(&made[0]), text(&made[1])), (json!("x"), json!("xx")));
    f.ask(both).await.unwrap();
    assert_eq!(f.webhook.sizes(), [2, 2]);
    assert_eq!(f.converted.state.lock().bytes, 0);
    f.settled();
}
