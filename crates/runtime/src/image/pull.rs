//! Pulling from registries by the Distribution API v2.
//!
//! A layer is downloaded to `images/ingest/<digest>` and survives there when a pull is cancelled or fails: the next one
//! goes on where it ended. Layers that are unpacked already are not asked for.

use super::config::{Descriptor, ImageConfig, Manifest};
use super::layers::{Digesting, Unpacked, digest_of, publish, unpack_layer};
use super::{
    Error, ImageRecord, ImageStore, Progress, ProgressFn, PullError, PullOptions, Reference, credentials,
    is_digest,
};
use crate::cri::AuthConfig;
use futures::StreamExt;
use oci_client::client::{BlobResponse, ClientConfig, ClientProtocol, SizedStream};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};
use std::io::ErrorKind::NotFound;
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// Layers of one image that are fetched at a time.
const PARALLEL_LAYERS: usize = 3;
/// Connections that break are taken up again so often, where they brought anything.
const ATTEMPTS: usize = 4;
/// A registry that sends nothing for so long is given up.
const SILENCE: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(30);
/// Manifests and configs larger than this are refused.
const MAX_DOCUMENT: u64 = 4 << 20;
const MAX_INDEX_DEPTH: usize = 4;

const ACCEPTED: &[&str] = &[
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];

/// Fetches an image and unpacks it: from the registry's mirrors or the registry itself. Whatever a mirror fails at, the
/// next host may do; what the registry says is the answer. Dropping the future cancels.
pub async fn pull(
    store: &ImageStore,
    reference: &Reference,
    auth: Option<&AuthConfig>,
    options: &PullOptions,
    progress: &ProgressFn,
) -> Result<ImageRecord, Error> {
    for mirror in options.mirrors_of(&reference.registry) {
        // Credentials are the registry's: no mirror sees them.
        let (plain, anonymous) = (options.is_plain(mirror), RegistryAuth::Anonymous);
        let session = Session::new(store, reference, Some(mirror), plain, anonymous, progress);
        match fetch(session).await {
            Ok(record) => return Ok(record),
            Err(error) => tracing::warn!(%error, mirror, image = %reference, "a mirror was of no use"),
        }
    }
    let auth = login(reference, auth)?;
    let plain = options.is_plain(&reference.registry);
    fetch(Session::new(store, reference, None, plain, auth, progress)).await
}

async fn fetch(session: Session<'_>) -> Result<ImageRecord, Error> {
    let (manifest, manifest_digest) = session.resolve().await?;
    let (reference, progress) = (session.reference, session.progress);
    let config = manifest
        .config
        .as_ref()
        .ok_or_else(|| session.error("the manifest names no config"))?;
    let config = session.config(config).await?;
    let parsed = ImageConfig::parse(&config)?;
    parsed.check_platform(&reference.to_string())?;
    let diff_ids = &parsed.rootfs.diff_ids;
    if diff_ids.len() != manifest.layers.len() || !diff_ids.iter().all(|diff_id| is_digest(diff_id)) {
        return Err(session.error("config and manifest do not fit each other"));
    }
    progress(Progress::Image {
        name: reference.to_string(),
        layers: diff_ids.len(),
    });
    let mut fetches = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
        fetches.push(session.layer(layer, diff_id));
    }
    let mut fetches = futures::stream::iter(fetches).buffer_unordered(PARALLEL_LAYERS);
    let mut unpacked = Vec::new();
    while let Some(layer) = fetches.next().await {
        unpacked.extend(layer?);
    }
    drop(fetches);
    let size = config.len() as u64 + manifest.layers.iter().map(|layer| layer.size).sum::<u64>();
    let (store, names) = (session.store.clone(), vec![reference.clone()]);
    let ingested: Vec<_> = manifest
        .layers
        .iter()
        .map(|layer| session.ingest_path(&layer.digest))
        .collect();
    tokio::task::spawn_blocking(move || {
        let _not_collected = store.unpacking();
        publish(store.dir(), unpacked)?;
        let record = store.add(&config, size, &names, Some(&manifest_digest))?;
        ingested.iter().for_each(|path| drop(std::fs::remove_file(path)));
        Ok(record)
    })
    .await
    .unwrap_or_else(|error| Err(session.error(&error.to_string())))
}

fn login(reference: &Reference, auth: Option<&AuthConfig>) -> Result<RegistryAuth, Error> {
    let Some(auth) = auth else {
        return Ok(RegistryAuth::Anonymous);
    };
    credentials::registry_auth(auth).map_err(|message| Error::Pull {
        image: reference.to_string(),
        message,
        kind: PullError::Denied,
    })
}

/// One pull from one host.
struct Session<'a> {
    store: &'a ImageStore,
    reference: &'a Reference,
    target: oci_client::Reference,
    client: Client,
    auth: RegistryAuth,
    progress: &'a ProgressFn,
}

