//! Clients of a server reached by a kubeconfig: as its user, and as service accounts by tokens that user may request
//! (upstream's `--use-service-account-credentials`).

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::client::Body;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tower::{BoxError, Service};

use crate::object::path;
use crate::request::{Caller, Error, load};

/// What tokens are asked for; they are asked for again when a fifth of it is left.
const LIFETIME_S: u32 = 3600;

/// The server of a kubeconfig. Cheap to clone; all clients share one pool of connections per identity kind.
#[derive(Clone)]
pub struct Remote {
    own: kube::Client,
    /// Without credentials: each request brings its token.
    bare: kube::Client,
}

impl Remote {
    /// Reads the current context of a kubeconfig file. `agent` is the client's name, as managed fields and audit show it.
    ///
    /// # Errors
    /// When the file cannot be read or does not describe a usable cluster.
    pub async fn open(file: &Path, agent: &str) -> Result<Self, Error> {
        let mut config = load(file).await?;
        let agent = HeaderValue::try_from(agent)
            .map_err(|_| Error::Config(format!("{agent:?} cannot name a client")))?;
        config.headers.push((USER_AGENT, agent));
        let mut bare = config.clone();
        bare.auth_info = kube::config::AuthInfo::default();
        Ok(Self {
            own: kube::Client::try_from(config)?,
            bare: kube::Client::try_from(bare)?,
        })
    }

    /// As the kubeconfig's user.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        self.own.clone()
    }

    /// As a service account, which is made where it is missing.
    #[must_use]
    pub fn service_account(&self, ns: &str, name: &str) -> kube::Client {
        let source = Source {
            caller: self.own.clone().into(),
            ns: ns.into(),
            name: name.into(),
            token: Mutex::default(),
        };
        let service = WithToken {
            inner: self.bare.clone(),
            source: Arc::new(source),
        };
        kube::Client::new(service, "default")
    }
}

struct Source {
    caller: Caller,
    ns: String,
    name: String,
    token: Mutex<Option<(HeaderValue, Instant)>>,
}

#[derive(Deserialize)]
struct Answer {
    status: Granted,
}

#[derive(Deserialize)]
struct Granted {
    token: String,
}

impl Source {
    async fn header(&self) -> Result<HeaderValue, Error> {
        let mut held = self.token.lock().await;
        if let Some((header, _)) = held.as_ref().filter(|(_, until)| Instant::now() < *until) {
            return Ok(header.clone());
        }
        let token = match self.request().await {
            Err(error) if error.is_not_found() => {
                self.make_account().await?;
                self.request().await?
            }
            other => other?,
        };
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Error::Other("the server's token is no header value".into()))?;
        header.set_sensitive(true);
        let until = Instant::now() + Duration::from_secs(LIFETIME_S.into()) * 4 / 5;
        *held = Some((header.clone(), until));
        Ok(header)
    }

    async fn request(&self) -> Result<String, Error> {
        let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": [], "expirationSeconds": LIFETIME_S}});
        let target = path::<ServiceAccount>(&self.ns, &self.name, "token");
        let body = serde_json::to_vec(&body)?;
        let text = self
            .caller
            .send(Method::POST, &target, "application/json", body)
            .await?;
        Ok(serde_json::from_str::<Answer>(&text)?.status.token)
    }

    async fn make_account(&self) -> Result<(), Error> {
        let metadata = ObjectMeta {
            name: Some(self.name.clone()),
            namespace: Some(self.ns.clone()),
            ..ObjectMeta::default()
        };
        let account = ServiceAccount {
            metadata,
            ..ServiceAccount::default()
        };
        match self.caller.create(&account).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }
}

#[derive(Clone)]
struct WithToken {
    inner: kube::Client,
    source: Arc<Source>,
}

impl Service<Request<Body>> for WithToken {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let this = self.clone();
        Box::pin(async move {
            let header = this.source.header().await?;
            request.headers_mut().insert(AUTHORIZATION, header);
            Ok(this.inner.send(request).await?)
        })
    }
}
