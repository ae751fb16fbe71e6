//! Brings claims and Services together again after a crash (upstream's repair loops).

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use corten_meta::{Result, object};
use serde_json::Value;

use super::super::StrategyContext;
use super::super::rules::parse_ip_sloppy;
use super::access::{health_port, list, node_ports};
use super::claims::{self, Claim};
use super::families;
use crate::context::{User, WriteContext};
use crate::options::ListOptions;
use crate::registry::Registry;
use crate::resource::Subresource;

/// A claim younger than this may belong to a Service that is being written.
const GRACE: Duration = Duration::from_secs(60);

/// Gives Services the claims they lack and takes back those nobody has. Meant to run when a server starts and every
/// few minutes after that.
///
/// # Errors
/// What the store says; the next run goes on where this one stopped.
pub async fn repair(registry: &Registry, now: SystemTime) -> Result<()> {
    let Some(services) = registry.resource("", "services") else {
        return Ok(());
    };
    let write = WriteContext::new(User::default(), now);
    let ctx = StrategyContext {
        registry,
        write: &write,
        resource: &services,
        subresource: Subresource::MAIN,
    };
    // Claims first: a Service that comes meanwhile is in the list, its claims are not.
    let addresses = managed_addresses(registry).await?;
    let ports = claims::claimed_ports(registry).await?;
    let (mut used, mut used_ports) = (HashSet::new(), HashSet::new());
    for item in registry
        .list(&services, None, &ListOptions::default())
        .await?
        .items
    {
        let service = item.value()?;
        let name = (item.namespace().to_owned(), item.name().to_owned());
        if families::takes_addresses(&service) {
            for ip in list(&service, "clusterIPs") {
                claim_address(&ctx, &service, ip).await?;
                used.insert((ip.to_owned(), name.clone()));
            }
        }
        let mut numbers = node_ports(&service);
        numbers.extend(Some(health_port(&service)).filter(|port| *port != 0));
        for port in numbers {
            if !ports.iter().any(|claim| claim.port == port) {
                claims::take_port(&ctx, &service, port).await?;
            }
            used_ports.insert((port, name.clone()));
        }
    }
    let lost = addresses
        .into_iter()
        .filter(|(address, _)| is_old(&write, address) && !used.contains(&owner_of_address(address)))
        .map(|(_, claim)| claim);
    let lost_ports = ports.into_iter().filter(|claim| {
        let owner = (text(&claim.owner, "namespace"), text(&claim.owner, "name"));
        let age = claims::seconds(write.now).saturating_sub(claim.owner["time"].as_u64().unwrap_or(0));
        age > GRACE.as_secs() && !used_ports.contains(&(claim.port, owner))
    });
    let lost: Vec<Claim> = lost.chain(lost_ports.map(|claim| claim.claim)).collect();
    claims::give_back(registry.store().as_ref(), lost).await;
    Ok(())
}

async fn managed_addresses(registry: &Registry) -> Result<Vec<(Value, Claim)>> {
    let Some(resource) = registry.resource("networking.k8s.io", "ipaddresses") else {
        return Ok(Vec::new());
    };
    let mut found = Vec::new();
    for item in registry
        .list(&resource, None, &ListOptions::default())
        .await?
        .items
    {
        let value = item.value()?;
        let claim = Claim {
            key: resource.store_key(item.name()),
            revision: item.revision(),
        };
        if claims::is_managed(&value) {
            found.push((value, claim));
        }
    }
    Ok(found)
}

async fn claim_address(ctx: &StrategyContext<'_>, service: &Value, ip: &str) -> Result<()> {
    let Some(address) = parse_ip_sloppy(ip) else {
        return Ok(());
    };
    if !claims::is_taken(ctx.registry, address)? {
        claims::take_address(ctx, service, address).await?;
    }
    Ok(())
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_default().to_owned()
}

fn owner_of_address(address: &Value) -> (String, (String, String)) {
    let parent = &address["spec"]["parentRef"];
    (
        object::name(address).to_owned(),
        (text(parent, "namespace"), text(parent, "name")),
    )
}

fn is_old(write: &WriteContext, address: &Value) -> bool {
    let created = object::creation_timestamp(address).parse::<jiff::Timestamp>();
    let created = created.map_or(0, |created| u64::try_from(created.as_second()).unwrap_or(0));
    claims::seconds(write.now).saturating_sub(created) > GRACE.as_secs()
}
