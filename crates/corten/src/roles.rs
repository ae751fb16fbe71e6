//! Controllers and scheduler as roles that one process of several holds at a time, by upstream's leases.

use crate::parts::Parts;
use corten_client::lease::{Durations, LeaderElector};
use corten_client::{CancellationToken, Factory};
use corten_stdx::SharedClock;
use std::pin::Pin;
use std::time::Duration;

/// Where upstream's components keep their leases.
const NAMESPACE: &str = "kube-system";
const CONTROLLERS: &str = "kube-controller-manager";
const SCHEDULER: &str = "kube-scheduler";

/// Renewing beside the store cannot fail on the way, so that the process that holds both needs fewer renewals than
/// upstream's one every 2 s: two fall within the 10 s after which a leader gives up, and others still wait for 15 s.
/// An idle cluster makes 0.4 writes a second for both leases instead of 1.
const NEAR: Durations = Durations {
    lease: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry: Duration::from_secs(5),
};

/// How long a role may take to finish what it is at.
const END: Duration = Duration::from_secs(2);

/// Who stands for election, and how.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) identity: String,
    pub(crate) durations: Durations,
    pub(crate) clock: SharedClock,
}

impl Candidate {
    /// In the process of the API server. The identity is the same at every start of a data directory, which one process
    /// has at a time: a start after a crash need not wait for the lease to expire.
    pub(crate) fn near(node: &str, cluster_id: &str, clock: SharedClock) -> Self {
        Self {
            identity: format!("{node}_{cluster_id}"),
            durations: NEAR,
            clock,
        }
    }

    /// Elsewhere: an identity that no other process has, and upstream's times.
    pub(crate) fn remote(host: &str, clock: SharedClock) -> Self {
        Self {
            identity: format!("{host}_{}", uuid::Uuid::new_v4()),
            durations: Durations::default(),
            clock,
        }
    }

    fn elector(&self, client: kube::Client, lease: &str) -> LeaderElector {
        LeaderElector::new(client, NAMESPACE, lease, &self.identity, self.clock.clone())
            .with_durations(self.durations)
    }
}

/// What still waits for its first list when it is told to end has nothing to finish, and the lease should not wait for it.
async fn bounded(work: impl Future<Output = ()>, stop: CancellationToken) {
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(END).await;
    };
    tokio::select! {
        () = work => {}
        () = late => {}
    }
}

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A role: the lease that stands for it, and its work while it is held.
pub(crate) struct Role {
    pub(crate) lease: &'static str,
    pub(crate) client: kube::Client,
    /// Its informers, and the token that ends the work.
    pub(crate) work: Box<dyn Fn(Factory, CancellationToken) -> Work + Send + Sync>,
}

impl Role {
    pub(crate) fn controllers(client: kube::Client, config: corten_controllers::Config) -> Self {
        Self {
            lease: CONTROLLERS,
            client,
            work: Box::new(move |factory, stop| {
                let work = corten_controllers::run_all(factory, config.clone(), stop.clone());
                Box::pin(bounded(work, stop))
            }),
        }
    }

    pub(crate) fn scheduler(client: kube::Client, clock: SharedClock) -> Self {
        Self {
            lease: SCHEDULER,
            client,
            work: Box::new(move |factory, stop| {
                let config = corten_scheduler::Config::new(clock.clone());
                let work = corten_scheduler::run(factory, config, stop.clone());
                Box::pin(bounded(work, stop))
            }),
        }
    }

    /// Works whenever the lease is held, until `stop`. The first time with informers that other roles share; after a loss
    /// with its own, whose caches end with it.
    pub(crate) async fn serve(self, candidate: Candidate, shared: Factory, stop: CancellationToken) {
        let mut shared = Some(shared);
        while !stop.is_cancelled() {
            let elector = candidate.elector(self.client.clone(), self.lease);
            let work = |leading: CancellationToken| {
                let factory = shared
                    .take()
                    .unwrap_or_else(|| Factory::new(self.client.clone(), leading.clone()));
                (self.work)(factory, leading)
            };
            elector.run(stop.clone(), work).await;
        }
    }

    /// Works once, with informers that other roles share, until `stop` or until the lease is lost; true if it was lost.
    pub(crate) async fn once(self, candidate: Candidate, shared: Factory, stop: CancellationToken) -> bool {
        let elector = candidate.elector(self.client.clone(), self.lease);
        let work = |leading: CancellationToken| (self.work)(shared.clone(), leading);
        elector.run(stop.clone(), work).await;
        !stop.is_cancelled()
    }
}

/// Starts roles in the process of the API server.
pub(crate) fn spawn(
    parts: &mut Parts,
    roles: Vec<Role>,
    candidate: &Candidate,
    factory: &Factory,
    stop: &CancellationToken,
) {
    for role in roles {
        let factory = factory.acting_as(role.client.clone());
        parts.spawn(role.lease, role.serve(candidate.clone(), factory, stop.clone()));
    }
}
