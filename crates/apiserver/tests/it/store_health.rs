//! Health checks and ComponentStatus show how the store is.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use corten_store::embedded::Engine;
use corten_store::{
    Error, Lease, RangeRequest, RangeResponse, Result, Store, Txn, TxnResponse, WatchRequest, WatchStream,
};
use parking_lot::Mutex;
use serde_json::json;

use crate::harness::Harness;

/// A store that says of itself what the test wants.
struct Patient {
    engine: Engine,
    health: Arc<Mutex<Option<Error>>>,
}

#[async_trait]
impl Store for Patient {
    async fn current_revision(&self) -> Result<u64> {
        self.engine.current_revision().await
    }
    async fn compacted_revision(&self) -> Result<u64> {
        self.engine.compacted_revision().await
    }
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse> {
        self.engine.range(request).await
    }
    async fn txn(&self, txn: Txn) -> Result<TxnResponse> {
        self.engine.txn(txn).await
    }
    async fn watch(&self, request: WatchRequest) -> Result<WatchStream> {
        self.engine.watch(request).await
    }
    async fn compact(&self, revision: u64) -> Result<()> {
        self.engine.compact(revision).await
    }
    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        self.engine.lease_grant(ttl).await
    }
    async fn lease_keepalive(&self, id: i64) -> Result<Lease> {
        self.engine.lease_keepalive(id).await
    }
    async fn lease_revoke(&self, id: i64) -> Result<()> {
        self.engine.lease_revoke(id).await
    }
    async fn size_bytes(&self) -> Result<u64> {
        self.engine.size_bytes().await
    }
    fn health(&self) -> Result<()> {
        self.health
            .lock()
            .clone()
            .map_or_else(|| self.engine.health(), Err)
    }
}

#[tokio::test]
async fn a_sick_store_shows() {
    let health = Arc::new(Mutex::new(None));
    let of = health.clone();
    let h = Harness::with(None, |engine| Arc::new(Patient { engine, health: of })).await;
    let component = "/api/v1/componentstatuses/etcd-0";
    assert_eq!(h.get("/readyz").await.code, 200);
    let ok = json!([{"type": "Healthy", "status": "True", "message": "ok"}]);
    assert_eq!(h.get(component).await.ok()["conditions"], ok);

    *health.lock() = Some(Error::NoSpace {
        path: "/data".to_owned(),
        needed_bytes: 1,
    });
    assert!(
        h.get("/readyz")
            .await
            .text()
            .contains("[-]etcd-readiness failed: reason withheld\n")
    );
    assert_eq!(h.get("/livez").await.code, 200);

    *health.lock() = Some(Error::Closed);
    assert!(h.get("/livez").await.text().contains("[-]etcd failed"));
    let one = h.get("/readyz/etcd").await;
    assert_eq!(
        (one.code, one.text().as_str()),
        (500, "internal server error: the store is closed\n")
    );
    let sick = json!([{"type": "Healthy", "status": "False", "error": "the store is closed"}]);
    assert_eq!(h.get(component).await.ok()["conditions"], sick);
    *health.lock() = None;
    assert_eq!(h.get("/readyz").await.code, 200);
}
