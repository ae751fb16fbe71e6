//! `/etc/hosts` and the host name of a pod.

use crate::pod::PodExt;
use k8s_openapi::api::core::v1::{HostAlias, Pod};

const HEADER: &str = "# Kubernetes-managed hosts file.\n";
const HEADER_HOST_NETWORK: &str = "# Kubernetes-managed hosts file (host network).\n";
const LOCAL: &str = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n\
    fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
/// The longest host name the kernel takes.
const MAX_HOSTNAME: usize = 63;
const MAX_FQDN: usize = 64;

/// A pod's host name and, in a subdomain, its domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hostname {
    pub name: String,
    pub domain: String,
    /// What `hostname` prints: the name, or all of it for `setHostnameAsFQDN`.
    pub kernel: String,
}

/// # Errors
/// When the fully qualified name does not fit the kernel.
pub fn hostname(pod: &Pod, cluster_domain: &str) -> Result<Hostname, String> {
    let spec = pod.spec();
    if let Some(name) = &spec.hostname_override {
        let name = truncate(name);
        return Ok(Hostname {
            kernel: name.clone(),
            name,
            domain: String::new(),
        });
    }
    let name = truncate(
        spec.hostname
            .as_deref()
            .filter(|h| !h.is_empty())
            .unwrap_or_else(|| pod.name()),
    );
    let domain = match spec.subdomain.as_deref() {
        Some(sub) if !sub.is_empty() => format!("{sub}.{}.svc.{cluster_domain}", pod.namespace()),
        _ => String::new(),
    };
    let fqdn = format!("{name}.{domain}");
    let kernel = if spec.set_hostname_as_fqdn == Some(true) && !domain.is_empty() {
        if fqdn.len() > MAX_FQDN {
            return Err(format!(
                "failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long ({MAX_FQDN} characters is the max, {} characters requested)",
                fqdn.len()
            ));
        }
        fqdn
    } else {
        name.clone()
    };
    Ok(Hostname { name, domain, kernel })
}

fn truncate(name: &str) -> String {
    let end = name
        .char_indices()
        .map(|(i, _)| i)
        .take_while(|i| *i <= MAX_HOSTNAME)
        .last()
        .unwrap_or(0);
    let cut = if name.len() <= MAX_HOSTNAME {
        name
    } else {
        &name[..end.min(MAX_HOSTNAME)]
    };
    if cut.len() < name.len() {
        cut.trim_end_matches(['-', '.']).to_owned()
    } else {
        cut.to_owned()
    }
}

/// The file of a pod with its own network.
pub fn managed(ips: &[String], host: &Hostname, aliases: &[HostAlias]) -> String {
    let mut out = format!("{HEADER}{LOCAL}");
    for ip in ips {
        if host.domain.is_empty() {
            out.push_str(&format!("{ip}\t{}\n", host.name));
        } else {
            out.push_str(&format!("{ip}\t{0}.{1}\t{0}\n", host.name, host.domain));
        }
    }
    out + &entries(aliases)
}

/// The file of a pod in the node's network: the node's, and the pod's aliases.
pub fn of_node(node_file: &str, aliases: &[HostAlias]) -> String {
    format!("{HEADER_HOST_NETWORK}{node_file}{}", entries(aliases))
}

fn entries(aliases: &[HostAlias]) -> String {
    if aliases.is_empty() {
        return String::new();
    }
    let mut out = String::from("\n# Entries added by HostAliases.\n");
    for alias in aliases {
        let names = alias.hostnames.as_deref().unwrap_or_default().join("\t");
        out.push_str(&format!("{}\t{names}\n", alias.ip));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;

    #[test]
    fn names_and_file() {
        let mut pod = Pod {
            spec: Some(PodSpec::default()),
            ..Pod::default()
        };
        pod.metadata.name = Some("web-0".into());
        pod.metadata.namespace = Some("shop".into());
        if let Some(spec) = &mut pod.spec {
            spec.subdomain = Some("web".into());
        }
        let host = hostname(&pod, "cluster.local").unwrap();
        assert_eq!(host.kernel, "web-0");
        let aliases = [HostAlias {
            ip: "1.2.3.4".into(),
            hostnames: Some(vec!["a".into(), "b".into()]),
        }];
        let file = managed(&["10.0.0.7".into()], &host, &aliases);
        assert!(
            file.contains("10.0.0.7\tweb-0.web.shop.svc.cluster.local\tweb-0\n"),
            "{file}"
        );
        assert!(
            file.ends_with("# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"),
            "{file}"
        );
        assert_eq!(truncate(&format!("{}-tail", "x".repeat(62))), "x".repeat(62));
    }
}
