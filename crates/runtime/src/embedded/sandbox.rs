//! Life of a sandbox: a pod's control group, namespaces, files and network.

use super::record::SandboxRecord;
use super::{Runtime, blocking, new_id, now_ns, oci, resources, system};
use crate::cri::{
    ContainerEventType, DnsConfig, Error, NamespaceMode, NamespaceOption, PodSandboxConfig,
    PodSandboxMetadata, Result,
};
use crate::keeper::protocol::{Reply, Request};
use corten_sys::{mounts, namespace, namespace::Kind};
use std::fs;
use std::path::{Path, PathBuf};

/// Kubernetes gives every pod this much shared memory.
const SHM_BYTES: u64 = 64 << 20;
/// Set in every pod network that is not the node's, unless the pod says otherwise (containerd 2's defaults).
const DEFAULT_SYSCTLS: &[(&str, &str)] = &[
    ("net.ipv4.ip_unprivileged_port_start", "0"),
    ("net.ipv4.ping_group_range", "0 2147483647"),
];

/// The sandbox's namespace options; where nothing is said, everything is the pod's own.
pub fn namespace_options(config: &PodSandboxConfig) -> NamespaceOption {
    let context = config
        .linux
        .as_ref()
        .and_then(|linux| linux.security_context.as_ref());
    context
        .and_then(|context| context.namespace_options.clone())
        .unwrap_or_else(oci::own_namespaces)
}

fn is_node(mode: i32) -> bool {
    mode == NamespaceMode::Node as i32
}

/// What has to be made for a sandbox, apart from the record.
struct Plan {
    dir: PathBuf,
    kinds: Vec<Kind>,
    hostname: String,
    sysctls: Vec<(String, String)>,
    host_network: bool,
    host_ipc: bool,
    dns: Option<DnsConfig>,
}

impl Runtime {
    pub(super) async fn run_sandbox(
        &self,
        config: PodSandboxConfig,
        runtime_handler: &str,
    ) -> Result<String> {
        if !matches!(runtime_handler, "" | "runc" | "corten") {
            return Err(Error::invalid(format!(
                "no runtime for {runtime_handler:?} is configured"
            )));
        }
        let metadata = config
            .metadata
            .clone()
            .ok_or_else(|| Error::invalid("sandbox config must include metadata"))?;
        self.check_unique(&metadata)?;
        let id = new_id();
        let parent = config
            .linux
            .as_ref()
            .map(|linux| linux.cgroup_parent.clone())
            .unwrap_or_default();
        let parent = if parent.is_empty() {
            format!("pods/{id}")
        } else {
            parent
        };
        let record = SandboxRecord {
            id: id.clone(),
            config: Some(config),
            created_at: now_ns(),
            ready: true,
            ips: Vec::new(),
            runtime_handler: runtime_handler.to_owned(),
            cgroup: self.cgroup_path(&parent),
            boot_id: self.inner.boot_id.clone(),
            init_pid: 0,
            networked: false,
        };
        match self.build_sandbox(record).await {
            Ok(record) => {
                self.inner.state.lock().put_sandbox(record)?;
                self.publish(&id, &id, ContainerEventType::ContainerCreatedEvent);
                self.publish(&id, &id, ContainerEventType::ContainerStartedEvent);
                Ok(id)
            }
            Err(error) => {
                self.tear_down(&id, true).await.unwrap_or_else(|cleanup| {
                    tracing::warn!(sandbox = id, error = %cleanup, "could not clean up after a failed start");
                });
                Err(error)
            }
        }
    }

    fn check_unique(&self, metadata: &PodSandboxMetadata) -> Result<()> {
        let state = self.inner.state.lock();
        let same = |record: &&SandboxRecord| {
            record.config.as_ref().and_then(|config| config.metadata.as_ref()) == Some(metadata)
        };
        match state.sandboxes().find(same) {
            Some(other) => Err(Error::new(
                crate::cri::Code::AlreadyExists,
                format!(
                    "failed to reserve sandbox name: pod {} is reserved for {:?}",
                    metadata.name, other.id
                ),
            )),
            None => Ok(()),
        }
    }

