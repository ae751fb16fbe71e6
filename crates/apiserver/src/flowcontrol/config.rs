//! FlowSchemas and PriorityLevelConfigurations as they are put to work.

use std::collections::HashMap;
use std::sync::Arc;

use corten_auth::UserInfo;
use corten_meta::object::{self, str_at};
use http::header::HeaderValue;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::level::{Level, Limits};
use super::matching::Rule;
use super::tally::{Counts, Tally};
use crate::call::Call;
use crate::request_info::RequestInfo;

/// Requests that match nothing go here.
const CATCH_ALL: &str = "catch-all";

/// How requests of one schema are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Distinguisher {
    None,
    ByUser,
    ByNamespace,
}

/// One FlowSchema whose level exists.
pub struct FlowSchema {
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: HeaderValue,
    /// Where its requests are served.
    pub level: Arc<Level>,
    /// See [`Counts`].
    pub counts: Arc<Counts>,
    precedence: i64,
    distinguisher: Distinguisher,
    rules: Vec<Rule>,
}

impl FlowSchema {
    /// Which of its flows a request belongs to.
    pub fn flow(&self, call: &Call) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.name.as_bytes());
        hash.update([0]);
        hash.update(self.distinguisher(call).as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        digest
            .iter()
            .take(8)
            .rev()
            .fold(0, |n, b| (n << 8) | u64::from(*b))
    }

    /// What tells a request's flow from others of this schema.
    pub fn distinguisher<'a>(&self, call: &'a Call) -> &'a str {
        match self.distinguisher {
            Distinguisher::None => "",
            Distinguisher::ByUser => &call.user.username,
            Distinguisher::ByNamespace => &call.info.namespace,
        }
    }
}

/// Everything at one moment; replaced when an object changes.
pub struct Config {
    /// In the order they are tried.
    pub schemas: Vec<Arc<FlowSchema>>,
    /// By name.
    pub levels: HashMap<String, Arc<Level>>,
    /// Whose objects are gone, and which may still have requests.
    pub quiescing: Vec<Arc<Level>>,
    /// Sum of all levels' nominal limits, seats.
    pub nominal_sum: u32,
    catch_all: Option<usize>,
}

impl Config {
    /// Makes a configuration of objects that shares out `seats`. Levels and counts that stay are taken over from `old`.
    pub fn new(seats: u32, schemas: &[Value], levels: &[Value], old: Option<&Self>) -> Self {
        let total = f64::from(seats);
        let shares = |level: &Value| Limits::shares(level) as f64;
        let sum: f64 = levels.iter().map(shares).sum();
        let known = |name: &str| old.and_then(|old| old.levels.get(name));
        let tally = |name: &str| {
            let old = old.and_then(|old| old.every_level().find(|level| level.name == name));
            old.map_or_else(Arc::<Tally>::default, |level| level.tally.clone())
        };
        let made = levels.iter().map(|level| {
            let name = object::name(level);
            let nominal = if sum > 0.0 {
                (total * shares(level) / sum).ceil() as u32
            } else {
                0
            };
            let kept = known(name).filter(|known| known.same(level)).cloned();
            let made = kept.unwrap_or_else(|| Arc::new(Level::new(level, tally(name))));
            made.set_limits(Limits::new(level, nominal, seats));
            (name.to_owned(), made)
        });
        let levels: HashMap<String, Arc<Level>> = made.collect();
        let busy = |level: &&Arc<Level>| !levels.contains_key(&level.name) && !level.totals().idle();
        let quiescing = old.map_or_else(Vec::new, |old| old.every_level().filter(busy).cloned().collect());
        let nominal_sum = levels.values().map(|l| l.limits().nominal).sum();
        let mut schemas: Vec<_> = schemas
            .iter()
            .filter_map(|schema| read_schema(schema, &levels, old))
            .map(Arc::new)
            .collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        let catch_all = schemas.iter().position(|s| s.name == CATCH_ALL);
        Self {
            schemas,
            levels,
            quiescing,
            nominal_sum,
            catch_all,
        }
    }

    fn every_level(&self) -> impl Iterator<Item = &Arc<Level>> {
        self.levels.values().chain(&self.quiescing)
    }

    /// The first schema that matches, else the one for everything.
    pub fn classify(&self, user: &UserInfo, info: &RequestInfo) -> Option<Arc<FlowSchema>> {
        let matching = |s: &&Arc<FlowSchema>| s.rules.iter().any(|rule| rule.matches(user, info));
        let found = self.schemas.iter().find(matching);
        let found = found.or_else(|| self.schemas.get(self.catch_all?));
        found.cloned()
    }
}

