//! A certificate with its private key.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::PkiError;

/// PEM of a certificate and of its key.
#[derive(Clone)]
pub struct Identity {
    certificate: String,
    key: String,
}

impl Identity {
    pub fn new(certificate: String, key: String) -> Self {
        Self { certificate, key }
    }

    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    pub fn key_pem(&self) -> &str {
        &self.key
    }

    /// For rustls.
    pub fn chain(&self) -> Result<Vec<CertificateDer<'static>>, PkiError> {
        let certificates = CertificateDer::pem_slice_iter(self.certificate.as_bytes());
        certificates
            .collect::<Result<_, _>>()
            .map_err(|error| PkiError::Issue(error.to_string()))
    }

    /// For rustls.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).map_err(|error| PkiError::Issue(error.to_string()))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}
