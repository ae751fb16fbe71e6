//! What an image says about itself and how to run it (OCI image-spec, config.md; Docker's dialect with its nulls).

use super::{Error, node_platform};
use serde::{Deserialize, Serialize};

/// An image's config blob, as far as it matters here.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct ImageConfig {
    #[serde(default)]
    pub architecture: String,
    #[serde(default)]
    pub os: String,
    #[serde(default)]
    pub variant: Option<String>,
    #[serde(default)]
    pub config: Option<RunConfig>,
    #[serde(default)]
    pub rootfs: RootFs,
}

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct RootFs {
    /// Digests of the uncompressed layers, lowest first.
    #[serde(default)]
    pub diff_ids: Vec<String>,
}

/// How to run the image where the container does not say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RunConfig {
    #[serde(rename = "Entrypoint", deserialize_with = "null_is_empty")]
    pub entrypoint: Vec<String>,
    #[serde(rename = "Cmd", deserialize_with = "null_is_empty")]
    pub cmd: Vec<String>,
    #[serde(rename = "Env", deserialize_with = "null_is_empty")]
    pub env: Vec<String>,
    #[serde(rename = "WorkingDir", deserialize_with = "null_is_empty")]
    pub working_dir: String,
    /// `user`, `uid`, `user:group` or `uid:gid`.
    #[serde(rename = "User", deserialize_with = "null_is_empty")]
    pub user: String,
    #[serde(rename = "StopSignal", deserialize_with = "null_is_empty")]
    pub stop_signal: String,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    input: D,
) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(input)?.unwrap_or_default())
}

impl ImageConfig {
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        serde_json::from_slice(bytes).map_err(|error| Error::Malformed(format!("image config: {error}")))
    }

    /// Refuses an image that cannot run here. Images that do not say are taken.
    pub fn check_platform(&self, image: &str) -> Result<(), Error> {
        let (os, architecture) = node_platform();
        let fits = |have: &str, want: &str| have.is_empty() || have == want;
        if fits(&self.os, os) && fits(&self.architecture, architecture) {
            return Ok(());
        }
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        let found = format!(
            "{}/{}{}",
            self.os,
            self.architecture,
            variant.map_or(String::new(), |v| format!("/{v}"))
        );
        Err(Error::Platform {
            image: image.to_owned(),
            found,
            node: format!("{os}/{architecture}"),
        })
    }
}

/// A manifest or an index: the same JSON reader serves both.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Manifest {
    #[serde(rename = "mediaType")]
    pub media_type: String,
    pub config: Option<Descriptor>,
    pub layers: Vec<Descriptor>,
    /// Entries of an index.
    pub manifests: Vec<Descriptor>,
    #[serde(rename = "schemaVersion")]
    pub schema_version: u32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Descriptor {
    #[serde(rename = "mediaType")]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    pub annotations: std::collections::BTreeMap<String, String>,
    pub platform: Option<Platform>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Platform {
    pub architecture: String,
    pub os: String,
    pub variant: String,
}

impl Manifest {
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let manifest: Manifest =
            serde_json::from_slice(bytes).map_err(|error| Error::Malformed(format!("manifest: {error}")))?;
        if manifest.schema_version == 1 {
            return Err(Error::Unsupported(
                "image manifests of schema version 1; push the image again".into(),
            ));
        }
        Ok(manifest)
    }

    pub fn is_index(&self) -> bool {
        self.config.is_none() && !self.manifests.is_empty()
    }

    /// The entry for this node. Attestations and unknown platforms are passed over; an entry that names no platform
    /// is taken when nothing fits better.
    pub fn choose(&self, image: &str) -> Result<&Descriptor, Error> {
        let (os, architecture) = node_platform();
        let fits = |entry: &&Descriptor| {
            entry
                .platform
                .as_ref()
                .is_some_and(|p| p.os == os && p.architecture == architecture)
        };
        let unnamed = |entry: &&Descriptor| entry.platform.is_none();
        let found = self
            .manifests
            .iter()
            .find(fits)
            .or_else(|| self.manifests.iter().find(unnamed));
        found.ok_or_else(|| {
            let platforms = self.manifests.iter().filter_map(|entry| entry.platform.as_ref());
            let known = platforms
                .filter(|p| p.os != "unknown")
                .map(|p| format!("{}/{}", p.os, p.architecture));
            Error::Platform {
                image: image.to_owned(),
                found: known.collect::<Vec<_>>().join(", "),
                node: format!("{os}/{architecture}"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spoiled_documents_are_read_or_refused() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let config = serde_json::json!({
            "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [digest]},
            "config": {"Env": ["A=b"], "Cmd": ["x"], "User": "1:2", "ExposedPorts": {"80/tcp": {}}, "StopSignal": "SIGINT",
                "Healthcheck": {"Test": ["CMD", "x"], "Interval": 3}}
        });
        let descriptor = serde_json::json!({"mediaType": "x", "digest": digest, "size": 3, "annotations": {"a": "b"},
            "platform": {"architecture": "amd64", "os": "linux", "variant": "v8"}});
        let manifest = serde_json::json!({"schemaVersion": 2, "config": descriptor, "layers": [descriptor]});
        let index = serde_json::json!({"schemaVersion": 2, "manifests": [descriptor, descriptor]});
        let corpus = [config, manifest, index].map(|document| document.to_string().into_bytes());
        corten_fuzz::spoil("image documents", &corpus, |input| {
            if let Ok(config) = super::ImageConfig::parse(input) {
                let _ = config.check_platform("x");
            }
            if let Ok(manifest) = super::Manifest::parse(input)
                && manifest.is_index()
            {
                let _ = manifest.choose("x");
            }
        });
    }

    #[test]
    fn dockers_nulls() {
        let text = br#"{"architecture":"amd64","os":"linux","config":{"Cmd":null,"Env":["A=b"],"User":"app"},
            "rootfs":{"type":"layers","diff_ids":["sha256:x"]}}"#;
        let config = ImageConfig::parse(text).unwrap();
        let run = config.config.unwrap();
        assert!(run.cmd.is_empty());
        assert_eq!(run.user, "app");
        assert_eq!(config.rootfs.diff_ids.len(), 1);
    }

    #[test]
    fn another_architecture() {
        let config = ImageConfig {
            os: "linux".into(),
            architecture: "s390x".into(),
            ..ImageConfig::default()
        };
        let message = config.check_platform("x:1").unwrap_err().to_string();
        assert!(
            message.contains("is for linux/s390x, this node is linux/"),
            "{message}"
        );
    }
}
