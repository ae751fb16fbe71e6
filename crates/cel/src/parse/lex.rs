//! Tokens.

/// A token's kind; the text is `source[start..end]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tok {
    /// Operators and brackets, by their text.
    Sym(&'static str),
    Ident,
    EscIdent,
    Int,
    Uint,
    Float,
    Str,
    Bytes,
    True,
    False,
    Null,
    In,
    Eof,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Token {
    pub tok: Tok,
    pub start: u32,
    pub end: u32,
}

const SYMBOLS: [&str; 25] = [
    "==", "!=", "<=", ">=", "&&", "||", "<", ">", "[", "]", "{", "}", "(", ")", ".", ",", "-", "!", "?", ":",
    "+", "*", "/", "%", "`",
];

/// All tokens, ending with `Eof`, and errors with their offsets for bytes that are no token.
pub(crate) fn tokens(source: &str) -> (Vec<Token>, Vec<(u32, String)>) {
    let mut tokens = Vec::new();
    let mut errors = Vec::new();
    let mut at = 0;
    while at < source.len() {
        let rest = &source[at..];
        let space = space(rest);
        if space > 0 {
            at += space;
            continue;
        }
        match token(rest) {
            Ok((tok, len)) => {
                tokens.push(Token {
                    tok,
                    start: at as u32,
                    end: (at + len) as u32,
                });
                at += len;
            }
            Err(len) => {
                errors.push((
                    at as u32,
                    format!("token recognition error at: '{}'", shown(&rest[..len])),
                ));
                at += len;
            }
        }
    }
    let end = source.len() as u32;
    tokens.push(Token {
        tok: Tok::Eof,
        start: end,
        end,
    });
    (tokens, errors)
}

fn shown(text: &str) -> String {
    text.replace('\n', "\\n")
        .replace('\r', "\\r")
        .replace('\t', "\\t")
}

fn space(rest: &str) -> usize {
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    match rest.as_bytes()[0] {
        b'\t' | b' ' | b'\r' | b'\n' | 0x0c => 1,
        _ => 0,
    }
}

/// The longest token at the start, or how many bytes are none.
fn token(rest: &str) -> Result<(Tok, usize), usize> {
    let bytes = rest.as_bytes();
    let first = bytes[0];
    if let Some(found) = quoted(rest) {
        return found;
    }
    if first.is_ascii_digit() || (first == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit)) {
        return Ok(number(bytes));
    }
    if first.is_ascii_alphabetic() || first == b'_' {
        let len = bytes
            .iter()
            .take_while(|b| b.is_ascii_alphanumeric() || **b == b'_')
            .count();
        let tok = match &rest[..len] {
            "in" => Tok::In,
            "true" => Tok::True,
            "false" => Tok::False,
            "null" => Tok::Null,
            _ => Tok::Ident,
        };
        return Ok((tok, len));
    }
    if first == b'`' {
        return escaped(rest);
    }
    match SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
        Some(symbol) => Ok((Tok::Sym(symbol), symbol.len())),
        // The generated lexer has read one character further when it finds that '=', '&' or '|' is not doubled.
        None if matches!(first, b'=' | b'&' | b'|') => {
            Err(1 + rest[1..].chars().next().map_or(0, char::len_utf8))
        }
        None => Err(rest.chars().next().map_or(1, char::len_utf8)),
    }
}

fn escaped(rest: &str) -> Result<(Tok, usize), usize> {
    let len = rest
        .bytes()
        .skip(1)
        .take_while(|b| b.is_ascii_alphanumeric() || b"_.-/ ".contains(b))
        .count();
    match rest.as_bytes().get(1 + len) {
        Some(b'`') if len > 0 => Ok((Tok::EscIdent, len + 2)),
        _ => Err((1 + len + rest[1 + len..].chars().next().map_or(0, char::len_utf8)).min(rest.len())),
    }
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

fn exponent(bytes: &[u8]) -> usize {
    if !matches!(bytes.first(), Some(b'e' | b'E')) {
        return 0;
    }
    let sign = usize::from(matches!(bytes.get(1), Some(b'+' | b'-')));
    match digits(&bytes[1 + sign..]) {
        0 => 0,
        n => 1 + sign + n,
    }
}

fn number(bytes: &[u8]) -> (Tok, usize) {
    if bytes.starts_with(b"0x") {
        let n = bytes[2..].iter().take_while(|b| b.is_ascii_hexdigit()).count();
        if n > 0 {
            return unsigned(bytes, 2 + n);
        }
    }
    let mut len = digits(bytes);
    let mut float = false;
    if bytes.get(len) == Some(&b'.') {
        let fraction = digits(&bytes[len + 1..]);
        if fraction > 0 {
            len += 1 + fraction;
            float = true;
        }
    }
    let exponent = exponent(&bytes[len..]);
    if float || exponent > 0 {
        return (Tok::Float, len + exponent);
    }
    unsigned(bytes, len)
}

fn unsigned(bytes: &[u8], len: usize) -> (Tok, usize) {
    match bytes.get(len) {
        Some(b'u' | b'U') => (Tok::Uint, len + 1),
        _ => (Tok::Int, len),
    }
}

/// A string or bytes literal, if the text starts like one.
fn quoted(rest: &str) -> Option<Result<(Tok, usize), usize>> {
    let bytes = rest.as_bytes();
    let mut at = 0;
    let is_bytes = matches!(bytes[at], b'b' | b'B');
    at += usize::from(is_bytes);
    let raw = matches!(bytes.get(at), Some(b'r' | b'R'));
    at += usize::from(raw);
    let quote = *bytes.get(at).filter(|b| matches!(b, b'"' | b'\''))?;
    let tok = if is_bytes { Tok::Bytes } else { Tok::Str };
    let triple = bytes[at..].starts_with(&[quote; 3]);
    let open = if triple { 3 } else { 1 };
    match body(&bytes[at + open..], quote, triple, raw) {
        Ok(len) => Some(Ok((tok, at + open + len))),
        // Three quotes that are not closed are an empty string and what follows it.
        Err(_) if triple => Some(Ok((tok, at + 2))),
        Err(_) if at > 0 => None,
        Err(len) => {
            let mut end = (at + open + len).min(rest.len());
            while !rest.is_char_boundary(end) {
                end += 1;
            }
            Some(Err(end))
        }
    }
}

/// Length up to and with the closing quotes, or the length of what was read in vain.
fn body(bytes: &[u8], quote: u8, triple: bool, raw: bool) -> Result<usize, usize> {
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if b == quote && (!triple || bytes[at..].starts_with(&[quote; 3])) {
            return Ok(at + if triple { 3 } else { 1 });
        }
        if b == b'\\' && !raw {
            match escape_len(&bytes[at..]) {
                Some(len) => at += len,
                None => return Err(at + 2),
            }
            continue;
        }
        if !triple && matches!(b, b'\n' | b'\r') {
            return Err(at + 1);
        }
        at += 1;
    }
    Err(bytes.len())
}

fn escape_len(bytes: &[u8]) -> Option<usize> {
    let hex = |n: usize| {
        let all = bytes.get(2..2 + n)?.iter().all(u8::is_ascii_hexdigit);
        all.then_some(2 + n)
    };
    match bytes.get(1)? {
        b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'"' | b'\'' | b'\\' | b'?' | b'`' => Some(2),
        b'x' | b'X' => hex(2),
        b'u' => hex(4),
        b'U' => hex(8),
        b'0'..=b'3' => bytes
            .get(2..4)?
            .iter()
            .all(|b| (b'0'..=b'7').contains(b))
            .then_some(4),
        _ => None,
    }
}
