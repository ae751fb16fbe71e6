//! The state of all nodes in columns: one number per node and resource, next to each other in memory.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use corten_client::object::MetaExt;
use corten_client::pod::Text;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod_info::{NamespaceLabels, PodInfo};
use crate::resources::{Amounts, CPU, MEMORY, Names, amount};

/// Changes remembered for classes to catch up with; who is further behind starts over.
pub const MAX_CHANGES: usize = 1 << 14;

/// Allocatable and requested of one resource, by node.
#[derive(Debug, Default)]
pub struct Column {
    pub alloc: Vec<i64>,
    pub used: Vec<i64>,
}

/// What is not a number.
#[derive(Debug, Default)]
pub struct NodeState {
    pub name: Arc<str>,
    /// Gone nodes keep their place until it is taken again.
    pub live: bool,
    pub node: Option<Arc<Node>>,
    pub labels: BTreeMap<String, String>,
    pub taints: Vec<Taint>,
    pub unschedulable: bool,
    pub max_pods: i64,
    /// Image names, which nodes have in common, to sizes in bytes.
    pub images: HashMap<Text, i64>,
    pub pods: Vec<Arc<PodInfo>>,
    /// Pods that preempted others here and wait for them to go.
    pub nominated: Vec<Arc<PodInfo>>,
    /// Pods by uid of their controller.
    pub owners: HashMap<String, i64>,
    /// cpu and memory as scoring sees them.
    pub scored: (i64, i64),
}

/// All nodes.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub names: Names,
    pub nodes: Vec<NodeState>,
    pub columns: Vec<Column>,
    /// For affinity to pods of namespaces with certain labels.
    pub namespaces: NamespaceLabels,
    index: HashMap<String, usize>,
    free: Vec<usize>,
    /// Nodes that changed, oldest first; the first has number `first_change`.
    changes: std::collections::VecDeque<usize>,
    first_change: u64,
    /// Pods with required anti-affinity anywhere: only then does an arriving pod have to look for them.
    pub anti_affine: usize,
}

