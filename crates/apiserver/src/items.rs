//! Items of typed lists: an object's stored bytes without `kind` and `apiVersion`, which upstream leaves out there.

use corten_meta::scan::Members;

/// Appends an object as a list item: for bytes that do not begin with kind and version as the registry writes them (an
/// older version wrote them), which have to be searched.
pub fn write(out: &mut Vec<u8>, object: &[u8]) {
    let mut first = true;
    for member in Members::of(object) {
        if member.name == b"kind" || member.name == b"apiVersion" {
            continue;
        }
        out.push(if first { b'{' } else { b',' });
        out.extend_from_slice(member.whole);
        first = false;
    }
    out.extend_from_slice(if first { b"{}" } else { b"}" });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(object: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, object.as_bytes());
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn an_item_has_neither_kind_nor_version() {
        let object = r#"{"data":{"kind":"x"},"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"a"}}"#;
        assert_eq!(
            written(object),
            r#"{"data":{"kind":"x"},"metadata":{"name":"a"}}"#
        );
        assert_eq!(written(r#"{"kind":"ConfigMap"}"#), "{}");
    }
}
