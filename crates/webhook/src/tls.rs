//! Whom a webhook's certificate must come from.

use std::sync::{Arc, LazyLock};

use rustls::{ClientConfig as TlsConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::ConfigError;

/// The machine's authorities, read when the first webhook without a `caBundle` is called.
static SYSTEM_ROOTS: LazyLock<Arc<RootCertStore>> = LazyLock::new(|| {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    Arc::new(roots)
});

/// Trust in the certificates of a bundle. Upstream speaks HTTP/1.1 to services, so that requests spread over
/// endpoints (kubernetes/kubernetes#75791); it is what every webhook speaks.
pub(crate) fn trusting(ca_bundle: &[u8]) -> Result<Arc<TlsConfig>, ConfigError> {
    let roots = if ca_bundle.is_empty() {
        SYSTEM_ROOTS.clone()
    } else {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_bundle).flatten() {
            // One that does not parse cannot have signed anything.
            let _ = roots.add(certificate);
        }
        if roots.is_empty() {
            return Err(ConfigError::CaBundle);
        }
        Arc::new(roots)
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = TlsConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ConfigError::CaBundle)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
