//! Go's `%q`: error messages quote values this way, and clients compare the text.

use std::fmt::Write;

/// Quotes a string as Go's `strconv.Quote`: printable characters as they are, the rest escaped.
pub fn quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        push_escaped(&mut out, c);
    }
    out.push('"');
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => drop(write!(out, "\\x{:02x}", c as u32)),
        c if is_hidden(c) && (c as u32) < 0x10000 => drop(write!(out, "\\u{:04x}", c as u32)),
        c if is_hidden(c) => drop(write!(out, "\\U{:08x}", c as u32)),
        c => out.push(c),
    }
}

/// Go's `unicode.IsPrint`, but that what is not assigned yet counts as printed.
pub fn is_printed(c: char) -> bool {
    !is_hidden(c)
}

/// Characters Go does not print: controls, separators other than the plain space, what only formats, and private ones.
fn is_hidden(c: char) -> bool {
    c.is_control() || (c != ' ' && c.is_whitespace()) || is_format(c) || is_private(c)
}

/// Unicode's category Cf.
fn is_format(c: char) -> bool {
    matches!(c as u32,
        0xad | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x890..=0x891 | 0x8e2 | 0x180e | 0x200b..=0x200f
        | 0x202a..=0x202e | 0x2060..=0x2064 | 0x2066..=0x206f | 0xfeff | 0xfff9..=0xfffb | 0x110bd | 0x110cd
        | 0x13430..=0x1343f | 0x1bca0..=0x1bca3 | 0x1d173..=0x1d17a | 0xe0001 | 0xe0020..=0xe007f)
}

/// Unicode's category Co.
fn is_private(c: char) -> bool {
    matches!(c as u32, 0xe000..=0xf8ff | 0xf0000..=0xffffd | 0x10_0000..=0x10_fffd)
}

/// A float as Go's `%v` prints it: the shortest digits, with an exponent from a million on and under
/// 1e-4.
pub fn print_float(float: f64) -> String {
    if float == 0.0 {
        return if float.is_sign_negative() { "-0" } else { "0" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..6).contains(&exponent) {
        return format!("{float}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// JSON text with the characters escaped that Go's encoder escapes for HTML.
pub fn html_safe(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out
}

/// What Go's decoder calls a JSON value.
pub fn json_word(value: &serde_json::Value) -> &'static str {
    use serde_json::Value;
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::{html_safe, print_float, quote};

    #[test]
    fn quotes_as_go() {
        assert_eq!(quote("a\"b\\\n\u{1}é\u{85}"), "\"a\\\"b\\\\\\n\\x01é\\u0085\"");
        let unprinted = "\u{200b}\u{202e}\u{2028}\u{e000}\u{e0001}";
        assert_eq!(quote(unprinted), r#""\u200b\u202e\u2028\ue000\U000e0001""#);
    }

    #[test]
    fn floats_and_json_as_go() {
        let cases = [
            (1.5, "1.5"),
            (100_000.0, "100000"),
            (1_000_000.0, "1e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
        ];
        for (float, text) in cases {
            assert_eq!(print_float(float), text);
        }
        assert_eq!(html_safe("\"a<b\""), "\"a\\u003cb\"");
    }
}
