//! The write path every kind goes through.

mod create;
mod delete;
mod deletion;
pub(crate) mod leases;
mod owners;
mod ownership;
mod times;
mod update;

pub use owners::dedup_owners;

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use corten_meta::{Result, object};
use corten_store::{Compare, Op, Txn, TxnResponse};
use serde_json::Value;

use crate::admission::{Attributes, Operation, Reinvocation, View};
use crate::context::WriteContext;
use crate::encode::Prepared;
use crate::errors::store_error;
use crate::object::Object;
use crate::options::{DeleteOptions, UpdateOptions};
use crate::registry::Registry;
use crate::resource::{Resource, Subresource};
use crate::strategy::StrategyContext;

/// Upstream's `metav1.FinalizerOrphanDependents`.
pub(crate) const ORPHAN_FINALIZER: &str = "orphan";
/// Upstream's `metav1.FinalizerDeleteDependents`.
pub(crate) const FOREGROUND_FINALIZER: &str = "foregroundDeletion";

/// RFC 3339 in whole seconds, as metadata shows times.
pub(crate) fn time_text(time: SystemTime) -> String {
    let time = corten_meta::time::Timestamp::try_from(time).unwrap_or_default();
    corten_meta::time::format(time)
}

/// What admission is asked about.
#[derive(Clone, Copy)]
struct Act<'a> {
    operation: Operation,
    name: &'a str,
    old: Option<&'a Value>,
    delete: Option<&'a DeleteOptions>,
    view: Option<&'a dyn View>,
}

impl<'a> Act<'a> {
    fn create(name: &'a str) -> Self {
        Self {
            operation: Operation::Create,
            name,
            old: None,
            delete: None,
            view: None,
        }
    }

    fn update(name: &'a str, old: &'a Value, options: &'a UpdateOptions) -> Self {
        Self {
            operation: Operation::Update,
            old: Some(old),
            view: options.view.as_deref(),
            ..Self::create(name)
        }
    }

    fn delete(name: &'a str, old: &'a Value, options: &'a DeleteOptions) -> Self {
        Self {
            operation: Operation::Delete,
            old: Some(old),
            delete: Some(options),
            ..Self::create(name)
        }
    }
}

/// One request's way through the write path.
#[derive(Clone, Copy)]
struct Write<'a> {
    registry: &'a Registry,
    ctx: &'a WriteContext,
    resource: &'a Resource,
    subresource: Subresource,
    namespace: &'a str,
}

impl<'a> Write<'a> {
    fn strategy_context(&self) -> StrategyContext<'a> {
        StrategyContext {
            registry: self.registry,
            write: self.ctx,
            resource: self.resource,
            subresource: self.subresource,
        }
    }

    /// Mutating admission: before the strategy sees the object. A plug-in may ask for one more round.
    async fn admit(&self, act: Act<'_>, object: &mut Value) -> Result<()> {
        let reinvocation = Reinvocation::default();
        let attributes = self.attributes(&act, &reinvocation);
        self.admit_round(&attributes, object).await?;
        if reinvocation.begin_second() {
            self.admit_round(&attributes, object).await?;
        }
        dedup_owners(self.ctx, object, true);
        Ok(())
    }

    async fn admit_round(&self, attributes: &Attributes<'_>, object: &mut Value) -> Result<()> {
        let chain = self.registry.admission.iter();
        for plugin in chain.filter(|plugin| plugin.handles(attributes.operation)) {
            plugin.admit(self.registry, self.ctx, attributes, object).await?;
        }
        Ok(())
    }

    /// Validating admission: on the final object.
    async fn validate_admission(&self, act: Act<'_>, object: &Value) -> Result<()> {
        let reinvocation = Reinvocation::default();
        let attributes = self.attributes(&act, &reinvocation);
        let chain = self.registry.admission.iter();
        for plugin in chain.filter(|plugin| plugin.handles(act.operation)) {
            plugin
                .validate(self.registry, self.ctx, &attributes, object)
                .await?;
        }
        Ok(())
    }

    fn attributes<'b>(&'b self, act: &Act<'b>, reinvocation: &'b Reinvocation) -> Attributes<'b> {
        Attributes {
            operation: act.operation,
            resource: self.resource,
            subresource: self.subresource,
            namespace: self.namespace,
            name: act.name,
            old: act.old,
            delete: act.delete,
            view: act.view,
            reinvocation,
            nested: self.ctx.nested,
        }
    }

    /// The object in the version that is stored.
    async fn prepared(&self, value: &Value) -> Result<Arc<Prepared>> {
        let key = self.resource.key(object::namespace(value), object::name(value));
        let prepared = match &self.resource.versions {
            None => Prepared::new(self.resource, key, value),
            Some(versions) => Prepared::new(self.resource, key, &versions.to_stored(value.clone()).await?),
        };
        Ok(Arc::new(prepared?))
    }

    /// Puts an object if its key still has the mod revision `guard` (0: does not exist).
    async fn put(&self, prepared: &Arc<Prepared>, guard: u64) -> Result<TxnResponse> {
        let key = Bytes::from(self.resource.store_key(&prepared.key));
        let put = Op::Put {
            key: key.clone(),
            value: prepared.encoded.bytes.clone(),
            lease: self.registry.lease_for(self.resource).await?,
            tag: Some(Arc::clone(prepared) as corten_store::Tag),
        };
        self.txn(Compare::ModRevision(key, guard), put).await
    }

    async fn remove(&self, key: &str, guard: u64) -> Result<TxnResponse> {
        let key = Bytes::from(self.resource.store_key(key));
        self.txn(Compare::ModRevision(key.clone(), guard), Op::delete(key))
            .await
    }

    async fn txn(&self, compare: Compare, op: Op) -> Result<TxnResponse> {
        let txn = Txn {
            compares: vec![compare],
            success: vec![op],
            failure: Vec::new(),
        };
        self.registry
            .store
            .txn(txn)
            .await
            .map_err(|error| store_error(&error))
    }

    /// The object as the cache has it, and whether that is certainly the newest. `fresh` waits until it is.
    async fn existing(&self, key: &str, fresh: bool) -> Result<(Option<Object>, bool)> {
        let current = self.registry.current_revision().await?;
        if fresh {
            self.registry.wait_applied(current).await?;
        }
        let newest = fresh || self.registry.revision() >= current;
        Ok((self.resource.cache().get(key), newest))
    }
}
