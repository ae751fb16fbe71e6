//! Images from files: what `docker save` writes, and OCI image layouts in a tar.

use super::config::{ImageConfig, Manifest};
use super::layers::{Unpacked, decompress, digest_of, publish, unpack_layer};
use super::store::{ImageRecord, ImageStore};
use super::{Error, Progress, ProgressFn, Reference};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// Manifests and configs larger than this are refused (the distribution spec's own suggestion).
const MAX_DOCUMENT: u64 = 4 << 20;
/// Members of an archive; an image of 128 layers needs a few hundred.
const MAX_MEMBERS: usize = 100_000;
/// An index may point to an index, but not for ever.
const MAX_INDEX_DEPTH: usize = 4;

/// Imports every image of an archive file (plain, gzip or zstd). All or, per image, nothing. Blocks.
pub fn import(store: &ImageStore, path: &Path, progress: &ProgressFn) -> Result<Vec<ImageRecord>, Error> {
    let mut archive = Archive::open(store, path)?;
    if archive.members.contains_key("manifest.json") {
        import_docker(store, &mut archive, progress)
    } else if archive.members.contains_key("index.json") {
        import_layout(store, &mut archive, progress)
    } else {
        Err(Error::Malformed(format!(
            "{} has neither manifest.json (docker save) nor index.json (OCI layout)",
            path.display()
        )))
    }
}

/// An uncompressed tar with the places of its members.
struct Archive {
    file: File,
    members: HashMap<String, Member>,
}

#[derive(Debug, Clone)]
enum Member {
    At {
        offset: u64,
        size: u64,
    },
    /// Old versions of docker link equal layers.
    Link(String),
}

impl Archive {
    fn open(store: &ImageStore, path: &Path) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::io(path.display(), error);
        let mut file = File::open(path).map_err(failed)?;
        if !file.metadata().map_err(failed)?.is_file() {
            return Err(Error::Malformed(format!("{} is not a file", path.display())));
        }
        let mut magic = [0u8; 4];
        let head = file.read(&mut magic).map_err(failed)?;
        file.rewind().map_err(failed)?;
        if head == 0 {
            return Err(Error::Truncated);
        }
        if magic.starts_with(&[0x1f, 0x8b]) || magic == [0x28, 0xb5, 0x2f, 0xfd] {
            let mut plain = tempfile::tempfile_in(store.dir().join("tmp")).map_err(failed)?;
            io::copy(&mut decompress(file)?, &mut plain).map_err(Error::tar)?;
            plain.rewind().map_err(failed)?;
            file = plain;
        }
        let members = index(&mut file)?;
        Ok(Self { file, members })
    }

    fn locate(&self, name: &str) -> Result<(u64, u64), Error> {
        let mut name = normal(name);
        for _ in 0..8 {
            match self.members.get(&name) {
                Some(Member::At { offset, size }) => return Ok((*offset, *size)),
                Some(Member::Link(target)) => name = target.clone(),
                None => break,
            }
        }
        Err(Error::Malformed(format!(
            "{name} is missing from the archive; save it again"
        )))
    }

    fn open_member(&mut self, name: &str) -> Result<impl Read + '_, Error> {
        let (offset, size) = self.locate(name)?;
        self.file.seek(SeekFrom::Start(offset)).map_err(Error::tar)?;
        Ok((&mut self.file).take(size))
    }

    fn document(&mut self, name: &str) -> Result<Vec<u8>, Error> {
        let (_, size) = self.locate(name)?;
        if size > MAX_DOCUMENT {
            return Err(Error::Malformed(format!(
                "{name} is larger than {MAX_DOCUMENT} bytes"
            )));
        }
        let mut bytes = Vec::new();
        self.open_member(name)?
            .read_to_end(&mut bytes)
            .map_err(Error::tar)?;
        Ok(bytes)
    }

    /// A document of an OCI layout, checked against the digest it is named by.
    fn blob(&mut self, digest: &str) -> Result<Vec<u8>, Error> {
        let bytes = self.document(&blob_name(digest)?)?;
        let actual = digest_of(&bytes);
        if actual == digest {
            Ok(bytes)
        } else {
            Err(Error::Digest {
                expected: digest.to_owned(),
                actual,
            })
        }
    }
}

