//! The server: what it is made of, and its entries (TLS connections, and calls from inside the process).

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use corten_auth::UserInfo;
use corten_auth::authn::ClientCertificates;
use corten_auth::authz::Authorizer;
use corten_auth::pki::Identity;
use corten_auth::rbac::RbacAuthorizer;
use corten_auth::request_header::FrontProxies;
use corten_auth::token::{Issuer, Verifier};
use corten_meta::{GroupResource, Status, labels};
use corten_registry::{ListOptions, Registry};
use corten_schema::resources::Selection;
use http::Request;
use http::header::{HeaderValue, USER_AGENT};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::aggregator::Aggregator;
use crate::audit::Auditor;
use crate::authn::Authenticator;
use crate::body::{BoxError, request_body};
use crate::catalog::Catalog;
use crate::connect::Backends;
use crate::custom;
use crate::flowcontrol::FlowControl;
use crate::health::{Health, Kind};
use crate::metrics::Metrics;
use crate::peer::Peer;
use crate::respond::{self, Answer};

/// Settings that are plain values.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `host:port` that clients are told to use.
    pub advertise: String,
    /// Tokens known from the start, with their users.
    pub static_tokens: Vec<(String, UserInfo)>,
    /// Which built-in resources are served; the registry has them.
    pub selection: Selection,
    /// How long requests may take and how many are served at once.
    pub limits: crate::limits::Chosen,
}

/// What a server is made of.
pub struct Config {
    /// The one door to state.
    pub registry: Arc<Registry>,
    /// Judges client certificates.
    pub certificates: ClientCertificates,
    /// Judges authenticating proxies.
    pub front_proxies: FrontProxies,
    /// What this server shows to extension API servers.
    pub proxy_client: Identity,
    /// Checks service-account tokens.
    pub verifier: Arc<Verifier>,
    /// Makes service-account tokens.
    pub issuer: Arc<Issuer>,
    /// Decides.
    pub authorizer: Arc<dyn Authorizer>,
    /// The RBAC member of `authorizer`: lists rules and guards against escalation.
    pub rbac: Arc<RbacAuthorizer>,
    /// Records requests.
    pub audit: Option<Arc<Auditor>>,
    /// Settings.
    pub options: Options,
}

/// Shared state of one server.
pub struct Inner {
    /// See [`Config`].
    pub registry: Arc<Registry>,
    /// See [`Config`].
    pub issuer: Arc<Issuer>,
    /// See [`Config`].
    pub authorizer: Arc<dyn Authorizer>,
    /// See [`Config`].
    pub rbac: Arc<RbacAuthorizer>,
    /// See [`Config`].
    pub options: Options,
    /// Bearer tokens.
    pub authenticator: Authenticator,
    /// The identity of requests without credentials.
    pub anonymous: Arc<UserInfo>,
    /// What is served.
    pub catalog: Catalog,
    /// Health checks.
    pub health: Health,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Records requests, where that is wanted.
    pub audit: Option<Arc<Auditor>>,
    /// Priority and fairness.
    pub flow_control: FlowControl,
    /// What extension API servers serve.
    pub aggregator: Aggregator,
    /// Cancelled when the server goes down: watches end, readiness fails.
    pub stop: CancellationToken,
    /// What watches write.
    pub traffic: Arc<crate::coalesce::Traffic>,
    /// OpenAPI documents with custom kinds in them.
    pub openapi: custom::openapi::Kept,
    backends: ArcSwapOption<Backends>,
}

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct ApiServer(Arc<Inner>);

impl ApiServer {
    /// Puts a server together; nothing listens yet.
    pub fn new(config: Config) -> Self {
        let metrics = Arc::new(Metrics::new());
        let stop = CancellationToken::new();
        let fixed = config.options.static_tokens.clone();
        let inner = Inner {
            catalog: Catalog::builtin(&config.registry, &config.options.selection),
            authenticator: Authenticator::new(
                config.certificates,
                config.front_proxies,
                fixed,
                config.verifier,
                config.registry.clone(),
                metrics.legacy_tokens.clone(),
            ),
            registry: config.registry,
            issuer: config.issuer,
            authorizer: config.authorizer,
            rbac: config.rbac,
            options: config.options,
            audit: config.audit,
            anonymous: Arc::new(UserInfo::anonymous()),
            health: Health::default(),
            flow_control: FlowControl::new(metrics.clone()),
            metrics,
            aggregator: Aggregator::new(config.proxy_client),
            stop: stop.clone(),
            traffic: Arc::default(),
            openapi: custom::openapi::Kept::default(),
            backends: ArcSwapOption::empty(),
        };
        inner.health.add("ping", Kind::All, || Ok(()));
        let (alive, ready) = (inner.registry.clone(), inner.registry.clone());
        inner
            .health
            .add("etcd", Kind::All, move || match alive.store_health() {
                Err(unhealthy) if !unhealthy.readable => Err(unhealthy.reason),
                _ => Ok(()),
            });
        // A full disk takes no writes but does not make the server useless: it is alive, and not ready.
        let store = move || ready.store_health().map_err(|unhealthy| unhealthy.reason);
        inner.health.add("etcd-readiness", Kind::Ready, store);
        let stopping = move || {
            if stop.is_cancelled() {
                Err("process is shutting down".to_owned())
            } else {
                Ok(())
            }
        };
        inner.health.add("shutdown", Kind::Ready, stopping);
        Self(Arc::new(inner))
    }

