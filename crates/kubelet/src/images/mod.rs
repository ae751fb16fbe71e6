//! Images for containers: presence, pull policy, credentials, back-off, and the events that tell of it.

pub mod credentials;
mod reference;

use crate::machine::Event;
use crate::machine::backoff::Backoffs;
use corten_runtime::cri::{self, ImageService};
use corten_stdx::SharedClock;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

pub use reference::Reference;

/// Images pulled at the same time; more wait their turn.
const MAX_PARALLEL_PULLS: usize = 4;
/// From a failed pull to the state that says it waits.
const SHOW_ERROR: jiff::SignedDuration = jiff::SignedDuration::from_secs(1);

/// Why there is no image: reason and message of the container's `waiting` state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    pub reason: &'static str,
    pub message: String,
    /// Not to be tried again before.
    pub retry: Option<Timestamp>,
}

struct Failed {
    at: Timestamp,
    error: String,
}

#[derive(Default)]
struct History {
    backoffs: Backoffs,
    failed: BTreeMap<String, Failed>,
}

pub struct Images {
    service: Arc<dyn ImageService>,
    clock: SharedClock,
    slots: Semaphore,
    history: Mutex<History>,
}

/// One container's wish.
pub struct Wish<'a> {
    pub pod_uid: &'a str,
    pub image: &'a str,
    /// `Always`, `IfNotPresent` or `Never`.
    pub policy: &'a str,
    /// Contents of the pod's pull secrets.
    pub keyring: &'a credentials::Keyring,
    pub sandbox: &'a cri::PodSandboxConfig,
}

impl Images {
    pub fn new(service: Arc<dyn ImageService>, clock: SharedClock) -> Self {
        let history = Mutex::default();
        Self {
            service,
            clock,
            slots: Semaphore::new(MAX_PARALLEL_PULLS),
            history,
        }
    }

    pub fn service(&self) -> &Arc<dyn ImageService> {
        &self.service
    }

    /// Makes sure that the image is there and returns it.
    ///
    /// # Errors
    /// As the container's status is to say it.
    pub async fn ensure(
        &self,
        wish: &Wish<'_>,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<cri::Image, Problem> {
        let asked = wish.image;
        let reference = Reference::parse(asked).map_err(|error| {
            let message = format!("Failed to apply default image tag \"{asked}\": {error}");
            tell(Event::warning("InspectFailed", message.clone()));
            Problem {
                reason: "InvalidImageName",
                message,
                retry: Some(self.later()),
            }
        })?;
        let spec = cri::ImageSpec {
            image: reference.with_tag(),
            user_specified_image: asked.to_owned(),
            ..Default::default()
        };
        if wish.policy != "Always" {
            match self.service.image_status(&spec, false).await {
                Ok(found) => {
                    if let Some(image) = found.image {
                        let text = format!(
                            "Container image \"{asked}\" already present on machine and can be accessed by the pod"
                        );
                        tell(Event::normal("Pulled", text));
                        return Ok(image);
                    }
                }
                Err(error) => {
                    let message = format!("Failed to inspect image \"{asked}\": {}", error.rpc_text());
                    tell(Event::warning("InspectFailed", message.clone()));
                    return Err(Problem {
                        reason: "ImageInspectError",
                        message,
                        retry: Some(self.later()),
                    });
                }
            }
        }
        if wish.policy == "Never" {
            let message = format!("Container image \"{asked}\" is not present with pull policy of Never");
            tell(Event::warning("ErrImageNeverPull", message.clone()));
            return Err(Problem {
                reason: "ErrImageNeverPull",
                message,
                retry: Some(self.later()),
            });
        }
        self.pull(wish, &reference, &spec, tell).await
    }

    fn now(&self) -> Timestamp {
        crate::time::now(&self.clock)
    }

    fn later(&self) -> Timestamp {
        self.now() + crate::machine::memory::RETRY
    }

