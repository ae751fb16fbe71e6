//! Store, registry, API server, controllers and scheduler, in this process.

use crate::cli::{ControllerArgs, LoadBalancer, RoleName};
use crate::cluster::Cluster;
use crate::parts::Parts;
use crate::paths::Paths;
use crate::roles::{Candidate, Role};
use crate::serving::Serving;
use crate::{features, keys, roles};
use anyhow::Context;
use corten_apiserver::audit::AuditOptions;
use corten_apiserver::{ApiServer, Features, KubeletDialer, Standard, bootstrap};
use corten_auth::pki::{Pki, ServingNames};
use corten_auth::{UserInfo, kubeconfig, users};
use corten_client::{CancellationToken, Factory, Informer, Object};
use corten_controllers::nodes::lifecycle::Grace;
use corten_registry::{Registry, ResourceInfo};
use corten_stdx::{RealClock, SharedClock};
use corten_store::embedded::{Engine, Options as EngineOptions};
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Name of the kubeconfig context, and of the cluster in it.
pub(crate) const CONTEXT: &str = "corten";
const ADMIN: &str = "corten-admin";

/// How the components call themselves: what comes before the slash is named as the owner of fields they write.
pub(crate) mod agents {
    pub(crate) const CONTROLLERS: &str = "kube-controller-manager/v1.36.2";
    pub(crate) const SCHEDULER: &str = "kube-scheduler/v1.36.2";
    pub(crate) const KUBELET: &str = "kubelet/v1.36.2";
    pub(crate) const PROXY: &str = "kube-proxy/v1.36.2";
    pub(crate) const CORTEN: &str = "corten/v1.36.2";
}

/// Where the API server can be reached.
pub(crate) struct Front {
    pub(crate) listeners: Vec<std::net::TcpListener>,
    /// Where pods and nodes reach it.
    pub(crate) advertise: IpAddr,
    pub(crate) dialer: Arc<dyn KubeletDialer>,
    pub(crate) settings: Settings,
}

/// What flags say of the server and the controllers, for this start only.
pub(crate) struct Settings {
    /// What is audited.
    pub(crate) audit: Option<AuditOptions>,
    /// What is switched on.
    pub(crate) features: Features,
    pub(crate) serving: Serving,
    pub(crate) controllers: ControllerArgs,
}

/// A control plane that runs.
pub(crate) struct ControlPlane {
    pub(crate) api: ApiServer,
    pub(crate) pki: Arc<Pki>,
    parts: Parts,
    /// Whether the controllers are this process's.
    controlled: bool,
}

/// Starts everything and writes the admin kubeconfig; the API is served when this returns.
pub(crate) async fn start(
    cluster: &Cluster,
    paths: &Paths,
    front: Front,
    roles: &[RoleName],
    stop: CancellationToken,
) -> anyhow::Result<ControlPlane> {
    let (pki, registry) = tokio::try_join!(
        pki(cluster, paths, front.advertise),
        open_registry(paths, &front.settings)
    )?;
    let standard = Standard {
        registry,
        cluster: bootstrap::Config {
            service_cidrs: cluster.service_cidrs().map(|range| range.to_string()).collect(),
            service_ip: cluster.kubernetes_ip()?,
            advertise_ip: front.advertise,
            advertise_port: cluster.port,
            client_ca_pem: pki.ca_pem().to_owned(),
            front_proxy_ca_pem: pki.front_proxy_authority.pem().to_owned(),
        },
        issuer: format!("https://kubernetes.default.svc.{}", cluster.domain),
        static_tokens: front.settings.serving.tokens.clone(),
        features: front.settings.features.clone(),
        limits: front.settings.serving.limits,
        audit: front.settings.audit,
        dialer: front.dialer,
    };
    let (api, tls) = standard.start(&pki).await.context("starting the API server")?;
    let listeners = front
        .listeners
        .into_iter()
        .map(TcpListener::from_std)
        .collect::<Result<_, _>>()?;
    let mut parts = Parts::default();
    parts.spawn(
        "api server",
        corten_apiserver::serve(api.clone(), listeners, tls, stop.clone()),
    );
    write_admin(&paths.admin_kubeconfig(), cluster, &pki)?;
    let mut config = controllers_config(cluster, &api, &pki);
    front.settings.controllers.apply(&mut config);
    config.migrates = features::migrates(&front.settings.features);
    start_roles(&mut parts, cluster, &api, config, roles, &stop);
    let controlled = roles.contains(&RoleName::Controllers);
    Ok(ControlPlane {
        api,
        pki,
        parts,
        controlled,
    })
}

fn client(api: &ApiServer, user: UserInfo, agent: &'static str) -> kube::Client {
    corten_client::in_process(api.in_process(user).with_user_agent(agent))
}

impl ControlPlane {
    /// A client inside this process, of one of the [`agents`].
    pub(crate) fn client(&self, user: UserInfo, agent: &'static str) -> kube::Client {
        client(&self.api, user, agent)
    }

