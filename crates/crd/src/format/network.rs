//! Addresses and names of the network, as Go's `net`, `net/url` and `net/mail` read them.

use std::net::{Ipv4Addr, Ipv6Addr};

const HOSTNAME_MAX: usize = 255;
const LABEL_MAX: usize = 63;

/// A lowercase DNS label, whatever its length.
pub(super) fn label(text: &str) -> bool {
    let alnum = |c: &u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    match text.as_bytes() {
        [one] => alnum(one),
        [first, inner @ .., last] => {
            alnum(first) && alnum(last) && inner.iter().all(|c| alnum(c) || *c == b'-')
        }
        [] => false,
    }
}

/// Either one label, or dotted labels with a top-level domain of letters.
pub(super) fn hostname(text: &str) -> bool {
    if text.len() > HOSTNAME_MAX {
        return false;
    }
    let letter = |c: char| c.is_ascii_alphanumeric() || c.is_alphabetic() || is_symbol(c);
    let part = |text: &str| {
        let mut inner = text.chars();
        let (first, last) = (inner.next(), inner.next_back());
        text.len() <= LABEL_MAX
            && first.is_some_and(letter)
            && last.is_none_or(letter)
            && inner.all(|c| letter(c) || c == '-')
    };
    let parts: Vec<&str> = text.split('.').collect();
    match parts.as_slice() {
        [one] => {
            // One dash at most, and that after the first letter.
            let mut rest = one.chars();
            let first = rest.next().is_some_and(letter);
            let rest = rest.as_str();
            let rest = rest.strip_prefix('-').unwrap_or(rest);
            first
                && one.len() <= LABEL_MAX
                && !one.ends_with('-')
                && (rest.chars().all(letter) || part(one) && one.len() > 1 && rest.matches('-').count() == 0)
        }
        [labels @ .., top] => {
            labels.iter().all(|label| part(label))
                && (2..=LABEL_MAX).contains(&top.chars().count())
                && top.chars().all(char::is_alphabetic)
        }
        [] => false,
    }
}

/// Symbols of mathematics, money and the like, which upstream's expression allows in host names.
fn is_symbol(c: char) -> bool {
    matches!(c, '$' | '+' | '<' | '=' | '>' | '^' | '`' | '|' | '~')
        || (!c.is_ascii() && !c.is_alphanumeric() && !c.is_whitespace() && !c.is_control())
}

/// An address of either family; leading zeros pass, as they did in Go before 1.17.
pub(super) fn ip(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok() || sloppy_ipv4(text)
}

pub(super) fn strict_ip(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok() || text.parse::<Ipv4Addr>().is_ok()
}

fn sloppy_ipv4(text: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|c| c.is_ascii_digit())
            && part.parse::<u32>().is_ok_and(|number| number < 256)
    };
    text.split('.').count() == 4 && text.split('.').all(number)
}

pub(super) fn cidr(text: &str) -> bool {
    let Some((address, length)) = text.split_once('/') else {
        return false;
    };
    let most = if address.contains(':') { 128 } else { 32 };
    let digits = !length.is_empty() && length.bytes().all(|c| c.is_ascii_digit());
    ip(address) && digits && length.parse::<u32>().is_ok_and(|length| length <= most)
}

/// Six, eight or twenty bytes: pairs by colon or dash, or fours by dot.
pub(super) fn mac(text: &str) -> bool {
    let (separator, width) = match text.as_bytes().get(2) {
        Some(b':') => (':', 2),
        Some(b'-') => ('-', 2),
        _ => ('.', 4),
    };
    let groups: Vec<&str> = text.split(separator).collect();
    let bytes = groups.len() * width / 2;
    matches!(bytes, 6 | 8 | 20)
        && groups
            .iter()
            .all(|group| group.len() == width && group.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// An absolute URI or an absolute path.
pub(super) fn request_uri(text: &str) -> bool {
    if text.is_empty() || text.bytes().any(|c| c < 0x20 || c == 0x7f) {
        return false;
    }
    if text == "*" {
        return true;
    }
    let Some(rest) = after_scheme(text) else {
        return false;
    };
    let has_scheme = rest.len() < text.len();
    if !rest.starts_with('/') {
        // Opaque, such as mailto:x.
        return has_scheme;
    }
    let rest = rest.split('?').next().unwrap_or_default();
    let (authority, path) = match rest.strip_prefix("//") {
        Some(inner) if has_scheme => inner.split_at(inner.find('/').unwrap_or(inner.len())),
        _ => ("", rest),
    };
    percent_encoded(path) && self::authority(authority)
}

/// What follows the scheme; the text itself where there is none, `None` where a colon comes first.
fn after_scheme(text: &str) -> Option<&str> {
    for (at, c) in text.char_indices() {
        match c {
            'a'..='z' | 'A'..='Z' => {}
            '0'..='9' | '+' | '-' | '.' if at > 0 => {}
            ':' if at == 0 => return None,
            ':' => return Some(&text[at + 1..]),
            _ => return Some(text),
        }
    }
    Some(text)
}

fn percent_encoded(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .filter(|(_, c)| **c == b'%')
        .all(|(at, _)| {
            bytes
                .get(at + 1..at + 3)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        })
}

fn authority(text: &str) -> bool {
    let host = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let port = |text: &str| {
        text.is_empty()
            || text
                .strip_prefix(':')
                .is_some_and(|port| port.bytes().all(|c| c.is_ascii_digit()))
    };
    if host.starts_with('[') {
        return host.rfind(']').is_some_and(|end| port(&host[end + 1..]));
    }
    let name = match host.find(':') {
        Some(at) if !port(&host[at..]) => return false,
        Some(at) => &host[..at],
        None => host,
    };
    !name
        .chars()
        .any(|c| matches!(c, ' ' | '"' | '<' | '>' | '\\' | '^' | '`' | '{' | '|' | '}'))
        && percent_encoded(name)
}

/// One RFC 5322 address, with or without a display name.
pub(super) fn email(text: &str) -> bool {
    let text = text.trim_matches([' ', '\t']);
    let address = match text.strip_suffix('>') {
        Some(inner) => match inner.rfind('<') {
            Some(at) if display_name(inner[..at].trim_matches([' ', '\t'])) => &inner[at + 1..],
            _ => return false,
        },
        None => text,
    };
    let Some((local, domain)) = address.rsplit_once('@') else {
        return false;
    };
    let local = match local.strip_prefix('"').and_then(|l| l.strip_suffix('"')) {
        Some(quoted) => !quoted.is_empty() && !quoted.contains(['"', '\r', '\n']),
        None => dot_atom(local),
    };
    let domain = match domain.strip_prefix('[').and_then(|d| d.strip_suffix(']')) {
        Some(literal) => strict_ip(literal.strip_prefix("IPv6:").unwrap_or(literal)),
        None => dot_atom(domain),
    };
    local && domain
}

fn atom_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || !c.is_ascii() || "!#$%&'*+-/=?^_`{|}~".contains(c)
}

fn dot_atom(text: &str) -> bool {
    text.split('.')
        .all(|part| !part.is_empty() && part.chars().all(atom_char))
}

fn display_name(text: &str) -> bool {
    match text.strip_prefix('"') {
        Some(rest) => rest.ends_with('"'),
        None => text
            .chars()
            .all(|c| atom_char(c) || matches!(c, ' ' | '\t' | '.')),
    }
}
