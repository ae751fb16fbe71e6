//! Property names as identifiers: `a.b` is written `a__dot__b`, `namespace` is written `__namespace__`.

/// Words that cannot be identifiers.
pub(crate) const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether expressions can call something by this name.
pub fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts = |c: u8| c == b'_' || c.is_ascii_alphabetic();
    bytes.next().is_some_and(starts)
        && bytes.all(|c| starts(c) || c.is_ascii_digit())
        && !RESERVED.contains(&name)
}

const ESCAPES: [(&str, &str); 4] = [
    ("__", "__underscores__"),
    (".", "__dot__"),
    ("-", "__dash__"),
    ("/", "__slash__"),
];

/// The identifier by which an expression reaches the property, or None if it cannot be reached by one.
pub fn escape(name: &str) -> Option<String> {
    let first = name.bytes().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    let mut out = String::with_capacity(name.len());
    let mut rest = name;
    'next: while let Some(c) = rest.chars().next() {
        for (plain, escaped) in ESCAPES {
            if let Some(tail) = rest.strip_prefix(plain) {
                out.push_str(escaped);
                rest = tail;
                continue 'next;
            }
        }
        if !c.is_ascii_alphanumeric() && c != '_' {
            return None;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

/// The property that an identifier means, or None if it is not the escape of any name.
pub fn unescape(identifier: &str) -> Option<String> {
    if !identifier.contains("__") {
        return Some(identifier.to_owned());
    }
    if let Some(word) = identifier.strip_prefix("__").and_then(|s| s.strip_suffix("__"))
        && RESERVED.contains(&word)
    {
        return Some(word.to_owned());
    }
    let mut out = String::with_capacity(identifier.len());
    let mut rest = identifier;
    'next: while let Some(c) = rest.chars().next() {
        for (plain, escaped) in ESCAPES {
            if let Some(tail) = rest.strip_prefix(escaped) {
                out.push_str(plain);
                rest = tail;
                continue 'next;
            }
        }
        if rest.starts_with("__") && rest.len() > 2 {
            return None;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for name in [
            "a",
            "a.b",
            "x-y/z",
            "namespace",
            "a__b",
            "_a",
            "a_b",
            "namespaces",
        ] {
            let back = escape(name).and_then(|escaped| unescape(&escaped));
            assert_eq!(back.as_deref(), Some(name), "{name}");
        }
        assert_eq!(escape("a.b").as_deref(), Some("a__dot__b"));
        assert_eq!(escape("1a"), None);
        assert_eq!(escape("a b"), None);
        assert_eq!(unescape("a__b"), None);
    }
}
