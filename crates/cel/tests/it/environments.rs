//! What policies and device selectors see.

use corten_cel::environments::{AdmissionVariables, DeviceSizes, admission, device_selector};
use corten_cel::{Activation, Authorizer, AuthzDecision, AuthzRequest, Budget, Type, Value};
use serde_json::json;
use std::sync::Mutex;

/// Allows reading, and remembers what it was asked.
#[derive(Default)]
struct Readers(Mutex<Vec<AuthzRequest>>);

impl Authorizer for Readers {
    fn authorize(&self, request: &AuthzRequest) -> AuthzDecision {
        self.0.lock().unwrap().push(request.clone());
        let allowed = request.verb == "get";
        AuthzDecision {
            allowed,
            reason: "readers may read".to_owned(),
            error: None,
        }
    }
}

const ALL: AdmissionVariables = AdmissionVariables {
    params: true,
    authorizer: true,
    patches: true,
};

fn policy(source: &str, readers: &Readers) -> Result<serde_json::Value, String> {
    let program = admission(ALL)
        .build()
        .compile(source)
        .map_err(|e| e.errors()[0].message.clone())?;
    let object = json!({"metadata": {"name": "web", "labels": {"app": "x"}}, "spec": {"replicas": 3}});
    let request = json!({"operation": "CREATE", "userInfo": {"username": "ann", "groups": ["a", "b"]}});
    let namespace = json!({"metadata": {"name": "default", "creationTimestamp": "2024-01-02T03:04:05Z"}});
    let own = AuthzRequest {
        resource: "pods".into(),
        name: "web".into(),
        ..AuthzRequest::default()
    };
    let activation = Activation::new()
        .bind("object", Value::json(&object))
        .bind("oldObject", Value::Null)
        .bind("params", Value::Null)
        .bind(
            "request",
            Value::typed(&request, &Type::object("kubernetes.AdmissionRequest")),
        )
        .bind(
            "namespaceObject",
            Value::typed(&namespace, &Type::object("kubernetes.Namespace")),
        )
        .bind("authorizer", Value::authorizer(readers))
        .bind("authorizer.requestResource", Value::resource_check(readers, own));
    let value = program
        .eval(&activation, &mut Budget::default())
        .map_err(|e| e.to_string())?;
    value.to_json().map_err(|e| e.to_string())
}

#[test]
fn policies_see_object_request_and_namespace() {
    let readers = Readers::default();
    for (source, expected) in [
        ("object.spec.replicas <= 5 && oldObject == null", json!(true)),
        (
            "request.userInfo.groups.exists(g, g == 'b') && request.operation == 'CREATE'",
            json!(true),
        ),
        (
            "namespaceObject.metadata.creationTimestamp.getFullYear()",
            json!(2024),
        ),
        (
            "object.metadata.?annotations[?'a'].orValue('none')",
            json!("none"),
        ),
        (
            "params == null ? 'no ' + object.metadata.name : ''",
            json!("no web"),
        ),
    ] {
        assert_eq!(policy(source, &readers), Ok(expected), "{source}");
    }
    let undefined = Err("undefined field 'object'".to_owned());
    assert_eq!(policy("request.object.spec", &readers), undefined);
}

#[test]
fn policies_ask_the_authorizer() {
    let readers = Readers::default();
    let source = "authorizer.requestResource.check('get').allowed() && !authorizer.group('apps').resource('deployments')\
                  .subresource('scale').namespace('ns').name('d').check('update').allowed()";
    assert_eq!(policy(source, &readers), Ok(json!(true)));
    let source = "authorizer.serviceAccount('ns', 'sa').path('/healthz').check('get').reason()";
    assert_eq!(policy(source, &readers), Ok(json!("readers may read")));
    let asked = readers.0.lock().unwrap();
    assert_eq!((&*asked[0].name, &*asked[0].verb), ("web", "get"));
    assert_eq!(
        (&*asked[1].group, &*asked[1].subresource, &*asked[1].namespace),
        ("apps", "scale", "ns")
    );
    assert_eq!(asked[2].service_account, Some(("ns".into(), "sa".into())));
    assert_eq!(asked[2].path.as_deref(), Some("/healthz"));
    drop(asked);
    // Two checks fit into an evaluation, three do not.
    let three = "[1, 2, 3].all(i, authorizer.path('/').check('get').allowed())";
    assert_eq!(
        policy(three, &readers),
        Err("operation cancelled: actual cost limit exceeded".to_owned())
    );
}

#[test]
fn mutations_make_objects_and_patches() {
    let readers = Readers::default();
    let source = "Object{spec: Object.spec{replicas: object.spec.replicas + 1, ?paused: optional.none()}}";
    assert_eq!(policy(source, &readers), Ok(json!({"spec": {"replicas": 4}})));
    let source =
        "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: {'k': [1]}}]";
    let patch = json!([{"op": "add", "path": "/metadata/labels/a~1b", "value": {"k": [1]}}]);
    assert_eq!(policy(source, &readers), Ok(patch));
    let program = admission(ALL).build().compile(source).unwrap();
    assert_eq!(*program.result_type(), Type::list(Type::object("JSONPatch")));
    let plain = admission(AdmissionVariables::default()).build();
    assert!(plain.compile("Object{}").is_err() && plain.compile("params").is_err());
}

#[test]
fn selectors_see_the_device() {
    let source = "cel.bind(d, device.attributes['gpu.example.com'], d.model == 'a100' && d.count > 2) && \
                  device.driver.startsWith('gpu') && device.capacity['gpu.example.com'].memory\
                  .compareTo(quantity('10Gi')) >= 0";
    let program = device_selector().compile(source).unwrap();
    assert_eq!(*program.result_type(), Type::Bool);
    assert!(program.estimate(&DeviceSizes).max < 1_000_000);
    let costly = "device.attributes.all(a, device.attributes.all(b, device.attributes.all(c, \
                  device.attributes.all(d, a + b + c + d != ''))))";
    let program = device_selector().compile(costly).unwrap();
    assert!(program.estimate(&DeviceSizes).max > 1_000_000);
}
