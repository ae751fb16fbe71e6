//! Type expressions as Go prints them.

use super::tables;

/// Go's name of a type expression: `*26.PodSpec` is `v1.PodSpec`, `[]byte` is `[]uint8`. A leading pointer is dropped, as
/// decoding errors name what it points to.
pub fn go_name(expr: &str) -> String {
    let mut out = String::new();
    push(&mut out, expr.strip_prefix('*').unwrap_or(expr));
    out
}

fn push(out: &mut String, expr: &str) {
    if let Some(rest) = expr.strip_prefix("[]") {
        out.push_str("[]");
        push(out, rest);
    } else if let Some(rest) = expr.strip_prefix('*') {
        out.push('*');
        push(out, rest);
    } else if let Some((key, value)) = expr.strip_prefix("map[").and_then(|rest| rest.split_once(']')) {
        out.push_str("map[");
        push(out, key);
        out.push(']');
        push(out, value);
    } else if let Some((package, name)) = split(expr) {
        out.push_str(package);
        out.push('.');
        out.push_str(name);
    } else {
        out.push_str(if expr == "byte" { "uint8" } else { expr });
    }
}

/// The Go package name (the last element of its path) and the type name.
fn split(expr: &str) -> Option<(&'static str, &str)> {
    let (index, name) = expr.split_once('.')?;
    let path = tables().packages.get(index.parse::<usize>().ok()?)?.path;
    Some((path.rsplit('/').next().unwrap_or(path), name))
}
