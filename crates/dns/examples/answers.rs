//! Measures building the records of ten thousand services, and answering over loopback.
//! `cargo run --release -p corten-dns --example answers [services] [questions]`.
#![allow(clippy::unwrap_used)]

use std::net::{IpAddr, UdpSocket};
use std::str::FromStr;
use std::time::Instant;

use corten_dns::{Desired, Forwarder, Port, Protocol, Records, Server, Service, Sockets, Target};
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RecordType};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut numbers = std::env::args().skip(1).map(|a| a.parse::<u32>());
    let services = numbers.next().transpose()?.unwrap_or(10_000);
    let questions = numbers.next().transpose()?.unwrap_or(100_000);
    let desired = desired(services);
    let start = Instant::now();
    let records = Records::build(&desired);
    println!(
        "{services} services built in {:.1} ms",
        start.elapsed().as_secs_f64() * 1000.0
    );

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let _inside = runtime.enter();
    let server = Server::start(
        Sockets::bind("127.0.0.1:0".parse()?)?,
        records,
        Forwarder::new(Vec::new()),
    )?;
    let target = Target::ClusterIp {
        ips: vec![IpAddr::from([10, 96, 255, 1])],
        ports: Vec::new(),
    };
    let start = Instant::now();
    for i in 0..1000 {
        server.update(|r| r.set_service(&format!("ns-{}", i % 50), &format!("service-{i}"), Some(&target)));
    }
    println!(
        "one service changed: {:.1} µs",
        start.elapsed().as_secs_f64() * 1000.0
    );
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(server.address())?;
    let asked: Vec<Vec<u8>> = (0..services).map(question).collect();
    let mut buffer = [0; 4096];
    let start = Instant::now();
    let mut times = Vec::new();
    for bytes in asked.iter().cycle().take(questions as usize) {
        let one = Instant::now();
        client.send(bytes)?;
        client.recv(&mut buffer)?;
        times.push(one.elapsed());
    }
    let rate = f64::from(questions) / start.elapsed().as_secs_f64();
    times.sort_unstable();
    println!(
        "{questions} questions, one at a time: {rate:.0}/s, p50 {:?}, p99 {:?}",
        times[times.len() / 2],
        times[times.len() * 99 / 100]
    );
    Ok(())
}

fn desired(services: u32) -> Desired {
    let service = |i: u32| Service {
        namespace: format!("ns-{}", i % 50),
        name: format!("service-{i}"),
        target: Target::ClusterIp {
            ips: vec![IpAddr::from((0x0a60_0000 + i).to_be_bytes())],
            ports: vec![Port {
                name: "http".into(),
                protocol: Protocol::Tcp,
                port: 80,
            }],
        },
    };
    Desired {
        domain: "cluster.local".into(),
        server_ip: IpAddr::from([10, 96, 0, 10]),
        namespaces: (0..50).map(|i| format!("ns-{i}")).collect(),
        services: (0..services).map(service).collect(),
    }
}

fn question(i: u32) -> Vec<u8> {
    let name = format!("service-{i}.ns-{}.svc.cluster.local.", i % 50);
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_str(&name).unwrap(), RecordType::A));
    message.to_vec().unwrap()
}
