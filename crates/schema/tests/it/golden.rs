//! Every kind, fully populated: JSON to protobuf and back, byte for byte.

use corten_meta::object;
use corten_schema::decode::{self, Media};
use corten_schema::{Mode, encode};
use serde_json::Value;

use crate::facts;

struct Golden {
    name: String,
    json: Value,
    protobuf: Vec<u8>,
}

fn all() -> Vec<Golden> {
    let mut out = Vec::new();
    for entry in std::fs::read_dir(facts::dir().join("golden/v1.36")).unwrap() {
        let path = entry.unwrap().path();
        let event = path.file_stem().is_some_and(|n| n == "core.v1.WatchEvent");
        if path.extension().is_some_and(|e| e == "json") && !event {
            let json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let protobuf = std::fs::read(path.with_extension("pb")).unwrap();
            out.push(Golden {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                json,
                protobuf,
            });
        }
    }
    assert!(out.len() > 180, "golden objects are missing");
    out
}

fn check(what: &str, run: impl Fn(&Golden) -> Result<(), String>) {
    let failures: Vec<String> = all()
        .iter()
        .filter_map(|g| run(g).err().map(|e| format!("{}: {e}", g.name)))
        .collect();
    assert!(
        failures.is_empty(),
        "{what}: {} of {}\n{}",
        failures.len(),
        all().len(),
        failures.join("\n")
    );
}

pub fn differs(got: &Value, want: &Value, path: &str) -> Option<String> {
    match (got, want) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys());
            keys.into_iter().find_map(|k| {
                let null = Value::Null;
                match (a.get(k), b.get(k)) {
                    (Some(x), Some(y)) => differs(x, y, &format!("{path}.{k}")),
                    (x, y) => Some(format!(
                        "{path}.{k}: {} against {}",
                        x.unwrap_or(&null),
                        y.unwrap_or(&null)
                    )),
                }
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(i, (x, y))| differs(x, y, &format!("{path}[{i}]"))),
        _ if got == want => None,
        _ => Some(format!("{path}: {got} against {want}")),
    }
}

fn same(got: &Value, want: &Value) -> Result<(), String> {
    differs(got, want, "").map_or(Ok(()), Err)
}

#[test]
fn json_reads_unchanged() {
    check("JSON", |g| {
        let gvk = object::gvk(&g.json)?;
        let decoded = decode::object(g.json.to_string().as_bytes(), Media::Json, &gvk, Mode::Strict);
        let mut want = g.json.clone();
        if (&*gvk.group, &*gvk.kind) == ("apps", "DaemonSet") {
            // Stands for a field of upstream's internal type, which is always written.
            object::set_annotation(&mut want, "deprecated.daemonset.template.generation", "0");
        }
        same(&decoded.map_err(|e| e.message)?.value, &want)
    });
}

#[test]
fn json_becomes_the_same_protobuf() {
    check("to protobuf", |g| {
        let gvk = object::gvk(&g.json)?;
        let bytes = encode::protobuf(&gvk, &g.json).map_err(|e| e.message)?;
        if bytes == g.protobuf {
            Ok(())
        } else {
            Err(first_difference(&bytes, &g.protobuf))
        }
    });
}

fn first_difference(got: &[u8], want: &[u8]) -> String {
    let at = got
        .iter()
        .zip(want)
        .position(|(a, b)| a != b)
        .unwrap_or(got.len().min(want.len()));
    let around = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.saturating_sub(24)..bytes.len().min(at + 16)])
            .escape_debug()
            .to_string()
    };
    format!(
        "at {at} of {} and {}: {} against {}",
        got.len(),
        want.len(),
        around(got),
        around(want)
    )
}

#[test]
fn protobuf_becomes_the_same_json() {
    check("from protobuf", |g| {
        let (gvk, mut value) = decode::protobuf(&g.protobuf).map_err(|e| e.message)?;
        object::set_gvk(&mut value, &gvk);
        same(&value, &g.json)
    });
}

/// A WatchEvent has no kind of its own and travels without one.
#[test]
fn watch_events_carry_any_object() {
    let dir = facts::dir().join("golden/v1.36");
    let json: Value =
        serde_json::from_slice(&std::fs::read(dir.join("core.v1.WatchEvent.json")).unwrap()).unwrap();
    let protobuf = std::fs::read(dir.join("core.v1.WatchEvent.pb")).unwrap();
    let gvk = corten_meta::GroupVersionKind::new("", "v1", "WatchEvent");
    let raw = encode::protobuf_inner(&protobuf).unwrap();
    assert_eq!(encode::protobuf_raw(&gvk, &json).unwrap(), raw);
    assert_eq!(decode::protobuf_raw(&gvk, raw).unwrap(), json);
}