fn blob_name(digest: &str) -> Result<String, Error> {
    if !super::is_digest(digest) {
        return Err(Error::Unsupported(format!("digest {digest:?}")));
    }
    Ok(format!("blobs/sha256/{}", digest.trim_start_matches("sha256:")))
}

/// Without `./` in front, `a/../b` resolved.
fn normal(name: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn index(file: &mut File) -> Result<HashMap<String, Member>, Error> {
    let length = file.metadata().map_err(Error::tar)?.len();
    let mut members = HashMap::new();
    let mut archive = tar::Archive::new(&mut *file);
    for entry in archive.entries_with_seek().map_err(Error::tar)? {
        let entry = entry.map_err(Error::tar)?;
        let name = entry.path().map_err(Error::tar)?.to_string_lossy().into_owned();
        if members.len() >= MAX_MEMBERS {
            return Err(Error::Malformed("too many members".into()));
        }
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > length) {
                    return Err(Error::Truncated);
                }
                members.insert(normal(&name), Member::At { offset, size });
            }
            kind @ (tar::EntryType::Symlink | tar::EntryType::Link) => {
                let target = entry
                    .link_name()
                    .map_err(Error::tar)?
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned();
                let base = name.rsplit_once('/').map_or("", |(dir, _)| dir);
                let target = if kind.is_symlink() {
                    format!("{base}/{target}")
                } else {
                    target
                };
                members.insert(normal(&name), Member::Link(normal(&target)));
            }
            _ => {}
        }
    }
    Ok(members)
}

/// One element of docker's manifest.json.
#[derive(Debug, Deserialize)]
struct DockerImage {
    #[serde(rename = "Config")]
    config: String,
    #[serde(rename = "RepoTags", default)]
    repo_tags: Option<Vec<String>>,
    #[serde(rename = "Layers", default)]
    layers: Vec<String>,
}

fn import_docker(
    store: &ImageStore,
    archive: &mut Archive,
    progress: &ProgressFn,
) -> Result<Vec<ImageRecord>, Error> {
    let bytes = archive.document("manifest.json")?;
    let images: Vec<DockerImage> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Malformed(format!("manifest.json: {error}")))?;
    if images.is_empty() {
        return Err(Error::Malformed("manifest.json lists no image".into()));
    }
    let mut done = Vec::new();
    for image in images {
        let tags = image.repo_tags.unwrap_or_default();
        let names = tags
            .iter()
            .map(|tag| Reference::parse(tag))
            .collect::<Result<Vec<_>, _>>()?;
        let config = archive.document(&image.config)?;
        done.push(add_image(
            store,
            archive,
            &config,
            &image.layers,
            &names,
            None,
            progress,
        )?);
    }
    Ok(done)
}

/// Unpacks what is missing of an image's layers and records it.
fn add_image(
    store: &ImageStore,
    archive: &mut Archive,
    config: &[u8],
    layers: &[String],
    names: &[Reference],
    manifest: Option<&str>,
    progress: &ProgressFn,
) -> Result<ImageRecord, Error> {
    let parsed = ImageConfig::parse(config)?;
    let shown = names
        .first()
        .map_or_else(|| digest_of(config), Reference::to_string);
    parsed.check_platform(&shown)?;
    if parsed.rootfs.diff_ids.len() != layers.len() {
        return Err(Error::Malformed(format!(
            "{shown}: config and manifest differ in their number of layers"
        )));
    }
    progress(Progress::Image {
        name: shown,
        layers: layers.len(),
    });
    let _unpacking = store.unpacking();
    let mut unpacked: Vec<Unpacked> = Vec::new();
    let mut size = config.len() as u64;
    for (member, diff_id) in layers.iter().zip(&parsed.rootfs.diff_ids) {
        if !super::is_digest(diff_id) {
            return Err(Error::Unsupported(format!("layer digest {diff_id:?}")));
        }
        let (_, bytes) = archive.locate(member)?;
        size += bytes;
        let existed = store.has_layer(diff_id) || unpacked.iter().any(|layer| layer.diff_id == *diff_id);
        if !existed {
            let stream = Reporting {
                inner: archive.open_member(member)?,
                progress,
                digest: diff_id,
                done: 0,
                bytes,
            };
            unpacked.push(unpack_layer(store.dir(), stream, diff_id)?);
        }
        progress(Progress::LayerDone {
            digest: diff_id.clone(),
            existed,
        });
    }
    publish(store.dir(), unpacked)?;
    store.add(config, size, names, manifest)
}

