//! Life of a container: create, start, stop, remove.

use super::record::{ContainerRecord, SandboxRecord};
use super::{Runtime, blocking, new_id, now_ns, oci, resources, system};
use crate::cri::{
    ContainerConfig, ContainerEventType, ContainerState, ContainerUser, Error, LinuxContainerResources,
    LinuxContainerUser, NamespaceMode, Result, Signal,
};
use crate::image::{ImageRecord, RunConfig};
use crate::keeper::protocol::{Exit, Reply, Request, Start};
use crate::keeper::{CGROUP_VIEW_DIR, ImageVolume, ROOTFS_DIR};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a killed container may take to be gone.
const KILL_WAIT: Duration = Duration::from_secs(15);

fn is(record: &ContainerRecord, state: ContainerState) -> bool {
    record.state == state as i32
}

impl Runtime {
    pub(super) async fn create(&self, sandbox_id: &str, config: ContainerConfig) -> Result<String> {
        let sandbox = self.inner.state.lock().sandbox(sandbox_id)?.record.clone();
        if !sandbox.ready {
            return Err(Error::failed_precondition(format!(
                "sandbox container {sandbox_id:?} is not running"
            )));
        }
        let name = config
            .image
            .as_ref()
            .map(|image| image.image.clone())
            .unwrap_or_default();
        let image = self
            .inner
            .images
            .get(&name)
            .ok_or_else(|| Error::not_found(format!("failed to resolve image {name:?}: not found")))?;
        let target_pid = self.target_pid(&config)?;
        let image_volumes = self.image_volumes(&config)?;
        let mut record = new_record(&sandbox, config, &image, &self.inner.images.lower_dirs(&image));
        record.volume_lower = image_volumes
            .iter()
            .flat_map(|volume| told(&volume.lower))
            .collect();
        let id = record.id.clone();
        let making = Making {
            sandbox_dir: self.sandbox_dir(&sandbox.id),
            dir: self.container_dir(&id),
            snapshot: self.snapshot_dir(&id),
            v2: self.inner.cgroups.is_v2(),
            sandbox,
            image: image.run,
            image_volumes,
            target_pid,
        };
        let made = blocking(move || making.make(record)).await?;
        let sandbox_id = made.sandbox_id.clone();
        self.inner.state.lock().put_container(made)?;
        self.publish(&sandbox_id, &id, ContainerEventType::ContainerCreatedEvent);
        Ok(id)
    }

    /// The images that it mounts, in the order of its mounts.
    fn image_volumes(&self, config: &ContainerConfig) -> Result<Vec<ImageVolume>> {
        let images = config
            .mounts
            .iter()
            .filter_map(|mount| Some((mount, mount.image.as_ref()?)));
        let found = images.map(|(mount, spec)| {
            let image = self.inner.images.get(&spec.image);
            let image = image.ok_or_else(|| {
                Error::not_found(format!("failed to resolve image {:?}: not found", spec.image))
            })?;
            Ok(ImageVolume {
                lower: self.inner.images.lower_dirs(&image),
                sub_path: mount.image_sub_path.clone(),
            })
        });
        found.collect()
    }

    /// For containers that look into another's processes.
    fn target_pid(&self, config: &ContainerConfig) -> Result<Option<i32>> {
        let options = oci::context(config).namespace_options.unwrap_or_default();
        if options.pid != NamespaceMode::Target as i32 {
            return Ok(None);
        }
        let state = self.inner.state.lock();
        let target = &state.container(&options.target_id)?.record;
        Ok(is(target, ContainerState::ContainerRunning).then_some(target.pid))
    }

    pub(super) async fn start(&self, id: &str) -> Result<()> {
        let (record, lock) = self.entry(id)?;
        let _serial = lock.lock().await;
        let id = record.id.clone();
        let record = self.inner.state.lock().container(&id)?.record.clone();
        if !is(&record, ContainerState::ContainerCreated) {
            return Err(Error::failed_precondition(format!(
                "container {id:?} is not in created state"
            )));
        }
        match self.launch(&record).await {
            Ok((pid, started_at)) => {
                self.inner.state.lock().update_container(&id, |record| {
                    // Its end may have been heard of before its start was answered.
                    if is(record, ContainerState::ContainerCreated) {
                        record.state = ContainerState::ContainerRunning as i32;
                    }
                    record.pid = pid;
                    record.started_at = started_at;
                })?;
                self.publish(&record.sandbox_id, &id, ContainerEventType::ContainerStartedEvent);
                Ok(())
            }
            Err(error) => {
                let cgroups = self.inner.cgroups.clone();
                let group = record.cgroup.clone();
                let _ = blocking(move || cgroups.remove(&group).map_err(system)).await;
                let message = format!(
                    "failed to create containerd task: failed to create shim task: OCI runtime create failed: \
                     unable to start container process: error during container init: {error}"
                );
                self.inner.state.lock().update_container(&id, |record| {
                    record.state = ContainerState::ContainerExited as i32;
                    record.exit_code = 128;
                    record.reason = "StartError".to_owned();
                    record.message.clone_from(&message);
                    record.finished_at = now_ns();
                })?;
                self.publish(&record.sandbox_id, &id, ContainerEventType::ContainerStoppedEvent);
                Err(Error::unknown(message))
            }
        }
    }

