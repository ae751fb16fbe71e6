//! The files of volumes whose content comes from the API: pure.

use crate::env::fields;
use crate::machine::NodeFacts;
use crate::pod::PodExt;
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, DownwardAPIVolumeFile, KeyToPath, Pod, ProjectedVolumeSource, Secret, Volume,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One file: its bytes and permission bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub data: Vec<u8>,
    pub mode: u32,
    /// A token that only this user may read, where the pod runs as one.
    pub owner: Option<u32>,
}

/// Files by path relative to the volume's root.
pub type Payload = BTreeMap<String, File>;

/// What the API said about the objects a volume needs.
#[derive(Debug, Clone, Default)]
pub struct Material {
    pub config_maps: BTreeMap<String, Option<Arc<ConfigMap>>>,
    pub secrets: BTreeMap<String, Option<Arc<Secret>>>,
    /// Service-account tokens by audience and lifetime in seconds.
    pub tokens: BTreeMap<(String, i64), String>,
    /// Trust anchors (PEM) by signer name or bundle name.
    pub trust: BTreeMap<String, Option<String>>,
}

/// Names of the objects that a pod's volumes need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    pub config_maps: BTreeSet<String>,
    pub secrets: BTreeSet<String>,
    pub tokens: BTreeSet<(String, i64)>,
}

const DEFAULT_MODE: i32 = 0o644;
const DEFAULT_TOKEN_SECONDS: i64 = 3600;

pub fn needs(pod: &Pod) -> Needs {
    let mut out = Needs::default();
    for v in pod.spec().volumes.iter().flatten() {
        out.config_maps
            .extend(v.config_map.iter().map(|s| s.name.clone()));
        out.secrets
            .extend(v.secret.iter().filter_map(|s| s.secret_name.clone()));
        for source in v.projected.iter().flat_map(|p| p.sources.iter().flatten()) {
            out.config_maps
                .extend(source.config_map.iter().map(|s| s.name.clone()));
            out.secrets.extend(source.secret.iter().map(|s| s.name.clone()));
            out.tokens
                .extend(source.service_account_token.iter().map(token_key));
        }
    }
    out
}

fn token_key(t: &k8s_openapi::api::core::v1::ServiceAccountTokenProjection) -> (String, i64) {
    let seconds = t.expiration_seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
    (t.audience.clone().unwrap_or_default(), seconds)
}

/// Whether a volume's files come from the API. Such volumes are read-only to containers.
pub fn is_api_backed(v: &Volume) -> bool {
    v.config_map.is_some() || v.secret.is_some() || v.projected.is_some() || v.downward_api.is_some()
}

/// Everything that does not come from the API.
pub struct Context<'a> {
    pub pod: &'a Pod,
    pub ips: &'a [String],
    pub node: &'a NodeFacts,
}

/// The files of one volume.
///
/// # Errors
/// Upstream's message for what is missing; becomes a `FailedMount` event.
pub fn build(v: &Volume, m: &Material, cx: &Context<'_>) -> Result<Payload, String> {
    let mut out = Payload::new();
    if let Some(s) = &v.config_map {
        let mode = s.default_mode.unwrap_or(DEFAULT_MODE);
        config_map(
            m,
            &s.name,
            s.items.as_deref(),
            mode,
            s.optional == Some(true),
            &mut out,
        )?;
    } else if let Some(s) = &v.secret {
        let name = s.secret_name.as_deref().unwrap_or_default();
        let mode = s.default_mode.unwrap_or(DEFAULT_MODE);
        secret(
            m,
            name,
            s.items.as_deref(),
            mode,
            s.optional == Some(true),
            &mut out,
        )?;
    } else if let Some(s) = &v.downward_api {
        let mode = s.default_mode.unwrap_or(DEFAULT_MODE);
        downward(cx, s.items.as_deref().unwrap_or_default(), mode, &mut out)?;
    } else if let Some(s) = &v.projected {
        projected(s, m, cx, &mut out)?;
    }
    for path in out.keys() {
        check(path)?;
    }
    Ok(out)
}

