//! Giving cluster IPs to Services (`alloc.go: allocClusterIPs`).

use std::net::IpAddr;

use corten_meta::{Result, Status, object};
use serde_json::{Value, json};

use super::super::StrategyContext;
use super::super::rules::{At, ErrorList, parse_ip_sloppy};
use super::access::{is_headless, list, needs_cluster_ip, set, set_list};
use super::claims::{self, Claims};
use super::families::{self, invalid};
use super::ranges::{Ranges, candidates};

/// Addresses of a full range that are tried before it counts as full.
const TRIES_MAX: usize = 1 << 17;

/// For a Service that has none yet.
pub(super) async fn give(
    ctx: &StrategyContext<'_>,
    service: &mut Value,
    ranges: &Ranges,
    claims: &mut Claims,
) -> Result<()> {
    if !families::takes_addresses(service) {
        return Ok(());
    }
    let count = list(service, "ipFamilies").len();
    for index in 0..count {
        give_one(ctx, service, ranges, index, claims).await?;
    }
    Ok(())
}

/// What an update of the type or the families changes.
pub(super) async fn change(
    ctx: &StrategyContext<'_>,
    service: &mut Value,
    old: &Value,
    ranges: &Ranges,
    claims: &mut Claims,
) -> Result<()> {
    if families::is_unchanged_preference(service, Some(old)) {
        return Ok(());
    }
    match (needs_cluster_ip(old), needs_cluster_ip(service)) {
        (false, true) => return give(ctx, service, ranges, claims).await,
        (false, false) => return Ok(()),
        (true, _) if is_headless(old) => return Ok(()),
        (true, false) => return give_up(ctx, old, 0, claims).await,
        (true, true) => {}
    }
    let (before, now) = (list(old, "ipFamilies").len(), list(service, "ipFamilies").len());
    match (before, now) {
        (1, 2) => give_one(ctx, service, ranges, 1, claims).await,
        (2, 1) => give_up(ctx, old, 1, claims).await,
        _ => Ok(()),
    }
}

async fn give_up(ctx: &StrategyContext<'_>, old: &Value, from: usize, claims: &mut Claims) -> Result<()> {
    if ctx.write.dry_run {
        return Ok(());
    }
    for ip in list(old, "clusterIPs").into_iter().skip(from) {
        claims
            .unneeded
            .extend(claims::address_of(ctx.registry, old, ip).await);
    }
    Ok(())
}

async fn give_one(
    ctx: &StrategyContext<'_>,
    service: &mut Value,
    ranges: &Ranges,
    index: usize,
    claims: &mut Claims,
) -> Result<()> {
    let mut ips: Vec<String> = list(service, "clusterIPs")
        .into_iter()
        .map(str::to_owned)
        .collect();
    let family = list(service, "ipFamilies")[index].to_owned();
    let asked = ips.get(index).filter(|ip| !ip.is_empty());
    let ip = match asked {
        Some(asked) => take_asked(ctx, service, ranges, asked, claims).await?,
        None => take_any(ctx, service, ranges, &family, claims).await?,
    };
    ips.resize(ips.len().max(index + 1), String::new());
    ips[index] = ip;
    if index == 0 {
        set(service, "clusterIP", json!(ips[0]));
    }
    set_list(service, "clusterIPs", &ips);
    Ok(())
}

async fn take_asked(
    ctx: &StrategyContext<'_>,
    service: &Value,
    ranges: &Ranges,
    asked: &str,
    claims: &mut Claims,
) -> Result<String> {
    let refuse = |problem: &str| {
        let root = At::root(service);
        let mut errors = ErrorList::new();
        let detail = format!("failed to allocate IP {asked}: {problem}");
        root.get("spec").get("clusterIPs").invalid(&mut errors, &detail);
        invalid(service, errors)
    };
    let unreadable = || Status::internal(format!("failed to parse service IP {asked:?}"));
    let address = parse_ip_sloppy(asked).ok_or_else(unreadable)?;
    if !ranges.contains(address) {
        let family = super::super::rules::Ip::of(address).family();
        let range = ranges
            .of(family)
            .next()
            .map(ToString::to_string)
            .unwrap_or_default();
        return Err(refuse(&format!(
            "the provided IP ({address}) is not in the valid range. The range of valid IPs is {range}"
        )));
    }
    if !ctx.write.dry_run {
        let claim = claims::take_address(ctx, service, address).await?;
        claims
            .taken
            .push(claim.ok_or_else(|| refuse("provided IP is already allocated"))?);
    }
    Ok(asked.to_owned())
}

async fn take_any(
    ctx: &StrategyContext<'_>,
    service: &Value,
    ranges: &Ranges,
    family: &str,
    claims: &mut Claims,
) -> Result<String> {
    if ctx.write.dry_run {
        // As upstream: not worth finding a free one.
        let range = ranges.of(family).next();
        return Ok(range.map(|range| range.network().to_string()).unwrap_or_default());
    }
    for range in ranges.of(family) {
        for ip in candidates(range).take(TRIES_MAX) {
            if claims::is_taken(ctx.registry, ip)? {
                continue;
            }
            if let Some(claim) = claims::take_address(ctx, service, ip).await? {
                claims.taken.push(claim);
                return Ok(IpAddr::to_string(&ip));
            }
        }
    }
    let name = corten_meta::quote(object::name(service));
    Err(Status::internal(format!(
        "failed to allocate a serviceIP for Service {name}: range is full"
    )))
}
