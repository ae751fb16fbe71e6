//! Leases for objects that expire: objects of about the same age share one, as upstream's lease manager does.

use std::collections::HashMap;
use std::time::Duration;

use corten_meta::Result;
use parking_lot::Mutex;

use crate::errors::store_error;
use crate::registry::Registry;
use crate::resource::ResourceInfo;

/// A lease takes new objects for this long at most; they live that much longer at most.
const REUSE_MAX: Duration = Duration::from_secs(60);
/// And no longer than this part of its time.
const REUSE_PART: u32 = 20;
/// Objects on one lease (upstream's `--lease-max-object-count`).
const OBJECTS_MAX: u32 = 1000;

#[derive(Clone, Copy)]
struct Current {
    id: i64,
    granted: Duration,
    objects: u32,
}

#[derive(Default)]
pub(crate) struct LeasePool {
    by_ttl: Mutex<HashMap<Duration, Current>>,
    granting: tokio::sync::Mutex<()>,
}

fn reuse(ttl: Duration) -> Duration {
    (ttl / REUSE_PART).min(REUSE_MAX)
}

impl LeasePool {
    fn take(&self, ttl: Duration, now: Duration) -> Option<i64> {
        let mut by_ttl = self.by_ttl.lock();
        let current = by_ttl.get_mut(&ttl)?;
        if now.saturating_sub(current.granted) > reuse(ttl) || current.objects >= OBJECTS_MAX {
            return None;
        }
        current.objects += 1;
        Some(current.id)
    }
}

impl Registry {
    /// The lease a new object of the resource goes on; 0 if its objects stay.
    pub(crate) async fn lease_for(&self, resource: &ResourceInfo) -> Result<i64> {
        let Some(ttl) = resource.ttl else { return Ok(0) };
        if let Some(id) = self.leases.take(ttl, self.clock.monotonic()) {
            return Ok(id);
        }
        let _one_grants = self.leases.granting.lock().await;
        let now = self.clock.monotonic();
        if let Some(id) = self.leases.take(ttl, now) {
            return Ok(id);
        }
        let lease = self
            .store
            .lease_grant(ttl + reuse(ttl))
            .await
            .map_err(|error| store_error(&error))?;
        self.leases.by_ttl.lock().insert(
            ttl,
            Current {
                id: lease.id,
                granted: now,
                objects: 1,
            },
        );
        Ok(lease.id)
    }
}
