//! The embedded runtime: CRI calls carried out here, containers parented by the keeper.
//!
//! `sandbox.rs` and `container.rs` hold the life cycles, `recover.rs` what happens after a restart.

mod container;
mod devices;
mod images;
mod keeper_link;
mod oci;
mod record;
mod recover;
mod resources;
mod sandbox;
mod service;
mod state;
mod stats;
mod streaming;
mod terminal;
mod user;

use crate::cri::{Error, PodNetwork, Result};
use crate::image::{ImageStore, PullOptions};
use corten_sys::cgroup::Cgroups;
use keeper_link::KeeperLink;
use parking_lot::{Mutex, RwLock};
use state::State;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where the runtime keeps things and what it builds on.
#[derive(Clone)]
pub struct Config {
    /// Large and lasting: images and writable layers. On a file system that can carry overlay upper directories.
    pub root: PathBuf,
    /// Small: sockets, records, namespaces. May be the same for a reboot; never shared by two runtimes.
    pub state_dir: PathBuf,
    /// The subtree of every control-group hierarchy that is ours, e.g. `/corten-1a2b/node-1`.
    pub cgroup_root: String,
    /// The command that runs [`crate::keeper::main`], e.g. `["/proc/self/exe", "keeper"]`.
    pub keeper_command: Vec<OsString>,
    pub network: Arc<dyn PodNetwork>,
    pub pull: PullOptions,
}

/// The embedded runtime. Cheap to clone; implements [`crate::cri::Cri`].
#[derive(Clone)]
pub struct Runtime {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    cgroups: Cgroups,
    boot_id: String,
    images: ImageStore,
    keeper: RwLock<KeeperLink>,
    state: Mutex<State>,
    events: tokio::sync::broadcast::Sender<crate::cri::ContainerEventResponse>,
    closing: tokio_util::sync::CancellationToken,
    /// Held for as long as the runtime lives.
    _lock: fs::File,
}

/// Events that a subscriber may be behind before its stream ends.
const EVENTS: usize = 1024;

impl Runtime {
    /// Opens the directories, starts or finds the keeper, and learns what became of every container.
    pub async fn open(config: Config) -> Result<Self> {
        let context =
            |what: &'static str| move |error: std::io::Error| Error::unknown(format!("{what}: {error}"));
        for dir in ["sandboxes", "containers"] {
            fs::create_dir_all(config.state_dir.join(dir)).map_err(context("create the state directory"))?;
        }
        fs::create_dir_all(config.root.join("snapshots")).map_err(context("create the root directory"))?;
        let lock = lock(&config.state_dir)?;
        // Containers' roots are mounted below in namespaces copied from ours; nothing of it may come back.
        corten_sys::mounts::make_private_mount(&config.state_dir).map_err(system)?;
        let cgroups = Cgroups::detect().map_err(system)?;
        cgroups.create(&config.cgroup_root).map_err(system)?;
        let images = ImageStore::open(&config.root).map_err(images::failed)?;
        let boot_id = corten_sys::process::boot_id().map_err(system)?;
        let (keeper, snapshot, events) = recover::find_keeper(&config).await?;
        let inner = Inner {
            cgroups,
            boot_id,
            images,
            keeper: RwLock::new(keeper),
            state: Mutex::new(State::load(&config.state_dir).map_err(context("read the state"))?),
            events: tokio::sync::broadcast::channel(EVENTS).0,
            closing: tokio_util::sync::CancellationToken::new(),
            _lock: lock,
            config,
        };
        let runtime = Self {
            inner: Arc::new(inner),
        };
        runtime.reconcile(&snapshot).await?;
        tokio::spawn(recover::supervise(
            Arc::downgrade(&runtime.inner),
            runtime.inner.closing.clone(),
            events,
        ));
        Ok(runtime)
    }

    /// Stops handling events, leaving every container as it is: the way to end before another runtime is opened on the
    /// same directories. Complete when the last clone is gone.
    pub fn close(&self) {
        self.inner.closing.cancel();
    }

    pub fn images(&self) -> &ImageStore {
        &self.inner.images
    }

    /// The machine's control groups, for the kubelet's own pod and QoS groups.
    pub fn cgroups(&self) -> &Cgroups {
        &self.inner.cgroups
    }

    fn keeper(&self) -> KeeperLink {
        self.inner.keeper.read().clone()
    }

    fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.inner.config.state_dir.join("sandboxes").join(id)
    }

    fn container_dir(&self, id: &str) -> PathBuf {
        self.inner.config.state_dir.join("containers").join(id)
    }

    fn snapshot_dir(&self, id: &str) -> PathBuf {
        self.inner.config.root.join("snapshots").join(id)
    }

    /// A group below our root, whatever way the kubelet names it.
    fn cgroup_path(&self, parent: &str) -> String {
        let root = self.inner.config.cgroup_root.trim_end_matches('/');
        let parent = parent.trim_matches('/');
        if format!("/{parent}/").starts_with(&format!("{root}/")) {
            format!("/{parent}")
        } else {
            format!("{root}/{parent}")
        }
    }

    /// Removes every container, sandbox, mount, namespace and control group, and ends the keeper. Images stay.
    /// The runtime is of no use afterwards.
    pub async fn destroy_all(&self) -> Result<()> {
        let ids: Vec<String> = self.inner.state.lock().sandbox_ids();
        let mut first_error = None;
        for id in ids {
            if let Err(error) = self.remove_sandbox(&id).await {
                tracing::warn!(sandbox = id, error = %error, "could not remove");
                first_error.get_or_insert(error);
            }
        }
        self.inner.closing.cancel();
        let _ = self
            .keeper()
            .tell(crate::keeper::protocol::Request::Shutdown)
            .await;
        let config = self.inner.config.clone();
        let cgroups = self.inner.cgroups.clone();
        blocking(move || sweep(&config.root, &config.state_dir, &config.cgroup_root, &cgroups)).await?;
        first_error.map_or(Ok(()), Err)
    }
}

/// Removes what a runtime with these directories left, whether or not one runs: processes by their control group, then
/// mounts, groups, state and writable layers. Images stay. For `corten down` after a crash.
pub fn sweep(root: &Path, state_dir: &Path, cgroup_root: &str, cgroups: &Cgroups) -> Result<()> {
    cgroups.remove(cgroup_root).map_err(system)?;
    corten_sys::mounts::detach_below(state_dir).map_err(system)?;
    for dir in [state_dir.to_owned(), root.join("snapshots"), root.join("trash")] {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::unknown(format!("remove {}: {error}", dir.display())));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Two runtimes on one state directory would undo each other's work.
fn lock(state_dir: &Path) -> Result<fs::File> {
    let path = state_dir.join("runtime.lock");
    let file = fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(Error::failed_precondition(format!(
            "{} is in use by another corten: stop it first, or choose another data directory",
            state_dir.display()
        ))),
        Err(fs::TryLockError::Error(error)) => {
            Err(Error::unknown(format!("lock {}: {error}", path.display())))
        }
    }
}

fn system(error: corten_sys::Error) -> Error {
    Error::unknown(error.to_string())
}

/// Runs work that may block where it may.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::new(crate::cri::Code::Internal, error.to_string())))
}

/// 64 hex digits.
fn new_id() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn now_ns() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