    /// The shared state.
    pub fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Gives the way to kubelets and pods; until then logs, exec and proxying answer 503.
    pub fn set_backends(&self, backends: Backends) {
        self.0.backends.store(Some(Arc::new(backends)));
    }

    /// Serves one request of a connection.
    pub async fn handle<B>(&self, request: Request<B>, peer: Arc<Peer>) -> Answer
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let (parts, body) = request.into_parts();
        crate::front::serve(self.0.clone(), parts, request_body(body), peer).await
    }

    /// A service for callers in this process, acting as `user`: no socket and no TLS, everything else as for any client.
    pub fn in_process(&self, user: UserInfo) -> InProcess {
        InProcess {
            server: self.clone(),
            peer: Arc::new(Peer::in_process(user.authenticated())),
            agent: None,
        }
    }

    /// Readiness fails and watches end from here on; connections are drained by [`crate::serve`].
    pub fn stop(&self) {
        self.0.stop.cancel();
    }
}

/// See [`ApiServer::in_process`].
#[derive(Clone)]
pub struct InProcess {
    server: ApiServer,
    peer: Arc<Peer>,
    agent: Option<HeaderValue>,
}

impl InProcess {
    /// Says who calls, `kube-scheduler/v1.36.2`: what comes before the slash owns the fields that requests write.
    #[must_use]
    pub fn with_user_agent(mut self, agent: &'static str) -> Self {
        self.agent = Some(HeaderValue::from_static(agent));
        self
    }
}

impl<B> tower::Service<Request<B>> for InProcess
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if let Some(agent) = &self.agent {
            request
                .headers_mut()
                .entry(USER_AGENT)
                .or_insert_with(|| agent.clone());
        }
        let (server, peer) = (self.server.clone(), self.peer.clone());
        // A task of its own, as each request from outside has: who sends many at once has them worked on by all cores. It
        // ends where nobody waits for the answer any more.
        let task = tokio::spawn(async move { server.handle(request, peer).await });
        let task = AbortOnDropHandle::new(task);
        Box::pin(async move {
            let ended = |error| {
                respond::failure(
                    &Status::internal(format!("the request's task ended: {error}")),
                    None,
                    false,
                )
            };
            Ok(task.await.unwrap_or_else(ended))
        })
    }
}

impl Inner {
    /// The way to backends.
    ///
    /// # Errors
    /// 503 before there is one.
    pub fn backends(&self) -> Result<Arc<Backends>, Status> {
        self.backends
            .load_full()
            .ok_or_else(|| Status::service_unavailable("no connection to nodes is configured"))
    }

    /// The registry's handle of a resource.
    ///
    /// # Errors
    /// 404 where it is not stored.
    pub fn stored(
        &self,
        group: &'static str,
        plural: &'static str,
    ) -> Result<corten_registry::Resource, Status> {
        self.registry
            .resource(group, plural)
            .ok_or_else(Status::unknown_path)
    }

    /// One object of another kind, parsed.
    ///
    /// # Errors
    /// 404.
    pub async fn fetch(
        &self,
        group: &'static str,
        plural: &'static str,
        ns: &str,
        name: &str,
    ) -> Result<Value, Status> {
        if name.is_empty() {
            return Err(Status::not_found(&GroupResource::new(group, plural), name));
        }
        self.registry
            .get(&self.stored(group, plural)?, ns, name, "")
            .await?
            .value()
    }

    /// Objects of another kind in a namespace, by label selector.
    ///
    /// # Errors
    /// 400 for a bad selector.
    pub async fn fetch_all(
        &self,
        group: &'static str,
        plural: &'static str,
        ns: &str,
        selector: &str,
    ) -> Result<Vec<Value>, Status> {
        let label_selector = Some(labels::Selector::parse(selector).map_err(Status::bad_request)?);
        let options = ListOptions {
            label_selector,
            resource_version: "0".to_owned(),
            ..ListOptions::default()
        };
        let namespace = (!ns.is_empty()).then_some(ns);
        let page = self
            .registry
            .list(&self.stored(group, plural)?, namespace, &options)
            .await?;
        page.items.iter().map(|o| o.value()).collect()
    }

    /// The text of `/metrics`.
    pub fn metrics_text(&self) -> String {
        let mut text = self.metrics.render();
        self.flow_control.render(&mut text);
        if let Some(audit) = &self.audit {
            audit.render(&mut text);
        }
        crate::metrics::registry_counters(self.registry.metrics(), &mut text);
        crate::metrics::census(self, &mut text);
        text
    }
}
