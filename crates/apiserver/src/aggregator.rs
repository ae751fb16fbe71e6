//! API aggregation: groups and versions that other servers serve, as APIService objects say.
//! Rules: upstream's kube-aggregator.
//!
//! `feed.rs` keeps the table, `worker.rs` has one task per remote APIService (availability, discovery, OpenAPI), `proxy.rs`
//! passes requests on. Without remote APIServices a request pays one load of an empty table.

mod availability;
mod crds;
mod discovery;
mod document;
mod feed;
mod openapi;
mod proxy;
mod service;
mod transport;
mod worker;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use corten_auth::pki::Identity;
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

pub use discovery::{merged_aggregated, merged_group, merged_groups};
pub use feed::start;
pub use openapi::{merge as merge_v2, merged_v3_index, v2_parts, v3_server};
pub use proxy::proxy;
pub use service::ApiService;

/// Remote APIServices by name, `VERSION.GROUP`.
type Table = BTreeMap<String, Arc<ApiService>>;

/// See the module.
pub struct Aggregator {
    table: ArcSwap<Table>,
    /// What this server shows to extension API servers.
    identity: Identity,
    /// Ends the watches of Services and EndpointSlices; there are none while the table is empty.
    neighbours: Mutex<Option<CancellationToken>>,
}

impl Aggregator {
    /// Serves nothing until [`start`].
    pub fn new(identity: Identity) -> Self {
        Self {
            table: ArcSwap::default(),
            identity,
            neighbours: Mutex::new(None),
        }
    }

    /// The APIService that serves a path (`/apis/GROUP/VERSION` or below), where that is not this server.
    pub fn route(&self, path: &str) -> Option<Arc<ApiService>> {
        let table = self.table.load();
        if table.is_empty() {
            return None;
        }
        let mut parts = path.strip_prefix("/apis/")?.split('/');
        let (group, version) = (parts.next()?, parts.next()?);
        table.get(&format!("{version}.{group}")).cloned()
    }

    /// True where every group is this server's own.
    pub fn is_empty(&self) -> bool {
        self.table.load().is_empty()
    }

    /// Every remote APIService, by name.
    pub fn services(&self) -> Vec<Arc<ApiService>> {
        self.table.load().values().cloned().collect()
    }

    fn change(&self, change: impl Fn(&mut Table)) {
        self.table.rcu(|table| {
            let mut table = Table::clone(table);
            change(&mut table);
            table
        });
    }
}
