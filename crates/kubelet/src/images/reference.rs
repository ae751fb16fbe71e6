//! Image names as people write them, in their parts.

/// Where unqualified names come from.
const DOCKER: &str = "docker.io";

/// `[registry/]path[:tag][@digest]`, made complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    pub registry: String,
    pub path: String,
    pub tag: Option<String>,
    pub digest: Option<String>,
    text: String,
}

impl Reference {
    /// # Errors
    /// Upstream's text for what is not a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("couldn't parse image name \"{text}\": invalid reference format");
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.to_owned())),
            None => (text, None),
        };
        let slash = rest.rfind('/').map_or(0, |i| i + 1);
        let (name, tag) = match rest[slash..].find(':') {
            Some(i) => (&rest[..slash + i], Some(rest[slash + i + 1..].to_owned())),
            None => (rest, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path.to_owned()),
            Some(_) => (DOCKER, name.to_owned()),
            None => (DOCKER, format!("library/{name}")),
        };
        let word = |s: &str| {
            let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
            edge(s.chars().next())
                && edge(s.chars().last())
                && s.chars()
                    .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c))
        };
        let tag_fits = |t: &String| {
            !t.is_empty()
                && t.len() <= 128
                && t.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
                && !t.starts_with(['.', '-'])
        };
        let digest_fits = |d: &String| {
            d.split_once(':').is_some_and(|(a, h)| {
                !a.is_empty() && h.len() >= 32 && h.chars().all(|c| c.is_ascii_hexdigit())
            })
        };
        let fits = path.split('/').all(word)
            && tag.as_ref().is_none_or(tag_fits)
            && digest.as_ref().is_none_or(digest_fits);
        if !fits {
            return Err(bad());
        }
        Ok(Self {
            registry: registry.to_owned(),
            path,
            tag,
            digest,
            text: text.to_owned(),
        })
    }

    /// As written, with `:latest` where neither tag nor digest is given.
    pub fn with_tag(&self) -> String {
        if self.tag.is_none() && self.digest.is_none() {
            format!("{}:latest", self.text)
        } else {
            self.text.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let parse = |s: &str| Reference::parse(s).map(|r| (r.registry.clone(), r.path.clone(), r.with_tag()));
        let parts = |a: &str, b: &str, c: &str| Ok((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(
            parse("nginx"),
            parts("docker.io", "library/nginx", "nginx:latest")
        );
        assert_eq!(parse("a/b:1"), parts("docker.io", "a/b", "a/b:1"));
        assert_eq!(
            parse("localhost:5000/x"),
            parts("localhost:5000", "x", "localhost:5000/x:latest")
        );
        assert_eq!(parse("r.io/x:1").map(|r| r.1), Ok("x".to_owned()));
        assert!(
            parse("UPPER").is_err() && parse("a:").is_err() && parse("").is_err() && parse("a b").is_err()
        );
    }
}
