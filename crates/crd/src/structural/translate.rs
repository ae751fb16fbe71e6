//! From Go's syntax of regular expressions to the crate's.

use super::pattern::{PatternError, error};

/// Most repetitions a pattern may ask for (Go's).
const REPEAT_MAX: u32 = 1000;

/// Reads Go's syntax and writes the crate's.
pub(super) struct Translator<'p> {
    source: &'p str,
    rest: &'p str,
    out: String,
    /// Open groups.
    depth: usize,
    /// There is something to repeat.
    atom: bool,
    /// The repetition just read, for the error on another.
    repeat: Option<&'p str>,
}

impl<'p> Translator<'p> {
    pub fn new(source: &'p str) -> Self {
        Self {
            source,
            rest: source,
            out: String::with_capacity(source.len() + 8),
            depth: 0,
            atom: false,
            repeat: None,
        }
    }

    /// The expression in the crate's syntax.
    pub fn run(mut self) -> Result<String, PatternError> {
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let repeated = self.repeat.take();
            match c {
                '*' | '+' | '?' => self.repetition(before, 1, repeated)?,
                '{' => match counted(before)? {
                    Some(length) => self.repetition(before, length, repeated)?,
                    None => self.literal("\\{", 1),
                },
                '}' => self.literal("\\}", 1),
                '(' => self.group()?,
                ')' if self.depth == 0 => return error("unexpected )", self.source),
                ')' => {
                    self.depth -= 1;
                    self.literal(")", 1);
                }
                '|' => {
                    self.literal("|", 1);
                    self.atom = false;
                }
                '[' => self.class()?,
                '\\' => self.escape()?,
                '#' | '&' | '-' | '~' => {
                    let text = format!("\\{c}");
                    self.literal(&text, 1);
                }
                c => self.literal(&before[..c.len_utf8()], c.len_utf8()),
            }
        }
        if self.depth > 0 {
            return error("missing closing )", self.source);
        }
        Ok(self.out)
    }

    fn literal(&mut self, text: &str, length: usize) {
        self.out.push_str(text);
        self.rest = &self.rest[length..];
        self.atom = true;
    }

    fn repetition(
        &mut self,
        before: &'p str,
        length: usize,
        earlier: Option<&'p str>,
    ) -> Result<(), PatternError> {
        let lazy = usize::from(before[length..].starts_with('?'));
        let op = &before[..length + lazy];
        if let Some(earlier) = earlier {
            let both = earlier.len() - before.len() + op.len();
            return error("invalid nested repetition operator", &earlier[..both]);
        }
        if !self.atom {
            return error("missing argument to repetition operator", op);
        }
        self.out.push_str(op);
        self.rest = &before[op.len()..];
        self.repeat = Some(before);
        Ok(())
    }

    fn group(&mut self) -> Result<(), PatternError> {
        let before = self.rest;
        let Some(inside) = before.strip_prefix("(?") else {
            self.depth += 1;
            self.literal("(", 1);
            self.atom = false;
            return Ok(());
        };
        if inside.starts_with("P<") || inside.starts_with('<') {
            return self.named(inside);
        }
        let Some(end) = inside.find([':', ')']) else {
            return error("missing argument to repetition operator", "?");
        };
        let flags = &inside[..end];
        let negated = flags.matches('-').count();
        let known = flags.chars().all(|c| matches!(c, 'i' | 'm' | 's' | 'U' | '-'));
        if !known || negated > 1 || flags.ends_with('-') || (flags.is_empty() && inside.starts_with(')')) {
            let wrong = flags
                .find(|c| !matches!(c, 'i' | 'm' | 's' | 'U' | '-'))
                .unwrap_or(end);
            let shown = before.len().min(2 + wrong + 1);
            return error(
                "invalid or unsupported Perl syntax",
                before.get(..shown).unwrap_or(before),
            );
        }
        let opens = inside[end..].starts_with(':');
        self.out.push_str(&before[..2 + end + 1]);
        self.rest = &before[2 + end + 1..];
        if opens {
            self.depth += 1;
            self.atom = false;
        }
        Ok(())
    }

    fn named(&mut self, inside: &str) -> Result<(), PatternError> {
        let before = self.rest;
        let start = if inside.starts_with('P') { 2 } else { 1 };
        let Some(end) = inside.find('>') else {
            // Look-behind reads like a name that does not end.
            return error("invalid named capture", before);
        };
        let name = &inside[start..end];
        let valid = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !valid {
            return error("invalid named capture", &before[..2 + end + 1]);
        }
        self.depth += 1;
        // Names matter to nobody here, and the crate is stricter about them.
        self.out.push('(');
        self.rest = &before[2 + end + 1..];
        self.atom = false;
        Ok(())
    }

    fn escape(&mut self) -> Result<(), PatternError> {
        let before = self.rest;
        let Some(c) = before[1..].chars().next() else {
            return error("trailing backslash at end of expression", "");
        };
        if c == 'Q' {
            let inside = &before[2..];
            let (text, after) = inside.split_once("\\E").unwrap_or((inside, ""));
            self.out.push_str(&regex::escape(text));
            self.atom |= !text.is_empty();
            self.rest = after;
            return Ok(());
        }
        let text = match c {
            'b' => "(?-u:\\b)".to_owned(),
            'B' => "(?-u:\\B)".to_owned(),
            'A' | 'z' => format!("\\{c}"),
            'C' => return error("invalid escape sequence", "\\C"),
            _ => match perl_class(c) {
                Some(class) => format!("[{class}]"),
                None => return self.plain_escape(false),
            },
        };
        self.literal(&text, 1 + c.len_utf8());
        Ok(())
    }

    /// Escapes that a class may hold too; writes them and moves on.
    fn plain_escape(&mut self, in_class: bool) -> Result<(), PatternError> {
        let before = self.rest;
        let c = before[1..].chars().next().unwrap_or('\\');
        let (text, length) = match c {
            'p' | 'P' => {
                let end = match before[2..].chars().next() {
                    Some('{') => before.find('}').map(|at| at + 1),
                    Some(other) => Some(2 + other.len_utf8()),
                    None => None,
                };
                let Some(end) = end else {
                    return error("invalid character class range", before);
                };
                (before[..end].to_owned(), end)
            }
            'x' => hex(before)?,
            '0'..='7' => octal(before)?,
            'a' => ("\\x07".to_owned(), 2),
            'f' | 't' | 'n' | 'r' | 'v' => (format!("\\{c}"), 2),
            c if c.is_ascii_alphanumeric() || !c.is_ascii() => {
                return error("invalid escape sequence", &before[..1 + c.len_utf8()]);
            }
            // Anything else stands for itself, while the crate gives some of them a meaning.
            '_' => ("_".to_owned(), 2),
            c => (format!("\\x{:02x}", u32::from(c)), 2),
        };
        self.literal(&text, length);
        self.atom |= in_class;
        Ok(())
    }

    fn class(&mut self) -> Result<(), PatternError> {
        let whole = self.rest;
        self.literal("[", 1);
        if self.rest.starts_with('^') {
            self.literal("^", 1);
        }
        let mut first = true;
        // The last single character, where a range could start; and whether a dash has followed it.
        let mut low: Option<char> = None;
        let mut range: Option<&str> = None;
        loop {
            let before = self.rest;
            let Some(c) = before.chars().next() else {
                return error("missing closing ]", whole);
            };
            if c == ']' && !first {
                self.literal("]", 1);
                return Ok(());
            }
            first = false;
            if let Some(end) = posix(before) {
                self.literal(&before[..end], end);
                (low, range) = (None, None);
                continue;
            }
            if c == '\\' {
                let Some(next) = before[1..].chars().next() else {
                    return error("trailing backslash at end of expression", "");
                };
                match perl_class(next) {
                    Some(class) if next.is_ascii_uppercase() => {
                        self.literal(&format!("[{class}]"), 2);
                        (low, range) = (None, None);
                    }
                    Some(class) => {
                        self.literal(class, 2);
                        (low, range) = (None, None);
                    }
                    None => {
                        self.plain_escape(true)?;
                        low = next.is_ascii_punctuation().then_some(next);
                        range = None;
                    }
                }
                continue;
            }
            let dash = c == '-' && low.is_some() && !before[1..].starts_with(']') && range.is_none();
            if dash {
                range = Some(before);
                self.literal("-", 1);
                continue;
            }
            if let (Some(start), Some(_)) = (low, range)
                && start > c
            {
                let from = whole.len() - before.len();
                let text = &whole[from - start.len_utf8() - 1..from + c.len_utf8()];
                return error("invalid character class range", text);
            }
            let text = if c.is_alphanumeric() || c == '_' || !c.is_ascii() {
                c.to_string()
            } else {
                format!("\\x{:02x}", u32::from(c))
            };
            self.literal(&text, c.len_utf8());
            low = range.is_none().then_some(c);
            range = None;
        }
    }
}

