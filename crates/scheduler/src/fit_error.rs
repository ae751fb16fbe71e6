//! Why a pod fits nowhere, in upstream's words.

use std::collections::{BTreeMap, BTreeSet};

use crate::plugins::{Plugin, Refusal};

/// The refusals of all nodes, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FitError {
    pub nodes: usize,
    reasons: BTreeMap<String, usize>,
    /// Who refused: what happens to others cannot help.
    pub plugins: BTreeSet<Plugin>,
    /// Said before nodes were looked at, instead of their reasons.
    pub pre_filter: String,
}

impl FitError {
    #[must_use]
    pub fn new(nodes: usize) -> Self {
        Self {
            nodes,
            ..Self::default()
        }
    }
    /// Counts one node's refusal.
    pub fn add(&mut self, refusal: &Refusal, nodes: usize) {
        self.plugins.insert(refusal.plugin);
        for reason in &refusal.reasons {
            *self.reasons.entry(reason.clone()).or_default() += nodes;
        }
    }
    /// `0/3 nodes are available: 3 Insufficient cpu.`
    #[must_use]
    pub fn message(&self) -> String {
        let mut text = format!("0/{} nodes are available:", self.nodes);
        if self.pre_filter.is_empty() {
            let mut parts: Vec<_> = self
                .reasons
                .iter()
                .map(|(reason, count)| format!("{count} {reason}"))
                .collect();
            parts.sort();
            if !parts.is_empty() {
                text += &format!(" {}.", parts.join(", "));
            }
        } else {
            text += &format!(" {}.", self.pre_filter);
        }
        text
    }
    /// As [`FitError::message`], with what preemption made of it.
    #[must_use]
    pub fn with_preemption(&self, preemption: &str) -> String {
        // DynamicResources speaks before DefaultPreemption; it never finds a claim to free for a pod without claims.
        format!(
            "{} no new claims to deallocate, preemption: {preemption}",
            self.message()
        )
    }
}
