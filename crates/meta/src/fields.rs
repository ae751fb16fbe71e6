//! Field selectors: `metadata.name=a,status.phase!=Running`.

use std::fmt;

/// One term: the field equals or differs from a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    pub field: String,
    pub equal: bool,
    pub value: String,
}

/// A conjunction of terms; empty selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    requirements: Vec<Requirement>,
}

impl Selector {
    pub fn everything() -> Self {
        Self::default()
    }

    /// One field equal to one value.
    pub fn equal(field: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            requirements: vec![Requirement {
                field: field.into(),
                equal: true,
                value: value.into(),
            }],
        }
    }

    /// Parses the query form. The error is upstream's text.
    pub fn parse(selector: &str) -> Result<Self, String> {
        let mut terms = split_terms(selector);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|t| !t.is_empty()) {
            let Some((field, equal, value)) = split_term(term) else {
                return Err(format!(
                    "invalid selector: '{selector}'; can't understand '{term}'"
                ));
            };
            let value = unescape(value)?;
            // A term about nothing says nothing, as upstream has it.
            if field.is_empty() && value.is_empty() {
                continue;
            }
            requirements.push(Requirement {
                field: field.to_owned(),
                equal,
                value,
            });
        }
        Ok(Self { requirements })
    }

    /// The same terms about the fields that `name` gives for theirs.
    ///
    /// # Errors
    /// The first field that it knows no name for.
    pub fn renamed(mut self, name: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        for term in &mut self.requirements {
            let Some(new) = name(&term.field) else {
                return Err(std::mem::take(&mut term.field));
            };
            term.field = new;
        }
        Ok(self)
    }

    /// The terms about fields that `first` knows, and the others.
    pub fn split(self, first: impl Fn(&str) -> bool) -> (Self, Self) {
        let (first, second) = self.requirements.into_iter().partition(|term| first(&term.field));
        let of = |requirements| Self { requirements };
        (of(first), of(second))
    }

    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// The value this selector demands of `field`, when there is one: lets a list go straight to an index.
    pub fn exact(&self, field: &str) -> Option<&str> {
        let found = self.requirements.iter().find(|r| r.equal && r.field == field);
        found.map(|r| r.value.as_str())
    }

    /// `lookup` answers a field's value; an absent one counts as empty.
    pub fn matches<'a>(&self, lookup: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements
            .iter()
            .all(|r| (lookup(&r.field).unwrap_or_default() == r.value) == r.equal)
    }
}

fn split_terms(selector: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (at, c) in selector.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&selector[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(&selector[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let is_operator = |at: &usize| term[*at..].starts_with("!=") || term[*at..].starts_with('=');
    let at = term.char_indices().map(|(at, _)| at).find(is_operator)?;
    let rest = &term[at..];
    let (equal, length) = if rest.starts_with("!=") {
        (false, 2)
    } else if rest.starts_with("==") {
        (true, 2)
    } else {
        (true, 1)
    };
    Some((&term[..at], equal, &rest[length..]))
}

fn unescape(value: &str) -> Result<String, String> {
    let (mut out, mut escaped) = (String::with_capacity(value.len()), false);
    for c in value.chars() {
        match c {
            '\\' | ',' | '=' if escaped => {
                out.push(c);
                escaped = false;
            }
            c if escaped => {
                return Err(format!("invalid field selector: invalid escape sequence: \\{c}"));
            }
            '\\' => escaped = true,
            ',' | '=' => {
                return Err(format!(
                    "invalid field selector: unescaped character in value: {}",
                    c as u32
                ));
            }
            c => out.push(c),
        }
    }
    if escaped {
        Err("invalid field selector: invalid escape sequence: \\".to_owned())
    } else {
        Ok(out)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, r) in self.requirements.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            let op = if r.equal { "=" } else { "!=" };
            let value = r
                .value
                .replace('\\', "\\\\")
                .replace(',', "\\,")
                .replace('=', "\\=");
            write!(f, "{comma}{}{op}{value}", r.field)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn parses_and_matches() {
        let s = Selector::parse("spec.nodeName=n1,status.phase!=Failed").unwrap();
        let look = |f: &str| match f {
            "spec.nodeName" => Some("n1"),
            _ => None,
        };
        assert!(s.matches(look));
        assert_eq!(s.exact("spec.nodeName"), Some("n1"));
        assert_eq!(s.to_string(), "spec.nodeName=n1,status.phase!=Failed");
        assert_eq!(Selector::parse("==,a=b,!=").unwrap().to_string(), "a=b");
        assert_eq!(
            Selector::parse("abc").unwrap_err(),
            "invalid selector: 'abc'; can't understand 'abc'"
        );
        assert!(Selector::parse("a=b=c").is_err());
        assert_eq!(Selector::parse("a=b\\=c").unwrap().exact("a"), Some("b=c"));
    }
}
