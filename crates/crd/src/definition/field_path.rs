//! Paths into a schema, as rules and selectable fields name them: `.spec.x`, `['with.dot']`.

use crate::structural::{Additional, Structural};

/// A path that leads somewhere.
#[derive(Debug)]
pub(crate) struct Found<'s> {
    pub path: String,
    pub root: String,
    pub schema: &'s Structural,
}

/// Follows a path. Errors are upstream's texts.
pub(crate) fn follow<'s>(text: &str, schema: &'s Structural, brackets: bool) -> Result<Found<'s>, String> {
    let mut found = Found {
        path: String::new(),
        root: String::new(),
        schema,
    };
    let mut tokens = tokens(text).into_iter();
    let end = || "unexpected end of JSON path".to_owned();
    while let Some(token) = tokens.next() {
        match token {
            "." => {
                let name = tokens.next().ok_or_else(end)?;
                found.step(name)?;
            }
            "[" if !brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let token = tokens.next().ok_or_else(end)?;
                let inside = token
                    .strip_prefix('\'')
                    .and_then(|rest| rest.strip_suffix('\''))
                    .ok_or_else(|| format!("expected single quoted string but got {token}"))?;
                let name = unescape(inside).map_err(|e| format!("invalid string literal: {e}"))?;
                found.step(&name)?;
                match tokens.next().ok_or_else(end)? {
                    "]" => {}
                    other => return Err(format!("expected ] but got {other}")),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

impl Found<'_> {
    fn step(&mut self, name: &str) -> Result<(), String> {
        let wrong = || "does not refer to a valid field".to_owned();
        if !self.schema.properties.is_empty() {
            self.schema = self.schema.property(name).ok_or_else(wrong)?;
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(name);
        } else if let Additional::Schema(schema) = &self.schema.additional {
            self.schema = schema;
            self.path.push_str(&format!("[{name}]"));
        } else {
            return Err(wrong());
        }
        if self.root.is_empty() {
            name.clone_into(&mut self.root);
        }
        Ok(())
    }
}

/// Delimiters, and what is between them; quotes keep a name together.
fn tokens(text: &str) -> Vec<&str> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(first) = rest.chars().next() {
        let end = if first == '\'' {
            let mut escaped = false;
            rest.char_indices()
                .skip(1)
                .find(|(_, c)| {
                    let ends = *c == '\'' && !escaped;
                    escaped = *c == '\\';
                    ends
                })
                .map_or(rest.len(), |(at, _)| at + 1)
        } else if matches!(first, '.' | '[' | ']') {
            1
        } else {
            rest.find(['.', '[', ']']).unwrap_or(rest.len())
        };
        out.push(&rest[..end]);
        rest = &rest[end..];
    }
    out
}

fn unescape(text: &str) -> Result<String, String> {
    let (mut out, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match chars.next() {
            Some('a') => '\u{7}',
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('v') => '\u{b}',
            Some(c @ ('\'' | '\\')) => c,
            other => {
                let c = other.map(String::from).unwrap_or_default();
                return Err(format!("invalid escape char \\{c}"));
            }
        });
    }
    Ok(out)
}