/// Reports every few megabytes.
struct Reporting<'a, R> {
    inner: R,
    progress: &'a ProgressFn,
    digest: &'a str,
    done: u64,
    bytes: u64,
}

const REPORT_EVERY: u64 = 4 << 20;

impl<R: Read> Read for Reporting<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        let before = self.done / REPORT_EVERY;
        self.done += count as u64;
        if self.done / REPORT_EVERY != before {
            let digest = self.digest.to_owned();
            (self.progress)(Progress::Layer {
                digest,
                done: self.done,
                total: self.bytes,
            });
        }
        Ok(count)
    }
}

fn import_layout(
    store: &ImageStore,
    archive: &mut Archive,
    progress: &ProgressFn,
) -> Result<Vec<ImageRecord>, Error> {
    let top = Manifest::parse(&archive.document("index.json")?)?;
    if top.manifests.is_empty() {
        return Err(Error::Malformed("index.json lists no image".into()));
    }
    let mut names: BTreeMap<String, Vec<Reference>> = BTreeMap::new();
    for entry in &top.manifests {
        names
            .entry(entry.digest.clone())
            .or_default()
            .extend(name_of(&entry.annotations)?);
    }
    // A layout that is itself one image for several platforms lists them flat, all under one name or none.
    let flat = top.manifests.len() > 1 && top.manifests.iter().all(|entry| entry.platform.is_some());
    let same_name = names
        .values()
        .flatten()
        .collect::<std::collections::BTreeSet<_>>()
        .len()
        <= 1;
    if flat && same_name {
        let chosen = top.choose("the archive")?.digest.clone();
        names.retain(|digest, _| *digest == chosen);
    }
    let mut done = Vec::new();
    for (digest, names) in names {
        done.push(import_descriptor(store, archive, &digest, &names, progress)?);
    }
    Ok(done)
}

/// containerd writes the whole name, others only a tag, which names nothing by itself.
fn name_of(annotations: &BTreeMap<String, String>) -> Result<Option<Reference>, Error> {
    let full = annotations.get("io.containerd.image.name");
    let short = annotations
        .get("org.opencontainers.image.ref.name")
        .filter(|name| name.contains([':', '/']));
    Ok(full.or(short).map(|name| Reference::parse(name)).transpose()?)
}

fn import_descriptor(
    store: &ImageStore,
    archive: &mut Archive,
    digest: &str,
    names: &[Reference],
    progress: &ProgressFn,
) -> Result<ImageRecord, Error> {
    let shown = names
        .first()
        .map_or_else(|| digest.to_owned(), Reference::to_string);
    let mut current = digest.to_owned();
    for _ in 0..MAX_INDEX_DEPTH {
        let manifest = Manifest::parse(&archive.blob(&current)?)?;
        if manifest.is_index() {
            current = manifest.choose(&shown)?.digest.clone();
            continue;
        }
        let config = manifest
            .config
            .ok_or_else(|| Error::Malformed(format!("{current} is no image manifest")))?;
        let bytes = archive.blob(&config.digest)?;
        let layers = manifest
            .layers
            .iter()
            .map(|layer| blob_name(&layer.digest))
            .collect::<Result<Vec<_>, _>>()?;
        return add_image(store, archive, &bytes, &layers, names, Some(digest), progress);
    }
    Err(Error::Malformed("index within index within index".into()))
}