    async fn launch(&self, record: &ContainerRecord) -> Result<(i32, i64)> {
        let config = record.config.clone().unwrap_or_default();
        let cgroups = self.inner.cgroups.clone();
        let group = record.cgroup.clone();
        let limits = {
            let mut limits = resources::limits(&record.resources.clone().unwrap_or_default());
            let rules = super::devices::of_container(&config, record.privileged)
                .map_err(Error::unknown)?
                .1;
            limits.devices = Some(rules);
            limits
        };
        let log = (!record.log_path.is_empty()).then(|| PathBuf::from(&record.log_path));
        let parent = log.as_deref().and_then(Path::parent).map(Path::to_owned);
        blocking(move || {
            cgroups
                .create(&group)
                .and_then(|()| cgroups.apply(&group, &limits))
                .map_err(system)?;
            parent.map_or(Ok(()), fs::create_dir_all).map_err(Error::from)
        })
        .await?;
        let start = Start {
            id: record.id.clone(),
            bundle: self.container_dir(&record.id),
            log_path: log,
            tty: config.tty,
            stdin: config.stdin,
            cgroup: record.cgroup.clone(),
        };
        match self.keeper().call(Request::Start(start), Vec::new()).await? {
            (Reply::Started { pid, started_at_ns }, _) => Ok((pid, started_at_ns)),
            _ => Err(Error::unknown("the keeper gave no process")),
        }
    }

    fn entry(&self, id: &str) -> Result<(ContainerRecord, std::sync::Arc<tokio::sync::Mutex<()>>)> {
        let state = self.inner.state.lock();
        let entry = state.container(id)?;
        Ok((entry.record.clone(), entry.lock.clone()))
    }

    pub(super) async fn stop(&self, id: &str, timeout: Duration) -> Result<()> {
        let Ok((record, lock)) = self.entry(id) else {
            return Ok(());
        };
        let _serial = lock.lock().await;
        let id = record.id;
        let (record, mut exited) = {
            let state = self.inner.state.lock();
            let Ok(entry) = state.container(&id) else {
                return Ok(());
            };
            (entry.record.clone(), entry.exited.subscribe())
        };
        if !is(&record, ContainerState::ContainerRunning) {
            return Ok(());
        }
        let signal = |signal| Request::Signal {
            id: id.clone(),
            signal,
            group: false,
        };
        if !timeout.is_zero() {
            let sent = self.keeper().tell(signal(record.stop_signal)).await;
            if sent.is_ok()
                && tokio::time::timeout(timeout, exited.wait_for(|ended| *ended))
                    .await
                    .is_ok()
            {
                return Ok(());
            }
        }
        let _ = self.keeper().tell(signal(libc::SIGKILL)).await;
        let cgroups = self.inner.cgroups.clone();
        let group = record.cgroup.clone();
        blocking(move || cgroups.kill_now(&group).map_err(system)).await?;
        match tokio::time::timeout(KILL_WAIT, exited.wait_for(|ended| *ended)).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::deadline_exceeded(format!(
                "an error occurs during waiting for container {id:?} to be killed"
            ))),
        }
    }

    /// Takes note of an end that the keeper reported.
    pub(super) fn container_ended(&self, id: &str, exit: &Exit) {
        let reason = match (exit.oom_killed, exit.code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            _ => "Error",
        };
        self.note_end(id, exit, reason, "");
    }

    pub(super) fn note_end(&self, id: &str, exit: &Exit, reason: &str, message: &str) {
        let updated = self.inner.state.lock().update_container(id, |record| {
            record.state = ContainerState::ContainerExited as i32;
            record.exit_code = exit.code;
            record.finished_at = exit.at_ns;
            record.reason = reason.to_owned();
            record.message = message.to_owned();
        });
        let Ok(record) = updated else { return };
        let sandbox = record.sandbox_id.clone();
        let cgroups = self.inner.cgroups.clone();
        // Processes that it left behind (it may share a PID namespace) end with it.
        let cleanup = tokio::task::spawn_blocking(move || {
            if let Err(error) = cgroups.remove(&record.cgroup) {
                tracing::warn!(cgroup = record.cgroup, %error, "could not remove");
            }
        });
        self.inner.state.lock().cleanups.insert(id.to_owned(), cleanup);
        self.publish(&sandbox, id, ContainerEventType::ContainerStoppedEvent);
    }

    pub(super) async fn remove(&self, id: &str) -> Result<()> {
        let Ok((record, lock)) = self.entry(id) else {
            return Ok(());
        };
        self.stop(&record.id, Duration::ZERO).await?;
        let _serial = lock.lock().await;
        let _ = self
            .keeper()
            .tell(Request::Forget {
                id: record.id.clone(),
            })
            .await;
        let event = self.event(
            &record.sandbox_id,
            &record.id,
            ContainerEventType::ContainerDeletedEvent,
        );
        let cleanup = {
            let mut state = self.inner.state.lock();
            state.drop_container(&record.id);
            state.cleanups.remove(&record.id)
        };
        if let Some(cleanup) = cleanup {
            let _ = cleanup.await;
        }
        let cgroups = self.inner.cgroups.clone();
        let (dir, snapshot) = (self.container_dir(&record.id), self.snapshot_dir(&record.id));
        blocking(move || {
            cgroups.remove(&record.cgroup).map_err(system)?;
            discard(&dir, &snapshot);
            Ok(())
        })
        .await?;
        let _ = self.inner.events.send(event);
        Ok(())
    }

    pub(super) async fn update_resources(&self, id: &str, update: LinuxContainerResources) -> Result<()> {
        let (record, lock) = self.entry(id)?;
        let _serial = lock.lock().await;
        let merged = resources::merge(&record.resources.clone().unwrap_or_default(), &update);
        if is(&record, ContainerState::ContainerRunning) {
            let cgroups = self.inner.cgroups.clone();
            let (group, limits) = (record.cgroup.clone(), resources::limits(&update));
            blocking(move || cgroups.apply(&group, &limits).map_err(system)).await?;
        }
        self.inner
            .state
            .lock()
            .update_container(&record.id, |record| record.resources = Some(merged))
            .map(drop)
    }
}

