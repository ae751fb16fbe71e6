//! Whom a webhook's certificate must come from.

use std::sync::{Arc, LazyLock};

use rustls::ClientConfig as TlsConfig;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use crate::config::ConfigError;
use crate::trust::{self, Bundle};

/// The machine's authorities, read when the first webhook without a `caBundle` is called.
static SYSTEM_ROOTS: LazyLock<Option<Arc<Bundle>>> =
    LazyLock::new(|| Bundle::of(rustls_native_certs::load_native_certs().certs));

/// Trust in the certificates of a bundle. Upstream speaks HTTP/1.1 to services, so that requests spread over
/// endpoints (kubernetes/kubernetes#75791); it is what every webhook speaks.
pub(crate) fn trusting(ca_bundle: &[u8]) -> Result<Arc<TlsConfig>, ConfigError> {
    let bundle = if ca_bundle.is_empty() {
        SYSTEM_ROOTS.clone()
    } else {
        let bundle = Bundle::of(CertificateDer::pem_slice_iter(ca_bundle).flatten());
        Some(bundle.ok_or(ConfigError::CaBundle)?)
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = TlsConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| ConfigError::CaBundle)?;
    let mut config = trust::trusting(builder, bundle).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
