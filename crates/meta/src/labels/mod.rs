//! Label selectors: parsed from the query form or from a `LabelSelector` object, matched against labels.

mod parse;
mod requirement;

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

pub use requirement::{Operator, Requirement};

use crate::quote::quote;

/// A conjunction of requirements in key order; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Selector {
    pub fn everything() -> Self {
        Self::default()
    }

    /// What an absent `LabelSelector` means.
    pub fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements,
            nothing: false,
        }
    }

    /// Parses the query form (`app=web,tier in (a,b),!gone`). The error is upstream's text.
    pub fn parse(selector: &str) -> Result<Self, String> {
        parse::requirements(selector).map(Self::new)
    }

    /// Labels that must all be equal, unchecked.
    pub fn from_map<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let equal = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
        };
        Self::new(labels.into_iter().map(equal).collect())
    }

    /// Equality with every entry of a plain JSON map (`spec.selector` of a Service).
    pub fn from_map_value(map: &Value) -> Self {
        let entries = map.as_object().into_iter().flatten();
        Self::from_map(entries.filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))))
    }

    /// Reads a `metav1.LabelSelector`: null selects nothing, `{}` everything. The error is upstream's text.
    pub fn from_label_selector(selector: &Value) -> Result<Self, String> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default().to_owned();
            requirements.push(Requirement::new(key, Operator::Equals, vec![value])?);
        }
        for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
            let name = expression["operator"].as_str().unwrap_or_default();
            let operator = match name {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                _ => return Err(format!("{} is not a valid label selector operator", quote(name))),
            };
            let values = expression["values"].as_array().into_iter().flatten();
            let values = values.filter_map(|v| v.as_str().map(str::to_owned)).collect();
            let key = expression["key"].as_str().unwrap_or_default();
            requirements.push(Requirement::new(key, operator, values)?);
        }
        Ok(Self::new(requirements))
    }

    /// True when everything is selected.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty() && !self.nothing
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.matches_with(|key| labels.get(key).map(String::as_str))
    }

    /// Matches the labels of an object without copying them.
    pub fn matches_object(&self, obj: &Value) -> bool {
        let labels = crate::object::metadata(obj).get("labels");
        self.matches_with(|key| labels?.get(key)?.as_str())
    }

    /// Matches whatever answers `lookup`.
    pub fn matches_with<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(lookup(&r.key)))
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn labels(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
        entries
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect()
    }

    #[test]
    fn query_forms() {
        let app = labels(&[("app", "web"), ("n", "5")]);
        for (selector, expected) in [
            ("app=web", true),
            ("app==web", true),
            ("app!=web", false),
            ("app in (web, x)", true),
            ("app notin (web)", false),
            ("app", true),
            ("!app", false),
            ("!gone", true),
            ("gone!=x", true),
            ("n>4,n<6", true),
            ("n>5", false),
            ("", true),
            (" app = web , n ", true),
            ("in in (a)", false),
            ("app in (,web)", true),
            ("gone=", false),
        ] {
            assert_eq!(
                Selector::parse(selector).unwrap().matches(&app),
                expected,
                "{selector}"
            );
        }
        assert_eq!(
            Selector::parse("b in (y,x),a").unwrap().to_string(),
            "a,b in (x,y)"
        );
    }

    #[test]
    fn wrong_queries() {
        for (selector, error) in [
            ("a=b=c", "found '=', expected: ',' or 'end of string'"),
            ("=a", "found '=', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a in b", "unable to parse requirement: found 'b' expected: '('"),
            (
                "a b",
                "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt",
            ),
        ] {
            assert_eq!(Selector::parse(selector).unwrap_err(), error, "{selector}");
        }
        assert!(
            Selector::parse("a_=b")
                .unwrap_err()
                .starts_with("unable to parse requirement: <nil>: Invalid value: \"a_\": name part must")
        );
        assert!(Selector::parse("a=b_").unwrap_err().starts_with(
            "unable to parse requirement: values[0][a]: Invalid value: \"b_\": a valid label must"
        ));
    }

    #[test]
    fn label_selector_objects() {
        let s = json!({"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "c", "operator": "DoesNotExist"}]});
        let s = Selector::from_label_selector(&s).unwrap();
        assert!(s.matches(&labels(&[("a", "b")])));
        assert!(!s.matches(&labels(&[("a", "b"), ("c", "")])));
        assert!(
            !Selector::from_label_selector(&Value::Null)
                .unwrap()
                .matches(&labels(&[]))
        );
        assert!(
            Selector::from_label_selector(&json!({}))
                .unwrap()
                .matches(&labels(&[]))
        );
    }
}
