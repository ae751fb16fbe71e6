//! Equivalence classes: pods of one template share what was found out about nodes.
//!
//! For pods that do not look at pods of other nodes, fit and score on a node depend on that node alone. So a class keeps
//! all nodes in order of score and looks again only at nodes that changed: placing one pod costs O(log nodes).

use std::collections::BTreeSet;

use crate::fit_error::FitError;
use crate::plugins::{Refusal, filter_local, score};
use crate::pod_info::PodInfo;
use crate::snapshot::Snapshot;

/// Thousandths of a point: scores are ordered as integers.
type Score = i64;

enum Verdict {
    /// Gone, or not looked at yet.
    Absent,
    Fits(Score),
    Refused(Refusal),
}

/// What is known of one class.
pub struct Class {
    verdicts: Vec<Verdict>,
    /// Nodes that fit, best last.
    ranked: BTreeSet<(Score, usize)>,
    version: u64,
    /// When it was last used, to forget the least recent.
    pub used: u64,
}

impl Class {
    #[must_use]
    pub fn new(snapshot: &Snapshot, pod: &PodInfo) -> Self {
        let mut class = Self {
            verdicts: Vec::new(),
            ranked: BTreeSet::new(),
            version: 0,
            used: 0,
        };
        class.rebuild(snapshot, pod);
        class
    }

    fn rebuild(&mut self, snapshot: &Snapshot, pod: &PodInfo) {
        self.ranked.clear();
        self.verdicts.clear();
        for place in 0..snapshot.nodes.len() {
            self.look(snapshot, pod, place);
        }
        self.version = snapshot.version();
    }

    /// Takes in what changed since the class was last used.
    pub fn catch_up(&mut self, snapshot: &Snapshot, pod: &PodInfo) {
        match snapshot.since(self.version) {
            Some(changed) => {
                let mut places: Vec<usize> = changed.collect();
                places.sort_unstable();
                places.dedup();
                for place in places {
                    self.look(snapshot, pod, place);
                }
                self.version = snapshot.version();
            }
            None => self.rebuild(snapshot, pod),
        }
    }

    fn look(&mut self, snapshot: &Snapshot, pod: &PodInfo, place: usize) {
        while self.verdicts.len() <= place {
            self.verdicts.push(Verdict::Absent);
        }
        if let Verdict::Fits(score) = self.verdicts[place] {
            self.ranked.remove(&(score, place));
        }
        self.verdicts[place] = if !snapshot.nodes[place].live {
            Verdict::Absent
        } else {
            match filter_local(snapshot, pod, place) {
                Ok(()) => {
                    let score = (score::local(snapshot, pod, place) * 1000.0) as Score;
                    self.ranked.insert((score, place));
                    Verdict::Fits(score)
                }
                Err(refusal) => Verdict::Refused(refusal),
            }
        };
    }

    /// The best node.
    #[must_use]
    pub fn best(&self) -> Option<usize> {
        self.ranked.last().map(|(_, place)| *place)
    }

    /// Why there is none, and the nodes where removing pods could help.
    #[must_use]
    pub fn refusals(&self, snapshot: &Snapshot) -> (FitError, Vec<usize>) {
        let live = snapshot.live().count();
        let (mut error, mut preemptable) = (FitError::new(live), Vec::new());
        for (place, verdict) in self.verdicts.iter().enumerate() {
            if let Verdict::Refused(refusal) = verdict {
                error.add(refusal, 1);
                if refusal.preemptable {
                    preemptable.push(place);
                }
            }
        }
        (error, preemptable)
    }
}
