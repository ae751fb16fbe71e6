//! Images made by hand from Debian's busybox-static, and a network that is none.

use async_trait::async_trait;
use corten_runtime::cri::{PodIps, PodNetwork};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::path::Path;

pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    format!(
        "sha256:{}",
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    )
}

/// A tar in memory.
pub struct Tar(tar::Builder<Vec<u8>>);

impl Tar {
    pub fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, mode: u32, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(1_700_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    pub fn dir(mut self, path: &str, mode: u32) -> Self {
        let mut header = Self::header(tar::EntryType::Directory, mode, 0);
        self.0.append_data(&mut header, path, &[][..]).unwrap();
        self
    }

    pub fn file(mut self, path: &str, mode: u32, content: &[u8]) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, mode, content.len() as u64);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    pub fn link(mut self, path: &str, target: &str, kind: tar::EntryType) -> Self {
        let mut header = Self::header(kind, 0o777, 0);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    /// A path that the builder itself would refuse.
    pub fn raw(mut self, path: &str, content: &[u8]) -> Self {
        let mut header = Self::header(tar::EntryType::Regular, 0o644, content.len() as u64);
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).unwrap();
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

/// The root file system of every test image: busybox and its applets, a user.
pub fn busybox_layer() -> Vec<u8> {
    let busybox = std::fs::read("/bin/busybox").expect("apt-get install busybox-static");
    let mut tar = Tar::new().dir("bin", 0o755).file("bin/busybox", 0o755, &busybox);
    for applet in [
        "sh", "cat", "echo", "sleep", "ls", "id", "true", "false", "hostname", "touch", "dd", "head", "tail",
        "yes", "stat", "grep", "mount", "env", "kill", "ps", "nc", "seq", "wc", "stty", "mkdir", "rm",
        "readlink", "tr", "chroot", "unshare", "test", "tty", "find", "date",
    ] {
        tar = tar.link(&format!("bin/{applet}"), "busybox", tar::EntryType::Symlink);
    }
    tar.dir("etc", 0o755)
        .file(
            "etc/passwd",
            0o644,
            b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
        )
        .file("etc/group", 0o644, b"root:x:0:\napp:x:1000:\nextra:x:2000:app\n")
        .dir("root", 0o700)
        .dir("tmp", 0o1777)
        .bytes()
}

pub fn config(architecture: &str, layers: &[&[u8]], run: serde_json::Value) -> Vec<u8> {
    let diff_ids: Vec<String> = layers.iter().map(|layer| sha256(layer)).collect();
    serde_json::to_vec(&serde_json::json!({
        "architecture": architecture, "os": "linux", "config": run,
        "rootfs": { "type": "layers", "diff_ids": diff_ids },
    }))
    .unwrap()
}

pub fn node_architecture() -> &'static str {
    corten_runtime::image::node_platform().1
}

/// What `docker save` writes.
pub fn docker_archive(tag: &str, config: &[u8], layers: &[&[u8]]) -> Vec<u8> {
    let config_name = format!("{}.json", &sha256(config)["sha256:".len()..]);
    let names: Vec<String> = (0..layers.len()).map(|at| format!("l{at}/layer.tar")).collect();
    let manifest = serde_json::json!([{ "Config": config_name, "RepoTags": [tag], "Layers": names }]);
    let mut tar = Tar::new();
    for (name, layer) in names.iter().zip(layers) {
        tar = tar.file(name, 0o644, layer);
    }
    tar.file(&config_name, 0o644, config)
        .file("manifest.json", 0o644, manifest.to_string().as_bytes())
        .bytes()
}

/// Writes the busybox test image, tagged `busybox:test`.
pub fn write_busybox(path: &Path) {
    let layer = busybox_layer();
    let run = serde_json::json!({ "Cmd": ["sh"], "Env": ["FROM_IMAGE=yes"], "User": "" });
    let archive = docker_archive(
        "busybox:test",
        &config(node_architecture(), &[&layer], run),
        &[&layer],
    );
    std::fs::File::create(path).unwrap().write_all(&archive).unwrap();
}

/// Brings up `lo` and nothing else.
pub struct LoopbackOnly;

#[async_trait]
impl PodNetwork for LoopbackOnly {
    async fn setup(&self, _: &str, netns: &Path, _: &str, _: &str) -> Result<PodIps, String> {
        let status = tokio::process::Command::new("nsenter")
            .arg(format!("--net={}", netns.display()))
            .args(["ip", "link", "set", "lo", "up"])
            .status()
            .await
            .map_err(|error| error.to_string())?;
        if status.success() {
            Ok(PodIps(vec!["127.0.0.1".parse().unwrap()]))
        } else {
            Err("ip failed".into())
        }
    }

    async fn teardown(&self, _: &str, _: &Path) -> Result<(), String> {
        Ok(())
    }
}
