//! Runs busybox end to end and prints what each step took: `cargo run -p corten-runtime --example run [rounds]`.
//!
//! Needs root. Everything happens below a temporary directory, in network namespaces of its own. The same program is
//! the keeper (`run keeper ...`), for the tests too.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/it/fixture.rs"]
#[allow(dead_code)]
mod fixture;

use corten_runtime::cri::{
    ContainerConfig, ContainerMetadata, ImageSpec, PodIps, PodNetwork, PodSandboxConfig, PodSandboxMetadata,
    RuntimeService,
};
use corten_runtime::embedded::{Config, Runtime};
use corten_runtime::image;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// No network at all: its cost is not this crate's.
struct Nothing;

#[async_trait::async_trait]
impl PodNetwork for Nothing {
    async fn setup(&self, _: &str, _: &std::path::Path, _: &str, _: &str) -> Result<PodIps, String> {
        Ok(PodIps::default())
    }
    async fn teardown(&self, _: &str, _: &std::path::Path) -> Result<(), String> {
        Ok(())
    }
}

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).peekable();
    if args.peek().is_some_and(|arg| arg == "keeper") {
        return corten_runtime::keeper::main(args.skip(1));
    }
    let rounds = args
        .next()
        .and_then(|arg| arg.to_str()?.parse().ok())
        .unwrap_or(10);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(run(rounds));
    ExitCode::SUCCESS
}

fn milliseconds(mut samples: Vec<Duration>) -> String {
    samples.sort();
    let at = |part: usize| samples[(samples.len() - 1) * part / 100].as_secs_f64() * 1000.0;
    format!(
        "p50 {:6.2} ms   p90 {:6.2} ms   max {:6.2} ms",
        at(50),
        at(90),
        at(100)
    )
}

fn sandbox_config(number: usize) -> PodSandboxConfig {
    PodSandboxConfig {
        metadata: Some(PodSandboxMetadata {
            name: format!("pod-{number}"),
            uid: format!("uid-{number}"),
            namespace: "default".into(),
            attempt: 0,
        }),
        hostname: format!("pod-{number}"),
        ..Default::default()
    }
}

fn container_config(image: &str, command: &[&str]) -> ContainerConfig {
    ContainerConfig {
        metadata: Some(ContainerMetadata {
            name: "main".into(),
            attempt: 0,
        }),
        image: Some(ImageSpec {
            image: image.into(),
            ..Default::default()
        }),
        command: command.iter().map(|part| (*part).to_owned()).collect(),
        ..Default::default()
    }
}

async fn run(rounds: usize) {
    let dir = tempfile::tempdir().unwrap();
    let archive = dir.path().join("busybox.tar");
    fixture::write_busybox(&archive);
    let config = Config {
        root: dir.path().join("root"),
        state_dir: dir.path().join("state"),
        cgroup_root: format!("/corten-example-{}", std::process::id()),
        keeper_command: vec![std::env::current_exe().unwrap().into(), "keeper".into()],
        network: Arc::new(Nothing),
        pull: image::PullOptions::default(),
    };
    let started = Instant::now();
    let runtime = Runtime::open(config).await.unwrap();
    println!(
        "open (keeper started)     {:6.2} ms",
        started.elapsed().as_secs_f64() * 1000.0
    );
    let started = Instant::now();
    let images = image::import(runtime.images(), &archive, &image::quiet()).unwrap();
    println!(
        "import busybox            {:6.2} ms",
        started.elapsed().as_secs_f64() * 1000.0
    );
    let result = measure(&runtime, &images[0].id, rounds).await;
    if let Some(pid) = std::fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let text = std::fs::read_to_string(entry.path().join("comm")).ok()?;
        (text.trim() == "corten-keeper").then(|| entry.file_name())
    }) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.to_string_lossy())).unwrap();
        let lines = status
            .lines()
            .filter(|line| line.starts_with("VmRSS") || line.starts_with("Rss"));
        println!("keeper: {}", lines.collect::<Vec<_>>().join("  "));
    }
    runtime.destroy_all().await.unwrap();
    result.unwrap();
}

async fn measure(runtime: &Runtime, image: &str, rounds: usize) -> corten_runtime::cri::Result<()> {
    let (mut sandbox, mut create, mut start, mut total, mut exec, mut end) =
        (vec![], vec![], vec![], vec![], vec![], vec![]);
    for round in 0..rounds {
        let pod = sandbox_config(round);
        let began = Instant::now();
        let sandbox_id = runtime.run_pod_sandbox(pod.clone(), "").await?;
        sandbox.push(began.elapsed());
        let step = Instant::now();
        let id = runtime
            .create_container(&sandbox_id, container_config(image, &["sleep", "1000"]), &pod)
            .await?;
        create.push(step.elapsed());
        let step = Instant::now();
        runtime.start_container(&id).await?;
        start.push(step.elapsed());
        total.push(began.elapsed());
        let step = Instant::now();
        let output = runtime
            .exec_sync(&id, vec!["hostname".into()], Duration::from_secs(5))
            .await?;
        exec.push(step.elapsed());
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), pod.hostname);
        let step = Instant::now();
        runtime.remove_pod_sandbox(&sandbox_id).await?;
        end.push(step.elapsed());
    }
    println!("sandbox                   {}", milliseconds(sandbox));
    println!("create                    {}", milliseconds(create));
    println!("start                     {}", milliseconds(start));
    println!("sandbox+create+start      {}", milliseconds(total));
    println!("exec_sync                 {}", milliseconds(exec));
    println!("kill and remove           {}", milliseconds(end));
    parallel(runtime, image, rounds).await
}

/// Three pods at a time.
async fn parallel(runtime: &Runtime, image: &str, rounds: usize) -> corten_runtime::cri::Result<()> {
    let mut all = vec![];
    for round in 0..rounds {
        let began = Instant::now();
        let pods = (0..3).map(|pod| one(runtime, image, round * 3 + pod));
        let ids = futures::future::try_join_all(pods).await?;
        all.push(began.elapsed());
        for id in ids {
            runtime.remove_pod_sandbox(&id).await?;
        }
    }
    println!("three pods at once        {}", milliseconds(all));
    Ok(())
}

async fn one(runtime: &Runtime, image: &str, number: usize) -> corten_runtime::cri::Result<String> {
    let pod = sandbox_config(number);
    let sandbox_id = runtime.run_pod_sandbox(pod.clone(), "").await?;
    let id = runtime
        .create_container(&sandbox_id, container_config(image, &["sleep", "1000"]), &pod)
        .await?;
    runtime.start_container(&id).await?;
    Ok(sandbox_id)
}
