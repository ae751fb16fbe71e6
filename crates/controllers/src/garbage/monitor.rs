//! Metadata watches over every kind that can be deleted; the graph is all that is kept of them.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use corten_client::object::MetaExt;
use corten_client::watch::{self, Delta, Source};
use corten_client::{CancellationToken, Partial};
use tokio::sync::watch as signal;

use super::Collector;
use super::graph::{Place, Type};
use crate::core::Context;
use crate::core::discovery::Served;

/// Kinds nothing can own and that own nothing.
const IGNORED: [(&str, &str); 2] = [("", "events"), ("events.k8s.io", "events")];

struct Monitor {
    stop: CancellationToken,
    synced: signal::Receiver<bool>,
}

/// One watch per kind.
pub struct Monitors {
    context: Context,
    collector: Arc<Collector>,
    running: BTreeMap<(String, String), Monitor>,
}

impl Monitors {
    pub fn new(context: Context, collector: Arc<Collector>) -> Self {
        Self {
            context,
            collector,
            running: BTreeMap::new(),
        }
    }

    /// Starts and stops watches so that each kind in `all` has one.
    pub fn follow(&mut self, all: &[Served]) {
        let wanted = all.iter().filter(|s| {
            s.can(&["delete", "list", "watch"]) && !IGNORED.contains(&(s.group.as_str(), s.plural.as_str()))
        });
        let mut names = BTreeSet::new();
        for kind in wanted {
            self.collector
                .kinds
                .lock()
                .insert((kind.group.clone(), kind.kind.clone()), kind.clone());
            let name = (kind.group.clone(), kind.plural.clone());
            if !self.running.contains_key(&name) {
                let monitor = self.start(kind.clone());
                self.running.insert(name.clone(), monitor);
            }
            names.insert(name);
        }
        self.running.retain(|name, monitor| {
            let keep = names.contains(name);
            if !keep {
                monitor.stop.cancel();
            }
            keep
        });
    }

    fn start(&self, kind: Served) -> Monitor {
        let stop = self.context.stop.child_token();
        let (sender, synced) = signal::channel(false);
        let (client, source) = (
            self.context.factory.client().clone(),
            Source::metadata(kind.path("", "")),
        );
        let mut sink = Sink {
            collector: Arc::clone(&self.collector),
            of: Arc::new(Type {
                api_version: kind.api_version(),
                kind: kind.kind,
            }),
            listing: None,
            synced: sender,
        };
        tokio::spawn(watch::run::<Partial>(
            client,
            source,
            stop.clone(),
            move |delta| sink.take(delta),
        ));
        Monitor { stop, synced }
    }

    /// Resolves when every kind has been listed: before, an owner may merely not have been seen yet.
    pub async fn synced(&self) {
        for monitor in self.running.values() {
            let mut synced = monitor.synced.clone();
            let stopped = self.context.stop.cancelled();
            tokio::select! {
                _ = synced.wait_for(|s| *s) => {}
                () = stopped => return,
            }
        }
    }
}

struct Sink {
    collector: Arc<Collector>,
    of: Arc<Type>,
    listing: Option<HashSet<String>>,
    synced: signal::Sender<bool>,
}

impl Sink {
    fn take(&mut self, delta: Delta<Partial>) {
        let tasks = match delta {
            Delta::Restart => {
                self.listing = Some(HashSet::new());
                return;
            }
            Delta::Progress(_) => return,
            Delta::Apply(object) => {
                let meta = &object.metadata;
                if let Some(seen) = &mut self.listing {
                    seen.insert(meta.uid().to_owned());
                }
                let place = Place {
                    of: Arc::clone(&self.of),
                    ns: meta.ns().into(),
                    name: meta.name().into(),
                };
                self.collector.graph.lock().observe(place, meta)
            }
            Delta::Delete(object) => self.collector.graph.lock().gone(object.metadata.uid()),
            Delta::Synced(_) => {
                let tasks = self.sweep();
                self.synced.send_replace(true);
                tasks
            }
        };
        self.collector.push(tasks);
    }

    fn sweep(&mut self) -> Vec<super::Task> {
        let Some(seen) = self.listing.take() else {
            return Vec::new();
        };
        let mut graph = self.collector.graph.lock();
        let gone: Vec<String> = graph
            .of_kind(&self.of.api_version, &self.of.kind)
            .filter(|uid| !seen.contains(*uid))
            .map(str::to_owned)
            .collect();
        gone.iter().flat_map(|uid| graph.gone(uid)).collect()
    }
}
