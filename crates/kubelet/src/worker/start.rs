//! Brings one container up: image, configuration, creation, start, post-start hook.

use super::messages::Done;
use super::pulls::Pulled;
use super::{kill, mounts, sandbox};
use crate::context::Context;
use crate::env;
use crate::hooks;
use crate::machine::memory::{Failure, RETRY};
use crate::machine::view::{ContainerView, PodView, SandboxView};
use crate::machine::{Event, KillReason};
use crate::pod::{Kind, PodExt};
use crate::spec::container as spec;
use crate::spec::security::ImageUser;
use crate::time;
use corten_runtime::cri;
use k8s_openapi::api::core::v1::{Container, Pod};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

pub(super) struct Job {
    pub kind: Kind,
    pub name: String,
    pub restart_count: i32,
}

/// What the starts of one plan share.
#[derive(Clone)]
pub(super) struct Run {
    pub cx: Arc<Context>,
    pub pod: Arc<Pod>,
    pub ips: Vec<String>,
    pub sandbox: SandboxView,
    pub view: PodView,
    pub cancel: CancellationToken,
}

/// A start that failed, and the container it may have left behind.
struct Stopped(Failure, Option<Box<ContainerView>>);

impl From<Failure> for Stopped {
    fn from(failure: Failure) -> Self {
        Self(failure, None)
    }
}

impl Run {
    pub async fn start(&self, job: Job) -> Done {
        let name = job.name.clone();
        let Some((_, c)) = self.pod.container(&name) else {
            return Done::Started {
                name,
                view: None,
                failure: None,
            };
        };
        match self.bring_up(&job, &c).await {
            Ok(view) => Done::Started {
                name,
                view,
                failure: None,
            },
            Err(Stopped(failure, view)) => Done::Started {
                name,
                view,
                failure: Some(failure),
            },
        }
    }

    pub(super) fn tell(&self, c: &Container, event: Event) {
        self.cx.record(&self.pod, event.on(&c.name));
    }

    /// A failure that is tried again after a while, with upstream's event.
    fn failed(&self, c: &Container, reason: &'static str, message: String) -> Failure {
        self.tell(c, Event::warning("Failed", format!("Error: {message}")));
        Failure {
            reason,
            message,
            retry: Some(time::now(&self.cx.clock) + RETRY),
        }
    }

    async fn bring_up(&self, job: &Job, c: &Container) -> Result<Option<Box<ContainerView>>, Stopped> {
        let shared = sandbox::config(&self.cx, &self.pod, self.sandbox.attempt)
            .map_err(|e| self.failed(c, "CreateContainerConfigError", e))?;
        let images = tokio::select! {
            () = self.cancel.cancelled() => return Ok(None),
            images = self.images(c, &shared) => images?,
        };
        if self.cancel.is_cancelled() {
            return Ok(None);
        }
        let config = self
            .config(job, c, images)
            .await
            .map_err(|e| self.failed(c, "CreateContainerConfigError", e))?;
        let id = self
            .cx
            .runtime
            .create_container(&self.sandbox.id, config, &shared)
            .await
            .map_err(|e| self.failed(c, "CreateContainerError", e.message))?;
        self.tell(c, Event::normal("Created", "Container created"));
        if let Err(error) = self.cx.runtime.start_container(&id).await {
            // The id would make each event another one.
            let message = error.message.replace(&id, &c.name);
            self.tell(c, Event::warning("Failed", format!("Error: {message}")));
            let failure = Failure {
                reason: "RunContainerError",
                message,
                retry: None,
            };
            return Err(Stopped(failure, read(&self.cx, &id).await));
        }
        self.tell(c, Event::normal("Started", "Container started"));
        if let Some(hook) = c.lifecycle.as_ref().and_then(|l| l.post_start.as_ref()) {
            self.post_start(c, &id, hook).await?;
        }
        Ok(read(&self.cx, &id).await)
    }

    async fn config(
        &self,
        job: &Job,
        c: &Container,
        Pulled { image, volumes }: Pulled,
    ) -> Result<cri::ContainerConfig, String> {
        let env = self.env(c).await?;
        let (cx, pod, ips) = (Arc::clone(&self.cx), Arc::clone(&self.pod), self.ips.clone());
        let (container, count) = (c.clone(), job.restart_count);
        let made = tokio::task::spawn_blocking(move || {
            let logs = crate::spec::sandbox::log_directory(&cx.logs, &pod).join(&container.name);
            std::fs::create_dir_all(&logs).map_err(|e| {
                format!(
                    "create container log directory for container {} failed: {e}",
                    container.name
                )
            })?;
            let mounts = mounts::build(&cx, &pod, &container, &env, &volumes, &ips, count)?;
            Ok::<_, String>((env, mounts))
        });
        let (env, mounts) = made.await.map_err(|e| e.to_string())??;
        let target = self.target(job)?;
        spec::config(
            &self.pod,
            c,
            spec::Inputs {
                restart_count: job.restart_count,
                image_ref: image.id.clone(),
                env: &env,
                mounts,
                user: ImageUser::from(&image),
                target: target.as_deref(),
                node: &self.cx.facts,
                seccomp_root: &self.cx.seccomp,
            },
        )
    }

