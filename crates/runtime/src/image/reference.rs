//! Names of images, normalised as docker and containerd do.

use std::fmt;

/// `registry/repository[:tag][@digest]`, complete: `nginx` has become `docker.io/library/nginx:latest`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    /// `sha256:...`
    pub digest: Option<String>,
}

/// A name that is none, with the reason in upstream's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name {name:?}: {reason}")]
pub struct InvalidReference {
    pub name: String,
    pub reason: &'static str,
}

const INVALID: &str = "invalid reference format";
/// Limits of the distribution reference grammar.
const MAX_REPOSITORY: usize = 255;
const MAX_TAG: usize = 128;

impl Reference {
    pub fn parse(name: &str) -> Result<Self, InvalidReference> {
        let fail = |reason| InvalidReference {
            name: name.to_owned(),
            reason,
        };
        let (rest, digest) = match name.split_once('@') {
            Some((rest, digest)) if is_digest(digest) => (rest, Some(digest.to_owned())),
            Some(_) => return Err(fail("invalid checksum digest format")),
            None => (name, None),
        };
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) if !tag.contains('/') => (path, Some(tag)),
            _ => (rest, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(fail(INVALID));
        }
        let (registry, repository) = split_registry(path);
        if repository.chars().any(|letter| letter.is_ascii_uppercase()) {
            return Err(fail("repository name must be lowercase"));
        }
        if !is_repository(&repository) || !is_registry(&registry) {
            return Err(fail(INVALID));
        }
        let tag = match (tag, &digest) {
            (Some(tag), _) => Some(tag.to_owned()),
            (None, None) => Some("latest".to_owned()),
            (None, Some(_)) => None,
        };
        Ok(Self {
            registry,
            repository,
            tag,
            digest,
        })
    }

    /// `docker.io/library/nginx`.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    /// What to ask the registry for: the digest if there is one, else the tag.
    pub fn version(&self) -> &str {
        self.digest.as_deref().or(self.tag.as_deref()).unwrap_or("latest")
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The first component is a registry when it has a dot or a port, or is `localhost`.
fn split_registry(path: &str) -> (String, String) {
    let (registry, repository) = match path.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => (first, rest),
        _ => ("docker.io", path),
    };
    let registry = if registry == "index.docker.io" {
        "docker.io"
    } else {
        registry
    };
    if registry == "docker.io" && !repository.contains('/') {
        return (registry.to_owned(), format!("library/{repository}"));
    }
    (registry.to_owned(), repository.to_owned())
}

/// `sha256:` and 64 hex digits.
pub fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64
            && hex
                .bytes()
                .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    !tag.is_empty()
        && tag.len() <= MAX_TAG
        && word(tag.as_bytes()[0])
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.rsplit_once(':') {
        Some((host, port)) if !registry.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    };
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let name = |host: &str| {
        host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
    };
    (bracketed || name(host))
        && port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()))
}

/// Components of lower-case letters and digits, joined within by `.`, `_`, `__` or any number of `-`.
fn is_repository(repository: &str) -> bool {
    let component = |part: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
            return false;
        };
        let separators = part.split(|letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit());
        plain(*first)
            && plain(*last)
            && separators
                .filter(|text| !text.is_empty())
                .all(|text| matches!(text, "." | "_" | "__") || text.bytes().all(|byte| byte == b'-'))
    };
    !repository.is_empty() && repository.len() <= MAX_REPOSITORY && repository.split('/').all(component)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spoiled_names_are_refused_or_stay() {
        let corpus = [
            "busybox",
            "registry.test:5000/a/b:1.2",
            "docker.io/library/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ];
        let corpus: Vec<Vec<u8>> = corpus.iter().map(|name| name.as_bytes().to_vec()).collect();
        corten_fuzz::spoil("image reference", &corpus, |input| {
            let name = String::from_utf8_lossy(input);
            if let Ok(read) = super::Reference::parse(&name) {
                assert_eq!(
                    super::Reference::parse(&read.to_string()).ok(),
                    Some(read),
                    "{name}"
                );
            }
        });
    }

    #[test]
    fn normalised_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let pairs = [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.25", "docker.io/library/nginx:1.25".to_owned()),
            ("bitnami/redis", "docker.io/bitnami/redis:latest".to_owned()),
            ("localhost/x", "localhost/x:latest".to_owned()),
            ("localhost:5000/x/y:z", "localhost:5000/x/y:z".to_owned()),
            (
                "registry.k8s.io/pause:3.10",
                "registry.k8s.io/pause:3.10".to_owned(),
            ),
            (
                "index.docker.io/nginx",
                "docker.io/library/nginx:latest".to_owned(),
            ),
            (
                &format!("nginx@{digest}"),
                format!("docker.io/library/nginx@{digest}"),
            ),
            (
                &format!("nginx:1@{digest}"),
                format!("docker.io/library/nginx:1@{digest}"),
            ),
            (
                "gcr.io/a_b/c__d/e-f--g:v1",
                "gcr.io/a_b/c__d/e-f--g:v1".to_owned(),
            ),
        ];
        for (name, want) in pairs {
            assert_eq!(Reference::parse(name).unwrap().to_string(), want);
        }
    }

    #[test]
    fn refused() {
        for name in [
            "",
            "UPPER",
            "a b",
            "nginx:",
            "nginx:-x",
            "nginx@sha256:123",
            "a//b",
            "x/_y",
            "nginx:a/b:c/",
        ] {
            assert!(Reference::parse(name).is_err(), "{name}");
        }
        let error = Reference::parse("Nginx").unwrap_err();
        assert_eq!(
            error.to_string(),
            "couldn't parse image name \"Nginx\": repository name must be lowercase"
        );
    }
}
