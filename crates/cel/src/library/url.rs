//! URLs as Go's `net/url` reads them, which keeps what browsers normalize: case, default ports, dots in paths.

use super::{Answer, Context, failed};
use crate::value::Value;
use std::sync::Arc;

/// A URL in its parts, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    scheme: String,
    host: String,
    path: String,
    query: String,
}

/// An absolute URL or an absolute path.
///
/// # Errors
/// What Go says is wrong, without the leading quotation of the text.
pub(crate) fn parse(text: &str) -> Result<Url, String> {
    let explain = |why: &str| format!("parse {}: {why}", super::convert::quoted(text));
    if text.is_empty() {
        return Err(explain("empty url"));
    }
    if text.bytes().any(|b| b < 0x20 || b == 0x7f) {
        return Err(explain("net/url: invalid control character in URL"));
    }
    let (scheme, rest) = split_scheme(text).map_err(explain)?;
    let (rest, _) = rest.split_once('#').unwrap_or((rest, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if !rest.starts_with('/') {
        return match scheme.is_empty() {
            // With a scheme and no slash the rest is opaque.
            false => Ok(Url {
                scheme,
                host: String::new(),
                path: String::new(),
                query: query.to_owned(),
            }),
            true => Err(explain("invalid URI for request")),
        };
    }
    let (authority, path) = match rest.strip_prefix("//") {
        Some(rest) if !scheme.is_empty() || !rest.starts_with('/') => {
            rest.find('/').map_or((rest, ""), |i| rest.split_at(i))
        }
        _ => ("", rest),
    };
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    check_host(host).map_err(|why| explain(&why))?;
    check_escapes(path).map_err(|why| explain(&why))?;
    Ok(Url {
        scheme,
        host: host.to_owned(),
        path: escape_path(path),
        query: query.to_owned(),
    })
}

fn split_scheme(text: &str) -> Result<(String, &str), &'static str> {
    for (i, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if i > 0 => {}
            ':' if i == 0 => return Err("missing protocol scheme"),
            ':' => return Ok((text[..i].to_ascii_lowercase(), &text[i + 1..])),
            _ => break,
        }
    }
    let first = text.split(['/', '?', '#']).next().unwrap_or_default();
    if first.contains(':') && !text.starts_with('/') {
        return Err("first path segment in URL cannot contain colon");
    }
    Ok((String::new(), text))
}

fn check_host(host: &str) -> Result<(), String> {
    let port = match host.strip_prefix('[') {
        Some(rest) => match rest.find(']') {
            Some(end) => &rest[end + 1..],
            None => return Err("missing ']' in host".to_owned()),
        },
        None => host.find(':').map_or("", |i| &host[i..]),
    };
    let valid = port.is_empty() || (port.starts_with(':') && port[1..].bytes().all(|b| b.is_ascii_digit()));
    if !valid {
        return Err(format!(
            "invalid port {} after host",
            super::convert::quoted(port)
        ));
    }
    let invalid = |c: char| c == ' ' || matches!(c, '\\' | '^' | '`' | '{' | '|' | '}' | '#' | '?');
    if let Some(c) = host.chars().find(|c| invalid(*c)) {
        return Err(format!(
            "invalid character {} in host name",
            super::convert::quoted(&c.to_string())
        ));
    }
    Ok(())
}

fn check_escapes(path: &str) -> Result<(), String> {
    let bytes = path.as_bytes();
    for (i, _) in path.match_indices('%') {
        let hex = bytes
            .get(i + 1..i + 3)
            .is_some_and(|h| h.iter().all(u8::is_ascii_hexdigit));
        if !hex {
            let end = path
                .char_indices()
                .map(|(at, _)| at)
                .chain([path.len()])
                .filter(|at| *at > i)
                .nth(2);
            let shown = &path[i..end.unwrap_or(path.len())];
            return Err(format!("invalid URL escape {}", super::convert::quoted(shown)));
        }
    }
    Ok(())
}

/// A path whose characters need no escape any more.
fn escape_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for b in path.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*[]%".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match (context.function, args) {
        ("url", [Value::String(text)]) => match parse(text) {
            Ok(url) => Ok(Value::Url(Arc::new(url), (&**text).into())),
            Err(why) => failed(format!("URL parse error during conversion from string: {why}")),
        },
        ("isURL", [Value::String(text)]) => Ok(Value::Bool(parse(text).is_ok())),
        ("getQuery", [Value::Url(url, _)]) => Ok(query(&url.query)),
        (part, [Value::Url(url, _)]) => Ok(Value::string(match part {
            "getScheme" => url.scheme.as_str(),
            "getHost" => url.host.as_str(),
            "getHostname" => split_host(&url.host).0,
            "getPort" => split_host(&url.host).1,
            _ => url.path.as_str(),
        })),
        _ => context.no_overload(args),
    }
}

/// Name without brackets, and port.
fn split_host(host: &str) -> (&str, &str) {
    match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) => (name, port.trim_start_matches(':')),
        None => host.rsplit_once(':').unwrap_or((host, "")),
    }
}

fn query<'a>(query: &str) -> Value<'a> {
    let mut values: Vec<(String, Vec<Value<'a>>)> = Vec::new();
    for pair in query.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (Some(key), Some(value)) = (unescape(key), unescape(value)) else {
            continue;
        };
        let value = Value::string(value);
        match values.iter_mut().find(|(k, _)| *k == key) {
            Some((_, list)) => list.push(value),
            None => values.push((key, vec![value])),
        }
    }
    let entries = values
        .into_iter()
        .map(|(k, v)| (Value::string(k), Value::list(v)));
    Value::Map(Arc::new(entries.collect()))
}

/// `%41` and `+` undone; None if an escape is broken.
fn unescape(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(b) = bytes.next() {
        match b {
            b'+' => out.push(b' '),
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push((high * 16 + low) as u8);
            }
            b => out.push(b),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}
