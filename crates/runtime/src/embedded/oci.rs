//! A container's OCI `config.json` and launch file, from its CRI request, its sandbox and its image.

use super::devices;
use super::record::SandboxRecord;
use super::user::{Accounts, User};
use crate::cri::{
    ContainerConfig, LinuxContainerSecurityContext, Mount, MountPropagation, NamespaceMode, NamespaceOption,
    SecurityProfile, security_profile::ProfileType,
};
use crate::image::RunConfig;
use crate::keeper::{CGROUP_VIEW_DIR, ImageVolume, Launch, Program, ROOTFS_DIR, Seccomp, image_volume};
use corten_sys::capability;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What containers have unless told otherwise (containerd's list).
const DEFAULT_CAPABILITIES: &[&str] = &[
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// Everything a spec is made from.
pub struct Inputs<'a> {
    pub config: &'a ContainerConfig,
    pub sandbox: &'a SandboxRecord,
    /// Directory of the sandbox's files and namespaces.
    pub sandbox_dir: &'a Path,
    pub image: &'a RunConfig,
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    /// One for each mount of an image, in their order.
    pub image_volumes: Vec<ImageVolume>,
    pub cgroup: &'a str,
    /// Directory of the container's own files.
    pub bundle: &'a Path,
    pub v2: bool,
    /// Process whose PID namespace to join, for targeted (debug) containers.
    pub target_pid: Option<i32>,
}

pub struct Prepared {
    pub spec: Value,
    pub launch: Launch,
    pub user: User,
}

/// The container's own context, complete with defaults: what says nothing of namespaces gets its own PID namespace.
pub fn context(config: &ContainerConfig) -> LinuxContainerSecurityContext {
    let linux = config.linux.as_ref();
    let mut context = linux
        .and_then(|linux| linux.security_context.clone())
        .unwrap_or_default();
    context.namespace_options.get_or_insert_with(own_namespaces);
    context
}

/// Everything the pod's own, processes the container's.
pub fn own_namespaces() -> NamespaceOption {
    NamespaceOption {
        pid: NamespaceMode::Container as i32,
        ..NamespaceOption::default()
    }
}

pub fn prepare(inputs: Inputs<'_>) -> Result<Prepared, String> {
    let context = context(inputs.config);
    let user = Accounts::from_layers(&inputs.lower).resolve(&context, &inputs.image.user)?;
    let (nodes, _) = devices::of_container(inputs.config, context.privileged)?;
    let program = program(&inputs, &context, &user)?;
    let spec = spec(&inputs, &context, nodes)?;
    let resources = inputs
        .config
        .linux
        .as_ref()
        .and_then(|linux| linux.resources.as_ref());
    let launch = Launch {
        lower: inputs.lower,
        upper: inputs.upper,
        work: inputs.work,
        oom_score_adj: resources.map_or(0, |r| i32::try_from(r.oom_score_adj).unwrap_or(0)),
        program,
        image_volumes: inputs.image_volumes,
    };
    Ok(Prepared { spec, launch, user })
}

fn program(
    inputs: &Inputs<'_>,
    context: &LinuxContainerSecurityContext,
    user: &User,
) -> Result<Program, String> {
    let (keep, ambient) = capabilities(context)?;
    let cwd = [
        inputs.config.working_dir.as_str(),
        inputs.image.working_dir.as_str(),
        "/",
    ];
    Ok(Program {
        args: arguments(inputs.config, inputs.image)?,
        env: environment(inputs, user),
        cwd: cwd
            .into_iter()
            .find(|dir| !dir.is_empty())
            .unwrap_or("/")
            .to_owned(),
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        capabilities: keep,
        ambient,
        no_new_privs: context.no_new_privs,
        seccomp: seccomp(context.seccomp.as_ref(), context.privileged),
    })
}

/// Kubernetes' rule: a command replaces the image's entrypoint and its arguments both; arguments alone replace only those.
fn arguments(config: &ContainerConfig, image: &RunConfig) -> Result<Vec<String>, String> {
    let (mut command, mut args) = (config.command.clone(), config.args.clone());
    if command.is_empty() {
        if args.is_empty() {
            args = image.cmd.clone();
        }
        command = image.entrypoint.clone();
    }
    command.extend(args);
    if command.is_empty() {
        Err("no command specified".to_owned())
    } else {
        Ok(command)
    }
}

fn environment(inputs: &Inputs<'_>, user: &User) -> Vec<String> {
    let mut env: Vec<String> = vec![DEFAULT_PATH.to_owned()];
    if inputs.config.tty {
        env.push("TERM=xterm".to_owned());
    }
    env.push(format!("HOSTNAME={}", hostname(inputs.sandbox)));
    let requested = inputs
        .config
        .envs
        .iter()
        .map(|pair| format!("{}={}", pair.key, String::from_utf8_lossy(&pair.value)));
    for entry in inputs.image.env.iter().cloned().chain(requested) {
        let name_end = entry.find('=').map_or(entry.len(), |at| at + 1);
        match env.iter_mut().find(|have| have.starts_with(&entry[..name_end])) {
            Some(have) => *have = entry,
            None => env.push(entry),
        }
    }
    if !env.iter().any(|entry| entry.starts_with("HOME=")) {
        env.push(format!("HOME={}", user.home));
    }
    env
}

/// Host-network sandboxes share the node's.
pub fn hostname(sandbox: &SandboxRecord) -> String {
    let own = sandbox
        .config
        .as_ref()
        .map(|config| config.hostname.clone())
        .unwrap_or_default();
    if !own.is_empty() {
        return own;
    }
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_default()
}

/// What is kept, and what is ambient; never more than this process itself may pass on.
fn capabilities(
    context: &LinuxContainerSecurityContext,
) -> Result<(BTreeSet<String>, BTreeSet<String>), String> {
    let own = capability::own_bounding().map_err(|error| error.to_string())?;
    if context.privileged {
        return Ok((own, BTreeSet::new()));
    }
    let change = context.capabilities.clone().unwrap_or_default();
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    let named = |names: &[String]| -> Result<BTreeSet<String>, String> {
        let canonical =
            |name: &String| capability::canonical(name).ok_or_else(|| format!("unknown capability {name:?}"));
        names.iter().filter(|name| !is_all(name)).map(canonical).collect()
    };
    let mut keep: BTreeSet<String> = match () {
        () if change.add_capabilities.iter().any(is_all) => own.clone(),
        () if change.drop_capabilities.iter().any(is_all) => BTreeSet::new(),
        () => DEFAULT_CAPABILITIES
            .iter()
            .map(|name| (*name).to_owned())
            .collect(),
    };
    for name in named(&change.drop_capabilities)? {
        keep.remove(&name);
    }
    keep.extend(named(&change.add_capabilities)?);
    let ambient = named(&change.add_ambient_capabilities)?;
    keep.extend(ambient.iter().cloned());
    Ok((
        keep.intersection(&own).cloned().collect(),
        ambient.intersection(&own).cloned().collect(),
    ))
}

fn seccomp(profile: Option<&SecurityProfile>, privileged: bool) -> Seccomp {
    let Some(profile) = profile.filter(|_| !privileged) else {
        return Seccomp::Unconfined;
    };
    match ProfileType::try_from(profile.profile_type) {
        Ok(ProfileType::RuntimeDefault) => Seccomp::RuntimeDefault,
        Ok(ProfileType::Localhost) => Seccomp::Localhost(PathBuf::from(&profile.localhost_ref)),
        _ => Seccomp::Unconfined,
    }
}

fn spec(
    inputs: &Inputs<'_>,
    context: &LinuxContainerSecurityContext,
    nodes: Vec<Value>,
) -> Result<Value, String> {
    let bidirectional = MountPropagation::PropagationBidirectional as i32;
    let shared = inputs
        .config
        .mounts
        .iter()
        .any(|mount| mount.propagation == bidirectional);
    Ok(json!({
        "ociVersion": "1.2.0",
        // User, environment and capabilities are taken on by our own last step, in the launch file's terms.
        "process": { "terminal": inputs.config.tty, "user": { "uid": 0, "gid": 0 }, "args": ["-"], "cwd": "/" },
        "root": { "path": ROOTFS_DIR, "readonly": context.readonly_rootfs },
        "mounts": mounts(inputs, context)?,
        "linux": {
            "namespaces": namespaces(inputs, context)?,
            "cgroupsPath": inputs.cgroup,
            "maskedPaths": if context.privileged { Vec::new() } else { context.masked_paths.clone() },
            "readonlyPaths": if context.privileged { Vec::new() } else { context.readonly_paths.clone() },
            "rootfsPropagation": if shared { "shared" } else { "slave" },
            "devices": nodes,
        },
    }))
}

fn namespaces(inputs: &Inputs<'_>, context: &LinuxContainerSecurityContext) -> Result<Vec<Value>, String> {
    let options = context.namespace_options.clone().unwrap_or_default();
    let pinned =
        |kind: &str, file: &str| json!({ "type": kind, "path": inputs.sandbox_dir.join("ns").join(file) });
    let mut list = vec![json!({ "type": "mount" })];
    if options.network != NamespaceMode::Node as i32 {
        list.push(pinned("network", "net"));
        list.push(pinned("uts", "uts"));
    }
    if options.ipc != NamespaceMode::Node as i32 {
        list.push(pinned("ipc", "ipc"));
    }
    let of_process = |pid: i32| json!({ "type": "pid", "path": format!("/proc/{pid}/ns/pid") });
    match NamespaceMode::try_from(options.pid).unwrap_or(NamespaceMode::Container) {
        NamespaceMode::Container => list.push(json!({ "type": "pid" })),
        NamespaceMode::Pod if inputs.sandbox.init_pid > 0 => list.push(of_process(inputs.sandbox.init_pid)),
        NamespaceMode::Pod => return Err("the sandbox's shared PID namespace is gone".to_owned()),
        NamespaceMode::Target => list.push(of_process(
            inputs.target_pid.ok_or("the target container is not running")?,
        )),
        NamespaceMode::Node => {}
    }
    if !context.privileged {
        list.push(json!({ "type": "cgroup" }));
    }
    Ok(list)
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> Value {
    json!({ "destination": destination, "type": kind, "source": source, "options": options })
}

/// The kernel's file systems first, then the sandbox's files where nobody mounts over them, then what was asked for,
/// parents before children.
fn mounts(inputs: &Inputs<'_>, context: &LinuxContainerSecurityContext) -> Result<Vec<Value>, String> {
    let writable = if context.privileged { "rw" } else { "ro" };
    let mut list = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount("/dev/mqueue", "mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        mount("/sys", "sysfs", "sysfs", &["nosuid", "noexec", "nodev", writable]),
    ];
    list.push(cgroups(inputs, context.privileged, writable));
    list.extend(sandbox_files(inputs, context));
    let mut images = 0..;
    let mut asked: Vec<(&Mount, Option<usize>)> = inputs
        .config
        .mounts
        .iter()
        .map(|mount| (mount, mount.image.as_ref().and_then(|_| images.next())))
        .collect();
    asked.sort_by_key(|(mount, _)| Path::new(&mount.container_path).components().count());
    for (asked, image) in asked {
        list.push(match image {
            None => volume(asked)?,
            Some(number) => {
                let source = image_volume(inputs.bundle, number);
                let options = ["rbind", "rprivate", "ro"];
                mount(&asked.container_path, "bind", &source.to_string_lossy(), &options)
            }
        });
    }
    Ok(list)
}

/// The container's own groups: on v2 through its control-group namespace, on v1 as the keeper's worker binds them together.
/// Privileged containers see the machine's.
fn cgroups(inputs: &Inputs<'_>, privileged: bool, writable: &str) -> Value {
    if inputs.v2 {
        return mount(
            "/sys/fs/cgroup",
            "cgroup2",
            "cgroup",
            &["nosuid", "noexec", "nodev", "relatime", writable],
        );
    }
    let view = inputs.bundle.join(CGROUP_VIEW_DIR);
    let options = [
        "rbind",
        "rprivate",
        "nosuid",
        "noexec",
        "nodev",
        if privileged { "rw" } else { "rro" },
    ];
    mount("/sys/fs/cgroup", "bind", &view.to_string_lossy(), &options)
}

fn sandbox_files(inputs: &Inputs<'_>, context: &LinuxContainerSecurityContext) -> Vec<Value> {
    let options = context.namespace_options.clone().unwrap_or_default();
    let host_ipc = options.ipc == NamespaceMode::Node as i32;
    let shm = if host_ipc {
        PathBuf::from("/dev/shm")
    } else {
        inputs.sandbox_dir.join("shm")
    };
    let read_only = if context.readonly_rootfs { "ro" } else { "rw" };
    let candidates = [
        ("/etc/hosts", inputs.sandbox_dir.join("hosts"), read_only),
        ("/etc/hostname", inputs.sandbox_dir.join("hostname"), read_only),
        (
            "/etc/resolv.conf",
            inputs.sandbox_dir.join("resolv.conf"),
            read_only,
        ),
        ("/dev/shm", shm, "rw"),
    ];
    candidates
        .iter()
        .filter(|(path, ..)| {
            !inputs
                .config
                .mounts
                .iter()
                .any(|mount| mount.container_path == *path)
        })
        .map(|(path, source, mode)| {
            mount(
                path,
                "bind",
                &source.to_string_lossy(),
                &["rbind", "rprivate", mode],
            )
        })
        .collect()
}

fn volume(asked: &Mount) -> Result<Value, String> {
    let host = Path::new(&asked.host_path);
    if !host.exists() {
        std::fs::create_dir_all(host)
            .map_err(|error| format!("failed to mkdir {}: {error}", host.display()))?;
    }
    let source = host
        .canonicalize()
        .map_err(|error| format!("failed to resolve {}: {error}", host.display()))?;
    let propagation = match MountPropagation::try_from(asked.propagation) {
        Ok(MountPropagation::PropagationBidirectional) => "rshared",
        Ok(MountPropagation::PropagationHostToContainer) => "rslave",
        _ => "rprivate",
    };
    let access = match (asked.readonly, asked.recursive_read_only) {
        (true, true) => "rro",
        (true, false) => "ro",
        _ => "rw",
    };
    Ok(mount(
        &asked.container_path,
        "bind",
        &source.to_string_lossy(),
        &["rbind", propagation, access],
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cri::Capability;

    #[test]
    fn commands_and_arguments() {
        let image = RunConfig {
            entrypoint: vec!["/e".into()],
            cmd: vec!["c".into()],
            ..RunConfig::default()
        };
        let run = |command: &[&str], args: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            let config = ContainerConfig {
                command: owned(command),
                args: owned(args),
                ..Default::default()
            };
            arguments(&config, &image).unwrap().join(" ")
        };
        assert_eq!(run(&[], &[]), "/e c");
        assert_eq!(run(&[], &["a"]), "/e a");
        assert_eq!(run(&["x"], &[]), "x");
        assert_eq!(run(&["x"], &["a"]), "x a");
        assert!(arguments(&ContainerConfig::default(), &RunConfig::default()).is_err());
    }

    #[test]
    fn capability_changes() {
        let with = |add: &[&str], drop: &[&str]| {
            let owned = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
            let change = Capability {
                add_capabilities: owned(add),
                drop_capabilities: owned(drop),
                add_ambient_capabilities: vec![],
            };
            let context = LinuxContainerSecurityContext {
                capabilities: Some(change),
                ..Default::default()
            };
            capabilities(&context).map(|(keep, _)| keep)
        };
        assert_eq!(
            with(&["NET_BIND_SERVICE"], &["ALL"]).unwrap(),
            ["CAP_NET_BIND_SERVICE".to_owned()].into()
        );
        assert!(!with(&[], &["chown"]).unwrap().contains("CAP_CHOWN"));
        assert!(with(&["NO_SUCH"], &[]).is_err());
    }
}
