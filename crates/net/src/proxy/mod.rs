//! The service proxy: ClusterIPs, node ports and external IPs in one nf_tables table per cluster, with maps only
//! and a number of chains that does not grow with services (RUNTIME.md, "Network").

mod elements;
mod front;
mod kind;
mod layout;
mod model;
mod planner;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use ipnet::Ipv4Net;

pub use elements::Elements;
pub use front::{Front, Key, fronts};
pub(crate) use kind::load_key;
pub use kind::{Kind, List, MASQUERADE_MARK, MAX_AFFINITY_CLIENTS, MAX_BACKENDS};
pub use model::{
    Backend, Chosen, Endpoint, Protocol, ServiceMap, ServicePort, ServicePortName, TrafficPolicy, choose,
};
pub use planner::{Batch, Installed, StaleUdp, plan};

use crate::conntrack::Conntrack;
use crate::error::Result;
use crate::ids::ClusterId;
use crate::netns::NetNs;
use crate::nft::{Data, Element, Nft, Transaction};

#[derive(Debug, Clone)]
pub struct Config {
    pub cluster: ClusterId,
    /// The node's network namespace; `None` is the calling thread's.
    pub netns: Option<PathBuf>,
    pub cluster_cidr: Ipv4Net,
    pub service_cidr: Ipv4Net,
}

/// The proxy of one node. Calls are synchronous: under a millisecond for one change, tens for ten thousand
/// services at once.
#[derive(Debug)]
pub struct Proxy {
    config: Config,
    nft: Nft,
    conntrack: Conntrack,
    /// `None` until the table has been made by this process, and after any doubt about it.
    installed: Option<Installed>,
}

/// What one [`Proxy::apply`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// The table was made afresh.
    pub rebuilt: bool,
    /// Addresses and ports of services that changed.
    pub fronts: usize,
    /// Map elements added and removed.
    pub elements: usize,
    pub planning: Duration,
    pub kernel: Duration,
}

impl Proxy {
    /// Opens the sockets. What an earlier process installed keeps working until the first [`apply`](Self::apply)
    /// replaces it, in one transaction.
    pub fn open(config: Config) -> Result<Self> {
        let open = || Ok((Nft::open()?, Conntrack::open()?));
        let (nft, conntrack) = match &config.netns {
            Some(path) => NetNs::open(path)?.run(open)?,
            None => open()?,
        };
        Ok(Self {
            config,
            nft,
            conntrack,
            installed: None,
        })
    }

    /// Makes the kernel serve exactly these services. Atomic: a connection sees the old state or the new one. If
    /// the kernel refuses a change, the table is not what this process thought; it is then made afresh.
    pub fn apply(&mut self, desired: &ServiceMap) -> Result<Applied> {
        if let Some(installed) = self.installed.take() {
            match self.change(installed, desired, false) {
                Ok(applied) => return Ok(applied),
                Err(e) => tracing::warn!(error = %e, "service table is not as expected: making it afresh"),
            }
        }
        self.change(Installed::default(), desired, true)
    }

    fn change(&mut self, mut installed: Installed, desired: &ServiceMap, rebuild: bool) -> Result<Applied> {
        let start = Instant::now();
        let batch = plan(&installed, desired);
        let planned = Instant::now();
        if rebuild || !batch.is_empty() {
            self.nft.commit(transaction(&self.config, &batch, rebuild))?;
        }
        let applied = Applied {
            rebuilt: rebuild,
            fronts: batch.changed_fronts(),
            elements: batch.add.len() + batch.remove.len(),
            planning: planned - start,
            kernel: planned.elapsed(),
        };
        if let Err(e) = self.conntrack.forget_stale(&batch.stale_udp) {
            tracing::warn!(error = %e, "UDP clients may go on talking to endpoints that are gone");
        }
        installed.commit(batch);
        self.installed = Some(installed);
        Ok(applied)
    }

    /// Removes the table.
    pub fn remove(mut self) -> Result<()> {
        self.nft.remove_table(&self.config.cluster.service_table())
    }
}

/// Order matters: chains before what leads to them, removed elements before added ones with the same key.
fn transaction(config: &Config, batch: &Batch, rebuild: bool) -> Transaction {
    let mut t = Transaction::new(&config.cluster.service_table());
    if rebuild {
        layout::install(&mut t, config);
    }
    for kind in &batch.add_kinds {
        let Some(chain) = kind.chain() else { continue };
        t.chain(&chain);
        for rule in kind.rules() {
            t.rule(&chain, &rule);
        }
        t.add_elements(layout::DISPATCH, &[dispatch_element(*kind, chain)]);
    }
    for (key, sources) in &batch.allow {
        layout::allow(&mut t, key, sources);
    }
    for (map, elements) in batch.remove.by_map() {
        t.delete_elements(map, elements);
    }
    for (map, elements) in batch.add.by_map() {
        t.add_elements(map, elements);
    }
    for key in &batch.allow_all {
        t.delete_chain(&key.firewall_chain());
    }
    for kind in &batch.remove_kinds {
        let Some(chain) = kind.chain() else { continue };
        t.delete_elements(layout::DISPATCH, &[dispatch_element(*kind, chain.clone())]);
        t.delete_chain(&chain);
    }
    t
}

fn dispatch_element(kind: Kind, chain: String) -> Element {
    Element::new(kind.number().to_ne_bytes(), Data::Goto(chain))
}
