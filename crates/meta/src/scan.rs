//! Where things end in JSON that is known to be well-formed, without reading it: for cutting parts out of stored bytes.

use memchr::memchr2;

/// One past the closing quote of the string that opens at `at`; `None` where it does not close.
pub fn string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let mut i = at + 1;
    loop {
        i += memchr2(b'"', b'\\', bytes.get(i..)?)?;
        match bytes[i] {
            b'"' => return Some(i + 1),
            _ => i += 2,
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

/// The members of a compact JSON object, in their order.
pub struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// A member: its name, and name, colon and value as they stand.
pub struct Member<'a> {
    pub name: &'a [u8],
    pub whole: &'a [u8],
}

impl<'a> Member<'a> {
    pub fn value(&self) -> &'a [u8] {
        // Behind the name's quotes and the colon.
        self.whole.get(self.name.len() + 3..).unwrap_or_default()
    }
}

impl<'a> Members<'a> {
    pub fn of(object: &'a [u8]) -> Self {
        Self { bytes: object, at: 1 }
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = Member<'a>;

    fn next(&mut self) -> Option<Member<'a>> {
        let bytes = self.bytes;
        while matches!(bytes.get(self.at), Some(b',' | b' ' | b'\n')) {
            self.at += 1;
        }
        let start = self.at;
        if bytes.get(start) != Some(&b'"') {
            return None;
        }
        let name_end = string_end(bytes, start)?;
        let end = value_end(bytes, name_end + 1)?;
        self.at = end;
        Some(Member {
            name: &bytes[start + 1..name_end - 1],
            whole: &bytes[start..end],
        })
    }
}

/// The value of a member of a compact JSON object.
pub fn value<'a>(object: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut members = Members::of(object);
    let member = members.find(|member| member.name == name.as_bytes())?;
    Some(member.value())
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

    #[test]
    fn members_are_found() {
        let text = br#"{"action":"a\"}","kind":"Pod","metadata":{"a":[1,{"b":"}"}]},"n":5}"#;
        let found: Vec<_> = Members::of(text).collect();
        assert_eq!(found[0].name, b"action");
        assert_eq!(found[0].whole, br#""action":"a\"}""#);
        assert_eq!(found[2].whole, br#""metadata":{"a":[1,{"b":"}"}]}"#);
        assert_eq!(found[3].whole, b"\"n\":5");
        assert_eq!(value(text, "kind"), Some(&br#""Pod""#[..]));
        assert_eq!(value(text, "n"), Some(&b"5"[..]));
        assert_eq!(value(text, "a"), None);
    }
}
