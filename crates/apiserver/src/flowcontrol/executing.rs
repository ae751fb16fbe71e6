//! Who waits and who executes, for the debug pages.
//!
//! Only requests that came through a queue's lock, and those that begin while somebody reads the pages, are listed while they
//! execute: whoever finds room at once is otherwise only counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_auth::UserInfo;
use jiff::Timestamp;
use parking_lot::Mutex;

use super::config::FlowSchema;
use crate::call::Call;
use crate::request_info::RequestInfo;

/// What the pages say of a request.
#[derive(Debug)]
pub struct Asked {
    /// Name of its FlowSchema.
    pub schema: String,
    /// What tells its flow from others of the schema; empty where the level does not spread flows over queues.
    pub distinguisher: String,
    /// When it asked for seats.
    pub arrived: Timestamp,
    /// How many.
    pub seats: u32,
    /// Who asks.
    pub user: Arc<UserInfo>,
    /// For what.
    pub info: RequestInfo,
}

impl Asked {
    /// A request that arrives now.
    pub fn new(call: &Call, schema: &FlowSchema, seats: u32) -> Arc<Self> {
        let spread = schema.level.spreads();
        Arc::new(Self {
            schema: schema.name.clone(),
            distinguisher: if spread {
                schema.distinguisher(call).to_owned()
            } else {
                String::new()
            },
            arrived: Timestamp::now(),
            seats,
            user: call.user.clone(),
            info: call.info.clone(),
        })
    }
}

/// A request that executes.
#[derive(Debug, Clone)]
pub struct Started {
    /// The queue it came from.
    pub queue: Option<usize>,
    /// Since when it executes.
    pub at: Timestamp,
    /// See [`Asked`].
    pub asked: Arc<Asked>,
}

/// See the module.
#[derive(Default)]
pub struct Executing(Mutex<List>);

#[derive(Default)]
struct List {
    last: u64,
    requests: BTreeMap<u64, Started>,
}

impl Executing {
    /// Adds a request that begins now, one of no queue when it arrived; gives what [`Executing::remove`] knows it by.
    pub fn add(&self, queue: Option<usize>, asked: Arc<Asked>) -> u64 {
        let at = queue.map_or(asked.arrived, |_| Timestamp::now());
        let mut list = self.0.lock();
        list.last += 1;
        let number = list.last;
        list.requests.insert(number, Started { queue, at, asked });
        number
    }

    /// Takes a request out that has ended.
    pub fn remove(&self, number: u64) {
        self.0.lock().requests.remove(&number);
    }

    /// All, the longest running first.
    pub fn all(&self) -> Vec<Started> {
        self.0.lock().requests.values().cloned().collect()
    }
}

/// A request for that many seats.
#[cfg(test)]
pub fn example(seats: u32) -> Arc<Asked> {
    Arc::new(Asked {
        schema: "service-accounts".to_owned(),
        distinguisher: "system:serviceaccount:default:loadtest".to_owned(),
        arrived: Timestamp::constant(1_689_639_171, 386_550_000),
        seats,
        user: Arc::new(UserInfo::service_account("default", "loadtest", "")),
        info: RequestInfo::default(),
    })
}
