//! Which kinds a policy is for, and what is wrong with its expressions for each of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use corten_cel::Type;
use corten_meta::GroupVersionKind;
use corten_schema::resources;
use serde_json::{Value, json};

use super::types::ApiTypes;
use crate::expressions::{Sees, Variables};

/// Kinds checked for one policy; further ones are left out, as upstream.
const KINDS_MAX: usize = 10;

/// `status.typeChecking.expressionWarnings` of a policy.
pub(super) fn warnings(policy: &Value) -> Vec<Value> {
    let spec = &policy["spec"];
    let kinds = kinds(&spec["matchConstraints"]["resourceRules"]);
    let mut warnings = Vec::new();
    let validations = spec["validations"].as_array().into_iter().flatten();
    for (at, validation) in validations.enumerate() {
        for key in ["expression", "messageExpression"] {
            let source = validation[key].as_str().unwrap_or_default();
            if source.is_empty() {
                continue;
            }
            let texts: Vec<String> = kinds
                .iter()
                .filter_map(|kind| problem(spec, kind, source))
                .collect();
            if !texts.is_empty() {
                warnings.push(json!({
                    "fieldRef": format!("spec.validations[{at}].{key}"), "warning": texts.join("\n"),
                }));
            }
        }
    }
    warnings
}

/// What is wrong with an expression where `object` is of a kind.
fn problem(spec: &Value, kind: &GroupVersionKind, source: &str) -> Option<String> {
    let types = Arc::new(ApiTypes::default());
    let object = types.object(corten_schema::type_of(kind)?);
    let params = &spec["paramKind"];
    let sees = Sees {
        params: params.is_object(),
        authorizer: true,
        patches: false,
    };
    let params = param_kind(params)
        .and_then(|kind| corten_schema::type_of(&kind))
        .map_or(Type::Dyn, |id| types.object(id));
    let variables = Variables::typed(
        sees,
        &spec["variables"],
        &types_of(&types, &object, &params, sees),
    );
    let error = variables.check(source)?;
    Some(format!("{}, Kind={}: {error}\n", kind.api_version(), kind.kind))
}

fn types_of(types: &Arc<ApiTypes>, object: &Type, params: &Type, sees: Sees) -> crate::expressions::Typed {
    let mut variables = vec![("object", object.clone()), ("oldObject", object.clone())];
    if sees.params {
        variables.push(("params", params.clone()));
    }
    crate::expressions::Typed {
        provider: types.clone(),
        variables,
    }
}

fn param_kind(kind: &Value) -> Option<GroupVersionKind> {
    let version = kind["apiVersion"].as_str()?;
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    Some(GroupVersionKind {
        group: group.to_owned().into(),
        version: version.to_owned().into(),
        kind: kind["kind"].as_str()?.to_owned().into(),
    })
}

/// The kinds that rules without wildcards name, in order.
fn kinds(rules: &Value) -> Vec<GroupVersionKind> {
    let mut found = BTreeSet::new();
    for rule in rules.as_array().into_iter().flatten() {
        let texts = |key: &str| -> Vec<&str> {
            let items = rule[key].as_array().into_iter().flatten();
            items.filter_map(Value::as_str).collect()
        };
        let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
        if groups.iter().chain(&versions).any(|text| text.contains('*')) {
            continue;
        }
        let resources = texts("resources");
        for resource in resources.iter().filter(|text| !text.contains(['*', '/'])) {
            for group in &groups {
                let of_group = versions
                    .iter()
                    .filter_map(|version| resources::lookup(group, version, resource));
                found.extend(of_group.map(resources::Resource::gvk));
            }
        }
    }
    found.into_iter().take(KINDS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(expression: &str) -> Value {
        json!({"spec": {
            "variables": [{"name": "replicas", "expression": "object.spec.replicas"}],
            "matchConstraints": {"resourceRules": [
                {"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments", "deployments/scale"]},
                {"apiGroups": ["*"], "apiVersions": ["*"], "resources": ["pods"]},
            ]},
            "validations": [{"expression": expression}],
        }})
    }

    #[test]
    fn fields_that_a_kind_has_not_are_told() {
        assert_eq!(warnings(&policy("object.spec.replicas > 1")), Vec::<Value>::new());
        let found = warnings(&policy("object.replicas > 1"));
        assert_eq!(
            found,
            [json!({
                "fieldRef": "spec.validations[0].expression",
                "warning": "apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'replicas'\n | \
                            object.replicas > 1\n | ......^\n",
            })]
        );
    }

    #[test]
    fn variables_have_the_types_of_their_expressions() {
        assert_eq!(warnings(&policy("variables.replicas > 1")), Vec::<Value>::new());
        let found = warnings(&policy("variables.replicas > 'one'"));
        let text = found[0]["warning"].as_str().unwrap_or_default();
        assert!(
            text.contains("found no matching overload for '_>_' applied to '(int, string)'"),
            "{text}"
        );
    }
}
