//! Texts and order as upstream's server gives them for the same pods.

use serde_json::json;

use super::*;

#[test]
fn where_pods_run_and_old_annotations_are_warned_about() {
    let term = |key: &str| json!({"matchExpressions": [{"key": key, "operator": "In", "values": ["-"]}]});
    let pod = json!({
        "metadata": {"name": "a.b", "annotations": {
            "scheduler.alpha.kubernetes.io/critical-pod": "",
            "security.alpha.kubernetes.io/sysctls": "a=b",
            "security.alpha.kubernetes.io/unsafe-sysctls": "a=b",
            "seccomp.security.alpha.kubernetes.io/pod": "runtime/default",
            "container.seccomp.security.alpha.kubernetes.io/c": "runtime/default",
            "container.apparmor.security.beta.kubernetes.io/c": "runtime/default",
        }},
        "spec": {
            "nodeSelector": {"beta.kubernetes.io/arch": "a", "kubernetes.io/arch": "a"},
            "affinity": {
                "nodeAffinity": {
                    REQUIRED: {"nodeSelectorTerms": [term("beta.kubernetes.io/os")]},
                    PREFERRED: [{"preference": term("failure-domain.beta.kubernetes.io/zone")}],
                },
                "podAffinity": {REQUIRED: [{"topologyKey": "t"}], PREFERRED: [{"podAffinityTerm": {}}]},
                "podAntiAffinity": {REQUIRED: [{"labelSelector": {}}, {}], PREFERRED: [{"podAffinityTerm": {}}]},
            },
            "topologySpreadConstraints": [{"topologyKey": "failure-domain.beta.kubernetes.io/region"}],
            "containers": [{"name": "c"}],
        },
    });
    let expected = [
        "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [must not contain dots]",
        "spec.nodeSelector[beta.kubernetes.io/arch]: deprecated since v1.14; use \"kubernetes.io/arch\" instead",
        "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].key: beta.kubernetes.io/os is deprecated since v1.14; use \"kubernetes.io/os\" instead",
        "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key: failure-domain.beta.kubernetes.io/zone is deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
        "spec.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].values[0]: - is invalid, a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        "spec.topologySpreadConstraints[0].topologyKey: failure-domain.beta.kubernetes.io/region is deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
        "spec.topologySpreadConstraints[0].labelSelector: a null labelSelector results in matching no pod",
        "metadata.annotations[scheduler.alpha.kubernetes.io/critical-pod]: non-functional in v1.16+; use the \"priorityClassName\" field instead",
        "metadata.annotations[security.alpha.kubernetes.io/sysctls]: non-functional in v1.11+; use the \"sysctls\" field instead",
        "metadata.annotations[security.alpha.kubernetes.io/unsafe-sysctls]: non-functional in v1.11+; use the \"sysctls\" field instead",
        "metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        "metadata.annotations[container.seccomp.security.alpha.kubernetes.io/c]: non-functional in v1.27+; use the \"seccompProfile\" field instead",
        "spec.affinity.podAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].labelSelector: a null labelSelector results in matching no pod",
        "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod",
        "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[1].labelSelector: a null labelSelector results in matching no pod",
        "spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.labelSelector: a null labelSelector results in matching no pod",
    ];
    assert_eq!(of_pod(&pod), expected);
}

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