    async fn env(&self, c: &Container) -> Result<env::Env, String> {
        let ns = self.pod.namespace();
        let (maps, secrets) = env::references(c);
        let mut sources = env::Sources::default();
        for name in maps {
            let found = self.cx.volumes.config_maps.get(ns, &name).await?;
            sources.config_maps.insert(name, found);
        }
        for name in secrets {
            let found = self.cx.volumes.secrets.get(ns, &name).await?;
            sources.secrets.insert(name, found);
        }
        self.cx.services.synced().await;
        let links = self.pod.spec().enable_service_links.unwrap_or(true);
        let services = self.cx.services.list();
        let services = env::services::variables(services.iter().map(AsRef::as_ref), ns, links);
        let cx = env::Context {
            sources: &sources,
            services,
            ips: &self.ips,
            node: &self.cx.facts,
        };
        env::build(&self.pod, c, &cx)
    }

    /// The container whose processes an ephemeral container is to see.
    fn target(&self, job: &Job) -> Result<Option<String>, String> {
        if job.kind != Kind::Ephemeral {
            return Ok(None);
        }
        let found = self.pod.ephemerals().iter().find(|c| c.name == job.name);
        let Some(name) = found
            .and_then(|c| c.target_container_name.as_deref())
            .filter(|n| !n.is_empty())
        else {
            return Ok(None);
        };
        match self.view.find(name) {
            Some(v) => Ok(Some(v.id.clone())),
            None => Err(format!("unable to find target container {name}")),
        }
    }

    async fn post_start(
        &self,
        c: &Container,
        id: &str,
        hook: &k8s_openapi::api::core::v1::LifecycleHandler,
    ) -> Result<(), Stopped> {
        let ip = self.ips.first().cloned().unwrap_or_default();
        let done = tokio::select! {
            () = self.cancel.cancelled() => return Ok(()),
            done = hooks::run(&*self.cx.runtime, &self.cx.clock, id, c, hook, &ip) => done,
        };
        let Err(message) = done else { return Ok(()) };
        tracing::info!(
            pod = self.pod.desc(),
            container = c.name,
            message,
            "post-start hook failed"
        );
        // The message stays out of the event: it may carry what the server says to the container only.
        self.tell(c, Event::warning("FailedPostStartHook", "PostStartHook failed"));
        let grace = crate::machine::grace_seconds(&self.pod, c, KillReason::Other);
        let job = kill::Job {
            id: id.to_owned(),
            name: c.name.clone(),
            message: "FailedPostStartHook".into(),
            deadline: time::now(&self.cx.clock) + jiff::SignedDuration::from_secs(grace),
            pre_stop: grace > 0,
            ip,
            annotations: Default::default(),
        };
        let killed = kill::run(Arc::clone(&self.cx), Arc::clone(&self.pod), job).await;
        let view = if let Done::Killed { view, .. } = killed {
            view
        } else {
            None
        };
        Err(Stopped(
            Failure {
                reason: "PostStartHookError",
                message,
                retry: None,
            },
            view,
        ))
    }
}

/// What the runtime says of a container, if it says anything.
pub(super) async fn read(cx: &Context, id: &str) -> Option<Box<ContainerView>> {
    let answer = cx.runtime.container_status(id, false).await.ok()?;
    answer.status.map(|s| Box::new(s.into()))
}

pub(super) async fn resize(cx: Arc<Context>, pod: Arc<Pod>, id: String, name: String) -> Done {
    let Some((_, c)) = pod.container(&name) else {
        return Done::Resized {
            id,
            view: None,
            error: None,
        };
    };
    // Room for more comes first for the pod, then for the container.
    let mut error = cx.cgroups.ensure(&pod).err();
    if error.is_none() {
        let resources = crate::spec::resources::linux(&pod, &c, &cx.facts);
        error = cx
            .runtime
            .update_container_resources(&id, resources)
            .await
            .err()
            .map(|e| e.rpc_text());
    }
    let view = read(&cx, &id).await;
    Done::Resized { id, view, error }
}
