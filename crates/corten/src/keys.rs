//! Signatures for controllers, with the keys of this cluster or with files an operator names.

use crate::cli::ServerArgs;
use anyhow::{Context, anyhow};
use corten_auth::pki::{Authority, Pki};
use corten_auth::token::{Issuer, Reference, SigningKey};
use corten_controllers::keys::{CertificateSigner, Keys, TokenSigner};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::jiff::Timestamp;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The keys of the cluster in this process.
pub(crate) fn of_cluster(pki: &Arc<Pki>) -> Keys {
    Keys {
        certificates: Some(Arc::new(OfCluster(Arc::clone(pki)))),
        tokens: Some(Arc::new(Tokens::new(pki.service_accounts.clone()))),
    }
}

/// The keys that flags name.
pub(crate) struct KeyFiles;

impl KeyFiles {
    pub(crate) fn read(args: &ServerArgs) -> anyhow::Result<Keys> {
        let mut keys = Keys::default();
        if let Some(file) = &args.service_account_private_key_file {
            let key = SigningKey::from_pem(&text(file)?).with_context(|| file.display().to_string())?;
            keys.tokens = Some(Arc::new(Tokens::new(key)));
        }
        if let (Some(certificate), Some(key)) =
            (&args.cluster_signing_cert_file, &args.cluster_signing_key_file)
        {
            let authority = Authority::from_pem(&text(certificate)?, &text(key)?)
                .map_err(|reason| anyhow!("{}: {reason}", certificate.display()))?;
            keys.certificates = Some(Arc::new(OfFiles(authority)));
        }
        Ok(keys)
    }
}

fn text(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| file.display().to_string())
}

struct OfCluster(Arc<Pki>);
struct OfFiles(Authority);

fn sign(
    authority: &Authority,
    request: &[u8],
    usages: &[String],
    lifetime: Duration,
    now: Timestamp,
) -> Result<String, String> {
    let lifetime_s = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
    authority
        .sign_approved(request, usages, lifetime_s, now)
        .map_err(|error| error.to_string())
}

impl CertificateSigner for OfCluster {
    fn sign(&self, pem: &[u8], usages: &[String], life: Duration, now: Timestamp) -> Result<String, String> {
        sign(&self.0.authority, pem, usages, life, now)
    }
}

impl CertificateSigner for OfFiles {
    fn sign(&self, pem: &[u8], usages: &[String], life: Duration, now: Timestamp) -> Result<String, String> {
        sign(&self.0, pem, usages, life, now)
    }
}

struct Tokens(Issuer);

impl Tokens {
    fn new(key: SigningKey) -> Self {
        // Tokens of secrets name an issuer of their own.
        Self(Issuer::new("", key))
    }
}

impl TokenSigner for Tokens {
    fn sign(&self, account: &ServiceAccount, secret: &str) -> Result<String, String> {
        let meta = &account.metadata;
        let reference = Reference {
            name: meta.name.clone().unwrap_or_default(),
            uid: meta.uid.clone().unwrap_or_default(),
        };
        let namespace = meta.namespace.as_deref().unwrap_or_default();
        self.0
            .sign_legacy(namespace, &reference, secret)
            .map_err(|error| error.to_string())
    }
}
