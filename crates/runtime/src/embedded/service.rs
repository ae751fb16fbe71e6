//! The runtime calls of CRI: what they answer with. The work is in `sandbox.rs` and `container.rs`.

use super::record::{ContainerRecord, SandboxRecord};
use super::{Runtime, now_ns, resources};
use crate::cri::{
    CgroupDriver, Container, ContainerConfig, ContainerEventResponse, ContainerEventType, ContainerFilter,
    ContainerResources, ContainerState, ContainerStats, ContainerStatsFilter, ContainerStatus,
    ContainerStatusResponse, Error, ExecSyncResponse, ImageSpec, LinuxContainerResources,
    LinuxPodSandboxStatus, LinuxRuntimeConfiguration, Namespace, PodIp, PodSandbox, PodSandboxConfig,
    PodSandboxFilter, PodSandboxNetworkStatus, PodSandboxState, PodSandboxStats, PodSandboxStatsFilter,
    PodSandboxStatus, PodSandboxStatusResponse, Result, RuntimeCondition, RuntimeConfigResponse,
    RuntimeFeatures, RuntimeHandler, RuntimeHandlerFeatures, RuntimeService, RuntimeStatus, StatusResponse,
    VersionResponse,
};
use crate::keeper::protocol::Request;
use async_trait::async_trait;
use futures::stream::BoxStream;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::BroadcastStream;

fn has_labels(labels: &BTreeMap<String, String>, wanted: &BTreeMap<String, String>) -> bool {
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn sandbox_state(record: &SandboxRecord) -> i32 {
    if record.ready {
        PodSandboxState::SandboxReady as i32
    } else {
        PodSandboxState::SandboxNotready as i32
    }
}

fn sandbox_status(record: &SandboxRecord) -> PodSandboxStatus {
    let config = record.config.clone().unwrap_or_default();
    let mut ips = record.ips.iter().cloned();
    let network = ips.next().map(|ip| PodSandboxNetworkStatus {
        ip,
        additional_ips: ips.map(|ip| PodIp { ip }).collect(),
    });
    PodSandboxStatus {
        id: record.id.clone(),
        metadata: config.metadata.clone(),
        state: sandbox_state(record),
        created_at: record.created_at,
        network: Some(network.unwrap_or_default()),
        linux: Some(LinuxPodSandboxStatus {
            namespaces: Some(Namespace {
                options: Some(super::sandbox::namespace_options(&config)),
            }),
        }),
        labels: config.labels,
        annotations: config.annotations,
        runtime_handler: record.runtime_handler.clone(),
    }
}

fn container_status(record: &ContainerRecord) -> ContainerStatus {
    let config = record.config.clone().unwrap_or_default();
    let stop_signal = config.stop_signal;
    ContainerStatus {
        id: record.id.clone(),
        metadata: config.metadata,
        state: record.state,
        created_at: record.created_at,
        started_at: record.started_at,
        finished_at: record.finished_at,
        exit_code: record.exit_code,
        image: config.image.map(|image| ImageSpec {
            image: if image.user_specified_image.is_empty() || !image.image.starts_with("sha256:") {
                image.image
            } else {
                image.user_specified_image.clone()
            },
            user_specified_image: image.user_specified_image,
            ..ImageSpec::default()
        }),
        image_ref: record.image_ref.clone(),
        image_id: record.image_id.clone(),
        reason: record.reason.clone(),
        message: record.message.clone(),
        labels: config.labels,
        annotations: config.annotations,
        mounts: config.mounts,
        log_path: record.log_path.clone(),
        resources: Some(ContainerResources {
            linux: record.resources.clone(),
            windows: None,
        }),
        user: record.user.clone(),
        stop_signal,
    }
}

fn container_summary(record: &ContainerRecord) -> Container {
    let status = container_status(record);
    Container {
        id: status.id,
        pod_sandbox_id: record.sandbox_id.clone(),
        metadata: status.metadata,
        image: status.image,
        image_ref: status.image_ref,
        state: status.state,
        created_at: status.created_at,
        labels: status.labels,
        annotations: status.annotations,
        image_id: status.image_id,
    }
}

impl Runtime {
    pub(super) fn event(&self, sandbox: &str, id: &str, kind: ContainerEventType) -> ContainerEventResponse {
        let state = self.inner.state.lock();
        ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind as i32,
            created_at: now_ns(),
            pod_sandbox_status: state
                .sandbox(sandbox)
                .ok()
                .map(|entry| sandbox_status(&entry.record)),
            containers_statuses: state
                .containers_of(sandbox)
                .iter()
                .map(container_status)
                .collect(),
        }
    }

    /// Tells subscribers; nobody listening is fine.
    pub(super) fn publish(&self, sandbox: &str, id: &str, kind: ContainerEventType) {
        let _ = self.inner.events.send(self.event(sandbox, id, kind));
    }

    fn select_containers(
        &self,
        id: &str,
        sandbox: &str,
        labels: &BTreeMap<String, String>,
    ) -> Vec<ContainerRecord> {
        let state = self.inner.state.lock();
        let fits = |record: &&ContainerRecord| {
            let config = record.config.as_ref();
            record.id.starts_with(id)
                && record.sandbox_id.starts_with(sandbox)
                && (labels.is_empty() || config.is_some_and(|config| has_labels(&config.labels, labels)))
        };
        state.containers().filter(fits).cloned().collect()
    }

    fn select_sandboxes(&self, id: &str, labels: &BTreeMap<String, String>) -> Vec<SandboxRecord> {
        let state = self.inner.state.lock();
        let fits = |record: &&SandboxRecord| {
            let config = record.config.as_ref();
            record.id.starts_with(id)
                && (labels.is_empty() || config.is_some_and(|config| has_labels(&config.labels, labels)))
        };
        state.sandboxes().filter(fits).cloned().collect()
    }
}

