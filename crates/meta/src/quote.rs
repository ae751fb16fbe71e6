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

/// Characters Go does not print: controls, and separators other than the plain space.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || (c != ' ' && c.is_whitespace())
        || matches!(c as u32, 0xad | 0x200b..=0x200f | 0xfeff | 0xe000..=0xf8ff)
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn quotes_as_go() {
        assert_eq!(quote("a\"b\\\n\u{1}é\u{85}"), "\"a\\\"b\\\\\\n\\x01é\\u0085\"");
    }
}