/// A path stays inside the volume and out of the names the writer uses itself.
fn check(path: &str) -> Result<(), String> {
    let bad = path.is_empty() || path.starts_with('/') || path.split('/').any(|p| p == "..");
    if bad || path.starts_with("..") {
        return Err(format!(
            "invalid path \"{path}\": must be relative and must not contain '..'"
        ));
    }
    Ok(())
}

fn bits(mode: Option<i32>, default: i32) -> u32 {
    u32::try_from(mode.unwrap_or(default)).unwrap_or(0) & 0o7777
}

fn put(
    out: &mut Payload,
    available: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    missing: &dyn Fn(&str) -> String,
) -> Result<(), String> {
    let Some(items) = items.filter(|i| !i.is_empty()) else {
        for (name, data) in available {
            out.insert(
                name.clone(),
                File {
                    data: data.clone(),
                    mode: bits(None, mode),
                    owner: None,
                },
            );
        }
        return Ok(());
    };
    for item in items {
        match available.get(&item.key) {
            Some(data) => {
                let file = File {
                    data: data.clone(),
                    mode: bits(item.mode, mode),
                    owner: None,
                };
                out.insert(item.path.trim_start_matches("./").to_owned(), file);
            }
            None if optional => {}
            None => return Err(missing(&item.key)),
        }
    }
    Ok(())
}

fn config_map(
    m: &Material,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    out: &mut Payload,
) -> Result<(), String> {
    let mut available = BTreeMap::new();
    match m.config_maps.get(name).and_then(Option::as_ref) {
        Some(map) => {
            let text = map
                .data
                .iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.clone().into_bytes()));
            let binary = map
                .binary_data
                .iter()
                .flatten()
                .map(|(k, v)| (k.clone(), v.0.clone()));
            available.extend(text.chain(binary));
        }
        None if optional => {}
        None => return Err(format!("configmap \"{name}\" not found")),
    }
    put(out, &available, items, mode, optional, &|key| {
        format!("configmap references non-existent config key: {key}")
    })
}

fn secret(
    m: &Material,
    name: &str,
    items: Option<&[KeyToPath]>,
    mode: i32,
    optional: bool,
    out: &mut Payload,
) -> Result<(), String> {
    let mut available = BTreeMap::new();
    match m.secrets.get(name).and_then(Option::as_ref) {
        Some(s) => available.extend(s.data.iter().flatten().map(|(k, v)| (k.clone(), v.0.clone()))),
        None if optional => {}
        None => return Err(format!("secret \"{name}\" not found")),
    }
    put(out, &available, items, mode, optional, &|key| {
        format!("references non-existent secret key: {key}")
    })
}

fn downward(
    cx: &Context<'_>,
    items: &[DownwardAPIVolumeFile],
    mode: i32,
    out: &mut Payload,
) -> Result<(), String> {
    for item in items {
        let text = if let Some(f) = &item.field_ref {
            fields::pod_field(cx.pod, &f.field_path, cx.ips, &cx.node.host_ips)?
        } else if let Some(r) = &item.resource_field_ref {
            fields::resource(cx.pod, &Container::default(), r, cx.node)?
        } else {
            continue;
        };
        let file = File {
            data: text.into_bytes(),
            mode: bits(item.mode, mode),
            owner: None,
        };
        out.insert(item.path.clone(), file);
    }
    Ok(())
}

