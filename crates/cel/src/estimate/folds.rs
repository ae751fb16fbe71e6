//! What folds can cost: their step, as often as their range may be long.

use super::{Arg, Coster, Known, Local, SizeEstimate};
use crate::check::ast::{FoldNode, NodeKind};
use crate::types::Type;

impl<'c> Coster<'c> {
    fn bind(&mut self, slot: u16, local: Local) {
        self.locals[usize::from(slot)] = Some(local);
    }

    pub(super) fn binding(&mut self, fold: &'c FoldNode) -> Known {
        let range = self.cost(&fold.range).cost;
        let init = self.arg(&fold.init);
        let cost = range.add(init.known.cost);
        self.bind(
            fold.accu,
            Local {
                path: init.known.path,
                size: init.size,
                entry: init.known.entry,
            },
        );
        let result = self.arg(&fold.result);
        self.locals[usize::from(fold.accu)] = None;
        Known {
            cost: cost.add(result.known.cost),
            size: result.size,
            entry: result.known.entry,
            path: Vec::new(),
        }
    }

    pub(super) fn fold(&mut self, fold: &'c FoldNode) -> Known {
        let range = self.arg(&fold.range);
        let init = self.arg(&fold.init);
        let mut cost = range.known.cost.add(init.known.cost);
        self.bind(
            fold.accu,
            Local {
                path: init.known.path.clone(),
                size: init.size,
                entry: init.known.entry,
            },
        );
        self.bind_elements(fold, &range);
        let condition = self.cost(&fold.condition).cost;
        let step = self.cost(&fold.step);
        cost = cost.add(self.cost(&fold.result).cost);
        for slot in [Some(fold.accu), Some(fold.iter), fold.iter2]
            .into_iter()
            .flatten()
        {
            self.locals[usize::from(slot)] = None;
        }
        cost = cost.add(range.size().times(step.cost.add(condition)));
        let mut known = Known {
            cost,
            ..Known::default()
        };
        match fold.init.kind {
            NodeKind::Literal(_) => known.size = init.size,
            NodeKind::List(_) | NodeKind::Map(_) => {
                known.size = Some(range.size());
                known.entry = step.entry;
            }
            _ => {}
        }
        known
    }

    fn bind_elements(&mut self, fold: &FoldNode, range: &Arg<'_>) {
        let entry = range.known.entry;
        let is_list = entry.map_or(matches!(range.node.ty, Type::List(_)), |e| e.is_list);
        let local = |step: &str, size: Option<SizeEstimate>| {
            let mut path = range.known.path.clone();
            path.push(step.to_owned());
            Local {
                path,
                size,
                entry: None,
            }
        };
        let (key, value) = (entry.map(|e| e.key), entry.map(|e| e.value));
        match (fold.iter2, is_list) {
            (Some(second), is_list) => {
                self.bind(fold.iter, local(if is_list { "@indices" } else { "@keys" }, key));
                self.bind(second, local(if is_list { "@items" } else { "@values" }, value));
            }
            (None, true) => self.bind(fold.iter, local("@items", value)),
            (None, false) => self.bind(fold.iter, local("@keys", key)),
        }
    }
}
