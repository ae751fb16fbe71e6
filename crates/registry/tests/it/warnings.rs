//! Which writes of workloads are warned about, and at which path.

use corten_registry::Subresource;
use serde_json::{Value, json};

use crate::fixture::Fixture;

const NAME: &str = "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS \
                    label is recommended: [must not contain dots]";
const INDEXES: &str = "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, \
                       Kubernetes might not be able to track completedIndexes when a big number of indexes fail";

fn template(restart: &str) -> Value {
    json!({
        "metadata": {"labels": {"a": "b"}},
        "spec": {
            "terminationGracePeriodSeconds": -1,
            "restartPolicy": restart,
            "containers": [{"name": "c", "image": "i"}],
        },
    })
}

/// The one warning that [`template`] gives.
fn grace(path: &str) -> String {
    format!(
        "{path}.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
    )
}

async fn created(
    fixture: &Fixture,
    (group, plural): (&str, &str),
    name: &str,
    mut object: Value,
) -> Vec<String> {
    object["metadata"] = json!({"name": name});
    fixture.ctx.take_warnings();
    fixture.create(group, plural, "default", object).await.unwrap();
    fixture.ctx.take_warnings()
}

async fn updated(
    fixture: &Fixture,
    resource: (&str, &str),
    name: &str,
    change: impl Fn(&mut Value) + Send + Sync,
) -> Vec<String> {
    fixture.ctx.take_warnings();
    fixture
        .update_sub(resource, name, Subresource::MAIN, change)
        .await
        .unwrap();
    fixture.ctx.take_warnings()
}

/// A change that says nothing about pods.
fn label(object: &mut Value) {
    object["metadata"]["labels"] = json!({"x": "y"});
}

fn replicas(object: &mut Value) {
    object["spec"]["replicas"] = json!(3);
}

#[tokio::test]
async fn sets_of_pods_are_warned_about_when_their_spec_changes() {
    let fixture = Fixture::open().await;
    let spec = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template("Always")}});
    let warning = grace("spec.template");
    for plural in ["deployments", "replicasets"] {
        let resource = ("apps", plural);
        let told = created(&fixture, resource, "a.b", spec.clone()).await;
        assert_eq!(told, [NAME, &warning], "{plural}");
        assert!(updated(&fixture, resource, "a.b", label).await.is_empty());
        let told = updated(&fixture, resource, "a.b", replicas).await;
        assert_eq!(told, [warning.as_str()], "{plural}");
    }
    let sets = ("apps", "daemonsets");
    assert_eq!(created(&fixture, sets, "a.b", spec).await, [warning.as_str()]);
    let seconds = |set: &mut Value| set["spec"]["minReadySeconds"] = json!(3);
    assert!(updated(&fixture, sets, "a.b", seconds).await.is_empty());
    let image = |set: &mut Value| set["spec"]["template"]["spec"]["containers"][0]["image"] = json!("j");
    assert_eq!(updated(&fixture, sets, "a.b", image).await, [warning]);
}

#[tokio::test]
async fn stateful_sets_are_warned_about_with_their_claims() {
    let fixture = Fixture::open().await;
    let resource = ("apps", "statefulsets");
    let claim = json!({"metadata": {"name": "v"}, "spec": {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1500m"}},
    }});
    let set = json!({"spec": {
        "selector": {"matchLabels": {"a": "b"}},
        "serviceName": "s",
        "template": template("Always"),
        "revisionHistoryLimit": -1,
        "volumeClaimTemplates": [claim],
    }});
    let of_claim = |spec: &str| {
        format!(
            "spec.volumeClaimTemplates[0]{spec}.resources.requests[storage]: fractional byte value \"1500m\" is \
             invalid, must be an integer"
        )
    };
    let history = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is \
                   recommended";
    let warning = grace("spec.template");
    let told = created(&fixture, resource, "ab", set).await;
    assert_eq!(told, [&warning, &of_claim(""), history]);
    let told = updated(&fixture, resource, "ab", label).await;
    assert_eq!(told, [&of_claim(".Spec"), history]);
    let told = updated(&fixture, resource, "ab", replicas).await;
    assert_eq!(told, [&warning, &of_claim(".Spec"), history]);
}

