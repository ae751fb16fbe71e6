//! Errors with their place in the source, printed the way cel-go prints them.

use std::fmt::{self, Write};

/// One mistake in an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileError {
    /// 1-based; 0 where the error has no place.
    pub line: usize,
    /// 0-based, in characters.
    pub column: usize,
    pub message: String,
}

/// What is wrong with an expression, in source order. Its `Display` is cel-go's text with snippets and carets, the
/// form in which API errors carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompileErrors {
    errors: Vec<CompileError>,
    text: String,
}

impl std::error::Error for CompileErrors {}

impl fmt::Display for CompileErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// More mistakes than this are only counted.
const REPORTED_MAX: usize = 100;
/// Lines longer than this are not quoted.
const SNIPPET_MAX: usize = 16_384;

impl CompileErrors {
    pub fn errors(&self) -> &[CompileError] {
        &self.errors
    }

    /// `found` are byte offsets and messages; no offset means that the error has no place.
    pub(crate) fn new(source: &str, found: Vec<(Option<u32>, String)>) -> Self {
        let total = found.len();
        let mut errors: Vec<CompileError> = found
            .into_iter()
            .take(REPORTED_MAX)
            .map(|(offset, message)| place(source, offset, message))
            .collect();
        errors.sort_by_key(|e| (e.line, e.column));
        let mut text = String::new();
        for (i, error) in errors.iter().enumerate() {
            if i > 0 {
                text.push('\n');
            }
            display(source, error, &mut text);
        }
        if total > REPORTED_MAX {
            let _ = write!(text, "\n{} more errors were truncated", total - REPORTED_MAX);
        }
        Self { errors, text }
    }
}

fn place(source: &str, offset: Option<u32>, message: String) -> CompileError {
    let Some(offset) = offset else {
        return CompileError {
            line: 0,
            column: 0,
            message,
        };
    };
    let before = source.get(..offset as usize).unwrap_or(source);
    let line_start = before.rfind('\n').map_or(0, |i| i + 1);
    CompileError {
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count(),
        message,
    }
}

fn display(source: &str, error: &CompileError, out: &mut String) {
    // The parser's end of nothing is before its first column, and there is no line to quote.
    let nowhere = error.line == 0 || source.is_empty();
    let column = if nowhere { 0 } else { error.column + 1 };
    let line_number = if error.line == 0 { -1 } else { error.line as i64 };
    let _ = write!(out, "ERROR: <input>:{line_number}:{column}: {}", error.message);
    if nowhere {
        return;
    }
    let Some(line) = source.split('\n').nth(error.line - 1) else {
        return;
    };
    if line.len() > SNIPPET_MAX {
        return;
    }
    let line = line.replace('\t', " ");
    let _ = write!(out, "\n | {line}\n | ");
    let mut chars = line.chars();
    for _ in 0..error.column {
        match chars.next() {
            Some(c) => out.push(if c.len_utf8() > 1 { '\u{ff0e}' } else { '.' }),
            None => break,
        }
    }
    let wide = chars.next().is_some_and(|c| c.len_utf8() > 1);
    out.push(if wide { '\u{ff3e}' } else { '^' });
}

/// Why an evaluation has no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// What the expression did wrong, in cel-go's words.
    #[error("{0}")]
    Failed(String),
    /// One evaluation cost more than a call may ([`crate::PER_CALL_LIMIT`]).
    #[error("operation cancelled: actual cost limit exceeded")]
    CostLimit,
    /// The program was started without a variable it needs.
    #[error("no such attribute(s): {0}")]
    NoVariable(String),
}

impl EvalError {
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// Errors that `&&` and `||` do not absorb.
    pub(crate) fn is_fatal(&self) -> bool {
        matches!(self, EvalError::CostLimit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_before_its_first_column() {
        let text = |source: &str| CompileErrors::new(source, vec![(Some(0), "m".to_owned())]).to_string();
        assert_eq!(text(""), "ERROR: <input>:1:0: m");
        assert_eq!(text("x"), "ERROR: <input>:1:1: m\n | x\n | ^");
    }
}
