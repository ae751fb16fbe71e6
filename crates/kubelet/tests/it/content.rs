//! What containers find: variables, files, mounts.

use crate::cluster::Cluster;
use serde_json::{Value, json};
use std::path::PathBuf;

fn config_map(c: &Cluster, name: &str, data: Value) {
    let metadata = json!({"name": name, "namespace": "default"});
    c.api.put(
        "configmaps",
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}),
    );
}

fn mount(c: &Cluster, container: &str, path: &str) -> PathBuf {
    let config = c.runtime.config(container).unwrap();
    let mount = config.mounts.iter().find(|m| m.container_path == path);
    PathBuf::from(
        &mount
            .unwrap_or_else(|| panic!("no mount at {path}: {:?}", config.mounts))
            .host_path,
    )
}

#[tokio::test]
async fn variables_and_files_follow_their_objects() {
    let c = Cluster::start().await;
    config_map(&c, "cfg", json!({"color": "blue"}));
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "db", "namespace": "default"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"port": 5432}]}});
    c.api.put("services", service);
    c.create(
        "web",
        json!({
            "containers": [{
                "name": "main",
                "command": ["run", "$(COLOR)", "$(DB_SERVICE_HOST)"],
                "env": [
                    {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "cfg", "key": "color"}}},
                    {"name": "ME", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ],
                "terminationMessagePath": "/dev/termination-log",
                "volumeMounts": [
                    {"name": "cfg", "mountPath": "/cfg"},
                    {"name": "info", "mountPath": "/info"},
                    {"name": "scratch", "mountPath": "/scratch"},
                ],
            }],
            "volumes": [
                {"name": "cfg", "configMap": {"name": "cfg"}},
                {"name": "info", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
                {"name": "scratch", "emptyDir": {}},
            ],
        }),
    );
    c.until("web runs", |c| c.ready("web")).await;
    let config = c.runtime.config("main").unwrap();
    assert_eq!(config.command, ["run", "blue", "10.96.0.7"]);
    let env = |name: &str| {
        let found = config.envs.iter().find(|e| e.key == name);
        found.map(|e| String::from_utf8(e.value.clone()).unwrap())
    };
    assert_eq!(env("ME").as_deref(), Some("10.1.0.1"));
    let file = mount(&c, "main", "/cfg").join("color");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "blue");
    let labels = mount(&c, "main", "/info").join("labels");
    assert_eq!(std::fs::read_to_string(labels).unwrap(), "app=\"web\"");
    let hosts = std::fs::read_to_string(mount(&c, "main", "/etc/hosts")).unwrap();
    assert!(hosts.contains("10.1.0.1\tweb\n"), "{hosts}");
    assert!(mount(&c, "main", "/dev/termination-log").exists());
    config_map(&c, "cfg", json!({"color": "red"}));
    c.until("the file follows", |_| {
        std::fs::read_to_string(&file).unwrap() == "red"
    })
    .await;
}

#[tokio::test]
async fn what_is_missing_is_waited_for() {
    let c = Cluster::start().await;
    c.create(
        "env",
        json!({"containers": [{"name": "main", "envFrom": [{"configMapRef": {"name": "late"}}]}]}),
    );
    c.until("the container waits", |c| {
        c.waiting("env") == "CreateContainerConfigError"
    })
    .await;
    let pod = c.pod("env").unwrap();
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    assert_eq!(waiting["message"], "configmap \"late\" not found");
    let mounts = json!([{"name": "v", "mountPath": "/v"}]);
    c.create(
        "files",
        json!({"containers": [{"name": "other", "volumeMounts": mounts}],
            "volumes": [{"name": "v", "configMap": {"name": "late"}}]}),
    );
    let event = "FailedMount MountVolume.SetUp failed for volume \"v\" : configmap \"late\" not found";
    c.until("an event says so", |c| c.events().contains(&event.to_owned()))
        .await;
    assert_eq!(c.waiting("files"), "ContainerCreating");
    config_map(&c, "late", json!({"a": "b"}));
    c.until("both run", |c| c.ready("env") && c.ready("files")).await;
}

#[tokio::test]
async fn root_is_refused_and_secrets_open_registries() {
    let c = Cluster::start().await;
    c.create(
        "root",
        json!({"securityContext": {"runAsNonRoot": true}, "containers": [{"name": "main"}]}),
    );
    c.until("it is refused", |c| {
        c.waiting("root") == "CreateContainerConfigError"
    })
    .await;
    let pod = c.pod("root").unwrap();
    let message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"]
        .as_str()
        .unwrap();
    assert!(
        message.starts_with("container has runAsNonRoot and image will run as root (pod: \"root_default(")
    );
    // {"auths":{"reg.io":{"username":"me","password":"p"}}}
    let data = "eyJhdXRocyI6eyJyZWcuaW8iOnsidXNlcm5hbWUiOiJtZSIsInBhc3N3b3JkIjoicCJ9fX0=";
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": "pull", "namespace": "default"}, "data": {".dockerconfigjson": data}});
    c.api.put("secrets", secret);
    c.create(
        "private",
        json!({"imagePullSecrets": [{"name": "pull"}], "containers": [{"name": "main", "image": "reg.io/app"}]}),
    );
    c.until("private runs", |c| c.ready("private")).await;
    assert!(
        c.runtime
            .calls()
            .contains(&"pull reg.io/app:latest me".to_owned())
    );
}