impl<'a> Session<'a> {
    fn new(
        store: &'a ImageStore,
        reference: &'a Reference,
        mirror: Option<&String>,
        plain: bool,
        auth: RegistryAuth,
        progress: &'a ProgressFn,
    ) -> Self {
        // Another part of the process may have been first; any provider will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::new(ClientConfig {
            protocol: if plain {
                ClientProtocol::Http
            } else {
                ClientProtocol::Https
            },
            connect_timeout: Some(CONNECT),
            read_timeout: Some(SILENCE),
            user_agent: concat!("corten/", env!("CARGO_PKG_VERSION")),
            ..ClientConfig::default()
        });
        let (registry, repository) = (reference.registry.clone(), reference.repository.clone());
        let version = reference.version().to_owned();
        let mut target = match &reference.digest {
            Some(_) => oci_client::Reference::with_digest(registry, repository, version),
            None => oci_client::Reference::with_tag(registry, repository, version),
        };
        if let Some(mirror) = mirror {
            target.set_mirror_registry(mirror.clone());
        }
        Self {
            store,
            reference,
            target,
            client,
            auth,
            progress,
        }
    }

    fn error(&self, message: &str) -> Error {
        Error::Pull {
            image: self.reference.to_string(),
            message: message.to_owned(),
            kind: PullError::Other,
        }
    }

    /// A registry's refusal to name the image, in containerd's words.
    fn unresolved(&self, error: OciDistributionError) -> Error {
        let (kind, message) = explain(self.reference, error);
        let message = format!(
            "failed to resolve reference {:?}: {message}",
            self.reference.to_string()
        );
        Error::Pull {
            image: self.reference.to_string(),
            message,
            kind,
        }
    }

    fn failed_copy(&self, error: OciDistributionError) -> Error {
        let (kind, message) = explain(self.reference, error);
        Error::Pull {
            image: self.reference.to_string(),
            message: format!("failed to copy: {message}"),
            kind,
        }
    }

    /// The manifest for this node, and the digest that the name stands for (an index's where there is one).
    async fn resolve(&self) -> Result<(Manifest, String), Error> {
        let authorized = self
            .client
            .auth(&self.target, &self.auth, RegistryOperation::Pull)
            .await;
        authorized.map_err(|error| self.unresolved(error))?;
        let mut target = self.target.clone();
        let mut wanted = self.reference.digest.clone();
        let mut named = None;
        for _ in 0..MAX_INDEX_DEPTH {
            let fetched = self.client.pull_manifest_raw(&target, &self.auth, ACCEPTED).await;
            let (bytes, _) = fetched.map_err(|error| self.unresolved(error))?;
            let actual = digest_of(&bytes);
            if let Some(expected) = wanted.filter(|expected| *expected != actual) {
                return Err(Error::Digest { expected, actual });
            }
            let named = named.get_or_insert(actual).clone();
            let manifest = Manifest::parse(&bytes)?;
            if !manifest.is_index() {
                return Ok((manifest, named));
            }
            let digest = manifest.choose(&self.reference.to_string())?.digest.clone();
            target = target.clone_with_digest(digest.clone());
            wanted = Some(digest);
        }
        Err(self.error("index within index within index"))
    }

    async fn config(&self, config: &Descriptor) -> Result<Vec<u8>, Error> {
        if config.size > MAX_DOCUMENT || !is_digest(&config.digest) {
            return Err(self.error("the config is too large or named by an unknown digest"));
        }
        let mut bytes = Vec::new();
        let fetched = self
            .client
            .pull_blob(&self.target, config.digest.as_str(), &mut bytes)
            .await;
        fetched.map_err(|error| self.failed_copy(error))?;
        let actual = digest_of(&bytes);
        if actual != config.digest {
            return Err(Error::Digest {
                expected: config.digest.clone(),
                actual,
            });
        }
        Ok(bytes)
    }

    fn ingest_path(&self, digest: &str) -> std::path::PathBuf {
        self.store
            .dir()
            .join("ingest")
            .join(digest.trim_start_matches("sha256:"))
    }

    /// None when the layer is here already.
    async fn layer(&self, layer: &Descriptor, diff_id: &str) -> Result<Option<Unpacked>, Error> {
        if !is_digest(&layer.digest) {
            return Err(Error::Unsupported(format!("layer digest {:?}", layer.digest)));
        }
        let download = self.store.download_lock(&layer.digest);
        let _alone = download.lock().await;
        let done = |existed| Progress::LayerDone {
            digest: layer.digest.clone(),
            existed,
        };
        if self.store.has_layer(diff_id) {
            (self.progress)(done(true));
            return Ok(None);
        }
        self.download(layer).await?;
        let (store, path) = (self.store.clone(), self.ingest_path(&layer.digest));
        let (digest, diff_id) = (layer.digest.clone(), diff_id.to_owned());
        let unpacked = tokio::task::spawn_blocking(move || {
            let _one_at_a_time = store.unpacking();
            let file = match std::fs::File::open(&path) {
                // Another pull that shares this layer has unpacked it in the meantime, and tidied up.
                Err(error) if error.kind() == NotFound && store.has_layer(&diff_id) => return Ok(None),
                opened => opened.map_err(|error| Error::io(path.display(), error))?,
            };
            let mut compressed = Digesting::new(file);
            let unpacked = unpack_layer(store.dir(), &mut compressed, &diff_id);
            let actual = compressed.finish().map_err(Error::tar)?;
            if actual != digest {
                // A damaged download must not be taken up again.
                let _ = std::fs::remove_file(&path);
                return Err(Error::Digest {
                    expected: digest,
                    actual,
                });
            }
            unpacked.map(Some)
        })
        .await
        .unwrap_or_else(|error| Err(self.error(&error.to_string())))?;
        (self.progress)(done(unpacked.is_none()));
        Ok(unpacked)
    }

    /// Fetches what is missing of a blob, taking up broken connections while they bring anything.
    async fn download(&self, layer: &Descriptor) -> Result<(), Error> {
        let path = self.ingest_path(&layer.digest);
        let io_failed = |error: std::io::Error| Error::io(path.display(), error);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let opened = tokio::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)
                .await;
            let mut file = opened.map_err(io_failed)?;
            let have = file.metadata().await.map_err(io_failed)?.len();
            if have == layer.size {
                return Ok(());
            }
            if have > layer.size {
                file.set_len(0).await.map_err(io_failed)?;
                continue;
            }
            match self.copy(layer, have, &mut file).await {
                Ok(()) => {}
                Err(error @ Error::Io { .. }) => return Err(error),
                Err(error) => {
                    let now = file.metadata().await.map_err(io_failed)?.len();
                    if now == have {
                        return Err(error);
                    }
                    last = Some(error);
                }
            }
        }
        match std::fs::metadata(&path) {
            Ok(meta) if meta.len() == layer.size => Ok(()),
            _ => Err(last.unwrap_or_else(|| self.error("the layer's size is not what the manifest says"))),
        }
    }

    async fn copy(&self, layer: &Descriptor, from: u64, file: &mut tokio::fs::File) -> Result<(), Error> {
        let io_failed = |error: std::io::Error| Error::io(self.ingest_path(&layer.digest).display(), error);
        let (mut stream, mut done): (SizedStream, u64) = if from == 0 {
            let opened = self
                .client
                .pull_blob_stream(&self.target, layer.digest.as_str())
                .await;
            (opened.map_err(|error| self.failed_copy(error))?, 0)
        } else {
            let opened = self
                .client
                .pull_blob_stream_partial(&self.target, layer.digest.as_str(), from, None)
                .await;
            match opened.map_err(|error| self.failed_copy(error))? {
                BlobResponse::Partial(stream) => (stream, from),
                BlobResponse::Full(stream) => {
                    file.set_len(0).await.map_err(io_failed)?;
                    (stream, 0)
                }
            }
        };
        while let Some(chunk) = stream.stream.next().await {
            let chunk = chunk.map_err(|error| self.error(&format!("failed to copy: {error}")))?;
            done += chunk.len() as u64;
            if done > layer.size {
                return Err(self.error("the registry sent more than the manifest says"));
            }
            file.write_all(&chunk).await.map_err(io_failed)?;
            (self.progress)(Progress::Layer {
                digest: layer.digest.clone(),
                done,
                total: layer.size,
            });
        }
        file.flush().await.map_err(io_failed)
    }
}

