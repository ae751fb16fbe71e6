//! Leader election on a coordination.k8s.io Lease: one of several processes leads, and another takes over when it stops
//! renewing. Upstream's `leaderelection`, with its durations and its jitter.

use std::time::Duration;

use corten_stdx::SharedClock;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::events::timestamp;
use crate::request::{Caller, Error};

/// Longest wait between tries is the retry period times this much more.
const JITTER: f64 = 1.2;

/// The times of an election; upstream's components use the defaults.
#[derive(Debug, Clone, Copy)]
pub struct Durations {
    /// Others wait this long after the last renewal they saw before they take over.
    pub lease: Duration,
    /// The leader gives up when it could not renew for this long.
    pub renew_deadline: Duration,
    pub retry: Duration,
}

impl Default for Durations {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// One candidate.
pub struct LeaderElector {
    caller: Caller,
    ns: String,
    name: String,
    identity: String,
    durations: Durations,
    clock: SharedClock,
    /// The record last seen and when: expiry is judged by our own clock, never by the holder's.
    seen: Option<(LeaseSpec, Instant)>,
    /// The lease as we wrote it last: while nobody else has, a renewal is one request.
    written: Option<Lease>,
}

impl LeaderElector {
    #[must_use]
    pub fn new(client: kube::Client, ns: &str, name: &str, identity: &str, clock: SharedClock) -> Self {
        Self {
            caller: client.into(),
            ns: ns.into(),
            name: name.into(),
            identity: identity.into(),
            durations: Durations::default(),
            clock,
            seen: None,
            written: None,
        }
    }

    /// Other times than upstream's.
    #[must_use]
    pub fn with_durations(mut self, durations: Durations) -> Self {
        self.durations = durations;
        self
    }

    /// Waits to become leader, runs `lead` with a token that is cancelled when leadership ends, and returns after it.
    /// Gives the lease up on a clean stop, so that the next leader need not wait.
    pub async fn run<F, Fut>(mut self, stop: CancellationToken, lead: F)
    where
        F: FnOnce(CancellationToken) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        if !self.acquire(&stop).await {
            return;
        }
        let leading = stop.child_token();
        let work = tokio::spawn(lead(leading.clone()));
        self.hold(&stop).await;
        leading.cancel();
        if work.await.is_err() {
            tracing::error!(lease = self.name, "the leader's work panicked");
        }
        if let Err(error) = self.release().await {
            tracing::debug!(lease = self.name, %error, "the lease was not given up");
        }
    }

    async fn acquire(&mut self, stop: &CancellationToken) -> bool {
        loop {
            match self.try_hold().await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(error) => tracing::debug!(lease = self.name, %error, "no leader elected yet"),
            }
            let wait = self.durations.retry.mul_f64(1.0 + rand::random::<f64>() * JITTER);
            tokio::select! {
                () = stop.cancelled() => return false,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    async fn hold(&mut self, stop: &CancellationToken) {
        let mut renewed = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(self.durations.retry) => {}
            }
            let left = self.durations.renew_deadline.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.try_hold()).await {
                Ok(Ok(true)) => renewed = Instant::now(),
                Ok(Ok(false)) => {
                    tracing::warn!(lease = self.name, "leadership was lost to another");
                    return;
                }
                Ok(Err(error)) => tracing::debug!(lease = self.name, %error, "renewal failed"),
                Err(_) => {}
            }
            if renewed.elapsed() >= self.durations.renew_deadline {
                tracing::warn!(
                    lease = self.name,
                    "leadership was lost: the lease could not be renewed in time"
                );
                return;
            }
        }
    }

    /// Takes or renews the lease if that is allowed now.
    async fn try_hold(&mut self) -> Result<bool, Error> {
        let now = MicroTime(timestamp(&self.clock));
        if let Some(mut lease) = self.written.take() {
            lease.spec.get_or_insert_default().renew_time = Some(now.clone());
            match self.caller.update(&lease).await {
                Ok(stored) => return Ok(self.wrote(stored)),
                // Somebody wrote it or removed it: what is there decides.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => {
                    self.written = Some(lease);
                    return Err(error);
                }
            }
        }
        let mut lease = match self.caller.get::<Lease>(&self.ns, &self.name).await {
            Ok(lease) => lease,
            Err(error) if error.is_not_found() => return self.create(now).await,
            Err(error) => return Err(error),
        };
        let spec = lease.spec.clone().unwrap_or_default();
        if self.seen.as_ref().is_none_or(|(old, _)| *old != spec) {
            self.seen = Some((spec.clone(), Instant::now()));
        }
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let mine = holder == self.identity;
        if !mine && !holder.is_empty() && !self.expired() {
            return Ok(false);
        }
        let transitions = spec.lease_transitions.unwrap_or(0) + i32::from(!mine);
        let acquired = if mine {
            spec.acquire_time.clone()
        } else {
            Some(now.clone())
        };
        lease.spec = Some(self.spec(acquired, now, transitions, spec));
        let stored = self.caller.update(&lease).await?;
        Ok(self.wrote(stored))
    }

    fn wrote(&mut self, stored: Lease) -> bool {
        self.seen = stored.spec.clone().map(|s| (s, Instant::now()));
        self.written = Some(stored);
        true
    }

    fn expired(&self) -> bool {
        self.seen.as_ref().is_some_and(|(spec, at)| {
            let seconds = spec
                .lease_duration_seconds
                .unwrap_or_default()
                .max(0)
                .unsigned_abs();
            at.elapsed() > Duration::from_secs(seconds.into())
        })
    }

    fn spec(
        &self,
        acquired: Option<MicroTime>,
        now: MicroTime,
        transitions: i32,
        old: LeaseSpec,
    ) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.durations.lease.as_secs()).ok(),
            acquire_time: acquired,
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..old
        }
    }

    async fn create(&mut self, now: MicroTime) -> Result<bool, Error> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.ns.clone()),
            ..ObjectMeta::default()
        };
        let spec = self.spec(Some(now.clone()), now, 0, LeaseSpec::default());
        let stored = self
            .caller
            .create(&Lease {
                metadata,
                spec: Some(spec),
            })
            .await?;
        Ok(self.wrote(stored))
    }

    async fn release(&mut self) -> Result<(), Error> {
        let mut lease = self.caller.get::<Lease>(&self.ns, &self.name).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() != Some(&self.identity) {
            return Ok(());
        }
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        spec.renew_time = Some(MicroTime(timestamp(&self.clock)));
        self.caller.update(&lease).await.map(drop)
    }
}
