//! The environment of a container: pure, from its spec and the objects it refers to.

pub mod expand;
pub mod fields;
pub mod services;

use crate::machine::NodeFacts;
use crate::pod::PodExt;
use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVar, EnvVarSource, Pod, Secret};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Variables by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<String, String>);

impl Env {
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

/// The objects that variables refer to, by name; None for those that do not exist.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub config_maps: BTreeMap<String, Option<Arc<ConfigMap>>>,
    pub secrets: BTreeMap<String, Option<Arc<Secret>>>,
}

/// Names of config maps and secrets that a container's variables refer to.
pub fn references(c: &Container) -> (Vec<String>, Vec<String>) {
    let (mut maps, mut secrets) = (Vec::new(), Vec::new());
    for from in c.env_from.iter().flatten() {
        maps.extend(from.config_map_ref.iter().map(|r| r.name.clone()));
        secrets.extend(from.secret_ref.iter().map(|r| r.name.clone()));
    }
    for source in c.env.iter().flatten().filter_map(|e| e.value_from.as_ref()) {
        maps.extend(source.config_map_key_ref.iter().map(|r| r.name.clone()));
        secrets.extend(source.secret_key_ref.iter().map(|r| r.name.clone()));
    }
    (maps, secrets)
}

/// Everything besides the spec that goes into an environment.
pub struct Context<'a> {
    pub sources: &'a Sources,
    /// Variables of services ([`services::variables`]).
    pub services: BTreeMap<String, String>,
    pub ips: &'a [String],
    pub node: &'a NodeFacts,
}

/// # Errors
/// Upstream's message for a missing object or key; becomes `CreateContainerConfigError`.
pub fn build(pod: &Pod, c: &Container, cx: &Context<'_>) -> Result<Env, String> {
    let mut own: BTreeMap<String, String> = BTreeMap::new();
    env_from(pod, c, cx, &mut own)?;
    for var in c.env.iter().flatten() {
        let text = var.value.as_deref().unwrap_or_default();
        if !text.is_empty() {
            let value = expand::expand(text, |n| own.get(n).or_else(|| cx.services.get(n)).cloned());
            own.insert(var.name.clone(), value);
        } else if let Some(source) = &var.value_from {
            if let Some(value) = from_source(pod, c, var, source, cx)? {
                own.insert(var.name.clone(), value);
            }
        } else {
            own.insert(var.name.clone(), String::new());
        }
    }
    for (name, value) in &cx.services {
        own.entry(name.clone()).or_insert_with(|| value.clone());
    }
    Ok(Env(own))
}

fn env_from(
    pod: &Pod,
    c: &Container,
    cx: &Context<'_>,
    out: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    for from in c.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(r) = &from.config_map_ref {
            if let Some(map) = config_map(cx, &r.name, r.optional)? {
                let data = map.data.iter().flatten();
                out.extend(data.map(|(k, v)| (format!("{prefix}{k}"), v.clone())));
            }
        } else if let Some(r) = &from.secret_ref
            && let Some(secret) = secret(cx, &r.name, r.optional)?
        {
            for (k, v) in secret.data.iter().flatten() {
                out.insert(format!("{prefix}{k}"), text(pod, &v.0, k, &r.name)?);
            }
        }
    }
    Ok(())
}

fn text(pod: &Pod, bytes: &[u8], key: &str, name: &str) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| {
        format!(
            "key {key} in Secret {}/{name} is not valid UTF-8",
            pod.namespace()
        )
    })
}

fn config_map<'a>(
    cx: &'a Context<'_>,
    name: &str,
    optional: Option<bool>,
) -> Result<Option<&'a ConfigMap>, String> {
    match cx.sources.config_maps.get(name).and_then(Option::as_deref) {
        None if optional != Some(true) => Err(format!("configmap \"{name}\" not found")),
        found => Ok(found),
    }
}

fn secret<'a>(cx: &'a Context<'_>, name: &str, optional: Option<bool>) -> Result<Option<&'a Secret>, String> {
    match cx.sources.secrets.get(name).and_then(Option::as_deref) {
        None if optional != Some(true) => Err(format!("secret \"{name}\" not found")),
        found => Ok(found),
    }
}