    async fn build_sandbox(&self, mut record: SandboxRecord) -> Result<SandboxRecord> {
        let config = record.config.clone().unwrap_or_default();
        let options = namespace_options(&config);
        let plan = plan(self.sandbox_dir(&record.id), &record, &config, &options);
        let cgroups = self.inner.cgroups.clone();
        let group = record.cgroup.clone();
        let linux = config.linux.clone().unwrap_or_default();
        let log_directory = config.log_directory.clone();
        blocking(move || {
            cgroups.create(&group).map_err(system)?;
            for part in [linux.resources, linux.overhead].into_iter().flatten().take(1) {
                cgroups.apply(&group, &resources::limits(&part)).map_err(system)?;
            }
            if !log_directory.is_empty() {
                fs::create_dir_all(&log_directory)?;
            }
            make(&plan)
        })
        .await?;
        if !is_node(options.network) {
            // Saved first: should corten die in the middle, the restart knows that there may be a network to undo.
            record.networked = true;
            record.ready = false;
            self.inner.state.lock().put_sandbox(record.clone())?;
            record.ips = self.set_up_network(&record.id, &config).await?;
            record.ready = true;
        }
        if options.pid == NamespaceMode::Pod as i32 {
            let cgroup = format!("{}/sandbox", record.cgroup);
            self.inner.cgroups.create(&cgroup).map_err(system)?;
            let request = Request::SandboxInit {
                id: record.id.clone(),
                cgroup,
            };
            if let (Reply::Started { pid, .. }, _) = self.keeper().call(request, Vec::new()).await? {
                record.init_pid = pid;
            }
        }
        Ok(record)
    }

    async fn set_up_network(&self, id: &str, config: &PodSandboxConfig) -> Result<Vec<String>> {
        let metadata = config.metadata.clone().unwrap_or_default();
        let netns = self.sandbox_dir(id).join("ns/net");
        let network = &self.inner.config.network;
        let failed =
            |error: String| Error::unknown(format!("failed to setup network for sandbox {id:?}: {error}"));
        let ips = network
            .setup(id, &netns, &metadata.namespace, &metadata.name)
            .await
            .map_err(failed)?;
        let published = config.port_mappings.iter().filter(|port| port.host_port > 0);
        let published: Vec<_> = published.cloned().collect();
        if !published.is_empty() {
            network.publish(id, &published).await.map_err(failed)?;
        }
        Ok(ips.0.iter().map(ToString::to_string).collect())
    }

    pub(super) async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let (id, lock) = match self.inner.state.lock().sandbox(id) {
            Ok(entry) => (entry.record.id.clone(), entry.lock.clone()),
            Err(_) => return Ok(()),
        };
        let _serial = lock.lock().await;
        let containers = self.inner.state.lock().containers_of(&id);
        for container in containers {
            self.stop(&container.id, std::time::Duration::ZERO).await?;
        }
        self.tear_down(&id, false).await?;
        let was_ready = self
            .inner
            .state
            .lock()
            .sandbox(&id)
            .is_ok_and(|entry| entry.record.ready);
        self.inner
            .state
            .lock()
            .update_sandbox(&id, |record| record.ready = false)?;
        if was_ready {
            self.publish(&id, &id, ContainerEventType::ContainerStoppedEvent);
        }
        Ok(())
    }

    /// Gives back the network, the namespaces and the shared init; with `all`, the files and the control group too.
    async fn tear_down(&self, id: &str, all: bool) -> Result<()> {
        let dir = self.sandbox_dir(id);
        let record = self
            .inner
            .state
            .lock()
            .sandbox(id)
            .map(|entry| entry.record.clone())
            .ok();
        if let Some(record) = &record {
            if record.init_pid > 0 {
                let stop = Request::Signal {
                    id: id.to_owned(),
                    signal: libc::SIGKILL,
                    group: false,
                };
                let _ = self.keeper().tell(stop).await;
            }
            if record.networked {
                let undone = self.inner.config.network.teardown(id, &dir.join("ns/net")).await;
                undone.map_err(|error| {
                    Error::unknown(format!("failed to destroy network for sandbox {id:?}: {error}"))
                })?;
                self.inner
                    .state
                    .lock()
                    .update_sandbox(id, |record| record.networked = false)?;
            }
        }
        let cgroups = self.inner.cgroups.clone();
        let group = record.map(|record| record.cgroup).filter(|_| all);
        if all {
            self.inner.state.lock().drop_sandbox(id);
        }
        blocking(move || {
            let ns = dir.join("ns");
            for kind in [Kind::Net, Kind::Ipc, Kind::Uts] {
                namespace::unpin(kind, &ns).map_err(system)?;
            }
            mounts::detach(&dir.join("shm")).map_err(system)?;
            if all {
                let _ = fs::remove_dir_all(&dir);
            }
            group.map_or(Ok(()), |group| cgroups.remove(&group).map_err(system))
        })
        .await
    }

    pub(super) async fn remove_sandbox(&self, id: &str) -> Result<()> {
        let (id, lock) = match self.inner.state.lock().sandbox(id) {
            Ok(entry) => (entry.record.id.clone(), entry.lock.clone()),
            Err(_) => return Ok(()),
        };
        self.stop_sandbox(&id).await?;
        let _serial = lock.lock().await;
        let containers = self.inner.state.lock().containers_of(&id);
        for container in containers {
            self.remove(&container.id).await?;
        }
        let event = self.event(&id, &id, ContainerEventType::ContainerDeletedEvent);
        self.tear_down(&id, true).await?;
        let _ = self.inner.events.send(event);
        Ok(())
    }
}