impl Snapshot {
    /// Number of nodes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.index.len()
    }
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }
    /// Places of the nodes there are.
    pub fn live(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|i| self.nodes[*i].live)
    }
    /// The number the next change will have.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.first_change + self.changes.len() as u64
    }
    /// The nodes that changed since `version`; none if that is forgotten.
    #[must_use]
    pub fn since(&self, version: u64) -> Option<impl Iterator<Item = usize> + '_> {
        let skip = usize::try_from(version.checked_sub(self.first_change)?).ok()?;
        Some(self.changes.iter().skip(skip).copied())
    }

    fn touch(&mut self, place: usize) {
        if self.changes.len() >= MAX_CHANGES {
            self.changes.pop_front();
            self.first_change += 1;
        }
        self.changes.push_back(place);
    }

    /// Adds a node or takes over its new state; its pods stay.
    pub fn set_node(&mut self, node: &Arc<Node>) {
        let place = self.place(node.metadata.name());
        for column in &mut self.columns {
            column.alloc[place] = 0;
        }
        let status = node.status.clone().unwrap_or_default();
        let mut max_pods = 0;
        for (name, quantity) in status.allocatable.iter().flatten() {
            if name == "pods" {
                max_pods = amount(name, quantity);
            } else if let Some(column) = self.column(name) {
                self.columns[column].alloc[place] = amount(name, quantity);
            }
        }
        let spec = node.spec.clone().unwrap_or_default();
        let state = &mut self.nodes[place];
        state.live = true;
        state.max_pods = max_pods;
        state.labels = node.metadata.labels.clone().unwrap_or_default();
        state.taints = spec.taints.unwrap_or_default();
        state.unschedulable = spec.unschedulable.unwrap_or(false);
        let images = status.images.into_iter().flatten();
        let sizes = images.flat_map(|image| {
            let size = image.size_bytes.unwrap_or(0);
            let names = image.names.into_iter().flatten();
            names.map(move |name| (Text::from(name.as_str()), size))
        });
        state.images = sizes.collect();
        state.node = Some(Arc::clone(node));
        self.touch(place);
    }

    /// Removes a node. Pods that are still bound to it are remembered in case it comes back.
    pub fn remove_node(&mut self, name: &str) {
        let Some(place) = self.index.remove(name) else {
            return;
        };
        self.nodes[place].live = false;
        self.nodes[place].node = None;
        if self.nodes[place].pods.is_empty() {
            self.free.push(place);
        } else {
            // Its pods are deleted one by one; the place is found by name until then.
            self.index.insert(name.to_owned(), place);
        }
        self.touch(place);
    }

    fn place(&mut self, name: &str) -> usize {
        if let Some(place) = self.index.get(name) {
            return *place;
        }
        let place = self.free.pop().unwrap_or(self.nodes.len());
        let state = NodeState {
            name: name.into(),
            ..NodeState::default()
        };
        if place == self.nodes.len() {
            self.nodes.push(state);
        } else {
            self.nodes[place] = state;
        }
        let (nodes, width) = (self.nodes.len(), self.names.len());
        self.columns
            .resize_with(width.max(self.columns.len()), Column::default);
        for column in &mut self.columns {
            column.alloc.resize(nodes, 0);
            column.used.resize(nodes, 0);
            column.alloc[place] = 0;
            column.used[place] = 0;
        }
        self.index.insert(name.to_owned(), place);
        place
    }

    fn column(&mut self, name: &str) -> Option<usize> {
        let column = self.names.column(name)?;
        self.widen();
        Some(column)
    }

    fn widen(&mut self) {
        while self.columns.len() < self.names.len() {
            let zeros = vec![0; self.nodes.len()];
            self.columns.push(Column {
                alloc: zeros.clone(),
                used: zeros,
            });
        }
    }

    /// A pod is on a node: counts what it uses.
    pub fn add_pod(&mut self, node: &str, pod: &Arc<PodInfo>) {
        let place = self.place(node);
        self.widen();
        self.charge(place, &pod.requests, 1);
        let state = &mut self.nodes[place];
        state.scored = (state.scored.0 + pod.scored.0, state.scored.1 + pod.scored.1);
        if !pod.owner().is_empty() {
            *state.owners.entry(pod.owner().to_owned()).or_default() += 1;
        }
        state.pods.push(Arc::clone(pod));
        self.anti_affine += usize::from(!pod.required_anti_affinity.is_empty());
        self.touch(place);
    }

    /// A pod has left a node.
    pub fn remove_pod(&mut self, node: &str, uid: &str) -> Option<Arc<PodInfo>> {
        let place = self.find(node)?;
        let position = self.nodes[place]
            .pods
            .iter()
            .position(|p| p.pod.metadata.uid() == uid)?;
        let pod = self.nodes[place].pods.swap_remove(position);
        self.charge(place, &pod.requests, -1);
        let state = &mut self.nodes[place];
        state.scored = (state.scored.0 - pod.scored.0, state.scored.1 - pod.scored.1);
        if let Some(count) = state.owners.get_mut(pod.owner()) {
            *count -= 1;
            if *count == 0 {
                state.owners.remove(pod.owner());
            }
        }
        if !state.live && state.pods.is_empty() {
            self.index.remove(node);
            self.free.push(place);
        }
        self.anti_affine -= usize::from(!pod.required_anti_affinity.is_empty());
        self.touch(place);
        Some(pod)
    }

    fn charge(&mut self, place: usize, amounts: &Amounts, sign: i64) {
        for (column, value) in amounts {
            self.columns[*column].used[place] += sign * value;
        }
    }

    /// Notes or forgets that a pod waits for others to leave a node.
    pub fn nominate(&mut self, node: &str, pod: &Arc<PodInfo>, nominated: bool) {
        let Some(place) = self.find(node) else { return };
        let uid = pod.pod.metadata.uid();
        let list = &mut self.nodes[place].nominated;
        let before = list.len();
        list.retain(|p| p.pod.metadata.uid() != uid);
        if nominated {
            list.push(Arc::clone(pod));
        }
        if nominated || list.len() != before {
            self.touch(place);
        }
    }

    /// cpu and memory, allocatable and as scoring sees what is used.
    #[must_use]
    pub fn scored(&self, place: usize) -> [(i64, i64); 2] {
        let scored = self.nodes[place].scored;
        [
            (self.columns[CPU].alloc[place], scored.0),
            (self.columns[MEMORY].alloc[place], scored.1),
        ]
    }
}
