//! The file in a container's bundle that says how to start it, beside the OCI `config.json`.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

pub const LAUNCH_FILE: &str = "launch.json";
/// Written by the keeper when the container has ended, for a corten that was not there.
pub const EXIT_FILE: &str = "exit.json";
/// Where the root is mounted, in the container's own mount namespace only.
pub const ROOTFS_DIR: &str = "rootfs";
/// Where the container's v1 control groups are put together for its `/sys/fs/cgroup`.
pub const CGROUP_VIEW_DIR: &str = "cgroup";

/// Where volumes out of images are mounted, in the container's own mount namespace only.
pub const IMAGE_VOLUMES_DIR: &str = "volumes";

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Launch {
    /// Overlay layers, topmost first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    pub oom_score_adj: i32,
    pub program: Program,
    /// In the order of their numbers.
    #[serde(default)]
    pub image_volumes: Vec<ImageVolume>,
}

/// An image, or a part of one, to be seen in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageVolume {
    /// Its layers, topmost first.
    pub lower: Vec<PathBuf>,
    /// What of it is meant; all where empty. Links in it lead inside the image.
    pub sub_path: String,
}

/// Where in its bundle a container's image volume of this number is bound from.
pub fn image_volume(bundle: &Path, number: usize) -> PathBuf {
    bundle.join(IMAGE_VOLUMES_DIR).join(number.to_string())
}

/// A process to become, from inside the container: the part that a start and an exec share.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Program {
    pub args: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    pub cwd: String,
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    /// Bounding, permitted and effective alike.
    pub capabilities: BTreeSet<String>,
    /// Ambient and inheritable alike.
    pub ambient: BTreeSet<String>,
    pub no_new_privs: bool,
    /// Filter to install: none, the default one, or a file in Docker's JSON format.
    pub seccomp: Seccomp,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Seccomp {
    #[default]
    Unconfined,
    RuntimeDefault,
    Localhost(PathBuf),
}

impl Launch {
    pub fn read(bundle: &Path) -> io::Result<Self> {
        Ok(serde_json::from_slice(&std::fs::read(bundle.join(LAUNCH_FILE))?)?)
    }

    pub fn write(&self, bundle: &Path) -> io::Result<()> {
        std::fs::write(bundle.join(LAUNCH_FILE), serde_json::to_vec(self)?)
    }
}