#[test]
fn volumes_are_warned_about() {
    let items = |paths: [&str; 2]| json!(paths.map(|path| json!({"key": "k", "path": path})));
    let volumes = json!([
        {"photonPersistentDisk": {}}, {"gitRepo": {}}, {"scaleIO": {}}, {"flocker": {}}, {"storageos": {}},
        {"quobyte": {}}, {"glusterfs": {}},
        {"ephemeral": {"volumeClaimTemplate": {"spec": {"resources": {
            "requests": {"storage": "1500m"}, "limits": {"storage": "2500m"},
        }}}}},
        {"cephfs": {}}, {"rbd": {}},
        {"name": "cm", "configMap": {"name": "c", "items": items(["p", "p/q"])}},
        {"name": "sec", "secret": {"secretName": "s", "items": items(["p/q", "p/"])}},
        {"name": "down", "downwardAPI": {"items": items(["x", "x/y"])}},
        {"name": "fine", "configMap": {"name": "c", "items": items(["p", "pq"])}},
        {"name": "pro", "projected": {"sources": [
            {},
            {"configMap": {"name": "c", "items": items(["p", "r"])}},
            {"secret": {"name": "s", "items": items(["p/s", "t"])}},
            {"downwardAPI": {"items": items(["p/d", "u"])}},
            {"serviceAccountToken": {"path": "p/t"}},
            {"clusterTrustBundle": {"signerName": "e.com/s", "path": "r"}},
            {"podCertificate": {"keyPath": "r", "certificateChainPath": "r/c", "credentialBundlePath": "u"}},
        ]}},
    ]);
    let spec = json!({"volumes": volumes});
    let expected = [
        "spec.volumes[0].photonPersistentDisk: deprecated in v1.11, non-functional in v1.16+",
        "spec.volumes[1].gitRepo: deprecated in v1.11, and disabled by default in v1.33+",
        "spec.volumes[2].scaleIO: deprecated in v1.16, non-functional in v1.22+",
        "spec.volumes[3].flocker: deprecated in v1.22, non-functional in v1.25+",
        "spec.volumes[4].storageOS: deprecated in v1.22, non-functional in v1.25+",
        "spec.volumes[5].quobyte: deprecated in v1.22, non-functional in v1.25+",
        "spec.volumes[6].glusterfs: deprecated in v1.25, non-functional in v1.26+",
        "spec.volumes[7].ephemeral.volumeClaimTemplate.spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer",
        "spec.volumes[7].ephemeral.volumeClaimTemplate.spec.resources.limits[storage]: fractional byte value \"2500m\" is invalid, must be an integer",
        "spec.volumes[8].cephfs: deprecated in v1.28, non-functional in v1.31+",
        "spec.volumes[9].rbd: deprecated in v1.28, non-functional in v1.31+",
        "volume \"cm\" (ConfigMap \"c\"): overlapping paths: \"p/q\" with \"p\"",
        "volume \"sec\" (Secret \"s\"): overlapping paths: \"p\" with \"p/q\"",
        "volume \"down\" (DownwardAPI): overlapping paths: \"x/y\" with \"x\"",
        "volume \"pro\" (Projected) has no sources provided",
        "volume \"pro\" (Projected): overlapping paths: \"p/s\" (Secret \"s\") with \"p\" (ConfigMap \"c\")",
        "volume \"pro\" (Projected): overlapping paths: \"p/d\" (DownwardAPI) with \"p\" (ConfigMap \"c\")",
        "volume \"pro\" (Projected): overlapping paths: \"p/t\" (ServiceAccountToken) with \"p\" (ConfigMap \"c\")",
        "volume \"pro\" (Projected): overlapping paths: \"r\" (ClusterTrustBundle \"e.com/s\") with \"r\" (ConfigMap \"c\")",
        "volume \"pro\" (Projected): overlapping paths: \"r/c\" (PodCertificate chain) with \"r\" (ConfigMap \"c\")",
        "volume \"pro\" (Projected): overlapping paths: \"r/c\" (PodCertificate chain) with \"r\" (ClusterTrustBundle \"e.com/s\")",
        "volume \"pro\" (Projected): overlapping paths: \"r\" (PodCertificate key) with \"r\" (ConfigMap \"c\")",
        "volume \"pro\" (Projected): overlapping paths: \"r\" (PodCertificate key) with \"r\" (ClusterTrustBundle \"e.com/s\")",
        "volume \"pro\" (Projected): overlapping paths: \"r\" (PodCertificate key) with \"r/c\" (PodCertificate chain)",
        "volume \"pro\" (Projected): overlapping paths: \"u\" (PodCertificate credential bundle) with \"u\" (DownwardAPI)",
    ];
    assert_eq!(
        of_pod(&json!({"metadata": {"name": "a"}, "spec": spec})),
        expected
    );
}

