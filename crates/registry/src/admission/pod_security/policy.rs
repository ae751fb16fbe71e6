//! Which standard a namespace asks for, by its labels (`pod-security-admission/api`).

use std::fmt;

use corten_meta::field::{Error, ErrorList, Path};

/// The newest version in which a check differs from the one before.
const NEWEST: u32 = 35;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Privileged,
    Baseline,
    Restricted,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Privileged => "privileged",
            Self::Baseline => "baseline",
            Self::Restricted => "restricted",
        })
    }
}

/// The standards as of a minor version; None is the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standard {
    pub level: Level,
    version: Option<u32>,
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            None => write!(f, "{}:latest", self.level),
            Some(minor) => write!(f, "{}:v1.{minor}", self.level),
        }
    }
}

impl Standard {
    const DEFAULT: Self = Self {
        level: Level::Privileged,
        version: None,
    };

    /// The minor version whose checks apply.
    pub(super) fn minor(self) -> u32 {
        self.version.unwrap_or(NEWEST).min(NEWEST)
    }

    /// Whether this one may ask more of pods than `other`.
    pub(super) fn is_stricter(self, other: Self) -> bool {
        self != other
            && self.level != Level::Privileged
            && (self.version != other.version || self.level > other.level)
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    pub enforce: Standard,
    pub audit: Standard,
    pub warn: Standard,
}

impl Policy {
    /// The policy of a namespace with these labels, and what is wrong with them.
    pub(super) fn of<'a>(label: impl Fn(&str) -> Option<&'a str>) -> (Self, ErrorList) {
        let given = |mode: &str| label(&format!("{PREFIX}{mode}"));
        let mut errors = ErrorList::new();
        let enforce = read(&given, "enforce", Level::Restricted, &mut errors);
        let audit = read(&given, "audit", Level::Privileged, &mut errors);
        let mut warn = read(&given, "warn", Level::Privileged, &mut errors);
        let enforces = given("enforce").is_some_and(|text| level(text).is_some());
        if enforces && given("warn").is_none() && enforce.level > warn.level {
            warn.level = enforce.level;
            if given("warn-version").is_none() {
                warn.version = enforce.version;
            }
        }
        (Self { enforce, audit, warn }, errors)
    }

    pub(super) fn is_privileged(&self) -> bool {
        [self.enforce, self.audit, self.warn]
            .iter()
            .all(|standard| standard.level == Level::Privileged)
    }
}

const PREFIX: &str = "pod-security.kubernetes.io/";

fn level(text: &str) -> Option<Level> {
    [Level::Privileged, Level::Baseline, Level::Restricted]
        .into_iter()
        .find(|level| level.to_string() == text)
}

fn version(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let minor = text.strip_prefix("v1.")?;
    let canonical = minor.bytes().all(|c| c.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
    minor.parse().ok().filter(|_| canonical).map(Some)
}

/// A mode's labels; `unreadable` is the level that stands for one that cannot be read.
fn read<'a>(
    given: &impl Fn(&str) -> Option<&'a str>,
    mode: &str,
    unreadable: Level,
    errors: &mut ErrorList,
) -> Standard {
    let mut standard = Standard::DEFAULT;
    let mut wrong = |mode: &str, text: &str, detail: &str| {
        let path = Path::new("metadata")
            .child("labels")
            .key(&format!("{PREFIX}{mode}"));
        errors.push(Error::invalid(&path, text, detail));
    };
    if let Some(text) = given(mode) {
        standard.level = level(text).unwrap_or_else(|| {
            wrong(mode, text, "must be one of privileged, baseline, restricted");
            unreadable
        });
    }
    let mode = format!("{mode}-version");
    if let Some(text) = given(&mode) {
        standard.version = version(text).unwrap_or_else(|| {
            wrong(&mode, text, "must be \"latest\" or \"v1.x\"");
            None
        });
    }
    standard
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn policy(labels: Value) -> (Policy, Vec<String>) {
        let (policy, errors) = Policy::of(|label| labels[label].as_str());
        (policy, errors.iter().map(|error| error.detail.clone()).collect())
    }

    #[test]
    fn labels_say_level_and_version() {
        let (none, errors) = policy(json!({}));
        assert!(none.is_privileged() && errors.is_empty());
        let (some, _) = policy(json!({
            "pod-security.kubernetes.io/enforce": "baseline",
            "pod-security.kubernetes.io/enforce-version": "v1.30",
        }));
        assert_eq!(some.enforce.to_string(), "baseline:v1.30");
        assert_eq!(some.warn.to_string(), "baseline:v1.30");
        assert_eq!(some.audit.to_string(), "privileged:latest");
        let (_, errors) = policy(json!({
            "pod-security.kubernetes.io/enforce": "strict",
            "pod-security.kubernetes.io/warn-version": "v1.01",
        }));
        assert_eq!(errors.len(), 2);
    }
}
