//! Passwords for registries: CRI's form, and the `dockerconfigjson` of imagePullSecrets.

use super::Reference;
use crate::cri::AuthConfig;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use oci_client::secrets::RegistryAuth;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct DockerConfig {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    username: String,
    password: String,
    auth: String,
    identitytoken: String,
    registrytoken: String,
}

/// What a secret holds for an image's registry, most specific first. `json` is the content of `.dockerconfigjson`
/// (`{"auths": ...}`) or of the older `.dockercfg` (the inner map alone). An error names no secret content.
pub fn from_docker_config(json: &[u8], image: &Reference) -> Result<Vec<AuthConfig>, String> {
    let whole = serde_json::from_slice::<DockerConfig>(json)
        .ok()
        .filter(|config| !config.auths.is_empty());
    let auths = match whole {
        Some(config) => config.auths,
        None => serde_json::from_slice(json)
            .map_err(|_| "invalid docker config: not the expected JSON".to_owned())?,
    };
    let mut matching: Vec<(usize, AuthConfig)> = Vec::new();
    for (address, entry) in auths {
        if let Some(length) = matches(&address, image) {
            matching.push((length, entry.into_auth(address)));
        }
    }
    matching.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    Ok(matching.into_iter().map(|(_, auth)| auth).collect())
}

impl Entry {
    fn into_auth(self, address: String) -> AuthConfig {
        AuthConfig {
            username: self.username,
            password: self.password,
            auth: self.auth,
            server_address: address,
            identity_token: self.identitytoken,
            registry_token: self.registrytoken,
        }
    }
}

/// How much of the address fits the image, or None. `https://index.docker.io/v1/`, `registry.io`, `registry.io/team`;
/// `*` stands for one label of the host.
fn matches(address: &str, image: &Reference) -> Option<usize> {
    let plain = address
        .trim_start_matches("https://")
        .trim_start_matches("http://");
    let plain = plain
        .trim_end_matches('/')
        .trim_end_matches("/v1")
        .trim_end_matches("/v2");
    let (host, path) = plain.split_once('/').unwrap_or((plain, ""));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") {
        "docker.io"
    } else {
        host
    };
    let under = path.is_empty()
        || image.repository == path
        || image
            .repository
            .strip_prefix(path)
            .is_some_and(|rest| rest.starts_with('/'));
    (host_matches(host, &image.registry) && under).then_some(plain.len())
}

fn host_matches(pattern: &str, host: &str) -> bool {
    let (pattern, host): (Vec<&str>, Vec<&str>) = (pattern.split('.').collect(), host.split('.').collect());
    pattern.len() == host.len()
        && pattern
            .iter()
            .zip(&host)
            .all(|(want, have)| *want == "*" || want == have)
}

/// The form the registry client takes.
pub(super) fn registry_auth(auth: &AuthConfig) -> Result<RegistryAuth, String> {
    if !auth.registry_token.is_empty() {
        return Ok(RegistryAuth::Bearer(auth.registry_token.clone()));
    }
    if !auth.username.is_empty() {
        return Ok(RegistryAuth::Basic(auth.username.clone(), auth.password.clone()));
    }
    if !auth.auth.is_empty() {
        let decoded = STANDARD
            .decode(auth.auth.trim())
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let pair = decoded
            .as_deref()
            .map(|text| text.trim_matches('\0'))
            .and_then(|text| text.split_once(':'));
        let (user, password) = pair.ok_or("invalid auth: it is not base64 of user:password")?;
        return Ok(RegistryAuth::Basic(user.to_owned(), password.to_owned()));
    }
    if !auth.identity_token.is_empty() {
        return Err("identity tokens are not supported: use a user name and password".to_owned());
    }
    Ok(RegistryAuth::Anonymous)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn secrets_by_registry() {
        let json = br#"{"auths": {
            "https://index.docker.io/v1/": {"auth": "dXNlcjpwYXNz"},
            "registry.io": {"username": "a", "password": "b"},
            "registry.io/team": {"username": "c", "password": "d"},
            "*.corp.example": {"username": "e", "password": "f"}
        }}"#;
        let users = |name: &str| {
            let auths = from_docker_config(json, &Reference::parse(name).unwrap()).unwrap();
            auths
                .iter()
                .map(|auth| match registry_auth(auth).unwrap() {
                    RegistryAuth::Basic(user, _) => user,
                    _ => String::new(),
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(users("nginx"), ["user"]);
        assert_eq!(users("registry.io/team/app"), ["c", "a"]);
        assert_eq!(users("registry.io/teamwork/app"), ["a"]);
        assert_eq!(users("x.corp.example/app"), ["e"]);
        assert!(users("quay.io/app").is_empty());
        assert!(from_docker_config(b"secret", &Reference::parse("x").unwrap()).is_err());
    }
}
