//! `clientConfig`: where a webhook is and whom to trust (admissionregistration.k8s.io and apiextensions.k8s.io).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use serde_json::Value;

/// Where no port is given.
const DEFAULT_PORT: u16 = 443;

/// Where a webhook listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `url`
    Url {
        /// Host name or address, without brackets.
        host: String,
        /// TCP port.
        port: u16,
        /// As it was written, for messages: `host[:port]`.
        authority: String,
    },
    /// `service`
    Service {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// One of its ports.
        port: u16,
    },
}

/// One webhook's address and trust.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientConfig {
    /// Where.
    pub endpoint: Endpoint,
    /// Begins with a slash.
    pub path: String,
    /// PEM; empty for the machine's own authorities.
    pub ca_bundle: Vec<u8>,
}

/// A `clientConfig` that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither `url` nor `service`.
    #[error("webhook configuration must have either service or URL")]
    Nowhere,
    /// `url` does not parse.
    #[error("Unparsable URL: {0}")]
    Url(String),
    /// `caBundle` is not base64 of PEM certificates.
    #[error("unable to load root certificates: unable to parse bytes as PEM block")]
    CaBundle,
}

impl ClientConfig {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// See [`ConfigError`].
    pub fn from_json(value: &Value) -> Result<Self, ConfigError> {
        let bundle = value["caBundle"].as_str().unwrap_or_default();
        let ca_bundle = STANDARD.decode(bundle).map_err(|_| ConfigError::CaBundle)?;
        let service = &value["service"];
        if service.is_object() {
            let text = |key: &str| service[key].as_str().unwrap_or_default().to_owned();
            let port = service["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            let endpoint = Endpoint::Service {
                namespace: text("namespace"),
                name: text("name"),
                port: port.filter(|port| *port != 0).unwrap_or(DEFAULT_PORT),
            };
            return Ok(Self {
                endpoint,
                path: clean_path(&text("path")),
                ca_bundle,
            });
        }
        let url = value["url"].as_str().unwrap_or_default();
        if url.is_empty() {
            return Err(ConfigError::Nowhere);
        }
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| ConfigError::Url(error.to_string()))?;
        let authority = uri
            .authority()
            .ok_or_else(|| ConfigError::Url("no host".to_owned()))?;
        let host = authority.host();
        let bare = host
            .strip_prefix('[')
            .and_then(|h| h.strip_suffix(']'))
            .unwrap_or(host);
        Ok(Self {
            endpoint: Endpoint::Url {
                host: bare.to_owned(),
                port: authority.port_u16().unwrap_or(DEFAULT_PORT),
                authority: authority.as_str().to_owned(),
            },
            path: clean_path(uri.path()),
            ca_bundle,
        })
    }

    /// `host[:port]` as requests name it.
    pub(crate) fn authority(&self) -> String {
        match &self.endpoint {
            Endpoint::Url { authority, .. } => authority.clone(),
            Endpoint::Service { port, .. } => format!("{}:{port}", self.server_name()),
        }
    }

    /// The name the certificate must have.
    pub(crate) fn server_name(&self) -> String {
        match &self.endpoint {
            Endpoint::Url { host, .. } => host.clone(),
            Endpoint::Service { namespace, name, .. } => format!("{name}.{namespace}.svc"),
        }
    }
}

/// Go's `path.Join("/", path)` as far as such paths need it: one slash in front, none behind, no empty segments.
fn clean_path(path: &str) -> String {
    let segments = path
        .split('/')
        .filter(|segment| !segment.is_empty() && *segment != ".");
    let mut out = String::with_capacity(path.len() + 1);
    for segment in segments {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn services_and_urls() {
        let config = json!({"service": {"namespace": "ns", "name": "hook", "path": "/a//b/"}});
        let config = ClientConfig::from_json(&config).unwrap();
        assert_eq!(
            (config.authority(), config.path.as_str()),
            ("hook.ns.svc:443".to_owned(), "/a/b")
        );
        let config = ClientConfig::from_json(&json!({"url": "https://[::1]:8443"})).unwrap();
        assert_eq!(
            (config.authority().as_str(), config.server_name().as_str()),
            ("[::1]:8443", "::1")
        );
        assert_eq!(config.path, "/");
        assert_eq!(ClientConfig::from_json(&json!({})), Err(ConfigError::Nowhere));
    }
}
