//! Images that a container needs before it can be made: its own, and those that are its volumes.

use super::start::Run;
use crate::images::credentials::Keyring;
use crate::images::{Problem, Wish};
use crate::machine::Event;
use crate::machine::memory::Failure;
use crate::pod::PodExt;
use corten_runtime::cri;
use k8s_openapi::api::core::v1::Container;
use std::collections::BTreeMap;

/// Images by the name of the volume that each is.
pub(super) type ImageVolumes = BTreeMap<String, cri::ImageSpec>;

/// What [`Run::images`] found or fetched.
pub(super) struct Pulled {
    pub image: cri::Image,
    pub volumes: ImageVolumes,
}

impl Run {
    /// # Errors
    /// As the container's status is to say it.
    pub(super) async fn images(
        &self,
        c: &Container,
        shared: &cri::PodSandboxConfig,
    ) -> Result<Pulled, Failure> {
        let keyring = self.keyring().await;
        let volumes = self.image_volumes(c, &keyring, shared).await?;
        let wish = Wish {
            pod_uid: self.pod.uid(),
            image: c.image.as_deref().unwrap_or_default(),
            policy: c.image_pull_policy.as_deref().unwrap_or("IfNotPresent"),
            keyring: &keyring,
            sandbox: shared,
        };
        let tell = |event: Event| self.tell(c, event);
        let image = self.cx.images.ensure(&wish, &tell).await;
        let image = image.map_err(|problem| self.without_image(c, problem))?;
        Ok(Pulled { image, volumes })
    }

    async fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::default();
        let mut missing = Vec::new();
        for r in self.pod.spec().image_pull_secrets.iter().flatten() {
            match self.cx.volumes.secrets.get(self.pod.namespace(), &r.name).await {
                Ok(Some(secret)) => keyring.add(&secret),
                Ok(None) | Err(_) => missing.push(r.name.as_str()),
            }
        }
        if !missing.is_empty() {
            let text = format!(
                "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                missing.join(", ")
            );
            self.cx
                .record(&self.pod, Event::warning("FailedToRetrieveImagePullSecret", text));
        }
        keyring
    }

    /// Of the volumes that the container mounts. Their pulls are told of the pod.
    async fn image_volumes(
        &self,
        c: &Container,
        keyring: &Keyring,
        shared: &cri::PodSandboxConfig,
    ) -> Result<ImageVolumes, Failure> {
        let mut out = ImageVolumes::new();
        for volume in self.pod.spec().volumes.iter().flatten() {
            let mounted = c.volume_mounts.iter().flatten().any(|m| m.name == volume.name);
            let Some(source) = volume.image.as_ref().filter(|_| mounted) else {
                continue;
            };
            let reference = source.reference.as_deref().unwrap_or_default();
            let wish = Wish {
                pod_uid: self.pod.uid(),
                image: reference,
                policy: source.pull_policy.as_deref().unwrap_or("IfNotPresent"),
                keyring,
                sandbox: shared,
            };
            let tell = |event: Event| self.cx.record(&self.pod, event);
            let found = self.cx.images.ensure(&wish, &tell).await;
            let image = found.map_err(|problem| self.without_image(c, problem))?;
            let spec = cri::ImageSpec {
                image: image.id,
                user_specified_image: reference.to_owned(),
                ..Default::default()
            };
            out.insert(volume.name.clone(), spec);
        }
        Ok(out)
    }

    fn without_image(&self, c: &Container, problem: Problem) -> Failure {
        self.tell(c, Event::warning("Failed", format!("Error: {}", problem.reason)));
        Failure {
            reason: problem.reason,
            message: problem.message,
            retry: problem.retry,
        }
    }
}
