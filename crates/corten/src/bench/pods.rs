//! Pod start: from the request to Running, seen by a watch.

use super::report;
use super::target::{Target, send};
use crate::cli::BenchArgs;
use anyhow::Context;
use futures::{AsyncBufReadExt, StreamExt};
use http::Request;
use std::time::{Duration, Instant};

pub(super) async fn measure(target: &Target, args: &BenchArgs) -> anyhow::Result<()> {
    let Some(image) = &args.image else {
        println!("pods: left out; name an imported image with --image");
        return Ok(());
    };
    let client = &target.clients[0];
    let path = format!("/api/v1/namespaces/{}/pods", target.namespace);
    let mut events = client.request_stream(Request::get(format!("{path}?watch=1")).body(Vec::new())?).await?.lines();
    let (cpu, first) = (target.cpu(), Instant::now());
    let mut latencies: Vec<Duration> = Vec::new();
    for index in 0..(args.objects / 100).max(1) {
        let name = format!("bench-{index}");
        let body = format!(
            r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{name}"}},"spec":{{"terminationGracePeriodSeconds":0,"containers":[{{"name":"main","image":"{image}","command":["sleep","3600"]}}]}}}}"#
        );
        let began = Instant::now();
        send(client, "POST", &path, body).await?;
        until(&mut events, &name, |pod| pod["object"]["status"]["phase"] == "Running").await?;
        latencies.push(began.elapsed());
        send(client, "DELETE", &format!("{path}/{name}"), String::new()).await?;
        until(&mut events, &name, |pod| pod["type"] == "DELETED").await?;
    }
    report::row("pod from create to Running, one at a time", latencies, first.elapsed(), target.cpu_since(cpu));
    Ok(())
}

async fn until<S>(events: &mut S, name: &str, wanted: impl Fn(&serde_json::Value) -> bool) -> anyhow::Result<()>
where
    S: futures::Stream<Item = std::io::Result<String>> + Unpin,
{
    loop {
        let line = events.next().await.context("the watch ended")??;
        let event: serde_json::Value = serde_json::from_str(&line)?;
        if event["object"]["metadata"]["name"] == name && wanted(&event) {
            return Ok(());
        }
    }
}