/// None: an optional value that is not there.
fn from_source(
    pod: &Pod,
    c: &Container,
    var: &EnvVar,
    source: &EnvVarSource,
    cx: &Context<'_>,
) -> Result<Option<String>, String> {
    if let Some(r) = &source.field_ref {
        return fields::pod_field(pod, &r.field_path, cx.ips, &cx.node.host_ips).map(Some);
    }
    if let Some(r) = &source.resource_field_ref {
        return fields::resource(pod, c, r, cx.node).map(Some);
    }
    if let Some(r) = &source.config_map_key_ref {
        let Some(map) = config_map(cx, &r.name, r.optional)? else {
            return Ok(None);
        };
        let value = map.data.as_ref().and_then(|d| d.get(&r.key)).cloned();
        return present(value, r.optional, || {
            format!(
                "couldn't find key {} in ConfigMap {}/{}",
                r.key,
                pod.namespace(),
                r.name
            )
        });
    }
    if let Some(r) = &source.secret_key_ref {
        let Some(found) = secret(cx, &r.name, r.optional)? else {
            return Ok(None);
        };
        let value = found.data.as_ref().and_then(|d| d.get(&r.key));
        let value = value.map(|v| text(pod, &v.0, &r.key, &r.name)).transpose()?;
        return present(value, r.optional, || {
            format!(
                "couldn't find key {} in Secret {}/{}",
                r.key,
                pod.namespace(),
                r.name
            )
        });
    }
    Err(format!("unsupported source of environment variable {}", var.name))
}

fn present(
    value: Option<String>,
    optional: Option<bool>,
    missing: impl FnOnce() -> String,
) -> Result<Option<String>, String> {
    match value {
        None if optional != Some(true) => Err(missing()),
        value => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMapEnvSource, ConfigMapKeySelector, EnvFromSource};

    fn var(name: &str, value: &str) -> EnvVar {
        EnvVar {
            name: name.into(),
            value: Some(value.into()),
            value_from: None,
        }
    }

    #[test]
    fn later_variables_see_earlier_ones_and_services() {
        let map = ConfigMap {
            data: Some([("k".to_owned(), "v".to_owned())].into()),
            ..ConfigMap::default()
        };
        let mut sources = Sources::default();
        sources.config_maps.insert("cfg".into(), Some(Arc::new(map)));
        let node = NodeFacts::default();
        let cx = Context {
            sources: &sources,
            services: [("WEB_SERVICE_HOST".to_owned(), "10.96.0.9".to_owned())].into(),
            ips: &[],
            node: &node,
        };
        let mut c = Container {
            env: Some(vec![
                var("A", "1"),
                var("B", "$(A)-$(P_k)-$(WEB_SERVICE_HOST)-$(NO)-$$(A)"),
            ]),
            env_from: Some(vec![EnvFromSource {
                prefix: Some("P_".into()),
                config_map_ref: Some(ConfigMapEnvSource {
                    name: "cfg".into(),
                    optional: None,
                }),
                ..EnvFromSource::default()
            }]),
            ..Container::default()
        };
        let env = build(&Pod::default(), &c, &cx).unwrap();
        assert_eq!(env.get("B").as_deref(), Some("1-v-10.96.0.9-$(NO)-$(A)"));
        let key = |key: &str, optional| EnvVar {
            name: "C".into(),
            value: None,
            value_from: Some(EnvVarSource {
                config_map_key_ref: Some(ConfigMapKeySelector {
                    key: key.into(),
                    name: "cfg".into(),
                    optional: Some(optional),
                }),
                ..EnvVarSource::default()
            }),
        };
        c.env = Some(vec![key("gone", true)]);
        assert_eq!(build(&Pod::default(), &c, &cx).unwrap().get("C"), None);
        c.env = Some(vec![key("gone", false)]);
        let err = build(&Pod::default(), &c, &cx).unwrap_err();
        assert_eq!(err, "couldn't find key gone in ConfigMap /cfg");
    }
}
