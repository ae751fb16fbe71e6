//! Golden transcripts: what happens to a cluster, and what the controllers then write, as text in `transcripts/`.
//!
//! A line at the margin is an event: `put KIND JSON`, `merge KIND NS/NAME JSON`, `delete KIND NS/NAME`, `run` (a kubelet
//! starts what is pending and ends what is deleted), `finish CODE [NAME]` (running pods end), `wait SECONDS`. Indented
//! below it stands what the controllers wrote until they were quiet: by kind and name, each object's changes in their
//! order; generated names are numbered, times are `<time>`. `# kinds:` says which kinds are shown; events are always.
//! `UPDATE_EXPECT=1` writes the answers anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use corten_client::fake::{Change, Fake};
use serde_json::{Value, json};

use crate::cluster::{Cluster, start, text};

/// Longer than any queue's delay before a first try, shorter than what tests wait for.
const QUIET: Duration = Duration::from_millis(900);
/// What no reader wants to see.
const NOISE: [&str; 7] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "generateName",
    "selfLink",
    "lastUpdateTime",
];

#[derive(Default)]
struct Reader {
    kinds: Vec<String>,
    known: BTreeMap<(String, String), Value>,
    /// Generated names, and what they are called here.
    aliases: Vec<(String, String)>,
}

/// Plays a transcript's events and writes down what came of them.
pub async fn play(script: &str) -> String {
    let cluster = start();
    let mut reader = Reader::default();
    let mut out = String::new();
    tokio::time::sleep(QUIET).await;
    let _ = cluster.fake.take_changes();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        writeln!(out, "{line}").unwrap();
        if let Some(kinds) = line.strip_prefix("# kinds:") {
            reader.kinds = kinds.split_whitespace().map(str::to_owned).collect();
        }
        if line.starts_with('#') || line.is_empty() {
            continue;
        }
        step(&cluster, line, &mut reader).await;
        tokio::time::sleep(QUIET).await;
        for said in reader.said(&cluster.fake) {
            writeln!(out, "  {said}").unwrap();
        }
    }
    out
}

async fn step(cluster: &Cluster, line: &str, reader: &mut Reader) {
    let fake = &cluster.fake;
    let mut words = line.splitn(3, ' ');
    let (word, first) = (words.next().unwrap(), words.next().unwrap_or_default());
    let rest = words.next().unwrap_or_default();
    let (key, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let key = reader.real(key);
    let (ns, name) = key.split_once('/').unwrap_or(("", &key));
    match word {
        "put" => {
            let mut object = serde_json::from_str(rest).unwrap();
            name_owners(fake, &mut object);
            fake.put(first, object);
        }
        "merge" => {
            let patch: Value = serde_json::from_str(body).unwrap();
            fake.edit(first, ns, name, |object| {
                corten_meta::patch::merge_patch(object, &patch)
            });
        }
        "delete" => fake.remove(first, ns, name),
        "run" => cluster.kubelet(),
        "finish" => finish(fake, first.parse().unwrap(), &reader.real(rest)),
        "wait" => return tokio::time::sleep(Duration::from_secs(first.parse().unwrap())).await,
        other => panic!("{other}: no such event"),
    }
    // What was just done is no answer.
    let _ = reader.said(fake);
}

/// `"uid": "@KIND"` in owner references stands for the uid of the one that is there.
fn name_owners(fake: &Fake, object: &mut Value) {
    let ns = text(&object["metadata"]["namespace"]);
    for owner in object["metadata"]["ownerReferences"]
        .as_array_mut()
        .into_iter()
        .flatten()
    {
        let (name, uid) = (text(&owner["name"]), text(&owner["uid"]));
        if let Some(found) = uid.strip_prefix('@').and_then(|kind| fake.get(kind, &ns, &name)) {
            owner["uid"] = found["metadata"]["uid"].clone();
        }
    }
}

/// Ends running pods: those whose names begin so.
fn finish(fake: &Fake, code: i64, prefix: &str) {
    for pod in fake.list("pods") {
        let (ns, name) = (
            text(&pod["metadata"]["namespace"]),
            text(&pod["metadata"]["name"]),
        );
        let running = pod["status"]["phase"] == "Running" && pod["metadata"]["deletionTimestamp"].is_null();
        if running && name.starts_with(prefix) {
            fake.edit("pods", &ns, &name, |pod| {
                pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
                pod["status"]["conditions"] = json!([]);
                pod["status"]["containerStatuses"] = json!([{"name": "c", "image": "i", "imageID": "", "ready": false,
                    "restartCount": 0, "state": {"terminated": {"exitCode": code}}}]);
            });
        }
    }
}

impl Reader {
    /// What was written since the last time.
    fn said(&mut self, fake: &Fake) -> Vec<String> {
        let changes = fake.take_changes();
        let mut lines = Vec::new();
        for change in changes {
            self.name(&change.object);
            let key = self.key(&change);
            let mut object = change.object;
            clean(&mut object);
            let before = match change.kind {
                "DELETED" => self.known.remove(&key),
                _ => self.known.insert(key.clone(), object.clone()),
            };
            let shown = change.plural == "events" || self.kinds.contains(&change.plural);
            if !shown {
                continue;
            }
            let head = format!("{} {}", change.plural, key.1);
            let said = match (change.kind, before) {
                _ if change.plural == "events" => event(&object),
                ("DELETED", _) => format!("{head} gone"),
                ("ADDED", _) | (_, None) => format!("{head} new: {object}"),
                (_, Some(before)) => {
                    let mut parts = Vec::new();
                    differences("", &before, &object, &mut parts);
                    if parts.is_empty() {
                        continue;
                    }
                    format!("{head} {}", parts.join("; "))
                }
            };
            lines.push(((change.plural, key.1), self.aliased(&said)));
        }
        // Two objects' writes may come in any order; one object's may not. The line itself decides between equals.
        lines.sort_by(|a, b| a.0.cmp(&b.0));
        let mut lines: Vec<String> = lines.into_iter().map(|(_, line)| line).collect();
        let events = lines.iter().position(|line| line.starts_with("event "));
        if let Some(at) = events {
            let end = lines[at..].iter().position(|line| !line.starts_with("event "));
            let end = end.map_or(lines.len(), |count| at + count);
            lines[at..end].sort();
        }
        lines
    }

    fn key(&self, change: &Change) -> (String, String) {
        let meta = &change.object["metadata"];
        let name = format!("{}/{}", text(&meta["namespace"]), text(&meta["name"]));
        (change.plural.clone(), self.aliased(name.trim_start_matches('/')))
    }

    /// Numbers a generated name when it is first seen.
    fn name(&mut self, object: &Value) {
        let (name, stem) = (
            text(&object["metadata"]["name"]),
            text(&object["metadata"]["generateName"]),
        );
        // A stateful set's pods have names of their own.
        let generated = name.len() > stem.len() + 3;
        if generated && !stem.is_empty() && !self.aliases.iter().any(|(known, _)| *known == name) {
            let count = self
                .aliases
                .iter()
                .filter(|(known, _)| known.starts_with(&stem))
                .count();
            self.aliases.push((name, format!("{stem}{}", count + 1)));
        }
    }

    fn aliased(&self, said: &str) -> String {
        let mut said = said.to_owned();
        for (name, alias) in &self.aliases {
            said = said.replace(name, alias);
        }
        said
    }

    fn real(&self, written: &str) -> String {
        let (ns, name) = written.rsplit_once('/').unwrap_or(("", written));
        let found = self.aliases.iter().find(|(_, alias)| alias == name);
        let name = found.map_or(name, |(real, _)| real);
        if ns.is_empty() {
            name.to_owned()
        } else {
            format!("{ns}/{name}")
        }
    }
}

fn event(object: &Value) -> String {
    let (kind, name) = (
        &object["involvedObject"]["kind"],
        &object["involvedObject"]["name"],
    );
    format!(
        "event {} {}: {} {}: {}",
        text(kind),
        text(name),
        text(&object["type"]),
        text(&object["reason"]),
        text(&object["message"])
    )
}

fn clean(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, member| !NOISE.contains(&name.as_str()) && !member.is_null());
            members.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        Value::String(said) if said.parse::<corten_meta::time::Timestamp>().is_ok() => {
            *value = json!("<time>");
        }
        _ => {}
    }
}

