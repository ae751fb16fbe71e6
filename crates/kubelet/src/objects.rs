//! Config maps, secrets and other single objects that pods refer to: one watch per object for as long as a pod here
//! refers to it, shared by all of them.

use corten_client::CancellationToken;
use corten_client::Object;
use corten_client::object::MetaExt;
use corten_client::watch::{self, Delta, Source};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch as signal;

/// How long a pod's set-up waits for an object before it tries again later.
const FIRST_READ: Duration = Duration::from_secs(30);

/// Namespace and name.
pub type Key = (String, String);

/// None: not read yet. Some(None): does not exist.
type State<K> = Option<Option<Arc<K>>>;

struct Entry<K> {
    state: signal::Sender<State<K>>,
    stop: CancellationToken,
    /// Who refers to it, and how to tell them of a change.
    holders: BTreeMap<String, Notify>,
}

/// Called, from the watch's task, when an object a pod refers to has changed: it should do no more than queue.
pub type Notify = Arc<dyn Fn() + Send + Sync>;

/// The objects of one kind. Bounded by what the pods of this node refer to.
pub struct Objects<K> {
    client: kube::Client,
    entries: Mutex<HashMap<Key, Entry<K>>>,
}

impl<K: Object + k8s_openapi::Resource> Objects<K> {
    pub fn new(client: kube::Client) -> Arc<Self> {
        Arc::new(Self {
            client,
            entries: Mutex::default(),
        })
    }

    /// Makes `holder` refer to exactly `wanted`: watches start for what is new and end for what nobody wants.
    pub fn hold(self: &Arc<Self>, holder: &str, wanted: &BTreeSet<Key>, notify: &Notify) {
        let mut entries = self.entries.lock();
        for key in wanted {
            let entry = entries.entry(key.clone()).or_insert_with(|| self.start(key));
            entry.holders.insert(holder.to_owned(), Arc::clone(notify));
        }
        entries.retain(|key, entry| {
            if !wanted.contains(key) {
                entry.holders.remove(holder);
            }
            let keep = !entry.holders.is_empty();
            if !keep {
                entry.stop.cancel();
            }
            keep
        });
    }

    pub fn release(self: &Arc<Self>, holder: &str) {
        let nothing: Notify = Arc::new(|| {});
        self.hold(holder, &BTreeSet::new(), &nothing);
    }

    /// The object as last seen, waiting for the first look. None: it does not exist.
    ///
    /// # Errors
    /// When it is not held, or could not be read in time.
    pub async fn get(&self, namespace: &str, name: &str) -> Result<Option<Arc<K>>, String> {
        let key = (namespace.to_owned(), name.to_owned());
        let receiver = self.entries.lock().get(&key).map(|e| e.state.subscribe());
        let what = K::KIND.to_lowercase();
        let Some(mut receiver) = receiver else {
            return Err(format!("{what} \"{name}\" is not registered"));
        };
        let read = tokio::time::timeout(FIRST_READ, receiver.wait_for(Option::is_some)).await;
        match read {
            Ok(Ok(state)) => Ok(state.clone().flatten()),
            _ => Err(format!(
                "failed to sync {what} cache: timed out waiting for the condition"
            )),
        }
    }

    fn start(self: &Arc<Self>, key: &Key) -> Entry<K> {
        let stop = CancellationToken::new();
        let source = Source {
            path: corten_client::object::path::<K>(&key.0, "", ""),
            query: format!("fieldSelector=metadata.name%3D{}", key.1),
            accept: "application/json",
        };
        let state = signal::Sender::new(None);
        let sink = Sink {
            objects: Arc::clone(self),
            key: key.clone(),
            state: state.clone(),
            listed: None,
        };
        let token = stop.clone();
        let client = self.client.clone();
        tokio::spawn(async move {
            let mut sink = sink;
            watch::run(client, source, token, |delta| sink.take(delta)).await;
        });
        Entry {
            state,
            stop,
            holders: BTreeMap::new(),
        }
    }

    fn notify(&self, key: &Key) {
        let holders: Vec<Notify> = self
            .entries
            .lock()
            .get(key)
            .map(|e| e.holders.values().cloned().collect())
            .unwrap_or_default();
        holders.iter().for_each(|tell| tell());
    }
}

struct Sink<K> {
    objects: Arc<Objects<K>>,
    key: Key,
    state: signal::Sender<State<K>>,
    /// While a list is told: what it has brought so far.
    listed: Option<Option<Arc<K>>>,
}

impl<K: Object + k8s_openapi::Resource> Sink<K> {
    fn take(&mut self, delta: Delta<K>) {
        if let Delta::Apply(object) | Delta::Delete(object) = &delta
            && object.meta().name() != self.key.1
        {
            return;
        }
        match delta {
            Delta::Restart => self.listed = Some(None),
            Delta::Apply(object) => match &mut self.listed {
                Some(found) => *found = Some(Arc::new(object)),
                None => self.set(Some(Arc::new(object))),
            },
            Delta::Delete(_) => match &mut self.listed {
                Some(found) => *found = None,
                None => self.set(None),
            },
            Delta::Synced(_) => {
                if let Some(found) = self.listed.take() {
                    self.set(found);
                }
            }
            Delta::Progress(_) => {}
        }
    }

    fn set(&self, object: Option<Arc<K>>) {
        let rv = |o: &Option<Arc<K>>| o.as_ref().map(|o| o.meta().rv().to_owned());
        let same = matches!(&*self.state.borrow(), Some(old) if rv(old) == rv(&object));
        let first = self.state.borrow().is_none();
        if same {
            return;
        }
        self.state.send_replace(Some(object));
        if !first {
            self.objects.notify(&self.key);
        }
    }
}
