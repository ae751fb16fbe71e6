//! The node's lease in `kube-node-lease`: renewed often, it costs less than a status and says the same: alive.

use corten_client::object::path;
use corten_client::{Caller, Error};
use corten_stdx::SharedClock;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, OwnerReference};
use serde_json::json;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const NAMESPACE: &str = "kube-node-lease";
const DURATION_SECONDS: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(1);

/// Renews the lease until `stop`.
pub async fn renew(caller: Caller, node: String, clock: SharedClock, stop: CancellationToken) {
    loop {
        let wait = match once(&caller, &node, crate::time::now(&clock)).await {
            Ok(()) => RENEW,
            Err(error) => {
                tracing::warn!(%error, "node lease not renewed");
                RETRY
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(wait) => {}
        }
    }
}

async fn once(caller: &Caller, node: &str, now: Timestamp) -> Result<(), Error> {
    let target = path::<Lease>(NAMESPACE, node, "");
    let body = json!({"spec": {
        "holderIdentity": node,
        "leaseDurationSeconds": DURATION_SECONDS,
        "renewTime": MicroTime(now),
    }});
    match caller
        .patch(&target, corten_client::request::MERGE_PATCH, &body)
        .await
    {
        Err(error) if error.is_not_found() => create(caller, node, now).await,
        other => other.map(drop),
    }
}

async fn create(caller: &Caller, name: &str, now: Timestamp) -> Result<(), Error> {
    let node: Node = caller.get("", name).await?;
    let owner = OwnerReference {
        api_version: "v1".into(),
        kind: "Node".into(),
        name: name.into(),
        uid: node.metadata.uid.unwrap_or_default(),
        ..OwnerReference::default()
    };
    let lease = Lease {
        metadata: ObjectMeta {
            name: Some(name.into()),
            namespace: Some(NAMESPACE.into()),
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(name.into()),
            lease_duration_seconds: Some(DURATION_SECONDS),
            renew_time: Some(MicroTime(now)),
            ..LeaseSpec::default()
        }),
    };
    match caller.create(&lease).await {
        Err(error) if error.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}
