//! Who is at the other end of a connection, before any request is read.

use std::net::SocketAddr;
use std::sync::Arc;

use corten_auth::UserInfo;
use rustls_pki_types::CertificateDer;

/// The far end of a connection.
#[derive(Debug)]
pub struct Peer {
    /// Its address; none for calls from inside the process.
    pub remote: Option<SocketAddr>,
    /// The user the connection itself proves: by verified client certificate, or given by the process.
    pub user: Option<Arc<UserInfo>>,
    /// True for calls from inside the process.
    pub in_process: bool,
}

impl Peer {
    /// A TLS connection. The handshake has verified `certificates` against the client CA.
    pub fn from_connection(remote: SocketAddr, certificates: &[CertificateDer<'_>]) -> Self {
        let user = certificates.first().and_then(|leaf| match corten_auth::authn::x509_user(leaf) {
            Ok(user) => Some(Arc::new(user)),
            Err(e) => {
                tracing::debug!(%remote, error = %e, "client certificate names no user");
                None
            }
        });
        Self { remote: Some(remote), user, in_process: false }
    }

    /// A caller in this process, acting as `user`.
    pub fn in_process(user: UserInfo) -> Self {
        Self { remote: None, user: Some(Arc::new(user)), in_process: true }
    }
}
