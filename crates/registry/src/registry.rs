//! The registry's methods.

use std::sync::Arc;

use corten_meta::Result;
use corten_stdx::SharedClock;
use corten_store::Store;
use serde_json::Value;

use crate::admission::Admission;
use crate::context::WriteContext;
use crate::metrics::Metrics;
use crate::object::Object;
use crate::options::{CreateOptions, DeleteOptions, ListOptions, ListPage, UpdateOptions, WatchOptions};
use crate::resource::{Resource, ResourceInfo, Subresource};
use crate::watch::WatchStream;

/// What a registry is opened with.
pub struct Options {
    pub clock: SharedClock,
    /// Runs in this order; `NamespaceLifecycle` is part of the default.
    pub admission: Vec<Arc<dyn Admission>>,
    /// Resources served from the start; more may be registered later.
    pub resources: Vec<ResourceInfo>,
}

/// Result of an update.
#[derive(Debug)]
pub struct Updated {
    pub object: Arc<Object>,
    /// The object did not exist and was created (201).
    pub created: bool,
}

/// Result of a delete.
#[derive(Debug)]
pub struct Deleted {
    /// The object as it was last, or as it waits for its grace period or finalizers.
    pub object: Arc<Object>,
    /// It has left the store (clients get a `Status`); otherwise they get the object.
    pub gone: bool,
}

pub struct Registry {
    metrics: Metrics,
}

impl Registry {
    /// Loads what the store holds and starts following it.
    pub async fn open(store: Arc<dyn Store>, options: Options) -> Result<Arc<Self>> {
        let _ = (store, options);
        todo!()
    }

    /// Serves one more resource (a CustomResourceDefinition's), loading what the store holds of it.
    pub async fn register(&self, info: ResourceInfo) -> Result<Resource> {
        let _ = info;
        todo!()
    }

    /// Stops serving a resource: its watches end, what is stored stays.
    pub fn unregister(&self, resource: &Resource) {
        let _ = resource;
    }

    /// The resource of a group by its plural name.
    pub fn resource(&self, group: &str, plural: &str) -> Option<Resource> {
        let _ = (group, plural);
        todo!()
    }

    pub fn resources(&self) -> Vec<Resource> {
        todo!()
    }

    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The newest revision of the store: the resourceVersion of an empty list.
    pub fn revision(&self) -> u64 {
        todo!()
    }

    pub async fn create(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: &str,
        object: Value,
        options: &CreateOptions,
    ) -> Result<Arc<Object>> {
        let _ = (ctx, resource, namespace, object, options);
        todo!()
    }

    /// `resource_version` as in `GetOptions`: "" for the newest, "0" for anything, N for not older than N.
    pub async fn get(
        &self,
        resource: &Resource,
        namespace: &str,
        name: &str,
        resource_version: &str,
    ) -> Result<Arc<Object>> {
        let _ = (resource, namespace, name, resource_version);
        todo!()
    }

    pub async fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<ListPage> {
        let _ = (resource, namespace, options);
        todo!()
    }

    pub async fn watch(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        options: &WatchOptions,
    ) -> Result<WatchStream> {
        let _ = (resource, namespace, options);
        todo!()
    }

    /// Guaranteed update: `change` gets the stored object (resourceVersion included; `Null` when it does not exist
    /// and may be created) and returns the wanted one; it runs again when another write came between.
    /// A resourceVersion in the wanted object that is not the stored one's is a conflict.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    pub async fn update<F>(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: Subresource,
        change: F,
        options: &UpdateOptions,
    ) -> Result<Updated>
    where
        F: Fn(&Value) -> Result<Value> + Send + Sync,
    {
        let _ = (
            ctx,
            resource,
            namespace,
            name,
            subresource,
            change(&Value::Null),
            options,
        );
        todo!()
    }

    pub async fn delete(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        let _ = (ctx, resource, namespace, name, options);
        todo!()
    }

    /// Deletes everything the list selects; returns what it deleted.
    pub async fn delete_collection(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: Option<&str>,
        options: &DeleteOptions,
        selection: &ListOptions,
    ) -> Result<ListPage> {
        let _ = (ctx, resource, namespace, options, selection);
        todo!()
    }
}