    async fn pull(
        &self,
        wish: &Wish<'_>,
        reference: &Reference,
        spec: &cri::ImageSpec,
        tell: &(dyn Fn(Event) + Sync),
    ) -> Result<cri::Image, Problem> {
        let asked = wish.image;
        let key = format!("{}_{asked}", wish.pod_uid);
        if let Some(problem) = self.backing_off(&key, asked) {
            tell(Event::normal(
                "BackOff",
                format!("Back-off pulling image \"{asked}\""),
            ));
            return Err(problem);
        }
        tell(Event::normal("Pulling", format!("Pulling image \"{asked}\"")));
        let asked_at = self.clock.monotonic();
        let permit = self.slots.acquire().await;
        let began = self.clock.monotonic();
        let result = self.fetch(wish, reference, spec).await;
        drop(permit);
        match result {
            Ok(image) => {
                let end = self.clock.monotonic();
                let (pulled, waited) = (go_millis(end - began), go_millis(end - asked_at));
                let size = image.size;
                let text = format!(
                    "Successfully pulled image \"{asked}\" in {pulled} ({waited} including waiting). Image size: {size} bytes."
                );
                tell(Event::normal("Pulled", text));
                let mut history = self.history.lock();
                history.failed.remove(&key);
                history.backoffs.forget(&key);
                Ok(image)
            }
            Err(error) => {
                let text = error.rpc_text();
                tell(Event::warning(
                    "Failed",
                    format!("Failed to pull image \"{asked}\": {text}"),
                ));
                let now = self.now();
                let mut history = self.history.lock();
                history.backoffs.next(&key, now, now);
                history.failed.insert(
                    key,
                    Failed {
                        at: now,
                        error: format!("ErrImagePull: {text}"),
                    },
                );
                Err(Problem {
                    reason: "ErrImagePull",
                    message: text,
                    retry: Some(now + SHOW_ERROR),
                })
            }
        }
    }

    fn backing_off(&self, key: &str, asked: &str) -> Option<Problem> {
        let history = self.history.lock();
        let failed = history.failed.get(key)?;
        let until = history.backoffs.until(key, failed.at, self.now())?;
        let message = format!("Back-off pulling image \"{asked}\": {}", failed.error);
        Some(Problem {
            reason: "ImagePullBackOff",
            message,
            retry: Some(until),
        })
    }

    /// Tries each credential that fits, or none at all if none does.
    async fn fetch(
        &self,
        wish: &Wish<'_>,
        reference: &Reference,
        spec: &cri::ImageSpec,
    ) -> cri::Result<cri::Image> {
        let found = wish.keyring.lookup(reference);
        let tries = if found.is_empty() {
            vec![None]
        } else {
            found.into_iter().map(Some).collect()
        };
        let mut last = cri::Error::unknown("no credentials to try");
        for auth in tries {
            match self.service.pull_image(spec, auth, Some(wish.sandbox)).await {
                Ok(id) => {
                    let by_id = cri::ImageSpec {
                        image: id.clone(),
                        ..Default::default()
                    };
                    let status = self.service.image_status(&by_id, false).await?;
                    return Ok(status.image.unwrap_or(cri::Image {
                        id,
                        ..Default::default()
                    }));
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// A pod is gone: so are its failures.
    pub fn forget(&self, pod_uid: &str) {
        let mut history = self.history.lock();
        let keys: Vec<String> = history
            .failed
            .keys()
            .filter(|k| k.starts_with(pod_uid))
            .cloned()
            .collect();
        for key in keys {
            history.failed.remove(&key);
            history.backoffs.forget(&key);
        }
    }
}

/// Go's `time.Duration` text, to the millisecond.
fn go_millis(d: Duration) -> String {
    let ms = d.as_millis();
    if ms < 1000 {
        return format!("{ms}ms");
    }
    let (minutes, rest) = (ms / 60_000, ms % 60_000);
    let fraction = format!("{:03}", rest % 1000);
    let fraction = fraction.trim_end_matches('0');
    let dot = if fraction.is_empty() { "" } else { "." };
    let minutes = if minutes > 0 {
        format!("{minutes}m")
    } else {
        String::new()
    };
    format!("{minutes}{}{dot}{fraction}s", rest / 1000)
}

#[cfg(test)]
mod tests {
    use super::go_millis;
    use std::time::Duration;

    #[test]
    fn durations() {
        let text = |ms| go_millis(Duration::from_millis(ms));
        assert_eq!(
            [text(7), text(1500), text(61_020), text(2000)],
            ["7ms", "1.5s", "1m1.02s", "2s"]
        );
    }
}