fn uid(of: &Value) -> HeaderValue {
    HeaderValue::from_str(str_at(of, &["metadata", "uid"])).unwrap_or(HeaderValue::from_static(""))
}

/// `None` where the level it names does not exist.
fn read_schema(
    schema: &Value,
    levels: &HashMap<String, Arc<Level>>,
    old: Option<&Config>,
) -> Option<FlowSchema> {
    let name = object::name(schema);
    let level_name = str_at(schema, &["spec", "priorityLevelConfiguration", "name"]);
    let level = levels.get(level_name)?.clone();
    let same = |s: &&Arc<FlowSchema>| s.name == name && s.level.name == level_name;
    let known = old.and_then(|old| old.schemas.iter().find(same));
    let counts = known.map(|s| s.counts.clone()).unwrap_or_default();
    level.tally.cover(&counts);
    let rules = schema["spec"]["rules"].as_array();
    Some(FlowSchema {
        name: name.to_owned(),
        uid: uid(schema),
        counts,
        precedence: schema["spec"]["matchingPrecedence"].as_i64().unwrap_or(i64::MAX),
        distinguisher: match str_at(schema, &["spec", "distinguisherMethod", "type"]) {
            "ByUser" => Distinguisher::ByUser,
            "ByNamespace" => Distinguisher::ByNamespace,
            _ => Distinguisher::None,
        },
        rules: rules.into_iter().flatten().map(Rule::read).collect(),
        level,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::Query;
    use serde_json::json;
    use std::sync::atomic::Ordering;

    fn level(name: &str, shares: u32) -> Value {
        let response =
            json!({"type": "Queue", "queuing": {"queues": 64, "handSize": 6, "queueLengthLimit": 50}});
        json!({"metadata": {"name": name, "uid": name}, "spec": {"type": "Limited", "limited": {
            "nominalConcurrencyShares": shares, "lendablePercent": 50, "limitResponse": response}}})
    }

    fn schema(name: &str, precedence: i64, level: &str, group: &str) -> Value {
        let rule = json!({"subjects": [{"kind": "Group", "group": {"name": group}}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}]});
        json!({"metadata": {"name": name, "uid": name}, "spec": {"matchingPrecedence": precedence,
            "priorityLevelConfiguration": {"name": level}, "rules": [rule]}})
    }

    #[test]
    fn seats_are_shared_out_and_the_first_match_counts() {
        let levels = [level("a", 100), level("b", 200)];
        let schemas = [
            schema("late", 900, "a", "g"),
            schema("early", 100, "b", "g"),
            schema(CATCH_ALL, 10_000, "a", "nobody"),
            schema("dangling", 1, "gone", "g"),
        ];
        let config = Config::new(600, &schemas, &levels, None);
        let limits = config.levels["b"].limits();
        assert_eq!((limits.nominal, limits.min, limits.max), (400, 200, 1000));
        let info = RequestInfo::parse(&http::Method::GET, "/x", &Query::default()).unwrap();
        let name = |user: &UserInfo| config.classify(user, &info).unwrap().name.clone();
        assert_eq!(name(&UserInfo::new("u", ["g"])), "early");
        assert_eq!(name(&UserInfo::new("u", ["other"])), CATCH_ALL);
        let again = Config::new(600, &schemas, &levels, Some(&config));
        assert!(Arc::ptr_eq(&again.levels["a"], &config.levels["a"]));
    }

    #[test]
    fn totals_outlive_changes_and_busy_levels_their_objects() {
        let schemas = [schema("s", 1, "a", "g")];
        let first = Config::new(600, &schemas, &[level("a", 100), level("idle", 1)], None);
        let counts = &first.schemas[0].counts;
        counts.dispatched.fetch_add(5, Ordering::Relaxed);
        counts.executing.fetch_add(1, Ordering::Relaxed);
        let changed = Config::new(600, &schemas, &[level("a", 50), level("idle", 1)], Some(&first));
        assert!(!Arc::ptr_eq(&changed.levels["a"], &first.levels["a"]));
        assert_eq!(changed.levels["a"].totals().dispatched, 5);
        let gone = Config::new(600, &schemas, &[], Some(&changed));
        let names: Vec<&str> = gone.quiescing.iter().map(|level| level.name.as_str()).collect();
        assert_eq!(names, ["a"]);
        let back = Config::new(600, &schemas, &[level("a", 50)], Some(&gone));
        assert_eq!(back.levels["a"].totals().dispatched, 5);
        assert!(back.quiescing.is_empty());
    }
}
