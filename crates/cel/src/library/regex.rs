//! Regular expressions. Go's RE2 and the regex crate have the same syntax for what expressions use.

use super::{Answer, Context, failed};
use crate::value::Value;
use regex::Regex;
use std::borrow::Cow;

/// The size of a compiled pattern; larger ones are errors.
const PATTERN_SIZE: usize = 10 << 20;

pub(crate) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&translate(pattern))
        .size_limit(PATTERN_SIZE)
        .build()
}

/// What `\d` and its like are in RE2, as the inside of a class.
const CLASSES: [(char, &str); 3] = [('d', "0-9"), ('w', "0-9A-Za-z_"), ('s', "\\t\\n\\x0c\\r\\x20")];

/// A pattern of RE2 for the regex crate: classes are of ASCII, `\Q..\E` quotes, and inside brackets nothing but `\`
/// and named classes is special.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => escape(&mut chars, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                // A bracket that comes first is meant as such.
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
            }
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', c]),
            c => out.push(c),
        }
    }
    out
}

fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, in_class: bool, out: &mut String) {
    let Some(kind) = chars.next() else {
        out.push('\\');
        return;
    };
    let class = CLASSES
        .iter()
        .find(|(name, _)| *name == kind.to_ascii_lowercase());
    match (kind, class) {
        (_, Some((_, set))) if kind.is_ascii_uppercase() => out.extend(["[^", set, "]"]),
        (_, Some((_, set))) if in_class => out.push_str(set),
        (_, Some((_, set))) => out.extend(["[", set, "]"]),
        ('b', _) if !in_class => out.push_str("(?-u:\\b)"),
        ('Q', _) if !in_class => quote(chars, out),
        _ => out.extend(['\\', kind]),
    }
}

/// Text up to `\E` or the end.
fn quote(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let rest: String = chars.clone().collect();
    let quoted = rest.split("\\E").next().unwrap_or_default();
    out.push_str(&regex::escape(quoted));
    let end = if quoted.len() < rest.len() { 2 } else { 0 };
    for _ in 0..quoted.chars().count() + end {
        chars.next();
    }
}

/// Functions whose second argument is a pattern.
pub(crate) fn takes_pattern(function: &str) -> bool {
    matches!(function, "matches" | "find" | "findAll")
}

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (text, pattern, limit) = match args {
        [Value::String(text), Value::String(pattern)] => (text, pattern, -1),
        [Value::String(text), Value::String(pattern), Value::Int(n)] => (text, pattern, *n),
        _ => return context.no_overload(args),
    };
    let regex = match context.pattern {
        Some(regex) => Cow::Borrowed(regex),
        None => match compile(pattern) {
            Ok(regex) => Cow::Owned(regex),
            Err(_) => return failed(format!("error parsing regexp: `{}`", &**pattern)),
        },
    };
    match context.function {
        "matches" => Ok(Value::Bool(regex.is_match(text))),
        "find" => Ok(Value::string(regex.find(text).map_or("", |m| m.as_str()))),
        _ => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let found = regex
                .find_iter(text)
                .take(limit)
                .map(|m| Value::string(m.as_str()));
            Ok(Value::list(found.collect()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::compile;

    fn matches(pattern: &str, text: &str) -> bool {
        compile(pattern).is_ok_and(|regex| regex.is_match(text))
    }

    #[test]
    fn patterns_mean_what_they_mean_in_re2() {
        assert!(matches(r"^\d+$", "12") && !matches(r"^\d+$", "१२"));
        assert!(!matches(r"^\w$", "é") && matches(r"^\W$", "é"));
        assert!(matches(r"^[\w.]+$", "a_1.") && matches(r"^[^\s]$", "x"));
        assert!(matches(r"^[[]$", "[") && matches(r"^[]a]+$", "]a") && matches(r"^[&&~]$", "~"));
        assert!(matches(r"^[[:alpha:]]+$", "ab") && !matches(r"^[[:alpha:]]+$", "a1"));
        assert!(matches(r"^\Qa.b\Ec$", "a.bc") && !matches(r"^\Qa.b\Ec$", "axbc"));
        assert!(matches(r"\bfoo\b", "a foo b") && matches(r"^\x41\.\p{L}$", "A.é"));
        assert!(compile("[").is_err() && compile("a(").is_err() && compile("\\").is_err());
    }
}
