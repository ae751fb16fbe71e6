//! What a definition may say.

use corten_crd::definition;
use serde_json::{Value, json};

pub fn definition(schema: Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "foos.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"},
            "conversion": {"strategy": "None"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
        "status": {"storedVersions": ["v1"]},
    })
}

pub fn simple() -> Value {
    definition(
        json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {"n": {"type": "integer"}}}}}),
    )
}

fn errors(definition: &Value) -> Vec<String> {
    definition::validate(definition, None)
        .iter()
        .map(ToString::to_string)
        .collect()
}

fn of_spec(properties: Value) -> Vec<String> {
    errors(&definition(json!({"type": "object", "properties": properties})))
}

const ROOT: &str = "spec.validation.openAPIV3Schema";

#[test]
fn a_plain_one_is_good() {
    assert_eq!(errors(&simple()), [""; 0]);
}

#[test]
fn names_and_groups() {
    let mut crd = simple();
    crd["metadata"]["name"] = json!("bars.example.com");
    assert_eq!(
        errors(&crd),
        ["metadata.name: Invalid value: \"bars.example.com\": must be spec.names.plural+\".\"+spec.group"]
    );
    let mut crd = simple();
    crd["spec"]["names"] = json!({"plural": "foos", "kind": "Foo", "listKind": "Foo"});
    assert_eq!(
        errors(&crd),
        [
            "spec.names.singular: Required value",
            "spec.names.listKind: Invalid value: \"Foo\": kind and listKind may not be the same"
        ]
    );
    let mut crd = simple();
    crd["spec"]["scope"] = json!("Global");
    assert_eq!(
        errors(&crd),
        ["spec.scope: Unsupported value: \"Global\": supported values: \"Cluster\", \"Namespaced\""]
    );
}

#[test]
fn versions_are_shown_in_gos_form() {
    let mut crd = simple();
    crd["spec"]["versions"][0]["storage"] = json!(false);
    assert_eq!(
        errors(&crd),
        [
            "spec.versions: Invalid value: [{\"Name\":\"v1\",\"Served\":true,\"Storage\":false,\"Deprecated\":false,\"DeprecationWarning\":null,\"Schema\":null,\"Subresources\":null,\"AdditionalPrinterColumns\":null,\"SelectableFields\":null}]: must have exactly one version marked as storage version"
        ]
    );
}

#[test]
fn a_schema_is_demanded() {
    let mut crd = simple();
    crd["spec"]["versions"][0]["schema"] = Value::Null;
    assert_eq!(
        errors(&crd),
        ["spec.versions[0].schema.openAPIV3Schema: Required value"]
    );
}

