//! Which API servers there are: each keeps a Lease of its own in `kube-system`. Rules: upstream's identity lease controller,
//! and its collector of the Leases of servers that are no more.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corten_meta::time::{self, Timestamp};
use corten_meta::{Result, Status, labels, object};
use corten_registry::{DeleteOptions, ListOptions, Preconditions, Registry, SERVER, Subresource};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio_util::sync::CancellationToken;

use super::Writer;

const GROUP: &str = "coordination.k8s.io";
const PLURAL: &str = "leases";
const NAMESPACE: &str = "kube-system";
/// Tells these Leases from those of elections, and whose they are.
const LABEL: &str = "apiserver.kubernetes.io/identity";
const HOST_LABEL: &str = "kubernetes.io/hostname";
const DURATION_SECONDS: i64 = 3600;
const BETWEEN_RENEWALS: Duration = Duration::from_secs(10);
const BETWEEN_COLLECTIONS: Duration = Duration::from_secs(3600);

/// The name of the server of this host, of any number of them the same.
fn name(host: &str) -> String {
    let mut hash = Sha256::new();
    for part in [host, SERVER] {
        // Host names are short.
        hash.update(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
        hash.update(part);
    }
    format!("apiserver-{}", base32(&hash.finalize()[..16]))
}

/// In small letters, without what fills up the last group (RFC 4648).
fn base32(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let digit = |first: usize| (first..first + 5).fold(0, |value, at| value << 1 | bit(at));
    let firsts = (0..bytes.len() * 8).step_by(5);
    firsts
        .map(|first| char::from(DIGITS[usize::from(digit(first))]))
        .collect()
}

/// Whether it was not renewed in time; a Lease that does not say is none.
fn has_expired(lease: &Value, now: Timestamp) -> bool {
    let spec = &lease["spec"];
    let renewed: Option<Timestamp> = spec["renewTime"].as_str().and_then(|text| text.parse().ok());
    match (renewed, spec["leaseDurationSeconds"].as_i64()) {
        (Some(renewed), Some(seconds)) => now.as_second() > renewed.as_second().saturating_add(seconds),
        _ => true,
    }
}

struct Identity {
    registry: Arc<Registry>,
    name: String,
    host: String,
    /// Another one in each life of the server.
    holder: String,
}

/// Keeps the Lease until `stop`, and takes it away then.
pub fn start(registry: &Arc<Registry>, stop: &CancellationToken) {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy();
    let name = name(&host);
    let identity = Identity {
        registry: registry.clone(),
        holder: format!("{name}_{}", object::new_uid()),
        name,
        host: host.into_owned(),
    };
    let stop = stop.clone();
    tokio::spawn(async move { identity.run(&stop).await });
}

impl Identity {
    async fn run(&self, stop: &CancellationToken) {
        let clock = self.registry.clock().clone();
        // What another life of this server left.
        said(self.remove(&self.name, Preconditions::default()).await);
        let mut collected = None;
        loop {
            said(self.renew(clock.now()).await);
            let now = clock.monotonic();
            if collected.is_none_or(|at| now.saturating_sub(at) >= BETWEEN_COLLECTIONS) {
                collected = Some(now);
                said(self.collect(clock.now()).await);
            }
            tokio::select! {
                () = clock.sleep(BETWEEN_RENEWALS) => {}
                () = stop.cancelled() => break,
            }
        }
        said(self.remove(&self.name, Preconditions::default()).await);
    }

    fn lease(&self, now: SystemTime) -> Value {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        json!({
            "metadata": {"name": self.name, "labels": {LABEL: SERVER, HOST_LABEL: self.host}},
            "spec": {
                "holderIdentity": self.holder,
                "leaseDurationSeconds": DURATION_SECONDS,
                "renewTime": time::format_micro(now),
            },
        })
    }

    async fn renew(&self, now: SystemTime) -> Result<()> {
        let wanted = self.lease(now);
        let writer = Writer::new(&self.registry);
        let renewed = |lease: &mut Value| {
            lease["spec"] = wanted["spec"].clone();
            for label in [LABEL, HOST_LABEL] {
                lease["metadata"]["labels"][label] = wanted["metadata"]["labels"][label].clone();
            }
        };
        let update = writer.update(GROUP, PLURAL, NAMESPACE, &self.name, Subresource::MAIN, renewed);
        match update.await {
            Err(status) if status.is_not_found() => {
                writer.ensure(GROUP, PLURAL, NAMESPACE, wanted.clone()).await
            }
            done => done,
        }
    }

    /// Removes the Leases that servers left behind.
    async fn collect(&self, now: SystemTime) -> Result<()> {
        let now = Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH);
        let selector = labels::Selector::parse(&format!("{LABEL}={SERVER}")).map_err(Status::internal)?;
        let options = ListOptions {
            label_selector: Some(selector),
            ..ListOptions::default()
        };
        let resource = Writer::new(&self.registry).resource(GROUP, PLURAL)?;
        let all = self.registry.list(&resource, Some(NAMESPACE), &options).await?;
        for lease in all.items {
            if has_expired(&lease.value()?, now) {
                // Unless it is renewed meanwhile.
                let as_seen = Preconditions {
                    resource_version: Some(lease.revision().to_string()),
                    ..Preconditions::default()
                };
                self.remove(lease.name(), as_seen).await?;
            }
        }
        Ok(())
    }

    async fn remove(&self, name: &str, preconditions: Preconditions) -> Result<()> {
        let writer = Writer::new(&self.registry);
        let resource = writer.resource(GROUP, PLURAL)?;
        let options = DeleteOptions {
            preconditions,
            ..DeleteOptions::default()
        };
        let deleted = self
            .registry
            .delete(&writer.ctx, &resource, NAMESPACE, name, &options)
            .await;
        match deleted {
            Err(status) if !status.is_not_found() && !status.is_conflict() => Err(status),
            _ => Ok(()),
        }
    }
}

/// The next round tries again.
fn said(outcome: Result<()>) {
    if let Err(error) = outcome {
        tracing::warn!(%error, "the Lease of this API server cannot be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_upstreams() {
        assert_eq!(name("vm"), "apiserver-wlv32tlttr4jl3gtroqexyxapa");
    }

    #[test]
    fn what_is_not_renewed_expires() {
        let at = |second| Timestamp::from_second(second).unwrap_or_default();
        let lease = |spec: Value| json!({ "spec": spec });
        let renewed = lease(json!({"renewTime": "1970-01-01T00:01:00.000000Z", "leaseDurationSeconds": 10}));
        assert!(!has_expired(&renewed, at(70)));
        assert!(has_expired(&renewed, at(71)));
        assert!(has_expired(&lease(json!({"leaseDurationSeconds": 10})), at(0)));
        assert!(has_expired(
            &lease(json!({"renewTime": "1970-01-01T00:01:00.000000Z"})),
            at(0)
        ));
    }
}
