//! Requests to the API server: the client over a transport, and typed verbs on it.

use http::header::{HeaderValue, USER_AGENT};
use http::{Method, Request, Response};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta};
use kube::client::Body;
use kube::core::Status;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tower::{BoxError, Service};

use crate::object::{MetaExt, Partial, path};
use crate::watch::encode;

/// A client that calls `service` in this process: no socket, no TLS, the identity is the service's.
///
/// Requests carry a path and query only (`/api/v1/pods?watch=1`), no authority.
pub fn in_process<S, B>(service: S) -> kube::Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = bytes::Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    kube::Client::new(service, "default")
}

/// A client for the current context of a kubeconfig file; `agent` says whose it is, `kubelet/v1.36.2`.
///
/// # Errors
/// When the file cannot be read or does not describe a usable cluster.
pub async fn from_kubeconfig(file: &std::path::Path, agent: &'static str) -> Result<kube::Client, Error> {
    let mut config = load(file).await?;
    config.headers.push((USER_AGENT, HeaderValue::from_static(agent)));
    Ok(kube::Client::try_from(config)?)
}

pub(crate) async fn load(file: &std::path::Path) -> Result<kube::Config, Error> {
    let config = kube::config::Kubeconfig::read_from(file).map_err(|e| Error::Config(e.to_string()))?;
    let options = kube::config::KubeConfigOptions::default();
    let mut config = kube::Config::from_custom_kubeconfig(config, &options)
        .await
        .map_err(|e| Error::Config(e.to_string()))?;
    // Watches are silent for as long as nothing happens.
    config.read_timeout = None;
    Ok(config)
}

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused, with its Status.
    #[error("{}", .0.message)]
    Api(Box<Status>),
    /// The request did not reach the server, or the answer did not reach us.
    #[error("request failed: {0}")]
    Transport(kube::Error),
    /// The answer was not what the API promises.
    #[error("undecodable answer: {0}")]
    Decode(#[from] serde_json::Error),
    /// The client could not be made.
    #[error("kubeconfig: {0}")]
    Config(String),
    /// A reconciler cannot go on, for a reason of its own.
    #[error("{0}")]
    Other(String),
}

impl From<kube::Error> for Error {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => Self::Api(status),
            other => Self::Transport(other),
        }
    }
}

impl Error {
    /// The HTTP status code of the server's answer; 0 if there was none.
    #[must_use]
    pub fn code(&self) -> u16 {
        match self {
            Self::Api(status) => status.code,
            _ => 0,
        }
    }
    /// The machine-readable reason of the server's answer.
    #[must_use]
    pub fn reason(&self) -> &str {
        match self {
            Self::Api(status) => &status.reason,
            _ => "",
        }
    }
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == 404
    }
    #[must_use]
    pub fn is_already_exists(&self) -> bool {
        self.reason() == "AlreadyExists"
    }
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.reason() == "Conflict"
    }
    /// Whether the namespace of a create is going away (cause `NamespaceTerminating`).
    #[must_use]
    pub fn is_namespace_terminating(&self) -> bool {
        let Self::Api(status) = self else { return false };
        let causes = status.details.iter().flat_map(|d| &d.causes);
        causes.into_iter().any(|c| c.reason == "NamespaceTerminating")
    }
}

/// The content types of patches.
pub const MERGE_PATCH: &str = "application/merge-patch+json";
/// Patches that merge lists by the keys the schema declares.
pub const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
/// RFC 6902.
pub const JSON_PATCH: &str = "application/json-patch+json";

const METADATA: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// Objects asked for at a time where only their metadata matters.
const PAGE: usize = 500;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: ListMeta,
    /// Null in an empty PartialObjectMetadataList of upstream's server.
    #[serde(default)]
    items: Option<Vec<Partial>>,
}

/// Typed verbs over `kube::Client`, without a copy of the object on the way.
#[derive(Clone)]
pub struct Caller {
    client: kube::Client,
}

