//! Volumes of pods on disk: where they are, how they are made, kept up to date and taken away.
//!
//! Layout, upstream's: `<root>/pods/<uid>/volumes/kubernetes.io~<plugin>/<name>`. Secrets, tokens and other projected
//! content live on one tmpfs for the node, `<root>/tmpfs/<uid>/<name>`: they never reach a disk, and pods do not add
//! mounts that every new mount namespace would have to copy.

pub mod atomic;
pub mod host_path;
pub mod ownership;
pub mod payload;
pub mod sub_path;
pub mod tmpfs;
pub mod token;

use crate::machine::NodeFacts;
use crate::objects::{Key, Notify, Objects};
use crate::pod::PodExt;
use crate::quantity;
use crate::spec::resources;
use corten_client::Caller;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, EmptyDirVolumeSource, Pod, Secret, Volume};
use payload::{Material, Needs};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use token::Tokens;

/// Why a volume is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub volume: String,
    pub message: String,
}

/// The volumes of one node.
pub struct Volumes {
    root: PathBuf,
    pub config_maps: Arc<Objects<ConfigMap>>,
    pub secrets: Arc<Objects<Secret>>,
    tokens: Tokens,
    /// False where mounts are not possible (tests): memory volumes are then plain directories.
    mounts: bool,
}

impl Volumes {
    /// # Errors
    /// When the directories or the tmpfs for secrets cannot be made.
    pub fn open(root: &Path, client: &kube::Client, mounts: bool) -> io::Result<Self> {
        fs::create_dir_all(root.join("pods"))?;
        fs::set_permissions(root.join("pods"), fs::Permissions::from_mode(0o750))?;
        let memory = root.join("tmpfs");
        fs::create_dir_all(&memory)?;
        if mounts {
            tmpfs::ensure(&memory, None, 0o755)?;
        }
        Ok(Self {
            root: root.to_owned(),
            config_maps: Objects::new(client.clone()),
            secrets: Objects::new(client.clone()),
            tokens: Tokens::new(Caller::from(client.clone())),
            mounts,
        })
    }

    pub fn pod_dir(&self, uid: &str) -> PathBuf {
        self.root.join("pods").join(uid)
    }

    /// Uids that have a directory here.
    pub fn known_pods(&self) -> BTreeSet<String> {
        let names = |dir: &str| fs::read_dir(self.root.join(dir)).into_iter().flatten().flatten();
        names("pods")
            .chain(names("tmpfs"))
            .map(|e| e.file_name().to_string_lossy().into_owned())
            .collect()
    }

    /// Where a volume's content is on the node. None: not a kind that is known here.
    pub fn path(&self, uid: &str, v: &Volume) -> Option<PathBuf> {
        let plugin = if let Some(h) = &v.host_path {
            return Some(PathBuf::from(&h.path));
        } else if v.empty_dir.is_some() {
            "empty-dir"
        } else if v.config_map.is_some() {
            "configmap"
        } else if payload::is_api_backed(v) {
            return Some(self.root.join("tmpfs").join(uid).join(&v.name));
        } else {
            return None;
        };
        let dir = self
            .pod_dir(uid)
            .join("volumes")
            .join(format!("kubernetes.io~{plugin}"));
        Some(dir.join(&v.name))
    }

    /// Starts following every object the pod refers to, in volumes, variables and pull secrets.
    pub fn hold(&self, pod: &Pod, notify: &Notify) {
        let ns = pod.namespace();
        let key = |name: String| -> Key { (ns.to_owned(), name) };
        let Needs {
            mut config_maps,
            mut secrets,
            ..
        } = payload::needs(pod);
        let ephemerals: Vec<_> = pod.ephemerals().iter().map(crate::pod::plain).collect();
        for c in pod.mains().iter().chain(pod.inits()).chain(&ephemerals) {
            let (m, s) = crate::env::references(c);
            config_maps.extend(m);
            secrets.extend(s);
        }
        secrets.extend(
            pod.spec()
                .image_pull_secrets
                .iter()
                .flatten()
                .map(|r| r.name.clone()),
        );
        self.config_maps
            .hold(pod.uid(), &config_maps.into_iter().map(key).collect(), notify);
        let key = |name: String| -> Key { (ns.to_owned(), name) };
        self.secrets
            .hold(pod.uid(), &secrets.into_iter().map(key).collect(), notify);
    }

