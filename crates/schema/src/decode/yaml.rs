//! YAML as upstream reads it: converted to JSON first.

use serde_json::{Map, Value};
use serde_saphyr::{DuplicateKeyPolicy, Error};

/// The first document as JSON. The error starts with `yaml: ` and a line, as upstream's.
pub fn to_value(bytes: &[u8]) -> Result<Value, String> {
    read(bytes, DuplicateKeyPolicy::LastWins).map_err(|e| describe(&e))
}

/// The text that upstream's strict mode adds for a key that stands twice in one mapping.
pub fn repeated_key(bytes: &[u8]) -> Option<String> {
    let error = read(bytes, DuplicateKeyPolicy::Error).err()?;
    let Error::DuplicateMappingKey { key, .. } = error.without_snippet() else {
        return None;
    };
    let line = error.location().map_or(1, |l| l.line());
    let key = corten_meta::quote(key.as_deref().unwrap_or_default());
    Some(format!(
        "yaml: unmarshal errors:\n  line {line}: key {key} already set in map"
    ))
}

fn read(bytes: &[u8], duplicate_keys: DuplicateKeyPolicy) -> Result<Value, Error> {
    let options = serde_saphyr::options! {
        legacy_octal_numbers: true,
        duplicate_keys: duplicate_keys,
        with_snippet: false,
    };
    let text = String::from_utf8_lossy(bytes);
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let mut value: Value = match serde_saphyr::from_str_with_options(&text, options.clone()) {
        Ok(value) => value,
        // Upstream reads the first document and leaves the rest.
        Err(error) => match serde_saphyr::from_multiple_with_options::<Value>(&text, options) {
            Ok(documents) => documents.into_iter().next().unwrap_or(Value::Null),
            Err(_) => return Err(error),
        },
    };
    whole_floats(&mut value);
    Ok(value)
}

/// The whole number that Go writes for a float.
pub fn whole(float: f64) -> Option<i64> {
    (float.fract() == 0.0 && float.abs() < 1e15).then_some(float as i64)
}

/// YAML's `1.0` and `1e3` are JSON's `1` and `1000` once upstream has converted them.
fn whole_floats(value: &mut Value) {
    match value {
        Value::Number(n) if n.is_f64() => {
            if let Some(whole) = n.as_f64().and_then(whole) {
                *value = Value::from(whole);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(whole_floats),
        Value::Object(map) => map.values_mut().for_each(whole_floats),
        _ => {}
    }
}

fn describe(error: &Error) -> String {
    let error = error.without_snippet();
    let line = error.location().map_or(1, |l| l.line());
    let text = error.to_string();
    let text = if ["unclosed", "end of", "flow", "EOF"]
        .iter()
        .any(|w| text.contains(w))
    {
        "did not find expected node content".to_owned()
    } else {
        text
    };
    format!("yaml: line {line}: {text}")
}

/// A JSON value as YAML text, members in name order.
pub fn from_value(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => write_map(&mut out, map, 0),
        Value::Array(items) if !items.is_empty() => write_list(&mut out, items, 0),
        scalar => {
            out.push_str(&scalar_text(scalar));
            out.push('\n');
        }
    }
    out
}

/// A value as an item of a list that is a member of the document.
pub fn item(value: &Value) -> String {
    let mut out = String::new();
    write_list(&mut out, std::slice::from_ref(value), 0);
    out
}

fn write_map(out: &mut String, map: &Map<String, Value>, indent: usize) {
    for (i, (key, value)) in map.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str(&scalar_text(&Value::from(key.as_str())));
        out.push(':');
        write_member(out, value, indent);
    }
}

fn write_member(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            write_map(out, map, indent + 2);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            write_list(out, items, indent);
        }
        Value::String(text) if is_block(text) => write_block(out, text, indent + 2),
        scalar => {
            out.push(' ');
            out.push_str(&scalar_text(scalar));
            out.push('\n');
        }
    }
}

fn write_list(out: &mut String, items: &[Value], indent: usize) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 || !out.ends_with("- ") {
            out.push_str(&" ".repeat(indent));
        }
        out.push_str("- ");
        match item {
            Value::Object(map) if !map.is_empty() => write_map(out, map, indent + 2),
            Value::Array(items) if !items.is_empty() => write_list(out, items, indent + 2),
            Value::String(text) if is_block(text) => {
                out.pop();
                write_block(out, text, indent + 2);
            }
            scalar => {
                out.push_str(&scalar_text(scalar));
                out.push('\n');
            }
        }
    }
}

/// Text of several printable lines, which a literal block can hold unchanged.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && !text.starts_with([' ', '\n', '\t'])
        && text.chars().all(|c| c == '\n' || c == '\t' || !c.is_control())
        && !text.lines().any(|l| l.ends_with([' ', '\t']))
}

fn write_block(out: &mut String, text: &str, indent: usize) {
    let body = text.trim_end_matches('\n');
    let chomp = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    out.push_str(" |");
    out.push_str(chomp);
    out.push('\n');
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.push_str(&" ".repeat(indent));
            out.push_str(line);
        }
        out.push('\n');
    }
}

fn scalar_text(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Whether YAML reads the bare text back as the same string.
fn is_plain(text: &str) -> bool {
    let first_bad = |c: char| "-?:,[]{}#&*!|>'\"%@`".contains(c);
    !text.is_empty()
        && !text.starts_with(first_bad)
        && !text.starts_with(|c: char| c.is_ascii_digit() || "+.=~<".contains(c))
        && !text.contains(": ")
        && !text.contains(" #")
        && !text.ends_with(':')
        && !text.starts_with(' ')
        && !text.ends_with(' ')
        && !text.chars().any(|c| c.is_control() || c as u32 > 0x7e)
        && !is_word(text)
}

/// Words that YAML 1.1 takes for booleans or null.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    WORDS.contains(&text.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_reads_as_upstream() {
        let value =
            to_value(b"a: 0644\nb: yes\nc: 1.0\nd: 1e3\ne: '1'\nf: y\n1: x\ng: ~\nh: 1.5\ni: 2001-01-01\n")
                .unwrap();
        let expected = json!({"a": 420, "b": true, "c": 1, "d": 1000, "e": "1", "f": true, "1": "x", "g": null, "h": 1.5, "i": "2001-01-01"});
        assert_eq!(value, expected);
        assert_eq!(to_value(b"a: 1\na: 2").unwrap(), json!({"a": 2}));
        assert_eq!(to_value(b"a: 1\n---\na: 2").unwrap(), json!({"a": 1}));
        assert_eq!(
            repeated_key(b"a: 1\na: 2").unwrap(),
            "yaml: unmarshal errors:\n  line 2: key \"a\" already set in map"
        );
        assert_eq!(
            to_value(b"a: [").unwrap_err(),
            "yaml: line 1: did not find expected node content"
        );
    }

    #[test]
    fn yaml_written_reads_back() {
        let value = json!({
            "a": ["x", {"b": "1", "c": [[], {}, [1, 2], [{"k": "v"}]]}, "- x"], "t": "line\n  two\n", "u": "no newline\nend",
            "yes": "no", "e": "", "n": null, "f": 1.5, "s": "a: b", "q": "é\u{1}", "w": "a\n\n", "d": {"m": {"n": true}},
        });
        assert_eq!(
            to_value(from_value(&value).as_bytes()).unwrap(),
            value,
            "{}",
            from_value(&value)
        );
    }
}