/// The sort of failure, and containerd's words for it.
fn explain(reference: &Reference, error: OciDistributionError) -> (PullError, String) {
    const DENIED: &str = "pull access denied, repository does not exist or may require authorization";
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => {
            (PullError::NotFound, format!("{reference}: not found"))
        }
        OciDistributionError::UnauthorizedError { .. } => (
            PullError::Denied,
            format!("{DENIED}: authorization failed: no basic auth credentials"),
        ),
        OciDistributionError::AuthenticationFailure(reason) => (
            PullError::Denied,
            format!(
                "failed to authorize: failed to fetch oauth token: {}",
                reason.trim()
            ),
        ),
        OciDistributionError::RegistryError { envelope, .. } => {
            let text = envelope.to_string();
            let upper = text.to_uppercase();
            match () {
                () if upper.contains("UNKNOWN")
                    || upper.contains("NOTFOUND")
                    || upper.contains("NOT FOUND") =>
                {
                    (PullError::NotFound, format!("{reference}: not found"))
                }
                () if upper.contains("DENIED") || upper.contains("UNAUTHORIZED") => (
                    PullError::Denied,
                    format!("{DENIED}: server message: {}", text.trim()),
                ),
                () => (PullError::Other, text),
            }
        }
        OciDistributionError::ServerError { code: 404, .. } => {
            (PullError::NotFound, format!("{reference}: not found"))
        }
        OciDistributionError::ServerError { code, url, .. } if code == 429 || code >= 500 => (
            PullError::Unavailable,
            format!("unexpected status from GET request to {url}: {code}"),
        ),
        OciDistributionError::ServerError { code, url, message } => (
            PullError::Other,
            format!(
                "unexpected status from GET request to {url}: {code}: {}",
                message.trim()
            ),
        ),
        OciDistributionError::RequestError(error) => (
            PullError::Unavailable,
            format!("failed to do request: {}", with_causes(&error)),
        ),
        other => (PullError::Other, with_causes(&other)),
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(": ");
        text.push_str(&next.to_string());
        cause = next.source();
    }
    text
}
