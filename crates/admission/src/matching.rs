//! Which requests a webhook or policy concerns: rules, scope, equivalent resources, and the selectors over the
//! namespace and the object.

use std::collections::BTreeMap;

use corten_meta::labels::Selector;
use corten_meta::{GroupResource, GroupVersionKind, GroupVersionResource, Result, Status, object};
use corten_registry::{Operation, Registry};
use serde_json::Value;

use crate::request::Request;

/// One `RuleWithOperations`, and the names of a `NamedRuleWithOperations`.
pub(crate) struct Rule {
    operations: Vec<String>,
    groups: Vec<String>,
    versions: Vec<String>,
    /// Resource and subresource.
    resources: Vec<(String, String)>,
    scope: Scope,
    /// Empty for all.
    names: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Namespaced,
    Cluster,
}

/// The selectors and rules that decide whether a request is concerned.
pub(crate) struct Matcher {
    namespace_selector: std::result::Result<Selector, String>,
    object_selector: std::result::Result<Selector, String>,
    rules: Vec<Rule>,
    /// Policies only.
    excluded: Vec<Rule>,
    equivalent: bool,
    /// Policies and bindings without rules concern everything.
    without_rules: bool,
}

/// As what a concerned request is to be shown.
#[derive(Clone)]
pub(crate) struct Shown {
    pub resource: GroupVersionResource,
    pub kind: GroupVersionKind,
}

fn strings(value: &Value) -> Vec<String> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn rules(value: &Value) -> Vec<Rule> {
    let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(Rule::new).collect()
}

impl Rule {
    fn new(value: &Value) -> Self {
        let split = |text: String| match text.split_once('/') {
            Some((resource, sub)) => (resource.to_owned(), sub.to_owned()),
            None => (text, String::new()),
        };
        Self {
            operations: strings(&value["operations"]),
            groups: strings(&value["apiGroups"]),
            versions: strings(&value["apiVersions"]),
            resources: strings(&value["resources"]).into_iter().map(split).collect(),
            scope: match value["scope"].as_str() {
                Some("Namespaced") => Scope::Namespaced,
                Some("Cluster") => Scope::Cluster,
                _ => Scope::All,
            },
            names: strings(&value["resourceNames"]),
        }
    }

    fn matches(&self, request: &Request<'_>, resource: &GroupVersionResource) -> bool {
        let is_namespace = resource.group.is_empty() && resource.resource == "namespaces";
        let clustered = is_namespace || request.namespace.is_empty();
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Namespaced => !clustered,
            Scope::Cluster => clustered,
        };
        let named = |(wanted, sub): &(String, String)| {
            (wanted == "*" || *wanted == *resource.resource) && (sub == "*" || *sub == *request.subresource)
        };
        in_scope
            && one_of(&self.operations, request.operation.as_str())
            && one_of(&self.groups, &resource.group)
            && one_of(&self.versions, &resource.version)
            && self.resources.iter().any(named)
            && (self.names.is_empty() || self.names.contains(&request.name))
    }
}

fn one_of(items: &[String], wanted: &str) -> bool {
    items.iter().any(|item| item == "*" || item == wanted)
}

impl Matcher {
    /// Of a webhook: `rules`, selectors and `matchPolicy` beside each other.
    pub fn of_webhook(hook: &Value) -> Self {
        Self {
            rules: rules(&hook["rules"]),
            ..Self::selecting(hook)
        }
    }

    /// Of a policy's `matchConstraints` or a binding's `matchResources`.
    pub fn of_policy(resources: &Value) -> Self {
        Self {
            rules: rules(&resources["resourceRules"]),
            excluded: rules(&resources["excludeResourceRules"]),
            without_rules: true,
            ..Self::selecting(resources)
        }
    }

    fn selecting(value: &Value) -> Self {
        let selector = |key: &str| match &value[key] {
            Value::Null => Ok(Selector::default()),
            given => Selector::from_label_selector(given),
        };
        Self {
            namespace_selector: selector("namespaceSelector"),
            object_selector: selector("objectSelector"),
            rules: Vec::new(),
            excluded: Vec::new(),
            // Both kinds of configuration default to it.
            equivalent: value["matchPolicy"] != "Exact",
            without_rules: false,
        }
    }