fn projected(
    s: &ProjectedVolumeSource,
    m: &Material,
    cx: &Context<'_>,
    out: &mut Payload,
) -> Result<(), String> {
    let mode = s.default_mode.unwrap_or(DEFAULT_MODE);
    for source in s.sources.iter().flatten() {
        if let Some(c) = &source.config_map {
            config_map(
                m,
                &c.name,
                c.items.as_deref(),
                mode,
                c.optional == Some(true),
                out,
            )?;
        } else if let Some(c) = &source.secret {
            secret(
                m,
                &c.name,
                c.items.as_deref(),
                mode,
                c.optional == Some(true),
                out,
            )?;
        } else if let Some(d) = &source.downward_api {
            downward(cx, d.items.as_deref().unwrap_or_default(), mode, out)?;
        } else if let Some(t) = &source.service_account_token {
            let token = m.tokens.get(&token_key(t)).ok_or("failed to fetch token")?;
            out.insert(t.path.clone(), token_file(cx.pod, token, mode));
        } else if let Some(b) = &source.cluster_trust_bundle {
            let name = b
                .name
                .as_ref()
                .or(b.signer_name.as_ref())
                .map_or("", String::as_str);
            match m.trust.get(name).and_then(Option::as_ref) {
                Some(pem) => {
                    let file = File {
                        data: pem.clone().into_bytes(),
                        mode: bits(None, mode),
                        owner: None,
                    };
                    out.insert(b.path.clone(), file);
                }
                None if b.optional == Some(true) => {
                    out.insert(
                        b.path.clone(),
                        File {
                            data: Vec::new(),
                            mode: bits(None, mode),
                            owner: None,
                        },
                    );
                }
                None => return Err(format!("clustertrustbundle \"{name}\" not found")),
            }
        }
    }
    Ok(())
}

/// Tokens are 0600 and owned by the pod's user where all of its containers run as one; else group-readable for the
/// fsGroup; else as the volume's mode says.
fn token_file(pod: &Pod, token: &str, mode: i32) -> File {
    let group = pod
        .spec()
        .security_context
        .as_ref()
        .and_then(|s| s.fs_group)
        .is_some();
    let user = single_user(pod).filter(|_| !group);
    let mode = if group || user.is_some() {
        0o600
    } else {
        bits(None, mode)
    };
    File {
        data: token.as_bytes().to_vec(),
        mode,
        owner: user,
    }
}

/// The one user that every container of the pod runs as, if it is set.
fn single_user(pod: &Pod) -> Option<u32> {
    let mut all = pod.mains().iter().chain(pod.inits());
    let user = |c: &Container| crate::spec::security::effective(pod, c).run_as_user;
    let first = user(all.next()?)?;
    all.all(|c| user(c) == Some(first))
        .then(|| u32::try_from(first).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMapVolumeSource, PodSpec};

    fn volume(items: Option<Vec<KeyToPath>>) -> Volume {
        Volume {
            name: "v".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: "cfg".into(),
                items,
                default_mode: Some(0o400),
                optional: None,
            }),
            ..Volume::default()
        }
    }

    #[test]
    fn items_choose_and_rename() {
        let mut m = Material::default();
        let pod = Pod {
            spec: Some(PodSpec::default()),
            ..Pod::default()
        };
        let node = NodeFacts::default();
        let cx = Context {
            pod: &pod,
            ips: &[],
            node: &node,
        };
        assert_eq!(
            build(&volume(None), &m, &cx).unwrap_err(),
            "configmap \"cfg\" not found"
        );
        let map = ConfigMap {
            data: Some([("a".to_owned(), "1".to_owned())].into()),
            ..ConfigMap::default()
        };
        m.config_maps.insert("cfg".into(), Some(Arc::new(map)));
        let files = build(&volume(None), &m, &cx).unwrap();
        assert_eq!(
            (files["a"].data.as_slice(), files["a"].mode),
            (b"1".as_slice(), 0o400)
        );
        let item = |key: &str, path: &str| KeyToPath {
            key: key.into(),
            path: path.into(),
            mode: Some(0o440),
        };
        let files = build(&volume(Some(vec![item("a", "dir/b")])), &m, &cx).unwrap();
        assert_eq!(files["dir/b"].mode, 0o440);
        let err = build(&volume(Some(vec![item("x", "b")])), &m, &cx).unwrap_err();
        assert_eq!(err, "configmap references non-existent config key: x");
        assert!(build(&volume(Some(vec![item("a", "../b")])), &m, &cx).is_err());
    }
}
