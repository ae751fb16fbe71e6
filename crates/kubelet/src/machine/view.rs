//! What the runtime says about one pod, in the machine's own terms.

use corten_runtime::cri;
use std::collections::BTreeMap;

/// How far a container has come. The order is the order of its life: a later report never goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum State {
    #[default]
    Unknown,
    Created,
    Running,
    Exited,
}

/// One container as the runtime reports it. Times are nanoseconds since 1970, 0 for never.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ContainerView {
    pub id: String,
    pub sandbox_id: String,
    pub name: String,
    /// As the user wrote it.
    pub image: String,
    /// The digest reference that becomes `imageID`.
    pub image_ref: String,
    pub state: State,
    pub created_at: i64,
    pub started_at: i64,
    pub finished_at: i64,
    pub exit_code: i32,
    pub reason: String,
    pub message: String,
    pub restart_count: i32,
    pub hash: String,
    pub log_path: String,
    pub resources: Option<cri::LinuxContainerResources>,
    pub user: Option<cri::LinuxContainerUser>,
    pub stop_signal: i32,
    pub annotations: BTreeMap<String, String>,
    pub mounts: Vec<cri::Mount>,
}

/// One sandbox as the runtime reports it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SandboxView {
    pub id: String,
    pub attempt: u32,
    pub ready: bool,
    pub created_at: i64,
    /// The primary first; empty for the host's network.
    pub ips: Vec<String>,
    pub host_network: bool,
}

/// All there is of one pod in the runtime, newest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PodView {
    pub sandboxes: Vec<SandboxView>,
    pub containers: Vec<ContainerView>,
}

impl PodView {
    /// The newest container of that name.
    pub fn find(&self, name: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.name == name)
    }

    pub fn by_id(&self, id: &str) -> Option<&ContainerView> {
        self.containers.iter().find(|c| c.id == id)
    }

    pub fn running(&self) -> impl Iterator<Item = &ContainerView> {
        self.containers.iter().filter(|c| c.state == State::Running)
    }

    /// The sandbox that new containers go into: the newest, if it is the only ready one.
    pub fn ready_sandbox(&self) -> Option<&SandboxView> {
        let mut ready = self.sandboxes.iter().filter(|s| s.ready);
        let newest = self.sandboxes.first().filter(|s| s.ready)?;
        ready.next();
        ready.next().is_none().then_some(newest)
    }

    /// Takes in a report; one older than what is known changes nothing. Says whether anything changed.
    pub fn upsert(&mut self, new: ContainerView) -> bool {
        match self.containers.iter_mut().find(|c| c.id == new.id) {
            Some(old) if new.state < old.state || *old == new => false,
            Some(old) if old.state == State::Exited && new.state == State::Exited => {
                // The message was completed from the termination file; a bare report must not lose it.
                let message = std::mem::take(&mut old.message);
                let changed = old.resources != new.resources;
                *old = new;
                old.message = message;
                changed
            }
            Some(old) => {
                *old = new;
                true
            }
            None => {
                self.containers.push(new);
                self.containers.sort_by(|a, b| {
                    (b.created_at, b.restart_count, &a.id).cmp(&(a.created_at, a.restart_count, &b.id))
                });
                true
            }
        }
    }

    /// As [`Self::upsert`], for sandboxes. A sandbox that stopped does not come back and keeps its addresses.
    pub fn upsert_sandbox(&mut self, mut new: SandboxView) -> bool {
        match self.sandboxes.iter_mut().find(|s| s.id == new.id) {
            Some(old) => {
                new.ready &= old.ready;
                if new.ips.is_empty() {
                    new.ips.clone_from(&old.ips);
                }
                let changed = *old != new;
                *old = new;
                changed
            }
            None => {
                self.sandboxes.push(new);
                self.sandboxes
                    .sort_by(|a, b| (b.attempt, b.created_at, &a.id).cmp(&(a.attempt, a.created_at, &b.id)));
                true
            }
        }
    }

    pub fn remove(&mut self, id: &str) -> bool {
        let before = self.containers.len() + self.sandboxes.len();
        self.containers.retain(|c| c.id != id);
        self.sandboxes.retain(|s| s.id != id);
        before != self.containers.len() + self.sandboxes.len()
    }
}

