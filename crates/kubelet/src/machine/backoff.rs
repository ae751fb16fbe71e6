//! Upstream's per-key back-off (client-go `flowcontrol.Backoff`): delays that double, and start over after a long
//! quiet time.

use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// First and greatest delay of restarts and of image pulls alike.
pub const INITIAL: SignedDuration = SignedDuration::from_secs(10);
pub const MAX: SignedDuration = SignedDuration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    delay: SignedDuration,
    updated: Timestamp,
}

/// Keys are containers (restarts) or images (pulls) of one pod: bounded by its spec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoffs(BTreeMap<String, Entry>);

impl Backoffs {
    /// When `key`, that failed at `since`, may try again, if that is still to come.
    pub fn until(&self, key: &str, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.0.get(key)?;
        if expired(since, entry.updated) {
            return None;
        }
        let until = since + entry.delay;
        (until > now).then_some(until)
    }

    pub fn delay(&self, key: &str) -> SignedDuration {
        self.0.get(key).map_or(SignedDuration::ZERO, |e| e.delay)
    }

    /// Notes an attempt after the failure at `since`: the next failure waits twice as long.
    pub fn next(&mut self, key: &str, since: Timestamp, now: Timestamp) {
        let delay = match self.0.get(key) {
            Some(entry) if !expired(since, entry.updated) => (entry.delay * 2).min(MAX),
            _ => INITIAL,
        };
        self.0.insert(key.to_owned(), Entry { delay, updated: now });
    }

    pub fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }
}

/// Twice the greatest delay without a failure is a fresh start.
fn expired(since: Timestamp, updated: Timestamp) -> bool {
    since.duration_since(updated) > MAX * 2
}

/// Go's `time.Duration` text for whole seconds: `10s`, `1m20s`, `5m0s`.
pub fn go_duration(d: SignedDuration) -> String {
    let s = d.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3600 => format!("{}m{}s", s / 60, s % 60),
        _ => format!("{}h{}m{}s", s / 3600, s % 3600 / 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn doubles_and_forgets_after_ten_quiet_minutes() {
        let mut b = Backoffs::default();
        assert_eq!(b.until("web", at(0), at(0)), None, "the first restart is at once");
        b.next("web", at(0), at(0));
        assert_eq!(b.until("web", at(5), at(6)), Some(at(15)));
        b.next("web", at(5), at(15));
        assert_eq!(b.delay("web"), SignedDuration::from_secs(20));
        for i in 2..10 {
            b.next("web", at(i * 100), at(i * 100));
        }
        assert_eq!(b.delay("web"), MAX);
        assert_eq!(b.until("web", at(900 + 601), at(900 + 602)), None);
        b.next("web", at(900 + 601), at(900 + 602));
        assert_eq!(b.delay("web"), INITIAL);
    }

    #[test]
    fn durations_print_as_go_does() {
        let text = |s| go_duration(SignedDuration::from_secs(s));
        assert_eq!(
            [text(10), text(80), text(300), text(3605)],
            ["10s", "1m20s", "5m0s", "1h0m5s"]
        );
    }
}
