//! Reading paths.

use serde_json::Value;

use super::{Comparison, Filter, JsonPath, Node, Operand};

/// Characters that end a field's name.
const AFTER_FIELD: [char; 9] = ['.', '[', ']', ')', ' ', '\t', ',', '\r', '\n'];

pub(super) fn path(text: &str) -> Option<JsonPath> {
    let mut rest = text.trim();
    let mut nodes = Vec::new();
    // The object itself, by either of its names.
    rest = rest.strip_prefix(['@', '$']).unwrap_or(rest);
    while !rest.is_empty() {
        rest = if let Some(after) = rest.strip_prefix("..") {
            nodes.push(Node::Recursive);
            // A name may follow at once.
            match after.chars().next() {
                Some('.' | '[') | None => after,
                Some(_) => field(after, &mut nodes)?,
            }
        } else if let Some(after) = rest.strip_prefix('.') {
            if after.is_empty() || after.starts_with('[') {
                after
            } else {
                field(after, &mut nodes)?
            }
        } else if let Some(inside) = rest.strip_prefix('[') {
            let end = closing(inside)?;
            nodes.push(bracket(&inside[..end])?);
            &inside[end + 1..]
        } else {
            return None;
        };
    }
    Some(JsonPath(nodes))
}

/// A name up to the next step; a backslash takes the meaning off the character after it.
fn field<'t>(text: &'t str, nodes: &mut Vec<Node>) -> Option<&'t str> {
    let (mut name, mut escaped, mut end) = (String::new(), false, text.len());
    for (at, c) in text.char_indices() {
        if escaped {
            name.push(c);
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if AFTER_FIELD.contains(&c) {
            end = at;
            break;
        } else {
            name.push(c);
        }
    }
    if name.is_empty() || escaped {
        return None;
    }
    nodes.push(if name == "*" {
        Node::Wildcard
    } else {
        Node::Field(name.into())
    });
    Some(&text[end..])
}

/// Where a bracket that has been opened closes, quotes and brackets inside aside.
fn closing(text: &str) -> Option<usize> {
    let (mut quote, mut depth, mut escaped) = (None, 0, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '[') => depth += 1,
            (None, ']') if depth == 0 => return Some(at),
            (None, ']') => depth -= 1,
            _ => {}
        }
    }
    None
}

fn bracket(text: &str) -> Option<Node> {
    let text = text.trim();
    if let Some(inside) = text.strip_prefix('?') {
        let inside = inside.trim().strip_prefix('(')?.strip_suffix(')')?;
        return Some(Node::Filter(Box::new(filter(inside)?)));
    }
    let parts = split(text, ',');
    if parts.len() > 1 {
        let paths: Option<Vec<JsonPath>> = parts
            .iter()
            .map(|part| Some(JsonPath(vec![bracket(part)?])))
            .collect();
        return Some(Node::Union(paths?));
    }
    if text == "*" {
        return Some(Node::Wildcard);
    }
    if let Some(name) = quoted(text) {
        return Some(Node::Field(name.into()));
    }
    let number = |text: &str| match text {
        "" => Some(None),
        text => text.parse::<i64>().ok().map(Some),
    };
    let mut bounds = text.split(':');
    let start = number(bounds.next()?.trim())?;
    let (end, step) = match (bounds.next(), bounds.next(), bounds.next()) {
        (None, ..) => {
            // A single index: one item from there.
            let at = start?;
            (if at == -1 { None } else { Some(at + 1) }, None)
        }
        (Some(end), step, None) => (number(end.trim())?, number(step.unwrap_or_default().trim())?),
        _ => return None,
    };
    Some(Node::Slice { start, end, step })
}

fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut quote) = (Vec::new(), 0, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, c) if c == separator => {
                parts.push(text[from..at].trim());
                from = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[from..].trim());
    parts
}

fn quoted(text: &str) -> Option<String> {
    let quote = text.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let inside = text.strip_prefix(quote)?.strip_suffix(quote)?;
    let (mut out, mut escaped) = (String::new(), false);
    for c in inside.chars() {
        if !escaped && c == '\\' {
            escaped = true;
        } else {
            out.push(c);
            escaped = false;
        }
    }
    Some(out)
}

fn filter(text: &str) -> Option<Filter> {
    let operator = |c: char| matches!(c, '!' | '<' | '>' | '=');
    let Some(start) = text.find(operator) else {
        let left = operand(text)?;
        return Some(Filter { left, compare: None });
    };
    let rest = &text[start..];
    let end = rest.find(|c| !operator(c))?;
    let comparison = match &rest[..end] {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "<" => Comparison::Less,
        "<=" => Comparison::LessOrEqual,
        ">" => Comparison::Greater,
        ">=" => Comparison::GreaterOrEqual,
        _ => return None,
    };
    Some(Filter {
        left: operand(&text[..start])?,
        compare: Some((comparison, operand(&rest[end..])?)),
    })
}

fn operand(text: &str) -> Option<Operand> {
    let text = text.trim();
    if text.starts_with(['@', '.', '$', '[']) {
        return path(text).map(Operand::Path);
    }
    let literal = match quoted(text) {
        Some(text) => Value::from(text),
        None => match serde_json::from_str(text).ok()? {
            value @ (Value::Number(_) | Value::Bool(_)) => value,
            _ => return None,
        },
    };
    Some(Operand::Literal(literal))
}
