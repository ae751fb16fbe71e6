//! Differences of two objects as messages show them.

use std::fmt::Write as _;

use serde_json::Value;

/// Lines shown around a change.
const CONTEXT: usize = 3;

/// A unified difference of one hunk: from the first line that differs to the last.
pub(super) fn unified(old: &str, new: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let rest = old.len().min(new.len()) - head;
    let tail = old
        .iter()
        .rev()
        .zip(new.iter().rev())
        .take(rest)
        .take_while(|(a, b)| a == b)
        .count();
    if head == old.len() && head == new.len() {
        return String::new();
    }
    let start = head.saturating_sub(CONTEXT);
    let after = tail.min(CONTEXT);
    let (old_end, new_end) = (old.len() - tail, new.len() - tail);
    let mut text = String::new();
    let range = |end: usize| format!("{},{}", start + 1, end + after - start);
    let _ = writeln!(text, "@@ -{} +{} @@", range(old_end), range(new_end));
    let mut lines = |sign: char, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "{sign}{line}");
        }
    };
    lines(' ', &old[start..head]);
    lines('-', &old[head..old_end]);
    lines('+', &new[head..new_end]);
    lines(' ', &old[old_end..old_end + after]);
    text
}

/// JSON of a struct without JSON tags, indented by one space: fields in order under their Go names.
pub(super) fn pretty_struct(value: &Value, fields: &[(&str, &str)]) -> String {
    let shown: Vec<String> = fields
        .iter()
        .map(|(go, json)| {
            let field = pretty(value.get(json).unwrap_or(&Value::Null));
            format!(" \"{go}\": {}", field.replace('\n', "\n "))
        })
        .collect();
    format!("{{\n{}\n}}", shown.join(",\n"))
}

/// Indented by one space, as Go is asked to.
fn pretty(value: &Value) -> String {
    let wide = format!("{value:#}");
    let narrow = wide.lines().map(|line| {
        let text = line.trim_start_matches(' ');
        format!("{}{text}", " ".repeat((line.len() - text.len()) / 2))
    });
    narrow.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_change_is_shown_with_its_surroundings() {
        let fields = [("A", "a"), ("B", "b"), ("C", "c"), ("D", "d"), ("E", "e")];
        let of = |e: &str| pretty_struct(&json!({"a": [1], "b": "x", "e": e}), &fields);
        let expected = "@@ -5,5 +5,5 @@\n  \"B\": \"x\",\n  \"C\": null,\n  \"D\": null,\n- \"E\": \"y\"\n+ \"E\": \"z\"\n }\n";
        assert_eq!(unified(&of("y"), &of("z")), expected);
        assert_eq!(unified(&of("y"), &of("y")), "");
    }
}