fn told(dirs: &[PathBuf]) -> impl Iterator<Item = String> {
    dirs.iter().map(|dir| dir.to_string_lossy().into_owned())
}

fn new_record(
    sandbox: &SandboxRecord,
    mut config: ContainerConfig,
    image: &ImageRecord,
    lower: &[PathBuf],
) -> ContainerRecord {
    // An image of several names is told under its first, as containerd does.
    if let (Some(spec), Some(tag)) = (&mut config.image, image.tags.first()) {
        spec.image.clone_from(tag);
    }
    let id = new_id();
    let logs = sandbox
        .config
        .as_ref()
        .map_or("", |sandbox| sandbox.log_directory.as_str());
    ContainerRecord {
        sandbox_id: sandbox.id.clone(),
        image_id: image.id.clone(),
        image_ref: image.digests.first().unwrap_or(&image.id).clone(),
        created_at: now_ns(),
        state: ContainerState::ContainerCreated as i32,
        cgroup: format!("{}/{id}", sandbox.cgroup),
        lower: told(lower).collect(),
        stop_signal: stop_signal(config.stop_signal(), &image.run.stop_signal),
        resources: config.linux.as_ref().and_then(|linux| linux.resources.clone()),
        log_path: log_path(logs, &config.log_path),
        privileged: oci::context(&config).privileged,
        config: Some(config),
        id,
        ..ContainerRecord::default()
    }
}

/// What a container's files are made from, apart from its record.
struct Making {
    sandbox: SandboxRecord,
    sandbox_dir: PathBuf,
    image: RunConfig,
    image_volumes: Vec<ImageVolume>,
    dir: PathBuf,
    snapshot: PathBuf,
    target_pid: Option<i32>,
    v2: bool,
}

