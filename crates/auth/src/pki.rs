//! The cluster's certificates and keys: what `DIR/pki` holds, made on first start and renewed at later ones.

mod approved;
mod authority;
mod files;
mod identity;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub use authority::{Authority, Subject, Usage};
pub use files::write_private;
pub use identity::Identity;

use crate::token::SigningKey;
use crate::user::{groups, users};

#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path}: {reason}; restore it from a backup, or remove {dir} to make a new cluster identity")]
    Unusable {
        path: PathBuf,
        dir: PathBuf,
        reason: String,
    },
    #[error("certificate could not be made: {0}")]
    Issue(String),
}

/// Every identity of one cluster's control plane. File names are kubeadm's.
pub struct Pki {
    dir: PathBuf,
    /// Signs servers, clients and kubelets.
    pub authority: Authority,
    /// Signs what the API server shows to aggregated API servers.
    pub front_proxy_authority: Authority,
    pub front_proxy_client: Identity,
    /// The API server's own.
    pub serving: Identity,
    /// `kubernetes-admin` in `system:masters`.
    pub admin: Identity,
    pub controller_manager: Identity,
    pub scheduler: Identity,
    /// What the API server shows to kubelets.
    pub kubelet_client: Identity,
    /// Signs service-account tokens.
    pub service_accounts: SigningKey,
}

/// Names and addresses the API server's certificate is for.
#[derive(Clone, Debug, Default)]
pub struct ServingNames {
    pub dns: Vec<String>,
    pub ips: Vec<IpAddr>,
}

impl ServingNames {
    /// The in-cluster names, localhost and this machine, with `service_ip` (the first of the service range) and the
    /// node's addresses.
    pub fn standard(cluster_domain: &str, service_ip: IpAddr, node_ips: &[IpAddr], hostname: &str) -> Self {
        let in_cluster = ["kubernetes", "kubernetes.default", "kubernetes.default.svc"].map(str::to_owned);
        let full = format!("kubernetes.default.svc.{cluster_domain}");
        let mut dns = Vec::from(in_cluster);
        dns.extend([full, "localhost".to_owned(), hostname.to_owned()]);
        dns.retain(|name| !name.is_empty());
        let loopback = [
            IpAddr::from([127, 0, 0, 1]),
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        ];
        let mut ips = vec![service_ip];
        ips.extend(loopback);
        ips.extend(node_ips);
        Self { dns, ips }
    }
}

impl Pki {
    /// Reads `dir`, making what is missing. Leaf certificates that are unreadable, about to expire, of another CA or
    /// without one of `names` are made anew; an unreadable CA or token key is an error, because making a new one would
    /// lock everybody out.
    pub fn load_or_create(dir: &Path, names: &ServingNames) -> Result<Self, PkiError> {
        files::create_dir(dir)?;
        let authority = Authority::load_or_create(dir, "ca", "kubernetes")?;
        let front = Authority::load_or_create(dir, "front-proxy-ca", "front-proxy-ca")?;
        let client = |file: &str, name: &str, groups: &[&str]| {
            authority.load_or_issue(dir, file, &Subject::client(name, groups))
        };
        Ok(Self {
            serving: authority.load_or_issue(dir, "apiserver", &Subject::server("kube-apiserver", names))?,
            admin: client("admin", users::ADMIN, &[groups::MASTERS])?,
            controller_manager: client("controller-manager", users::CONTROLLER_MANAGER, &[])?,
            scheduler: client("scheduler", users::SCHEDULER, &[])?,
            kubelet_client: client(
                "apiserver-kubelet-client",
                "kube-apiserver-kubelet-client",
                &[groups::MASTERS],
            )?,
            front_proxy_client: front.load_or_issue(
                dir,
                "front-proxy-client",
                &Subject::client("front-proxy-client", &[]),
            )?,
            service_accounts: files::load_or_create_signing_key(dir)?,
            front_proxy_authority: front,
            authority,
            dir: dir.to_owned(),
        })
    }

    /// A kubelet's client identity (`system:node:NAME` in `system:nodes`).
    pub fn kubelet(&self, node: &str) -> Result<Identity, PkiError> {
        let name = format!("{}{node}", users::NODE_PREFIX);
        let subject = Subject::client(&name, &[groups::NODES]);
        self.authority
            .load_or_issue(&self.dir, &format!("kubelet-{node}-client"), &subject)
    }

    /// A kubelet's serving identity, for its name and addresses.
    pub fn kubelet_serving(&self, node: &str, ips: &[IpAddr]) -> Result<Identity, PkiError> {
        let names = ServingNames {
            dns: vec![node.to_owned()],
            ips: ips.to_vec(),
        };
        let mut subject = Subject::server(&format!("{}{node}", users::NODE_PREFIX), &names);
        subject.organizations = vec![groups::NODES.to_owned()];
        self.authority
            .load_or_issue(&self.dir, &format!("kubelet-{node}"), &subject)
    }

    /// The CA certificate as PEM: what clients trust, and the content of `kube-root-ca.crt`.
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn names(extra: &[IpAddr]) -> ServingNames {
        ServingNames::standard("cluster.local", IpAddr::from([10, 96, 0, 1]), extra, "host")
    }

    #[test]
    fn everything_is_private_and_survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::load_or_create(dir.path(), &names(&[])).unwrap();
        let kubelet = first.kubelet("a").unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let second = Pki::load_or_create(dir.path(), &names(&[])).unwrap();
        assert_eq!(first.ca_pem(), second.ca_pem());
        assert_eq!(first.serving.certificate_pem(), second.serving.certificate_pem());
        assert_eq!(
            first.service_accounts.public().id(),
            second.service_accounts.public().id()
        );
        assert_eq!(
            kubelet.certificate_pem(),
            second.kubelet("a").unwrap().certificate_pem()
        );
    }

    #[test]
    fn a_new_address_or_a_broken_leaf_makes_a_new_certificate_and_a_broken_ca_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let first = Pki::load_or_create(dir.path(), &names(&[])).unwrap();
        let moved = Pki::load_or_create(dir.path(), &names(&[IpAddr::from([10, 0, 0, 9])])).unwrap();
        assert_ne!(first.serving.certificate_pem(), moved.serving.certificate_pem());
        assert_eq!(first.admin.certificate_pem(), moved.admin.certificate_pem());
        std::fs::write(dir.path().join("admin.crt"), "").unwrap();
        let mended = Pki::load_or_create(dir.path(), &names(&[])).unwrap();
        assert_ne!(first.admin.certificate_pem(), mended.admin.certificate_pem());
        std::fs::write(dir.path().join("ca.key"), "").unwrap();
        assert!(matches!(
            Pki::load_or_create(dir.path(), &names(&[])),
            Err(PkiError::Unusable { .. })
        ));
    }
}
