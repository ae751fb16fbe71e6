//! Who reads bytes from outside.

use corten_meta::labels::Selector;
use corten_meta::quantity::Quantity;
use corten_meta::{GroupVersion, GroupVersionKind};
use corten_schema::decode::{self, Media};
use corten_schema::{Mode, strategic, type_of};
use serde_json::{Value, json};

use crate::corpus::objects;
use crate::mutate::{Random, value};

/// A reader, with input that it takes.
pub struct Target {
    pub name: &'static str,
    pub corpus: fn() -> Vec<Vec<u8>>,
    pub run: fn(&[u8]),
}

/// All of them.
pub const ALL: [Target; 11] = [
    Target {
        name: "json",
        corpus: json_corpus,
        run: json_object,
    },
    Target {
        name: "yaml",
        corpus: yaml_corpus,
        run: yaml_object,
    },
    Target {
        name: "protobuf",
        corpus: protobuf_corpus,
        run: protobuf_object,
    },
    Target {
        name: "labels",
        corpus: labels_corpus,
        run: labels,
    },
    Target {
        name: "fields",
        corpus: fields_corpus,
        run: fields,
    },
    Target {
        name: "quantity",
        corpus: quantity_corpus,
        run: quantity,
    },
    Target {
        name: "time",
        corpus: time_corpus,
        run: time,
    },
    Target {
        name: "api-version",
        corpus: api_version_corpus,
        run: api_version,
    },
    Target {
        name: "json-patch",
        corpus: patch_corpus,
        run: json_patch,
    },
    Target {
        name: "strategic",
        corpus: json_corpus,
        run: strategic_merge,
    },
    Target {
        name: "values",
        corpus: json_corpus,
        run: spoiled_values,
    },
];

fn texts(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn json_corpus() -> Vec<Vec<u8>> {
    objects()
        .iter()
        .map(|object| object.to_string().into_bytes())
        .collect()
}

fn yaml_corpus() -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = objects()
        .iter()
        .map(|object| corten_schema::encode::yaml(object).into_bytes())
        .collect();
    out.extend(texts(&[
        "a: &x {b: c}\nd: *x\n",
        "a: |\n  b\n  c\n",
        "- 1\n- !!str 2\n",
        "{a: [b, 'c', \"d\"]}",
        "a: 0x10\nb: 1_000\nc: .inf\n",
    ]));
    out
}

fn protobuf_corpus() -> Vec<Vec<u8>> {
    let wire = |object: Value| {
        let gvk = corten_meta::object::gvk(&object).ok()?;
        let read = decode::object(object.to_string().as_bytes(), Media::Json, &gvk, Mode::Ignore).ok()?;
        corten_schema::encode::protobuf(&gvk, &read.value).ok()
    };
    objects().into_iter().filter_map(wire).collect()
}

fn labels_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "a=b,c!=d",
        "a in (b,c),d notin (e)",
        "!a,b",
        "a>1,b<2",
        "x.test/y==z",
        "",
    ])
}

fn fields_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "metadata.name=a",
        "status.phase!=Running,spec.nodeName=",
        "a=b\\,c\\=d",
        "a==b",
    ])
}

fn quantity_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "1",
        "1.5Gi",
        "100m",
        "-3e6",
        "+.5",
        "12E",
        "1e-9",
        "9223372036854775807",
        "5n",
        "0Ki",
    ])
}

fn time_corpus() -> Vec<Vec<u8>> {
    texts(&[
        "2026-01-01T00:00:00Z",
        "2026-02-28T23:59:60+05:30",
        "2026-01-01T00:00:00.123456Z",
        "9999-12-31T23:59:59Z",
    ])
}

fn api_version_corpus() -> Vec<Vec<u8>> {
    texts(&["v1", "apps/v1", "a.b.test/v1beta1"])
}

fn patch_corpus() -> Vec<Vec<u8>> {
    texts(&[
        r#"[{"op":"add","path":"/metadata/labels/x","value":"y"},{"op":"remove","path":"/spec/containers/0"}]"#,
        r#"[{"op":"test","path":"/a~1b/~0","value":null},{"op":"move","from":"/metadata/labels","path":"/spec/-"}]"#,
        r#"[{"op":"copy","from":"/spec","path":"/spec/a"},{"op":"replace","path":"","value":{}}]"#,
    ])
}

/// Kinds that the documents are read as.
fn kind_of(input: &[u8]) -> GroupVersionKind {
    let all = objects();
    let named = all
        .iter()
        .filter_map(|object| corten_meta::object::gvk(object).ok());
    let found = named.clone().find(|gvk| {
        let kind = format!("\"{}\"", gvk.kind);
        input.windows(kind.len()).any(|w| w == kind.as_bytes())
    });
    found.unwrap_or_else(|| GroupVersionKind::new("", "v1", "Pod"))
}