impl From<kube::Client> for Caller {
    fn from(client: kube::Client) -> Self {
        Self { client }
    }
}

impl Caller {
    /// The client underneath.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// Sends one request and returns the body of a successful answer.
    ///
    /// # Errors
    /// As the server answers, or when it cannot be reached.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content: &str,
        body: Vec<u8>,
    ) -> Result<String, Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("Accept", "application/json");
        if !body.is_empty() {
            request = request.header("Content-Type", content);
        }
        let request = request.body(body).map_err(|e| Error::Other(e.to_string()))?;
        Ok(self.client.request_text(request).await?)
    }

    /// The metadata of all objects of a collection, in pages.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn metadata(&self, collection: &str) -> Result<Vec<Partial>, Error> {
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let (page, more) = self.metadata_page(collection, next.as_deref()).await?;
            all.extend(page);
            match more {
                None => return Ok(all),
                more => next = more,
            }
        }
    }

    /// The metadata of some objects of a collection, from where a page before ended, and where this one ends if there are more.
    ///
    /// # Errors
    /// As the server answers; 410 where the page before is too long ago.
    pub async fn metadata_page(
        &self,
        collection: &str,
        from: Option<&str>,
    ) -> Result<(Vec<Partial>, Option<String>), Error> {
        let from = from.map_or_else(String::new, |token| format!("&continue={}", encode(token)));
        let request = Request::get(format!("{collection}?limit={PAGE}{from}"))
            .header("Accept", METADATA)
            .body(Vec::new())
            .map_err(|e| Error::Other(e.to_string()))?;
        let page: Page = serde_json::from_str(&self.client.request_text(request).await?)?;
        let more = page.metadata.continue_.filter(|c| !c.is_empty());
        Ok((page.items.unwrap_or_default(), more))
    }

    async fn typed<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        let text = self
            .send(method, path, "application/json", serde_json::to_vec(body)?)
            .await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Reads whatever `path` holds.
    ///
    /// # Errors
    /// As the server answers, or when the answer is not a `T`.
    pub async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        Ok(serde_json::from_str(
            &self.send(Method::GET, path, "", Vec::new()).await?,
        )?)
    }

    /// Reads one object.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn get<K>(&self, ns: &str, name: &str) -> Result<K, Error>
    where
        K: k8s_openapi::Resource + DeserializeOwned,
    {
        self.read(&path::<K>(ns, name, "")).await
    }

    /// Creates an object in the namespace its metadata names.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn create<K>(&self, object: &K) -> Result<K, Error>
    where
        K: k8s_openapi::Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned,
    {
        self.typed(Method::POST, &path::<K>(object.metadata().ns(), "", ""), object)
            .await
    }

    /// Replaces an object; its resourceVersion guards against lost updates.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn update<K>(&self, object: &K) -> Result<K, Error>
    where
        K: k8s_openapi::Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned,
    {
        let meta = object.metadata();
        self.typed(Method::PUT, &path::<K>(meta.ns(), meta.name(), ""), object)
            .await
    }

    /// Replaces an object's status.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn update_status<K>(&self, object: &K) -> Result<K, Error>
    where
        K: k8s_openapi::Metadata<Ty = ObjectMeta> + Serialize + DeserializeOwned,
    {
        let meta = object.metadata();
        self.typed(Method::PUT, &path::<K>(meta.ns(), meta.name(), "status"), object)
            .await
    }

    /// Patches what `path` names with a body of the given content type.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn patch(&self, path: &str, content: &str, body: &serde_json::Value) -> Result<String, Error> {
        self.send(Method::PATCH, path, content, serde_json::to_vec(body)?)
            .await
    }

    /// Deletes what `path` names, with `DeleteOptions` as the body.
    ///
    /// # Errors
    /// As the server answers.
    pub async fn delete(&self, path: &str, options: &serde_json::Value) -> Result<String, Error> {
        self.send(
            Method::DELETE,
            path,
            "application/json",
            serde_json::to_vec(options)?,
        )
        .await
    }
}
