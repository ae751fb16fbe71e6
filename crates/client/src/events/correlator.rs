//! What becomes of an event among the ones before it: written, counted, combined with similar ones, or dropped as spam.
//! Rules and numbers are those of upstream's client-go `tools/record` and `tools/events`.

use std::collections::HashMap;

use jiff::Timestamp;

use super::Record;

/// Events remembered; the one unused for longest goes first.
pub const MAX_REMEMBERED: usize = 4096;
/// Events of one source about one object that pass at once.
pub const SPAM_BURST: f64 = 25.0;
/// Afterwards one passes in this many seconds.
pub const SPAM_REFILL_S: f64 = 300.0;
/// Similar events (all but the message equal) within [`SIMILAR_WINDOW_S`] after which they are combined.
pub const SIMILAR_MAX: usize = 10;
pub const SIMILAR_WINDOW_S: i64 = 600;
/// Repetitions of an events.k8s.io event within this time form a series.
pub const SERIES_WINDOW_S: i64 = 360;

/// What to do with an event. `slot` identifies what is remembered of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Drop,
    Create {
        slot: u64,
        message: String,
    },
    Repeat {
        slot: u64,
        name: String,
        message: String,
        count: i32,
    },
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct About(String);

struct Similar {
    messages: Vec<String>,
    last: Timestamp,
}

struct Known {
    slot: u64,
    name: Option<String>,
    count: i32,
    last: Timestamp,
}

struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// The memory of one recorder.
#[derive(Default)]
pub struct Correlator {
    similar: HashMap<About, Similar>,
    known: HashMap<About, Known>,
    buckets: HashMap<About, Bucket>,
    slots: u64,
}

impl Correlator {
    /// Decides about one event and remembers it.
    pub fn judge(&mut self, record: &Record) -> Verdict {
        self.trim();
        let about = &record.about;
        let object = format!(
            "{:?}/{:?}/{:?}/{:?}",
            about.kind, about.namespace, about.name, about.uid
        );
        if record.action.is_empty() && self.is_spam(&object, record.at) {
            return Verdict::Drop;
        }
        let group = format!(
            "{object}/{}/{}/{}",
            record.level.as_str(),
            record.reason,
            record.action
        );
        if !record.action.is_empty() {
            return self.count(
                About(group),
                record.at,
                record.message.clone(),
                Some(SERIES_WINDOW_S),
            );
        }
        let field = about.field_path.as_deref().unwrap_or_default();
        if self.is_combined(&group, record) {
            let message = format!("(combined from similar events): {}", record.message);
            return self.count(About(group), record.at, message, None);
        }
        let exact = format!("{group}/{field}/{}", record.message);
        self.count(About(exact), record.at, record.message.clone(), None)
    }

    /// Remembers under which name an event was written.
    pub fn written(&mut self, slot: u64, name: String) {
        if let Some(known) = self.known.values_mut().find(|k| k.slot == slot) {
            known.name = Some(name);
        }
    }

    fn is_spam(&mut self, object: &str, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(About(object.to_owned())).or_insert(Bucket {
            tokens: SPAM_BURST,
            at: now,
        });
        let passed = now.duration_since(bucket.at).as_secs_f64().max(0.0);
        bucket.tokens = (bucket.tokens + passed / SPAM_REFILL_S).min(SPAM_BURST);
        bucket.at = now;
        if bucket.tokens < 1.0 {
            return true;
        }
        bucket.tokens -= 1.0;
        false
    }

    fn is_combined(&mut self, group: &str, record: &Record) -> bool {
        let fresh = || Similar {
            messages: Vec::new(),
            last: record.at,
        };
        let similar = self.similar.entry(About(group.to_owned())).or_insert_with(fresh);
        if age(record.at, similar.last) > SIMILAR_WINDOW_S {
            *similar = fresh();
        }
        similar.last = record.at;
        if !similar.messages.contains(&record.message) && similar.messages.len() < SIMILAR_MAX {
            similar.messages.push(record.message.clone());
            return similar.messages.len() >= SIMILAR_MAX;
        }
        similar.messages.len() >= SIMILAR_MAX
    }

    fn count(&mut self, key: About, now: Timestamp, message: String, window_s: Option<i64>) -> Verdict {
        let slot = self.slots;
        if let Some(known) = self.known.get_mut(&key) {
            let current = window_s.is_none_or(|w| age(now, known.last) <= w);
            if let Some(name) = known.name.clone().filter(|_| current) {
                known.count += 1;
                known.last = now;
                return Verdict::Repeat {
                    slot: known.slot,
                    name,
                    message,
                    count: known.count,
                };
            }
        }
        self.slots += 1;
        self.known.insert(
            key,
            Known {
                slot,
                name: None,
                count: 1,
                last: now,
            },
        );
        Verdict::Create { slot, message }
    }

    fn trim(&mut self) {
        oldest_out(&mut self.similar, |s| s.last);
        oldest_out(&mut self.known, |k| k.last);
        oldest_out(&mut self.buckets, |b| b.at);
    }
}

/// Drops the older half once the bound is reached, so that the scan is paid once in many events.
fn oldest_out<V>(map: &mut HashMap<About, V>, at: fn(&V) -> Timestamp) {
    if map.len() < MAX_REMEMBERED {
        return;
    }
    let mut times: Vec<_> = map.values().map(at).collect();
    let middle = times.len() / 2;
    let (_, median, _) = times.select_nth_unstable(middle);
    let median = *median;
    let mut keep = MAX_REMEMBERED / 2;
    map.retain(|_, v| {
        let newer = at(v) >= median && keep > 0;
        keep -= usize::from(newer);
        newer
    });
}

fn age(now: Timestamp, then: Timestamp) -> i64 {
    now.as_second() - then.as_second()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::super::Level;
    use super::*;

    fn record(message: &str, second: i64) -> Record {
        Record {
            about: ObjectReference {
                name: Some("p".into()),
                ..Default::default()
            },
            level: Level::Normal,
            reason: "R".into(),
            message: message.into(),
            action: "",
            at: Timestamp::from_second(second).unwrap(),
        }
    }

    fn create(verdict: Verdict) -> (u64, String) {
        match verdict {
            Verdict::Create { slot, message } => (slot, message),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn repetitions_are_counted() {
        let mut c = Correlator::default();
        let (slot, _) = create(c.judge(&record("m", 0)));
        c.written(slot, "p.1".into());
        let again = c.judge(&record("m", 1));
        assert_eq!(
            again,
            Verdict::Repeat {
                slot,
                name: "p.1".into(),
                message: "m".into(),
                count: 2
            }
        );
    }

    #[test]
    fn many_similar_events_are_combined() {
        let mut c = Correlator::default();
        for i in 0..9 {
            assert_eq!(create(c.judge(&record(&format!("m{i}"), 0))).1, format!("m{i}"));
        }
        assert_eq!(
            create(c.judge(&record("m9", 0))).1,
            "(combined from similar events): m9"
        );
    }

    #[test]
    fn a_flood_about_one_object_is_dropped() {
        let mut c = Correlator::default();
        let passed = (0..100)
            .filter(|_| c.judge(&record("m", 0)) != Verdict::Drop)
            .count();
        assert_eq!(passed, 25);
        assert_ne!(c.judge(&record("m", 301)), Verdict::Drop);
    }
}
