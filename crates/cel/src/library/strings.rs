//! Text: what the language has, and cel-go's extension at version 2. Positions count characters.

use super::{Answer, Context, failed};
use crate::value::{Text, Value};

pub(super) fn compute<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    if context.function == "join" {
        return join(context, args);
    }
    let Some((Value::String(text), rest)) = args.split_first() else {
        return context.no_overload(args);
    };
    match (context.function, rest) {
        ("contains", [Value::String(s)]) => Ok(Value::Bool(text.contains(&**s))),
        ("startsWith", [Value::String(s)]) => Ok(Value::Bool(text.starts_with(&**s))),
        ("endsWith", [Value::String(s)]) => Ok(Value::Bool(text.ends_with(&**s))),
        ("charAt", [Value::Int(i)]) => char_at(text, *i),
        ("lowerAscii", []) => Ok(Value::string(text.to_ascii_lowercase())),
        ("upperAscii", []) => Ok(Value::string(text.to_ascii_uppercase())),
        ("trim", []) => Ok(trim(text)),
        ("replace", [Value::String(old), Value::String(new)]) => Ok(Value::string(text.replace(&**old, new))),
        ("replace", [Value::String(old), Value::String(new), Value::Int(n)]) => {
            Ok(replace_n(text, old, new, *n))
        }
        ("split", [Value::String(separator)]) => Ok(split(text, separator, -1)),
        ("split", [Value::String(separator), Value::Int(n)]) => Ok(split(text, separator, *n)),
        ("substring", [Value::Int(start)]) => substring(text, *start, None),
        ("substring", [Value::Int(start), Value::Int(end)]) => substring(text, *start, Some(*end)),
        ("strings.quote", []) => Ok(Value::string(quote(text))),
        _ => context.no_overload(args),
    }
}

fn join<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (list, separator) = match args {
        [list] => (list, ""),
        [list, Value::String(separator)] => (list, &**separator),
        _ => return context.no_overload(args),
    };
    let Some(len) = list.list_len() else {
        return context.no_overload(args);
    };
    let mut out = String::new();
    for i in 0..len {
        if i > 0 {
            out.push_str(separator);
        }
        match list.list_get(i) {
            Some(Value::String(s)) => out.push_str(&s),
            Some(_) => return context.no_overload(args),
            None => {}
        }
    }
    Ok(Value::string(out))
}

/// The text from byte `start` to `end`, sharing what is borrowed.
fn slice<'a>(text: &Text<'a>, start: usize, end: usize) -> Value<'a> {
    match text {
        Text::Borrowed(s) => Value::str(&s[start..end]),
        Text::Shared(s) => Value::string(&s[start..end]),
    }
}

fn trim<'a>(text: &Text<'a>) -> Value<'a> {
    let start = text.len() - text.trim_start().len();
    slice(text, start, start + text.trim().len())
}

/// Byte offset of a character, the end included; None beyond it.
fn offset(text: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    text.char_indices().map(|(i, _)| i).chain([text.len()]).nth(index)
}

fn char_at<'a>(text: &Text<'a>, index: i64) -> Answer<'a> {
    match offset(text, index) {
        Some(at) => {
            let len = text[at..].chars().next().map_or(0, char::len_utf8);
            Ok(slice(text, at, at + len))
        }
        None => failed(format!("index out of range: {index}")),
    }
}

fn substring<'a>(text: &Text<'a>, start: i64, end: Option<i64>) -> Answer<'a> {
    if let Some(end) = end.filter(|end| start > *end) {
        return failed(format!("invalid substring range. start: {start}, end: {end}"));
    }
    let Some(from) = offset(text, start) else {
        return failed(format!("index out of range: {start}"));
    };
    let to = match end {
        Some(end) => match offset(text, end) {
            Some(to) => to,
            None => return failed(format!("index out of range: {end}")),
        },
        None => text.len(),
    };
    Ok(slice(text, from, to))
}

fn replace_n<'a>(text: &str, old: &str, new: &str, n: i64) -> Value<'a> {
    match usize::try_from(n) {
        Ok(n) => Value::string(text.replacen(old, new, n)),
        Err(_) => Value::string(text.replace(old, new)),
    }
}

/// Go's `SplitN`: no parts for 0, all for negative numbers; an empty separator splits characters.
fn split<'a>(text: &str, separator: &str, n: i64) -> Value<'a> {
    let parts: Vec<&str> = match usize::try_from(n) {
        Ok(0) => Vec::new(),
        limit if separator.is_empty() => characters(text, limit.ok()),
        Ok(limit) => text.splitn(limit, separator).collect(),
        Err(_) => text.split(separator).collect(),
    };
    Value::list(parts.into_iter().map(Value::string).collect())
}

fn characters(text: &str, limit: Option<usize>) -> Vec<&str> {
    let mut starts: Vec<usize> = text.char_indices().map(|(i, _)| i).collect();
    starts.truncate(limit.unwrap_or(usize::MAX));
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts
        .iter()
        .zip(ends)
        .map(|(start, end)| &text[*start..end])
        .collect()
}

/// In double quotes, with escapes for what CEL would escape.
fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            '\\' => out.push_str("\\\\"),
            '"' => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `indexOf` and `lastIndexOf`, of text and of lists.
pub(super) fn index<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let last = context.function == "lastIndexOf";
    match args {
        [Value::String(text), Value::String(part)] if last => {
            let len = text.chars().count() as i64;
            if part.is_empty() {
                return Ok(Value::Int(len));
            }
            if text.len() < part.len() {
                return Ok(Value::Int(-1));
            }
            index_from(text, part, len - 1, true)
        }
        [Value::String(text), Value::String(part)] => index_from(text, part, 0, false),
        [Value::String(text), Value::String(part), Value::Int(from)] => index_from(text, part, *from, last),
        [list, item] if list.is_list() => super::lists::index_of(context, list, item, last),
        _ => context.no_overload(args),
    }
}

fn index_from<'a>(text: &str, part: &str, from: i64, last: bool) -> Answer<'a> {
    if part.is_empty() {
        return Ok(Value::Int(from));
    }
    let Ok(start) = usize::try_from(from) else {
        return failed(format!("index out of range: {from}"));
    };
    let text: Vec<char> = text.chars().collect();
    let part: Vec<char> = part.chars().collect();
    if start >= text.len() || part.len() > text.len() {
        return Ok(Value::Int(-1));
    }
    let fits = |i: &usize| text[*i..].starts_with(&part);
    let found = if last {
        (0..=start.min(text.len() - part.len())).rev().find(fits)
    } else {
        (start..=text.len() - part.len()).find(fits)
    };
    Ok(Value::Int(found.map_or(-1, |i| i as i64)))
}