#[async_trait]
impl RuntimeService for Runtime {
    async fn version(&self) -> Result<VersionResponse> {
        Ok(VersionResponse {
            version: "0.1.0".to_owned(),
            runtime_name: "corten".to_owned(),
            runtime_version: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_api_version: "v1".to_owned(),
        })
    }

    async fn status(&self, _verbose: bool) -> Result<StatusResponse> {
        let condition = |name: &str, problem: Option<(&str, String)>| RuntimeCondition {
            r#type: name.to_owned(),
            status: problem.is_none(),
            reason: problem
                .as_ref()
                .map_or(String::new(), |(reason, _)| (*reason).to_owned()),
            message: problem.map_or(String::new(), |(_, message)| message),
        };
        let keeper = self.keeper().tell(Request::Hello).await;
        let runtime = keeper.err().map(|error| ("KeeperLost", error.to_string()));
        let network = self
            .inner
            .config
            .network
            .not_ready()
            .map(|message| ("NetworkPluginNotReady", message));
        let handler = |name: &str| RuntimeHandler {
            name: name.to_owned(),
            features: Some(RuntimeHandlerFeatures {
                recursive_read_only_mounts: true,
                user_namespaces: false,
            }),
        };
        Ok(StatusResponse {
            status: Some(RuntimeStatus {
                conditions: vec![
                    condition("RuntimeReady", runtime),
                    condition("NetworkReady", network),
                ],
            }),
            info: BTreeMap::new(),
            runtime_handlers: vec![handler(""), handler("corten")],
            features: Some(RuntimeFeatures {
                supplemental_groups_policy: true,
                user_namespaces_host_network: false,
            }),
        })
    }

    async fn runtime_config(&self) -> Result<RuntimeConfigResponse> {
        let linux = LinuxRuntimeConfiguration {
            cgroup_driver: CgroupDriver::Cgroupfs as i32,
        };
        Ok(RuntimeConfigResponse { linux: Some(linux) })
    }

    /// Pod networks are wired by the [`crate::cri::PodNetwork`] that was handed in, which knows its range itself.
    async fn update_runtime_config(&self, _pod_cidr: &str) -> Result<()> {
        Ok(())
    }

    async fn run_pod_sandbox(&self, config: PodSandboxConfig, runtime_handler: &str) -> Result<String> {
        self.run_sandbox(config, runtime_handler).await
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        self.stop_sandbox(id).await
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        self.remove_sandbox(id).await
    }

    async fn pod_sandbox_status(&self, id: &str, _verbose: bool) -> Result<PodSandboxStatusResponse> {
        let state = self.inner.state.lock();
        let record = &state.sandbox(id)?.record;
        Ok(PodSandboxStatusResponse {
            status: Some(sandbox_status(record)),
            info: BTreeMap::new(),
            containers_statuses: state
                .containers_of(&record.id)
                .iter()
                .map(container_status)
                .collect(),
            timestamp: now_ns(),
        })
    }

    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>> {
        let filter = filter.unwrap_or_default();
        let selected = self.select_sandboxes(&filter.id, &filter.label_selector);
        let state = filter.state.map(|state| state.state);
        let summary = |record: SandboxRecord| {
            let status = sandbox_status(&record);
            PodSandbox {
                id: status.id,
                metadata: status.metadata,
                state: status.state,
                created_at: status.created_at,
                labels: status.labels,
                annotations: status.annotations,
                runtime_handler: status.runtime_handler,
            }
        };
        let fits = |sandbox: &PodSandbox| state.is_none_or(|state| state == sandbox.state);
        Ok(selected.into_iter().map(summary).filter(fits).collect())
    }