    /// Resolves once pods can be made: the default service account and the CA they need are in the default namespace.
    /// At once if that is left to another process's controllers.
    pub(crate) async fn accepts_pods(&self, stop: &CancellationToken) {
        if !self.controlled {
            return;
        }
        let stop = stop.child_token();
        let factory = Factory::new(
            self.client(UserInfo::new(users::CONTROLLER_MANAGER, []), agents::CONTROLLERS),
            stop.clone(),
        );
        let accounts = factory.filtered::<ServiceAccount>("fieldSelector=metadata.name%3Ddefault");
        let bundles = factory.filtered::<ConfigMap>("fieldSelector=metadata.name%3Dkube-root-ca.crt");
        tokio::join!(
            until(&accounts, |a| !a.in_namespace("default").is_empty()),
            until(&bundles, |b| !b.in_namespace("default").is_empty())
        );
        stop.cancel();
    }

    /// Readiness fails and watches end; call before the token is cancelled, so that clients hear of it.
    pub(crate) fn stopping(&self) {
        self.api.stop();
    }

    pub(crate) async fn ended(self) {
        self.parts.ended().await;
    }
}

/// Resolves once the informer's cache is as wanted.
pub(crate) async fn until<K: Object>(informer: &Informer<K>, wanted: impl Fn(&Informer<K>) -> bool) {
    let changed = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&changed);
    informer.on_event(move |_| notify.notify_one());
    while !wanted(informer) {
        changed.notified().await;
    }
}

async fn pki(cluster: &Cluster, paths: &Paths, advertise: IpAddr) -> anyhow::Result<Arc<Pki>> {
    let names = ServingNames::standard(
        &cluster.domain,
        cluster.kubernetes_ip()?,
        &[advertise],
        &cluster.node_name,
    );
    let dir = paths.pki();
    let pki = tokio::task::spawn_blocking(move || Pki::load_or_create(&dir, &names)).await?;
    Ok(Arc::new(pki.context("the cluster's certificates")?))
}

async fn open_registry(paths: &Paths, settings: &Settings) -> anyhow::Result<Arc<Registry>> {
    let store = Engine::open(paths.store(), EngineOptions::default())
        .await
        .context("opening the store")?;
    let mut resources = ResourceInfo::selected(&settings.features.selection);
    settings.serving.keep_events(&mut resources);
    let options = corten_registry::Options {
        resources,
        ..corten_registry::Options::default()
    };
    Registry::open(Arc::new(store), options)
        .await
        .context("reading the store")
}

fn controllers_config(cluster: &Cluster, api: &ApiServer, pki: &Arc<Pki>) -> corten_controllers::Config {
    let accounts = api.clone();
    let identities = move |account: &str| {
        let user = UserInfo::service_account("kube-system", account, "");
        client(&accounts, user, agents::CONTROLLERS)
    };
    corten_controllers::Config {
        root_ca: pki.ca_pem().to_owned(),
        cluster_cidrs: vec![cluster.cluster_cidr],
        grace: Grace {
            monitor: cluster.node_monitor_grace(),
            ..Grace::default()
        },
        identities: Some(Arc::new(identities)),
        keys: keys::of_cluster(pki),
        load_balancer: cluster.service_load_balancer != Some(LoadBalancer::None),
        ..corten_controllers::Config::new(RealClock::shared())
    }
}

fn start_roles(
    parts: &mut Parts,
    cluster: &Cluster,
    api: &ApiServer,
    config: corten_controllers::Config,
    names: &[RoleName],
    stop: &CancellationToken,
) {
    let clock: SharedClock = config.clock.clone();
    let as_user = |name: &str, agent: &'static str| client(api, UserInfo::new(name, []), agent);
    let controllers = as_user(users::CONTROLLER_MANAGER, agents::CONTROLLERS);
    let factory = Factory::new(controllers.clone(), stop.clone());
    let mut roles = Vec::new();
    if names.contains(&RoleName::Controllers) {
        roles.push(Role::controllers(controllers, config));
    }
    if names.contains(&RoleName::Scheduler) {
        roles.push(Role::scheduler(
            as_user(users::SCHEDULER, agents::SCHEDULER),
            clock.clone(),
        ));
    }
    let candidate = Candidate::near(&cluster.node_name, &cluster.id, clock);
    roles::spawn(parts, roles, &candidate, &factory, stop);
}

fn write_admin(path: &Path, cluster: &Cluster, pki: &Pki) -> anyhow::Result<()> {
    with_entry(cluster, pki, |entry| kubeconfig::write(path, entry)).context("writing the admin kubeconfig")
}

/// Calls `f` with the administrator's kubeconfig entry.
pub(crate) fn with_entry<T>(cluster: &Cluster, pki: &Pki, f: impl FnOnce(&kubeconfig::Entry<'_>) -> T) -> T {
    let server = server_url(cluster);
    f(&kubeconfig::Entry {
        name: CONTEXT,
        user: ADMIN,
        server: &server,
        ca_pem: pki.ca_pem(),
        identity: &pki.admin,
    })
}

/// Where users on this machine find the API server.
pub(crate) fn server_url(cluster: &Cluster) -> String {
    format!("https://127.0.0.1:{}", cluster.port)
}
