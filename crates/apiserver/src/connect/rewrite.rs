//! Links in what a backend answers: those that begin at its root lead through the proxy again. Which attributes of
//! which elements: upstream's `apimachinery/pkg/util/proxy/transport.go`.

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use http_body_util::BodyExt;

use crate::body::{Body, BoxError};
use crate::respond::Answer;
use futures::{StreamExt, stream};

/// A longer page is passed on as it is.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Attributes that hold a link, by element.
const LINKS: &[(&str, &[&str])] = &[
    ("a", &["href"]),
    ("applet", &["codebase"]),
    ("area", &["href"]),
    ("audio", &["src"]),
    ("base", &["href"]),
    ("blockquote", &["cite"]),
    ("body", &["background"]),
    ("button", &["formaction"]),
    ("command", &["icon"]),
    ("del", &["cite"]),
    ("embed", &["src"]),
    ("form", &["action"]),
    ("frame", &["longdesc", "src"]),
    ("head", &["profile"]),
    ("html", &["manifest"]),
    ("iframe", &["longdesc", "src"]),
    ("img", &["longdesc", "src", "usemap"]),
    ("input", &["src", "usemap", "formaction"]),
    ("ins", &["cite"]),
    ("link", &["href"]),
    ("object", &["classid", "codebase", "data", "usemap"]),
    ("q", &["cite"]),
    ("script", &["src"]),
    ("source", &["src"]),
    ("video", &["poster", "src"]),
];

/// Where the backend's root is for the client, and under which names the backend is itself.
pub struct Place<'a> {
    /// The request's path up to `/proxy`.
    pub prefix: &'a str,
    /// `host:port` of the backend, and of the request.
    pub hosts: [&'a str; 2],
}

/// Rewrites the answer's redirect, or the links of its page.
pub async fn links(mut answer: Answer, place: &Place<'_>) -> Answer {
    if let Some(target) = text_of(&answer, &LOCATION) {
        if let Some(new) = place.link(target).and_then(|new| HeaderValue::try_from(new).ok()) {
            answer.headers_mut().insert(LOCATION, new);
        }
        return answer;
    }
    let media = text_of(&answer, &CONTENT_TYPE).and_then(|t| t.split(';').next());
    if media.is_none_or(|media| media.trim() != "text/html")
        || answer.headers().contains_key(CONTENT_ENCODING)
    {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let body = match collect(body).await {
        Ok(page) => {
            let page = place.page(&page);
            head.headers.insert(CONTENT_LENGTH, HeaderValue::from(page.len()));
            Body::from(page)
        }
        Err(unread) => unread,
    };
    Answer::from_parts(head, body)
}

fn text_of<'a>(answer: &'a Answer, name: &HeaderName) -> Option<&'a str> {
    answer.headers().get(name).and_then(|value| value.to_str().ok())
}

/// The whole page; or a body that says the same, where it is too long or breaks off.
async fn collect(mut body: Body) -> Result<Bytes, Body> {
    let mut page = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame.map(http_body::Frame::into_data) {
            Ok(Ok(data)) => page.extend_from_slice(&data),
            Ok(Err(_)) => {}
            Err(error) => {
                let parts: [Result<Bytes, BoxError>; 2] = [Ok(page.freeze()), Err(error)];
                return Err(Body::stream(stream::iter(parts)));
            }
        }
        if page.len() > MAX_PAGE_BYTES {
            let read = stream::iter([Ok(page.freeze())]);
            return Err(Body::stream(read.chain(body.into_data_stream())));
        }
    }
    Ok(page.freeze())
}

