//! The probes of one pod: a table of due times and counters, and the results that the state machine reads.

use crate::machine::view::{PodView, State};
use crate::pod::{self, PodExt};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use std::collections::BTreeMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProbeKind {
    Startup,
    Liveness,
    Readiness,
}

impl ProbeKind {
    /// As in upstream's events: `Readiness probe failed: ...`.
    pub fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    pub fn of(self, c: &Container) -> Option<&Probe> {
        match self {
            Self::Startup => c.startup_probe.as_ref(),
            Self::Liveness => c.liveness_probe.as_ref(),
            Self::Readiness => c.readiness_probe.as_ref(),
        }
    }
}

const KINDS: [ProbeKind; 3] = [ProbeKind::Startup, ProbeKind::Liveness, ProbeKind::Readiness];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Failure,
}

/// What one probe run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    Success,
    /// Counts as success, with an event.
    Warning(String),
    Failure(String),
    /// The probe itself did not work: no result, with an event.
    Error(String),
}

/// Results that have passed their thresholds, by container id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Results(BTreeMap<(String, ProbeKind), Outcome>);

impl Results {
    pub fn startup(&self, id: &str) -> Option<Outcome> {
        self.get(id, ProbeKind::Startup)
    }
    pub fn liveness(&self, id: &str) -> Option<Outcome> {
        self.get(id, ProbeKind::Liveness)
    }
    pub fn readiness(&self, id: &str) -> Option<Outcome> {
        self.get(id, ProbeKind::Readiness)
    }
    fn get(&self, id: &str, kind: ProbeKind) -> Option<Outcome> {
        self.0.get(&(id.to_owned(), kind)).copied()
    }
    #[cfg(test)]
    pub fn set(&mut self, id: &str, kind: ProbeKind, outcome: Outcome) {
        self.0.insert((id.to_owned(), kind), outcome);
    }
}

#[derive(Debug, Clone)]
struct Entry {
    container: String,
    due: Timestamp,
    running: bool,
    /// No more runs for this container id: it is to be killed, or its startup is done.
    held: bool,
    last: Option<Outcome>,
    run: i32,
    /// Retries left of the first moments (readiness only).
    eager: u32,
}

/// A container that has just started is asked this often before its period begins to count: most are ready long
/// before ten seconds are over. The delays double from the first.
const EAGER_RETRIES: u32 = 6;
const EAGER_FIRST: SignedDuration = SignedDuration::from_millis(50);

/// A probe to carry out now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub id: String,
    pub container: String,
    pub kind: ProbeKind,
}

/// The probes of one pod, by container id.
#[derive(Debug, Clone, Default)]
pub struct Table {
    entries: BTreeMap<(String, ProbeKind), Entry>,
    pub results: Results,
}

fn seconds(n: Option<i32>, default: i32) -> SignedDuration {
    SignedDuration::from_secs(i64::from(n.unwrap_or(default)))
}

impl Table {
    /// Follows the view: a probe for each running container that asks for it, none for what is gone. `adopted`
    /// containers were up before this process: they keep the state the API knows until a probe says otherwise.
    pub fn follow(&mut self, pod: &Pod, view: &PodView, adopted: &dyn Fn(&str) -> bool) {
        let mut live = Vec::new();
        let sidecars = pod.inits().iter().filter(|c| pod::is_sidecar(c));
        for c in sidecars.chain(pod.mains()) {
            let Some(v) = view.find(&c.name).filter(|v| v.state == State::Running) else {
                continue;
            };
            for kind in KINDS {
                let Some(probe) = kind.of(c) else { continue };
                if pod.is_deleting() && kind != ProbeKind::Readiness {
                    continue;
                }
                let key = (v.id.clone(), kind);
                live.push(key.clone());
                if self.entries.contains_key(&key) {
                    continue;
                }
                let started = Timestamp::from_nanosecond(i128::from(v.started_at)).unwrap_or_default();
                let due = started + seconds(probe.initial_delay_seconds, 0);
                let eager = kind == ProbeKind::Readiness && probe.exec.is_none() && !adopted(&v.id);
                let entry = Entry {
                    container: c.name.clone(),
                    due,
                    running: false,
                    held: false,
                    last: None,
                    run: 0,
                    eager: if eager { EAGER_RETRIES } else { 0 },
                };
                if !adopted(&v.id) && kind == ProbeKind::Readiness {
                    self.results.0.insert(key.clone(), Outcome::Failure);
                }
                self.entries.insert(key, entry);
            }
        }
        self.entries.retain(|key, _| live.contains(key));
        let known = |id: &str| view.by_id(id).is_some_and(|v| v.state == State::Running);
        self.results.0.retain(|(id, _), _| known(id));
    }

    /// Probes to run now, marked as running, and the next moment one is due.
    pub fn due(&mut self, now: Timestamp, started: &dyn Fn(&str) -> bool) -> (Vec<Due>, Option<Timestamp>) {
        let mut out = Vec::new();
        let mut next: Option<Timestamp> = None;
        for ((id, kind), entry) in &mut self.entries {
            let up = started(&entry.container);
            let idle = if *kind == ProbeKind::Startup { up } else { !up };
            if entry.running || entry.held || idle {
                continue;
            }
            if entry.due <= now {
                entry.running = true;
                out.push(Due {
                    id: id.clone(),
                    container: entry.container.clone(),
                    kind: *kind,
                });
            } else {
                next = Some(next.map_or(entry.due, |n| n.min(entry.due)));
            }
        }
        (out, next)
    }

