//! PEM as Go's `pem.Decode` reads it, headers included, which `x509_parser` refuses.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What stands between a line `BEGIN` and its line `END`.
pub(super) struct Block {
    pub kind: String,
    /// Lines `Name: value` before the text, as encrypted keys have them.
    pub headers: bool,
    pub bytes: Vec<u8>,
}

/// The blocks of a text. What is no block, or a broken one, is passed over.
pub(super) fn blocks(pem: &[u8]) -> Vec<Block> {
    let text = String::from_utf8_lossy(pem);
    let mut found = Vec::new();
    let mut open: Option<Open<'_>> = None;
    for line in text.lines().map(str::trim_end) {
        let label = |edge: &str| line.strip_prefix(edge)?.strip_suffix("-----");
        if let Some(kind) = label("-----BEGIN ") {
            open = Some(Open::new(kind));
        } else if let Some(end) = label("-----END ") {
            found.extend(open.take().filter(|open| open.kind == end).and_then(Open::block));
        } else if let Some(open) = &mut open {
            open.add(line);
        }
    }
    found
}

/// A block whose end has not come yet.
struct Open<'a> {
    kind: &'a str,
    headers: bool,
    /// The text has begun.
    begun: bool,
    text: String,
}

impl<'a> Open<'a> {
    fn new(kind: &'a str) -> Self {
        Self {
            kind,
            headers: false,
            begun: false,
            text: String::new(),
        }
    }

    fn add(&mut self, line: &str) {
        self.begun |= !line.contains(':');
        if self.begun {
            self.text.extend(line.chars().filter(|c| !c.is_whitespace()));
        } else {
            self.headers = true;
        }
    }

    fn block(self) -> Option<Block> {
        let bytes = STANDARD.decode(self.text).ok()?;
        Some(Block {
            kind: self.kind.to_owned(),
            headers: self.headers,
            bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_as_go_reads_them() {
        let text = "words\n\
            -----BEGIN A-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n\nAQ\n  ID\n-----END A-----\r\n\
            -----BEGIN B-----\nnot:base64\nA:\n-----END C-----\n\
            -----BEGIN D-----\nAQID\nlate: header\n-----END D-----\n\
            -----BEGIN E-----\n-----BEGIN F-----\nAQID\n-----END F-----\n\
            -----BEGIN G-----\nAQID\n";
        let found: Vec<_> = blocks(text.as_bytes())
            .into_iter()
            .map(|block| (block.kind, block.headers, block.bytes))
            .collect();
        let bytes = vec![1, 2, 3];
        assert_eq!(
            found,
            [
                ("A".to_owned(), true, bytes.clone()),
                ("F".to_owned(), false, bytes)
            ]
        );
    }
}
