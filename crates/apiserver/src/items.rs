//! Items of typed lists: an object's stored bytes without `kind` and `apiVersion`, which upstream leaves out there.

use corten_meta::scan::{string_end, value_end};

/// Appends an object as a list item: for bytes that do not begin with kind and version as the registry writes them (an
/// older version wrote them), which have to be searched.
pub fn write(out: &mut Vec<u8>, object: &[u8]) {
    let mut members = Members { bytes: object, at: 1 };
    let mut first = true;
    while let Some((name, start, end)) = members.next() {
        if name == b"kind" || name == b"apiVersion" {
            continue;
        }
        out.push(if first { b'{' } else { b',' });
        out.extend_from_slice(&object[start..end]);
        first = false;
    }
    out.extend_from_slice(if first { b"{}" } else { b"}" });
}

/// The value of a member of a compact JSON object.
pub fn value<'a>(object: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    let mut members = Members { bytes: object, at: 1 };
    while let Some((name, start, end)) = members.next() {
        if name == wanted.as_bytes() {
            // Behind the name's quotes and the colon.
            return object.get(start + name.len() + 3..end);
        }
    }
    None
}

/// The top-level members of a compact JSON object: name, start and end.
struct Members<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Members<'a> {
    fn next(&mut self) -> Option<(&'a [u8], usize, usize)> {
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
        Some((&bytes[start + 1..name_end - 1], start, end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_found() {
        let text = br#"{"action":"a\"}","kind":"Pod","metadata":{"a":[1,{"b":"}"}]},"n":5}"#;
        let mut m = Members { bytes: text, at: 1 };
        let mut names = Vec::new();
        while let Some((name, start, end)) = m.next() {
            names.push((
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(&text[start..end]).into_owned(),
            ));
        }
        assert_eq!(names[0], ("action".into(), r#""action":"a\"}""#.into()));
        assert_eq!(names[2].1, r#""metadata":{"a":[1,{"b":"}"}]}"#);
        assert_eq!(names[3].1, "\"n\":5");
        assert_eq!(value(text, "kind"), Some(&br#""Pod""#[..]));
        assert_eq!(value(text, "n"), Some(&b"5"[..]));
        assert_eq!(value(text, "a"), None);
    }
}
