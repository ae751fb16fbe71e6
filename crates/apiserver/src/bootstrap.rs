//! What a fresh cluster is given, and what every start puts right: default namespaces, RBAC policy, flow schemas, priority
//! classes, API services, the service range and the `kubernetes` Service. Nothing that users changed is overwritten, except
//! where upstream does it too (flow schemas with `autoupdate-spec`, missing RBAC rules).

mod feed;
pub mod identity;
pub mod local_services;
mod objects;
mod policy;
pub mod repair;
pub mod token_tracking;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

use corten_meta::{Result, Status, object};
use corten_registry::{CreateOptions, Registry, Resource, Subresource, UpdateOptions, WriteContext};
use corten_schema::apply;
use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::standard::Features;

pub use feed::PolicyFeed;
pub(crate) use objects::{flow_control, flow_control_is_touched, now, priorities};

/// Common name of the certificate that this server shows to extension API servers, and which it believes as a proxy.
pub(crate) const FRONT_PROXY_NAME: &str = "front-proxy-client";

/// What the objects say about this cluster.
#[derive(Debug, Clone)]
pub struct Config {
    /// Ranges of cluster IPs, `10.96.0.0/16`, one or one of each family; the first decides the address of the `kubernetes` Service.
    pub service_cidrs: Vec<String>,
    /// Cluster IP of the `kubernetes` Service.
    pub service_ip: IpAddr,
    /// Where pods reach the API server; loopback addresses are left out of the endpoints.
    pub advertise_ip: IpAddr,
    /// Its port.
    pub advertise_port: u16,
    /// CA of client certificates, PEM.
    pub client_ca_pem: String,
    /// CA of the front proxy, PEM.
    pub front_proxy_ca_pem: String,
}

/// Writes what is missing. Independent writes are under way together, so that they share the store's commits.
///
/// # Errors
/// Whatever a write gives; a start after an error goes on where this one stopped.
pub async fn run(registry: &Arc<Registry>, config: &Config, features: &Features) -> Result<()> {
    let writer = Writer::new(registry);
    try_join_all(objects::namespaces().map(|o| writer.ensure("", "namespaces", "", o))).await?;
    let services = async {
        objects::service_range(&writer, config).await?;
        objects::kubernetes_service(&writer, config).await
    };
    futures::try_join!(
        policy::reconcile(&writer, features),
        objects::flow_control(&writer),
        objects::priority_classes(&writer),
        objects::api_services(&writer, &features.selection),
        objects::config_maps(&writer, config),
        services,
    )?;
    Ok(())
}

/// Writes as the API server itself.
pub(crate) struct Writer<'a> {
    registry: &'a Arc<Registry>,
    ctx: WriteContext,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(registry: &'a Arc<Registry>) -> Self {
        Self {
            registry,
            ctx: WriteContext::of_server(SystemTime::now()),
        }
    }

    /// The same with another field manager.
    fn named(&self, manager: &str) -> Self {
        Self {
            registry: self.registry,
            ctx: WriteContext::of_server(SystemTime::now()).with_field_manager(manager),
        }
    }

    fn resource(&self, group: &str, plural: &str) -> Result<Resource> {
        let missing = || Status::internal(format!("{plural}.{group} is not served"));
        self.registry.resource(group, plural).ok_or_else(missing)
    }

    async fn get(&self, group: &str, plural: &str, ns: &str, name: &str) -> Result<Option<Value>> {
        match self
            .registry
            .get(&self.resource(group, plural)?, ns, name, "")
            .await
        {
            Ok(found) => found.value().map(Some),
            Err(status) if status.is_not_found() => Ok(None),
            Err(status) => Err(status),
        }
    }

    /// Creates an object unless it is there.
    pub(crate) async fn ensure(&self, group: &str, plural: &str, ns: &str, mut wanted: Value) -> Result<()> {
        let resource = self.resource(group, plural)?;
        if self
            .get(group, plural, ns, object::name(&wanted))
            .await?
            .is_some()
        {
            return Ok(());
        }
        wanted["kind"] = resource.kind.as_ref().into();
        wanted["apiVersion"] = resource.api_version().into();
        object::set_namespace(&mut wanted, ns);
        crate::codec::set_defaults(&resource.gvk(), &mut wanted);
        match self
            .registry
            .create(&self.ctx, &resource, ns, wanted, &CreateOptions::default())
            .await
        {
            Err(status) if !status.is_already_exists() => Err(status),
            _ => Ok(()),
        }
    }

    /// Changes an object where `change` makes something else of it.
    pub(crate) async fn update(
        &self,
        group: &str,
        plural: &str,
        ns: &str,
        name: &str,
        subresource: Subresource,
        change: impl Fn(&mut Value) + Send + Sync,
    ) -> Result<()> {
        let resource = self.resource(group, plural)?;
        let changed = |current: &Value| {
            // The cache may be behind the create just made; the registry then asks again with the newest state.
            if current.is_null() {
                return Err(Status::not_found(&resource.group_resource(), name));
            }
            let mut wanted = current.clone();
            change(&mut wanted);
            Ok(wanted)
        };
        let options = UpdateOptions::default();
        self.registry
            .update(&self.ctx, &resource, ns, name, subresource, changed, &options)
            .await
            .map(drop)
    }

    /// Applies to a cluster-scoped object the status that `change` makes of its own, as upstream's controllers do.
    async fn apply_status(
        &self,
        group: &str,
        plural: &str,
        name: &str,
        change: fn(&mut Value),
    ) -> Result<()> {
        let resource = self.resource(group, plural)?;
        let gvk = resource.gvk();
        let applied = |current: &Value| {
            if current.is_null() {
                return Err(Status::not_found(&resource.group_resource(), name));
            }
            let mut wanted = current.clone();
            change(&mut wanted);
            let configuration = json!({
                "apiVersion": gvk.api_version(), "kind": gvk.kind,
                "metadata": {"name": name}, "status": wanted["status"],
            });
            let write = apply::Write {
                gvk: &gvk,
                manager: &self.ctx.field_manager,
                subresource: Subresource::STATUS.0,
                now: &self.ctx.now_text(),
                reset: apply::reset_fields(&gvk, Subresource::STATUS.0, true),
            };
            apply::apply(&write, Some(current), &configuration, true)
        };
        let mut ctx = WriteContext::of_server(self.ctx.now);
        ctx.own = false;
        let options = UpdateOptions::default();
        self.registry
            .update(&ctx, &resource, "", name, Subresource::STATUS, applied, &options)
            .await
            .map(drop)
    }

    /// Changes the status of a cluster-scoped object.
    async fn status(&self, group: &str, plural: &str, name: &str, change: fn(&mut Value)) -> Result<()> {
        self.update(group, plural, "", name, Subresource::STATUS, change)
            .await
    }
}