    /// Makes every volume of the pod, or brings those from the API up to date. Says when a token is to be renewed.
    ///
    /// # Errors
    /// The first volume that cannot be made.
    pub async fn prepare(
        &self,
        pod: &Arc<Pod>,
        ips: Vec<String>,
        node: &Arc<NodeFacts>,
        now: Timestamp,
        first: bool,
    ) -> Result<Option<Timestamp>, Problem> {
        let (material, renew) = self.gather(pod, now).await?;
        let jobs: Vec<(Volume, PathBuf)> = self.plan(pod)?;
        let (pod, node, mounts) = (Arc::clone(pod), Arc::clone(node), self.mounts);
        let dir = self.pod_dir(pod.uid());
        let done = tokio::task::spawn_blocking(move || {
            make_dir(&dir, 0o750)
                .and_then(|()| make_dir(&dir.join("volumes"), 0o750))
                .map_err(|e| Problem {
                    volume: String::new(),
                    message: format!("error making pod data directories: {e}"),
                })?;
            for (volume, path) in jobs {
                let cx = payload::Context {
                    pod: &pod,
                    ips: &ips,
                    node: &node,
                };
                set_up(&volume, &path, &material, &cx, mounts, now, first).map_err(|message| Problem {
                    volume: volume.name.clone(),
                    message,
                })?;
            }
            Ok(())
        });
        done.await.map_err(|e| Problem {
            volume: String::new(),
            message: e.to_string(),
        })??;
        Ok(renew)
    }

    fn plan(&self, pod: &Pod) -> Result<Vec<(Volume, PathBuf)>, Problem> {
        let volumes = pod.spec().volumes.iter().flatten().filter(|v| v.image.is_none());
        volumes
            .map(|v| {
                self.path(pod.uid(), v)
                    .map(|p| (v.clone(), p))
                    .ok_or_else(|| Problem {
                        volume: v.name.clone(),
                        message: "no volume plugin matched".into(),
                    })
            })
            .collect()
    }

    async fn gather(&self, pod: &Pod, now: Timestamp) -> Result<(Material, Option<Timestamp>), Problem> {
        let needs = payload::needs(pod);
        let mut out = Material::default();
        let mut renew: Option<Timestamp> = None;
        let problem = |message| Problem {
            volume: String::new(),
            message,
        };
        for name in needs.config_maps {
            let found = self
                .config_maps
                .get(pod.namespace(), &name)
                .await
                .map_err(problem)?;
            out.config_maps.insert(name, found);
        }
        for name in needs.secrets {
            let found = self.secrets.get(pod.namespace(), &name).await.map_err(problem)?;
            out.secrets.insert(name, found);
        }
        for (audience, seconds) in needs.tokens {
            let (text, at) = self
                .tokens
                .get(pod, &audience, seconds, now)
                .await
                .map_err(problem)?;
            renew = Some(renew.map_or(at, |r| r.min(at)));
            out.tokens.insert((audience, seconds), text);
        }
        Ok((out, renew))
    }

