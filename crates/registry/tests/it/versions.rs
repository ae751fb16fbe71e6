//! A resource stored in several versions side by side.

use std::sync::Arc;

use async_trait::async_trait;
use corten_meta::Result;
use corten_registry::{ListOptions, ResourceInfo, Versions};
use serde_json::{Value, json};

use crate::fixture::Fixture;
use crate::time::custom;

/// Versions that differ in their `apiVersion` alone.
struct Renamed {
    own: &'static str,
    stored: &'static str,
}

fn renamed(mut object: Value, version: &str) -> Value {
    object["apiVersion"] = json!(format!("example.com/{version}"));
    object
}

#[async_trait]
impl Versions for Renamed {
    fn all(&self, _subresource: &str) -> Vec<String> {
        vec!["example.com/v1".to_owned(), "example.com/v2".to_owned()]
    }

    async fn to_version(&self, object: Value, _api_version: &str) -> Result<Value> {
        Ok(object)
    }

    fn overlay(&self, object: &Value, _configuration: &Value) -> std::result::Result<Value, String> {
        Ok(object.clone())
    }

    fn head(&self) -> &[u8] {
        match self.own {
            "v1" => br#"{"kind":"Widget","apiVersion":"example.com/v1","#,
            _ => br#"{"kind":"Widget","apiVersion":"example.com/v2","#,
        }
    }

    fn read(&self, _stored: &Value) -> Option<Value> {
        None
    }

    fn asks(&self) -> bool {
        false
    }

    fn to_served_at_once(&self, object: Value) -> Result<Value> {
        Ok(renamed(object, self.own))
    }

    async fn to_served(&self, objects: Vec<Value>) -> Result<Vec<Value>> {
        Ok(objects.into_iter().map(|o| renamed(o, self.own)).collect())
    }

    async fn to_stored(&self, object: Value) -> Result<Value> {
        Ok(renamed(object, self.stored))
    }
}

fn info(own: &'static str, stored: &'static str) -> ResourceInfo {
    ResourceInfo {
        version: own.into(),
        versions: Some(Arc::new(Renamed { own, stored })),
        ..custom()
    }
}

async fn listed(f: &Fixture, resource: &corten_registry::Resource) -> Vec<String> {
    let page = f
        .registry
        .list(resource, None, &ListOptions::default())
        .await
        .unwrap();
    let version = |o: &corten_registry::Object| o.value().unwrap()["apiVersion"].as_str().unwrap().to_owned();
    page.items.iter().map(version).collect()
}

#[tokio::test]
async fn a_handle_shows_every_object_in_its_version() {
    let f = Fixture::open().await;
    let first = f.registry.register(info("v1", "v1")).await.unwrap();
    let second = first.view(info("v2", "v1"));
    let widget = json!({"kind": "Widget", "apiVersion": "example.com/v1", "metadata": {"name": "w"}});
    f.create("example.com", "widgets", "default", widget)
        .await
        .unwrap();
    assert_eq!(listed(&f, &first).await, ["example.com/v1"]);
    assert_eq!(listed(&f, &second).await, ["example.com/v2"]);
    // Another version is stored from now on; what was stored stays as it is and is seen in every version.
    let stored = f.registry.replace(&first, info("v2", "v2")).await.unwrap();
    f.registry.close(&first);
    let old = stored.view(info("v1", "v2"));
    let widget = json!({"kind": "Widget", "apiVersion": "example.com/v2", "metadata": {"name": "x"}});
    f.create("example.com", "widgets", "default", widget)
        .await
        .unwrap();
    assert_eq!(listed(&f, &stored).await, ["example.com/v2", "example.com/v2"]);
    assert_eq!(listed(&f, &old).await, ["example.com/v1", "example.com/v1"]);
}