    /// Whether this failure is one of a container's first moments: nothing to tell of.
    pub fn is_early(&self, due: &Due) -> bool {
        let entry = self.entries.get(&(due.id.clone(), due.kind));
        entry.is_some_and(|e| e.eager > 0)
    }

    /// Takes a result in. Says whether the state machine's inputs changed.
    pub fn complete(&mut self, due: &Due, pod: &Pod, report: &Report, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get_mut(&(due.id.clone(), due.kind)) else {
            return false;
        };
        let Some((_, c)) = pod.container(&due.container) else {
            return false;
        };
        let Some(probe) = due.kind.of(&c) else {
            return false;
        };
        entry.running = false;
        entry.due = now.max(entry.due) + seconds(probe.period_seconds.filter(|p| *p > 0), 10);
        if entry.eager > 0 && matches!(report, Report::Failure(_)) {
            let delay = EAGER_FIRST * 2i32.pow(EAGER_RETRIES - entry.eager);
            entry.due = entry.due.min(now + delay);
            entry.eager -= 1;
            return false;
        }
        entry.eager = 0;
        let outcome = match report {
            Report::Success | Report::Warning(_) => Outcome::Success,
            Report::Failure(_) => Outcome::Failure,
            Report::Error(_) => return false,
        };
        entry.run = if entry.last == Some(outcome) {
            entry.run.saturating_add(1)
        } else {
            1
        };
        entry.last = Some(outcome);
        let threshold = match outcome {
            Outcome::Success => probe.success_threshold.unwrap_or(1),
            Outcome::Failure => probe.failure_threshold.unwrap_or(3),
        };
        if entry.run < threshold {
            return false;
        }
        let failed_liveness = due.kind == ProbeKind::Liveness && outcome == Outcome::Failure;
        if failed_liveness || due.kind == ProbeKind::Startup {
            entry.held = true;
            entry.run = 0;
        }
        self.results.0.insert((due.id.clone(), due.kind), outcome) != Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::view::ContainerView;

    fn at(second: i64) -> Timestamp {
        Timestamp::new(second, 0).unwrap_or_default()
    }

    fn setup(readiness: &Probe) -> (Pod, PodView) {
        let c = Container {
            name: "web".into(),
            readiness_probe: Some(readiness.clone()),
            ..Container::default()
        };
        let mut pod = Pod {
            spec: Some(Default::default()),
            ..Pod::default()
        };
        if let Some(spec) = &mut pod.spec {
            spec.containers.push(c);
        }
        let mut view = PodView::default();
        view.upsert(ContainerView {
            id: "1".into(),
            name: "web".into(),
            state: State::Running,
            started_at: 1_000_000_000,
            ..ContainerView::default()
        });
        (pod, view)
    }

    #[test]
    fn thresholds_count_in_a_row() {
        let probe = Probe {
            success_threshold: Some(2),
            failure_threshold: Some(3),
            period_seconds: Some(5),
            initial_delay_seconds: Some(4),
            ..Probe::default()
        };
        let (pod, view) = setup(&probe);
        let mut table = Table::default();
        table.follow(&pod, &view, &|_| false);
        assert_eq!(
            table.results.readiness("1"),
            Some(Outcome::Failure),
            "not ready before the first success"
        );
        let (due, next) = table.due(at(2), &|_| true);
        assert_eq!((due.len(), next), (0, Some(at(5))));
        let (due, _) = table.due(at(5), &|_| true);
        assert!(!table.complete(&due[0], &pod, &Report::Success, at(5)));
        assert_eq!(table.due(at(9), &|_| true).1, Some(at(10)));
        let (due, _) = table.due(at(10), &|_| true);
        assert!(table.complete(&due[0], &pod, &Report::Success, at(10)));
        assert_eq!(table.results.readiness("1"), Some(Outcome::Success));
        for n in 0..3 {
            let changed = table.complete(&due[0], &pod, &Report::Failure("no".into()), at(11 + n));
            assert_eq!(changed, n == 2);
        }
    }

    #[test]
    fn the_first_moments_are_watched_closely() {
        let (pod, view) = setup(&Probe::default());
        let mut table = Table::default();
        table.follow(&pod, &view, &|_| false);
        let mut now = at(1);
        for n in 0..EAGER_RETRIES {
            let (due, _) = table.due(now, &|_| true);
            assert!(table.is_early(&due[0]));
            table.complete(&due[0], &pod, &Report::Failure("not yet".into()), now);
            let (none, next) = table.due(now, &|_| true);
            assert!(none.is_empty());
            let delay = next.unwrap().duration_since(now);
            assert_eq!(delay, EAGER_FIRST * 2i32.pow(n));
            now = next.unwrap();
        }
        let (due, _) = table.due(now, &|_| true);
        assert!(!table.is_early(&due[0]));
        assert!(
            table.complete(&due[0], &pod, &Report::Success, now),
            "ready at once"
        );
    }

    #[test]
    fn nothing_but_startup_before_the_container_has_started() {
        let (pod, view) = setup(&Probe::default());
        let mut table = Table::default();
        table.follow(&pod, &view, &|_| false);
        assert!(table.due(at(100), &|_| false).0.is_empty());
        assert_eq!(table.due(at(100), &|_| true).0.len(), 1);
    }
}
