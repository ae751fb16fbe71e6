//! Which images there are: one small index file, blobs by digest, layers by digest.

use super::config::{ImageConfig, RunConfig};
use super::layers::{digest_of, layer_dir};
use super::{Error, Reference, is_digest};
use parking_lot::{Mutex, RwLock};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

/// One image, however many names it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageRecord {
    /// Digest of its config blob, `sha256:...`: what CRI calls the image id.
    pub id: String,
    /// Complete names with tag.
    pub tags: BTreeSet<String>,
    /// `name@sha256:...` of the manifests it came by.
    pub digests: BTreeSet<String>,
    /// Digests of the uncompressed layers, lowest first.
    pub layers: Vec<String>,
    /// Bytes as transferred: config and layers.
    pub size_bytes: u64,
    pub run: RunConfig,
    /// Seconds since 1970.
    pub added_at: i64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    images: BTreeMap<String, ImageRecord>,
}

/// The images under one root directory. Cheap to clone; safe to use from several threads, but by one process.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    index: RwLock<Index>,
    /// Imports and pulls unpack one layer of a kind at a time.
    unpacking: Mutex<()>,
    /// One download of a blob at a time.
    downloads: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

impl ImageStore {
    /// Opens (or makes) the store in `<root>/images`, and clears away what an interrupted import left.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let dir = root.join("images");
        let _ = fs::remove_dir_all(dir.join("tmp"));
        for part in ["blobs/sha256", "layers", "tmp", "ingest"] {
            fs::create_dir_all(dir.join(part)).map_err(|error| Error::io(dir.join(part).display(), error))?;
        }
        let path = dir.join("index.json");
        let index = match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| Error::Malformed(format!("{}: {error}", path.display())))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Index::default(),
            Err(error) => return Err(Error::io(path.display(), error)),
        };
        Ok(Self {
            inner: Arc::new(Inner {
                dir,
                index: RwLock::new(index),
                unpacking: Mutex::new(()),
                downloads: Mutex::default(),
            }),
        })
    }

    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Held while a layer is unpacked, so that two pulls of one base image do not do it twice.
    pub(crate) fn unpacking(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.inner.unpacking.lock()
    }

    pub(crate) fn download_lock(&self, digest: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut downloads = self.inner.downloads.lock();
        downloads.retain(|_, lock| lock.strong_count() > 0);
        if let Some(lock) = downloads.get(digest).and_then(Weak::upgrade) {
            return lock;
        }
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        downloads.insert(digest.to_owned(), Arc::downgrade(&lock));
        lock
    }

    pub(crate) fn has_layer(&self, diff_id: &str) -> bool {
        layer_dir(&self.inner.dir, diff_id).is_dir()
    }

    /// Keeps a small blob (manifest, config).
    pub(crate) fn put_blob(&self, bytes: &[u8]) -> Result<String, Error> {
        let digest = digest_of(bytes);
        let path = self.blob_path(&digest);
        if !path.exists() {
            write_whole(&path, bytes).map_err(|error| Error::io(path.display(), error))?;
        }
        Ok(digest)
    }

    pub fn blob_path(&self, digest: &str) -> PathBuf {
        self.inner
            .dir
            .join("blobs/sha256")
            .join(digest.trim_start_matches("sha256:"))
    }

    /// Adds an image whose layers are all unpacked; the caller holds [`ImageStore::unpacking`] from before it made sure of
    /// them, or takes the error when one was collected in between. A tag that another image had moves to this one.
    pub(crate) fn add(
        &self,
        config: &[u8],
        size_bytes: u64,
        names: &[Reference],
        manifest_digest: Option<&str>,
    ) -> Result<ImageRecord, Error> {
        let parsed = ImageConfig::parse(config)?;
        if let Some(missing) = parsed
            .rootfs
            .diff_ids
            .iter()
            .find(|diff_id| !self.has_layer(diff_id))
        {
            return Err(Error::LayerGone(missing.clone()));
        }
        let id = self.put_blob(config)?;
        let mut index = self.inner.index.write();
        let tags: BTreeSet<String> = names
            .iter()
            .filter_map(|name| name.tag.as_ref().map(|tag| format!("{}:{tag}", name.name())))
            .collect();
        for other in index.images.values_mut().filter(|other| other.id != id) {
            other.tags.retain(|tag| !tags.contains(tag));
        }
        let record = index.images.entry(id.clone()).or_insert_with(|| ImageRecord {
            id,
            tags: BTreeSet::new(),
            digests: BTreeSet::new(),
            layers: parsed.rootfs.diff_ids,
            size_bytes,
            run: parsed.config.unwrap_or_default(),
            added_at: now_seconds(),
        });
        record.tags.extend(tags);
        if let Some(digest) = manifest_digest {
            record
                .digests
                .extend(names.iter().map(|name| format!("{}@{digest}", name.name())));
        }
        let record = record.clone();
        self.save(&index)?;
        Ok(record)
    }

    fn save(&self, index: &Index) -> Result<(), Error> {
        let path = self.inner.dir.join("index.json");
        let text = serde_json::to_vec(index).map_err(|error| Error::Malformed(error.to_string()))?;
        write_whole(&path, &text).map_err(|error| Error::io(path.display(), error))
    }

    pub fn list(&self) -> Vec<ImageRecord> {
        self.inner.index.read().images.values().cloned().collect()
    }

    /// By id, tagged name, or name with digest.
    pub fn get(&self, name: &str) -> Option<ImageRecord> {
        let index = self.inner.index.read();
        find(&index, name).and_then(|id| index.images.get(&id)).cloned()
    }

    /// Directories of an image's layers as overlayfs takes them, topmost first.
    pub fn lower_dirs(&self, image: &ImageRecord) -> Vec<PathBuf> {
        image
            .layers
            .iter()
            .rev()
            .map(|diff_id| layer_dir(&self.inner.dir, diff_id))
            .collect()
    }

    /// Removes a name, and the image with its last name; by id or digest removes the image. Its layers go with
    /// [`ImageStore::collect`].
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let mut index = self.inner.index.write();
        let Some(id) = find(&index, name) else {
            return Ok(());
        };
        let tag = Reference::parse(name)
            .ok()
            .and_then(|r| r.tag.as_ref().map(|tag| format!("{}:{tag}", r.name())));
        let by_id = is_digest(name) || id.trim_start_matches("sha256:") == name;
        if let (Some(record), Some(tag), false) = (index.images.get_mut(&id), tag, by_id)
            && record.tags.remove(&tag)
            && !record.tags.is_empty()
        {
            return self.save(&index);
        }
        index.images.remove(&id);
        self.save(&index)
    }

    /// Deletes layers and blobs that no image has, sparing directories that `in_use` names. Returns how many layers went.
    pub fn collect(&self, in_use: &dyn Fn(&Path) -> bool) -> Result<usize, Error> {
        let _unpacking = self.unpacking();
        let index = self.inner.index.read();
        let wanted: BTreeSet<PathBuf> = index
            .images
            .values()
            .flat_map(|image| self.lower_dirs(image))
            .collect();
        let dir = self.inner.dir.join("layers");
        let mut removed = 0;
        for entry in fs::read_dir(&dir)
            .map_err(|error| Error::io(dir.display(), error))?
            .flatten()
        {
            let path = entry.path();
            if wanted.contains(&path) || in_use(&path) {
                continue;
            }
            // Out of sight first: a half-deleted layer must never be taken for a whole one.
            let grave = self.inner.dir.join("tmp").join(entry.file_name());
            fs::rename(&path, &grave).map_err(|error| Error::io(path.display(), error))?;
            fs::remove_dir_all(&grave).map_err(|error| Error::io(grave.display(), error))?;
            removed += 1;
        }
        let configs: BTreeSet<PathBuf> = index.images.keys().map(|id| self.blob_path(id)).collect();
        for entry in fs::read_dir(self.inner.dir.join("blobs/sha256"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if !configs.contains(&entry.path()) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(removed)
    }
}

fn find(index: &Index, name: &str) -> Option<String> {
    let with_prefix = format!("sha256:{name}");
    let by_id = [name, &with_prefix]
        .into_iter()
        .find(|id| index.images.contains_key(*id))
        .map(str::to_owned);
    if by_id.is_some() {
        return by_id;
    }
    let reference = Reference::parse(name).ok()?;
    let wanted = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => format!("{}@{digest}", reference.name()),
        (None, Some(tag)) => format!("{}:{tag}", reference.name()),
        (None, None) => return None,
    };
    let found = |image: &&ImageRecord| image.tags.contains(&wanted) || image.digests.contains(&wanted);
    index.images.values().find(found).map(|image| image.id.clone())
}

fn now_seconds() -> i64 {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(0)
}

/// Replaces a file so that a crash leaves the old one or the new one.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(dir)?.sync_all()
}
