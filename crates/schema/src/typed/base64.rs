//! Base64 as Go's `encoding/base64` reads it: line breaks anywhere, padding needed, loose bits at the end ignored. The
//! strict reader is tried first; this one is for what it refuses.

use ::base64::Engine as _;
use ::base64::alphabet::STANDARD;
use ::base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// Takes loose bits after the last whole byte.
const LOOSE: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// The bytes, or where Go says the text goes wrong.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    check(text)?;
    let clean: Vec<u8> = text.iter().copied().filter(|b| !is_break(*b)).collect();
    LOOSE.decode(clean).map_err(|_| text.len())
}

/// Go counts in groups of four: a group cut short is wrong where it began or, with its padding begun, at the end of the
/// text; anything else is wrong where it stands.
fn check(text: &[u8]) -> Result<(), usize> {
    let mut letters = 0;
    for (at, byte) in text.iter().copied().enumerate().filter(|(_, b)| !is_break(*b)) {
        match (byte, letters % 4) {
            (b'=', 2 | 3) => return padding(text, at, letters % 4),
            (byte, _) if is_letter(byte) => letters += 1,
            _ => return Err(at),
        }
    }
    match letters % 4 {
        0 => Ok(()),
        within => Err(text.len() - within),
    }
}

/// From the first `=` at `start` on, after so many letters of the last group.
fn padding(text: &[u8], start: usize, letters: usize) -> Result<(), usize> {
    let next = |from: usize| (from..text.len()).find(|at| !is_break(text[*at]));
    let mut end = start + 1;
    if letters == 2 {
        match next(end) {
            Some(at) if text[at] == b'=' => end = at + 1,
            Some(at) => return Err(at - 1),
            None => return Err(text.len()),
        }
    }
    next(end).map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn errors_stand_where_go_says() {
        for (text, at) in [
            ("Bad_Name!", 3),
            ("YWJ", 0),
            ("YWJjZ", 4),
            ("YWJjZGU", 4),
            ("YWJjZA=", 7),
            ("YWJjZA=x", 6),
            ("Y===", 1),
            ("YQ==YQ==", 4),
            ("\u{fc}", 0),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(at), "{text}");
        }
    }

    #[test]
    fn breaks_and_loose_bits_are_taken() {
        assert_eq!(decode(b"YW\r\nJj\n").as_deref(), Ok(&b"abc"[..]));
        assert_eq!(decode(b"YR==").as_deref(), Ok(&b"a"[..]));
    }
}
