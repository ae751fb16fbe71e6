//! The cluster's keys as controllers use them: they ask for signatures and never hold a key.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccount;

/// The authority of clients and kubelets.
pub trait CertificateSigner: Send + Sync {
    /// The certificate (PEM) for a request (PEM) with these usages (upstream's words), valid from `now` for `lifetime` at
    /// most.
    ///
    /// # Errors
    /// Why it cannot be signed, in words.
    fn sign(
        &self,
        request: &[u8],
        usages: &[String],
        lifetime: Duration,
        now: Timestamp,
    ) -> Result<String, String>;
}

/// The key of service accounts.
pub trait TokenSigner: Send + Sync {
    /// The token of an account that lives as long as the secret of this name.
    ///
    /// # Errors
    /// Why it cannot be signed, in words.
    fn sign(&self, account: &ServiceAccount, secret: &str) -> Result<String, String>;
}

/// What of it this process has; controllers that lack theirs leave their work to others.
#[derive(Clone, Default)]
pub struct Keys {
    pub certificates: Option<Arc<dyn CertificateSigner>>,
    pub tokens: Option<Arc<dyn TokenSigner>>,
}
