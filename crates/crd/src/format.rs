//! `format`: which ones upstream knows for CRDs, and what they accept (kube-openapi's `strfmt`).

mod codes;
mod network;
mod time;

use regex::Regex;
use std::sync::LazyLock;

type Accepts = fn(&str) -> bool;

/// Formats of strings, by their name without dashes.
const STRINGS: [(&str, Accepts); 26] = [
    ("bsonobjectid", |s| {
        s.len() == 24 && s.bytes().all(|c| c.is_ascii_hexdigit())
    }),
    ("uri", network::request_uri),
    ("email", network::email),
    ("hostname", network::hostname),
    ("ipv4", |s| s.contains('.') && network::ip(s)),
    ("ipv6", |s| s.contains(':') && network::strict_ip(s)),
    ("cidr", network::cidr),
    ("mac", network::mac),
    ("uuid", |s| uuid(s, None)),
    ("uuid3", |s| uuid(s, Some(b'3'))),
    ("uuid4", |s| uuid(s, Some(b'4'))),
    ("uuid5", |s| uuid(s, Some(b'5'))),
    ("isbn", |s| codes::isbn10(s) || codes::isbn13(s)),
    ("isbn10", codes::isbn10),
    ("isbn13", codes::isbn13),
    ("creditcard", codes::credit_card),
    ("ssn", |s| s.len() == 11 && matches(&SSN, s)),
    ("hexcolor", codes::hex_color),
    ("rgbcolor", |s| matches(&RGB, s)),
    ("byte", codes::base64),
    ("password", |_| true),
    ("date", time::date),
    ("duration", time::duration),
    ("datetime", time::date_time),
    ("k8sshortname", |s| s.len() <= 63 && network::label(s)),
    ("k8slongname", |s| {
        s.len() <= 253 && s.split('.').all(network::label)
    }),
];

static SSN: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}$").ok());
static RGB: LazyLock<Option<Regex>> = LazyLock::new(|| {
    const BYTE: &str = "(0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])";
    let space = "[\\t\\n\\x0c\\r ]*";
    let part = format!("{space}{BYTE}{space}");
    Regex::new(&format!("^rgb\\({part},{part},{part}\\)$")).ok()
});

fn matches(regex: &LazyLock<Option<Regex>>, text: &str) -> bool {
    regex.as_ref().is_some_and(|regex| regex.is_match(text))
}

fn find(name: &str) -> Option<Accepts> {
    let is = |known: &str| {
        let plain = name.bytes().filter(|c| *c != b'-');
        plain.eq(known.bytes())
    };
    STRINGS
        .iter()
        .find(|(known, _)| is(known))
        .map(|(_, accepts)| *accepts)
}

/// Formats of numbers. They say what a schema's own values may be, and nothing of objects.
pub(crate) const OF_NUMBERS: [&str; 4] = ["int32", "int64", "float", "double"];

/// The format means something for a type (`""` where none is named); otherwise upstream ignores it.
pub(crate) fn is_known(name: &str, kind: &str) -> bool {
    match kind {
        "" | "string" => find(name).is_some(),
        "integer" => OF_NUMBERS[..2].contains(&name),
        "number" => OF_NUMBERS[2..].contains(&name),
        _ => false,
    }
}

/// Whether a string fits; `None` for formats that are not of strings.
pub(crate) fn accepts(name: &str, text: &str) -> Option<bool> {
    find(name).map(|accepts| accepts(text))
}

/// Groups of 8-4-4-4-12 hexadecimal digits, each dash optional; a version may be asked for.
fn uuid(text: &str, version: Option<u8>) -> bool {
    let mut rest = text.as_bytes();
    for (at, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if at > 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        let Some((group, after)) = rest.split_at_checked(length) else {
            return false;
        };
        let variant = matches!(version, Some(b'4' | b'5'))
            && at == 3
            && !matches!(group[0], b'8' | b'9' | b'a' | b'b' | b'A' | b'B');
        let wrong = at == 2 && version.is_some_and(|version| group[0] != version);
        if variant || wrong || !group.iter().all(u8::is_ascii_hexdigit) {
            return false;
        }
        rest = after;
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::{accepts, is_known};

    fn check(format: &str, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(accepts(format, text), Some(true), "{format} {text}");
        }
        for text in bad {
            assert_eq!(accepts(format, text), Some(false), "{format} {text}");
        }
    }

    #[test]
    fn strings() {
        check(
            "uri",
            &["http://a.b/c?d", "/path", "mailto:x"],
            &["", "a b", "rel/path", "http://[::1"],
        );
        check(
            "email",
            &["a@b.c", "Name <a@b.c>", "\"x y\"@b"],
            &["a", "a@", "@b", "a b@c"],
        );
        check("hostname", &["example.com", "a-b"], &["-a", "a..b", "a_b."]);
        check("ipv4", &["10.0.0.1"], &["::1", "1.2.3", "256.1.1.1"]);
        check("ipv6", &["::1", "fe80::1"], &["10.0.0.1", "fe80::1%eth0"]);
        check("cidr", &["10.0.0.0/8", "fe80::/10"], &["10.0.0.0", "10.0.0.0/33"]);
        check(
            "mac",
            &["01:23:45:67:89:ab", "0123.4567.89ab"],
            &["01:23", "01-23:45-67-89-ab"],
        );
        check(
            "uuid4",
            &["f47ac10b-58cc-4372-a567-0e02b2c3d479"],
            &["f47ac10b-58cc-3372-a567-0e02b2c3d479"],
        );
        check("isbn", &["0321751043", "978-0321751041"], &["0321751044"]);
        check("creditcard", &["4111-1111-1111-1111"], &["4111-1111-1111-1112"]);
        check("ssn", &["111-11-1111"], &["999 111-999"]);
        check("hexcolor", &["#FFF", "ffffff"], &["#ff"]);
        check("rgbcolor", &["rgb(0, 1 ,255)"], &["rgb(0,1,256)", "rgb(1,2)"]);
        check("byte", &["YQ==", "YWJj"], &["YQ", "Y Q=", ""]);
        check("date", &["2020-02-29"], &["2019-02-29", "2020-2-1"]);
        check(
            "date-time",
            &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20+01:00"],
            &["2014-12-15", "x"],
        );
        check(
            "duration",
            &["22 ns", "1h3m", "3 weeks", "-1.5s"],
            &["1", "h", ""],
        );
        check("k8s-short-name", &["a-b"], &["a.b", "-a", "A"]);
        check("k8s-long-name", &["a.b-c"], &["a..b"]);
        check(
            "bsonobjectid",
            &["507f1f77bcf86cd799439011"],
            &["507f1f77bcf86cd79943901"],
        );
    }

    #[test]
    fn known_by_type() {
        assert!(is_known("date-time", "string") && is_known("int32", "integer"));
        assert!(!is_known("int32", "string") && !is_known("bogus", "") && !is_known("date", "object"));
    }
}
