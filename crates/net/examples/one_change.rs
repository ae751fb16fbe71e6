//! Measures the service proxy: installing ten thousand services, then one endpoint change at a time, in a
//! network namespace of its own. `cargo run --release -p corten-net --example one_change [services] [changes]`.
#![allow(clippy::unwrap_used)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use corten_net::ClusterId;
use corten_net::netns::NetNs;
use corten_net::proxy::{
    Config, Endpoint, Protocol, Proxy, ServiceMap, ServicePort, ServicePortName, TrafficPolicy,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse::<u32>());
    let services = numbers.next().transpose()?.unwrap_or(10_000);
    let changes = numbers.next().transpose()?.unwrap_or(1_000);
    let netns = NetNs::create()?;
    netns.run(|| measure(services, changes))?;
    Ok(())
}

fn measure(services: u32, changes: u32) -> corten_net::Result<()> {
    let cluster = ClusterId::from_seed("one change");
    let ranges = ("10.0.0.0/8".parse().unwrap(), "172.16.0.0/12".parse().unwrap());
    let config = Config {
        cluster,
        netns: None,
        cluster_cidr: ranges.0,
        service_cidr: ranges.1,
    };
    let mut proxy = Proxy::open(config)?;
    let mut map: ServiceMap = (0..services).map(|i| (name(i), service(i, 0))).collect();
    let start = Instant::now();
    let applied = proxy.apply(&map)?;
    println!(
        "{services} services, {} elements: {:.1} ms (planning {:.1}, kernel {:.1})",
        applied.elements,
        ms(start.elapsed()),
        ms(applied.planning),
        ms(applied.kernel)
    );
    let mut times = Vec::new();
    let (mut planning, mut kernel) = (Duration::ZERO, Duration::ZERO);
    for n in 1..=changes {
        let i = n.wrapping_mul(2_654_435_761) % services;
        map.insert(name(i), service(i, n % 63 + 1));
        let start = Instant::now();
        let applied = proxy.apply(&map)?;
        times.push(start.elapsed());
        assert!(!applied.rebuilt && applied.elements == 4);
        planning += applied.planning;
        kernel += applied.kernel;
    }
    times.sort_unstable();
    let at = |share: f64| ms(times[((times.len() - 1) as f64 * share) as usize]);
    println!(
        "one endpoint replaced, {changes} times: p50 {:.3} ms, p99 {:.3} ms, max {:.3} ms (mean: planning {:.3}, kernel {:.3})",
        at(0.5),
        at(0.99),
        at(1.0),
        ms(planning) / f64::from(changes),
        ms(kernel) / f64::from(changes)
    );
    let start = Instant::now();
    proxy.apply(&ServiceMap::new())?;
    println!("all removed: {:.1} ms", ms(start.elapsed()));
    Ok(())
}

fn name(i: u32) -> ServicePortName {
    ServicePortName {
        namespace: format!("ns-{}", i % 50),
        name: format!("service-{i}"),
        port: "http".into(),
    }
}

/// TCP and a node port, two endpoints; `version` moves one of them.
fn service(i: u32, version: u32) -> Arc<ServicePort> {
    let endpoint = |last: u32| Endpoint {
        address: IpAddr::from((0x0a00_0000 + last).to_be_bytes()),
        port: 8080,
        ready: true,
        serving: true,
        terminating: false,
        local: false,
        far: false,
        node: None,
    };
    Arc::new(ServicePort {
        cluster_ips: vec![IpAddr::from((0xac10_0000 + i).to_be_bytes())],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        source_ranges: Vec::new(),
        port: 80,
        node_port: Some(30_000 + i as u16),
        protocol: Protocol::Tcp,
        affinity_timeout_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        endpoints: vec![endpoint(2 * i), endpoint(0x0080_0000 + 64 * i + version % 64)],
    })
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1000.0
}