    /// How the request is to be shown, if it is concerned. Selectors come first; what is wrong with them only counts for
    /// requests that the rules name.
    ///
    /// # Errors
    /// 404 for a namespace that is gone, 500 for selectors that do not parse.
    pub async fn matches(
        &self,
        registry: &Registry,
        request: &Request<'_>,
        object: &Value,
    ) -> Result<Option<Shown>> {
        let Some(shown) = self.rules_match(request) else {
            return Ok(None);
        };
        Ok(self
            .selectors_match(registry, request, object)
            .await?
            .then_some(shown))
    }

    /// The rules alone.
    fn rules_match(&self, request: &Request<'_>) -> Option<Shown> {
        let own = Shown {
            resource: request.resource.clone(),
            kind: request.kind.clone(),
        };
        if self.find(&self.excluded, request, &own).is_some() {
            return None;
        }
        if self.rules.is_empty() && self.without_rules {
            return Some(own);
        }
        self.find(&self.rules, request, &own)
    }

    fn find(&self, rules: &[Rule], request: &Request<'_>, own: &Shown) -> Option<Shown> {
        if rules.iter().any(|rule| rule.matches(request, &own.resource)) {
            return Some(own.clone());
        }
        if !self.equivalent || rules.is_empty() {
            return None;
        }
        let others = request.equivalents();
        // Earlier rules first.
        rules.iter().find_map(|rule| {
            let found = others
                .iter()
                .find(|other| rule.matches(request, &other.resource))?;
            Some(Shown {
                resource: found.resource.clone(),
                kind: found.kind.clone(),
            })
        })
    }

    /// The selectors alone.
    async fn selectors_match(
        &self,
        registry: &Registry,
        request: &Request<'_>,
        object: &Value,
    ) -> Result<bool> {
        Ok(
            self.object_matches(request, object)?
                && self.namespace_matches(registry, request, object).await?,
        )
    }

    fn object_matches(&self, request: &Request<'_>, object: &Value) -> Result<bool> {
        let selector = self.object_selector.as_ref().map_err(Status::internal)?;
        let old = request.attributes.old;
        Ok(selector.is_empty()
            || (!object.is_null() && selector.matches_object(object))
            || old.is_some_and(|old| selector.matches_object(old)))
    }

    async fn namespace_matches(
        &self,
        registry: &Registry,
        request: &Request<'_>,
        object: &Value,
    ) -> Result<bool> {
        let is_namespace = request.resource.resource == "namespaces";
        // What is in no namespace is never exempted.
        if request.namespace.is_empty() && !is_namespace {
            return Ok(true);
        }
        let selector = self.namespace_selector.as_ref().map_err(Status::internal)?;
        if selector.is_empty() {
            return Ok(true);
        }
        let own_labels = is_namespace
            && request.subresource.is_empty()
            && matches!(request.operation, Operation::Create | Operation::Update);
        if own_labels {
            return Ok(selector.matches_object(object));
        }
        let namespace = namespace_of(registry, &request.namespace).await?;
        Ok(selector.matches(&namespace_labels(&namespace)))
    }
}

fn namespace_labels(namespace: &Value) -> BTreeMap<String, String> {
    object::labels(namespace)
}

/// A namespace as the cache has it; looked up in the newest state before it is said not to exist.
///
/// # Errors
/// 404.
pub(crate) async fn namespace_of(registry: &Registry, name: &str) -> Result<Value> {
    let missing = || Status::not_found(&GroupResource::new("", "namespaces"), name);
    let namespaces = registry.resource("", "namespaces").ok_or_else(missing)?;
    match registry.peek(&namespaces, "", name) {
        Some(found) => found.value(),
        None => registry.get(&namespaces, "", name, "").await?.value(),
    }
}
