//! Against Debian's docker-registry on loopback.

use crate::fixture::{busybox_layer, config, node_architecture, sha256};
use corten_runtime::cri::AuthConfig;
use corten_runtime::image::{self, Error, ImageStore, Progress, PullError, PullOptions, Reference};
use oci_client::client::{Client, ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::secrets::RegistryAuth;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// `user` / `secret`.
const HTPASSWD: &str = "user:$2b$04$UuQDOdS1W/6pzisUsdyx9.GzqEJVaG.yAQibAcjLqJLj/NjCJ0wXi\n";

struct Registry {
    child: Child,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Registry {
    fn start(with_password: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("htpasswd"), HTPASSWD).unwrap();
        let mut config = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: {address}\n",
            path("data").display()
        );
        if with_password {
            config.push_str(&format!(
                "auth:\n  htpasswd:\n    realm: test\n    path: {}\n",
                path("htpasswd").display()
            ));
        }
        std::fs::write(path("config.yml"), config).unwrap();
        let child = Command::new("docker-registry")
            .arg("serve")
            .arg(path("config.yml"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("apt-get install docker-registry");
        let began = Instant::now();
        while TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_err() {
            assert!(
                began.elapsed() < Duration::from_secs(20),
                "docker-registry does not listen"
            );
            std::thread::yield_now();
        }
        Self {
            child,
            address,
            _dir: dir,
        }
    }

    fn name(&self, image: &str) -> Reference {
        Reference::parse(&format!("{}/{image}", self.address)).unwrap()
    }

    /// Returns the manifest's digest.
    async fn push(&self, image: &str, architecture: &str, auth: &RegistryAuth) -> String {
        let layer = busybox_layer();
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&layer).unwrap();
        let kind = "application/vnd.docker.image.rootfs.diff.tar.gzip";
        let layers = [ImageLayer::new(encoder.finish().unwrap(), kind.into(), None)];
        let config = config(architecture, &[&layer], serde_json::json!({ "Cmd": ["sh"] }));
        let config = Config::new(
            config,
            "application/vnd.docker.container.image.v1+json".into(),
            None,
        );
        let client = Client::new(ClientConfig {
            protocol: ClientProtocol::Http,
            ..ClientConfig::default()
        });
        let target: oci_client::Reference = self.name(image).to_string().parse().unwrap();
        client.push(&target, &layers, config, auth, None).await.unwrap();
        client.fetch_manifest_digest(&target, auth).await.unwrap()
    }
}

fn store() -> (tempfile::TempDir, ImageStore) {
    // The client takes whichever provider the process has.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    (dir, store)
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_by_tag_and_digest_and_knows_what_is_here() {
    let (dir, store) = store();
    let registry = Registry::start(false);
    let digest = registry
        .push("team/app:v1", node_architecture(), &RegistryAuth::Anonymous)
        .await;
    let steps = Arc::new(Mutex::new(Vec::new()));
    let seen = steps.clone();
    let progress: image::ProgressFn = Arc::new(move |step| seen.lock().unwrap().push(step));
    let name = registry.name("team/app:v1");
    let options = PullOptions::default();
    let pulled = image::pull(&store, &name, None, &options, &progress)
        .await
        .unwrap();
    assert_eq!(pulled.layers, [sha256(&busybox_layer())]);
    assert_eq!(store.get(&name.to_string()).unwrap(), pulled);
    assert!(store.lower_dirs(&pulled)[0].join("bin/busybox").exists());
    assert!(matches!(
        steps.lock().unwrap().last(),
        Some(Progress::LayerDone { existed: false, .. })
    ));
    let by_digest = registry.name(&format!("team/app@{digest}"));
    let again = image::pull(&store, &by_digest, None, &options, &progress)
        .await
        .unwrap();
    assert_eq!(again.id, pulled.id);
    assert!(matches!(
        steps.lock().unwrap().last(),
        Some(Progress::LayerDone { existed: true, .. })
    ));
    assert!(store.get(&by_digest.to_string()).is_some());
    assert_eq!(
        std::fs::read_dir(dir.path().join("images/ingest"))
            .unwrap()
            .count(),
        0
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_download_is_taken_up_again() {
    let (dir, store) = store();
    let registry = Registry::start(false);
    registry
        .push("app:v1", node_architecture(), &RegistryAuth::Anonymous)
        .await;
    let name = registry.name("app:v1");
    // The first half of the layer is what an earlier attempt left.
    let client = Client::new(ClientConfig {
        protocol: ClientProtocol::Http,
        ..ClientConfig::default()
    });
    let target: oci_client::Reference = name.to_string().parse().unwrap();
    let (manifest, _) = client
        .pull_image_manifest(&target, &RegistryAuth::Anonymous)
        .await
        .unwrap();
    let mut blob = Vec::new();
    client
        .pull_blob(&target, &manifest.layers[0], &mut blob)
        .await
        .unwrap();
    let ingest = dir
        .path()
        .join("images/ingest")
        .join(&manifest.layers[0].digest["sha256:".len()..]);
    std::fs::write(&ingest, &blob[..blob.len() / 2]).unwrap();
    let first = Arc::new(Mutex::new(None));
    let seen = first.clone();
    let progress: image::ProgressFn = Arc::new(move |step| {
        if let Progress::Layer { done, .. } = step {
            seen.lock().unwrap().get_or_insert(done);
        }
    });
    let options = PullOptions::default();
    image::pull(&store, &name, None, &options, &progress)
        .await
        .unwrap();
    assert!(
        first.lock().unwrap().unwrap() > (blob.len() / 2) as u64,
        "it began anew"
    );
    // A damaged half is found out, thrown away, and does not stand in the way of the next attempt.
    store.remove(&name.to_string()).unwrap();
    store.collect(&|_| false).unwrap();
    std::fs::write(&ingest, vec![0; blob.len() / 2]).unwrap();
    let error = image::pull(&store, &name, None, &options, &image::quiet())
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    image::pull(&store, &name, None, &options, &image::quiet())
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_and_refusals() {
    let (_dir, store) = store();
    let registry = Registry::start(true);
    let basic = RegistryAuth::Basic("user".into(), "secret".into());
    registry.push("private:v1", node_architecture(), &basic).await;
    registry.push("foreign:v1", "s390x", &basic).await;
    let name = registry.name("private:v1");
    let options = PullOptions::default();
    let denied = |auth: Option<AuthConfig>| {
        let (store, name, options) = (store.clone(), name.clone(), options.clone());
        async move { image::pull(&store, &name, auth.as_ref(), &options, &image::quiet()).await }
    };
    let login = |password: &str| AuthConfig {
        username: "user".into(),
        password: password.into(),
        ..Default::default()
    };
    for auth in [None, Some(login("wrong"))] {
        match denied(auth).await.unwrap_err() {
            Error::Pull {
                message,
                kind: PullError::Denied,
                ..
            } => {
                assert!(
                    message.contains(
                        "pull access denied, repository does not exist or may require authorization"
                    )
                );
            }
            other => panic!("{other}"),
        }
    }
    denied(Some(login("secret"))).await.unwrap();
    let secret = format!(
        r#"{{"auths":{{"http://{}":{{"auth":"dXNlcjpzZWNyZXQ="}}}}}}"#,
        registry.address
    );
    let found = image::credentials::from_docker_config(secret.as_bytes(), &name).unwrap();
    denied(found.into_iter().next()).await.unwrap();

    let pull = |image: &str| {
        let (store, name, options) = (store.clone(), registry.name(image), options.clone());
        async move {
            image::pull(&store, &name, Some(&login("secret")), &options, &image::quiet())
                .await
                .unwrap_err()
        }
    };
    let missing = pull("private:v9").await;
    let shown = registry.name("private:v9");
    let want = format!(
        "failed to pull and unpack image \"{shown}\": failed to resolve reference \"{shown}\": {shown}: not found"
    );
    assert_eq!(missing.to_string(), want);
    assert!(matches!(
        missing,
        Error::Pull {
            kind: PullError::NotFound,
            ..
        }
    ));
    assert!(matches!(pull("foreign:v1").await, Error::Platform { .. }));
}

#[tokio::test(flavor = "multi_thread")]
async fn pulls_that_share_a_layer_do_not_disturb_each_other() {
    let mut stores: Vec<_> = (0..4).map(|_| store()).collect();
    let registry = Registry::start(false);
    let tags = ["app:v1", "app:v2", "other:v1", "other:v2", "third:v1"];
    for tag in tags {
        registry
            .push(tag, node_architecture(), &RegistryAuth::Anonymous)
            .await;
    }
    for (_dir, store) in &mut stores {
        let pulls = tags.map(|tag| {
            let (store, name) = (store.clone(), registry.name(tag));
            tokio::spawn(async move {
                image::pull(&store, &name, None, &PullOptions::default(), &image::quiet()).await
            })
        });
        for pulled in pulls {
            pulled.await.unwrap().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mirrors_come_before_the_registry() {
    let (_dir, store) = store();
    let mirror = Registry::start(false);
    mirror
        .push("library/app:v1", node_architecture(), &RegistryAuth::Anonymous)
        .await;
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // No host of this name exists: the image can only come from the mirror.
    let name = Reference::parse("registry.invalid/library/app:v1").unwrap();
    let options = PullOptions {
        mirrors: [(
            "registry.invalid".to_owned(),
            vec![nobody.to_string(), mirror.address.to_string()],
        )]
        .into(),
        ..PullOptions::default()
    };
    let pulled = image::pull(&store, &name, None, &options, &image::quiet())
        .await
        .unwrap();
    assert_eq!(store.get("registry.invalid/library/app:v1").unwrap(), pulled);
    // What no mirror has, the registry is asked for, and its answer counts.
    let missing = Reference::parse("registry.invalid/library/app:v2").unwrap();
    let error = image::pull(&store, &missing, None, &options, &image::quiet()).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("failed to do request: ") && error.contains("registry.invalid"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_not_there() {
    let (_dir, store) = store();
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let name = Reference::parse(&format!("{address}/app:v1")).unwrap();
    let error = image::pull(&store, &name, None, &PullOptions::default(), &image::quiet())
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Pull {
                kind: PullError::Unavailable,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("failed to do request: "), "{error}");
}
