//! `metav1.Time` (whole seconds) and `metav1.MicroTime` (six decimals) in their JSON forms. The clock is the caller's.

pub use jiff::Timestamp;

/// `2026-11-20T19:03:01Z`: truncated to whole seconds.
pub fn format(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// `2026-11-20T19:03:01.000000Z`: always six decimals.
pub fn format_micro(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
}

/// Parses an RFC 3339 time with any fraction and offset; `None` when it is not one.
pub fn parse(text: &str) -> Option<Timestamp> {
    // jiff takes more than RFC 3339 does: a lowercase or missing separator, a missing offset, a bracketed zone.
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[10] != b'T' || text.ends_with(']') {
        return None;
    }
    text.parse().ok()
}

/// Seconds from `from` to `to`, negative when `to` is earlier.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn round_trips() {
        let at = parse("2026-11-20T20:03:01.1234567+01:00").unwrap();
        assert_eq!(format(at), "2026-11-20T19:03:01Z");
        assert_eq!(format_micro(at), "2026-11-20T19:03:01.123456Z");
        assert!(parse("2026-11-20 19:03:01Z").is_none());
        assert!(parse("yesterday").is_none());
    }
}
