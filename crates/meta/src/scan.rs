//! Where things end in JSON that is known to be well-formed, without reading it: for cutting parts out of stored bytes.

/// One past the closing quote of the string that opens at `at`; `None` where it does not close.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        match bytes.get(i)? {
            b'\\' => i += 2,
            b'"' => return Some(i + 1),
            _ => i += 1,
        }
    }
}

/// One past the value that begins at `at`; `None` where it does not end before the text does, as at its top level.
pub fn value_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut depth = 0usize;
    let mut i = at;
    loop {
        match bytes.get(i)? {
            b'"' => {
                i = string_end(bytes, i)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return Some(i),
            b'}' | b']' => depth -= 1,
            b',' if depth == 0 => return Some(i),
            _ => {}
        }
        i += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_end_where_their_brackets_close() {
        let text = br#"{"a":{"b":"}\"","c":[1,{}]},"d":5}"#;
        let end = value_end(text, 5);
        assert_eq!(
            end.map(|end| &text[5..end]),
            Some(&br#"{"b":"}\"","c":[1,{}]}"#[..])
        );
        assert_eq!(value_end(br#"{"cut":"#, 0), None);
    }
}
