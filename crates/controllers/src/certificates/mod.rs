//! CertificateSigningRequests: kubelets' are approved by their rights, approved ones are signed, old ones removed.

pub mod plan;
pub mod request;

use std::sync::Arc;
use std::time::Duration;

use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, path};
use corten_client::{Error, Informer, Key, Queue};
use http::Method;
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use serde::Deserialize;
use serde_json::json;

use self::plan::Claim;
use self::request::Request;
use crate::core::context::queue_self;
use crate::core::{Context, Executor, Write};
use crate::keys::CertificateSigner;

const WORKERS: usize = 2;
/// A recognized request whose author lacks the right is looked at again, as rights may be given later: soon at first,
/// then at twice its age (upstream's back-off of the key).
const AGAIN_MIN: Duration = Duration::from_millis(200);
const AGAIN_MAX: Duration = Duration::from_secs(1000);

#[derive(Deserialize)]
struct Reviewed {
    status: Verdict,
}

#[derive(Deserialize)]
struct Verdict {
    #[serde(default)]
    allowed: bool,
}

struct Controller {
    context: Context,
    executor: Executor,
    requests: Informer<CertificateSigningRequest>,
    signer: Option<Arc<dyn CertificateSigner>>,
}

/// Runs the controllers until their context stops. Without a signer, approved requests wait for someone else's.
pub async fn run(context: Context, signer: Option<Arc<dyn CertificateSigner>>) {
    let requests = context.factory.informer::<CertificateSigningRequest>();
    let queue: Queue<Key> = Queue::new("certificate");
    queue_self(&requests, &queue);
    requests.synced().await;
    let stop = context.stop.clone();
    let this = Arc::new(Controller {
        executor: context.executor("certificate-controller"),
        context,
        requests,
        signer,
    });
    driver::run("certificate", queue, WORKERS, stop, move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let now = self.context.now();
        let Some(csr) = self.requests.get_key(key).filter(|c| !c.metadata.terminating()) else {
            return Ok(Next::Done);
        };
        let left = plan::left(&csr, now);
        if left == Some(Duration::ZERO) {
            let gone = Write::delete(&*csr).into();
            return self.executor.apply(vec![gone], None).await.map(|()| Next::Done);
        }
        let again = self.approve(&csr, now).await?;
        if let Some(signer) = &self.signer {
            let signed = plan::signature(&csr, &**signer, now).map_err(Error::Other)?;
            self.executor.apply(signed.into_iter().collect(), None).await?;
        }
        // Deadlines are of whole seconds and must have passed.
        let left = left.map(|left| left + Duration::from_secs(1));
        Ok(again
            .into_iter()
            .chain(left)
            .min()
            .map_or(Next::Done, Next::After))
    }

    /// Approves what its author may have; returns when to try again if the author may not.
    async fn approve(
        &self,
        csr: &CertificateSigningRequest,
        now: Timestamp,
    ) -> Result<Option<Duration>, Error> {
        if !plan::undecided(csr) {
            return Ok(None);
        }
        let request = Request::parse(&csr.spec.request.0).map_err(|error| {
            Error::Other(format!("unable to parse csr {:?}: {error}", csr.metadata.name()))
        })?;
        let claims = plan::claims(csr, &request);
        for claim in &claims {
            if self.may(csr, *claim).await? {
                let approval = plan::approval(csr, *claim);
                self.executor.apply(vec![approval], None).await?;
                return Ok(None);
            }
        }
        let created = csr.metadata.creation_timestamp.as_ref().map_or(now, |t| t.0);
        let age = now.duration_since(created).unsigned_abs();
        Ok((!claims.is_empty()).then(|| age.clamp(AGAIN_MIN, AGAIN_MAX)))
    }

    async fn may(&self, csr: &CertificateSigningRequest, claim: Claim) -> Result<bool, Error> {
        let spec = &csr.spec;
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {
            "user": spec.username, "uid": spec.uid, "groups": spec.groups, "extra": spec.extra,
            "resourceAttributes": {"group": "certificates.k8s.io", "resource": "certificatesigningrequests",
                "verb": "create", "subresource": claim.subresource, "version": "*"}}});
        let target = path::<SubjectAccessReview>("", "", "");
        let body = serde_json::to_vec(&review)?;
        let caller = &self.executor.caller;
        let text = caller
            .send(Method::POST, &target, "application/json", body)
            .await?;
        Ok(serde_json::from_str::<Reviewed>(&text)?.status.allowed)
    }
}
