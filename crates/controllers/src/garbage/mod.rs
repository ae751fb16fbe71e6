//! The garbage collector: objects go after their owners do, before them, or without them, as the deletion asked.

mod collect;
mod graph;
mod monitor;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use corten_client::driver::{self, Next};
use corten_client::{Caller, Queue, watch};
use parking_lot::Mutex;
use tokio::sync::mpsc;

pub use graph::{FOREGROUND, Graph, Node, ORPHAN, Place, Task, Type};

use crate::core::Context;
use crate::core::discovery::{Served, served};
use crate::core::execute::Executor;

const WORKERS: usize = 20;
/// Discovery is asked again after this long when it could not be asked.
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Delete(uid) => write!(f, "delete {uid}"),
            Self::Orphan(uid) => write!(f, "orphan {uid}"),
        }
    }
}

/// State shared by watches and workers.
pub(crate) struct Collector {
    pub graph: Mutex<Graph>,
    pub queue: Queue<Task>,
    pub caller: Caller,
    pub executor: Executor,
    /// Served resources by (group, kind).
    pub kinds: Mutex<BTreeMap<(String, String), Served>>,
}

impl Collector {
    pub fn kind(&self, api_version: &str, kind: &str) -> Option<Served> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        self.kinds
            .lock()
            .get(&(group.to_owned(), kind.to_owned()))
            .cloned()
    }
    pub fn push(&self, tasks: Vec<Task>) {
        tasks.into_iter().for_each(|task| self.queue.add(task));
    }
}

/// Runs the collector until its context stops.
pub async fn run(context: Context) {
    let collector = Arc::new(Collector {
        graph: Mutex::default(),
        queue: Queue::new("garbage_collector"),
        caller: context.caller(),
        executor: context.executor("garbage-collector-controller"),
        kinds: Mutex::default(),
    });
    // Kinds that come and go with definitions are watched as those change.
    let (changed, mut changes) = mpsc::channel(1);
    let mut monitors = monitor::Monitors::new(context.clone(), Arc::clone(&collector));
    let mut wait = RETRY;
    let first = loop {
        match served(&collector.caller).await {
            Ok(all) => break all,
            Err(error) => tracing::warn!(%error, "the garbage collector cannot tell which kinds there are"),
        }
        tokio::select! {
            () = context.stop.cancelled() => return,
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY_MAX),
        }
    };
    monitors.follow(&first);
    watch_definitions(&context, &first, changed);
    monitors.synced().await;
    let worker = Arc::clone(&collector);
    let working = tokio::spawn(driver::run(
        "garbage_collector",
        collector.queue.clone(),
        WORKERS,
        context.stop.clone(),
        move |task| {
            let collector = Arc::clone(&worker);
            async move { collect::work(&collector, task).await.map(|()| Next::Done) }
        },
    ));
    loop {
        tokio::select! {
            () = context.stop.cancelled() => break,
            change = changes.recv() => if change.is_none() { context.stop.cancelled().await },
        }
        if !context.stop.is_cancelled()
            && let Ok(all) = served(&collector.caller).await
        {
            monitors.follow(&all);
        }
    }
    if working.await.is_err() {
        tracing::error!("the garbage collector's workers ended unexpectedly");
    }
}

/// A change of a CustomResourceDefinition or APIService changes which kinds there are.
fn watch_definitions(context: &Context, all: &[Served], changed: mpsc::Sender<()>) {
    for kind in all
        .iter()
        .filter(|s| matches!(s.plural.as_str(), "customresourcedefinitions" | "apiservices"))
    {
        let source = watch::Source::metadata(kind.path("", ""));
        let (client, stop, changed) = (
            context.factory.client().clone(),
            context.stop.clone(),
            changed.clone(),
        );
        tokio::spawn(watch::run::<corten_client::Partial>(
            client,
            source,
            stop,
            move |delta| {
                if !matches!(delta, watch::Delta::Progress(_)) {
                    // One pending signal is enough: what it leads to looks at everything.
                    let _ = changed.try_send(());
                }
            },
        ));
    }
}
