//! API Priority and Fairness (`pkg/apis/flowcontrol/validation`).

use std::collections::HashSet;
use std::sync::LazyLock;

use corten_meta::{names, object};
use serde_json::{Value, json};

use super::kinds::{PLAIN, Rules};
use super::rules::{At, ErrorList};

const PRECEDENCE_MAX: i64 = 10000;
const QUEUES_MAX: i64 = 10_000_000;
/// Bits of a flow's hash that choosing its queues may use.
const HASH_BITS_MAX: f64 = 60.0;
const VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

pub(super) const SCHEMA: Rules = Rules {
    body: |at, errors| {
        schema(at, errors);
        conditions(at, errors);
    },
    status: |at, _, errors| conditions(at, errors),
    metadata_twice: false,
    ..PLAIN
};

pub(super) const LEVEL: Rules = Rules {
    body: |at, errors| {
        level(at, errors);
        conditions(at, errors);
    },
    status: |at, _, errors| conditions(at, errors),
    metadata_twice: false,
    ..PLAIN
};

/// Specs that the server depends on, by name.
static FIXED_SCHEMAS: LazyLock<Value> = LazyLock::new(|| {
    let everything = |groups: &[&str]| {
        let subjects: Vec<Value> = groups
            .iter()
            .map(|name| json!({"kind": "Group", "group": {"name": name}}))
            .collect();
        json!([{
            "subjects": subjects,
            "resourceRules": [{
                "verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"],
            }],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        }])
    };
    json!({
        "exempt": {
            "priorityLevelConfiguration": {"name": "exempt"},
            "matchingPrecedence": 1,
            "rules": everything(&["system:masters"]),
        },
        "catch-all": {
            "priorityLevelConfiguration": {"name": "catch-all"},
            "matchingPrecedence": 10000,
            "distinguisherMethod": {"type": "ByUser"},
            "rules": everything(&["system:unauthenticated", "system:authenticated"]),
        },
    })
});
static FIXED_LEVELS: LazyLock<Value> = LazyLock::new(|| {
    json!({
        "exempt": {"type": "Exempt"},
        "catch-all": {
            "type": "Limited",
            "limited": {"nominalConcurrencyShares": 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
        },
    })
});

fn schema(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (spec, name) = (at.get("spec"), object::name(at.value));
    let precedence = spec.get("matchingPrecedence");
    match precedence.int().unwrap_or(0) {
        number if number <= 0 => precedence.invalid_as(errors, number, "must be a positive value"),
        number if number > PRECEDENCE_MAX => {
            precedence.invalid(errors, &format!("must not be greater than {PRECEDENCE_MAX}"));
        }
        1 if name != "exempt" => {
            precedence.invalid(
                errors,
                "only the schema named 'exempt' may have matchingPrecedence 1",
            );
        }
        _ => {}
    }
    let method = spec.get("distinguisherMethod");
    let kind = method.get("type");
    if method.is_set() && !["ByNamespace", "ByUser"].contains(&kind.str()) {
        let shown = format!("{{\"Type\":{}}}", Value::from(kind.str()));
        kind.not_supported_raw(errors, &shown, &["ByNamespace", "ByUser"]);
    }
    let reference = spec.get("priorityLevelConfiguration");
    let level = reference.get("name");
    match level.is_empty() {
        true => level.required(errors, "must reference a priority level"),
        false => level.invalid_each(errors, names::name_is_dns_subdomain(level.str(), false)),
    }
    for rule in spec.get("rules").items() {
        policy_rules(&rule, errors);
    }
    if FIXED_SCHEMAS.get(name).is_some_and(|fixed| fixed != spec.value) {
        spec.invalid(errors, &format!("spec of '{name}' must equal the fixed value"));
    }
}

fn policy_rules(rule: &At<'_, '_>, errors: &mut ErrorList) {
    let subjects = rule.get("subjects");
    if subjects.is_empty() {
        subjects.required(errors, "subjects must contain at least one value");
    }
    for subject in subjects.items() {
        self::subject(&subject, errors);
    }
    let (resources, others) = (rule.get("resourceRules"), rule.get("nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let detail = "at least one of resourceRules and nonResourceRules has to be non-empty";
        rule.required(errors, detail);
    }
    for rule in resources.items() {
        resource_rule(&rule, errors);
    }
    for rule in others.items() {
        verbs(&rule.get("verbs"), errors);
        let urls = rule.get("nonResourceURLs");
        let missing = "nonResourceURLs must contain at least one value";
        if some_or_all(&urls, missing, "non-resource URLs", errors) {
            for url in urls.items() {
                url_path(&url, errors);
            }
        }
    }
}

fn subject(subject: &At<'_, '_>, errors: &mut ErrorList) {
    const KINDS: [(&str, &str); 3] = [
        ("ServiceAccount", "serviceAccount"),
        ("User", "user"),
        ("Group", "group"),
    ];
    let kind = subject.get("kind");
    if !KINDS.iter().any(|(name, _)| *name == kind.str()) {
        return kind.not_supported(errors, &["Group", "ServiceAccount", "User"]);
    }
    for (name, field) in KINDS {
        let at = subject.get(field);
        if name != kind.str() {
            if at.is_set() {
                at.forbidden(
                    errors,
                    &format!("{field} is forbidden when subject kind is not '{name}'"),
                );
            }
            continue;
        }
        if !at.is_set() {
            at.required(
                errors,
                &format!("{field} is required when subject kind is '{name}'"),
            );
            continue;
        }
        at.get("name").nonempty(errors);
        if name == "ServiceAccount" {
            service_account(&at, errors);
        }
    }
}

fn service_account(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (name, namespace) = (at.get("name"), at.get("namespace"));
    if !name.is_empty() && name.str() != "*" {
        name.invalid_each(errors, names::name_is_dns_subdomain(name.str(), false));
    }
    match namespace.is_empty() {
        true => namespace.required(errors, "must specify namespace for service account"),
        false => namespace.invalid_each(errors, names::name_is_dns_label(namespace.str(), false)),
    }
}

fn verbs(list: &At<'_, '_>, errors: &mut ErrorList) {
    let known = |verb: At<'_, '_>| VERBS.contains(&verb.str());
    let listed = some_or_all(list, "verbs must contain at least one value", "verbs", errors);
    if listed && !list.items().all(known) {
        list.not_supported(errors, VERBS);
    }
}

/// Whether there are items to look at: some, and not `*`, which stands alone.
fn some_or_all(list: &At<'_, '_>, missing: &str, what: &str, errors: &mut ErrorList) -> bool {
    if list.is_empty() {
        list.required(errors, missing);
        return false;
    }
    let all = list.items().any(|item| item.str() == "*");
    if all && list.len() > 1 {
        list.invalid(
            errors,
            &format!("if '*' is present, must not specify other {what}"),
        );
    }
    !all
}

fn resource_rule(rule: &At<'_, '_>, errors: &mut ErrorList) {
    verbs(&rule.get("verbs"), errors);
    let groups = "resource rules must supply at least one api group";
    some_or_all(&rule.get("apiGroups"), groups, "api groups", errors);
    let resources = "resource rules must supply at least one resource";
    some_or_all(&rule.get("resources"), resources, "resources", errors);
    let namespaces = rule.get("namespaces");
    if namespaces.is_empty() && rule.get("clusterScope").bool() {
        return;
    }
    let missing = "resource rules that are not cluster scoped must supply at least one namespace";
    if !some_or_all(&namespaces, missing, "namespaces", errors) {
        return;
    }
    for namespace in namespaces.items() {
        for message in names::name_is_dns_label(namespace.str(), false) {
            let detail = format!("each member of this list must be '*' or a DNS-1123 label; {message}");
            namespace.invalid(errors, &detail);
        }
    }
}

fn url_path(url: &At<'_, '_>, errors: &mut ErrorList) {
    let path = url.str();
    let problem = match path {
        "" => "must not be empty",
        "/" => return,
        _ if !path.starts_with('/') => "must start with slash",
        _ if path.contains(' ') => "must not contain white-space",
        _ if path.contains("//") => "must not contain double slash",
        _ if !path.contains('*') || (path.matches('*').count() == 1 && path.ends_with("/*")) => return,
        _ => "wildcard can only do suffix matching",
    };
    url.invalid_as(errors, path, problem);
}

fn conditions(at: &At<'_, '_>, errors: &mut ErrorList) {
    let status = at.get("status");
    let mut seen = HashSet::new();
    for condition in status.get("conditions").items() {
        let kind = condition.get("type");
        if !seen.insert(kind.str()) {
            kind.duplicate(errors);
        }
        kind.nonempty(errors);
    }
}

fn level(at: &At<'_, '_>, errors: &mut ErrorList) {
    const PRESERVE_ZERO: &str = "flowcontrol.k8s.io/preserve-zero-concurrency-shares";
    let (metadata, spec, name) = (at.get("metadata"), at.get("spec"), object::name(at.value));
    if metadata.get("annotations").key(PRESERVE_ZERO).is_set() {
        let detail = format!("annotation '{PRESERVE_ZERO}' is forbidden");
        metadata.get("annotations").forbidden(errors, &detail);
    }
    let (kind, limited, exempt) = (spec.get("type"), spec.get("limited"), spec.get("exempt"));
    if (name == "exempt") != (kind.str() == "Exempt") {
        kind.invalid_as(
            errors,
            kind.str(),
            "must be 'Exempt' if and only if `name` is 'exempt'",
        );
    }
    match kind.str() {
        "Exempt" => {
            if limited.is_set() {
                limited.forbidden(errors, "must be nil if the type is not Limited");
            }
            shares(&exempt, errors);
        }
        "Limited" => {
            if exempt.is_set() {
                exempt.forbidden(errors, "must be nil if the type is Limited");
            }
            match limited.is_set() {
                false => limited.required(errors, "must not be empty when type is Limited"),
                true => self::limited(&limited, errors),
            }
        }
        _ => kind.not_supported(errors, &["Exempt", "Limited"]),
    }
    fixed_level(name, &spec, errors);
}

fn fixed_level(name: &str, spec: &At<'_, '_>, errors: &mut ErrorList) {
    let Some(fixed) = FIXED_LEVELS.get(name) else {
        return;
    };
    let (mut given, mut what) = (spec.value.clone(), "");
    if name == "exempt" {
        what = " except the 'spec.exempt' field";
        given.as_object_mut().map(|given| given.remove("exempt"));
    }
    if given != *fixed {
        spec.invalid(
            errors,
            &format!("spec of '{name}'{what} must equal the fixed value"),
        );
    }
}

fn shares(at: &At<'_, '_>, errors: &mut ErrorList) {
    let (shares, lendable) = (at.get("nominalConcurrencyShares"), at.get("lendablePercent"));
    if shares.int().is_some_and(|number| number < 0) {
        shares.invalid(errors, "must be a non-negative integer");
    }
    if lendable.int().is_some_and(|number| !(0..=100).contains(&number)) {
        lendable.invalid(errors, "must be between 0 and 100, inclusive");
    }
}

fn limited(at: &At<'_, '_>, errors: &mut ErrorList) {
    let response = at.get("limitResponse");
    let (kind, queuing) = (response.get("type"), response.get("queuing"));
    match kind.str() {
        "Reject" if queuing.is_set() => {
            queuing.forbidden(errors, "must be nil if limited.limitResponse.type is not Limited");
        }
        "Reject" => {}
        "Queue" if queuing.is_set() => queues(&queuing, errors),
        "Queue" => queuing.required(
            errors,
            "must not be empty if limited.limitResponse.type is Limited",
        ),
        _ => kind.not_supported(errors, &["Queue", "Reject"]),
    }
    shares(at, errors);
    let borrowing = at.get("borrowingLimitPercent");
    if borrowing.int().is_some_and(|number| number < 0) {
        borrowing.invalid(errors, "if specified, must be a non-negative integer");
    }
}

fn queues(at: &At<'_, '_>, errors: &mut ErrorList) {
    let [limit, queues, hand] = ["queueLengthLimit", "queues", "handSize"].map(|field| at.get(field));
    let number = |at: &At<'_, '_>| at.int().unwrap_or(0);
    for at in [&limit, &queues, &hand] {
        if number(at) <= 0 {
            at.invalid_as(errors, number(at), "must be positive");
        }
    }
    if number(&queues) > QUEUES_MAX {
        queues.invalid(errors, &format!("must not be greater than {QUEUES_MAX}"));
    }
    let (deck, size) = (number(&queues), number(&hand));
    if size <= 0 {
        return;
    }
    if size > deck {
        return hand.invalid(errors, &format!("should not be greater than queues ({deck})"));
    }
    #[expect(clippy::cast_precision_loss, reason = "both are below 2^24")]
    let entropy = ((deck as f64).log2() * size as f64).ceil();
    if entropy > HASH_BITS_MAX {
        let detail = format!(
            "required entropy bits of deckSize {deck} and handSize {size} should not be greater than {HASH_BITS_MAX}"
        );
        hand.invalid(errors, &detail);
    }
}