/// What is read, defaulted and written again reads as the same.
fn settles(gvk: &GroupVersionKind, mut object: Value) {
    let Some(id) = type_of(gvk) else { return };
    corten_schema::default(id, &mut object);
    let text = object.to_string();
    let again = decode::object(text.as_bytes(), Media::Json, gvk, Mode::Strict);
    match again {
        Ok(again) => assert_eq!(again.value, object, "it reads differently when it is read again"),
        Err(error) => panic!("what was read does not read again: {}\n{text}", error.message),
    }
}

fn json_object(input: &[u8]) {
    let gvk = kind_of(input);
    for mode in [Mode::Ignore, Mode::Strict] {
        if let Ok(read) = decode::object(input, Media::Json, &gvk, mode) {
            settles(&gvk, read.value);
        }
    }
    let _ = decode::options(
        input,
        Media::Json,
        &GroupVersionKind::new("", "v1", "DeleteOptions"),
    );
}

fn yaml_object(input: &[u8]) {
    let gvk = GroupVersionKind::new("", "v1", "ConfigMap");
    if let Ok(read) = decode::object(input, Media::Yaml, &gvk, Mode::Ignore) {
        settles(&gvk, read.value);
    }
    let _ = decode::yaml(input);
}

fn protobuf_object(input: &[u8]) {
    if let Ok((gvk, object)) = decode::protobuf(input)
        && let Ok(bytes) = corten_schema::encode::protobuf(&gvk, &object)
    {
        let again = decode::protobuf(&bytes).map(|(_, object)| object);
        assert_eq!(
            again.ok(),
            Some(object),
            "protobuf reads differently when it is read again"
        );
    }
}

fn labels(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(selector) = Selector::parse(&text) {
        let _ = selector.matches(&[("a".to_owned(), "1".to_owned())].into());
        let again = Selector::parse(&selector.to_string());
        assert_eq!(again.as_ref(), Ok(&selector), "{selector}");
    }
}

fn fields(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(selector) = corten_meta::fields::Selector::parse(&text) {
        let _ = selector.matches(|_| Some("a"));
    }
}

fn quantity(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(quantity) = Quantity::parse(&text) {
        let _ = (quantity.value(), quantity.milli_value(), quantity.as_f64());
        let canonical = quantity.canonical();
        let again = Quantity::parse(&canonical).map(|again| again.canonical());
        assert_eq!(again.ok(), Some(canonical), "{text}");
    }
}

fn time(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Some(time) = corten_meta::time::parse(&text) {
        let again = corten_meta::time::parse(&corten_meta::time::format_micro(time));
        assert!(
            again.is_some_and(|again| corten_meta::time::seconds_between(again, time) == 0),
            "{text}"
        );
    }
}

fn api_version(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(read) = GroupVersion::parse(&text) {
        let again = GroupVersion::parse(&corten_meta::api_version(&read.group, &read.version));
        assert_eq!(again.as_ref(), Ok(&read), "{text}");
    }
}

fn json_patch(input: &[u8]) {
    if let Ok(patch) = decode::json_value(input) {
        for mut object in objects().into_iter().take(2) {
            let _ = corten_meta::patch::json_patch(&mut object, &patch);
        }
    }
}

fn strategic_merge(input: &[u8]) {
    let Ok(patch) = decode::json_value(input) else {
        return;
    };
    for object in objects() {
        let Some(id) = corten_meta::object::gvk(&object)
            .ok()
            .and_then(|gvk| type_of(&gvk))
        else {
            continue;
        };
        if let Ok(mut merged) = strategic::merge(id, &object, &patch) {
            let _ = corten_schema::normalize(id, &mut merged, Mode::Ignore);
        }
    }
}

/// Documents that are JSON, with values that are not expected: as objects, as patches and as configurations.
fn spoiled_values(input: &[u8]) {
    let seed = input.iter().fold(7_u64, |seed, byte| {
        seed.wrapping_mul(31).wrapping_add(u64::from(*byte))
    });
    let mut random = Random::new(seed);
    let all = objects();
    let Some(object) = random.pick(&all).cloned() else {
        return;
    };
    let Ok(gvk) = corten_meta::object::gvk(&object) else {
        return;
    };
    let mut spoiled = object.clone();
    for _ in 0..=random.below(3) {
        value(&mut random, &mut spoiled);
    }
    if let Ok(read) = decode::object(spoiled.to_string().as_bytes(), Media::Json, &gvk, Mode::Ignore) {
        settles(&gvk, read.value);
    }
    let Some(id) = type_of(&gvk) else { return };
    let _ = strategic::merge(id, &object, &spoiled);
    let mut merged = object.clone();
    corten_meta::patch::merge_patch(&mut merged, &spoiled);
    let _ = corten_schema::normalize(id, &mut merged, Mode::Ignore);
    let _ = Selector::from_label_selector(
        &json!({"matchLabels": spoiled["metadata"]["labels"], "matchExpressions": spoiled["spec"]}),
    );
}
