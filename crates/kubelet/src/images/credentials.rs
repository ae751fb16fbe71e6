//! Registry credentials from pull secrets (`kubernetes.io/dockerconfigjson` and the older `dockercfg`).

use super::Reference;
use corten_runtime::cri::AuthConfig;
use k8s_openapi::api::core::v1::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Login>,
}

#[derive(Deserialize, Default, Clone)]
struct Login {
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    auth: String,
    #[serde(default, rename = "identitytoken")]
    identity_token: String,
}

/// Credentials by the registry (and path) they are for, in the order of the secrets.
#[derive(Default)]
pub struct Keyring(Vec<(String, Login)>);

impl Keyring {
    /// Takes in a secret; one that is not about registries, or is malformed, adds nothing.
    pub fn add(&mut self, secret: &Secret) {
        let data = |key: &str| {
            secret
                .data
                .as_ref()
                .and_then(|d| d.get(key))
                .map(|b| b.0.as_slice())
        };
        let auths = match secret.type_.as_deref() {
            Some("kubernetes.io/dockerconfigjson") => {
                let config: Option<DockerConfig> =
                    data(".dockerconfigjson").and_then(|d| serde_json::from_slice(d).ok());
                config.unwrap_or_default().auths
            }
            Some("kubernetes.io/dockercfg") => data(".dockercfg")
                .and_then(|d| serde_json::from_slice(d).ok())
                .unwrap_or_default(),
            _ => return,
        };
        self.0
            .extend(auths.into_iter().map(|(key, login)| (normal(&key), login)));
    }

    /// What fits the image, the most specific first.
    pub fn lookup(&self, image: &Reference) -> Vec<AuthConfig> {
        let mut found: Vec<&(String, Login)> = self.0.iter().filter(|(key, _)| fits(key, image)).collect();
        found.sort_by_key(|(key, _)| std::cmp::Reverse(key.len()));
        found.into_iter().map(|(key, login)| config(key, login)).collect()
    }
}

/// Without scheme, API version and trailing slash; Docker Hub under one name.
fn normal(key: &str) -> String {
    let key = key
        .split_once("://")
        .map_or(key, |(_, rest)| rest)
        .trim_end_matches('/');
    let key = key
        .strip_suffix("/v1")
        .or_else(|| key.strip_suffix("/v2"))
        .unwrap_or(key);
    match key {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        other => other.to_owned(),
    }
}

/// Host labels may be globs (`*.example.com`); a path is a prefix.
fn fits(key: &str, image: &Reference) -> bool {
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    let (key_name, key_port) = host.split_once(':').unwrap_or((host, ""));
    let (name, port) = image.registry.split_once(':').unwrap_or((&image.registry, ""));
    let (a, b): (Vec<&str>, Vec<&str>) = (key_name.split('.').collect(), name.split('.').collect());
    let glob = |p: &str, s: &str| match p.split_once('*') {
        Some((head, tail)) => s.len() >= head.len() + tail.len() && s.starts_with(head) && s.ends_with(tail),
        None => p == s,
    };
    a.len() == b.len()
        && key_port == port
        && a.iter().zip(&b).all(|(p, s)| glob(p, s))
        && (path.is_empty() || image.path == path || image.path.starts_with(&format!("{path}/")))
}

fn config(key: &str, login: &Login) -> AuthConfig {
    AuthConfig {
        username: login.username.clone(),
        password: login.password.clone(),
        auth: login.auth.clone(),
        server_address: key.to_owned(),
        identity_token: login.identity_token.clone(),
        registry_token: String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::ByteString;

    #[test]
    fn the_most_specific_fits_first() {
        let json = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"aHViOng="},
            "reg.example.com":{"username":"a"},"reg.example.com/team":{"username":"b"},"*.corp":{"username":"c"}}}"#;
        let secret = Secret {
            type_: Some("kubernetes.io/dockerconfigjson".into()),
            data: Some([(".dockerconfigjson".to_owned(), ByteString(json.into()))].into()),
            ..Secret::default()
        };
        let mut ring = Keyring::default();
        ring.add(&secret);
        let users = |image: &str| -> Vec<String> {
            let r = Reference::parse(image).unwrap();
            ring.lookup(&r)
                .into_iter()
                .map(|a| a.username + &a.auth)
                .collect()
        };
        assert_eq!(users("reg.example.com/team/x"), ["b", "a"]);
        assert_eq!(users("reg.example.com/teams/x"), ["a"]);
        assert_eq!(users("nginx"), ["aHViOng="]);
        assert_eq!(users("hub.corp/x"), ["c"]);
        assert!(users("other.org/x").is_empty());
    }
}
