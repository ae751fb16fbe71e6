use corten_client::CancellationToken;
use corten_client::events::{Level, Recorder};
use corten_client::fake::Fake;
use corten_stdx::ManualClock;
use k8s_openapi::api::core::v1::ObjectReference;

fn pod() -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".into()),
        namespace: Some("a".into()),
        name: Some("p".into()),
        ..Default::default()
    }
}

#[tokio::test(start_paused = true)]
async fn repetitions_patch_one_event() {
    let (fake, stop) = (Fake::default(), CancellationToken::new());
    let recorder = Recorder::new(
        fake.client(),
        "kubelet",
        "n1",
        ManualClock::at(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000)),
        stop.clone(),
    );
    for _ in 0..3 {
        recorder.event(pod(), Level::Normal, "Pulled", "there already");
    }
    recorder.acted(
        pod(),
        Level::Warning,
        "FailedScheduling",
        "Scheduling",
        "0/1 nodes are available",
    );
    fake.until("written", |f| f.list("events").len() == 2).await;
    let events = fake.list("events");
    let pulled = events.iter().find(|e| e["reason"] == "Pulled").unwrap();
    assert_eq!(pulled["count"], 3);
    assert_eq!(
        pulled["source"],
        serde_json::json!({"component": "kubelet", "host": "n1"})
    );
    let failed = events.iter().find(|e| e["reason"] == "FailedScheduling").unwrap();
    assert_eq!(failed["action"], "Scheduling");
    assert!(failed.get("count").is_none());
    stop.cancel();
}
