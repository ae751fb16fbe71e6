//! Kubeconfig files: a cluster's own, and its entries in the user's.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::pki::{Identity, PkiError, write_private};

#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{path} is not a kubeconfig ({reason}); nothing was changed in it")]
    Malformed { path: PathBuf, reason: String },
    #[error(transparent)]
    Write(#[from] PkiError),
}

/// How to reach a cluster as one user.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    /// Name of the cluster and of the context; the user is `NAME-admin` or what `user` says.
    pub name: &'a str,
    pub user: &'a str,
    /// `https://host:port`.
    pub server: &'a str,
    pub ca_pem: &'a str,
    pub identity: &'a Identity,
}

/// Writes a kubeconfig with this entry only, mode 0600.
pub fn write(path: &Path, entry: &Entry<'_>) -> Result<(), KubeconfigError> {
    let mut config = empty();
    insert(&mut config, entry);
    store(path, &config)
}

/// Adds or replaces the entry in the user's kubeconfig (made if missing) and makes it current. Everything else in the
/// file stays.
pub fn merge(path: &Path, entry: &Entry<'_>) -> Result<(), KubeconfigError> {
    let mut config = load(path)?.unwrap_or_else(empty);
    insert(&mut config, entry);
    store(path, &config)
}

/// Takes the entry `name` out of the user's kubeconfig, if it is there and for `server` (`None`: any server).
/// Returns whether anything changed.
pub fn remove(path: &Path, name: &str, server: Option<&str>) -> Result<bool, KubeconfigError> {
    let Some(mut config) = load(path)? else {
        return Ok(false);
    };
    let cluster = items(&config, "clusters").find(|item| item["name"] == name);
    let ours = cluster.is_some_and(|item| server.is_none_or(|server| item["cluster"]["server"] == server));
    if !ours {
        return Ok(false);
    }
    let context = items(&config, "contexts")
        .find(|item| item["name"] == name)
        .cloned()
        .unwrap_or_default();
    let user = context["context"]["user"].as_str().unwrap_or_default().to_owned();
    for (list, name) in [("clusters", name), ("contexts", name), ("users", user.as_str())] {
        if let Some(items) = config[list].as_array_mut() {
            items.retain(|item| item["name"] != name);
        }
    }
    if config["current-context"] == name {
        config["current-context"] = json!("");
    }
    if is_bare(&config) {
        // As `merge` made it: nobody else has written into it.
        std::fs::remove_file(path).map_err(|source| PkiError::File {
            path: path.to_owned(),
            source,
        })?;
        return Ok(true);
    }
    store(path, &config)?;
    Ok(true)
}

/// Nothing in it that anyone could miss.
fn is_bare(config: &Value) -> bool {
    let none = |list| items(config, list).next().is_none();
    let known = |key: &str| empty().get(key).is_some();
    let keys = config
        .as_object()
        .is_some_and(|members| members.keys().all(|key| known(key)));
    keys && none("clusters") && none("contexts") && none("users")
}

fn empty() -> Value {
    json!({"apiVersion": "v1", "kind": "Config", "preferences": {},
        "clusters": [], "contexts": [], "users": [], "current-context": ""})
}

fn insert(config: &mut Value, entry: &Entry<'_>) {
    let Entry {
        name,
        user,
        server,
        ca_pem,
        identity,
    } = entry;
    let cluster = json!({"server": server, "certificate-authority-data": STANDARD.encode(ca_pem)});
    let credentials = json!({
        "client-certificate-data": STANDARD.encode(identity.certificate_pem()),
        "client-key-data": STANDARD.encode(identity.key_pem()),
    });
    put(config, "clusters", name, "cluster", cluster);
    put(config, "users", user, "user", credentials);
    put(
        config,
        "contexts",
        name,
        "context",
        json!({"cluster": name, "user": user}),
    );
    config["current-context"] = json!(name);
}

fn put(config: &mut Value, list: &str, name: &str, key: &str, value: Value) {
    if !config[list].is_array() {
        config[list] = json!([]);
    }
    let item = json!({"name": name, key: value});
    let Some(items) = config[list].as_array_mut() else {
        return;
    };
    match items.iter_mut().find(|item| item["name"] == name) {
        Some(existing) => *existing = item,
        None => items.push(item),
    }
}

fn items<'a>(config: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    config[list]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
}

fn load(path: &Path) -> Result<Option<Value>, KubeconfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(KubeconfigError::Read {
                path: path.to_owned(),
                source,
            });
        }
    };
    if text.trim().is_empty() {
        return Ok(None);
    }
    let malformed = |reason: String| KubeconfigError::Malformed {
        path: path.to_owned(),
        reason,
    };
    let config: Value = serde_saphyr::from_str(&text).map_err(|error| malformed(error.to_string()))?;
    match config.is_object() {
        true => Ok(Some(config)),
        false => Err(malformed("its top level is not a mapping".to_owned())),
    }
}

fn store(path: &Path, config: &Value) -> Result<(), KubeconfigError> {
    // A link is followed: the file it names is the one to change.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Some(dir) = target.parent() {
        std::fs::create_dir_all(dir).map_err(|source| KubeconfigError::Read {
            path: dir.to_owned(),
            source,
        })?;
    }
    let text = serde_saphyr::to_string(config).map_err(|error| KubeconfigError::Malformed {
        path: target.clone(),
        reason: error.to_string(),
    })?;
    Ok(write_private(&target, &text, true)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn merging_and_removing_leaves_the_rest_as_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/config");
        let identity = Identity::new("CERT".into(), "KEY".into());
        let entry = |name: &'static str, user: &'static str| Entry {
            name,
            user,
            server: "https://127.0.0.1:6443",
            ca_pem: "CA",
            identity: &identity,
        };
        let other = "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster: {server: 'https://p', \
                     insecure-skip-tls-verify: true}\nusers:\n- name: me\n  user: {exec: {command: \"yes\", args: \
                     [\"010\", \"~\", \"on\"]}}\ncontexts:\n- name: prod\n  context: {cluster: prod, user: me}\n\
                     current-context: prod\n";
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, other).unwrap();
        let before = load(&path).unwrap().unwrap();
        merge(&path, &entry("corten", "corten-admin")).unwrap();
        merge(&path, &entry("corten", "corten-admin")).unwrap();
        let merged = load(&path).unwrap().unwrap();
        assert_eq!(merged["current-context"], "corten");
        assert_eq!(merged["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(merged["users"][0], before["users"][0]);
        assert!(!remove(&path, "corten", Some("https://elsewhere")).unwrap());
        assert!(remove(&path, "corten", None).unwrap());
        let mut after = load(&path).unwrap().unwrap();
        after["current-context"] = json!("prod");
        assert_eq!(after, before);
    }

    #[test]
    fn a_broken_file_is_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, "a: [").unwrap();
        assert!(matches!(
            remove(&path, "corten", None),
            Err(KubeconfigError::Malformed { .. })
        ));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a: [");
    }
}
