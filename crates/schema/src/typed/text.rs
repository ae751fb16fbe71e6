//! Times and durations in Go's texts.

use std::fmt::Write as _;

use corten_meta::time as meta_time;
use serde_json::Value;

/// `metav1.Time` from text: whole seconds, UTC. The error is Go's.
pub fn time(text: &str) -> Result<Value, String> {
    let at = meta_time::parse(text).ok_or_else(|| layout_error(text, "2006-01-02T15:04:05Z07:00", ""))?;
    Ok(Value::from(meta_time::format(at)))
}

/// `metav1.MicroTime` from text: exactly six decimals.
pub(super) fn micro_time(text: &str) -> Result<Value, String> {
    let layout = "2006-01-02T15:04:05.000000Z07:00";
    let fraction = text
        .get(19..26)
        .filter(|f| f.starts_with('.') && f[1..].bytes().all(|b| b.is_ascii_digit()));
    match (fraction, meta_time::parse(text)) {
        (Some(_), Some(at)) => Ok(Value::from(meta_time::format_micro(at))),
        _ => Err(layout_error(text, layout, ".000000")),
    }
}

/// As package `time` quotes: bytes outside printable ASCII as hexadecimal escapes.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b' '..=0x7f => out.push(char::from(byte)),
            byte => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// The message of Go's `time.Parse`: which element of the layout did not match which rest of the text.
fn layout_error(text: &str, layout: &str, fraction: &str) -> String {
    let elements = [
        "2006", "-", "01", "-", "02", "T", "15", ":", "04", ":", "05", fraction,
    ];
    let mut rest = text;
    let mut failed = "Z07:00";
    for element in elements {
        let fits = rest.len() >= element.len()
            && rest.bytes().zip(element.bytes()).all(|(b, e)| {
                if e.is_ascii_digit() {
                    b.is_ascii_digit()
                } else {
                    b == e
                }
            });
        if !fits {
            failed = element;
            break;
        }
        rest = &rest[element.len()..];
    }
    let (text, layout) = (quote(text), quote(layout));
    format!(
        "parsing time {text} as {layout}: cannot parse {} as {}",
        quote(rest),
        quote(failed)
    )
}

const UNITS: [(&str, i64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Go's `time.ParseDuration` in nanoseconds.
pub fn duration_nanos(text: &str) -> Result<i64, String> {
    let invalid = || format!("time: invalid duration {}", quote(text));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total = 0_f64;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().map_err(|_| invalid())?;
        rest = &rest[end..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = &rest[..end];
        if unit.is_empty() {
            return Err(format!("time: missing unit in duration {}", quote(text)));
        }
        let Some((_, nanos)) = UNITS.iter().find(|(name, _)| *name == unit) else {
            return Err(format!(
                "time: unknown unit {} in duration {}",
                quote(unit),
                quote(text)
            ));
        };
        total += number * *nanos as f64;
        rest = &rest[end..];
    }
    if total > i64::MAX as f64 {
        return Err(invalid());
    }
    Ok(if negative { -(total as i64) } else { total as i64 })
}

/// Go's text of a duration: `1h0m5.5s`, `300ms`, `0s`.
pub fn duration_text(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let n = nanos.unsigned_abs();
    let decimal = |unit: u64, name: &str| {
        let text = format!(
            "{}.{:09}",
            n / unit,
            u128::from(n % unit) * 1_000_000_000 / u128::from(unit)
        );
        format!("{sign}{}{name}", text.trim_end_matches('0').trim_end_matches('.'))
    };
    match n {
        0 => "0s".to_owned(),
        n if n < 1_000 => format!("{sign}{n}ns"),
        n if n < 1_000_000 => decimal(1_000, "µs"),
        n if n < 1_000_000_000 => decimal(1_000_000, "ms"),
        n if n < 60_000_000_000 => decimal(1_000_000_000, "s"),
        n => {
            let (minutes, rest) = (n / 60_000_000_000, n % 60_000_000_000);
            let seconds = if rest == 0 {
                "0s".to_owned()
            } else {
                duration_text(rest as i64)
            };
            let seconds = if rest > 0 && rest < 1_000_000_000 {
                let text = format!("0.{rest:09}");
                format!("{}s", text.trim_end_matches('0'))
            } else {
                seconds
            };
            if minutes < 60 {
                format!("{sign}{minutes}m{seconds}")
            } else {
                format!("{sign}{}h{}m{seconds}", minutes / 60, minutes % 60)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_as_go() {
        for (text, printed) in [
            ("60s", "1m0s"),
            ("32s", "32s"),
            ("1m30s", "1m30s"),
            ("500ms", "500ms"),
            ("1.5h", "1h30m0s"),
            ("300ms", "300ms"),
            ("0", "0s"),
            ("-2m3.5s", "-2m3.5s"),
        ] {
            assert_eq!(duration_text(duration_nanos(text).unwrap()), printed);
        }
        assert_eq!(
            duration_nanos("5").unwrap_err(),
            "time: missing unit in duration \"5\""
        );
        assert!(duration_nanos("x").is_err());
    }

    #[test]
    fn time_errors_as_go() {
        assert_eq!(
            time("abc").unwrap_err(),
            "parsing time \"abc\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"abc\" as \"2006\""
        );
        assert!(
            time("\u{fc}\"")
                .unwrap_err()
                .ends_with("cannot parse \"\\xc3\\xbc\\\"\" as \"2006\"")
        );
        assert_eq!(
            micro_time("2026-01-01T00:00:00.123456Z").unwrap(),
            "2026-01-01T00:00:00.123456Z"
        );
    }
}