impl Making {
    /// Writes the bundle and makes the writable layer; nothing stays on failure. Returns the record with its user.
    fn make(self, record: ContainerRecord) -> Result<ContainerRecord> {
        let config = record.config.clone().unwrap_or_default();
        let (upper, work) = (self.snapshot.join("upper"), self.snapshot.join("work"));
        let inputs = oci::Inputs {
            config: &config,
            sandbox: &self.sandbox,
            sandbox_dir: &self.sandbox_dir,
            image: &self.image,
            lower: record.lower.iter().map(PathBuf::from).collect(),
            upper: upper.clone(),
            work: work.clone(),
            image_volumes: self.image_volumes.clone(),
            cgroup: &record.cgroup,
            bundle: &self.dir,
            v2: self.v2,
            target_pid: self.target_pid,
        };
        let prepared = oci::prepare(inputs).map_err(|error| {
            Error::unknown(format!(
                "failed to generate container {:?} spec: {error}",
                record.id
            ))
        })?;
        let groups = prepared
            .user
            .groups
            .iter()
            .map(|group| i64::from(*group))
            .collect();
        let (uid, gid) = (prepared.user.uid.into(), prepared.user.gid.into());
        let user = LinuxContainerUser {
            uid,
            gid,
            supplemental_groups: groups,
        };
        let record = ContainerRecord {
            user: Some(ContainerUser { linux: Some(user) }),
            ..record
        };
        let written = write_bundle(&self.dir, &[&upper, &work], &prepared, &record);
        written.inspect_err(|_| discard(&self.dir, &self.snapshot))?;
        Ok(record)
    }
}

fn write_bundle(
    dir: &Path,
    made: &[&PathBuf],
    prepared: &oci::Prepared,
    record: &ContainerRecord,
) -> Result<()> {
    for inside in [ROOTFS_DIR, CGROUP_VIEW_DIR] {
        fs::create_dir_all(dir.join(inside))?;
    }
    for path in made {
        fs::create_dir_all(path)?;
    }
    let spec = serde_json::to_vec(&prepared.spec).map_err(|error| Error::unknown(error.to_string()))?;
    fs::write(dir.join("config.json"), spec)?;
    prepared.launch.write(dir)?;
    super::record::save(dir, record)?;
    Ok(())
}

/// Deletes a container's files: its writable layer, which may be large, in the background and out of sight at once.
fn discard(dir: &Path, snapshot: &Path) {
    let _ = fs::remove_dir_all(dir);
    let Some((root, name)) = snapshot.parent().and_then(Path::parent).zip(snapshot.file_name()) else {
        return;
    };
    let trash = root.join("trash");
    let grave = trash.join(name);
    if fs::create_dir_all(&trash)
        .and_then(|()| fs::rename(snapshot, &grave))
        .is_ok()
    {
        std::thread::spawn(move || fs::remove_dir_all(grave));
    }
}

/// The request's signal, else the image's (`SIGQUIT`, `QUIT` or a number), else SIGTERM.
fn stop_signal(requested: Signal, image: &str) -> i32 {
    let name = match requested {
        Signal::RuntimeDefault => image.to_ascii_uppercase(),
        other => other.as_str_name().replace("PLUS", "+").replace("MINUS", "-"),
    };
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = |base: i32, rest: &str| match rest {
        "" => Some(base),
        rest => rest.parse::<i32>().ok().map(|offset| base + offset),
    };
    let parsed = name.parse::<i32>().ok().or_else(|| {
        if let Some(rest) = name.strip_prefix("RTMIN") {
            return real_time(libc::SIGRTMIN(), rest);
        }
        if let Some(rest) = name.strip_prefix("RTMAX") {
            return real_time(libc::SIGRTMAX(), rest);
        }
        let full = match name {
            "CLD" => "SIGCHLD".to_owned(),
            "POLL" => "SIGIO".to_owned(),
            "IOT" => "SIGABRT".to_owned(),
            other => format!("SIG{other}"),
        };
        full.parse::<nix::sys::signal::Signal>()
            .ok()
            .map(|signal| signal as i32)
    });
    parsed
        .filter(|signal| (1..=64).contains(signal))
        .unwrap_or(libc::SIGTERM)
}

/// The log file's whole path; empty where none is wanted.
fn log_path(directory: &str, path: &str) -> String {
    if directory.is_empty() || path.is_empty() {
        return String::new();
    }
    Path::new(directory).join(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stop_signals() {
        assert_eq!(stop_signal(Signal::RuntimeDefault, ""), libc::SIGTERM);
        assert_eq!(stop_signal(Signal::RuntimeDefault, "SIGQUIT"), libc::SIGQUIT);
        assert_eq!(stop_signal(Signal::RuntimeDefault, "3"), libc::SIGQUIT);
        assert_eq!(stop_signal(Signal::Sigusr1, "SIGQUIT"), libc::SIGUSR1);
        assert_eq!(stop_signal(Signal::Sigrtminplus3, ""), libc::SIGRTMIN() + 3);
        assert_eq!(stop_signal(Signal::Sigrtmaxminus14, ""), libc::SIGRTMAX() - 14);
        assert_eq!(stop_signal(Signal::RuntimeDefault, "nonsense"), libc::SIGTERM);
    }
}