impl Place<'_> {
    /// What a link becomes; `None` where it stays as it is.
    fn link(&self, link: &str) -> Option<String> {
        let (host, rest) = match link.split_once("//") {
            Some((scheme, rest)) if scheme.is_empty() || scheme.ends_with(':') && !scheme.contains('/') => {
                let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                (Some(host), path)
            }
            _ => (None, link),
        };
        if !rest.starts_with('/') || host.is_some_and(|host| !self.hosts.contains(&host)) {
            return None;
        }
        let inside = rest.starts_with(self.prefix);
        Some(format!("{}{rest}", if inside { "" } else { self.prefix }))
    }

    fn page(&self, page: &[u8]) -> Bytes {
        let mut out = BytesMut::with_capacity(page.len() + 256);
        let mut rest = page;
        while let Some(at) = rest.iter().position(|b| *b == b'<') {
            out.extend_from_slice(&rest[..at]);
            rest = &rest[at..];
            let len = if rest.starts_with(b"<!--") {
                find(rest, b"-->").map_or(rest.len(), |end| end + 3)
            } else if rest.get(1).is_some_and(u8::is_ascii_alphabetic) {
                let (name, len) = self.tag(rest, &mut out);
                rest = &rest[len..];
                // The text of these is none of HTML's.
                if matches!(name.as_str(), "script" | "style") {
                    find(rest, format!("</{name}").as_bytes()).unwrap_or(rest.len())
                } else {
                    0
                }
            } else {
                1
            };
            out.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
        }
        out.extend_from_slice(rest);
        out.freeze()
    }

    /// Writes the start tag that `text` begins with; its name and length.
    fn tag(&self, text: &[u8], out: &mut BytesMut) -> (String, usize) {
        let ends = |b: &u8| b.is_ascii_whitespace() || matches!(b, b'>' | b'/');
        let name_end = 1 + text[1..].iter().position(ends).unwrap_or(text.len() - 1);
        let name = String::from_utf8_lossy(&text[1..name_end]).to_ascii_lowercase();
        let wanted = LINKS
            .iter()
            .find(|(element, _)| *element == name)
            .map_or(&[][..], |(_, a)| a);
        let (mut at, mut written) = (name_end, 0);
        while at < text.len() && text[at] != b'>' {
            let Some((attribute, value, next)) = attribute(text, at) else {
                at += 1;
                continue;
            };
            let name = String::from_utf8_lossy(&text[attribute.0..attribute.1]).to_ascii_lowercase();
            if let Some((start, end)) = value.filter(|_| wanted.contains(&name.as_str()))
                && let Some(new) = std::str::from_utf8(&text[start..end])
                    .ok()
                    .and_then(|link| self.link(link))
            {
                out.extend_from_slice(&text[written..start]);
                out.extend_from_slice(new.as_bytes());
                written = end;
            }
            at = next;
        }
        let end = (at + 1).min(text.len());
        out.extend_from_slice(&text[written..end]);
        (name, end)
    }
}

type Range = (usize, usize);

/// The attribute at `at`: its name, its value without quotes, and where the next may begin.
fn attribute(text: &[u8], at: usize) -> Option<(Range, Option<Range>, usize)> {
    let until = |from: usize, stops: fn(u8) -> bool| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest.iter().position(|b| stops(*b)).unwrap_or(rest.len())
    };
    if text[at].is_ascii_whitespace() || text[at] == b'/' {
        return None;
    }
    let name_end = until(at + 1, |b| {
        b.is_ascii_whitespace() || matches!(b, b'=' | b'>' | b'/')
    });
    let equals = until(name_end, |b| !b.is_ascii_whitespace());
    if text.get(equals) != Some(&b'=') {
        return Some(((at, name_end), None, name_end));
    }
    let start = until(equals + 1, |b| !b.is_ascii_whitespace());
    let (value, next) = match text.get(start) {
        Some(b'"') => (start + 1, until(start + 1, |b| b == b'"')),
        Some(b'\'') => (start + 1, until(start + 1, |b| b == b'\'')),
        _ => (start, until(start, |b| b.is_ascii_whitespace() || b == b'>')),
    };
    let after = if value > start { next + 1 } else { next };
    Some(((at, name_end), Some((value, next)), after))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len())
        .position(|part| part.eq_ignore_ascii_case(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: Place<'static> = Place {
        prefix: "/api/v1/namespaces/n/pods/p/proxy",
        hosts: ["10.0.0.1:80", "api:6443"],
    };

    #[test]
    fn links_to_the_root_lead_through_the_proxy() {
        for (link, expected) in [
            ("/a?b=/c", Some("/api/v1/namespaces/n/pods/p/proxy/a?b=/c")),
            (
                "http://10.0.0.1:80/a/",
                Some("/api/v1/namespaces/n/pods/p/proxy/a/"),
            ),
            (
                "//api:6443/api/v1/namespaces/n/pods/p/proxy/x",
                Some("/api/v1/namespaces/n/pods/p/proxy/x"),
            ),
            ("http://elsewhere/a", None),
            ("a/b", None),
            ("#top", None),
            ("", None),
        ] {
            assert_eq!(PLACE.link(link).as_deref(), expected, "{link}");
        }
    }

    #[test]
    fn a_page_is_changed_at_its_links_only() {
        let page = r#"<!-- <a href="/x"> --><A class=b HREF = '/x'>/x</a><img src=/y alt="/y"><p cite="/z"><script src="/s">"<a href='/t'>"</script><a href="/u"#;
        let expected = r#"<!-- <a href="/x"> --><A class=b HREF = 'P/x'>/x</a><img src=P/y alt="/y"><p cite="/z"><script src="P/s">"<a href='/t'>"</script><a href="P/u"#;
        let changed = PLACE.page(page.as_bytes());
        assert_eq!(
            String::from_utf8_lossy(&changed),
            expected.replace('P', PLACE.prefix)
        );
        for end in 0..page.len() {
            PLACE.page(&page.as_bytes()[..end]);
        }
    }
}
