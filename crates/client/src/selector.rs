//! Label selectors of typed objects, ready to match.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// A parsed selector. The empty one selects everything, [`Selector::nothing`] nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    rules: Vec<Rule>,
    nothing: bool,
}

impl Selector {
    #[must_use]
    pub fn nothing() -> Self {
        Self {
            rules: Vec::new(),
            nothing: true,
        }
    }

    /// From a `LabelSelector`; an absent one selects nothing.
    ///
    /// # Errors
    /// On an operator the API does not know.
    pub fn new(selector: Option<&LabelSelector>) -> Result<Self, String> {
        let Some(selector) = selector else {
            return Ok(Self::nothing());
        };
        let mut parsed = Self::from_labels(selector.match_labels.as_ref());
        for e in selector.match_expressions.iter().flatten() {
            let (key, values) = (e.key.clone(), e.values.clone().unwrap_or_default());
            parsed.rules.push(match e.operator.as_str() {
                "In" => Rule::In(key, values),
                "NotIn" => Rule::NotIn(key, values),
                "Exists" => Rule::Exists(key),
                "DoesNotExist" => Rule::Absent(key),
                other => return Err(format!("\"{other}\" is not a valid label selector operator")),
            });
        }
        Ok(parsed)
    }

    /// From a map of labels (`spec.selector` of a Service); none selects everything.
    #[must_use]
    pub fn from_labels(labels: Option<&BTreeMap<String, String>>) -> Self {
        let rules = labels.into_iter().flatten();
        Self {
            rules: rules.map(|(k, v)| Rule::In(k.clone(), vec![v.clone()])).collect(),
            nothing: false,
        }
    }

    #[must_use]
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let get = |key: &String| labels.and_then(|l| l.get(key));
        !self.nothing
            && self.rules.iter().all(|rule| match rule {
                Rule::In(key, values) => get(key).is_some_and(|v| values.contains(v)),
                Rule::NotIn(key, values) => get(key).is_none_or(|v| !values.contains(v)),
                Rule::Exists(key) => get(key).is_some(),
                Rule::Absent(key) => get(key).is_none(),
            })
    }

    /// Whether it selects everything.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.rules.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn expressions_follow_the_api() {
        let selector: LabelSelector = serde_json::from_value(serde_json::json!({
            "matchLabels": {"a": "1"},
            "matchExpressions": [
                {"key": "b", "operator": "NotIn", "values": ["x"]},
                {"key": "c", "operator": "DoesNotExist"}
            ]
        }))
        .unwrap();
        let selector = Selector::new(Some(&selector)).unwrap();
        let labels = |s: &str| -> BTreeMap<String, String> {
            s.split(',')
                .filter_map(|p| p.split_once('='))
                .map(|(k, v)| (k.into(), v.into()))
                .collect()
        };
        for (text, expected) in [
            ("a=1", true),
            ("a=1,b=x", false),
            ("a=1,b=y", true),
            ("a=1,c=z", false),
            ("", false),
        ] {
            assert_eq!(selector.matches(Some(&labels(text))), expected, "{text}");
        }
        assert!(!Selector::new(None).unwrap().matches(None));
        assert!(
            Selector::new(Some(&LabelSelector::default()))
                .unwrap()
                .matches(None)
        );
    }
}
