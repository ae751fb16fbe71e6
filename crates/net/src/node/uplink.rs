//! IPv4 forwarding on interfaces that are not ours (the uplink, the link to the other nodes). It is switched per
//! interface, never for the machine, and back at the end. Who switched what is remembered where a crash cannot
//! lose it and other clusters see it: as an empty chain `uplink-<interface>` in the cluster's nf_tables table,
//! meaning "this cluster needs forwarding there, and before Corten it was off".

use std::collections::BTreeSet;

use crate::error::Result;
use crate::ids::ClusterId;
use crate::netlink::Messages;
use crate::nft::{Nft, Transaction};
use crate::rt::{self, Link, LinkConf, Rt};

const CHAIN_PREFIX: &str = "uplink-";

/// Claims of one cluster and of all others in this namespace, by interface name.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Claims {
    pub own: BTreeSet<String>,
    pub others: BTreeSet<String>,
}

impl Claims {
    pub fn read(nft: &mut Nft, cluster: ClusterId) -> Result<Self> {
        let mut claims = Self::default();
        for chain in nft.chains()? {
            let table = chain.table;
            let Some(interface) = chain.name.strip_prefix(CHAIN_PREFIX) else {
                continue;
            };
            if table == cluster.node_table() {
                claims.own.insert(interface.to_owned());
            } else if table.starts_with("corten-") && table.ends_with("-node") {
                claims.others.insert(interface.to_owned());
            }
        }
        Ok(claims)
    }

    /// Writes the own claims into the transaction that (re)makes the cluster's table.
    pub fn write(&self, transaction: &mut Transaction) {
        for interface in &self.own {
            transaction.chain(&format!("{CHAIN_PREFIX}{interface}"));
        }
    }

    /// Switches forwarding on, and remembers it first if this cluster, or another one, is why it is on.
    pub fn take(&mut self, rt: &mut Rt, nft: &mut Nft, cluster: ClusterId, link: &Link) -> Result<()> {
        let name = link.name.as_str();
        if self.own.contains(name) && link.forwarding {
            return Ok(());
        }
        if !link.forwarding || self.others.contains(name) {
            let mut transaction = Transaction::new(&cluster.node_table());
            transaction.chain(&format!("{CHAIN_PREFIX}{name}"));
            nft.commit(transaction)?;
            self.own.insert(name.to_owned());
        }
        switch(rt, link, true)
    }

    /// Switches back what no other cluster needs.
    pub fn release(&self, rt: &mut Rt) -> Result<()> {
        for name in self.own.difference(&self.others) {
            if let Some(link) = rt.link(name)? {
                switch(rt, &link, false)?;
            }
        }
        Ok(())
    }
}

fn switch(rt: &mut Rt, link: &Link, on: bool) -> Result<()> {
    if link.forwarding == on {
        return Ok(());
    }
    tracing::info!(interface = %link.name, on, "switching IPv4 forwarding");
    let mut messages = Messages::new();
    rt::set_conf(
        &mut messages,
        link.index,
        LinkConf {
            forwarding: Some(on),
            rp_filter: None,
            ..LinkConf::default()
        },
    );
    rt.apply(&format!("switching IPv4 forwarding of {}", link.name), messages)
}
