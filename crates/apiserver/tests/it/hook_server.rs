//! A webhook: HTTPS on loopback, answering what a test says and keeping what it was asked.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What a webhook does with a request.
pub enum Reply {
    Json(Value),
    Text(u16, &'static str),
    Never,
}

type Answer = dyn Fn(&str, &Value) -> Reply + Send + Sync;

/// A running webhook.
pub struct Hook {
    pub address: SocketAddr,
    /// For `caBundle`.
    pub ca: String,
    /// The reviews it got, with the paths they came by.
    pub seen: Arc<Mutex<Vec<(String, Value)>>>,
    pub connections: Arc<AtomicUsize>,
    task: tokio::task::JoinHandle<()>,
}

impl Hook {
    pub async fn start(answer: impl Fn(&str, &Value) -> Reply + Send + Sync + 'static) -> Self {
        let names = ["localhost", "127.0.0.1", "hook.default.svc"].map(str::to_owned);
        let key = rcgen::KeyPair::generate().unwrap();
        let certificate = rcgen::CertificateParams::new(names)
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let connections = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(accept(
            listener,
            TlsAcceptor::from(Arc::new(tls)),
            Arc::new(answer),
            seen.clone(),
            connections.clone(),
        ));
        Self {
            address,
            ca: STANDARD.encode(certificate.pem()),
            seen,
            connections,
            task,
        }
    }

    pub fn client_config(&self, path: &str) -> Value {
        json!({"url": format!("https://{}{path}", self.address), "caBundle": self.ca})
    }

    /// A webhook named `NAME.example.com` for everything that happens to config maps.
    pub fn webhook(&self, name: &str) -> Value {
        json!({
            "name": format!("{name}.example.com"),
            "clientConfig": self.client_config(&format!("/{name}")),
            "rules": [{"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        })
    }

    /// What it was asked so far, requests only.
    pub fn requests(&self) -> Vec<Value> {
        self.seen
            .lock()
            .iter()
            .map(|(_, review)| review["request"].clone())
            .collect()
    }

    pub fn paths(&self) -> Vec<String> {
        self.seen
            .lock()
            .iter()
            .map(|(path, _)| path.split('?').next().unwrap_or_default().to_owned())
            .collect()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
    connections: Arc<AtomicUsize>,
) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.fetch_add(1, Ordering::Relaxed);
        let (tls, answer, seen) = (tls.clone(), answer.clone(), seen.clone());
        tokio::spawn(async move {
            let Ok(stream) = tls.accept(stream).await else {
                return;
            };
            let service = service_fn(move |request| reply(request, answer.clone(), seen.clone()));
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn reply(
    request: Request<Incoming>,
    answer: Arc<Answer>,
    seen: Arc<Mutex<Vec<(String, Value)>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let review: Value = serde_json::from_slice(&body).unwrap();
    seen.lock().push((path.clone(), review.clone()));
    Ok(match answer(&path, &review) {
        Reply::Json(value) => Response::builder()
            .header("content-type", "application/json")
            .body(Full::from(value.to_string()))
            .unwrap(),
        Reply::Text(code, text) => Response::builder().status(code).body(Full::from(text)).unwrap(),
        Reply::Never => std::future::pending().await,
    })
}

/// An AdmissionReview with this response.
pub fn review(asked: &Value, mut response: Value) -> Reply {
    response["uid"] = asked["request"]["uid"].clone();
    Reply::Json(json!({"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "response": response}))
}

pub fn allow(asked: &Value) -> Reply {
    review(asked, json!({"allowed": true}))
}

pub fn patch(asked: &Value, operations: &Value) -> Reply {
    let patch = STANDARD.encode(operations.to_string());
    review(
        asked,
        json!({"allowed": true, "patchType": "JSONPatch", "patch": patch}),
    )
}

/// A ConversionReview in which each object has the version asked for, and was changed: `change(object, version)`.
pub fn convert(asked: &Value, change: impl Fn(&mut Value, &str)) -> Reply {
    let request = &asked["request"];
    let version = request["desiredAPIVersion"].as_str().unwrap();
    let mut objects = request["objects"].as_array().unwrap().clone();
    for object in &mut objects {
        object["apiVersion"] = json!(version);
        change(object, version);
    }
    let response =
        json!({"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": objects});
    Reply::Json(
        json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "ConversionReview", "response": response}),
    )
}