/// Annotations under which upstream's kubelet keeps what it must find again after a restart.
pub const HASH: &str = "io.kubernetes.container.hash";
pub const RESTART_COUNT: &str = "io.kubernetes.container.restartCount";

impl From<cri::ContainerStatus> for ContainerView {
    fn from(s: cri::ContainerStatus) -> Self {
        let state = match s.state() {
            cri::ContainerState::ContainerCreated => State::Created,
            cri::ContainerState::ContainerRunning => State::Running,
            cri::ContainerState::ContainerExited => State::Exited,
            cri::ContainerState::ContainerUnknown => State::Unknown,
        };
        let image = s.image.as_ref().map(|i| i.image.clone());
        Self {
            name: s
                .labels
                .get(crate::spec::labels::CONTAINER_NAME)
                .cloned()
                .or_else(|| s.metadata.as_ref().map(|m| m.name.clone()))
                .unwrap_or_default(),
            sandbox_id: String::new(),
            image: image.unwrap_or_default(),
            image_ref: s.image_ref,
            state,
            created_at: s.created_at,
            started_at: s.started_at,
            finished_at: s.finished_at,
            exit_code: s.exit_code,
            reason: s.reason,
            message: s.message,
            restart_count: s
                .annotations
                .get(RESTART_COUNT)
                .and_then(|v| v.parse().ok())
                .unwrap_or(0),
            hash: s.annotations.get(HASH).cloned().unwrap_or_default(),
            log_path: s.log_path,
            resources: s.resources.and_then(|r| r.linux),
            user: s.user.and_then(|u| u.linux),
            stop_signal: s.stop_signal,
            annotations: s.annotations,
            mounts: s.mounts,
            id: s.id,
        }
    }
}

impl From<cri::PodSandboxStatus> for SandboxView {
    fn from(s: cri::PodSandboxStatus) -> Self {
        let ready = s.state() == cri::PodSandboxState::SandboxReady;
        let network = s
            .linux
            .and_then(|l| l.namespaces)
            .and_then(|n| n.options)
            .map(|o| o.network());
        let mut ips = Vec::new();
        if let Some(net) = s.network {
            ips.extend(Some(net.ip).filter(|ip| !ip.is_empty()));
            ips.extend(net.additional_ips.into_iter().map(|i| i.ip));
        }
        Self {
            id: s.id,
            attempt: s.metadata.map_or(0, |m| m.attempt),
            ready,
            created_at: s.created_at,
            ips,
            host_network: network == Some(cri::NamespaceMode::Node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container(id: &str, name: &str, state: State, created_at: i64) -> ContainerView {
        ContainerView {
            id: id.into(),
            name: name.into(),
            state,
            created_at,
            ..ContainerView::default()
        }
    }

    #[test]
    fn late_reports_do_not_turn_time_back() {
        let mut view = PodView::default();
        assert!(view.upsert(container("1", "web", State::Exited, 5)));
        assert!(!view.upsert(container("1", "web", State::Running, 5)));
        assert!(view.upsert(container("2", "web", State::Created, 9)));
        assert_eq!(view.find("web").map(|c| c.id.as_str()), Some("2"));
        assert!(view.remove("2"));
        assert_eq!(view.find("web").map(|c| c.id.as_str()), Some("1"));
    }

    #[test]
    fn two_ready_sandboxes_are_none() {
        let mut view = PodView::default();
        let sandbox = |id: &str, attempt| SandboxView {
            id: id.into(),
            attempt,
            ready: true,
            ..SandboxView::default()
        };
        view.upsert_sandbox(sandbox("a", 0));
        assert_eq!(view.ready_sandbox().map(|s| s.id.as_str()), Some("a"));
        view.upsert_sandbox(sandbox("b", 1));
        assert_eq!(view.ready_sandbox(), None);
    }
}
