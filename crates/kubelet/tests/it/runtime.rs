//! A container runtime in memory: containers run until a test ends them.

use async_trait::async_trait;
use corten_runtime::cri::*;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncReadExt;
use tokio::sync::{broadcast, watch};

#[derive(Default)]
struct State {
    sandboxes: BTreeMap<String, PodSandboxStatus>,
    containers: BTreeMap<String, (String, ContainerStatus)>,
    configs: BTreeMap<String, ContainerConfig>,
    images: BTreeMap<String, Image>,
    calls: Vec<String>,
    next: u32,
    /// Exit codes that exec answers with, by the first word of the command.
    execs: BTreeMap<String, i32>,
}

#[derive(Clone)]
pub struct FakeRuntime {
    state: Arc<Mutex<State>>,
    events: broadcast::Sender<ContainerEventResponse>,
    changed: watch::Sender<u64>,
}

fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64
}

impl FakeRuntime {
    pub fn new() -> Self {
        let events = broadcast::Sender::new(1024);
        Self {
            state: Arc::default(),
            events,
            changed: watch::Sender::new(0),
        }
    }

    pub fn add_image(&self, name: &str) {
        let image = Image {
            id: format!("sha256:{name}"),
            repo_tags: vec![name.to_owned()],
            size: 1000,
            ..Default::default()
        };
        self.state.lock().images.insert(name.to_owned(), image);
    }

    pub fn calls(&self) -> Vec<String> {
        self.state.lock().calls.clone()
    }

    pub fn set_exec(&self, word: &str, code: i32) {
        self.state.lock().execs.insert(word.to_owned(), code);
    }

    pub fn config(&self, name: &str) -> Option<ContainerConfig> {
        let state = self.state.lock();
        state
            .configs
            .values()
            .find(|c| c.metadata.as_ref().is_some_and(|m| m.name == name))
            .cloned()
    }

    pub fn counts(&self) -> (usize, usize) {
        let state = self.state.lock();
        (state.sandboxes.len(), state.containers.len())
    }

    /// Ends the newest running container of that name.
    pub fn exit(&self, name: &str, code: i32) {
        let id = {
            let mut state = self.state.lock();
            let (id, (_, c)) = state
                .containers
                .iter_mut()
                .find(|(_, (_, c))| {
                    c.metadata.as_ref().is_some_and(|m| m.name == name)
                        && c.state() == ContainerState::ContainerRunning
                })
                .expect("a running container");
            end(c, code);
            id.clone()
        };
        self.emit(&id, ContainerEventType::ContainerStoppedEvent);
    }

    fn emit(&self, id: &str, kind: ContainerEventType) {
        let state = self.state.lock();
        let sandbox = state.containers.get(id).map_or(id, |(s, _)| s).to_owned();
        let event = ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind.into(),
            created_at: now(),
            pod_sandbox_status: state.sandboxes.get(&sandbox).cloned(),
            containers_statuses: state
                .containers
                .values()
                .filter(|(s, _)| *s == sandbox)
                .map(|(_, c)| c.clone())
                .collect(),
        };
        drop(state);
        let _ = self.events.send(event);
        self.changed.send_modify(|n| *n += 1);
    }
}

fn end(c: &mut ContainerStatus, code: i32) {
    c.set_state(ContainerState::ContainerExited);
    c.finished_at = now();
    c.exit_code = code;
    c.reason = if code == 0 { "Completed" } else { "Error" }.into();
}

fn matches(want: &BTreeMap<String, String>, have: &BTreeMap<String, String>) -> bool {
    want.iter().all(|(k, v)| have.get(k) == Some(v))
}

