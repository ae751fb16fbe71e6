//! Go's regular expressions on the `regex` crate: the same engine family, but some spellings differ, and a schema's
//! author is answered with Go's words.

use std::fmt;
use std::sync::OnceLock;

use regex::{Regex, RegexBuilder};

use super::translate::Translator;

/// Most memory a compiled pattern may take, in bytes; one that takes more counts as invalid.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// A pattern as written; compiled when first used, since most schemas of a cluster are never asked.
#[derive(Debug)]
pub struct Pattern {
    source: Box<str>,
    compiled: OnceLock<Option<Box<Regex>>>,
}

impl Pattern {
    pub fn new(source: &str) -> Self {
        Self {
            source: source.into(),
            compiled: OnceLock::new(),
        }
    }

    pub fn source(&self) -> &str {
        &self.source
    }

    /// Somewhere in the text; `None` when the pattern is not valid.
    pub fn is_match(&self, text: &str) -> Option<bool> {
        let compiled = self
            .compiled
            .get_or_init(|| compile(&self.source).ok().map(Box::new));
        compiled.as_ref().map(|regex| regex.is_match(text))
    }
}

impl Clone for Pattern {
    fn clone(&self) -> Self {
        Self::new(&self.source)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// Why a pattern is invalid, as Go says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError {
    pub(super) code: &'static str,
    pub(super) part: String,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error parsing regexp: {}: `{}`", self.code, self.part)
    }
}

impl std::error::Error for PatternError {}

pub(super) fn error<T>(code: &'static str, part: &str) -> Result<T, PatternError> {
    Err(PatternError {
        code,
        part: part.to_owned(),
    })
}

/// Compiles one of Go's expressions.
pub(crate) fn compile(source: &str) -> Result<Regex, PatternError> {
    let translated = Translator::new(source).run()?;
    RegexBuilder::new(&translated)
        .size_limit(COMPILED_BYTES_MAX)
        .build()
        .or_else(|failure| match failure {
            regex::Error::CompiledTooBig(_) => error("expression too large", ""),
            _ => error("invalid or unsupported Perl syntax", source),
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Pattern, compile};

    #[test]
    fn goes_by_gos_meaning() {
        let cases = [
            (r"^\d+$", "12", true),
            (r"^\d+$", "\u{663}", false),
            (r"^[a[b]+$", "a[b", true),
            (r"^[\w.-]+$", "a.b-c_9", true),
            (r"^a{,2}$", "a{,2}", true),
            (r"^\Q.*\E$", ".*", true),
            (r"^[[:alpha:]&&]+$", "ab&", true),
            (r"^\<x\>$", "<x>", true),
            (r"(?i)^ab$", "AB", true),
            (r"^[^\s/]+$", "a b", false),
            (r"^[+-]?[0-9]+$", "-1", true),
            (r"^(?P<n>[a-z]{2,3})\.(?:x|y)$", "abc.y", true),
            (r"^[]a]$", "]", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(
                Pattern::new(pattern).is_match(text),
                Some(expected),
                "{pattern} on {text}"
            );
        }
    }

    #[test]
    fn errors_are_gos() {
        let cases = [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("[a", "missing closing ]: `[a`"),
            ("+", "missing argument to repetition operator: `+`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            (r"\y", "invalid escape sequence: `\\y`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("\\", "trailing backslash at end of expression: ``"),
        ];
        for (pattern, expected) in cases {
            let text = compile(pattern).unwrap_err().to_string();
            assert_eq!(text, format!("error parsing regexp: {expected}"), "{pattern}");
        }
        assert_eq!(Pattern::new("(").is_match("("), None);
    }
}
