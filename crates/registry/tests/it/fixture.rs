//! A registry on a store in a temporary directory.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use corten_meta::{GroupVersionKind, Result};
use corten_registry::{
    CreateOptions, DeleteOptions, Deleted, ListOptions, Object, Options, Registry, Resource, Subresource,
    UpdateOptions, Updated, User, WatchEvent, WatchOptions, WatchStream, WriteContext,
};
use corten_store::embedded::{Engine, Options as StoreOptions};
use futures::StreamExt;
use serde_json::{Value, json};

pub struct Fixture {
    pub registry: Arc<Registry>,
    pub ctx: WriteContext,
    pub dir: tempfile::TempDir,
}

/// An event that does not come is a failure, not a hang.
const PATIENCE: Duration = Duration::from_secs(20);

pub async fn store_in(dir: &std::path::Path) -> Arc<Engine> {
    let options = StoreOptions {
        compact_interval: None,
        free_bytes_min: 0,
        ..StoreOptions::default()
    };
    Arc::new(Engine::open(dir, options).await.unwrap())
}

impl Fixture {
    pub async fn open() -> Self {
        let fixture = Self::in_dir(tempfile::tempdir().unwrap()).await;
        fixture
            .create("", "namespaces", "", json!({"metadata": {"name": "default"}}))
            .await
            .unwrap();
        fixture.service_account("default").await;
        fixture
    }

    /// The account that pods of a namespace run as.
    pub async fn service_account(&self, namespace: &str) {
        let account = json!({"metadata": {"name": "default"}});
        self.create("", "serviceaccounts", namespace, account)
            .await
            .unwrap();
    }

    pub async fn in_dir(dir: tempfile::TempDir) -> Self {
        let store = store_in(dir.path()).await;
        let registry = Registry::open(store, Options::default()).await.unwrap();
        Self {
            registry,
            ctx: context(),
            dir,
        }
    }

    /// Closes everything and opens it again on the same data.
    pub async fn reopen(self) -> Self {
        let Self { registry, dir, .. } = self;
        drop(registry);
        Self::in_dir(dir).await
    }

    pub fn resource(&self, group: &str, plural: &str) -> Resource {
        self.registry.resource(group, plural).unwrap()
    }

    pub async fn create(&self, group: &str, plural: &str, ns: &str, object: Value) -> Result<Object> {
        let resource = self.resource(group, plural);
        let object = defaulted(&resource, object);
        self.registry
            .create(&self.ctx, &resource, ns, object, &CreateOptions::default())
            .await
    }

    pub async fn config_map(&self, name: &str) -> Object {
        self.create("", "configmaps", "default", config_map(name))
            .await
            .unwrap()
    }

    pub async fn update(
        &self,
        plural: &str,
        name: &str,
        change: impl Fn(&mut Value) + Send + Sync,
    ) -> Result<Updated> {
        self.update_sub(("", plural), name, Subresource::MAIN, change)
            .await
    }

    pub async fn update_sub(
        &self,
        (group, plural): (&str, &str),
        name: &str,
        subresource: Subresource,
        change: impl Fn(&mut Value) + Send + Sync,
    ) -> Result<Updated> {
        let resource = self.resource(group, plural);
        let namespace = if resource.namespaced { "default" } else { "" };
        let change = |old: &Value| {
            let mut new = old.clone();
            change(&mut new);
            Ok(new)
        };
        let options = UpdateOptions::default();
        self.registry
            .update(
                &self.ctx,
                &resource,
                namespace,
                name,
                subresource,
                change,
                &options,
            )
            .await
    }

    pub async fn get(&self, plural: &str, name: &str) -> Result<Value> {
        let resource = self.resource("", plural);
        let namespace = if resource.namespaced { "default" } else { "" };
        self.registry
            .get(&resource, namespace, name, "")
            .await
            .map(|object| object.value().unwrap())
    }

    pub async fn delete(&self, plural: &str, name: &str, options: DeleteOptions) -> Result<Deleted> {
        let resource = self.resource("", plural);
        let namespace = if resource.namespaced { "default" } else { "" };
        self.registry
            .delete(&self.ctx, &resource, namespace, name, &options)
            .await
    }

    pub async fn names(&self, plural: &str, options: ListOptions) -> Vec<String> {
        let page = self
            .registry
            .list(&self.resource("", plural), None, &options)
            .await
            .unwrap();
        page.items.iter().map(|object| object.name().to_owned()).collect()
    }

    pub async fn watch(&self, plural: &str, options: WatchOptions) -> WatchStream {
        self.registry
            .watch(&self.resource("", plural), None, &options)
            .await
            .unwrap()
    }
}

/// As the API server hands it over.
fn defaulted(resource: &Resource, mut object: Value) -> Value {
    let gvk = GroupVersionKind::new(
        resource.group.clone(),
        resource.version.clone(),
        resource.kind.clone(),
    );
    corten_meta::object::set_gvk(&mut object, &gvk);
    if let Some(id) = corten_schema::type_of(&gvk) {
        corten_schema::default(id, &mut object);
    }
    object
}

pub fn context() -> WriteContext {
    let user = User {
        name: "tester".to_owned(),
        ..User::default()
    };
    WriteContext::new(user, UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

pub fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "1"}})
}

pub fn pod(name: &str, node: &str) -> Value {
    let spec = json!({"nodeName": node, "terminationGracePeriodSeconds": 30, "containers": [{"name": "c", "image": "i"}]});
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": spec})
}

/// The next event as `TYPE name`.
pub async fn next(stream: &mut WatchStream) -> String {
    let event = next_event(stream).await;
    let name = event
        .object()
        .map(|object| object.name().to_owned())
        .unwrap_or_default();
    format!("{} {name}", event.kind())
}

pub async fn next_event(stream: &mut WatchStream) -> WatchEvent {
    tokio::time::timeout(PATIENCE, stream.next())
        .await
        .unwrap()
        .unwrap()
}
