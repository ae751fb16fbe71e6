//! `audit.k8s.io/v1` Policy files: which requests are recorded, and how much of them.
//! Rules and texts: upstream's apiserver/pkg/audit/policy and apis/audit/validation.

use corten_auth::UserInfo;
use corten_meta::field::{Error, ErrorList, Path};
use corten_meta::object::str_at;
use serde_json::Value;

use crate::request_info::RequestInfo;

/// How much of a request is recorded. Each level includes those before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when and the outcome.
    Metadata,
    /// Also what was sent.
    Request,
    /// Also what was answered.
    RequestResponse,
}

/// When an event is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Before anything is done.
    RequestReceived,
    /// When the answer of a long-running request begins.
    ResponseStarted,
    /// When nothing more comes.
    ResponseComplete,
    /// When the handler panicked.
    Panic,
}

const LEVELS: [(&str, Level); 4] = [
    ("None", Level::None),
    ("Metadata", Level::Metadata),
    ("Request", Level::Request),
    ("RequestResponse", Level::RequestResponse),
];

const STAGES: [(&str, Stage); 4] = [
    ("RequestReceived", Stage::RequestReceived),
    ("ResponseStarted", Stage::ResponseStarted),
    ("ResponseComplete", Stage::ResponseComplete),
    ("Panic", Stage::Panic),
];

impl Level {
    /// As it is written.
    pub fn name(self) -> &'static str {
        LEVELS
            .iter()
            .find(|(_, l)| *l == self)
            .map_or("", |(name, _)| name)
    }
}

impl Stage {
    /// As it is written.
    pub fn name(self) -> &'static str {
        STAGES
            .iter()
            .find(|(_, s)| *s == self)
            .map_or("", |(name, _)| name)
    }
}

/// What a policy wants of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// How much.
    pub level: Level,
    /// Stages without an event.
    pub omit_stages: Vec<Stage>,
    /// Objects are recorded without `managedFields`.
    pub omit_managed_fields: bool,
}

/// Why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Neither YAML nor JSON.
    #[error("failed decoding: {0}")]
    Syntax(String),
    /// Another kind of object.
    #[error("unknown group version field {0} in policy")]
    Kind(String),
    /// Wrong values.
    #[error("{0}")]
    Invalid(String),
    /// No rules.
    #[error("loaded illegal policy with 0 rules")]
    Empty,
}

#[derive(Debug, Clone)]
struct GroupResources {
    group: String,
    resources: Vec<String>,
    names: Vec<String>,
}

#[derive(Debug, Clone)]
struct Rule {
    wanted: Wanted,
    users: Vec<String>,
    groups: Vec<String>,
    verbs: Vec<String>,
    resources: Vec<GroupResources>,
    namespaces: Vec<String>,
    paths: Vec<String>,
}

/// A policy; the default one records nothing.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    otherwise: Wanted,
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let all = value[key].as_array().into_iter().flatten();
    all.filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

fn stages(value: &Value, path: &Path, errors: &mut ErrorList) -> Vec<Stage> {
    let mut out = Vec::new();
    for (i, name) in texts(value, "omitStages").iter().enumerate() {
        match STAGES.iter().find(|(known, _)| known == name) {
            Some((_, stage)) => out.push(*stage),
            None => {
                let all = STAGES.map(|(name, _)| name).join(",");
                errors.push(Error::invalid(
                    &path.index(i),
                    name.as_str(),
                    format!("allowed stages are {all}"),
                ));
            }
        }
    }
    out
}

