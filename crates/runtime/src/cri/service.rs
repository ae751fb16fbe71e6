//! The calls of CRI v1 as traits, in the shape of upstream's `internalapi` interfaces.

use super::{
    AttachRequest, AuthConfig, Container, ContainerConfig, ContainerEventResponse, ContainerFilter,
    ContainerStats, ContainerStatsFilter, ContainerStatusResponse, ExecRequest, ExecSyncResponse, Image,
    ImageFilter, ImageFsInfoResponse, ImageSpec, ImageStatusResponse, LinuxContainerResources, PodSandbox,
    PodSandboxConfig, PodSandboxFilter, PodSandboxStats, PodSandboxStatsFilter, PodSandboxStatusResponse,
    Result, RuntimeConfigResponse, StatusResponse, VersionResponse,
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use std::net::IpAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Pod sandboxes and containers. Every call is idempotent where CRI says so: stopping or removing what is already
/// stopped or gone succeeds. Ids are the full 64 hex digits.
#[async_trait]
pub trait RuntimeService: Send + Sync {
    async fn version(&self) -> Result<VersionResponse>;
    /// `RuntimeReady` and `NetworkReady` conditions.
    async fn status(&self, verbose: bool) -> Result<StatusResponse>;
    async fn runtime_config(&self) -> Result<RuntimeConfigResponse>;
    /// Tells the runtime the node's pod CIDR.
    async fn update_runtime_config(&self, pod_cidr: &str) -> Result<()>;

    /// Creates and starts a sandbox with its network; returns its id.
    async fn run_pod_sandbox(&self, config: PodSandboxConfig, runtime_handler: &str) -> Result<String>;
    /// Kills what still runs in it and gives its network back.
    async fn stop_pod_sandbox(&self, id: &str) -> Result<()>;
    /// Removes the sandbox and every container in it.
    async fn remove_pod_sandbox(&self, id: &str) -> Result<()>;
    async fn pod_sandbox_status(&self, id: &str, verbose: bool) -> Result<PodSandboxStatusResponse>;
    async fn list_pod_sandbox(&self, filter: Option<PodSandboxFilter>) -> Result<Vec<PodSandbox>>;
    /// In-place resize of the pod's own cgroup.
    async fn update_pod_sandbox_resources(
        &self,
        id: &str,
        overhead: Option<LinuxContainerResources>,
        resources: Option<LinuxContainerResources>,
    ) -> Result<()>;

    /// The image must be present. Returns the new container's id; its state is CREATED.
    async fn create_container(
        &self,
        sandbox_id: &str,
        config: ContainerConfig,
        sandbox_config: &PodSandboxConfig,
    ) -> Result<String>;
    /// On failure the container is left EXITED with exit code 128, reason `StartError` and the message.
    async fn start_container(&self, id: &str) -> Result<()>;
    /// Sends the stop signal, and SIGKILL to all of it after `timeout`. Returns when it has ended.
    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()>;
    /// Force-stops and removes.
    async fn remove_container(&self, id: &str) -> Result<()>;
    async fn list_containers(&self, filter: Option<ContainerFilter>) -> Result<Vec<Container>>;
    async fn container_status(&self, id: &str, verbose: bool) -> Result<ContainerStatusResponse>;
    async fn update_container_resources(&self, id: &str, resources: LinuxContainerResources) -> Result<()>;
    /// Opens the log file anew after the kubelet has moved it away.
    async fn reopen_container_log(&self, id: &str) -> Result<()>;
    /// Runs `cmd` and collects its output (at most 16 MiB of each stream). Zero timeout: no limit.
    /// Over the limit the process is killed and the error is DeadlineExceeded.
    async fn exec_sync(&self, id: &str, cmd: Vec<String>, timeout: Duration) -> Result<ExecSyncResponse>;

    async fn container_stats(&self, id: &str) -> Result<ContainerStats>;
    async fn list_container_stats(&self, filter: Option<ContainerStatsFilter>)
    -> Result<Vec<ContainerStats>>;
    async fn pod_sandbox_stats(&self, id: &str) -> Result<PodSandboxStats>;
    async fn list_pod_sandbox_stats(
        &self,
        filter: Option<PodSandboxStatsFilter>,
    ) -> Result<Vec<PodSandboxStats>>;

    /// Created, started, stopped, deleted, each with the sandbox's status and all its containers' statuses as they
    /// were then. A subscriber that falls behind loses events: the stream then ends and the caller relists.
    async fn container_events(&self) -> Result<BoxStream<'static, ContainerEventResponse>>;
}

/// Images of this node.
#[async_trait]
pub trait ImageService: Send + Sync {
    async fn list_images(&self, filter: Option<ImageFilter>) -> Result<Vec<Image>>;
    /// `image` is None where it is not present. Accepts a name, a digest reference or an image id.
    async fn image_status(&self, image: &ImageSpec, verbose: bool) -> Result<ImageStatusResponse>;
    /// Returns the image's reference (its id, `sha256:...`). Dropping the future cancels the pull; what was fetched
    /// whole is kept for the next attempt.
    async fn pull_image(
        &self,
        image: &ImageSpec,
        auth: Option<AuthConfig>,
        sandbox_config: Option<&PodSandboxConfig>,
    ) -> Result<String>;
    async fn remove_image(&self, image: &ImageSpec) -> Result<()>;
    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse>;
}

/// Columns and rows of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    pub width: u16,
    pub height: u16,
}

pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// A byte stream in both directions.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// The ends of a running exec or attach session. Dropping `stdin` closes the process's standard input.
pub struct ExecIo {
    /// None where not asked for.
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    /// None for a terminal: it all comes on `stdout`.
    pub stderr: Option<Reader>,
    /// Only heard by a terminal. Bounded; use `try_send`, sizes may be dropped.
    pub resize: mpsc::Sender<TerminalSize>,
    /// Exec: the exit code. Attach: ends with 0 when the session does.
    pub exit: BoxFuture<'static, Result<i32>>,
}

/// Interactive sessions, without the HTTP that upstream's CRI puts around them.
#[async_trait]
pub trait Streaming: Send + Sync {
    async fn exec(&self, request: ExecRequest) -> Result<ExecIo>;
    /// Output from now on, to any number of sessions (bounded); input to the container's stdin where it has one.
    async fn attach(&self, request: AttachRequest) -> Result<ExecIo>;
    /// A connection to `localhost:port` as seen inside the sandbox.
    async fn port_forward(&self, sandbox_id: &str, port: u16) -> Result<Box<dyn Duplex>>;
}

/// All of a node's runtime: what the kubelet holds as `Arc<dyn Cri>`.
pub trait Cri: RuntimeService + ImageService + Streaming {}
impl<T: RuntimeService + ImageService + Streaming> Cri for T {}

/// Addresses of a pod, the primary first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodIps(pub Vec<IpAddr>);

/// Wires a sandbox's network namespace. Implemented outside this crate; both calls are idempotent.
#[async_trait]
pub trait PodNetwork: Send + Sync {
    /// `netns` is the path of a bind-mounted network namespace that has nothing but a `lo` that is down.
    async fn setup(
        &self,
        sandbox_id: &str,
        netns: &std::path::Path,
        namespace: &str,
        name: &str,
    ) -> std::result::Result<PodIps, String>;
    /// Leads ports of the node to a sandbox that is set up, until its teardown. Only mappings with a `host_port`.
    async fn publish(
        &self,
        _sandbox_id: &str,
        _ports: &[super::PortMapping],
    ) -> std::result::Result<(), String> {
        Ok(())
    }
    /// The namespace may be gone already.
    async fn teardown(&self, sandbox_id: &str, netns: &std::path::Path) -> std::result::Result<(), String>;
    /// None when pods can be wired; else why not (becomes the `NetworkReady` condition).
    fn not_ready(&self) -> Option<String> {
        None
    }
}