#[test]
fn containers_and_addresses_are_warned_about() {
    let port = |more: Value| {
        let mut port = json!({"containerPort": 80, "protocol": "TCP"});
        if let (Some(port), Value::Object(more)) = (port.as_object_mut(), more) {
            port.extend(more);
        }
        port
    };
    let spec = json!({
        "hostAliases": [{"ip": "1.2.3.4"}, {"ip": "1.2.3.4"}, {"ip": "FE80::1"}],
        "imagePullSecrets": [{"name": "a"}, {"name": "a"}, {}],
        "dnsConfig": {"nameservers": ["::ffff:1.2.3.4"]},
        "overhead": {"memory": "1500m", "ephemeral-storage": "2500m", "cpu": "1500m"},
        "initContainers": [{"name": "one", "ports": [port(json!({"name": "web"}))]}],
        "containers": [{
            "name": "two",
            "resources": {
                "limits": {"memory": "1500m", "ephemeral-storage": "3500m"},
                "requests": {"memory": "500m", "ephemeral-storage": "2500m", "cpu": "500m"},
            },
            "env": [
                {"name": "A", "value": "1"}, {"name": "A", "value": "$(A)2"}, {"name": "A", "value": "$(A)"},
                {"name": "B", "value": "x"}, {"name": "B", "valueFrom": {}}, {"name": "A", "value": "3"},
            ],
            "ports": [
                port(json!({"name": "web"})),
                port(json!({"containerPort": 81, "hostIP": "1.2.3.4"})),
                port(json!({"hostPort": 8080})),
                port(json!({"containerPort": 82, "hostPort": 90})),
                port(json!({"containerPort": 82, "hostPort": 90, "hostIP": "1.2.3.4"})),
                port(json!({"containerPort": 82, "hostPort": 91, "protocol": "UDP"})),
            ],
        }],
    });
    let expected = [
        "spec.hostAliases[1].ip: duplicate ip \"1.2.3.4\"",
        "spec.imagePullSecrets[1].name: duplicate name \"a\"",
        "spec.imagePullSecrets[2].name: invalid empty name \"\"",
        "spec.overhead[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
        "spec.overhead[ephemeral-storage]: fractional byte value \"2500m\" is invalid, must be an integer",
        "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer",
        "spec.containers[0].resources.requests[memory]: fractional byte value \"500m\" is invalid, must be an integer",
        "spec.containers[0].resources.limits[ephemeral-storage]: fractional byte value \"3500m\" is invalid, must be an integer",
        "spec.containers[0].resources.requests[ephemeral-storage]: fractional byte value \"2500m\" is invalid, must be an integer",
        "spec.containers[0].env[2]: hides previous definition of \"A\", which may be dropped when using apply",
        "spec.containers[0].env[4]: hides previous definition of \"B\", which may be dropped when using apply",
        "spec.containers[0].env[5]: hides previous definition of \"A\", which may be dropped when using apply",
        "spec.containers[0].ports[0]: duplicate port definition with spec.initContainers[0].ports[0]",
        "spec.containers[0].ports[1]: hostIP set without hostPort: {Name: HostPort:0 ContainerPort:81 Protocol:TCP HostIP:1.2.3.4}",
        "spec.containers[0].ports[2]: overlapping port definition with spec.initContainers[0].ports[0]",
        "spec.containers[0].ports[2]: overlapping port definition with spec.containers[0].ports[0]",
        "spec.containers[0].ports[4]: dangerously ambiguous port definition with spec.containers[0].ports[3]",
        "spec.containers[0].ports[0]: duplicate port name \"web\" with spec.initContainers[0].ports[0], services and probes that select ports by name will use spec.initContainers[0].ports[0]",
        "spec.dnsConfig.nameservers[0]: non-standard IP address \"::ffff:1.2.3.4\" is invalid: use \"1.2.3.4\"",
        "spec.hostAliases[2].ip: IPv6 address \"FE80::1\" should be in RFC 5952 canonical format (\"fe80::1\")",
    ];
    assert_eq!(
        of_pod(&json!({"metadata": {"name": "a"}, "spec": spec})),
        expected
    );
}

#[test]
fn an_app_armor_annotation_may_repeat_the_pods_field() {
    let key = "container.apparmor.security.beta.kubernetes.io/c";
    let count = |annotation: &str, profile: Value, own: Value| {
        let pod = json!({
            "metadata": {"name": "a", "annotations": {key: annotation}},
            "spec": {
                "securityContext": {"appArmorProfile": profile},
                "containers": [{"name": "c", "securityContext": {"appArmorProfile": own}}],
            },
        });
        // Of a pod it is said where the field is made of the annotation.
        assert!(of_pod(&pod).is_empty());
        of_template(&At::root(&pod)).len()
    };
    let unconfined = json!({"type": "Unconfined"});
    let local = json!({"type": "Localhost", "localhostProfile": "x"});
    assert_eq!(count("unconfined", unconfined.clone(), Value::Null), 0);
    assert_eq!(count("localhost/x", local.clone(), Value::Null), 0);
    assert_eq!(count("localhost/y", local, Value::Null), 1);
    assert_eq!(count("unconfined", Value::Null, Value::Null), 1);
    assert_eq!(count("runtime/default", unconfined.clone(), Value::Null), 1);
    assert_eq!(count("runtime/default", Value::Null, unconfined), 0);
    let windows = json!({
        "metadata": {"name": "a", "annotations": {key: "unconfined"}},
        "spec": {"os": {"name": "windows"}, "containers": [{"name": "c"}]},
    });
    assert_eq!(of_template(&At::root(&windows)).len(), 1);
}

#[test]
fn addresses_in_a_status_are_warned_about() {
    let pod =
        json!({"status": {"podIPs": [{"ip": "FE80::1"}], "hostIPs": [{"ip": "1.2.3.4"}, {"ip": "FE80::2"}]}});
    let paths = of_status(&pod);
    let paths: Vec<&str> = paths.iter().filter_map(|text| text.split(':').next()).collect();
    assert_eq!(paths, ["status.podIPs[0].ip", "status.hostIPs[1].ip"]);
}
