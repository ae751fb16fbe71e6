//! `/debug/api_priority_and_fairness/`: what each level, queue and request is doing.
//!
//! Upstream keeps every request in a list under its level's lock. Here one that finds room at once takes no lock: it is in
//! the counts, but in no list unless a page was read within [`LISTED`] before it began. It then stands without a queue
//! (index -1), as it was in none. What waits and what came through a queue's lock is listed always. So the first
//! `dump_requests` does not show itself, as upstream's does; the next one does.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use http::StatusCode;

use super::dump::{self, LevelDump};
use super::{Config, FlowControl};
use crate::call::Call;
use crate::respond::{self, Answer};

/// How long after a page was read every request that begins is listed.
const LISTED: Duration = Duration::from_secs(600);

/// Answers the pages; `None` for other paths. Upstream registers them for every method, and not in the index.
pub fn answer(call: &Call) -> Option<Answer> {
    let page = call.info.path.strip_prefix("/debug/api_priority_and_fairness/")?;
    let flow = &call.server.flow_control;
    let text = match page {
        "dump_priority_levels" => dump::priority_levels(&flow.dump()),
        "dump_queues" => dump::queues(&flow.dump()),
        "dump_requests" => {
            let details = !call.query.text("includeRequestDetails").is_empty();
            dump::requests(&flow.dump(), details)
        }
        _ => return None,
    };
    flow.list_from(call);
    Some(respond::bytes(StatusCode::OK, "text/plain; charset=utf-8", text))
}

impl FlowControl {
    /// Every level by its name.
    fn dump(&self) -> Vec<LevelDump> {
        let config = self.config.load_full();
        let mut levels = config.as_deref().map_or_else(Vec::new, dump_levels);
        levels.sort_by(|a, b| a.name.cmp(&b.name));
        levels
    }

    fn list_from(&self, call: &Call) {
        self.listed_until_ms
            .store(self.age_ms(call) + LISTED.as_millis() as u64, Relaxed);
    }

    /// Whether a request that finds room is to be listed.
    pub(super) fn lists(&self, call: &Call) -> bool {
        let until = self.listed_until_ms.load(Relaxed);
        until > 0 && self.age_ms(call) < until
    }

    fn age_ms(&self, call: &Call) -> u64 {
        let age = call.started.saturating_duration_since(self.since);
        age.as_millis() as u64
    }
}

fn dump_levels(config: &Config) -> Vec<LevelDump> {
    let busy = config.quiescing.iter().filter(|level| !level.totals().idle());
    let known = config.levels.values().map(|level| level.dump(false));
    known.chain(busy.map(|level| level.dump(true))).collect()
}
