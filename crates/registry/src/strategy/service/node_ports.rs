//! Giving node ports to Services (`alloc.go: initNodePorts`, `updateNodePorts`).

use std::collections::{BTreeMap, HashSet};

use corten_meta::{Result, Status};
use serde_json::{Value, json};

use super::super::StrategyContext;
use super::super::rules::{At, ErrorList};
use super::access::{self, health_port, needs_health_check, node_port, node_ports};
use super::claims::{self, Claims, NODE_PORTS};
use super::families::invalid;

const TAKEN: &str = "provided port is already allocated";
/// Where the made-up ports of dry runs begin.
const DRY_RUN_FIRST: i64 = 32769;
/// Times another server may be faster before giving up.
const TRIES_MAX: u32 = 64;

/// One write's ports.
pub(super) struct Taker<'a> {
    ctx: &'a StrategyContext<'a>,
    claims: &'a mut Claims,
    taken: HashSet<i64>,
}

impl<'a> Taker<'a> {
    pub(super) fn new(ctx: &'a StrategyContext<'a>, claims: &'a mut Claims) -> Self {
        Self {
            ctx,
            claims,
            taken: HashSet::new(),
        }
    }

    /// A port somebody asked for; the problem if it cannot be had.
    async fn take(&mut self, service: &Value, port: i64) -> Result<std::result::Result<(), String>> {
        if self.ctx.write.dry_run {
            let new = self.taken.insert(port);
            return Ok(if new { Ok(()) } else { Err(TAKEN.to_owned()) });
        }
        if !NODE_PORTS.contains(&port) {
            let (first, last) = NODE_PORTS.into_inner();
            return Ok(Err(format!(
                "provided port is not in the valid range. The range of valid ports is {first}-{last}"
            )));
        }
        let Some(claim) = claims::take_port(self.ctx, service, port).await? else {
            return Ok(Err(TAKEN.to_owned()));
        };
        self.claims.taken.push(claim);
        self.taken.insert(port);
        Ok(Ok(()))
    }

    /// Any free port; `None` if there is none.
    async fn any(&mut self, service: &Value) -> Result<Option<i64>> {
        if self.ctx.write.dry_run {
            let port = self.taken.iter().max().map_or(DRY_RUN_FIRST, |last| last + 1);
            self.taken.insert(port);
            return Ok(Some(port));
        }
        for _ in 0..TRIES_MAX {
            let all = claims::claimed_ports(self.ctx.registry).await?;
            let all: HashSet<i64> = all.into_iter().map(|claim| claim.port).collect();
            let free: Vec<i64> = NODE_PORTS.filter(|port| !all.contains(port)).collect();
            let choice = corten_stdx::ids::random_below(free.len() as u64);
            let Some(port) = usize::try_from(choice)
                .ok()
                .and_then(|choice| free.get(choice).copied())
            else {
                return Ok(None);
            };
            if self.take(service, port).await?.is_ok() {
                return Ok(Some(port));
            }
        }
        Ok(None)
    }

    async fn any_for(&mut self, service: &Value) -> Result<i64> {
        let full = || Status::internal("failed to allocate a nodePort: range is full");
        self.any(service).await?.ok_or_else(full)
    }

    async fn asked_for(&mut self, service: &Value, index: usize, port: i64) -> Result<()> {
        let taken = self.take(service, port).await?;
        taken.map_err(|problem| refused(service, index, port, &problem))
    }

    /// For a Service that has none yet. The same port in two protocols shares its node port.
    pub(super) async fn give(&mut self, service: &mut Value) -> Result<()> {
        let mut of_port: BTreeMap<i64, i64> = BTreeMap::new();
        for index in 0..access::ports(service).len() {
            let ports = access::ports(service);
            let (number, given) = (
                ports[index]["port"].as_i64().unwrap_or(0),
                node_port(&ports[index]),
            );
            if given == 0 && !access::gets_node_ports(service) {
                continue;
            }
            let wanted = match of_port.get(&number) {
                Some(shared) if given == 0 || given == *shared => *shared,
                Some(_) => {
                    self.asked_for(service, index, given).await?;
                    given
                }
                None => {
                    let asked = ports
                        .iter()
                        .find(|port| port["port"] == number && node_port(port) != 0);
                    let chosen = match asked.map(node_port) {
                        Some(asked) => {
                            self.asked_for(service, index, asked).await?;
                            asked
                        }
                        None => self.any_for(service).await?,
                    };
                    of_port.insert(number, chosen);
                    chosen
                }
            };
            service["spec"]["ports"][index]["nodePort"] = json!(wanted);
        }
        Ok(())
    }

    /// What an update adds; what it drops is given back when it has succeeded.
    pub(super) async fn change(&mut self, service: &mut Value, old: &Value) -> Result<()> {
        let before = node_ports(old);
        if access::may_have_node_ports(service) {
            self.change_ports(service, &before).await?;
        }
        let mut dropped = before;
        if access::may_have_node_ports(service) {
            let now = node_ports(service);
            dropped.retain(|port| !now.contains(port));
        }
        match (needs_health_check(old), needs_health_check(service)) {
            (false, true) => self.give_health_port(service).await?,
            (true, false) => dropped.push(health_port(old)),
            _ => {}
        }
        if !self.ctx.write.dry_run {
            let unneeded = claims::ports_of(self.ctx.registry, old, &dropped).await?;
            self.claims.unneeded.extend(unneeded);
        }
        Ok(())
    }

    async fn change_ports(&mut self, service: &mut Value, before: &[i64]) -> Result<()> {
        let mut seen = HashSet::new();
        for index in 0..access::ports(service).len() {
            let port = &access::ports(service)[index];
            let protocol = port["protocol"].as_str().unwrap_or_default().to_owned();
            let number = match node_port(port) {
                0 if !access::gets_node_ports(service) => continue,
                0 => self.any_for(service).await?,
                given if before.contains(&given) || self.taken.contains(&given) => given,
                given => {
                    self.asked_for(service, index, given).await?;
                    given
                }
            };
            service["spec"]["ports"][index]["nodePort"] = json!(number);
            if !seen.insert((protocol.clone(), number)) {
                return Err(Status::internal(format!(
                    "duplicate nodePort: {{{protocol} {number}}}"
                )));
            }
        }
        Ok(())
    }

    /// The port of a load balancer's health check.
    pub(super) async fn give_health_port(&mut self, service: &mut Value) -> Result<()> {
        let asked = health_port(service);
        if asked != 0 {
            let taken = self.take(service, asked).await?;
            return taken.map_err(|problem| {
                Status::internal(format!(
                    "failed to allocate requested HealthCheck NodePort {asked}: {problem}"
                ))
            });
        }
        let full = || Status::internal("failed to allocate a HealthCheck NodePort 0: range is full");
        let port = self.any(service).await?.ok_or_else(full)?;
        service["spec"]["healthCheckNodePort"] = json!(port);
        Ok(())
    }
}

fn refused(service: &Value, index: usize, port: i64, problem: &str) -> Status {
    let root = At::root(service);
    let spec = root.get("spec");
    let ports = spec.get("ports");
    let mut errors = ErrorList::new();
    ports
        .index(index)
        .get("nodePort")
        .invalid_as(&mut errors, port, problem);
    invalid(service, errors)
}
