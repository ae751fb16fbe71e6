//! Query strings: decoding, and Go's conversions of their values with Go's error texts.

/// A decoded query string; keys may repeat.
#[derive(Debug, Default, Clone)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Decodes `a=b&c=d`. Pairs with bad escapes are dropped, as Go's `url.Query` does.
    pub fn parse(raw: Option<&str>) -> Self {
        let Some(raw) = raw else { return Self::default() };
        let pairs = raw
            .split('&')
            .filter(|p| !p.is_empty() && !p.contains(';'))
            .filter_map(|pair| {
                let (k, v) = pair.split_once('=').unwrap_or((pair, ""));
                Some((unescape(k, true)?, unescape(v, true)?))
            });
        Self(pairs.collect())
    }

    /// First value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// First value of a key, `""` where absent.
    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or_default()
    }

    /// All values of a key.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    /// Upstream's query booleans: absent is `None`, `false` and `0` are false, whatever else is true.
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)
            .map(|v| !(v.eq_ignore_ascii_case("false") || v == "0"))
    }

    /// A decimal integer.
    ///
    /// # Errors
    /// Go's `strconv.ParseInt` text where it is none.
    pub fn int(&self, key: &str) -> Result<Option<i64>, String> {
        let Some(v) = self.get(key) else { return Ok(None) };
        parse_int(v).map(Some)
    }
}

/// Go's `strconv.ParseInt(v, 10, 64)` with its error text.
///
/// # Errors
/// The text Go gives.
pub fn parse_int(v: &str) -> Result<i64, String> {
    v.parse::<i64>().map_err(|e| {
        use std::num::IntErrorKind::{NegOverflow, PosOverflow};
        let why = match e.kind() {
            PosOverflow | NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.ParseInt: parsing {v:?}: {why}")
    })
}

/// Undoes percent-escapes (and `+` in queries); `None` where an escape is cut short or the result is not UTF-8.
pub fn unescape(s: &str, plus_is_space: bool) -> Option<String> {
    if !s.bytes().any(|b| b == b'%' || (plus_is_space && b == b'+')) {
        return Some(s.to_owned());
    }
    let mut out = Vec::with_capacity(s.len());
    let mut bytes = s.bytes();
    while let Some(b) = bytes.next() {
        out.push(match b {
            b'%' => (hex(bytes.next()?)? << 4) | hex(bytes.next()?)?,
            b'+' if plus_is_space => b' ',
            b => b,
        });
    }
    String::from_utf8(out).ok()
}

/// Percent-escapes everything but unreserved characters (RFC 3986, 2.3).
pub fn escape(s: &str) -> String {
    let mut out = String::with_capacity(s.len());
    for b in s.bytes() {
        if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
            out.push(char::from(b));
        } else {
            let _ = std::fmt::Write::write_fmt(&mut out, format_args!("%{b:02X}"));
        }
    }
    out
}

fn hex(b: u8) -> Option<u8> {
    char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn decodes() {
        let q = Query::parse(Some("a=b+c&labelSelector=i%3D%3D1&x&watch=0&a=2&bad=%zz"));
        assert_eq!(q.get("a"), Some("b c"));
        assert_eq!(q.all("a").count(), 2);
        assert_eq!(q.text("labelSelector"), "i==1");
        assert_eq!(q.get("x"), Some(""));
        assert_eq!(q.flag("watch"), Some(false));
        assert_eq!(q.flag("x"), Some(true));
        assert_eq!(q.get("bad"), None);
    }

    #[test]
    fn integers_fail_in_gos_words() {
        let q = Query::parse(Some("limit=x&big=99999999999999999999"));
        assert_eq!(
            q.int("limit").unwrap_err(),
            "strconv.ParseInt: parsing \"x\": invalid syntax"
        );
        assert_eq!(
            q.int("big").unwrap_err(),
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"
        );
    }
}
