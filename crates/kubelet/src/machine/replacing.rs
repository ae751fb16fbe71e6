//! Containers that the kubelet itself stops and starts again: a changed image, a failed probe. Upstream's kubelet does both in one
//! go and looks at the runtime once a second, so that nobody is told of the moment in between. Here both take milliseconds,
//! and each state would be reported.

use jiff::{SignedDuration, Timestamp};

use super::memory::Memory;
use super::view::State;
use super::{Action, Draft, Input};

/// How long a status is held back at most: upstream's period of looking at the runtime. An image may have to be pulled first.
const HELD: SignedDuration = SignedDuration::from_secs(1);

/// Until when the status is not to be told, because a container is about to run again.
pub(super) fn held_until(input: &Input<'_>, memory: &mut Memory, draft: &Draft) -> Option<Timestamp> {
    if memory.end.is_some() {
        memory.replacing.clear();
        return None;
    }
    let mut until = None;
    let mut replacing = std::mem::take(&mut memory.replacing);
    replacing.retain(|name, since| {
        let Some(current) = input.view.find(name) else {
            return false;
        };
        let stopping = memory.killing.contains_key(&current.id);
        if current.state == State::Running {
            return stopping;
        }
        let since = *since.get_or_insert(input.now);
        let wanted = |action: &Action| matches!(action, Action::Start { name: next, .. } if next == name);
        let starting = memory.starting.contains(name) || draft.actions.iter().any(wanted);
        if (stopping || starting) && since + HELD > input.now {
            until = until.max(Some(since + HELD));
        }
        true
    });
    memory.replacing = replacing;
    until
}