#[test]
fn structure() {
    let cases = [
        (
            json!({"a": {}}),
            "properties[a].type: Required value: must not be empty for specified object fields",
        ),
        (
            json!({"a": {"type": "array"}}),
            "properties[a].items: Required value: must be specified",
        ),
        (
            json!({"a": {"type": "array", "items": {}}}),
            "properties[a].items.type: Required value: must not be empty for specified array items",
        ),
        (
            json!({"a": {"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}}),
            "properties[a].properties[b]: Required value: because it is defined in spec.validation.openAPIV3Schema.properties[a].anyOf[0].properties[b]",
        ),
        (
            json!({"a": {"type": "string", "allOf": [{"type": "string"}]}}),
            "properties[a].allOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            json!({"a": {"type": "string", "pattern": "("}}),
            "properties[a].pattern: Invalid value: \"(\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`",
        ),
        (
            json!({"metadata": {"type": "object", "properties": {"labels": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}),
            "properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
        ),
    ];
    for (properties, expected) in cases {
        // Upstream walks completeness from the node that has the junctor only at the root.
        let found = of_spec(properties.clone());
        if expected.contains("because it is defined") {
            let nested = errors(&definition(
                json!({"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}),
            ));
            assert_eq!(
                nested,
                [format!(
                    "{ROOT}.properties[b]: Required value: because it is defined in {ROOT}.anyOf[0].properties[b]"
                )]
            );
            continue;
        }
        assert_eq!(found, [format!("{ROOT}.{expected}")], "{properties}");
    }
}

#[test]
fn int_or_string_may_be_spelled_out() {
    let good = json!({"a": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}});
    assert_eq!(of_spec(good), [""; 0]);
    let good = json!({"a": {"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"maximum": 3}]}});
    assert_eq!(of_spec(good), [""; 0]);
}

#[test]
fn keywords_and_list_types() {
    let cases = [
        (
            json!({"a": {"type": "array", "uniqueItems": true, "items": {"type": "string"}}}),
            "properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        ),
        (
            json!({"a": {"type": "thing"}}),
            "properties[a].type: Unsupported value: \"thing\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"",
        ),
        (
            json!({"a": {"type": "string", "x-kubernetes-list-type": "set"}}),
            "properties[a].type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified",
        ),
        (
            json!({"a": {"type": "object", "x-kubernetes-map-type": "odd"}}),
            "properties[a].x-kubernetes-map-type: Unsupported value: \"odd\": supported values: \"atomic\", \"granular\"",
        ),
        (
            json!({"a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}),
            "properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map",
        ),
        (
            json!({"a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}),
            "properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
        ),
        (
            json!({"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}),
            "properties[a].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
        ),
        (
            json!({"a": {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}}}),
            "properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive",
        ),
        (
            json!({"a": {"type": "string", "x-kubernetes-validations": [{"rule": "  "}]}}),
            "properties[a].x-kubernetes-validations[0].rule: Required value: rule is not specified",
        ),
    ];
    for (properties, expected) in cases {
        assert_eq!(
            of_spec(properties.clone()),
            [format!("{ROOT}.{expected}")],
            "{properties}"
        );
    }
}

#[test]
fn items_that_are_no_schema() {
    let list = json!({"a": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": []}});
    let single = "Invalid value: {\"Schema\":null,\"JSONSchemas\":[]}: must only have a single schema if x-kubernetes-list-type is map";
    let mut found = of_spec(list);
    found.sort();
    let at = format!("{ROOT}.properties[a].items");
    assert_eq!(
        found,
        [
            format!("{at}: {single}"),
            format!("{at}: Required value: must be specified")
        ]
    );
}

#[test]
fn defaults_are_valid_and_pruned() {
    let cases = [
        (
            json!({"a": {"type": "object", "properties": {"b": {"type": "integer"}}, "default": {"c": 1}}}),
            "properties[a].default: Invalid value: {\"c\":1}: must not have unknown fields",
        ),
        (
            json!({"a": {"type": "integer", "default": "x"}}),
            "properties[a].default: Invalid value: \"string\":  in body must be of type integer: \"string\"",
        ),
        (
            json!({"a": {"type": "object", "properties": {"b": {"type": "integer"}}, "default": {"b": "x"}}}),
            "properties[a].default.b: Invalid value: \"string\": b in body must be of type integer: \"string\"",
        ),
        (
            json!({"metadata": {"type": "object", "properties": {"name": {"type": "string", "default": "x"}}}}),
            "properties[metadata].properties[name].default: Forbidden: must not be set in top-level metadata",
        ),
        (
            json!({"e": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "properties": {"metadata": {"type": "object", "properties": {"name": {"type": "string", "default": "a/b"}}}}}}),
            "properties[e].properties[metadata].properties[name].default: Invalid value: \"a/b\": must result in valid metadata: metadata.name: Invalid value: \"a/b\": may not contain '/'",
        ),
    ];
    for (properties, expected) in cases {
        assert_eq!(
            of_spec(properties.clone()),
            [format!("{ROOT}.{expected}")],
            "{properties}"
        );
    }
}

#[test]
fn subresources_columns_and_selectable_fields() {
    let mut crd = simple();
    let version = &mut crd["spec"]["versions"][0];
    version["subresources"] =
        json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": "status"}});
    version["additionalPrinterColumns"] = json!([{"name": "", "type": "int", "jsonPath": "spec.n"}]);
    version["selectableFields"] = json!([{"jsonPath": ".spec.m"}, {"jsonPath": ".spec"}, {"jsonPath": ".spec.n"}, {"jsonPath": ".spec.n"}]);
    assert_eq!(
        errors(&crd),
        [
            "spec.subresources.scale.specReplicasPath: Invalid value: \".status.n\": should be a json path under .spec",
            "spec.subresources.scale.statusReplicasPath: Invalid value: \"status\": must be a simple json path starting with .",
            "spec.additionalPrinterColumns[0].name: Required value",
            "spec.additionalPrinterColumns[0].type: Invalid value: \"int\": must be one of boolean,date,integer,number,string",
            "spec.additionalPrinterColumns[0].JSONPath: Invalid value: \"spec.n\": must be a simple json path starting with .",
            "spec.selectableFields[0].jsonPath: Invalid value: \".spec.m\": is an invalid path: does not refer to a valid field",
            "spec.selectableFields[1].jsonPath: Invalid value: \".spec\": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.",
            "spec.selectableFields[3].jsonPath: Duplicate value: \".spec.n\"",
        ]
    );
}

#[test]
fn conversion_webhooks() {
    let mut crd = simple();
    crd["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v7", "v7"], "clientConfig": {"url": "http://u@h/p?q", "service": Value::Null},
    }});
    assert_eq!(
        errors(&crd),
        [
            "spec.conversion.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired format: https://host[/path]",
            "spec.conversion.webhookClientConfig.url: Invalid value: \"u\": user information is not permitted in the URL",
            "spec.conversion.webhookClientConfig.url: Invalid value: \"q\": query parameters are not permitted in the URL",
            "spec.conversion.conversionReviewVersions[1]: Invalid value: \"v7\": duplicate version",
            "spec.conversion.conversionReviewVersions: Invalid value: [\"v7\",\"v7\"]: must include at least one of v1, v1beta1",
        ]
    );
}

#[test]
fn protected_groups_need_approval() {
    let mut crd = simple();
    crd["spec"]["group"] = json!("sig.k8s.io");
    crd["metadata"]["name"] = json!("foos.sig.k8s.io");
    let key = "metadata.annotations[api-approved.kubernetes.io]";
    let tail = "see https://github.com/kubernetes/enhancements/pull/1111";
    assert_eq!(
        errors(&crd),
        [format!(
            "{key}: Required value: protected groups must have approval annotation \"api-approved.kubernetes.io\", {tail}"
        )]
    );
    assert_eq!(
        definition::api_approved(&crd).unwrap()["reason"],
        "MissingAnnotation"
    );
    crd["metadata"]["annotations"] = json!({"api-approved.kubernetes.io": "https://github.com/x/y"});
    assert_eq!(errors(&crd), [""; 0]);
    assert_eq!(definition::api_approved(&crd).unwrap()["status"], "True");
    assert_eq!(definition::api_approved(&simple()), None);
}

#[test]
fn updates_keep_what_is_immutable_and_forgive_what_was() {
    let mut old = simple();
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    new["spec"]["names"]["kind"] = json!("Bar");
    let found: Vec<String> = definition::validate_update(&new, &old, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        found,
        [
            "spec.scope: Invalid value: \"Cluster\": field is immutable",
            "spec.names.kind: Invalid value: \"Bar\": field is immutable"
        ]
    );
    let bad = definition(
        json!({"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"type": "integer"}}, "default": {"c": 1}}}}),
    );
    assert!(definition::validate_update(&bad, &bad, None).is_empty());
    assert!(!definition::validate_update(&bad, &simple(), None).is_empty());
}

#[test]
fn stored_versions_stay_until_migrated() {
    let mut crd = simple();
    definition::prepare_for_create(&mut crd);
    let names = json!({"kind": "", "plural": ""});
    assert_eq!(
        crd["status"],
        json!({"acceptedNames": names, "conditions": null, "storedVersions": ["v1"]})
    );
    let old = crd.clone();
    crd["spec"]["versions"][0]["name"] = json!("v2");
    definition::prepare_for_update(&mut crd, &old);
    assert_eq!(crd["status"]["storedVersions"], json!(["v1", "v2"]));
    assert_eq!(crd["metadata"]["generation"], 2);
    let found: Vec<String> = definition::validate_update(&crd, &old, None)
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(found.len(), 1);
    assert!(
        found[0].starts_with(
            "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was"
        )
    );
}

#[test]
fn conditions_and_warnings() {
    assert_eq!(definition::non_structural(&simple()), None);
    let crd = definition(
        json!({"type": "object", "properties": {"a": {"type": "string", "format": "odd"}, "b": {}, "c": {"type": "integer", "format": "int32"}}}),
    );
    let condition = definition::non_structural(&crd).unwrap();
    assert_eq!(
        condition["message"],
        "spec.versions[0].schema.openAPIV3Schema.properties[b].type: Required value: must not be empty for specified object fields"
    );
    assert_eq!(definition::warnings(&crd, None), ["unrecognized format \"odd\""]);
    assert_eq!(definition::warnings(&crd, Some(&crd)), [""; 0]);
}

#[test]
fn formats_of_numbers_hold_for_defaults() {
    let crd = definition(json!({"type": "object", "properties": {
        "a": {"type": "integer", "format": "int32", "maximum": 2_147_483_648_i64, "default": 1},
    }}));
    let found = errors(&crd);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("Maximum boundary value must be of type integer with format int32"),
        "{found:?}"
    );
}

#[test]
fn a_status_subresource_limits_the_root() {
    let mut crd = definition(json!({"type": "object", "not": {}}));
    crd["spec"]["versions"][0]["subresources"] = json!({"status": {}});
    let found = errors(&crd);
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with(
        "spec.validation.openAPIV3Schema: Invalid value: {\"ID\":\"\",\"Schema\":\"\",\"Ref\":null,"
    ));
    assert!(
        found[0]
            .ends_with("fields are allowed at the root of the schema if the status subresource is enabled")
    );
}

/// A definition that upstream answered, wrong in every part.
#[test]
fn all_faults_come_at_once_and_in_order() {
    let mut crd = definition(json!({"type": "object", "properties": {
        "a": {"type": "blob"}, "b": {"type": "array"}, "c": {"additionalProperties": false, "type": "object"},
    }}));
    crd["metadata"]["name"] = json!("x");
    crd["spec"]["group"] = json!("o.dev");
    crd["spec"]["scope"] = json!("Nowhere");
    crd["spec"]["versions"][0]["name"] = json!("1");
    crd["spec"]["versions"][0]["storage"] = json!(false);
    definition::prepare_for_create(&mut crd);
    let fields: Vec<String> = definition::validate(&crd, None)
        .iter()
        .map(|e| e.field.clone())
        .collect();
    assert_eq!(
        fields,
        [
            "metadata.name",
            "spec.scope",
            "spec.versions[0].name",
            "spec.versions",
            "spec.version",
            "spec.validation.openAPIV3Schema.properties[b].items",
            "spec.validation.openAPIV3Schema.properties[a].type",
            "status.storedVersions",
        ]
    );
}
