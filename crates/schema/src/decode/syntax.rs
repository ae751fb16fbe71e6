//! Go's words for JSON that does not parse. Runs only after a parser has failed.

use corten_meta::quote;

/// Most nested values that Go reads.
const DEPTH_MAX: usize = 10_000;

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

type Step = Result<(), String>;

/// What is wrong with `bytes` as JSON, in the words of Go's `encoding/json`; `None` when Go would take it.
pub fn go_error(bytes: &[u8]) -> Option<String> {
    let mut scanner = Scanner { bytes, at: 0 };
    scanner.document().err()
}

/// A byte as Go shows it in these errors.
fn shown(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let quoted = quote(&char::from(byte).to_string());
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

impl Scanner<'_> {
    fn document(&mut self) -> Step {
        self.values()?;
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => self.wrong("after top-level value"),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn wrong<T>(&self, context: &str) -> Result<T, String> {
        match self.peek() {
            Some(byte) => Err(format!("invalid character {} {context}", shown(byte))),
            None => Err("unexpected end of JSON input".to_owned()),
        }
    }

    fn take(&mut self, wanted: impl Fn(u8) -> bool, context: &str) -> Step {
        match self.peek() {
            Some(byte) if wanted(byte) => {
                self.at += 1;
                Ok(())
            }
            _ => self.wrong(context),
        }
    }

    /// One value with all it holds; the stack has the closing byte of each open container.
    fn values(&mut self) -> Step {
        let mut open: Vec<u8> = Vec::new();
        loop {
            self.space();
            match self.peek() {
                Some(b'{') => {
                    self.at += 1;
                    self.space();
                    if self.peek() != Some(b'}') {
                        self.key()?;
                        open.push(b'}');
                        self.check_depth(&open)?;
                        continue;
                    }
                    self.at += 1;
                }
                Some(b'[') => {
                    self.at += 1;
                    self.space();
                    if self.peek() != Some(b']') {
                        open.push(b']');
                        self.check_depth(&open)?;
                        continue;
                    }
                    self.at += 1;
                }
                _ => self.scalar()?,
            }
            if self.close(&mut open)? {
                return Ok(());
            }
        }
    }

    fn check_depth(&self, open: &[u8]) -> Step {
        if open.len() > DEPTH_MAX {
            Err("exceeded max depth".to_owned())
        } else {
            Ok(())
        }
    }

    /// After a value: closes containers up to the next comma. True when all are closed.
    fn close(&mut self, open: &mut Vec<u8>) -> Result<bool, String> {
        loop {
            let Some(&closing) = open.last() else {
                return Ok(true);
            };
            self.space();
            match self.peek() {
                Some(byte) if byte == closing => {
                    self.at += 1;
                    open.pop();
                }
                Some(b',') => {
                    self.at += 1;
                    if closing == b'}' {
                        self.space();
                        self.key()?;
                    }
                    return Ok(false);
                }
                _ if closing == b'}' => return self.wrong("after object key:value pair"),
                _ => return self.wrong("after array element"),
            }
        }
    }

    fn key(&mut self) -> Step {
        if self.peek() != Some(b'"') {
            return self.wrong("looking for beginning of object key string");
        }
        self.string()?;
        self.space();
        self.take(|b| b == b':', "after object key")
    }

    fn scalar(&mut self) -> Step {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.wrong("looking for beginning of value"),
        }
    }

    fn literal(&mut self, word: &str) -> Step {
        for letter in word.bytes() {
            let context = format!("in literal {word} (expecting {})", shown(letter));
            self.take(|b| b == letter, &context)?;
        }
        Ok(())
    }

    fn string(&mut self) -> Step {
        self.at += 1;
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b'\\') => {
                    self.at += 1;
                    self.escape()?;
                }
                Some(byte) if byte >= 0x20 => self.at += 1,
                _ => return self.wrong("in string literal"),
            }
        }
    }

    fn escape(&mut self) -> Step {
        let unicode = self.peek() == Some(b'u');
        self.take(|b| b"bfnrt\\/\"u".contains(&b), "in string escape code")?;
        for _ in 0..if unicode { 4 } else { 0 } {
            self.take(|b| b.is_ascii_hexdigit(), "in \\u hexadecimal character escape")?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Step {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let zero = self.peek() == Some(b'0');
        self.take(|b| b.is_ascii_digit(), "in numeric literal")?;
        if !zero {
            self.digits();
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.take(|b| b.is_ascii_digit(), "after decimal point in numeric literal")?;
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.take(|b| b.is_ascii_digit(), "in exponent of numeric literal")?;
            self.digits();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::go_error;

    #[test]
    fn errors_are_worded_as_go() {
        for (json, error) in [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            (
                "{a",
                "invalid character 'a' looking for beginning of object key string",
            ),
            ("{\"a\" 1", "invalid character '1' after object key"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("nul1", "invalid character '1' in literal null (expecting 'l')"),
            ("\u{cf}", "invalid character 'Ã' looking for beginning of value"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("01", "invalid character '1' after top-level value"),
        ] {
            assert_eq!(go_error(json.as_bytes()).as_deref(), Some(error), "{json}");
        }
        assert_eq!(go_error(b" {\"a\": [1, {}, [], -1.5e+3, \"\\u00e9\"]} "), None);
    }
}
