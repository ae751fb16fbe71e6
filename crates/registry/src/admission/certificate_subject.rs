//! `CertificateSubjectRestriction`: nobody becomes a member of `system:masters` by a certificate of the API server.

use async_trait::async_trait;
use corten_meta::Result;
use serde_json::Value;

use super::{Admission, Attributes, Operation};
use crate::context::WriteContext;
use crate::registry::Registry;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";
const MASTERS: &str = "system:masters";

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct CertificateSubjectRestriction;

#[async_trait]
impl Admission for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, operation: Operation) -> bool {
        operation == Operation::Create
    }

    async fn validate(
        &self,
        _: &Registry,
        _: &WriteContext,
        attributes: &Attributes<'_>,
        request: &Value,
    ) -> Result<()> {
        let ours = attributes.is_plain("certificates.k8s.io", "certificatesigningrequests");
        let organizations = || crate::strategy::organizations(request);
        if ours
            && request["spec"]["signerName"] == SIGNER
            && organizations().iter().any(|name| name == MASTERS)
        {
            let error = format!("use of {SIGNER} signer with {MASTERS} group is not allowed");
            return Err(attributes.forbidden(request, error));
        }
        Ok(())
    }
}
