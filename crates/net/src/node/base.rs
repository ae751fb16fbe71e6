//! What a node's network has before its first pod, and taking all of it away again.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use nix::errno::Errno;

use super::Config;
use super::ipam::gateway;
use super::uplink::Claims;
use crate::error::Result;
use crate::ids::ClusterId;
use crate::netlink::Messages;
use crate::nft::parts::in_range;
use crate::nft::{Expr, Hook, Nft, PRIORITY_SRCNAT, Reg, Transaction};
use crate::rt::{self, Address, Kind, Link, LinkConf, PROTOCOL, Route, Rt};

/// Puts addresses, routes and rules in place; all of it may be there already.
pub fn install(rt: &mut Rt, nft: &mut Nft, config: &Config) -> Result<Claims> {
    let mut messages = Messages::new();
    rt::set_link(&mut messages, rt::LOOPBACK_INDEX, LinkConf::default());
    rt::address(
        &mut messages,
        &local_address(config.cluster, gateway(config.pod_cidr)),
    );
    for route in base_routes(config) {
        rt::replace_route(&mut messages, &route);
    }
    rt.apply("preparing the node's routes", messages)?;
    let claims = Claims::read(nft, config.cluster)?;
    let mut transaction = Transaction::new(&config.cluster.node_table());
    transaction.recreate_table();
    claims.write(&mut transaction);
    masquerade(&mut transaction, config);
    nft.commit(transaction)?;
    warn_of_firewalls(nft, config.cluster)?;
    Ok(claims)
}

/// An accept in our tables does not help where another table drops (Docker's policy for forwarded packets), and
/// other programs' tables are not ours to change.
fn warn_of_firewalls(nft: &mut Nft, cluster: ClusterId) -> Result<()> {
    for chain in nft.chains()?.iter().filter(|c| c.drops_forwarded) {
        tracing::warn!(
            table = %chain.table,
            chain = %chain.name,
            "another firewall on this machine drops forwarded packets, so pods may not reach anything; \
             let it accept interfaces {}*",
            cluster.veth_prefix()
        );
    }
    Ok(())
}

/// Addresses that no pod has are unreachable here instead of leaving by the default route. The service range
/// leads to `lo`: this machine's own packets need some route to be sent at all, the proxy then translates or
/// rejects them, and what neither takes is dropped there, since `lo` does not forward.
fn base_routes(config: &Config) -> Vec<Route> {
    let metric = config.cluster.route_metric();
    let mut routes = vec![Route::to(config.cluster_cidr.trunc(), Kind::Unreachable, metric)];
    if config.pod_cidr.trunc() != config.cluster_cidr.trunc() {
        routes.push(Route::to(config.pod_cidr.trunc(), Kind::Unreachable, metric));
    }
    routes.push(Route {
        interface: Some(rt::LOOPBACK_INDEX),
        source: Some(gateway(config.pod_cidr)),
        ..Route::to(config.service_cidr.trunc(), Kind::Unicast, metric)
    });
    routes
}

/// Pods that talk to something outside the cluster do so from the node's address.
fn masquerade(transaction: &mut Transaction, config: &Config) {
    transaction.base_chain("postrouting", "nat", Hook::Postrouting, PRIORITY_SRCNAT);
    let mut rule = Vec::new();
    rule.extend(in_range(Expr::SourceAddress(Reg(0)), config.pod_cidr, true));
    rule.extend(in_range(
        Expr::DestinationAddress(Reg(0)),
        config.cluster_cidr,
        false,
    ));
    rule.push(Expr::Masquerade);
    transaction.rule("postrouting", &rule);
}

pub fn local_address(cluster: ClusterId, ip: Ipv4Addr) -> Address {
    Address {
        net: Ipv4Net::from(ip),
        interface: rt::LOOPBACK_INDEX,
        label: Some(cluster.address_label()),
    }
}

/// The interface of the default route with the smallest metric.
pub fn uplink(rt: &mut Rt) -> Result<Option<Link>> {
    let mut defaults: Vec<Route> = rt.routes()?;
    defaults.retain(|r| r.to.prefix_len() == 0 && r.kind == Kind::Unicast && r.table == 254);
    defaults.sort_by_key(|r| r.metric);
    let Some(index) = defaults.first().and_then(|r| r.interface) else {
        return Ok(None);
    };
    Ok(rt.links()?.into_iter().find(|l| l.index == index))
}

/// Removes everything that carries the cluster's name: interfaces, routes, addresses, tables, forwarding.
pub fn sweep(rt: &mut Rt, nft: &mut Nft, cluster: ClusterId) -> Result<()> {
    let claims = Claims::read(nft, cluster)?;
    claims.release(rt)?;
    for table in [
        cluster.service_table(),
        cluster.port_table(),
        cluster.node_table(),
    ] {
        nft.remove_table(&table)?;
    }
    let gone = [Errno::ENODEV, Errno::ESRCH, Errno::EADDRNOTAVAIL];
    let mut messages = Messages::new();
    rt::delete_group(&mut messages, cluster.link_group());
    rt.apply_unless("removing the pods' interfaces", messages, &gone)?;
    // One at a time costs 30 ms each; whatever of ours is in no group any more.
    let prefix = cluster.veth_prefix();
    for link in rt.links()?.into_iter().filter(|l| l.name.starts_with(&prefix)) {
        let mut messages = Messages::new();
        rt::delete_link(&mut messages, link.index);
        rt.apply_unless("removing a pod's interface", messages, &gone)?;
    }
    for route in rt.routes()? {
        if route.protocol == PROTOCOL && route.metric == cluster.route_metric() {
            let mut messages = Messages::new();
            rt::delete_route(&mut messages, &route);
            rt.apply_unless("removing a route", messages, &gone)?;
        }
    }
    let label = cluster.address_label();
    for address in rt
        .addresses()?
        .into_iter()
        .filter(|a| a.label.as_deref() == Some(&label))
    {
        let mut messages = Messages::new();
        rt::delete_address(&mut messages, &address);
        rt.apply_unless("removing an address", messages, &gone)?;
    }
    Ok(())
}

/// Everything in the namespace that carries the cluster's name, one line each.
pub fn leftovers(rt: &mut Rt, nft: &mut Nft, cluster: ClusterId) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let tables = [
        cluster.service_table(),
        cluster.port_table(),
        cluster.node_table(),
    ];
    found.extend(
        nft.tables()?
            .into_iter()
            .filter(|t| tables.contains(t))
            .map(|t| format!("table {t}")),
    );
    let prefix = cluster.veth_prefix();
    let links = rt.links()?.into_iter().filter(|l| l.name.starts_with(&prefix));
    found.extend(links.map(|l| format!("interface {}", l.name)));
    let ours = |r: &Route| r.protocol == PROTOCOL && r.metric == cluster.route_metric();
    found.extend(
        rt.routes()?
            .into_iter()
            .filter(ours)
            .map(|r| format!("route {}", r.to)),
    );
    let label = cluster.address_label();
    let addresses = rt
        .addresses()?
        .into_iter()
        .filter(|a| a.label.as_deref() == Some(&label));
    found.extend(addresses.map(|a| format!("address {}", a.net)));
    Ok(found)
}
