//! A server put together the usual way: the cluster's PKI, RBAC and node authorization fed from the registry, and the
//! bootstrap objects. What the binary and the tests start.

use std::sync::Arc;

use corten_auth::UserInfo;
use corten_auth::authn::ClientCertificates;
use corten_auth::authz::Union;
use corten_auth::node::NodeAuthorizer;
use corten_auth::pki::Pki;
use corten_auth::rbac::RbacAuthorizer;
use corten_auth::request_header::FrontProxies;
use corten_auth::token::{Issuer, Verifier};
use corten_meta::Status;
use corten_registry::Registry;
use corten_schema::resources::Selection;
use rustls::ServerConfig;

use crate::aggregator;
use crate::audit::{AuditError, AuditOptions, Auditor};
use crate::bootstrap::{self, PolicyFeed};
use crate::connect::{Backends, KubeletDialer};
use crate::flowcontrol;
use crate::limits;
use crate::server::{ApiServer, Config, Options};
use crate::tls;

/// What is switched on of that which upstream has off by default.
#[derive(Debug, Clone, Default)]
pub struct Features {
    /// Groups and versions (`--runtime-config`); the registry is opened with the same.
    pub selection: Selection,
    /// The gate StorageVersionMigrator: its controller has a role.
    pub storage_version_migrator: bool,
}

/// What a standard server is made from.
pub struct Standard {
    /// The one door to state.
    pub registry: Arc<Registry>,
    /// What the bootstrap objects say.
    pub cluster: bootstrap::Config,
    /// `https://kubernetes.default.svc.CLUSTER-DOMAIN`: issuer and audience of service-account tokens.
    pub issuer: String,
    /// Tokens known from the start, with their users.
    pub static_tokens: Vec<(String, UserInfo)>,
    /// What is switched on.
    pub features: Features,
    /// How long requests may take and how many are served at once.
    pub limits: limits::Chosen,
    /// What is audited; nothing where there is none.
    pub audit: Option<AuditOptions>,
    /// The way to kubelets and pods.
    pub dialer: Arc<dyn KubeletDialer>,
}

/// Why a server cannot be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Key or certificate.
    #[error(transparent)]
    Tls(#[from] tls::TlsError),
    /// The client CA.
    #[error(transparent)]
    ClientCa(#[from] corten_auth::authn::CertificateError),
    /// The audit log.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// A bootstrap write.
    #[error("bootstrap: {0}")]
    Bootstrap(#[from] Status),
}

impl Standard {
    /// Writes the bootstrap objects, takes in the policy and gives a server with the TLS configuration of its port.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(self, pki: &Pki) -> Result<(ApiServer, Arc<ServerConfig>), StartError> {
        let (rbac, node) = (Arc::new(RbacAuthorizer::new()), Arc::new(NodeAuthorizer::new()));
        let certificates = ClientCertificates::new(&[pki.authority.certificate()])?;
        let front_proxy_ca = pki.front_proxy_authority.certificate();
        let front_proxies = FrontProxies::new(&[front_proxy_ca], &[bootstrap::FRONT_PROXY_NAME])?;
        let tls = tls::server_config(&pki.serving, &certificates)?;
        let key = pki.service_accounts.clone();
        let keys = vec![key.public().clone()];
        let issuer = self.issuer.clone();
        let verifier = Verifier::new(vec![issuer.clone()], keys, vec![issuer.clone()]);
        let (address, port) = (self.cluster.advertise_ip, self.cluster.advertise_port);
        let server = ApiServer::new(Config {
            registry: self.registry.clone(),
            certificates,
            front_proxies,
            proxy_client: pki.front_proxy_client.clone(),
            verifier: Arc::new(verifier),
            issuer: Arc::new(Issuer::new(issuer, key)),
            authorizer: Arc::new(Union::standard(node.clone(), rbac.clone())),
            rbac: rbac.clone(),
            audit: self.audit.map(Auditor::start).transpose()?.map(Arc::new),
            options: Options {
                advertise: std::net::SocketAddr::new(address, port).to_string(),
                static_tokens: self.static_tokens,
                selection: self.features.selection.clone(),
                limits: self.limits,
            },
        });
        bootstrap::run(&self.registry, &self.cluster, &self.features).await?;
        PolicyFeed::start(&self.registry, rbac, node, &server.inner().stop).await?;
        bootstrap::repair::start(&self.registry, &server.inner().stop);
        bootstrap::token_tracking::start(&self.registry, &server.inner().stop)?;
        bootstrap::identity::start(&self.registry, &server.inner().stop);
        let kubelet_tls = tls::kubelet_tls(&pki.kubelet_client, &pki.authority.certificate())?;
        server.set_backends(Backends {
            dialer: self.dialer,
            tls: kubelet_tls,
            stop: server.inner().stop.clone(),
        });
        flowcontrol::start(server.inner()).await?;
        aggregator::start(server.inner()).await?;
        let conversions = crate::webhooks::conversions(server.inner());
        crate::custom::start(server.inner(), conversions).await?;
        // Last: a webhook that cannot be reached does not keep the server from starting.
        crate::webhooks::install(server.inner());
        Ok((server, tls))
    }
}