/// `[:alpha:]` and its like at the start of a text: where it ends.
fn posix(text: &str) -> Option<usize> {
    let inside = text.strip_prefix("[:")?;
    let end = inside.find(":]")?;
    let name = inside[..end].trim_start_matches('^');
    (!name.is_empty() && name.bytes().all(|c| c.is_ascii_lowercase())).then_some(end + 4)
}

/// Go's are of ASCII only.
fn perl_class(c: char) -> Option<&'static str> {
    Some(match c {
        'd' => "0-9",
        'D' => "^0-9",
        's' => "\\t\\n\\x0c\\r ",
        'S' => "^\\t\\n\\x0c\\r ",
        'w' => "0-9A-Za-z_",
        'W' => "^0-9A-Za-z_",
        _ => return None,
    })
}

/// The length of `{n}`, `{n,}` or `{n,m}` at the start of a text; `None` where the brace stands for itself.
fn counted(text: &str) -> Result<Option<usize>, PatternError> {
    let Some(end) = text.find('}') else {
        return Ok(None);
    };
    let inside = &text[1..end];
    let (low, high) = inside.split_once(',').unwrap_or((inside, inside));
    let number = |text: &str| !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    if !number(low) || !(high.is_empty() || number(high)) {
        return Ok(None);
    }
    let parse = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
    let most = if high.is_empty() { parse(low) } else { parse(high) };
    if parse(low) > REPEAT_MAX || most > REPEAT_MAX || most < parse(low) {
        return error("invalid repeat count", &text[..=end]);
    }
    Ok(Some(end + 1))
}

fn hex(text: &str) -> Result<(String, usize), PatternError> {
    let (digits, length) = match text[2..].strip_prefix('{') {
        Some(inside) => match inside.find('}') {
            Some(end) => (&inside[..end], end + 4),
            None => return error("invalid escape sequence", text),
        },
        None => match text.get(2..4) {
            Some(digits) => (digits, 4),
            None => return error("invalid escape sequence", text),
        },
    };
    match u32::from_str_radix(digits, 16) {
        Ok(code) if char::from_u32(code).is_some() => Ok((format!("\\x{{{code:x}}}"), length)),
        _ => error("invalid escape sequence", text.get(..length).unwrap_or(text)),
    }
}

fn octal(text: &str) -> Result<(String, usize), PatternError> {
    let digits: String = text[1..]
        .chars()
        .take(3)
        .take_while(|c| ('0'..='7').contains(c))
        .collect();
    // A single digit other than zero would be a reference to a group.
    if digits.len() == 1 && digits != "0" {
        return error("invalid escape sequence", &text[..2]);
    }
    let code = u32::from_str_radix(&digits, 8).unwrap_or_default();
    Ok((format!("\\x{{{code:x}}}"), 1 + digits.len()))
}
