//! What string and bytes literals mean.

/// The bytes of a literal, given its text with quotes and prefixes.
///
/// # Errors
/// cel-go's message if an escape means no character.
pub(crate) fn unquote(text: &str, is_bytes: bool) -> Result<Vec<u8>, &'static str> {
    let text = if is_bytes { &text[1..] } else { text };
    let raw = text.starts_with(['r', 'R']);
    let text = if raw { &text[1..] } else { text };
    let triple = text.len() >= 6 && (text.starts_with("'''") || text.starts_with("\"\"\""));
    let open = if triple { 3 } else { 1 };
    let inner = &text[open..text.len() - open];
    let inner = inner.replace("\r\n", "\n").replace('\r', "\n");
    if raw || !inner.contains('\\') {
        return Ok(inner.into_bytes());
    }
    unescape(&inner, is_bytes)
}

fn unescape(text: &str, is_bytes: bool) -> Result<Vec<u8>, &'static str> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        if b != b'\\' {
            out.push(b);
            at += 1;
            continue;
        }
        let kind = *bytes
            .get(at + 1)
            .ok_or("unable to unescape string, found '\\' as last character")?;
        let (code, len) = match kind {
            b'x' | b'X' => (hex(bytes, at + 2, 2)?, 4),
            b'u' if !is_bytes => (hex(bytes, at + 2, 4)?, 6),
            b'U' if !is_bytes => (hex(bytes, at + 2, 8)?, 10),
            b'0'..=b'3' => (octal(bytes, at + 1)?, 4),
            _ => (simple(kind)?, 2),
        };
        at += len;
        if is_bytes {
            out.push(code as u8);
        } else {
            let c = char::from_u32(code).ok_or("invalid unicode code point")?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    Ok(out)
}

fn simple(kind: u8) -> Result<u32, &'static str> {
    Ok(match kind {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => 10,
        b'r' => 13,
        b't' => 9,
        b'v' => 11,
        b'\\' | b'\'' | b'"' | b'`' | b'?' => u32::from(kind),
        _ => return Err("unable to unescape string"),
    })
}

fn hex(bytes: &[u8], at: usize, n: usize) -> Result<u32, &'static str> {
    let digits = bytes.get(at..at + n).ok_or("unable to unescape string")?;
    let mut code = 0u32;
    for d in digits {
        let digit = char::from(*d).to_digit(16).ok_or("unable to unescape string")?;
        code = code.wrapping_shl(4) | digit;
    }
    Ok(code)
}

fn octal(bytes: &[u8], at: usize) -> Result<u32, &'static str> {
    const MESSAGE: &str = "unable to unescape octal sequence in string";
    let digits = bytes.get(at..at + 3).ok_or(MESSAGE)?;
    let mut code = 0;
    for d in digits {
        code = code * 8 + char::from(*d).to_digit(8).ok_or(MESSAGE)?;
    }
    Ok(code)
}