#[tokio::test]
async fn controllers_are_warned_about_the_template_they_had() {
    let fixture = Fixture::open().await;
    let controllers = ("", "replicationcontrollers");
    let controller = json!({"spec": {"selector": {"a": "b"}, "template": template("Always")}});
    let warning = grace("spec.template");
    let told = created(&fixture, controllers, "a.b", controller).await;
    assert_eq!(told, [NAME, &warning]);
    let better = |object: &mut Value| {
        object["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = json!(1);
    };
    assert_eq!(updated(&fixture, controllers, "a.b", better).await, [warning]);
    // An update begins with what the cache has: it is to have the better one.
    fixture.get("replicationcontrollers", "a.b").await.unwrap();
    assert!(updated(&fixture, controllers, "a.b", replicas).await.is_empty());

    let templates = ("", "podtemplates");
    let own = json!({"template": template("Always")});
    let warning = grace("template");
    assert_eq!(created(&fixture, templates, "a.b", own).await, [warning.as_str()]);
    assert!(updated(&fixture, templates, "a.b", label).await.is_empty());
    let image = |object: &mut Value| object["template"]["spec"]["containers"][0]["image"] = json!("j");
    assert_eq!(updated(&fixture, templates, "a.b", image).await, [warning]);
}

#[tokio::test]
async fn jobs_and_what_makes_them_are_warned_about() {
    let fixture = Fixture::open().await;
    let jobs = ("batch", "jobs");
    let spec = json!({
        "template": template("Never"),
        "completionMode": "Indexed",
        "completions": 100_001,
        "parallelism": 10_001,
    });
    let suspend = |object: &mut Value| object["spec"]["suspend"] = json!(true);
    let of = |path: &str| [format!("{path}: {INDEXES}"), grace(&format!("{path}.template"))];
    let told = created(&fixture, jobs, "ab", json!({"spec": spec})).await;
    assert_eq!(told, of("spec"));
    assert_eq!(updated(&fixture, jobs, "ab", suspend).await, of("spec"));
    assert!(updated(&fixture, jobs, "ab", label).await.is_empty());
    let told = created(
        &fixture,
        jobs,
        "a.b",
        json!({"spec": {"template": template("Never")}}),
    )
    .await;
    assert_eq!(told, [NAME, &grace("spec.template")]);

    let crons = ("batch", "cronjobs");
    let cron = json!({"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": spec}}});
    let expected = of("spec.jobTemplate.spec");
    let told = created(&fixture, crons, "a.b", cron).await;
    assert_eq!(told, [NAME, &expected[0], &expected[1]]);
    assert_eq!(updated(&fixture, crons, "a.b", suspend).await, expected);
    assert!(updated(&fixture, crons, "a.b", label).await.is_empty());
}

#[tokio::test]
async fn pods_are_warned_about_when_they_are_created() {
    let fixture = Fixture::open().await;
    let pods = ("", "pods");
    let pod = json!({"spec": {
        "imagePullSecrets": [{}],
        "terminationGracePeriodSeconds": -1,
        "containers": [{"name": "c", "image": "i"}],
    }});
    let told = created(&fixture, pods, "ab", pod).await;
    assert_eq!(told, ["spec.imagePullSecrets[0].name: invalid empty name \"\""]);
    assert!(updated(&fixture, pods, "ab", label).await.is_empty());
}

/// `applyAppArmorVersionSkew`: the annotation becomes the field where there is none, and the pod's says something else.
#[tokio::test]
async fn app_armor_annotations_become_fields() {
    let fixture = Fixture::open().await;
    let container = |name: &str| json!({"name": name, "image": "i"});
    let mut own = container("own");
    own["securityContext"] = json!({"appArmorProfile": {"type": "Unconfined"}});
    let noted = |name: &str| format!("container.apparmor.security.beta.kubernetes.io/{name}");
    let pod = json!({
        "metadata": {"name": "p", "annotations": {
            noted("a"): "localhost/x", noted("same"): "runtime/default", noted("own"): "unconfined",
        }},
        "spec": {
            "securityContext": {"appArmorProfile": {"type": "RuntimeDefault"}},
            "containers": [container("a"), container("same"), own],
        },
    });
    fixture.ctx.take_warnings();
    let pod = fixture.create("", "pods", "default", pod).await.unwrap();
    let pod = pod.value().unwrap();
    let profile =
        |index: usize| pod["spec"]["containers"][index]["securityContext"]["appArmorProfile"].clone();
    assert_eq!(profile(0), json!({"type": "Localhost", "localhostProfile": "x"}));
    assert_eq!(profile(1), Value::Null);
    assert_eq!(profile(2), json!({"type": "Unconfined"}));
    let detail = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
    let warned = format!("metadata.annotations[{}]: {detail}", noted("a"));
    assert_eq!(fixture.ctx.take_warnings(), [warned]);
}
