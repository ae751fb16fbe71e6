//! Where images of a registry are fetched: its mirrors first, and in which protocol each host is spoken to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Mirrors of every registry that has none of its own.
pub const ANY_REGISTRY: &str = "*";

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// `host[:port]` of registries that are spoken to in plain HTTP. Loopback hosts always are.
    pub plain_http: BTreeSet<String>,
    /// `host[:port]`s that are asked, in this order, before the registry of that name ([`ANY_REGISTRY`]: before any).
    pub mirrors: BTreeMap<String, Vec<String>>,
}

impl PullOptions {
    pub(super) fn is_plain(&self, host: &str) -> bool {
        self.plain_http.contains(host) || is_loopback(host)
    }

    pub(super) fn mirrors_of(&self, registry: &str) -> &[String] {
        let own = self.mirrors.get(registry);
        own.or_else(|| self.mirrors.get(ANY_REGISTRY))
            .map_or(&[], Vec::as_slice)
    }
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_only_where_it_is_safe_or_asked_for() {
        let options = PullOptions {
            plain_http: ["registry.lan:5000".to_owned()].into(),
            ..PullOptions::default()
        };
        for registry in [
            "localhost",
            "localhost:5000",
            "127.0.0.1:5000",
            "127.8.0.1",
            "[::1]:5000",
            "registry.lan:5000",
        ] {
            assert!(options.is_plain(registry), "{registry}");
        }
        for registry in [
            "docker.io",
            "localhost.example.com",
            "registry.lan",
            "10.0.0.1:5000",
        ] {
            assert!(!options.is_plain(registry), "{registry}");
        }
    }

    #[test]
    fn mirrors_of_all_are_for_those_without() {
        let hosts = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let options = PullOptions {
            mirrors: BTreeMap::from([
                ("docker.io".to_owned(), hosts(&["a:5000", "b"])),
                (ANY_REGISTRY.to_owned(), hosts(&["c"])),
            ]),
            ..PullOptions::default()
        };
        assert_eq!(options.mirrors_of("docker.io"), hosts(&["a:5000", "b"]));
        assert_eq!(options.mirrors_of("quay.io"), hosts(&["c"]));
        assert!(PullOptions::default().mirrors_of("quay.io").is_empty());
    }
}