    async fn update_pod_sandbox_resources(
        &self,
        id: &str,
        overhead: Option<LinuxContainerResources>,
        resources: Option<LinuxContainerResources>,
    ) -> Result<()> {
        let group = self.inner.state.lock().sandbox(id)?.record.cgroup.clone();
        let cgroups = self.inner.cgroups.clone();
        let Some(update) = resources.or(overhead) else {
            return Ok(());
        };
        super::blocking(move || {
            cgroups
                .apply(&group, &resources::limits(&update))
                .map_err(super::system)
        })
        .await
    }

    async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
        _sandbox_config: &PodSandboxConfig,
    ) -> Result<String> {
        self.create(sandbox_id, config).await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.start(id).await
    }

    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        self.stop(id, timeout).await
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.remove(id).await
    }

    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>> {
        let filter = filter.unwrap_or_default();
        let selected = self.select_containers(&filter.id, &filter.pod_sandbox_id, &filter.label_selector);
        let fits = |record: &&ContainerRecord| {
            filter
                .state
                .as_ref()
                .is_none_or(|state| state.state == record.state)
        };
        Ok(selected.iter().filter(fits).map(container_summary).collect())
    }

    async fn container_status(&self, id: &str, verbose: bool) -> Result<ContainerStatusResponse> {
        let state = self.inner.state.lock();
        let record = &state.container(id)?.record;
        let mut info = BTreeMap::new();
        if verbose {
            info.insert("pid".to_owned(), record.pid.to_string());
            info.insert("cgroup".to_owned(), record.cgroup.clone());
        }
        Ok(ContainerStatusResponse {
            status: Some(container_status(record)),
            info,
        })
    }

    async fn update_container_resources(&self, id: &str, resources: LinuxContainerResources) -> Result<()> {
        self.update_resources(id, resources).await
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        let (id, running) = {
            let state = self.inner.state.lock();
            let record = &state.container(id)?.record;
            (
                record.id.clone(),
                record.state == ContainerState::ContainerRunning as i32,
            )
        };
        if !running {
            return Err(Error::failed_precondition("container is not running"));
        }
        Ok(self.keeper().tell(Request::ReopenLog { id }).await?)
    }

    async fn exec_sync(&self, id: &str, cmd: Vec<String>, timeout: Duration) -> Result<ExecSyncResponse> {
        self.run_exec_sync(id, cmd, timeout).await
    }

    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        let record = self.inner.state.lock().container(id)?.record.clone();
        self.stats_of(record).await
    }

    async fn list_container_stats(
        &self,
        filter: Option<ContainerStatsFilter>,
    ) -> Result<Vec<ContainerStats>> {
        let filter = filter.unwrap_or_default();
        let mut stats = Vec::new();
        for record in self.select_containers(&filter.id, &filter.pod_sandbox_id, &filter.label_selector) {
            if record.state == ContainerState::ContainerRunning as i32 {
                stats.push(self.stats_of(record).await?);
            }
        }
        Ok(stats)
    }

    async fn pod_sandbox_stats(&self, id: &str) -> Result<PodSandboxStats> {
        let record = self.inner.state.lock().sandbox(id)?.record.clone();
        self.sandbox_stats_of(record).await
    }

    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<PodSandboxStatsFilter>,
    ) -> Result<Vec<PodSandboxStats>> {
        let filter = filter.unwrap_or_default();
        let mut stats = Vec::new();
        for record in self
            .select_sandboxes(&filter.id, &filter.label_selector)
            .into_iter()
            .filter(|r| r.ready)
        {
            stats.push(self.sandbox_stats_of(record).await?);
        }
        Ok(stats)
    }

    async fn container_events(&self) -> Result<BoxStream<'static, ContainerEventResponse>> {
        let stream = BroadcastStream::new(self.inner.events.subscribe());
        // Falling behind ends the stream: the subscriber starts anew with a list.
        Ok(Box::pin(stream.map_while(std::result::Result::ok)))
    }
}
