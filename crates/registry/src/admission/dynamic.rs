//! Where webhooks and policies stand in the chain, and what mutating admission remembers for its second round.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use corten_meta::Result;
use parking_lot::Mutex;
use serde_json::Value;

use super::{Admission, Attributes, Operation};
use crate::context::WriteContext;
use crate::lifecycle::NamespaceLifecycle;
use crate::registry::Registry;
use crate::resource::{Resource, Subresource};

/// Upstream's `ReinvocationContext`: a plug-in that changed the object after another one saw it asks for one more round.
#[derive(Default)]
pub struct Reinvocation {
    second: AtomicBool,
    wanted: AtomicBool,
    state: Mutex<HashMap<&'static str, Box<dyn Any + Send>>>,
}

impl Reinvocation {
    /// This is the second round.
    pub fn is_second(&self) -> bool {
        self.second.load(Ordering::Relaxed)
    }

    /// Asks for a second round; in the second there is no third.
    pub fn ask(&self) {
        self.wanted.store(true, Ordering::Relaxed);
    }

    /// What a plug-in keeps from the first round to the second, under its name.
    pub fn with<T: Default + Send + 'static, R>(
        &self,
        plugin: &'static str,
        change: impl FnOnce(&mut T) -> R,
    ) -> R {
        let mut state = self.state.lock();
        let kept = state.entry(plugin).or_insert_with(|| Box::new(T::default()));
        match kept.downcast_mut::<T>() {
            Some(kept) => change(kept),
            None => change(&mut T::default()),
        }
    }

    /// Begins the second round if somebody asked for it.
    pub(crate) fn begin_second(&self) -> bool {
        let wanted = self.wanted.load(Ordering::Relaxed);
        self.second.store(wanted, Ordering::Relaxed);
        wanted
    }
}

/// Hands over to the plug-ins that [`Registry::set_dynamic_admission`] was given. Upstream's place for them: after all
/// plug-ins that change objects, before quota.
pub(super) struct Dynamic;

#[async_trait]
impl Admission for Dynamic {
    fn name(&self) -> &'static str {
        "Dynamic"
    }

    fn handles(&self, _operation: Operation) -> bool {
        true
    }

    async fn admit(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<()> {
        if attributes.nested {
            return Ok(());
        }
        for plugin in registry.dynamic() {
            plugin.admit(registry, ctx, attributes, object).await?;
        }
        Ok(())
    }

    async fn validate(
        &self,
        registry: &Registry,
        ctx: &WriteContext,
        attributes: &Attributes<'_>,
        object: &Value,
    ) -> Result<()> {
        if attributes.nested {
            return Ok(());
        }
        for plugin in registry.dynamic() {
            plugin.validate(registry, ctx, attributes, object).await?;
        }
        Ok(())
    }
}

/// A request that is not a write of its resource: a connection to a pod, an eviction, a binding, a token.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub operation: Operation,
    pub resource: &'a Resource,
    pub subresource: Subresource,
    pub namespace: &'a str,
    pub name: &'a str,
}

impl Registry {
    /// Gives the plug-ins for webhooks and policies, in their order; once, before requests are served.
    pub fn set_dynamic_admission(&self, plugins: Vec<Arc<dyn Admission>>) {
        // A second call changes nothing.
        let _ = self.dynamic.set(plugins);
    }

    fn dynamic(&self) -> &[Arc<dyn Admission>] {
        self.dynamic.get().map(Vec::as_slice).unwrap_or_default()
    }

    /// Dynamic admission, both kinds, of a request that nothing is stored for as it is. May change the object. What is created
    /// so needs its namespace as well.
    pub async fn admit_request(
        &self,
        ctx: &WriteContext,
        request: Request<'_>,
        object: &mut Value,
    ) -> Result<()> {
        let plugins = self.dynamic();
        let reinvocation = Reinvocation::default();
        let attributes = Attributes {
            operation: request.operation,
            resource: request.resource,
            subresource: request.subresource,
            namespace: request.namespace,
            name: request.name,
            old: None,
            delete: None,
            view: None,
            reinvocation: &reinvocation,
            nested: false,
        };
        if request.operation == Operation::Create {
            NamespaceLifecycle.admit(self, ctx, &attributes, object).await?;
        }
        if plugins.is_empty() {
            return Ok(());
        }
        loop {
            for plugin in plugins {
                plugin.admit(self, ctx, &attributes, object).await?;
            }
            if reinvocation.is_second() || !reinvocation.begin_second() {
                break;
            }
        }
        for plugin in plugins {
            plugin.validate(self, ctx, &attributes, object).await?;
        }
        Ok(())
    }
}