    /// Unmounts and deletes the volumes of a pod that has ended. Its other files stay until [`Self::purge`].
    ///
    /// # Errors
    /// When the kernel or the disk refuses.
    pub async fn clean(&self, uid: &str) -> io::Result<()> {
        self.config_maps.release(uid);
        self.secrets.release(uid);
        self.tokens.forget(uid);
        let (dir, memory) = (self.pod_dir(uid), self.root.join("tmpfs").join(uid));
        let done = tokio::task::spawn_blocking(move || {
            for bound in leaves(&dir.join("volume-subpaths"), 3) {
                sub_path::unbind(&bound)?;
            }
            remove_tree(&dir.join("volume-subpaths"))?;
            for volume in leaves(&dir.join("volumes").join("kubernetes.io~empty-dir"), 1) {
                tmpfs::remove(&volume)?;
            }
            remove_tree(&dir.join("volumes"))?;
            remove_tree(&memory)
        });
        done.await.map_err(io::Error::other)?
    }

    /// Deletes what is left of a pod.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn purge(&self, uid: &str) -> io::Result<()> {
        self.clean(uid).await?;
        let dir = self.pod_dir(uid);
        tokio::task::spawn_blocking(move || remove_tree(&dir))
            .await
            .map_err(io::Error::other)?
    }
}

/// Unmounts everything that kubelets have mounted under `root`: for `down` and `reset`, when no kubelet runs.
///
/// # Errors
/// When the kernel refuses.
pub fn unmount_all(root: &Path) -> io::Result<()> {
    for pod in leaves(&root.join("pods"), 1) {
        for bound in leaves(&pod.join("volume-subpaths"), 3) {
            sub_path::unbind(&bound)?;
        }
        for volume in leaves(&pod.join("volumes").join("kubernetes.io~empty-dir"), 1) {
            tmpfs::remove(&volume)?;
        }
    }
    tmpfs::remove(&root.join("tmpfs"))
}

/// Paths `depth` levels below `dir`.
fn leaves(dir: &Path, depth: usize) -> Vec<PathBuf> {
    if depth == 0 {
        return vec![dir.to_owned()];
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.flat_map(|e| leaves(&e.path(), depth - 1)).collect()
}

fn remove_tree(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn set_up(
    v: &Volume,
    path: &Path,
    material: &Material,
    cx: &payload::Context<'_>,
    mounts: bool,
    now: Timestamp,
    first: bool,
) -> Result<(), String> {
    let group = cx.pod.spec().security_context.as_ref().and_then(|s| s.fs_group);
    let group = group.and_then(|g| u32::try_from(g).ok());
    if let Some(h) = &v.host_path {
        return if first {
            host_path::check(path, h.type_.as_deref().unwrap_or_default())
        } else {
            Ok(())
        };
    }
    if let Some(e) = &v.empty_dir {
        let fresh = !path.exists();
        return empty_dir(e, path, cx, mounts)
            .and_then(|()| match group {
                Some(group) if fresh => ownership::apply(path, group, false),
                _ => Ok(()),
            })
            .map_err(|e| e.to_string());
    }
    let files = payload::build(v, material, cx)?;
    make_dir(path, if group.is_some() { 0o2777 } else { 0o777 })
        .and_then(|()| std::os::unix::fs::chown(path, None, group))
        .and_then(|()| atomic::write(path, &files, group, now).map(drop))
        .map_err(|e| e.to_string())
}

fn empty_dir(
    e: &EmptyDirVolumeSource,
    path: &Path,
    cx: &payload::Context<'_>,
    mounts: bool,
) -> io::Result<()> {
    let memory = e.medium.as_deref() == Some("Memory");
    if !memory || !mounts {
        // A restarted kubelet finds it in use: only a new one gets its mode.
        return if path.exists() {
            Ok(())
        } else {
            make_dir(path, 0o777)
        };
    }
    let limit = e.size_limit.as_ref().map(quantity::value).filter(|b| *b > 0);
    let pod = resources::pod_cgroup(cx.pod).memory_limit_in_bytes;
    let bounds = [
        limit,
        Some(pod).filter(|b| *b > 0),
        Some(cx.node.memory_bytes).filter(|b| *b > 0),
    ];
    tmpfs::ensure(path, bounds.into_iter().flatten().min(), 0o777)
}
