//! Who is at the other end of a connection, before any request is read.

use std::net::SocketAddr;
use std::sync::Arc;

use corten_auth::UserInfo;
use corten_auth::authn::ClientCertificates;
use corten_auth::request_header::FrontProxies;
use rustls_pki_types::CertificateDer;

use crate::authn::unix_seconds;

/// What the connection itself proves.
#[derive(Debug)]
pub enum Proof {
    /// This user: by client certificate, or given by the process.
    User(Arc<UserInfo>),
    /// A certificate that is not good, and why. A good token makes up for it.
    Refused(String),
    /// Nothing.
    None,
}

/// The far end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address; none for calls from inside the process.
    pub remote: Option<SocketAddr>,
    /// See [`Proof`].
    pub proof: Proof,
    /// True where it is an authenticating proxy whose identity headers are believed.
    pub front_proxy: bool,
}

impl Peer {
    /// A TLS connection; the handshake has shown that the client holds the key of `certificates`.
    pub fn from_connection(
        remote: SocketAddr,
        certificates: &[CertificateDer<'_>],
        authorities: &ClientCertificates,
        proxies: &FrontProxies,
    ) -> Self {
        let now_s = unix_seconds();
        let proof = match authorities.user(certificates, now_s) {
            Ok(Some(user)) => Proof::User(Arc::new(user)),
            Ok(None) => Proof::None,
            Err(e) => Proof::Refused(e.to_string()),
        };
        Self {
            remote: Some(remote),
            front_proxy: proxies.trust(certificates, now_s),
            proof,
        }
    }

    /// A caller in this process, acting as `user`.
    pub fn in_process(user: UserInfo) -> Self {
        Self {
            remote: None,
            front_proxy: false,
            proof: Proof::User(Arc::new(user)),
        }
    }
}