#[async_trait]
impl RuntimeService for FakeRuntime {
    async fn version(&self) -> Result<VersionResponse> {
        Ok(VersionResponse {
            runtime_name: "fake".into(),
            runtime_version: "0".into(),
            ..Default::default()
        })
    }
    async fn status(&self, _: bool) -> Result<StatusResponse> {
        Ok(StatusResponse::default())
    }
    async fn runtime_config(&self) -> Result<RuntimeConfigResponse> {
        Ok(RuntimeConfigResponse::default())
    }
    async fn update_runtime_config(&self, _: &str) -> Result<()> {
        Ok(())
    }
    async fn run_pod_sandbox(&self, config: PodSandboxConfig, _: &str) -> Result<String> {
        let id = {
            let mut state = self.state.lock();
            state.next += 1;
            let id = format!("sandbox{}", state.next);
            state.calls.push(format!(
                "run_pod_sandbox {}",
                config.metadata.as_ref().unwrap().name
            ));
            let ip = format!("10.1.0.{}", state.next);
            let options = config.linux.as_ref().and_then(|l| l.security_context.clone());
            let status = PodSandboxStatus {
                id: id.clone(),
                metadata: config.metadata,
                created_at: now(),
                network: Some(PodSandboxNetworkStatus {
                    ip,
                    additional_ips: Vec::new(),
                }),
                linux: Some(LinuxPodSandboxStatus {
                    namespaces: Some(Namespace {
                        options: options.and_then(|o| o.namespace_options),
                    }),
                }),
                labels: config.labels,
                annotations: config.annotations,
                ..Default::default()
            };
            state.sandboxes.insert(id.clone(), status);
            id
        };
        self.emit(&id, ContainerEventType::ContainerStartedEvent);
        Ok(id)
    }
    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        {
            let mut state = self.state.lock();
            state.calls.push("stop_pod_sandbox".into());
            let sandbox = state
                .sandboxes
                .get_mut(id)
                .ok_or_else(|| Error::not_found("sandbox"))?;
            sandbox.set_state(PodSandboxState::SandboxNotready);
            sandbox.network = None;
        }
        self.emit(id, ContainerEventType::ContainerStoppedEvent);
        Ok(())
    }
    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let mut state = self.state.lock();
        state.calls.push("remove_pod_sandbox".into());
        state.sandboxes.remove(id);
        state.containers.retain(|_, (s, _)| s != id);
        Ok(())
    }
    async fn pod_sandbox_status(&self, id: &str, _: bool) -> Result<PodSandboxStatusResponse> {
        let status = self.state.lock().sandboxes.get(id).cloned();
        let status = status.ok_or_else(|| Error::not_found("sandbox"))?;
        Ok(PodSandboxStatusResponse {
            status: Some(status),
            ..Default::default()
        })
    }
    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>> {
        let want = filter.unwrap_or_default().label_selector;
        let state = self.state.lock();
        let found = state.sandboxes.values().filter(|s| matches(&want, &s.labels));
        Ok(found
            .map(|s| PodSandbox {
                id: s.id.clone(),
                labels: s.labels.clone(),
                ..Default::default()
            })
            .collect())
    }
    async fn update_pod_sandbox_resources(
        &self,
        _: &str,
        _: Option<LinuxContainerResources>,
        _: Option<LinuxContainerResources>,
    ) -> Result<()> {
        Ok(())
    }
    async fn create_container(
        &self,
        sandbox: &str,
        config: ContainerConfig,
        _: &PodSandboxConfig,
    ) -> Result<String> {
        let mut state = self.state.lock();
        state.next += 1;
        let id = format!("container{}", state.next);
        let name = config.metadata.as_ref().unwrap().name.clone();
        state.calls.push(format!("create {name}"));
        let status = ContainerStatus {
            id: id.clone(),
            metadata: config.metadata.clone(),
            created_at: now(),
            image: config.image.clone(),
            image_ref: "repo@sha256:1".into(),
            labels: config.labels.clone(),
            annotations: config.annotations.clone(),
            mounts: config.mounts.clone(),
            resources: config.linux.as_ref().map(|l| ContainerResources {
                linux: l.resources.clone(),
                windows: None,
            }),
            ..Default::default()
        };
        state.containers.insert(id.clone(), (sandbox.to_owned(), status));
        state.configs.insert(id.clone(), config);
        Ok(id)
    }
    async fn start_container(&self, id: &str) -> Result<()> {
        {
            let mut state = self.state.lock();
            let (_, c) = state
                .containers
                .get_mut(id)
                .ok_or_else(|| Error::not_found("container"))?;
            c.set_state(ContainerState::ContainerRunning);
            c.started_at = now();
            let name = c.metadata.as_ref().unwrap().name.clone();
            state.calls.push(format!("start {name}"));
        }
        self.emit(id, ContainerEventType::ContainerStartedEvent);
        Ok(())
    }
    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        {
            let mut state = self.state.lock();
            let (_, c) = state
                .containers
                .get_mut(id)
                .ok_or_else(|| Error::not_found("container"))?;
            let name = c.metadata.as_ref().unwrap().name.clone();
            let seconds = timeout.as_secs_f64().round();
            if c.state() == ContainerState::ContainerRunning {
                end(c, 0);
            }
            state.calls.push(format!("stop {name} {seconds}"));
        }
        self.emit(id, ContainerEventType::ContainerStoppedEvent);
        Ok(())
    }
    async fn remove_container(&self, id: &str) -> Result<()> {
        self.state.lock().containers.remove(id);
        Ok(())
    }
    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>> {
        let want = filter.unwrap_or_default().label_selector;
        let state = self.state.lock();
        let found = state
            .containers
            .values()
            .filter(|(_, c)| matches(&want, &c.labels));
        Ok(found
            .map(|(_, c)| Container {
                id: c.id.clone(),
                labels: c.labels.clone(),
                ..Default::default()
            })
            .collect())
    }
    async fn container_status(&self, id: &str, _: bool) -> Result<ContainerStatusResponse> {
        let status = self.state.lock().containers.get(id).map(|(_, c)| c.clone());
        let status = status.ok_or_else(|| Error::not_found("container"))?;
        Ok(ContainerStatusResponse {
            status: Some(status),
            ..Default::default()
        })
    }
    async fn update_container_resources(&self, id: &str, resources: LinuxContainerResources) -> Result<()> {
        let mut state = self.state.lock();
        state.calls.push("update_container_resources".into());
        let (_, c) = state
            .containers
            .get_mut(id)
            .ok_or_else(|| Error::not_found("container"))?;
        c.resources = Some(ContainerResources {
            linux: Some(resources),
            windows: None,
        });
        Ok(())
    }
    async fn reopen_container_log(&self, _: &str) -> Result<()> {
        Ok(())
    }
    async fn exec_sync(&self, _: &str, cmd: Vec<String>, _: Duration) -> Result<ExecSyncResponse> {
        let mut state = self.state.lock();
        state.calls.push(format!("exec {}", cmd.join(" ")));
        let exit_code = state.execs.get(&cmd[0]).copied().unwrap_or(0);
        Ok(ExecSyncResponse {
            exit_code,
            stdout: b"out".to_vec(),
            ..Default::default()
        })
    }
    async fn container_stats(&self, _: &str) -> Result<ContainerStats> {
        Ok(ContainerStats::default())
    }
    async fn list_container_stats(&self, _: Option<ContainerStatsFilter>) -> Result<Vec<ContainerStats>> {
        Ok(Vec::new())
    }
    async fn pod_sandbox_stats(&self, _: &str) -> Result<PodSandboxStats> {
        Ok(PodSandboxStats::default())
    }
    async fn list_pod_sandbox_stats(&self, _: Option<PodSandboxStatsFilter>) -> Result<Vec<PodSandboxStats>> {
        Ok(Vec::new())
    }
    async fn container_events(&self) -> Result<BoxStream<'static, ContainerEventResponse>> {
        let receiver = self.events.subscribe();
        let stream = futures::stream::unfold(receiver, |mut r| async move {
            r.recv().await.ok().map(|event| (event, r))
        });
        Ok(stream.boxed())
    }
}

