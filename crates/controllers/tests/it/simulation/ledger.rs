//! What must hold after every single write, whatever went wrong before it.

use std::collections::HashMap;
use std::env;

use corten_client::fake::Change;
use serde_json::Value;

use crate::cluster::text;

/// The state of the server as its changes tell it.
#[derive(Default)]
pub struct Ledger {
    objects: HashMap<(String, String, String), Value>,
    /// The most replicas an owner ever asked for, by its uid.
    most: HashMap<String, u64>,
    /// Pods of Jobs that succeeded, by the Job's uid.
    pub succeeded: HashMap<String, u64>,
}

impl Ledger {
    /// Takes changes in; fails at the first that breaks a rule. `alone`: only one process is at work.
    pub fn take(&mut self, changes: Vec<Change>, alone: bool, when: &str) {
        for change in changes {
            if env::var_os("SIMULATION_TRACE").is_some() {
                trace(&change, when);
            }
            let meta = &change.object["metadata"];
            let key = (
                change.plural.clone(),
                text(&meta["namespace"]),
                text(&meta["name"]),
            );
            let before = self.objects.get(&key).cloned();
            if change.kind == "DELETED" {
                self.objects.remove(&key);
                continue;
            }
            self.objects.insert(key, change.object.clone());
            self.wants(&change);
            self.ends(&change, before.as_ref());
            if change.kind == "ADDED" {
                self.is_bounded(&change, alone, when);
            }
        }
    }

    fn wants(&mut self, change: &Change) {
        let spec = &change.object["spec"];
        let wanted = match change.plural.as_str() {
            "replicasets" | "replicationcontrollers" => spec["replicas"].as_u64(),
            "jobs" => spec["parallelism"].as_u64(),
            _ => return,
        };
        let most = self
            .most
            .entry(text(&change.object["metadata"]["uid"]))
            .or_default();
        *most = wanted.unwrap_or(1).max(*most);
    }

    fn ends(&mut self, change: &Change, before: Option<&Value>) {
        let now = &change.object["status"]["phase"];
        if change.plural == "pods"
            && now == "Succeeded"
            && before.is_none_or(|b| b["status"]["phase"] != *now)
        {
            *self.succeeded.entry(owner(&change.object)).or_default() += 1;
        }
    }

    fn siblings<'a>(&'a self, of: &'a Change) -> impl Iterator<Item = &'a Value> {
        let uid = owner(&of.object);
        self.objects
            .iter()
            .filter(move |((plural, ..), o)| *plural == of.plural && !uid.is_empty() && owner(o) == uid)
            .map(|(_, o)| o)
    }

    fn is_bounded(&self, change: &Change, alone: bool, when: &str) {
        let name = &change.object["metadata"]["name"];
        match change.plural.as_str() {
            "pods" if alone => self.pod(change, when),
            "replicasets" => {
                let template = |set: &Value| {
                    let mut template = set["spec"]["template"].clone();
                    template["metadata"]["labels"]["pod-template-hash"].take();
                    template
                };
                let same = self
                    .siblings(change)
                    .filter(|s| template(s) == template(&change.object));
                assert!(
                    same.count() <= 1,
                    "{when}: {name} is a second set of one template"
                );
            }
            "controllerrevisions" => {
                let same = self
                    .siblings(change)
                    .filter(|r| r["data"] == change.object["data"]);
                assert!(
                    same.count() <= 1,
                    "{when}: {name} is a second revision of one template"
                );
            }
            "endpointslices" if alone => {
                assert!(
                    self.siblings(change).count() <= 1,
                    "{when}: {name} is one slice too many"
                );
            }
            _ => {}
        }
    }

    fn pod(&self, change: &Change, when: &str) {
        let (name, reference) = (
            &change.object["metadata"]["name"],
            &change.object["metadata"]["ownerReferences"][0],
        );
        let live = |pod: &&Value| {
            pod["metadata"]["deletionTimestamp"].is_null()
                && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
        };
        if reference["kind"] == "DaemonSet" {
            let node = |pod: &Value| pod["spec"]["affinity"].clone();
            let same = self
                .siblings(change)
                .filter(live)
                .filter(|p| node(p) == node(&change.object));
            assert!(same.count() <= 1, "{when}: {name} is a second daemon of its node");
        } else if let Some(most) = self.most.get(&owner(&change.object)) {
            let count = self.siblings(change).filter(live).count() as u64;
            assert!(count <= *most, "{when}: {name} is pod {count} of at most {most}");
        }
        if reference["kind"] == "Job" {
            let index = |pod: &Value| {
                pod["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"].clone()
            };
            let mine = index(&change.object);
            let same = self.siblings(change).filter(live).filter(|p| index(p) == mine);
            assert!(
                mine.is_null() || same.count() <= 1,
                "{when}: {name} has another's index"
            );
        }
    }
}

fn trace(change: &Change, when: &str) {
    let (meta, status) = (&change.object["metadata"], &change.object["status"]);
    eprintln!(
        "{when} {} {} {} {} owner={} going={} {} {status}",
        change.revision,
        change.kind,
        change.plural,
        meta["name"],
        owner(&change.object),
        !meta["deletionTimestamp"].is_null(),
        change.object["spec"]["replicas"],
    );
}

/// The uid of the controller.
fn owner(object: &Value) -> String {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let controller = owners.into_iter().flatten().find(|o| o["controller"] == true);
    controller.map(|o| text(&o["uid"])).unwrap_or_default()
}
