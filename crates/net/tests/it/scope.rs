//! A node's scope, entered by a process of its own: this test binary, started again.

use std::path::{Path, PathBuf};
use std::process::Command;

use corten_net::cluster::scope::{self, Scope};

use crate::cluster::cluster;
use crate::lab::Lab;

const CHILD: &str = "CORTEN_SCOPE_CHILD";

#[test]
fn a_process_in_a_scope_is_a_machine_of_its_own() {
    let lab = Lab::new();
    let net = cluster(&lab);
    let node = net.add_node(0).unwrap();
    let cgroup = format!("corten-{}/node-0", lab.cluster);
    // The second process finds what the first one left.
    for _ in 0..2 {
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "scope::child", "--ignored", "--nocapture"])
            .env(CHILD, format!("{} {cgroup}", node.path.display()))
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            output.status.success(),
            "{text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(text.contains("1 passed"), "{text}");
    }
    let made = || {
        cgroup_dirs()
            .into_iter()
            .filter(|d| d.join(&cgroup).exists())
            .count()
    };
    assert!(made() > 0);
    scope::remove_cgroups(Path::new(&cgroup)).unwrap();
    assert_eq!(made(), 0);
    assert!(
        cgroup_dirs()
            .iter()
            .all(|d| !d.join(format!("corten-{}", lab.cluster)).exists())
    );
    assert_ne!(nix::unistd::gethostname().unwrap(), "node-0");
}

/// Roots of the hierarchies.
fn cgroup_dirs() -> Vec<PathBuf> {
    let root = PathBuf::from("/sys/fs/cgroup");
    if root.join("cgroup.procs").exists() {
        return vec![root];
    }
    std::fs::read_dir(root)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .collect()
}

/// Not a test of its own: what the other one starts. It runs on a thread of the test binary, so it looks at
/// `thread-self`.
#[test]
#[ignore = "started by a_process_in_a_scope_is_a_machine_of_its_own"]
fn child() {
    let arguments = std::env::var(CHILD).unwrap();
    let (netns, cgroup) = arguments.split_once(' ').unwrap();
    let scope = Scope {
        netns: netns.into(),
        hostname: "node-0".into(),
        cgroup: cgroup.into(),
    };
    scope::enter(&scope).unwrap();
    assert_eq!(nix::unistd::gethostname().unwrap(), "node-0");
    let mut interfaces: Vec<_> = std::fs::read_dir("/sys/class/net")
        .unwrap()
        .flatten()
        .map(|e| e.file_name())
        .collect();
    interfaces.sort();
    assert_eq!(interfaces, ["eth0", "lo"]);
    assert_eq!(std::fs::read_dir("/run").unwrap().count(), 0);
    let own = std::fs::read_to_string("/proc/thread-self/cgroup").unwrap();
    assert!(own.lines().any(|l| l.ends_with(":/agent")), "{own}");
    for dir in cgroup_dirs().iter().filter(|d| d.join("cgroup.procs").exists()) {
        assert!(dir.join("agent/cgroup.procs").exists(), "{}", dir.display());
        if dir.join("cgroup.controllers").exists() && dir.ends_with("cgroup") {
            let read = |file| std::fs::read_to_string(dir.join(file)).unwrap();
            assert_eq!(read("cgroup.subtree_control"), read("cgroup.controllers"));
        }
        std::fs::create_dir(dir.join("pod")).unwrap();
        std::fs::remove_dir(dir.join("pod")).unwrap();
    }
}
