//! Pulling from registries.

use super::{Error, ImageRecord, ImageStore, ProgressFn, PullError, Reference};
use crate::cri::AuthConfig;
use std::collections::BTreeSet;

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// `host[:port]` of registries that are spoken to in plain HTTP. Loopback hosts always may be.
    pub plain_http: BTreeSet<String>,
}

pub async fn pull(
    _store: &ImageStore,
    reference: &Reference,
    _auth: Option<&AuthConfig>,
    _options: &PullOptions,
    _progress: &ProgressFn,
) -> Result<ImageRecord, Error> {
    let message = "pulling is not built yet".to_owned();
    Err(Error::Pull {
        image: reference.to_string(),
        message,
        kind: PullError::Other,
    })
}
