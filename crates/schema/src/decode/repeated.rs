//! JSON with what a `Value` cannot hold: that a member stands twice in its object.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Members told of at most, as upstream.
const REPEATED_MAX: usize = 100;

/// What becomes of a float that is a whole number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floats {
    /// It stays one.
    Kept,
    /// An integer, as Go writes it.
    Whole,
}

/// Any JSON, with a text for each member that stands twice in its object; the last one counts. The error is Go's text of the
/// syntax error.
pub fn json_repeated(bytes: &[u8], floats: Floats) -> Result<(Value, Vec<String>), String> {
    let mut found = Repeated::default();
    let value = super::with_json(bytes, |deserializer| {
        let seed = Counted {
            path: &mut String::new(),
            found: &mut found,
            floats,
        };
        seed.deserialize(deserializer).ok()
    })?;
    Ok((value.unwrap_or(Value::Null), found.texts))
}

#[derive(Default)]
struct Repeated {
    texts: Vec<String>,
}

impl Repeated {
    fn add(&mut self, path: &str) {
        let text = format!("duplicate field {}", corten_meta::quote(path));
        if self.texts.len() < REPEATED_MAX && !self.texts.contains(&text) {
            self.texts.push(text);
        }
    }
}

/// A value at a path, whose repeated members are told of.
struct Counted<'a> {
    path: &'a mut String,
    found: &'a mut Repeated,
    floats: Floats,
}

impl Counted<'_> {
    /// For what is inside, where the path leads now.
    fn inner(&mut self) -> Counted<'_> {
        Counted {
            path: self.path,
            found: self.found,
            floats: self.floats,
        }
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, v: bool) -> Result<Value, E> {
        Ok(Value::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> Result<Value, E> {
        let whole = match self.floats {
            Floats::Whole => super::whole(v),
            Floats::Kept => None,
        };
        Ok(whole.map_or_else(|| v.into(), Value::from))
    }

    fn visit_str<E>(self, v: &str) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> Result<Value, E> {
        Ok(v.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<Value, A::Error> {
        let (mut out, length) = (Vec::new(), self.path.len());
        loop {
            self.path.push_str(&format!("[{}]", out.len()));
            let next = items.next_element_seed(self.inner())?;
            self.path.truncate(length);
            match next {
                Some(item) => out.push(item),
                None => return Ok(Value::Array(out)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<Value, A::Error> {
        let (mut out, length) = (Map::new(), self.path.len());
        while let Some(name) = members.next_key_seed(Name)? {
            if !self.path.is_empty() {
                self.path.push('.');
            }
            self.path.push_str(&name);
            if out.contains_key(&name) {
                self.found.add(self.path);
            }
            let value = members.next_value_seed(self.inner())?;
            self.path.truncate(length);
            out.insert(name, value);
        }
        Ok(Value::Object(out))
    }
}

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        String::deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[test]
    fn repeated_members_are_told_of_with_their_paths() {
        let body = br#"{"a":1,"b":[{"c":1,"c":2.0}],"a":3}"#;
        let (value, texts) = json_repeated(body, Floats::Whole).unwrap();
        assert_eq!(value, json!({"a": 3, "b": [{"c": 2}]}));
        assert_eq!(texts, [r#"duplicate field "b[0].c""#, r#"duplicate field "a""#]);
        let (value, _) = json_repeated(body, Floats::Kept).unwrap();
        assert_eq!(value, super::super::json_value(body).unwrap());
        assert!(json_repeated(b"{", Floats::Kept).is_err());
    }
}
