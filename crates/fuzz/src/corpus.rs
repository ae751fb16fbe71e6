//! Good input: objects as clients send them.

use serde_json::{Value, json};

/// Objects of different kinds, each with much in it.
pub fn objects() -> Vec<Value> {
    let container = json!({
        "name": "c", "image": "registry.test/a:1", "command": ["sh", "-c"], "args": ["$(A)"],
        "ports": [{"name": "http", "containerPort": 80, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}],
        "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}}],
        "resources": {"limits": {"cpu": "1500m", "memory": "1.5Gi"}, "requests": {"cpu": "0.1", "memory": "1e3"}},
        "livenessProbe": {"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 3},
        "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "s"}],
        "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"]}}
    });
    let spec = json!({
        "containers": [container], "initContainers": [{"name": "i", "image": "i", "restartPolicy": "Always"}],
        "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "p", "mode": 420}]}}, {"name": "e", "emptyDir": {}}],
        "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 30}],
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": "zone", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}]}},
        "terminationGracePeriodSeconds": 30, "nodeSelector": {"a": "b"}
    });
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": spec});
    let metadata = |name: &str| json!({"name": name, "namespace": "default", "labels": {"a": "b"}, "annotations": {"x.test/y": "z"}});
    vec![
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata("p"), "spec": spec}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata("d"), "spec": {
            "replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": 1}}}}),
        json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata("s"), "spec": {
            "type": "NodePort", "selector": {"a": "b"}, "ports": [{"name": "x", "port": 80, "targetPort": "http", "protocol": "TCP"}, {"name": "y", "port": 53, "targetPort": 53, "protocol": "UDP"}],
            "externalIPs": ["10.1.2.3"], "ipFamilyPolicy": "SingleStack"}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("m"), "data": {"k": "v\n"}, "binaryData": {"b": "3q0="}}),
        json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": metadata("c"), "spec": {
            "schedule": "*/5 1-3 * * mon", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"backoffLimit": 1, "template": template}}}}),
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata("i"), "spec": {
            "rules": [{"host": "a.test", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "s", "port": {"number": 80}}}}]}}]}}),
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}, {"nonResourceURLs": ["/x/*"], "verbs": ["get"]}]}),
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata("h"), "spec": {
            "maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}}),
        json!({"apiVersion": "resource.k8s.io/v1", "kind": "ResourceClaim", "metadata": metadata("rc"), "spec": {
            "devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c.test", "count": 1, "allocationMode": "ExactCount"}}]}}}),
    ]
}
