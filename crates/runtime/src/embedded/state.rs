//! The runtime's view of its sandboxes and containers, in memory and on disk.

use super::record::{self, ContainerRecord, SandboxRecord};
use crate::cri::{ContainerState, Error, Result};
use crate::keeper::protocol::Exit;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{oneshot, watch};

/// A container and whoever waits for its end.
pub struct ContainerEntry {
    pub record: ContainerRecord,
    pub exited: watch::Sender<bool>,
    /// Serialises start, stop and remove.
    pub lock: Arc<tokio::sync::Mutex<()>>,
}

pub struct SandboxEntry {
    pub record: SandboxRecord,
    pub lock: Arc<tokio::sync::Mutex<()>>,
}

pub struct State {
    dir: PathBuf,
    sandboxes: BTreeMap<String, SandboxEntry>,
    containers: BTreeMap<String, ContainerEntry>,
    /// Exec sessions whose end someone waits for.
    pub execs: HashMap<String, oneshot::Sender<Exit>>,
    /// Removals of ended containers' control groups that are under way.
    pub cleanups: HashMap<String, tokio::task::JoinHandle<()>>,
}

impl ContainerEntry {
    fn new(record: ContainerRecord) -> Self {
        let ended = record.state == ContainerState::ContainerExited as i32;
        Self {
            record,
            exited: watch::channel(ended).0,
            lock: Arc::default(),
        }
    }
}

fn missing(what: &str, id: &str) -> Error {
    Error::not_found(format!(
        "an error occurred when try to find {what} {id:?}: not found"
    ))
}

impl State {
    pub fn load(dir: &Path) -> io::Result<Self> {
        let sandboxes = record::load_all(&dir.join("sandboxes"), |record: &SandboxRecord| {
            !record.id.is_empty()
        })?;
        let containers = record::load_all(&dir.join("containers"), |record: &ContainerRecord| {
            !record.id.is_empty()
        })?;
        Ok(Self {
            dir: dir.to_owned(),
            sandboxes: sandboxes
                .into_iter()
                .map(|record| {
                    (
                        record.id.clone(),
                        SandboxEntry {
                            record,
                            lock: Arc::default(),
                        },
                    )
                })
                .collect(),
            containers: containers
                .into_iter()
                .map(|r| (r.id.clone(), ContainerEntry::new(r)))
                .collect(),
            execs: HashMap::new(),
            cleanups: HashMap::new(),
        })
    }

    /// The id in full, from any unambiguous beginning of it.
    fn full_id<'a, T>(map: &'a BTreeMap<String, T>, id: &str) -> Option<&'a str> {
        if id.is_empty() {
            return None;
        }
        let mut matches = map
            .range(id.to_owned()..)
            .map(|(key, _)| key.as_str())
            .take_while(|key| key.starts_with(id));
        let first = matches.next()?;
        (first.len() == id.len() || matches.next().is_none()).then_some(first)
    }

    pub fn sandbox(&self, id: &str) -> Result<&SandboxEntry> {
        Self::full_id(&self.sandboxes, id)
            .and_then(|id| self.sandboxes.get(id))
            .ok_or_else(|| missing("sandbox", id))
    }

    pub fn container(&self, id: &str) -> Result<&ContainerEntry> {
        Self::full_id(&self.containers, id)
            .and_then(|id| self.containers.get(id))
            .ok_or_else(|| missing("container", id))
    }

    pub fn sandbox_ids(&self) -> Vec<String> {
        self.sandboxes.keys().cloned().collect()
    }

    pub fn sandboxes(&self) -> impl Iterator<Item = &SandboxRecord> {
        self.sandboxes.values().map(|entry| &entry.record)
    }

    pub fn containers(&self) -> impl Iterator<Item = &ContainerRecord> {
        self.containers.values().map(|entry| &entry.record)
    }

    pub fn containers_of(&self, sandbox: &str) -> Vec<ContainerRecord> {
        self.containers()
            .filter(|record| record.sandbox_id == sandbox)
            .cloned()
            .collect()
    }

    pub fn put_sandbox(&mut self, record: SandboxRecord) -> Result<()> {
        record::save(&self.dir.join("sandboxes").join(&record.id), &record)?;
        match self.sandboxes.get_mut(&record.id) {
            Some(entry) => entry.record = record,
            None => {
                let entry = SandboxEntry {
                    record,
                    lock: Arc::default(),
                };
                self.sandboxes.insert(entry.record.id.clone(), entry);
            }
        }
        Ok(())
    }

    pub fn put_container(&mut self, record: ContainerRecord) -> Result<()> {
        record::save(&self.dir.join("containers").join(&record.id), &record)?;
        let ended = record.state == ContainerState::ContainerExited as i32;
        match self.containers.get_mut(&record.id) {
            Some(entry) => {
                entry.record = record;
                entry
                    .exited
                    .send_if_modified(|was| std::mem::replace(was, ended) != ended);
            }
            None => drop(
                self.containers
                    .insert(record.id.clone(), ContainerEntry::new(record)),
            ),
        }
        Ok(())
    }

    /// Changes a container's record and saves it. Returns it as it is then.
    pub fn update_container(
        &mut self,
        id: &str,
        f: impl FnOnce(&mut ContainerRecord),
    ) -> Result<ContainerRecord> {
        let mut record = self.container(id)?.record.clone();
        f(&mut record);
        self.put_container(record.clone())?;
        Ok(record)
    }

    pub fn update_sandbox(&mut self, id: &str, f: impl FnOnce(&mut SandboxRecord)) -> Result<SandboxRecord> {
        let mut record = self.sandbox(id)?.record.clone();
        f(&mut record);
        self.put_sandbox(record.clone())?;
        Ok(record)
    }

    pub fn drop_sandbox(&mut self, id: &str) {
        self.sandboxes.remove(id);
    }

    pub fn drop_container(&mut self, id: &str) {
        self.containers.remove(id);
    }
}