impl Policy {
    /// Reads a file's text, YAML or JSON.
    ///
    /// # Errors
    /// See [`PolicyError`].
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let value = corten_schema::decode::yaml(text).map_err(|e| PolicyError::Syntax(e.message))?;
        let (api_version, kind) = (str_at(&value, &["apiVersion"]), str_at(&value, &["kind"]));
        if (api_version, kind) != ("audit.k8s.io/v1", "Policy") {
            return Err(PolicyError::Kind(format!("{api_version}, Kind={kind}")));
        }
        let mut errors = ErrorList::new();
        let otherwise = Wanted {
            level: Level::None,
            omit_stages: stages(&value, &Path::new("omitStages"), &mut errors),
            omit_managed_fields: value["omitManagedFields"] == true,
        };
        let listed = value["rules"].as_array().map(Vec::as_slice).unwrap_or_default();
        let path = Path::new("rules");
        let rules: Vec<Rule> = listed
            .iter()
            .enumerate()
            .map(|(i, rule)| read_rule(rule, &path.index(i), &otherwise, &mut errors))
            .collect();
        if let Some(first) = errors.first() {
            return Err(PolicyError::Invalid(first.to_string()));
        }
        if rules.is_empty() {
            return Err(PolicyError::Empty);
        }
        Ok(Self { rules, otherwise })
    }

    /// The first rule that matches decides.
    pub fn evaluate(&self, user: &UserInfo, info: &RequestInfo) -> Wanted {
        let rule = self.rules.iter().find(|rule| rule.matches(user, info));
        rule.map_or_else(|| self.otherwise.clone(), |rule| rule.wanted.clone())
    }
}

fn read_rule(rule: &Value, path: &Path, policy: &Wanted, errors: &mut ErrorList) -> Rule {
    let level = str_at(rule, &["level"]);
    let known = LEVELS.iter().find(|(name, _)| *name == level);
    if level.is_empty() {
        errors.push(Error::required(&path.child("level"), ""));
    } else if known.is_none() {
        let names = LEVELS.map(|(name, _)| name);
        errors.push(Error::not_supported(&path.child("level"), level, &names));
    }
    let resources = rule["resources"].as_array().into_iter().flatten();
    let resources: Vec<GroupResources> = resources
        .map(|r| GroupResources {
            group: str_at(r, &["group"]).to_owned(),
            resources: texts(r, "resources"),
            names: texts(r, "resourceNames"),
        })
        .collect();
    for r in resources
        .iter()
        .filter(|r| !r.names.is_empty() && r.resources.is_empty())
    {
        let text = "using resourceNames requires at least one resource";
        let at = path.child("resources").child("resourceNames");
        errors.push(Error::invalid(&at, serde_json::json!(r.names), text));
    }
    let (paths, namespaces) = (texts(rule, "nonResourceURLs"), texts(rule, "namespaces"));
    check_paths(&paths, &path.child("nonResourceURLs"), errors);
    let of_resources = !resources.is_empty() || !namespaces.is_empty();
    if of_resources && !paths.is_empty() {
        let text = "rules cannot apply to both regular resources and non-resource URLs";
        let at = path.child("nonResourceURLs");
        errors.push(Error::invalid(&at, serde_json::json!(paths), text));
    }
    let omit = rule["omitManagedFields"].as_bool();
    let mut omit_stages = stages(rule, &path.child("omitStages"), errors);
    omit_stages.extend(&policy.omit_stages);
    Rule {
        wanted: Wanted {
            level: known.map_or(Level::None, |(_, level)| *level),
            omit_stages,
            omit_managed_fields: omit.unwrap_or(policy.omit_managed_fields),
        },
        users: texts(rule, "users"),
        groups: texts(rule, "userGroups"),
        verbs: texts(rule, "verbs"),
        resources,
        namespaces,
        paths,
    }
}

fn check_paths(paths: &[String], path: &Path, errors: &mut ErrorList) {
    for (i, url) in paths.iter().enumerate().filter(|(_, url)| *url != "*") {
        if !url.starts_with('/') {
            let text = "non-resource URL rules must begin with a '/' character";
            errors.push(Error::invalid(&path.index(i), url.as_str(), text));
        }
        if url.strip_suffix('*').unwrap_or(url).contains('*') {
            let text = "non-resource URL wildcards '*' must be the final character of the rule";
            errors.push(Error::invalid(&path.index(i), url.as_str(), text));
        }
    }
}

