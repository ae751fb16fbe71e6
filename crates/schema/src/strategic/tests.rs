#![allow(clippy::unwrap_used)]

use corten_meta::GroupVersionKind;
use serde_json::{Value, json};

use super::merge;
use crate::types::type_of;

fn patched(kind: &'static str, group: &'static str, current: &Value, patch: &Value) -> Result<Value, String> {
    let id = type_of(&GroupVersionKind::new(group, "v1", kind)).unwrap();
    merge(id, current, patch).map_err(|s| format!("{} {}", s.code, s.message))
}

fn pod(current: Value, patch: Value) -> Result<Value, String> {
    patched("Pod", "", &json!({"spec": current}), &json!({"spec": patch})).map(|v| v["spec"].clone())
}

#[test]
fn lists_merge_by_their_key() {
    let current =
        json!({"containers": [{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "1"}]});
    let patch = json!({"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]});
    let containers = json!([{"name": "a", "image": "1", "args": ["x"]}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}]);
    assert_eq!(pod(current.clone(), patch).unwrap()["containers"], containers);
    let atomic = json!({"containers": [{"name": "a", "args": ["y", "z"]}]});
    assert_eq!(
        pod(current, atomic).unwrap()["containers"][0]["args"],
        json!(["y", "z"])
    );
}

#[test]
fn nulls_delete() {
    let current = json!({"nodeName": "n", "nodeSelector": {"a": "1", "b": "2"}});
    let patch = json!({"nodeName": null, "nodeSelector": {"a": null, "c": "3"}, "hostname": null, "affinity": {"nodeAffinity": null}});
    assert_eq!(
        pod(current, patch).unwrap(),
        json!({"nodeSelector": {"b": "2", "c": "3"}, "affinity": {}})
    );
}

#[test]
fn directives_delete_and_replace() {
    let current = json!({"containers": [{"name": "a"}, {"name": "b"}], "nodeSelector": {"a": "1"}});
    let gone =
        json!({"containers": [{"name": "a", "$patch": "delete"}], "nodeSelector": {"$patch": "delete"}});
    assert_eq!(
        pod(current.clone(), gone).unwrap(),
        json!({"containers": [{"name": "b"}], "nodeSelector": {}})
    );
    let anew = json!({"containers": [{"$patch": "replace"}, {"name": "z"}], "nodeSelector": {"$patch": "replace", "b": "2"}});
    assert_eq!(
        pod(current.clone(), anew).unwrap(),
        json!({"containers": [{"name": "z"}], "nodeSelector": {"b": "2"}})
    );
    let unknown = json!({"nodeSelector": {"$patch": "bend"}});
    assert_eq!(
        pod(current, unknown).unwrap_err(),
        "500 unknown patch type: bend in map: map[$patch:bend]"
    );
}

#[test]
fn retained_keys_are_all_that_stay() {
    let current = json!({"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}});
    let patch = json!({"strategy": {"$retainKeys": ["type"], "type": "Recreate"}});
    let spec = |v: Value| json!({ "spec": v });
    let merged = patched("Deployment", "apps", &spec(current.clone()), &spec(patch)).unwrap();
    assert_eq!(merged["spec"]["strategy"], json!({"type": "Recreate"}));
    let wrong = json!({"strategy": {"$retainKeys": ["x"], "type": "Recreate"}});
    let error = patched("Deployment", "apps", &spec(current), &spec(wrong)).unwrap_err();
    assert_eq!(error, "400 invalid patch format of retainKeys");
}

#[test]
fn element_order_is_kept() {
    let current = json!({"containers": [{"name": "a"}, {"name": "s"}, {"name": "b"}]});
    let patch = json!({
        "$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
        "containers": [{"name": "c", "image": "i"}],
    });
    let names: Vec<Value> = pod(current.clone(), patch).unwrap()["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["s", "b", "c", "a"]);
    let wrong = json!({
        "$setElementOrder/containers": [{"name": "a"}, {"name": "b"}],
        "containers": [{"name": "b"}, {"name": "a"}],
    });
    assert!(
        pod(current, wrong)
            .unwrap_err()
            .starts_with("500 The order in patch list:\n[map[name:b] map[name:a]]\n")
    );
}

#[test]
fn primitive_lists_merge_and_lose_elements() {
    let current = json!({"metadata": {"finalizers": ["a", "b"]}});
    let more = json!({"metadata": {"finalizers": ["b", "c"]}});
    let merged = patched("Pod", "", &current, &more).unwrap();
    assert_eq!(merged["metadata"]["finalizers"], json!(["a", "b", "c"]));
    let fewer = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["b"]}});
    assert_eq!(
        patched("Pod", "", &current, &fewer).unwrap()["metadata"]["finalizers"],
        json!(["b"])
    );
}

#[test]
fn an_element_without_its_key_is_refused() {
    let error = pod(
        json!({"containers": [{"name": "c"}]}),
        json!({"containers": [{"image": "no-key"}]}),
    )
    .unwrap_err();
    assert_eq!(
        error,
        "500 map: map[image:no-key] does not contain declared merge key: name"
    );
}

#[test]
fn what_is_added_carries_no_directives() {
    let patch = json!({"volumes": [{"name": "v", "emptyDir": null}, {"$patch": "delete", "name": "w"}], "affinity": {"$patch": "delete"}});
    assert_eq!(
        pod(json!({}), patch).unwrap(),
        json!({"volumes": [{"name": "v"}]})
    );
}

/// What upstream's library does where a patch says odd things; compared with it over 20,000 random ones.
#[test]
fn odd_orders_are_taken_as_upstream_takes_them() {
    let nothing = json!({"$setElementOrder/volumes": [{"name": "a"}], "volumes": []});
    assert_eq!(
        pod(json!({"volumes": []}), nothing).unwrap_err(),
        "500 no elements in any of the given slices"
    );
    // Elements with directives are passed over only while there is order left.
    let late = json!({
        "$setElementOrder/volumes": [{"name": "a"}, {"name": "b"}],
        "volumes": [{"name": "b"}, {"$patch": "replace"}],
    });
    let error = pod(json!({"volumes": [{"name": "a"}]}), late).unwrap_err();
    assert!(error.starts_with("500 The order in patch list"), "{error}");
    // What no order names is turned round.
    let patch = json!({"metadata": {"$setElementOrder/finalizers": [], "finalizers": ["b", "a"]}});
    let merged = patched("Pod", "", &json!({"metadata": {}}), &patch).unwrap();
    assert_eq!(merged["metadata"]["finalizers"], json!(["a", "b"]));
}

#[test]
fn a_field_that_is_replaced_takes_the_patch_as_it_is() {
    let budget = |selector: Value| json!({"spec": {"selector": selector}});
    let live = budget(json!({"matchLabels": {"a": "b", "c": "d"}}));
    let replaced = |selector: Value| {
        let merged = patched("PodDisruptionBudget", "policy", &live, &budget(selector)).unwrap();
        merged["spec"]["selector"].clone()
    };
    for selector in [
        json!({"matchLabels": {"x": "y"}}),
        json!({"matchLabels": {"$patch": "delete"}}),
        json!({"$patch": "delete"}),
    ] {
        assert_eq!(replaced(selector.clone()), selector);
    }
    assert_eq!(replaced(json!(null)), json!(null));
}

#[test]
fn directives_that_are_no_words_are_told_with_their_type() {
    let current = json!({"nodeSelector": {"a": "1"}, "containers": [{"name": "a"}]});
    for (directive, told) in [
        (json!(5), "%!s(int64=5) in map: map[$patch:5]"),
        (json!(1e21), "%!s(float64=1e+21) in map: map[$patch:1e+21]"),
        (json!(true), "%!s(bool=true) in map: map[$patch:true]"),
        (json!(null), "%!s(<nil>) in map: map[$patch:<nil>]"),
        (
            json!([5, "a", null]),
            "[%!s(int64=5) a <nil>] in map: map[$patch:[5 a <nil>]]",
        ),
    ] {
        let patch = json!({"nodeSelector": {"$patch": directive}});
        let error = pod(current.clone(), patch).unwrap_err();
        assert_eq!(error, format!("500 unknown patch type: {told}"));
        let patch = json!({"containers": [{"$patch": directive}]});
        let error = pod(current.clone(), patch).unwrap_err();
        assert_eq!(error, format!("500 unknown patch type: {told}"));
    }
}

#[test]
fn elements_are_of_one_type() {
    let current = json!({"metadata": {"finalizers": ["a", "b"]}});
    let told = |patch: Value| patched("Pod", "", &current, &json!({"metadata": patch})).unwrap_err();
    let text = "500 list element types are not identical: [[a b] [5 c]]";
    assert_eq!(told(json!({"finalizers": [5, "c"]})), text);
    assert_eq!(
        told(json!({"$deleteFromPrimitiveList/finalizers": [5, "c"]})),
        text
    );
    let names = json!({"$setElementOrder/containers": ["c"]});
    assert_eq!(
        pod(json!({"containers": [{"name": "c"}]}), names).unwrap_err(),
        "500 value for key 0 is not a map"
    );
    let added = json!({"metadata": {"$setElementOrder/finalizers": [], "finalizers": ["c", 5]}});
    assert_eq!(
        patched("Pod", "", &json!({"metadata": {}}), &added).unwrap_err(),
        "500 list element types are not identical: [[] [c 5]]"
    );
}

#[test]
fn only_scalars_are_deleted_from_a_list() {
    let current = json!({"containers": [{"name": "a", "env": [{"name": "e"}]}], "tolerations": [{"key": "k"}], "nodeName": "n", "schedulingGates": [{"name": "g"}]});
    let patched = |patch: Value| pod(current.clone(), patch);
    let gates = json!({"$deleteFromPrimitiveList/schedulingGates": [{"name": "g"}]});
    assert_eq!(patched(gates).unwrap(), current);
    assert_eq!(
        patched(json!({"$deleteFromPrimitiveList/tolerations": [{"key": "k"}]})).unwrap_err(),
        "500 cannot merge lists without merge key for struct"
    );
    let others =
        json!({"$deleteFromPrimitiveList/nodeName": "m", "$deleteFromPrimitiveList/tolerations": null});
    let mut expected = current.clone();
    expected["nodeName"] = json!("m");
    expected.as_object_mut().unwrap().remove("tolerations");
    assert_eq!(patched(others).unwrap(), expected);
    let absent =
        json!({"$deleteFromPrimitiveList/hostname": "h", "$deleteFromPrimitiveList/nodeName": ["n"]});
    assert_eq!(patched(absent).unwrap(), current);
    for (directive, list) in [
        ("$deleteFromPrimitiveList", "primitive"),
        ("$setElementOrder", "setElementOrder"),
    ] {
        assert_eq!(
            patched(json!({directive: []})).unwrap_err(),
            format!("400 invalid patch format of {list} list")
        );
    }
}