#[async_trait]
impl ImageService for FakeRuntime {
    async fn list_images(&self, _: Option<ImageFilter>) -> Result<Vec<Image>> {
        Ok(self.state.lock().images.values().cloned().collect())
    }
    async fn image_status(&self, image: &ImageSpec, _: bool) -> Result<ImageStatusResponse> {
        let state = self.state.lock();
        let found = state
            .images
            .values()
            .find(|i| i.repo_tags.contains(&image.image) || i.id == image.image);
        Ok(ImageStatusResponse {
            image: found.cloned(),
            ..Default::default()
        })
    }
    async fn pull_image(
        &self,
        image: &ImageSpec,
        auth: Option<AuthConfig>,
        _: Option<&PodSandboxConfig>,
    ) -> Result<String> {
        let user = auth.map(|a| a.username).unwrap_or_default();
        self.state
            .lock()
            .calls
            .push(format!("pull {} {user}", image.image));
        if image.image.contains("missing") {
            return Err(Error::not_found(format!("{} not found", image.image)));
        }
        self.add_image(&image.image);
        Ok(format!("sha256:{}", image.image))
    }
    async fn remove_image(&self, image: &ImageSpec) -> Result<()> {
        self.state.lock().images.retain(|_, i| i.id != image.image);
        Ok(())
    }
    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse> {
        Ok(ImageFsInfoResponse::default())
    }
}

#[async_trait]
impl Streaming for FakeRuntime {
    /// A process that reads its input, a byte at a time, and runs on.
    async fn exec(&self, _: ExecRequest) -> Result<ExecIo> {
        let (stdin, mut process) = tokio::io::duplex(1);
        let state = Arc::clone(&self.state);
        tokio::spawn(async move {
            let mut text = String::new();
            process.read_to_string(&mut text).await.unwrap();
            state.lock().calls.push(format!("stdin {text}"));
        });
        Ok(ExecIo {
            stdin: Some(Box::new(stdin)),
            stdout: None,
            stderr: None,
            resize: tokio::sync::mpsc::channel(1).0,
            exit: Box::pin(futures::future::pending()),
        })
    }
    async fn attach(&self, _: AttachRequest) -> Result<ExecIo> {
        Err(Error::unknown("no attach here"))
    }
    async fn port_forward(&self, _: &str, _: u16) -> Result<Box<dyn Duplex>> {
        let (near, far) = tokio::io::duplex(1024);
        tokio::spawn(async move {
            let (mut r, mut w) = tokio::io::split(far);
            let _ = tokio::io::copy(&mut r, &mut w).await;
        });
        Ok(Box::new(near))
    }
}