fn plan(dir: PathBuf, record: &SandboxRecord, config: &PodSandboxConfig, options: &NamespaceOption) -> Plan {
    let host_network = is_node(options.network);
    let host_ipc = is_node(options.ipc);
    let mut kinds = Vec::new();
    let mut sysctls: Vec<(String, String)> = Vec::new();
    if !host_network {
        kinds.extend([Kind::Net, Kind::Uts]);
        sysctls.extend(
            DEFAULT_SYSCTLS
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned())),
        );
    }
    if !host_ipc {
        kinds.push(Kind::Ipc);
    }
    sysctls.extend(config.linux.iter().flat_map(|linux| linux.sysctls.clone()));
    let hostname = oci::hostname(record);
    Plan {
        dir,
        kinds,
        hostname,
        sysctls,
        host_network,
        host_ipc,
        dns: config.dns_config.clone(),
    }
}

fn make(plan: &Plan) -> Result<()> {
    let ns = plan.dir.join("ns");
    fs::create_dir_all(&ns)?;
    if !plan.kinds.is_empty() {
        let own_uts = plan.kinds.contains(&Kind::Uts);
        namespace::create_pinned(&ns, &plan.kinds, || {
            if own_uts {
                namespace::set_hostname(&plan.hostname)?;
            }
            for (key, value) in &plan.sysctls {
                let set = namespace::set_sysctl(key, value);
                let is_default = DEFAULT_SYSCTLS.contains(&(key, value));
                // Old kernels lack some of the defaults; what a pod asks for must work or fail.
                if let (Err(error), false) = (set, is_default) {
                    return Err(error);
                }
            }
            Ok(())
        })
        .map_err(system)?;
    }
    if !plan.host_ipc {
        let shm = plan.dir.join("shm");
        fs::create_dir_all(&shm)?;
        mounts::shm(&shm, SHM_BYTES).map_err(system)?;
    }
    write_files(plan)?;
    Ok(())
}

/// The files that containers see in `/etc` unless the kubelet mounts its own.
fn write_files(plan: &Plan) -> std::io::Result<()> {
    fs::write(plan.dir.join("hostname"), format!("{}\n", plan.hostname))?;
    let resolv = match plan.dns.as_ref().filter(|dns| **dns != DnsConfig::default()) {
        Some(dns) => resolv_conf(dns),
        None => fs::read_to_string("/etc/resolv.conf").unwrap_or_default(),
    };
    fs::write(plan.dir.join("resolv.conf"), resolv)?;
    let hosts = if plan.host_network {
        fs::read_to_string("/etc/hosts").ok()
    } else {
        None
    };
    let hosts = hosts
        .unwrap_or_else(|| "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned());
    fs::write(plan.dir.join("hosts"), hosts)
}

fn resolv_conf(dns: &DnsConfig) -> String {
    let mut text = String::new();
    if !dns.searches.is_empty() {
        text.push_str(&format!("search {}\n", dns.searches.join(" ")));
    }
    for server in &dns.servers {
        text.push_str(&format!("nameserver {server}\n"));
    }
    if !dns.options.is_empty() {
        text.push_str(&format!("options {}\n", dns.options.join(" ")));
    }
    text
}

/// True when the sandbox's namespaces are still there.
pub fn is_intact(dir: &Path, record: &SandboxRecord, boot_id: &str) -> bool {
    let options = record.config.as_ref().map(namespace_options).unwrap_or_default();
    let pinned = is_node(options.network)
        || matches!((namespace::identity(&dir.join("ns/net")), namespace::identity(&dir.join("ns"))),
            (Ok(net), Ok(plain)) if net.0 != plain.0);
    record.boot_id == boot_id && pinned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_as_upstream_writes_it() {
        let dns = DnsConfig {
            servers: vec!["10.96.0.10".into()],
            searches: vec!["default.svc.cluster.local".into(), "svc.cluster.local".into()],
            options: vec!["ndots:5".into()],
        };
        let want =
            "search default.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(resolv_conf(&dns), want);
    }
}
