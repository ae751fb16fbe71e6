//! Keeps the API's copy of a pod's status up to date: at most one patch under way, always of the newest status.

use super::messages::Done;
use crate::context::Context;
use crate::pod::PodExt;
use crate::status::patch;
use crate::time;
use corten_client::object::{MetaExt, path};
use corten_client::request::STRATEGIC_PATCH;
use corten_stdx::Backoff;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

pub(super) struct Report {
    /// What the API has, as far as is known.
    known: PodStatus,
    /// The revision at which it had that.
    revision: u64,
    sending: bool,
    retry: Option<Timestamp>,
    backoff: Backoff,
    gone: bool,
}

#[derive(Deserialize)]
struct Answer {
    metadata: k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
}

impl Report {
    pub fn new(pod: &Pod) -> Self {
        Self {
            known: pod.status.clone().unwrap_or_default(),
            revision: pod.metadata.revision(),
            sending: false,
            retry: None,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            gone: false,
        }
    }

    /// The API shows this pod: what it says counts, unless our own write is newer.
    pub fn observed(&mut self, pod: &Pod) {
        let revision = pod.metadata.revision();
        if !self.sending && revision >= self.revision {
            self.known = pod.status.clone().unwrap_or_default();
            self.revision = revision;
        }
    }

    /// Whether the API has `status`.
    pub fn is_written(&self, status: &PodStatus) -> bool {
        self.gone || (!self.sending && patch::diff("", &self.known, status).is_none())
    }

    /// Sends `status` if the API does not have it. Returns when to try again after a failure.
    pub fn offer(
        &mut self,
        cx: &Arc<Context>,
        pod: &Arc<Pod>,
        status: &PodStatus,
        now: Timestamp,
        ops: &mut JoinSet<Done>,
    ) -> Option<Timestamp> {
        if self.sending || self.gone {
            return None;
        }
        if let Some(at) = self.retry.filter(|at| *at > now) {
            return Some(at);
        }
        let body = patch::diff(pod.uid(), &self.known, status)?;
        self.sending = true;
        self.retry = None;
        let (cx, pod, sent) = (Arc::clone(cx), Arc::clone(pod), Box::new(status.clone()));
        ops.spawn(async move {
            let target = path::<Pod>(pod.namespace(), pod.name(), "status");
            let result = match cx.caller.patch(&target, STRATEGIC_PATCH, &body).await {
                Ok(text) => serde_json::from_str::<Answer>(&text)
                    .map(|a| a.metadata.revision())
                    .map_err(corten_client::Error::from),
                Err(error) => Err(error),
            };
            Done::Reported { sent, result }
        });
        None
    }

    pub fn answered(&mut self, cx: &Context, sent: PodStatus, result: Result<u64, corten_client::Error>) {
        self.sending = false;
        match result {
            Ok(revision) => {
                self.known = sent;
                self.revision = revision;
                self.backoff.reset();
            }
            // Gone: nobody to tell.
            Err(error) if error.is_not_found() => self.gone = true,
            Err(error) => {
                tracing::warn!(%error, "pod status not written; trying again");
                let delay =
                    SignedDuration::try_from(self.backoff.next_delay()).unwrap_or(SignedDuration::ZERO);
                self.retry = Some(time::now(&cx.clock) + delay);
            }
        }
    }
}
