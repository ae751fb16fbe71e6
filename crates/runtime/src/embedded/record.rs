//! What is remembered of sandboxes and containers: one protobuf file each, replaced whole.
//!
//! Nothing here is synced to disk: after a crash of the machine the containers are gone, and a record that is empty or
//! cut short is dropped together with what it described.

use crate::cri::{ContainerConfig, ContainerUser, LinuxContainerResources, PodSandboxConfig};
use prost::Message;
use std::fs;
use std::io;
use std::path::Path;

pub const RECORD_FILE: &str = "record";

#[derive(Clone, PartialEq, Message)]
pub struct SandboxRecord {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub config: Option<PodSandboxConfig>,
    #[prost(int64, tag = "3")]
    pub created_at: i64,
    #[prost(bool, tag = "4")]
    pub ready: bool,
    #[prost(string, repeated, tag = "5")]
    pub ips: Vec<String>,
    #[prost(string, tag = "6")]
    pub runtime_handler: String,
    /// The pod's group, absolute.
    #[prost(string, tag = "7")]
    pub cgroup: String,
    /// The boot it was made in: its namespaces are gone in another.
    #[prost(string, tag = "8")]
    pub boot_id: String,
    /// PID 1 of the shared PID namespace; 0 where there is none.
    #[prost(int32, tag = "9")]
    pub init_pid: i32,
    /// True while the network has been set up and not torn down.
    #[prost(bool, tag = "10")]
    pub networked: bool,
}

#[derive(Clone, PartialEq, Message)]
pub struct ContainerRecord {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub config: Option<ContainerConfig>,
    #[prost(string, tag = "4")]
    pub image_id: String,
    #[prost(string, tag = "5")]
    pub image_ref: String,
    #[prost(int64, tag = "6")]
    pub created_at: i64,
    #[prost(int64, tag = "7")]
    pub started_at: i64,
    #[prost(int64, tag = "8")]
    pub finished_at: i64,
    #[prost(int32, tag = "9")]
    pub exit_code: i32,
    #[prost(string, tag = "10")]
    pub reason: String,
    #[prost(string, tag = "11")]
    pub message: String,
    #[prost(enumeration = "crate::cri::ContainerState", tag = "12")]
    pub state: i32,
    #[prost(int32, tag = "13")]
    pub pid: i32,
    #[prost(string, tag = "14")]
    pub cgroup: String,
    /// Layer directories it stands on.
    #[prost(string, repeated, tag = "15")]
    pub lower: Vec<String>,
    #[prost(message, optional, tag = "16")]
    pub user: Option<ContainerUser>,
    /// The kernel's number.
    #[prost(int32, tag = "17")]
    pub stop_signal: i32,
    #[prost(message, optional, tag = "18")]
    pub resources: Option<LinuxContainerResources>,
    #[prost(string, tag = "19")]
    pub log_path: String,
    #[prost(bool, tag = "20")]
    pub privileged: bool,
    /// Layer directories of the images that are its volumes.
    #[prost(string, repeated, tag = "21")]
    pub volume_lower: Vec<String>,
}

/// Writes a record into its object's directory.
pub fn save(dir: &Path, record: &impl Message) -> io::Result<()> {
    let next = dir.join("record.next");
    fs::write(&next, record.encode_to_vec())?;
    fs::rename(next, dir.join(RECORD_FILE))
}

/// Every readable record below `dir`; directories without one are removed as leftovers of an interrupted creation.
pub fn load_all<R: Message + Default>(dir: &Path, has_id: impl Fn(&R) -> bool) -> io::Result<Vec<R>> {
    let mut records = Vec::new();
    for entry in fs::read_dir(dir)?.flatten() {
        let decoded = fs::read(entry.path().join(RECORD_FILE))
            .ok()
            .and_then(|bytes| R::decode(&*bytes).ok());
        match decoded.filter(&has_id) {
            Some(record) => records.push(record),
            None => {
                corten_sys::mounts::detach_below(&entry.path())?;
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
    Ok(records)
}
