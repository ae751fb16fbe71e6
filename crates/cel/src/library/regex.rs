//! Regular expressions. Go's RE2 and the regex crate have the same syntax for what expressions use.

use super::{Answer, Context, failed};
use crate::value::Value;
use regex::Regex;
use std::borrow::Cow;

/// The size of a compiled pattern; larger ones are errors.
const PATTERN_SIZE: usize = 1 << 20;

pub(crate) fn compile(pattern: &str) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE).build()
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
