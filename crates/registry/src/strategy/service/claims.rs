//! Addresses and node ports are claims in the store: a key that only one Service can create. So none is given out
//! twice, by whichever server and also after a crash; [`super::repair`] takes back what a crash left behind.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use corten_meta::{Result, Status, object};
use corten_store::{Compare, Op, Range, RangeRequest, Store, Txn};
use serde_json::{Value, json};

use super::super::rules::Ip;
use super::super::{Finish, StrategyContext};
use crate::context::WriteContext;
use crate::errors::store_error;
use crate::options::CreateOptions;
use crate::registry::Registry;
use crate::resource::Resource;

/// kube-apiserver's `--service-node-port-range`.
pub(super) const NODE_PORTS: std::ops::RangeInclusive<i64> = 30000..=32767;
const PORT_PREFIX: &str = "/registry/ranges/servicenodeports/";
const MANAGER_LABEL: &str = "ipaddress.kubernetes.io/managed-by";
const FAMILY_LABEL: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGER: &str = "ipallocator.k8s.io";

/// A key of the store as this server knows it.
#[derive(Clone, Debug)]
pub(super) struct Claim {
    pub key: String,
    /// It is only given up if nobody has taken it anew.
    pub revision: u64,
}

/// What a write took, given back if it fails; and what it no longer needs, given back if it succeeds.
#[derive(Debug, Default)]
pub(super) struct Claims {
    pub taken: Vec<Claim>,
    pub unneeded: Vec<Claim>,
}

impl Claims {
    pub(super) fn into_finish(self, registry: &Registry) -> Option<Finish> {
        if self.taken.is_empty() && self.unneeded.is_empty() {
            return None;
        }
        let store = Arc::clone(registry.store());
        Some(Box::new(move |success| {
            let back = if success { self.unneeded } else { self.taken };
            if !back.is_empty() {
                tokio::spawn(async move { give_back(store.as_ref(), back).await });
            }
        }))
    }
}

pub(super) async fn give_back(store: &dyn Store, claims: Vec<Claim>) {
    for claim in claims {
        let key = Bytes::from(claim.key.clone());
        let txn = Txn {
            compares: vec![Compare::ModRevision(key.clone(), claim.revision)],
            success: vec![Op::delete(key)],
            failure: Vec::new(),
        };
        if let Err(error) = store.txn(txn).await {
            tracing::warn!(key = claim.key, %error, "a service's claim stays until it is repaired");
        }
    }
}

fn addresses(registry: &Registry) -> Result<Resource> {
    let missing = || Status::internal("ipaddresses.networking.k8s.io is not served");
    registry
        .resource("networking.k8s.io", "ipaddresses")
        .ok_or_else(missing)
}

/// Claims an address for a Service; `None` if it is another's.
pub(super) async fn take_address(
    ctx: &StrategyContext<'_>,
    service: &Value,
    ip: IpAddr,
) -> Result<Option<Claim>> {
    let resource = addresses(ctx.registry)?;
    let parent = json!({
        "resource": "services",
        "namespace": object::namespace(service),
        "name": object::name(service),
    });
    let address = json!({
        "apiVersion": resource.api_version(),
        "kind": "IPAddress",
        "metadata": {
            "name": ip.to_string(),
            "labels": {FAMILY_LABEL: Ip::of(ip).family(), MANAGER_LABEL: MANAGER},
        },
        "spec": {"parentRef": parent},
    });
    let write = WriteContext::of_server(ctx.write.now);
    let created = ctx
        .registry
        .create(&write, &resource, "", address, &CreateOptions::default())
        .await;
    match created {
        Ok(created) => Ok(Some(Claim {
            key: resource.store_key(created.name()),
            revision: created.revision(),
        })),
        Err(status) if status.is_already_exists() => Ok(None),
        Err(status) => Err(status),
    }
}

/// Whether somebody has this address, as far as the cache knows.
pub(super) fn is_taken(registry: &Registry, ip: IpAddr) -> Result<bool> {
    let resource = addresses(registry)?;
    Ok(resource.cache().get(&ip.to_string()).is_some())
}

/// The claim a Service has on an address.
pub(super) async fn address_of(registry: &Registry, service: &Value, ip: &str) -> Option<Claim> {
    let resource = addresses(registry).ok()?;
    let found = registry.get(&resource, "", ip, "").await.ok()?;
    belongs(&found.value().ok()?, service).then(|| Claim {
        key: resource.store_key(ip),
        revision: found.revision(),
    })
}

fn belongs(address: &Value, service: &Value) -> bool {
    let parent = &address["spec"]["parentRef"];
    parent["resource"] == "services"
        && parent["namespace"].as_str() == Some(object::namespace(service))
        && parent["name"].as_str() == Some(object::name(service))
}

/// Whether an address object is one of ours, for this Service.
pub(super) fn is_managed(address: &Value) -> bool {
    object::label(address, MANAGER_LABEL) == Some(MANAGER)
}

/// Claims a node port; `None` if it is another's.
pub(super) async fn take_port(
    ctx: &StrategyContext<'_>,
    service: &Value,
    port: i64,
) -> Result<Option<Claim>> {
    let key = format!("{PORT_PREFIX}{port}");
    let owner = json!({
        "namespace": object::namespace(service),
        "name": object::name(service),
        "time": seconds(ctx.write.now),
    });
    let txn = Txn {
        compares: vec![Compare::ModRevision(Bytes::from(key.clone()), 0)],
        success: vec![Op::put(key.clone(), owner.to_string())],
        failure: Vec::new(),
    };
    let response = ctx
        .registry
        .store()
        .txn(txn)
        .await
        .map_err(|error| store_error(&error))?;
    Ok(response.succeeded.then_some(Claim {
        key,
        revision: response.revision,
    }))
}

pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A node port that is claimed.
#[derive(Debug)]
pub(super) struct PortClaim {
    pub port: i64,
    pub owner: Value,
    pub claim: Claim,
}

/// Every node port that is claimed.
pub(super) async fn claimed_ports(registry: &Registry) -> Result<Vec<PortClaim>> {
    let request = RangeRequest::new(Range::prefix(PORT_PREFIX));
    let found = registry
        .store()
        .range(request)
        .await
        .map_err(|error| store_error(&error))?;
    let claims = found.kvs.into_iter().filter_map(|kv| {
        let key = String::from_utf8(kv.key.to_vec()).ok()?;
        Some(PortClaim {
            port: key.strip_prefix(PORT_PREFIX)?.parse().ok()?,
            owner: serde_json::from_slice(&kv.value).unwrap_or_default(),
            claim: Claim {
                key,
                revision: kv.mod_revision,
            },
        })
    });
    Ok(claims.collect())
}

/// The claims a Service has on node ports, of these.
pub(super) async fn ports_of(registry: &Registry, service: &Value, ports: &[i64]) -> Result<Vec<Claim>> {
    if ports.is_empty() {
        return Ok(Vec::new());
    }
    let owns = |claim: &PortClaim| {
        claim.owner["namespace"].as_str() == Some(object::namespace(service))
            && claim.owner["name"].as_str() == Some(object::name(service))
    };
    let all = claimed_ports(registry).await?;
    let mine = all
        .into_iter()
        .filter(|claim| ports.contains(&claim.port) && owns(claim));
    Ok(mine.map(|claim| claim.claim).collect())
}
