//! Pod start: from the request to Running, seen by a watch.

use super::lines::Lines;
use super::report;
use super::target::Target;
use crate::cli::BenchArgs;
use std::time::{Duration, Instant};

/// Pods left to settle nothing but caches: not counted.
const WARM_UP: usize = 2;

pub(super) async fn measure(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let Some(image) = &args.image else {
        println!("pods: left out; name an imported image with --image");
        return Ok(());
    };
    let mut accounts = target
        .watch(&format!("{}?watch=1", target.path("serviceaccounts")))
        .await?;
    until(&mut accounts, "default", |_| true).await?;
    let path = target.path("pods");
    let mut events = target.watch(&format!("{path}?watch=1")).await?;
    let mut connection = target.connect().await?;
    let (mut starts, mut ends): (Vec<Duration>, Vec<Duration>) = (Vec::new(), Vec::new());
    let (mut cpu, mut first) = (target.cpu(), Instant::now());
    for index in 0..(args.objects / 100).max(1) + WARM_UP {
        if index == WARM_UP {
            (cpu, first) = (target.cpu(), Instant::now());
            starts.clear();
            ends.clear();
        }
        let name = format!("bench-{index}");
        // What `kubectl run --image=... -- sleep 3600` sends, but for the grace period.
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}","labels":{{"run":"{name}"}}}},"spec":{{"terminationGracePeriodSeconds":0,"containers":[{{"name":"{name}","image":"{image}","args":["sleep","3600"],"resources":{{}}}}],"restartPolicy":"Always","dnsPolicy":"ClusterFirst"}}}}"#
        );
        let began = Instant::now();
        connection.send("POST", &path, body).await?;
        until(&mut events, &name, |pod| {
            pod["object"]["status"]["phase"] == "Running"
        })
        .await?;
        starts.push(began.elapsed());
        let began = Instant::now();
        connection.send("DELETE", &format!("{path}/{name}"), "").await?;
        until(&mut events, &name, |pod| pod["type"] == "DELETED").await?;
        ends.push(began.elapsed());
    }
    let (wall, cpu) = (first.elapsed(), target.cpu().since(cpu));
    report::row("pod from create to Running", starts, wall, Some(cpu));
    report::row("pod from delete to gone", ends, wall, None);
    Ok(())
}

async fn until(
    events: &mut Lines,
    name: &str,
    wanted: impl Fn(&serde_json::Value) -> bool,
) -> anyhow::Result<()> {
    loop {
        let event: serde_json::Value = serde_json::from_slice(events.next().await?)?;
        if event["object"]["metadata"]["name"] == name && wanted(&event) {
            return Ok(());
        }
    }
}
