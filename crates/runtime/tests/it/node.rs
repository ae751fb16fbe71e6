//! A runtime in directories of its own.

use crate::fixture::{self, LoopbackOnly};
use corten_runtime::cri::{
    ContainerConfig, ContainerMetadata, ContainerState, ContainerStatus, ImageSpec, LinuxContainerConfig,
    LinuxContainerResources, LinuxContainerSecurityContext, LinuxPodSandboxConfig,
    LinuxSandboxSecurityContext, NamespaceMode, NamespaceOption, PodSandboxConfig, PodSandboxMetadata,
    RuntimeService,
};
use corten_runtime::embedded::{Config, Runtime};
use corten_runtime::image;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

static NUMBER: AtomicUsize = AtomicUsize::new(0);

pub struct Node {
    pub dir: tempfile::TempDir,
    pub config: Config,
    runtime: Option<Runtime>,
    pub image: String,
    finished: bool,
}

/// The example is the keeper; cargo has built it beside the tests.
fn keeper_command() -> Vec<std::ffi::OsString> {
    let tests = std::env::current_exe().unwrap();
    let example = tests.parent().unwrap().parent().unwrap().join("examples/run");
    assert!(
        example.exists(),
        "{} is missing: run the tests with cargo test",
        example.display()
    );
    vec![example.into(), "keeper".into()]
}

impl Node {
    pub async fn new() -> Self {
        assert!(nix::unistd::geteuid().is_root(), "these tests need root");
        let dir = tempfile::tempdir().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let config = Config {
            root: dir.path().join("root"),
            state_dir: dir.path().join("state"),
            cgroup_root: format!("/corten-test-{}-{number}", std::process::id()),
            keeper_command: keeper_command(),
            network: Arc::new(LoopbackOnly),
            pull: image::PullOptions::default(),
        };
        let runtime = Runtime::open(config.clone()).await.unwrap();
        let archive = dir.path().join("busybox.tar");
        fixture::write_busybox(&archive);
        let image = image::import(runtime.images(), &archive, &image::quiet()).unwrap()[0]
            .id
            .clone();
        Self {
            dir,
            config,
            runtime: Some(runtime),
            image,
            finished: false,
        }
    }

