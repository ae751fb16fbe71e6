//! Server-side TLS: ALPN for HTTP/2 and HTTP/1.1; client certificates are asked for, and judged after the handshake.

use std::sync::Arc;

use corten_auth::authn::ClientCertificates;
use corten_auth::pki::{Identity, PkiError};
use corten_webhook::trust;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::connect::KubeletTls;

/// Why a TLS configuration cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The key or the chain is not usable.
    #[error("certificate: {0}")]
    Identity(#[from] rustls::Error),
    /// The certificate or key file does not parse.
    #[error(transparent)]
    Pki(#[from] PkiError),
}

/// Configuration for the API port.
///
/// # Errors
/// Where key or chain do not parse.
pub fn server_config(
    serving: &Identity,
    clients: &ClientCertificates,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut provider = rustls::crypto::ring::default_provider();
    // The server's choice, as Go's: AES with 128 bits takes less time than with 256, which rustls has first.
    let with_128_bits = |suite: &rustls::SupportedCipherSuite| {
        let name = suite.suite().as_str();
        name.is_some_and(|name| name.contains("AES_128"))
    };
    provider.cipher_suites.sort_by_key(|suite| !with_128_bits(suite));
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(clients.tls_verifier())
        .with_single_cert(serving.chain()?, serving.key()?)?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// How the server speaks to kubelets: it shows `identity` and trusts `authority`.
///
/// # Errors
/// Where key, chain or CA do not parse.
pub fn kubelet_tls(identity: &Identity, authority: &CertificateDer<'static>) -> Result<KubeletTls, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(authority.clone())?;
    let builder =
        || ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
    let verified = builder()?
        .with_root_certificates(roots)
        .with_client_auth_cert(identity.chain()?, identity.key()?)?;
    let anyone = Arc::new(Anyone(provider.clone()));
    let unverified = builder()?
        .dangerous()
        .with_custom_certificate_verifier(anyone)
        .with_no_client_auth();
    Ok(KubeletTls {
        verified: Arc::new(verified),
        unverified: Arc::new(unverified),
    })
}

/// How the server speaks to an extension API server or a webhook: it shows `identity` and trusts `bundle` (PEM), or anyone.
///
/// # Errors
/// Where key, chain or bundle do not parse.
pub fn client_tls(
    identity: Option<&Identity>,
    bundle: Option<&[u8]>,
    insecure: bool,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let wants_client = if insecure {
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)))
    } else {
        let mut roots = RootCertStore::empty();
        let mut trusted = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(bundle.unwrap_or_default()) {
            let certificate = certificate.map_err(|e| PkiError::Issue(e.to_string()))?;
            roots.add(certificate.clone())?;
            trusted.push(certificate);
        }
        trust::trusting(builder, trust::Bundle::of(trusted))
    };
    Ok(match identity {
        Some(identity) => wants_client.with_client_auth_cert(identity.chain()?, identity.key()?)?,
        None => wants_client.with_no_client_auth(),
    })
}

/// Takes any server, for `insecureSkipTLSVerifyBackend` and `https:` proxying, as upstream does.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            signed,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
