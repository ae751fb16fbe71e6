//! Sets of completion indexes, written as the API does: `0-2,5`.

use std::collections::BTreeSet;
use std::fmt;

use corten_client::Pod;
use corten_client::object::MetaExt;

pub const ANNOTATION: &str = "batch.kubernetes.io/job-completion-index";
/// Indexes kept of one Job; those beyond are taken as not done.
pub const MAX_INDEXES: i32 = 1_000_000;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Indexes(pub BTreeSet<i32>);

impl Indexes {
    /// Reads the API's form; indexes of `completions` and above are left out, as is what cannot be read.
    #[must_use]
    pub fn parse(text: &str, completions: i32) -> Self {
        let mut set = BTreeSet::new();
        for part in text.split(',').filter(|p| !p.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            if let (Ok(first), Ok(last)) = (first.parse::<i32>(), last.parse::<i32>()) {
                set.extend(first..=last.min(completions - 1).min(MAX_INDEXES));
            }
        }
        Self(set)
    }
    #[must_use]
    pub fn len(&self) -> i32 {
        i32::try_from(self.0.len()).unwrap_or(i32::MAX)
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(i32, i32)> = Vec::new();
        for &index in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if *last + 1 == index => *last = index,
                _ => runs.push((index, index)),
            }
        }
        let parts: Vec<_> = runs
            .iter()
            .map(|(first, last)| match last - first {
                0 => first.to_string(),
                1 => format!("{first},{last}"),
                _ => format!("{first}-{last}"),
            })
            .collect();
        f.write_str(&parts.join(","))
    }
}

/// The completion index of a pod.
#[must_use]
pub fn index_of(pod: &Pod) -> Option<i32> {
    pod.metadata
        .annotation(ANNOTATION)?
        .parse()
        .ok()
        .filter(|i| *i >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spoiled_indexes_are_read_as_some_that_there_are() {
        let corpus = [b"0-2,5,7,8".to_vec(), b"3,1-2147483647".to_vec()];
        corten_fuzz::spoil("job indexes", &corpus, |input| {
            let read = Indexes::parse(&String::from_utf8_lossy(input), 100);
            assert!(read.0.iter().all(|index| (0..100).contains(index)), "{read}");
            assert_eq!(Indexes::parse(&read.to_string(), 100), read);
        });
    }

    #[test]
    fn indexes_are_written_in_runs() {
        let indexes = Indexes([0, 1, 2, 5, 7, 8].into());
        assert_eq!(indexes.to_string(), "0-2,5,7,8");
        assert_eq!(Indexes::parse("0-2,5,7,8", 8), Indexes([0, 1, 2, 5, 7].into()));
    }
}
