use corten_client::CancellationToken;
use corten_client::fake::Fake;
use corten_client::fake::TokioClock;
use corten_client::lease::LeaderElector;
use tokio::sync::mpsc;

#[tokio::test(start_paused = true)]
async fn a_second_candidate_takes_over_when_the_first_stops() {
    let fake = Fake::default();
    let (sender, mut led) = mpsc::unbounded_channel();
    let stops = [CancellationToken::new(), CancellationToken::new()];
    for (id, stop) in ["a", "b"].into_iter().zip(&stops) {
        let elector = LeaderElector::new(fake.client(), "kube-system", "x", id, TokioClock::shared());
        let sender = sender.clone();
        tokio::spawn(elector.run(stop.clone(), move |lost| async move {
            sender.send(id).unwrap();
            lost.cancelled().await;
        }));
    }
    let first = led.recv().await.unwrap();
    let (mine, other) = if first == "a" { (0, "b") } else { (1, "a") };
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(led.try_recv().is_err(), "one leads while it renews");
    stops[mine].cancel();
    assert_eq!(led.recv().await, Some(other));
    stops[1 - mine].cancel();
}

#[tokio::test(start_paused = true)]
async fn the_same_identity_takes_its_lease_back_at_once() {
    let fake = Fake::default();
    let elect = || LeaderElector::new(fake.client(), "kube-system", "x", "a", TokioClock::shared());
    // Leads, and is killed before it can give the lease up.
    let (sender, mut led) = mpsc::unbounded_channel();
    for _ in 0..2 {
        let sender = sender.clone();
        let running = tokio::spawn(elect().run(CancellationToken::new(), move |lost| async move {
            sender.send(tokio::time::Instant::now()).unwrap();
            lost.cancelled().await;
        }));
        led.recv().await.unwrap();
        running.abort();
    }
    let lease = fake.get("leases", "kube-system", "x").unwrap();
    assert_eq!(lease["spec"]["leaseTransitions"], 0);
}

#[tokio::test(start_paused = true)]
async fn a_leader_whose_lease_is_taken_stops() {
    let fake = Fake::default();
    let elector = LeaderElector::new(fake.client(), "kube-system", "x", "a", TokioClock::shared());
    let (sender, mut led) = mpsc::unbounded_channel();
    let running = tokio::spawn(elector.run(CancellationToken::new(), move |lost| async move {
        sender.send(()).unwrap();
        lost.cancelled().await;
    }));
    led.recv().await.unwrap();
    fake.edit("leases", "kube-system", "x", |lease| {
        lease["spec"]["holderIdentity"] = "b".into();
    });
    running.await.unwrap();
    let lease = fake.get("leases", "kube-system", "x").unwrap();
    assert_eq!(lease["spec"]["holderIdentity"], "b");
}
