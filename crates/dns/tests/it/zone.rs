//! A zone with one service of every sort.

use std::net::IpAddr;

use corten_dns::{Desired, Endpoint, Port, Protocol, Service, Target};

pub fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn port(name: &str, protocol: Protocol, port: u16) -> Port {
    Port {
        name: name.into(),
        protocol,
        port,
    }
}

fn service(namespace: &str, name: &str, target: Target) -> Service {
    Service {
        namespace: namespace.into(),
        name: name.into(),
        target,
    }
}

pub fn desired() -> Desired {
    let dns = vec![port("dns", Protocol::Udp, 53), port("dns-tcp", Protocol::Tcp, 53)];
    let db = |address: &str, hostname: Option<&str>| Endpoint {
        ip: ip(address),
        hostname: hostname.map(str::to_owned),
        ports: vec![port("sql", Protocol::Tcp, 5432)],
    };
    let endpoints = vec![
        db("10.244.1.5", Some("db-0")),
        db("10.244.2.7", Some("db-1")),
        db("10.244.1.9", None),
    ];
    let external = |name: &str| Target::ExternalName(name.into());
    Desired {
        domain: "cluster.local".into(),
        server_ip: ip("10.96.0.10"),
        namespaces: ["default", "kube-system", "empty"].map(str::to_owned).into(),
        services: vec![
            service(
                "default",
                "web",
                Target::ClusterIp {
                    ips: vec![ip("10.96.0.20"), ip("fd00::20")],
                    ports: vec![port("", Protocol::Tcp, 80)],
                },
            ),
            service(
                "kube-system",
                "kube-dns",
                Target::ClusterIp {
                    ips: vec![ip("10.96.0.10")],
                    ports: dns,
                },
            ),
            service("default", "db", Target::Headless { endpoints }),
            service(
                "default",
                "idle",
                Target::Headless {
                    endpoints: Vec::new(),
                },
            ),
            service("default", "out", external("www.example.com")),
            service("default", "again", external("web.default.svc.cluster.local.")),
            service("default", "circle", external("circle.default.svc.cluster.local")),
        ],
    }
}
