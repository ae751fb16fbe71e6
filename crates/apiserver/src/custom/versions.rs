//! The order of version names (upstream's `CompareKubeAwareVersionStrings`): `v2 > v1 > v1beta2 > v1alpha1 > other`.

use std::cmp::Ordering;

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Alpha,
    Beta,
    General,
}

/// `Greater` where `a` comes first in discovery.
pub fn compare(a: &str, b: &str) -> Ordering {
    match (parse(a), parse(b)) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(_), None) => Ordering::Greater,
        (None, Some(_)) => Ordering::Less,
        // Others stand in the order of the alphabet.
        (None, None) => b.cmp(a),
    }
}

fn parse(name: &str) -> Option<(Stage, u64, u64)> {
    let rest = name.strip_prefix('v')?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let major = number(&rest[..end])?;
    let stage = &rest[end..];
    if stage.is_empty() {
        return Some((Stage::General, major, 0));
    }
    for (word, stage_of) in [("alpha", Stage::Alpha), ("beta", Stage::Beta)] {
        if let Some(minor) = stage.strip_prefix(word) {
            return Some((stage_of, major, number(minor)?));
        }
    }
    None
}

/// Digits without a leading zero.
fn number(digits: &str) -> Option<u64> {
    let plain = !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order() {
        let mut names = [
            "v1alpha1", "foo1", "v10", "v2beta1", "v2", "v1", "v11alpha2", "foo10", "v12alpha1", "v3beta1",
        ];
        names.sort_by(|a, b| compare(b, a));
        let want = [
            "v10", "v2", "v1", "v3beta1", "v2beta1", "v12alpha1", "v11alpha2", "v1alpha1", "foo1", "foo10",
        ];
        assert_eq!(names, want);
    }
}
