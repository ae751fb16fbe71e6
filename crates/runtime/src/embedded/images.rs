//! The image calls of CRI over the image store.

use super::{Runtime, blocking, stats};
use crate::cri::{
    AuthConfig, Code, Error, Image, ImageFilter, ImageFsInfoResponse, ImageService, ImageSpec,
    ImageStatusResponse, Int64Value, PodSandboxConfig, Result,
};
use crate::image::{self, ImageRecord, PullError, Reference};
use async_trait::async_trait;
use std::collections::{BTreeMap, HashSet};

/// An image error with the code that a CRI runtime gives it.
pub(super) fn failed(error: image::Error) -> Error {
    let code = match &error {
        image::Error::NotFound(_)
        | image::Error::Pull {
            kind: PullError::NotFound,
            ..
        } => Code::NotFound,
        image::Error::Pull {
            kind: PullError::Unavailable,
            ..
        } => Code::Unavailable,
        image::Error::Reference(_) => Code::InvalidArgument,
        _ => Code::Unknown,
    };
    Error::new(code, error.to_string())
}

fn describe(record: &ImageRecord) -> Image {
    let user = record.run.user.split(':').next().unwrap_or_default();
    let uid = user.parse::<i64>().ok();
    Image {
        id: record.id.clone(),
        repo_tags: record.tags.iter().cloned().collect(),
        repo_digests: record.digests.iter().cloned().collect(),
        size: record.size_bytes,
        uid: match (uid, user) {
            (Some(value), _) => Some(Int64Value { value }),
            (None, "") => Some(Int64Value { value: 0 }),
            (None, _) => None,
        },
        username: if uid.is_none() {
            user.to_owned()
        } else {
            String::new()
        },
        spec: None,
        pinned: false,
    }
}

#[async_trait]
impl ImageService for Runtime {
    async fn list_images(&self, filter: Option<ImageFilter>) -> Result<Vec<Image>> {
        let wanted = filter
            .and_then(|filter| filter.image)
            .map(|image| image.image)
            .filter(|name| !name.is_empty());
        let images = match wanted {
            Some(name) => self.inner.images.get(&name).into_iter().collect(),
            None => self.inner.images.list(),
        };
        Ok(images.iter().map(describe).collect())
    }

    async fn image_status(&self, image: &ImageSpec, verbose: bool) -> Result<ImageStatusResponse> {
        let found = self.inner.images.get(&image.image);
        let mut info = BTreeMap::new();
        if let (Some(found), true) = (&found, verbose)
            && let Ok(text) = std::fs::read_to_string(self.inner.images.blob_path(&found.id))
        {
            info.insert("info".to_owned(), text);
        }
        Ok(ImageStatusResponse {
            image: found.as_ref().map(describe),
            info,
        })
    }

    async fn pull_image(
        &self,
        image: &ImageSpec,
        auth: Option<AuthConfig>,
        _sandbox_config: Option<&PodSandboxConfig>,
    ) -> Result<String> {
        let reference = Reference::parse(&image.image).map_err(|error| failed(error.into()))?;
        let options = &self.inner.config.pull;
        let pulled = image::pull(
            &self.inner.images,
            &reference,
            auth.as_ref(),
            options,
            &image::quiet(),
        )
        .await;
        pulled.map(|record| record.id).map_err(failed)
    }

    async fn remove_image(&self, image: &ImageSpec) -> Result<()> {
        let images = self.inner.images.clone();
        let name = image.image.clone();
        let in_use: HashSet<String> = self
            .inner
            .state
            .lock()
            .containers()
            .flat_map(|record| record.lower.iter().chain(&record.volume_lower).cloned())
            .collect();
        blocking(move || {
            images.remove(&name).map_err(failed)?;
            images
                .collect(&|dir| in_use.contains(&*dir.to_string_lossy()))
                .map(drop)
                .map_err(failed)
        })
        .await
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfoResponse> {
        let root = self.inner.config.root.clone();
        blocking(move || {
            Ok(ImageFsInfoResponse {
                image_filesystems: vec![stats::filesystem(&root.join("images"), &root)],
                container_filesystems: vec![stats::filesystem(&root.join("snapshots"), &root)],
            })
        })
        .await
    }
}
