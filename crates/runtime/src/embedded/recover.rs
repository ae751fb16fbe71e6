//! After a restart: which containers still run, which ended meanwhile, which were lost.

use super::keeper_link::{self, KeeperLink};
use super::sandbox::is_intact;
use super::{Config, Inner, Runtime, blocking, now_ns, system};
use crate::cri::{ContainerState, Error, Result};
use crate::keeper::EXIT_FILE;
use crate::keeper::protocol::{Ended, Event, Exit, Request, Snapshot};
use std::collections::HashMap;
use std::sync::Weak;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// What containerd reports for a container of which nothing is known any more.
const LOST_EXIT_CODE: i32 = 255;

/// Connects to the keeper of the state directory; starts one where none answers.
pub(super) async fn find_keeper(config: &Config) -> Result<(KeeperLink, Snapshot, mpsc::Receiver<Event>)> {
    if let Ok(found) = KeeperLink::connect(&config.state_dir).await {
        return Ok(found);
    }
    let cgroup = format!("{}/keeper", config.cgroup_root.trim_end_matches('/'));
    keeper_link::spawn(&config.keeper_command, &config.state_dir, &cgroup).await?;
    KeeperLink::connect(&config.state_dir)
        .await
        .map_err(|error| Error::unavailable(format!("connect to the keeper: {error}")))
}

/// Handles the keeper's events; when it dies, takes stock and starts another.
pub(super) async fn supervise(
    runtime: Weak<Inner>,
    closing: CancellationToken,
    mut events: mpsc::Receiver<Event>,
) {
    loop {
        let event = tokio::select! {
            // First: a keeper that ends because the runtime does is not to be replaced.
            biased;
            () = closing.cancelled() => return,
            event = events.recv() => event,
        };
        let Some(inner) = runtime.upgrade() else { return };
        let runtime = Runtime { inner };
        match event {
            Some(event) => runtime.handle(event),
            None => match runtime.replace_keeper().await {
                Ok(next) => events = next,
                Err(error) => {
                    tracing::error!(%error, "the keeper process was lost and could not be replaced");
                    return;
                }
            },
        }
    }
}

impl Runtime {
    fn handle(&self, event: Event) {
        match event.what {
            Ended::Container { id, exit } => self.container_ended(&id, &exit),
            Ended::Exec { id, exit } => {
                let waiting = self.inner.state.lock().execs.remove(&id);
                if let Some(waiting) = waiting {
                    // Whoever gave up waiting does not mind.
                    let _ = waiting.send(exit);
                }
            }
            Ended::SandboxInit { id } => {
                let _ = self
                    .inner
                    .state
                    .lock()
                    .update_sandbox(&id, |record| record.init_pid = 0);
            }
        }
    }

    async fn replace_keeper(&self) -> Result<mpsc::Receiver<Event>> {
        tracing::warn!("the keeper process was lost: its containers are ended");
        self.inner.state.lock().execs.clear();
        let (keeper, snapshot, events) = find_keeper(&self.inner.config).await?;
        *self.inner.keeper.write() = keeper;
        self.reconcile(&snapshot).await?;
        Ok(events)
    }

    /// Brings the records in line with what the keeper holds.
    pub(super) async fn reconcile(&self, snapshot: &Snapshot) -> Result<()> {
        let held: HashMap<&str, _> = snapshot
            .containers
            .iter()
            .map(|state| (state.id.as_str(), state))
            .collect();
        let records: Vec<_> = self.inner.state.lock().containers().cloned().collect();
        for record in &records {
            let running = record.state == ContainerState::ContainerRunning as i32;
            let created = record.state == ContainerState::ContainerCreated as i32;
            match held.get(record.id.as_str()) {
                Some(state) if running || created => {
                    self.inner.state.lock().update_container(&record.id, |record| {
                        record.state = ContainerState::ContainerRunning as i32;
                        record.pid = state.pid;
                        record.started_at = state.started_at_ns;
                    })?;
                    if let Some(exit) = &state.exit {
                        self.container_ended(&record.id, exit);
                    }
                }
                None if running => self.lost(&record.id, &record.cgroup).await?,
                _ => {}
            }
        }
        for state in &snapshot.containers {
            if !records.iter().any(|record| record.id == state.id) {
                let _ = self
                    .keeper()
                    .tell(Request::Signal {
                        id: state.id.clone(),
                        signal: libc::SIGKILL,
                        group: false,
                    })
                    .await;
                let _ = self.keeper().tell(Request::Forget { id: state.id.clone() }).await;
            }
        }
        self.reconcile_sandboxes(snapshot)
    }

    fn reconcile_sandboxes(&self, snapshot: &Snapshot) -> Result<()> {
        let records: Vec<_> = self.inner.state.lock().sandboxes().cloned().collect();
        for record in records {
            let init_lost =
                record.init_pid > 0 && !snapshot.sandbox_inits.iter().any(|(id, _)| *id == record.id);
            let intact = is_intact(&self.sandbox_dir(&record.id), &record, &self.inner.boot_id);
            if record.ready && (init_lost || !intact) {
                self.inner.state.lock().update_sandbox(&record.id, |record| {
                    record.ready = false;
                    record.init_pid = 0;
                })?;
            }
        }
        Ok(())
    }

    /// A container whose keeper is gone: its exit file tells how it ended, or nobody knows and it is made sure of.
    async fn lost(&self, id: &str, cgroup: &str) -> Result<()> {
        let file = self.container_dir(id).join(EXIT_FILE);
        let exit: Option<Exit> = std::fs::read(file)
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok());
        let cgroups = self.inner.cgroups.clone();
        let group = cgroup.to_owned();
        blocking(move || cgroups.remove(&group).map_err(system)).await?;
        match exit {
            Some(exit) => self.container_ended(id, &exit),
            None => {
                let unknown = Exit {
                    code: LOST_EXIT_CODE,
                    signal: None,
                    oom_killed: false,
                    at_ns: now_ns(),
                };
                self.note_end(
                    id,
                    &unknown,
                    "Unknown",
                    "the process that watched over this container was lost",
                );
            }
        }
        Ok(())
    }
}
