//! Measures wiring pods: namespaces are made beforehand, as the runtime does it. In a network namespace of its own.
//! `cargo run --release -p corten-net --example pod_setup [pods]`.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use corten_net::ClusterId;
use corten_net::netns::NetNs;
use corten_net::node::{Config, NodeNet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pods: usize = std::env::args()
        .nth(1)
        .map(|a| a.parse())
        .transpose()?
        .unwrap_or(100);
    let dir = std::env::temp_dir().join(format!("corten-pod-setup-{}", std::process::id()));
    std::fs::create_dir(&dir)?;
    let paths: Vec<PathBuf> = (0..=pods).map(|i| dir.join(format!("ns{i}"))).collect();
    let outcome = measure(&paths, &dir);
    for path in &paths {
        NetNs::release(path)?;
    }
    std::fs::remove_dir_all(&dir)?;
    outcome
}

fn measure(paths: &[PathBuf], dir: &std::path::Path) -> Result<(), Box<dyn std::error::Error>> {
    for path in paths {
        NetNs::create_at(path)?;
    }
    let config = Config {
        cluster: ClusterId::from_seed("pod setup"),
        netns: Some(paths[0].clone()),
        state_dir: dir.join("pods"),
        cluster_cidr: "10.244.0.0/16".parse()?,
        pod_cidr: "10.244.0.0/22".parse()?,
        service_cidr: "10.96.0.0/16".parse()?,
        mtu: None,
    };
    let node = NodeNet::open(config.clone())?;
    let each = |f: &dyn Fn(usize) -> corten_net::Result<()>| -> corten_net::Result<Vec<Duration>> {
        let mut times = Vec::new();
        for i in 1..paths.len() {
            let start = Instant::now();
            f(i)?;
            times.push(start.elapsed());
        }
        times.sort_unstable();
        Ok(times)
    };
    print(
        "set up",
        &each(&|i| node.setup(&format!("pod-{i}"), &paths[i]).map(|_| ()))?,
    );
    let start = Instant::now();
    node.destroy()?;
    println!(
        "all removed at once: {:.1} ms",
        start.elapsed().as_secs_f64() * 1000.0
    );
    let node = NodeNet::open(config)?;
    for (i, path) in paths.iter().enumerate().skip(1) {
        node.setup(&format!("pod-{i}"), path)?;
    }
    print("torn down", &each(&|i| node.teardown(&format!("pod-{i}")))?);
    Ok(())
}

fn print(what: &str, times: &[Duration]) {
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "{} pods {what}: p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
        times.len(),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}
