//! `resolv.conf` of a pod, from its `dnsPolicy` and `dnsConfig` and the node's own file.

use crate::pod::PodExt;
use corten_runtime::cri::DnsConfig;
use k8s_openapi::api::core::v1::Pod;

/// Limits of resolvers, as upstream enforces them.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;
const MAX_SEARCH_CHARS: usize = 2048;
const MAX_NAME: usize = 253;

/// What of `resolv.conf` matters: `nameserver` lines add up, the last `search` line counts, options merge.
pub fn parse(text: &str) -> DnsConfig {
    let mut out = DnsConfig::default();
    for line in text.lines().map(str::trim).filter(|l| !l.starts_with(['#', ';'])) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") => out.servers.extend(words.next().map(str::to_owned)),
            Some("search") => {
                out.searches = words
                    .filter(|w| *w != ".")
                    .map(|w| w.trim_end_matches('.').to_owned())
                    .collect();
            }
            Some("options") => words.for_each(|w| set_option(&mut out.options, w)),
            _ => {}
        }
    }
    out
}

fn set_option(options: &mut Vec<String>, new: &str) {
    let name = |o: &str| o.split(':').next().unwrap_or_default().to_owned();
    options.retain(|o| name(o) != name(new));
    options.push(new.to_owned());
}

fn push_unique(list: &mut Vec<String>, more: impl IntoIterator<Item = String>) {
    for item in more {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// The pod's DNS settings. `host` is the node's parsed `resolv.conf`.
pub fn config(pod: &Pod, host: &DnsConfig, cluster_dns: &[String], domain: &str) -> DnsConfig {
    let policy = pod.spec().dns_policy.as_deref().unwrap_or("ClusterFirst");
    let cluster = match policy {
        "ClusterFirstWithHostNet" => true,
        "ClusterFirst" => !pod.host_network(),
        _ => false,
    };
    let mut out = match policy {
        "None" => DnsConfig::default(),
        _ if cluster && !cluster_dns.is_empty() => {
            let mut searches = Vec::new();
            if !domain.is_empty() {
                let own = [
                    format!("{}.svc.{domain}", pod.namespace()),
                    format!("svc.{domain}"),
                    domain.to_owned(),
                ];
                push_unique(&mut searches, own);
            }
            push_unique(&mut searches, host.searches.iter().cloned());
            DnsConfig {
                servers: cluster_dns.to_vec(),
                searches,
                options: vec!["ndots:5".into()],
            }
        }
        _ => host.clone(),
    };
    if let Some(own) = &pod.spec().dns_config {
        push_unique(&mut out.servers, own.nameservers.iter().flatten().cloned());
        push_unique(&mut out.searches, own.searches.iter().flatten().cloned());
        for option in own.options.iter().flatten() {
            let Some(name) = &option.name else { continue };
            match &option.value {
                Some(value) if !value.is_empty() => set_option(&mut out.options, &format!("{name}:{value}")),
                _ => set_option(&mut out.options, name),
            }
        }
    }
    limit(&mut out);
    out
}

fn limit(config: &mut DnsConfig) {
    config.servers.truncate(MAX_SERVERS);
    config.searches.truncate(MAX_SEARCHES);
    config.searches.retain(|s| s.len() <= MAX_NAME);
    while config.searches.join(" ").len() > MAX_SEARCH_CHARS {
        config.searches.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodDNSConfig, PodDNSConfigOption, PodSpec};

    #[test]
    fn policies() {
        let host = parse("# c\nnameserver 9.9.9.9\nsearch lan. home\noptions ndots:1 rotate\n");
        let mut pod = Pod {
            spec: Some(PodSpec::default()),
            ..Pod::default()
        };
        pod.metadata.namespace = Some("shop".into());
        let dns = ["10.96.0.10".to_owned()];
        let c = config(&pod, &host, &dns, "cluster.local");
        assert_eq!(c.servers, dns);
        assert_eq!(
            c.searches,
            [
                "shop.svc.cluster.local",
                "svc.cluster.local",
                "cluster.local",
                "lan",
                "home"
            ]
        );
        assert_eq!(c.options, ["ndots:5"]);
        if let Some(spec) = &mut pod.spec {
            spec.dns_policy = Some("Default".into());
            spec.dns_config = Some(PodDNSConfig {
                options: Some(vec![PodDNSConfigOption {
                    name: Some("ndots".into()),
                    value: Some("2".into()),
                }]),
                ..PodDNSConfig::default()
            });
        }
        let c = config(&pod, &host, &dns, "cluster.local");
        assert_eq!(
            (c.servers, c.options),
            (
                vec!["9.9.9.9".to_owned()],
                vec!["rotate".to_owned(), "ndots:2".to_owned()]
            )
        );
    }
}
