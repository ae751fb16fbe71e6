//! Image references: which tag one asks for (the Docker reference grammar).

/// The tag of an image reference: `latest` where it has neither tag nor digest, empty where it has only a digest or does
/// not parse.
pub fn tag(reference: &str) -> &str {
    parse(reference).unwrap_or_default()
}

/// Longest name of a repository in its registry; a longer one does not parse.
const PATH_MAX: usize = 255;

fn parse(reference: &str) -> Option<&str> {
    if reference.len() == 64
        && reference
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    {
        return None;
    }
    let (name, digest) = match reference.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (reference, None),
    };
    if digest.is_some_and(|d| !is_digest(d)) {
        return None;
    }
    let (docker, rest) = match name.split_once('/') {
        Some((domain, rest)) if is_domain(domain) => {
            (matches!(domain, "docker.io" | "index.docker.io"), rest)
        }
        _ => (true, name),
    };
    let (path, tag) = match rest.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    if !path.split('/').all(is_component) {
        return None;
    }
    // Docker's own images stand under `library/` there.
    let library = if docker && !path.contains('/') {
        "library/".len()
    } else {
        0
    };
    if library + path.len() > PATH_MAX {
        return None;
    }
    match (tag, digest) {
        (Some(tag), _) => is_tag(tag).then_some(tag),
        (None, Some(_)) => Some(""),
        (None, None) => Some("latest"),
    }
}

/// The part before the first slash is a host where it looks like one.
fn is_domain(part: &str) -> bool {
    part.contains(['.', ':']) || part == "localhost" || part.bytes().any(|b| b.is_ascii_uppercase())
}

fn is_tag(tag: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    tag.len() <= 128
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|b| word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else {
        return false;
    };
    let named = algorithm.split(['-', '_', '+', '.']).all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    });
    named && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or dashes.
fn is_component(part: &str) -> bool {
    let alnum = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = part.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    if !alnum(*first) || !alnum(*last) {
        return false;
    }
    let separators = part
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .filter(|s| !s.is_empty());
    separators
        .into_iter()
        .all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn tags() {
        let long = "a".repeat(247);
        let digest = "@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        for (reference, expected) in [
            ("busybox", "latest"),
            ("busybox:1.36", "1.36"),
            ("registry.k8s.io/pause:3.10", "3.10"),
            ("localhost:5000/a/b", "latest"),
            ("localhost:5000/a/b:v1", "v1"),
            ("Upper", ""),
            ("", ""),
            ("a__b/c-d.e", "latest"),
            ("a:b:c", ""),
            (&long, "latest"),
            (&format!("{long}a"), ""),
            (&format!("docker.io/{long}a"), ""),
            (&format!("x/{long}:1"), "1"),
            (&format!("example.com/x/{long}123456:1"), "1"),
            (&format!("example.com/x/{long}1234567:1"), ""),
            (&format!("x{digest}"), ""),
            (&format!("x:1{digest}"), "1"),
        ] {
            assert_eq!(tag(reference), expected, "{reference}");
        }
    }
}
