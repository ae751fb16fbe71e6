//! Starts an API server on loopback for trying clients against it:
//! `cargo run -p corten-apiserver --example serve -- PORT DATA_DIR`. Prints the CA path, a token of a user in
//! system:masters, and a kubeconfig.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use corten_apiserver::{DirectDialer, Standard, bootstrap};
use corten_auth::pki::{Pki, ServingNames};
use corten_auth::{UserInfo, groups, kubeconfig};
use corten_registry::Registry;
use corten_store::embedded::{Engine, Options as EngineOptions};
use tokio_util::sync::CancellationToken;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .init();
    let mut args = std::env::args().skip(1);
    let port: u16 = args.next().context("usage: serve PORT DATA_DIR")?.parse()?;
    let dir = PathBuf::from(args.next().context("usage: serve PORT DATA_DIR")?);
    let started = std::time::Instant::now();
    std::fs::create_dir_all(&dir)?;
    let service_ip = IpAddr::V4(Ipv4Addr::new(10, 96, 0, 1));
    let names = ServingNames::standard("cluster.local", service_ip, &[], "localhost");
    let pki = Pki::load_or_create(&dir.join("pki"), &names)?;
    let store = Engine::open(dir.join("store"), EngineOptions::default()).await?;
    let registry = Registry::open(Arc::new(store), corten_registry::Options::default()).await?;
    let opened = started.elapsed();
    let standard = Standard {
        registry,
        cluster: bootstrap::Config {
            service_cidrs: vec!["10.96.0.0/16".to_owned()],
            service_ip,
            advertise_ip: IpAddr::V4(Ipv4Addr::LOCALHOST),
            advertise_port: port,
            client_ca_pem: pki.ca_pem().to_owned(),
            front_proxy_ca_pem: pki.front_proxy_authority.pem().to_owned(),
        },
        issuer: ISSUER.to_owned(),
        static_tokens: vec![("admin-token".to_owned(), admin())],
        features: Default::default(),
        limits: Default::default(),
        audit: None,
        dialer: Arc::new(DirectDialer),
    };
    let (server, tls) = standard.start(&pki).await?;
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let stop = CancellationToken::new();
    let front = tokio::spawn(corten_apiserver::serve(
        server.clone(),
        vec![listener],
        tls,
        stop.clone(),
    ));
    // Controllers run as upstream's does with one identity for all: a member of system:masters here.
    let client =
        corten_client::in_process(server.in_process(UserInfo::new("controllers", [groups::MASTERS])));
    let factory = corten_client::Factory::new(client, stop.clone());
    let mut config = corten_controllers::Config::new(corten_stdx::RealClock::shared());
    pki.ca_pem().clone_into(&mut config.root_ca);
    let controllers = tokio::spawn(corten_controllers::run_all(factory, config, stop.clone()));
    let url = format!("https://127.0.0.1:{port}");
    let ca_pem = pki.ca_pem();
    let entry = kubeconfig::Entry {
        name: "corten",
        user: "admin",
        server: &url,
        ca_pem,
        identity: &pki.admin,
    };
    kubeconfig::write(&dir.join("admin.kubeconfig"), &entry)?;
    println!("opened {opened:?}, ready {:?}", started.elapsed());
    println!("{url} {} admin-token", dir.join("pki/ca.crt").display());
    println!("KUBECONFIG={}", dir.join("admin.kubeconfig").display());
    tokio::signal::ctrl_c().await?;
    server.stop();
    stop.cancel();
    front.await?;
    controllers.await?;
    Ok(())
}

fn admin() -> UserInfo {
    UserInfo {
        uid: "admin".to_owned(),
        ..UserInfo::new("admin", [groups::MASTERS])
    }
}