impl Rule {
    fn matches(&self, user: &UserInfo, info: &RequestInfo) -> bool {
        let has = |all: &[String], one: &str| all.is_empty() || all.iter().any(|v| v == one);
        if !has(&self.users, &user.username) || !has(&self.verbs, &info.verb) {
            return false;
        }
        if !self.groups.is_empty() && !self.groups.iter().any(|g| user.in_group(g)) {
            return false;
        }
        if !self.namespaces.is_empty() || !self.resources.is_empty() {
            let here = info.is_resource && has(&self.namespaces, &info.namespace);
            return here && (self.resources.is_empty() || self.resources.iter().any(|r| r.matches(info)));
        }
        self.paths.is_empty() || (!info.is_resource && self.paths.iter().any(|p| path_matches(p, &info.path)))
    }
}

fn path_matches(rule: &str, path: &str) -> bool {
    let prefix = rule.strip_suffix('*');
    rule == path || prefix.is_some_and(|prefix| path.starts_with(prefix))
}

impl GroupResources {
    fn matches(&self, info: &RequestInfo) -> bool {
        if self.group != info.group && self.group != "*" {
            return false;
        }
        if self.resources.is_empty() {
            return true;
        }
        if !self.names.is_empty() && !self.names.contains(&info.name) {
            return false;
        }
        self.resources.iter().any(|rule| {
            rule == "*"
                || match rule.split_once('/') {
                    None => *rule == info.resource && info.subresource.is_empty(),
                    Some((resource, "*")) => resource == info.resource,
                    Some((resource, sub)) => {
                        sub == info.subresource && (resource == "*" || resource == info.resource)
                    }
                }
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::query::Query;

    fn level(policy: &Policy, user: &UserInfo, method: &str, path: &str) -> Level {
        let info = RequestInfo::parse(&method.parse().unwrap(), path, &Query::default()).unwrap();
        policy.evaluate(user, &info).level
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
            - level: None\n  users: [quiet]\n\
            - level: RequestResponse\n  verbs: [create]\n  resources:\n  - group: ''\n    resources: [pods, 'services/*']\n\
            - level: None\n  nonResourceURLs: ['/healthz*']\n\
            - level: Request\n  userGroups: [dev]\n  namespaces: [a]\n\
            - level: Metadata\n";
        let policy = Policy::parse(text.as_bytes()).unwrap();
        let ann = UserInfo::new("ann", ["dev"]);
        let quiet = UserInfo::new("quiet", []);
        let pods = "/api/v1/namespaces/a/pods";
        assert_eq!(level(&policy, &quiet, "POST", pods), Level::None);
        assert_eq!(level(&policy, &ann, "POST", pods), Level::RequestResponse);
        assert_eq!(
            level(&policy, &ann, "POST", "/api/v1/namespaces/a/pods/p/exec"),
            Level::Request
        );
        assert_eq!(
            level(&policy, &ann, "GET", "/api/v1/namespaces/b/pods"),
            Level::Metadata
        );
        assert_eq!(level(&policy, &ann, "GET", "/healthz/ping"), Level::None);
        assert_eq!(policy.rules[0].wanted.omit_stages, [Stage::RequestReceived]);
    }

    #[test]
    fn wrong_policies_say_what_is_wrong() {
        let error = |rules: &str| {
            let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: {rules}");
            Policy::parse(text.as_bytes()).unwrap_err().to_string()
        };
        assert_eq!(error("[]"), "loaded illegal policy with 0 rules");
        assert!(error("[{level: Much}]").starts_with("rules[0].level: Unsupported value: \"Much\""));
        assert!(
            error("[{level: Metadata, omitStages: [Never]}]").contains("allowed stages are RequestReceived,")
        );
        assert!(Policy::parse(b"kind: Pod").is_err());
    }
}