/// `path: before → after` of every leaf that differs.
fn differences(path: &str, before: &Value, after: &Value, out: &mut Vec<String>) {
    if before == after {
        return;
    }
    match (before, after) {
        (Value::Object(b), Value::Object(a)) => {
            let names: std::collections::BTreeSet<&String> = b.keys().chain(a.keys()).collect();
            for name in names {
                let null = Value::Null;
                let path = format!("{path}.{name}");
                differences(
                    &path,
                    b.get(name).unwrap_or(&null),
                    a.get(name).unwrap_or(&null),
                    out,
                );
            }
        }
        (Value::Null, after) => out.push(format!("{path} = {after}")),
        (before, Value::Null) => out.push(format!("{path} no longer {before}")),
        (before, after) => out.push(format!("{path}: {before} → {after}")),
    }
}

macro_rules! transcripts {
    ($($name:ident)*) => {
        $(
            #[tokio::test(start_paused = true)]
            async fn $name() {
                let path = concat!("transcripts/", stringify!($name), ".txt");
                let script = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/transcripts/", stringify!($name), ".txt"));
                let played = play(&script.unwrap_or_else(|error| panic!("{path}: {error}"))).await;
                expect_test::expect_file![concat!("transcripts/", stringify!($name), ".txt")].assert_eq(&played);
            }
        )*

        /// Every file is played.
        #[test]
        fn none_is_left_out() {
            let here = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/transcripts");
            let mut files: Vec<String> = std::fs::read_dir(here)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            files.sort();
            let mut named = vec![$(concat!(stringify!($name), ".txt")),*];
            named.sort_unstable();
            assert_eq!(files, named);
        }
    };
}

transcripts! {
    bootstrap_tokens
    certificate_requests
    cluster_roles
    cron_job_allow
    cron_job_replace
    cron_job_suspend
    daemon_set
    deployment
    deployment_proportional
    disruption
    endpoint_slices
    endpoints
    endpoints_mirrored
    garbage_collector
    garbage_collector_two_owners
    job
    job_adoption
    job_disruption_ignored
    job_fail_index
    job_max_failed_indexes
    job_success_policy_all
    job_success_policy_count
    job_success_policy_indexes
    legacy_token_cleaner
    load_balancer
    load_balancer_ports
    namespace
    node_lifecycle
    pod_gc
    protection
    quota_best_effort
    quota_terminating
    replica_set
    replication_controller
    root_ca_and_account
    service_account_tokens
    service_cidrs
    stateful_set
    stateful_set_evicted
    stateful_set_parallel
    storage_migration
    taint_eviction
    topology_hints
    ttl_after_finished
}