    pub fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().unwrap()
    }

    /// The runtime goes away without a word to its containers.
    pub fn lose_runtime(&mut self) {
        let runtime = self.runtime.take().unwrap();
        runtime.close();
    }

    /// The one before may hold its lock until its last task has noticed.
    pub async fn open_again(&mut self) {
        let opened = loop {
            match Runtime::open(self.config.clone()).await {
                Err(error) if error.code == corten_runtime::cri::Code::FailedPrecondition => {
                    tokio::task::yield_now().await;
                }
                other => break other.unwrap(),
            }
        };
        self.runtime = Some(opened);
    }

    pub fn pod(&self, name: &str) -> PodSandboxConfig {
        let security = LinuxSandboxSecurityContext {
            namespace_options: Some(NamespaceOption {
                pid: NamespaceMode::Container as i32,
                ..Default::default()
            }),
            ..Default::default()
        };
        PodSandboxConfig {
            metadata: Some(PodSandboxMetadata {
                name: name.into(),
                uid: format!("uid-{name}"),
                namespace: "default".into(),
                attempt: 0,
            }),
            hostname: name.into(),
            log_directory: self.dir.path().join("logs").to_string_lossy().into_owned(),
            linux: Some(LinuxPodSandboxConfig {
                security_context: Some(security),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    pub fn container(&self, name: &str, command: &[&str]) -> ContainerConfig {
        let security = LinuxContainerSecurityContext {
            namespace_options: Some(NamespaceOption {
                pid: NamespaceMode::Container as i32,
                ..Default::default()
            }),
            masked_paths: vec!["/proc/kcore".into(), "/proc/keys".into()],
            readonly_paths: vec!["/proc/sys".into()],
            ..Default::default()
        };
        ContainerConfig {
            metadata: Some(ContainerMetadata {
                name: name.into(),
                attempt: 0,
            }),
            image: Some(ImageSpec {
                image: self.image.clone(),
                ..Default::default()
            }),
            command: command.iter().map(|part| (*part).to_owned()).collect(),
            log_path: format!("{name}.log"),
            linux: Some(LinuxContainerConfig {
                resources: Some(LinuxContainerResources::default()),
                security_context: Some(security),
            }),
            ..Default::default()
        }
    }

    /// A shell script as a container.
    pub fn script(&self, name: &str, script: &str) -> ContainerConfig {
        self.container(name, &["sh", "-c", script])
    }

    pub async fn sandbox(&self, name: &str) -> (String, PodSandboxConfig) {
        let pod = self.pod(name);
        (
            self.runtime().run_pod_sandbox(pod.clone(), "").await.unwrap(),
            pod,
        )
    }

    pub async fn start(&self, sandbox: &str, pod: &PodSandboxConfig, config: ContainerConfig) -> String {
        let id = self
            .runtime()
            .create_container(sandbox, config, pod)
            .await
            .unwrap();
        self.runtime().start_container(&id).await.unwrap();
        id
    }

    pub async fn status(&self, id: &str) -> ContainerStatus {
        self.runtime()
            .container_status(id, false)
            .await
            .unwrap()
            .status
            .unwrap()
    }

    /// Waits, by events, until the container has ended.
    pub async fn ended(&self, id: &str) -> ContainerStatus {
        use tokio_stream::StreamExt;
        let mut events = self.runtime().container_events().await.unwrap();
        let wait = async {
            loop {
                let status = self.status(id).await;
                if status.state == ContainerState::ContainerExited as i32 {
                    return status;
                }
                events.next().await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), wait)
            .await
            .expect("the container did not end")
    }

    /// Runs a script to its end in a sandbox of its own; exit code and what it wrote.
    pub async fn output(&self, change: impl FnOnce(&mut ContainerConfig), script: &str) -> (i32, String) {
        let name = format!("p{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let (sandbox, pod) = self.sandbox(&name).await;
        let mut config = self.script(&name, script);
        change(&mut config);
        let id = self.start(&sandbox, &pod, config).await;
        let status = self.ended(&id).await;
        let text = self.log_text(&name);
        self.runtime().remove_pod_sandbox(&sandbox).await.unwrap();
        (status.exit_code, text)
    }

    pub fn log_path(&self, name: &str) -> PathBuf {
        self.dir.path().join("logs").join(format!("{name}.log"))
    }

    /// The log without times, streams and tags.
    pub fn log_text(&self, name: &str) -> String {
        let text = std::fs::read_to_string(self.log_path(name)).unwrap_or_default();
        text.lines()
            .map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned() + "\n")
            .collect()
    }

    /// Takes everything down and looks for what is left.
    pub async fn finish(mut self) {
        self.finished = true;
        let keeper = keeper_pid(&self.config.state_dir);
        self.runtime().destroy_all().await.unwrap();
        let dir = self.dir.path().to_string_lossy().into_owned();
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&dir)).collect();
        assert!(left.is_empty(), "mounts left: {left:?}");
        assert!(
            !self.runtime().cgroups().exists(&self.config.cgroup_root),
            "control groups left"
        );
        assert!(!self.config.state_dir.exists());
        // A zombie is its parent's to reap, the machine's init.
        let running = std::fs::read_link(format!("/proc/{keeper}/exe"));
        assert!(running.is_err(), "the keeper is left");
    }
}

impl Drop for Node {
    /// A test that failed leaves nothing behind either.
    fn drop(&mut self) {
        if !self.finished {
            if let Some(runtime) = &self.runtime {
                runtime.close();
            }
            let cgroups = corten_sys::cgroup::Cgroups::detect().unwrap();
            let config = &self.config;
            let _ = corten_runtime::embedded::sweep(
                &config.root,
                &config.state_dir,
                &config.cgroup_root,
                &cgroups,
            );
        }
    }
}

/// The process that holds the keeper's lock, from the kernel's list of locks.
pub fn keeper_pid(state: &Path) -> i32 {
    use std::os::unix::fs::MetadataExt;
    let inode = std::fs::metadata(state.join("keeper.lock")).unwrap().ino();
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    let line = locks
        .lines()
        .find(|line| line.contains(&format!(":{inode} ")))
        .expect("no keeper");
    line.split_whitespace().nth(4).unwrap().parse().unwrap()
}
