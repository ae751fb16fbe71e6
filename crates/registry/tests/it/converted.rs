//! A handle whose version a webhook makes: what is asked for, what is shared, and lists that are read as they are converted.

use std::sync::Arc;

use async_trait::async_trait;
use corten_meta::{Result, Status, fields, labels, object};
use corten_registry::strategy::Strategy;
use corten_registry::{
    CreateOptions, DeleteOptions, Deleted, ListOptions, OpenPage, Resource, ResourceInfo, Subresource,
    UpdateOptions, Versions, WatchEvent, WatchOptions, WatchStream, WriteContext,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::fixture::{Fixture, context, next_event};
use crate::time::custom;

/// Names of the objects of each review.
#[derive(Default)]
struct Webhook {
    reviews: Mutex<Vec<Vec<String>>>,
    /// An object that cannot be converted.
    refuses: Mutex<Option<&'static str>>,
}

impl Webhook {
    fn reviews(&self) -> usize {
        self.reviews.lock().len()
    }

    fn sent(&self) -> usize {
        self.reviews.lock().iter().map(Vec::len).sum()
    }
}

/// The stored version says `size` where the other says `length`.
struct Side {
    webhook: Arc<Webhook>,
    version: &'static str,
}

fn in_version(mut object: Value, version: &str) -> Value {
    let (from, to) = if version == "v2" {
        ("size", "length")
    } else {
        ("length", "size")
    };
    let members = object.as_object_mut().unwrap();
    if let Some(value) = members.remove(from) {
        members.insert(to.to_owned(), value);
    }
    object["apiVersion"] = json!(format!("example.com/{version}"));
    object
}

#[async_trait]
impl Versions for Side {
    fn head(&self) -> &[u8] {
        match self.version {
            "v1" => br#"{"kind":"Widget","apiVersion":"example.com/v1","#,
            _ => br#"{"kind":"Widget","apiVersion":"example.com/v2","#,
        }
    }

    fn read(&self, _stored: &Value) -> Option<Value> {
        None
    }

    fn asks(&self) -> bool {
        true
    }

    fn to_served_at_once(&self, _object: Value) -> Result<Value> {
        Err(Status::internal("conversion asks a webhook"))
    }

    async fn to_served(&self, objects: Vec<Value>) -> Result<Vec<Value>> {
        let names: Vec<String> = objects.iter().map(|o| object::name(o).to_owned()).collect();
        let refuses = *self.webhook.refuses.lock();
        let refused = names.iter().any(|name| Some(name.as_str()) == refuses);
        self.webhook.reviews.lock().push(names);
        if refused {
            return Err(Status::internal("no way"));
        }
        Ok(objects.into_iter().map(|o| in_version(o, self.version)).collect())
    }

    async fn to_stored(&self, object: Value) -> Result<Value> {
        Ok(in_version(object, "v1"))
    }

    fn all(&self, _subresource: &str) -> Vec<String> {
        vec!["example.com/v1".to_owned(), "example.com/v2".to_owned()]
    }

    async fn to_version(&self, object: Value, _api_version: &str) -> Result<Value> {
        Ok(object)
    }

    fn overlay(&self, object: &Value, _configuration: &Value) -> std::result::Result<Value, String> {
        Ok(object.clone())
    }
}

struct ByLength;

impl Strategy for ByLength {
    fn selectable_fields(&self) -> &[&'static str] {
        &["length"]
    }

    fn field_values(&self, object: &Value) -> Vec<String> {
        vec![object["length"].as_str().unwrap_or_default().to_owned()]
    }
}

fn info(webhook: &Arc<Webhook>, version: &'static str) -> ResourceInfo {
    let webhook = webhook.clone();
    let info = ResourceInfo {
        version: version.into(),
        versions: Some(Arc::new(Side { webhook, version })),
        ..custom()
    };
    match version {
        "v2" => ResourceInfo {
            strategy: Arc::new(ByLength),
            ..info
        },
        _ => info,
    }
}

struct Widgets {
    f: Fixture,
    webhook: Arc<Webhook>,
    stored: Resource,
    /// The other version.
    second: Resource,
}

impl Widgets {
    async fn open() -> Self {
        let (f, webhook) = (Fixture::open().await, Arc::<Webhook>::default());
        let stored = f.registry.register(info(&webhook, "v1")).await.unwrap();
        Self {
            second: stored.view(info(&webhook, "v2")),
            stored,
            webhook,
            f,
        }
    }

    async fn make(&self, count: usize) {
        let make = |i: usize| {
            let metadata = json!({"name": format!("w{i:05}"), "labels": {"half": (i % 2).to_string()}});
            let size = (i % 3).to_string();
            let widget =
                json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": metadata, "size": size});
            self.f.create("example.com", "widgets", "default", widget)
        };
        for made in futures::future::join_all((0..count).map(make)).await {
            made.unwrap();
        }
    }

    async fn update(
        &self,
        ctx: &WriteContext,
        name: &str,
        change: impl Fn(&mut Value) + Send + Sync,
    ) -> Value {
        let change = |old: &Value| {
            let mut new = old.clone();
            change(&mut new);
            Ok(new)
        };
        let (options, sub) = (UpdateOptions::default(), Subresource::MAIN);
        let registry = &self.f.registry;
        let updated = registry
            .update(ctx, &self.second, "default", name, sub, change, &options)
            .await;
        updated.unwrap().object.value().unwrap()
    }

    async fn get(&self, name: &str) -> Value {
        let got = self.f.registry.get(&self.second, "default", name, "").await;
        got.unwrap().value().unwrap()
    }

    async fn delete(&self, name: &str) -> Deleted {
        let (ctx, options) = (context(), DeleteOptions::default());
        let deleted = self
            .f
            .registry
            .delete(&ctx, &self.second, "default", name, &options);
        deleted.await.unwrap()
    }

    async fn watch(&self, options: WatchOptions) -> WatchStream {
        let options = WatchOptions {
            send_initial_events: Some(false),
            version_match: Some(corten_registry::VersionMatch::NotOlderThan),
            ..options
        };
        self.f.registry.watch(&self.second, None, &options).await.unwrap()
    }

    /// The next event of a watch as a client sees it.
    async fn event(&self, watch: &mut WatchStream) -> (&'static str, Value) {
        let events = vec![next_event(watch).await];
        let mut events = self.second.events_in_version(events).await.unwrap();
        let event = events.pop().unwrap();
        (event.kind(), event.object().unwrap().value().unwrap())
    }

    async fn open_list(&self, options: &ListOptions) -> Result<OpenPage> {
        self.f.registry.open_list(&self.second, None, options).await
    }

    /// Reads a page while it is counted how many objects are converted and not yet read.
    async fn read(&self, mut page: OpenPage, before: usize) -> Result<Vec<String>> {
        let mut names = Vec::new();
        while !page.items.is_done() {
            page.items.prepare().await?;
            let ahead = self.webhook.sent().saturating_sub(before + names.len());
            assert!(ahead <= 500, "{ahead} are held");
            page.items.read(|object| {
                assert_eq!(object.value().unwrap()["apiVersion"], "example.com/v2");
                names.push(object.name().to_owned());
                true
            })?;
        }
        Ok(names)
    }
}

fn by_label(value: &str) -> Option<labels::Selector> {
    Some(labels::Selector::parse(&format!("half={value}")).unwrap())
}

fn by_length(value: &str) -> Option<fields::Selector> {
    Some(fields::Selector::parse(&format!("length={value}")).unwrap())
}

#[tokio::test]
async fn each_revision_is_sent_once_whoever_reads_it() {
    let w = Widgets::open().await;
    w.make(3).await;
    assert_eq!(w.get("w00001").await["length"], "1");
    let list = ListOptions::default();
    assert_eq!(
        w.f.registry
            .list(&w.second, None, &list)
            .await
            .unwrap()
            .items
            .len(),
        3
    );
    assert_eq!(
        *w.webhook.reviews.lock(),
        [vec!["w00001"], vec!["w00000", "w00002"]]
    );
    let late = ListOptions {
        field_selector: by_length("2"),
        ..ListOptions::default()
    };
    assert_eq!(
        w.f.registry
            .list(&w.second, None, &late)
            .await
            .unwrap()
            .items
            .len(),
        1
    );
    assert_eq!(w.webhook.reviews(), 2);
    // A write shows what it wrote to those who watch and list it.
    let mut watches = [
        w.watch(WatchOptions::default()).await,
        w.watch(WatchOptions::default()).await,
    ];
    let updated = w
        .update(&context(), "w00001", |widget| widget["length"] = json!("9"))
        .await;
    for watch in &mut watches {
        assert_eq!(w.event(watch).await, ("MODIFIED", updated.clone()));
    }
    assert_eq!(w.get("w00001").await, updated);
    assert_eq!(w.webhook.reviews(), 3);
    assert_eq!(
        w.f.registry
            .get(&w.stored, "default", "w00001", "")
            .await
            .unwrap()
            .value()
            .unwrap()["size"],
        "9"
    );
    // A definition that has changed knows nothing.
    let stored =
        w.f.registry
            .replace(&w.stored, info(&w.webhook, "v1"))
            .await
            .unwrap();
    let second = stored.view(info(&w.webhook, "v2"));
    w.f.registry.get(&second, "default", "w00001", "").await.unwrap();
    assert_eq!(w.webhook.reviews(), 4);
}

/// What a dry run would write has the revision of what is stored.
#[tokio::test]
async fn what_is_not_stored_is_not_shared() {
    let w = Widgets::open().await;
    w.make(1).await;
    let mut dry = context();
    dry.dry_run = true;
    for _ in 0..2 {
        let shown = w
            .update(&dry, "w00000", |widget| widget["length"] = json!("7"))
            .await;
        assert_eq!(shown["length"], "7");
        assert_eq!(w.get("w00000").await["length"], "0");
    }
    let held = |widget: &mut Value| widget["metadata"]["finalizers"] = json!(["example.com/f"]);
    w.update(&context(), "w00000", held).await;
    assert!(!w.delete("w00000").await.gone);
    let mut watch = w.watch(WatchOptions::default()).await;
    // An update that deletes answers with what it would have stored.
    let shown = w
        .update(&context(), "w00000", |widget| {
            widget["metadata"]["finalizers"] = json!([]);
            widget["length"] = json!("8");
        })
        .await;
    assert_eq!(shown["length"], "8");
    let (kind, last) = w.event(&mut watch).await;
    assert_eq!((kind, &last["length"]), ("DELETED", &json!("0")));
    let widget =
        json!({"kind": "Widget", "apiVersion": "example.com/v2", "metadata": {"name": "n"}, "length": "1"});
    let options = CreateOptions::default();
    let made = w.f.registry.create(&dry, &w.second, "default", widget, &options);
    assert_eq!(made.await.unwrap().value().unwrap()["length"], "1");
}

/// Whose selector an object leaves sees it deleted as it was, at the revision at which others see it changed.
#[tokio::test]
async fn one_revision_is_two_states_to_two_watches() {
    let w = Widgets::open().await;
    w.make(1).await;
    w.get("w00000").await;
    let mut all = w.watch(WatchOptions::default()).await;
    let selecting = WatchOptions {
        label_selector: by_label("0"),
        ..WatchOptions::default()
    };
    let mut some = w.watch(selecting).await;
    let updated = w
        .update(&context(), "w00000", |widget| {
            widget["metadata"]["labels"]["half"] = json!("1");
            widget["length"] = json!("5");
        })
        .await;
    let (kind, last) = w.event(&mut some).await;
    assert_eq!((kind, &last["length"]), ("DELETED", &json!("0")));
    assert_eq!(
        object::resource_version(&last),
        object::resource_version(&updated)
    );
    assert_eq!(w.event(&mut all).await, ("MODIFIED", updated));
    let before = w.webhook.reviews();
    let mut as_stored = w.watch(WatchOptions::default()).await;
    let deleted = w.delete("w00000").await;
    // Who does not have events converted is told what has gone all the same.
    let WatchEvent::Undecided(change) = next_event(&mut as_stored).await else {
        panic!("it has to be converted")
    };
    assert_eq!(change.deleted().unwrap().name(), "w00000");
    let (kind, last) = w.event(&mut all).await;
    assert_eq!((kind, &last["length"]), ("DELETED", &json!("5")));
    assert_eq!(last, deleted.object.value().unwrap());
    assert_eq!(
        w.webhook.reviews(),
        before,
        "its last state was converted when it was written"
    );
}

/// A page of an earlier moment shows what was there then, while the newest revision is kept.
#[tokio::test]
async fn later_pages_show_the_moment_of_the_first() {
    let w = Widgets::open().await;
    w.make(3).await;
    let one = |token: &str| ListOptions {
        limit: 1,
        continue_token: token.to_owned(),
        ..ListOptions::default()
    };
    let first = w.open_list(&one("")).await.unwrap();
    for length in ["7", "8", "9"] {
        w.update(&context(), "w00001", |widget| widget["length"] = json!(length))
            .await;
    }
    for _ in 0..2 {
        let mut second = w.open_list(&one(&first.continue_token)).await.unwrap();
        let mut lengths = Vec::new();
        let read = second.items.read(|object| {
            lengths.push(object.value().unwrap()["length"].clone());
            true
        });
        read.unwrap();
        assert_eq!(lengths, ["1"]);
        assert_eq!(w.get("w00001").await["length"], "9");
    }
}

#[tokio::test]
async fn long_lists_are_converted_as_they_are_read() {
    let w = Widgets::open().await;
    w.make(2600).await;
    let names = |of: &dyn Fn(usize) -> bool| -> Vec<String> {
        (0..2600).filter(|i| of(*i)).map(|i| format!("w{i:05}")).collect()
    };
    let page = w.open_list(&ListOptions::default()).await.unwrap();
    assert_eq!(
        w.webhook.sent(),
        500,
        "the first review is made before the answer"
    );
    assert_eq!(w.read(page, 0).await.unwrap(), names(&|_| true));
    assert_eq!((w.webhook.reviews(), w.webhook.sent()), (6, 2600));
    let again = w.open_list(&ListOptions::default()).await.unwrap();
    assert_eq!(w.read(again, 2600).await.unwrap_or_default().len(), 2600);
    assert_eq!(w.webhook.sent(), 2600);

    let third = |i: &usize| i % 3 == 2;
    let late = |limit, token: &str| ListOptions {
        field_selector: by_length("2"),
        limit,
        continue_token: token.to_owned(),
        ..ListOptions::default()
    };
    let page = w.open_list(&late(0, "")).await.unwrap();
    assert_eq!(w.read(page, 2600).await.unwrap(), names(&|i| third(&i)));
    // In pages that are picked out, and in one that is only measured.
    for limit in [300, 1100] {
        let (mut found, mut token) = (Vec::new(), String::new());
        loop {
            let page = w.open_list(&late(limit, &token)).await.unwrap();
            token.clone_from(&page.continue_token);
            found.extend(w.read(page, 2600).await.unwrap());
            if token.is_empty() {
                break;
            }
            assert_eq!(found.len() % usize::try_from(limit).unwrap(), 0);
        }
        assert_eq!(found, names(&|i| third(&i)), "{limit}");
    }
    let labelled = ListOptions {
        label_selector: by_label("1"),
        limit: 700,
        ..ListOptions::default()
    };
    let page = w.open_list(&labelled).await.unwrap();
    assert!(!page.continue_token.is_empty());
    assert_eq!(w.read(page, 2600).await.unwrap(), names(&|i| i % 2 == 1)[..700]);
    assert_eq!(w.webhook.sent(), 2600);
}

#[tokio::test]
async fn what_the_first_review_refuses_fails_the_list() {
    let w = Widgets::open().await;
    w.make(1200).await;
    *w.webhook.refuses.lock() = Some("w00300");
    let refused = w.open_list(&ListOptions::default()).await.err().unwrap();
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (500, "Internal error occurred: no way")
    );
    *w.webhook.refuses.lock() = Some("w00700");
    let page = w.open_list(&ListOptions::default()).await.unwrap();
    let late = w.read(page, w.webhook.sent() - 500).await.unwrap_err();
    assert_eq!(late.message, refused.message);
    // It is not kept, and neither is what was made thrown away.
    *w.webhook.refuses.lock() = None;
    let before = w.webhook.sent();
    let page = w.open_list(&ListOptions::default()).await.unwrap();
    assert_eq!(w.read(page, before).await.unwrap_or_default().len(), 1200);
    assert_eq!(w.webhook.sent(), before + 700);
}
