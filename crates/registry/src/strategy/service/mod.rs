//! Services (`pkg/registry/core/service`): validation, and the addresses and node ports they are given.

mod access;
mod addresses;
mod claims;
mod families;
mod node_ports;
mod ranges;
mod repair;
mod validate;
mod warnings;

pub use repair::repair;

use async_trait::async_trait;
use corten_meta::{Result, names, object};
use serde_json::{Value, json};

use self::claims::Claims;
use self::node_ports::Taker;
use self::ranges::Ranges;
use super::rules::{ErrorList, object_meta, object_meta_update};
use super::{Finish, Strategy, StrategyContext, generic};
use crate::options::DeleteOptions;
use crate::resource::Subresource;

/// Whether a Service of its type has something.
type Need = fn(&Value) -> bool;

#[derive(Clone, Copy, Debug)]
pub struct ServiceStrategy;

#[async_trait]
impl Strategy for ServiceStrategy {
    fn allow_create_on_update(&self) -> bool {
        true
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        names::name_is_dns_label(name, prefix)
    }

    fn validate(&self, _ctx: &StrategyContext<'_>, service: &Value) -> ErrorList {
        let mut errors = object_meta(service, true, names::name_is_dns_label);
        validate::service(service, None, &mut errors);
        errors
    }

    fn warnings_on_create(&self, _ctx: &StrategyContext<'_>, service: &Value) -> Vec<String> {
        warnings::of(service)
    }

    fn prepare_for_update(&self, ctx: &StrategyContext<'_>, service: &mut Value, old: &Value) {
        generic::prepare_for_update(ctx, service, old);
        if ctx.subresource != Subresource::STATUS {
            drop_by_type(service, old);
        }
    }

    fn validate_update(&self, ctx: &StrategyContext<'_>, service: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        object_meta_update(service, &mut errors);
        match ctx.subresource {
            Subresource::STATUS => validate::status(service, old, &mut errors),
            _ => validate::update(service, old, &mut errors),
        }
        errors
    }

    fn warnings_on_update(&self, ctx: &StrategyContext<'_>, service: &Value, _old: &Value) -> Vec<String> {
        if ctx.subresource == Subresource::STATUS {
            return Vec::new();
        }
        warnings::of(service)
    }

    fn selectable_fields(&self) -> &'static [&'static str] {
        &["spec.clusterIP", "spec.type"]
    }

    fn field_values(&self, service: &Value) -> Vec<String> {
        let values = ["clusterIP", "type"].map(|field| access::text(service, field).to_owned());
        values.into()
    }

    async fn begin_create(&self, ctx: &StrategyContext<'_>, service: &mut Value) -> Result<Option<Finish>> {
        families::normalize(service, None);
        let mut claims = Claims::default();
        let taken = take_for_create(ctx, service, &mut claims).await;
        settle(ctx, taken, claims).await
    }

    async fn begin_update(
        &self,
        ctx: &StrategyContext<'_>,
        service: &mut Value,
        old: &Value,
    ) -> Result<Option<Finish>> {
        if ctx.subresource != Subresource::MAIN {
            return Ok(None);
        }
        families::keep_allocated(service, old);
        families::normalize(service, Some(old));
        let mut claims = Claims::default();
        let taken = take_for_update(ctx, service, old, &mut claims).await;
        settle(ctx, taken, claims).await
    }

    async fn after_delete(&self, ctx: &StrategyContext<'_>, service: &Value) {
        let (namespace, name) = (object::namespace(service), object::name(service));
        if let Some(endpoints) = ctx.registry.resource("", "endpoints") {
            let options = DeleteOptions::default();
            let deleted = ctx
                .registry
                .delete(ctx.write, &endpoints, namespace, name, &options);
            if let Err(error) = deleted.await
                && !error.is_not_found()
            {
                tracing::warn!(namespace, name, %error, "endpoints of a deleted service stay");
            }
        }
        let mut unneeded = Vec::new();
        if families::takes_addresses(service) {
            for ip in access::list(service, "clusterIPs") {
                unneeded.extend(claims::address_of(ctx.registry, service, ip).await);
            }
        }
        let mut ports = access::node_ports(service);
        ports.extend(Some(access::health_port(service)).filter(|port| *port != 0));
        unneeded.extend(
            claims::ports_of(ctx.registry, service, &ports)
                .await
                .unwrap_or_default(),
        );
        claims::give_back(ctx.registry.store().as_ref(), unneeded).await;
    }
}

/// What was taken before an error goes back at once.
async fn settle(ctx: &StrategyContext<'_>, taken: Result<()>, claims: Claims) -> Result<Option<Finish>> {
    match taken {
        Ok(()) => Ok(claims.into_finish(ctx.registry)),
        Err(status) => {
            claims::give_back(ctx.registry.store().as_ref(), claims.taken).await;
            Err(status)
        }
    }
}

async fn take_for_create(ctx: &StrategyContext<'_>, service: &mut Value, claims: &mut Claims) -> Result<()> {
    let ranges = Ranges::load(ctx.registry).await?;
    families::init(service, None, &ranges)?;
    addresses::give(ctx, service, &ranges, claims).await?;
    let mut taker = Taker::new(ctx, claims);
    if access::may_have_node_ports(service) {
        taker.give(service).await?;
    }
    if access::needs_health_check(service) {
        taker.give_health_port(service).await?;
    }
    Ok(())
}

async fn take_for_update(
    ctx: &StrategyContext<'_>,
    service: &mut Value,
    old: &Value,
    claims: &mut Claims,
) -> Result<()> {
    let ranges = Ranges::load(ctx.registry).await?;
    families::init(service, Some(old), &ranges)?;
    addresses::change(ctx, service, old, &ranges, claims).await?;
    Taker::new(ctx, claims).change(service, old).await
}

/// What belongs to the old type goes with it, unless the user changed it too (`dropTypeDependentFields`).
fn drop_by_type(service: &mut Value, old: &Value) {
    let same = |service: &Value, field: &str| service["spec"][field] == old["spec"][field];
    let loses = |needs: Need, service: &Value| needs(old) && !needs(service);
    if loses(access::needs_cluster_ip, service) {
        if same(service, "clusterIP") && access::same_list(old, service, "clusterIPs") {
            access::set(service, "clusterIP", Value::Null);
            access::set(service, "clusterIPs", Value::Null);
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if same(service, field) {
                access::set(service, field, Value::Null);
            }
        }
    }
    if loses(access::may_have_node_ports, service) {
        let before = access::node_ports(old);
        if access::node_ports(service)
            .iter()
            .all(|port| before.contains(port))
        {
            for port in access::ports_mut(service).filter_map(Value::as_object_mut) {
                port.remove("nodePort");
            }
        }
    }
    let was_balancer = |service: &Value| access::kind(service) == "LoadBalancer";
    let rules: [(Need, &str); 4] = [
        (access::needs_health_check, "healthCheckNodePort"),
        (was_balancer, "allocateLoadBalancerNodePorts"),
        (was_balancer, "loadBalancerClass"),
        (access::is_externally_accessible, "externalTrafficPolicy"),
    ];
    for (needs, field) in rules {
        if loses(needs, service) && same(service, field) {
            access::set(service, field, Value::Null);
        }
    }
    if !was_balancer(service) {
        service["status"]["loadBalancer"] = json!({});
    }
}
