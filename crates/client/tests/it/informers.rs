use std::sync::Arc;

use corten_client::fake::Fake;
use corten_client::object::MetaExt;
use corten_client::{CancellationToken, Event, Factory};
use k8s_openapi::api::core::v1::ConfigMap;
use parking_lot::Mutex;
use serde_json::json;

fn map(name: &str, value: &str) -> serde_json::Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"namespace": "a", "name": name}, "data": {"v": value}})
}

fn transcript(factory: &Factory) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heard);
    factory.informer::<ConfigMap>().on_event(move |event| {
        let value = event
            .object()
            .data
            .as_ref()
            .map(|d| d["v"].clone())
            .unwrap_or_default();
        let verb = match event {
            Event::Added(_) => "+",
            Event::Updated { .. } => "~",
            Event::Deleted(_) => "-",
        };
        log.lock()
            .push(format!("{verb}{}={value}", event.object().metadata.name()));
    });
    heard
}

#[tokio::test(start_paused = true)]
async fn changes_arrive_in_order_and_watches_resume() {
    let (fake, stop) = (Fake::default(), CancellationToken::new());
    fake.put("configmaps", map("x", "1"));
    let factory = Factory::new(fake.client(), stop.clone());
    let heard = transcript(&factory);
    factory.synced().await;
    fake.put("configmaps", map("x", "2"));
    fake.break_watches();
    fake.put("configmaps", map("y", "1"));
    fake.remove("configmaps", "a", "x");
    fake.until("resumed", |_| heard.lock().len() >= 4).await;
    assert_eq!(*heard.lock(), ["+x=1", "~x=2", "+y=1", "-x=2"]);
    assert_eq!(factory.informer::<ConfigMap>().in_namespace("a").len(), 1);
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn an_expired_watch_lists_again_and_finds_what_is_gone() {
    let (fake, stop) = (Fake::default(), CancellationToken::new());
    fake.put("configmaps", map("x", "1"));
    fake.put("configmaps", map("y", "1"));
    let factory = Factory::new(fake.client(), stop.clone());
    let heard = transcript(&factory);
    factory.synced().await;
    fake.break_watches();
    fake.remove("configmaps", "a", "x");
    fake.put("configmaps", map("z", "1"));
    fake.expire_watches();
    fake.until("listed again", |_| heard.lock().len() >= 5).await;
    // What is new is told once more when its revision is reached.
    assert_eq!(*heard.lock(), ["+x=1", "+y=1", "+z=1", "-x=1", "~z=1"]);
    stop.cancel();
}

#[tokio::test]
async fn an_event_reaches_handlers_within_a_millisecond() {
    let (fake, stop) = (Fake::default(), CancellationToken::new());
    let factory = Factory::new(fake.client(), stop.clone());
    let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
    factory
        .informer::<ConfigMap>()
        .on_event(move |_| sender.send(std::time::Instant::now()).unwrap());
    factory.synced().await;
    let mut best = std::time::Duration::MAX;
    for i in 0..20 {
        let start = std::time::Instant::now();
        fake.put("configmaps", map("x", &i.to_string()));
        best = best.min(receiver.recv().await.unwrap() - start);
    }
    assert!(best.as_micros() < 1000, "{best:?}");
    stop.cancel();
}
