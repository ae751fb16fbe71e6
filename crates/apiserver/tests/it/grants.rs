//! What RBAC keeps users from doing, beyond plain verbs.

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::harness::{Harness, NOBODY, Reply};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";

async fn as_nobody(h: &Harness, method: &str, path: &str, body: Value) -> Reply {
    let r: http::request::Builder = h
        .request(method, path, NOBODY)
        .header("content-type", "application/json");
    let r: Request<Full<bytes::Bytes>> = r.body(Full::from(body.to_string())).unwrap();
    h.whole(r).await
}

/// Gives `nobody` these rules in `default`, and waits until the authorizer has them.
async fn grant(h: &Harness, rules: Value) {
    h.post(
        &format!("{RBAC}/roles"),
        json!({"metadata": {"name": "r"}, "rules": rules}),
    )
    .await
    .ok();
    let subject = json!({"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"});
    let role = json!({"kind": "Role", "name": "r", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "b"}, "subjects": [subject], "roleRef": role});
    h.post(&format!("{RBAC}/rolebindings"), binding).await.ok();
    let first = &rules[0];
    let asked = json!({"spec": {"user": "nobody", "resourceAttributes": {"namespace": "default",
        "verb": first["verbs"][0], "resource": first["resources"][0], "group": first["apiGroups"][0]}}});
    loop {
        let r = h
            .post(
                "/apis/authorization.k8s.io/v1/subjectaccessreviews",
                asked.clone(),
            )
            .await
            .ok();
        if r["status"]["allowed"] == true {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn nobody_grants_what_they_do_not_hold() {
    let h = Harness::start().await;
    let all = json!(["create", "update", "patch", "get"]);
    let kinds = json!(["roles", "rolebindings"]);
    grant(
        &h,
        json!([{"verbs": all, "apiGroups": ["rbac.authorization.k8s.io"], "resources": kinds}]),
    )
    .await;
    let held =
        json!([{"verbs": ["get"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}]);
    let r = as_nobody(
        &h,
        "POST",
        &format!("{RBAC}/roles"),
        json!({"metadata": {"name": "ok"}, "rules": held}),
    )
    .await;
    assert_eq!(r.code, 201, "{}", r.text());
    let more = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}]);
    let r = as_nobody(
        &h,
        "POST",
        &format!("{RBAC}/roles"),
        json!({"metadata": {"name": "no"}, "rules": more}),
    )
    .await;
    assert_eq!(r.code, 403);
    let text = r.json()["message"].as_str().unwrap().to_owned();
    assert!(
        text.contains("is attempting to grant RBAC permissions not currently held"),
        "{text}"
    );
    let mut role = h.get(&format!("{RBAC}/roles/ok")).await.ok();
    role["rules"] = more;
    assert_eq!(
        as_nobody(&h, "PUT", &format!("{RBAC}/roles/ok"), role).await.code,
        403
    );
    let admin =
        json!({"kind": "ClusterRole", "name": "cluster-admin", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "x"}, "roleRef": admin});
    assert_eq!(
        as_nobody(&h, "POST", &format!("{RBAC}/rolebindings"), binding)
            .await
            .code,
        403
    );
}

#[tokio::test]
async fn reading_pods_exec_does_not_open_a_shell() {
    let h = Harness::start().await;
    grant(
        &h,
        json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]},
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec"]}]),
    )
    .await;
    let path = "/api/v1/namespaces/default/pods/p/exec?command=sh";
    let r = h
        .request("GET", path, NOBODY)
        .header("connection", "upgrade")
        .header("upgrade", "websocket");
    assert_eq!(h.whole(r.body(Full::default()).unwrap()).await.code, 403);
}

/// `openssl req -new -subj /CN=x` with a P-256 key.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlIRk1HNENBUUF3RERFS01BZ0dBMVVFQXd3QmVEQlpNQk1H\
    QnlxR1NNNDlBZ0VHQ0NxR1NNNDlBd0VIQTBJQQpCRFhDT0NRL1FOSUREUWp2Zk5JdDRWQ1pVMnhHZFMvc1JHQ2ZLOG5zeXBj\
    RnZqc2xuUEtncnhMalRTb2JtMXRxCmdOaTFJRnQxSTFRbmMyb24vYXh6emd1Z0FEQUtCZ2dxaGtqT1BRUURBZ05IQURCRUFp\
    QVlSaTlOdVpQdE5pd3kKWmpkMzMvSVNFTVl0RloyMFVkYktTS0grRG4zSS9BSWdmVktwbHp1RXlmdTdWS1dqTXEzakFEa0JF\
    VWJEUzBNeQp6Mlh4UlU1bVUyZz0KLS0tLS1FTkQgQ0VSVElGSUNBVEUgUkVRVUVTVC0tLS0tCg==";

#[tokio::test]
async fn approving_needs_a_verb_on_the_signer() {
    const REQUESTS: &str = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let h = Harness::start().await;
    let spec = json!({"request": REQUEST, "signerName": "example.com/test", "usages": ["client auth"]});
    let mut request = h
        .post(REQUESTS, json!({"metadata": {"name": "r"}, "spec": spec}))
        .await
        .ok();
    let rules = json!([{"verbs": ["update"], "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests/approval"]}]);
    let group = "/apis/rbac.authorization.k8s.io/v1";
    h.post(
        &format!("{group}/clusterroles"),
        json!({"metadata": {"name": "approver"}, "rules": rules}),
    )
    .await
    .ok();
    let subject = json!({"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"});
    let role = json!({"kind": "ClusterRole", "name": "approver", "apiGroup": "rbac.authorization.k8s.io"});
    let binding = json!({"metadata": {"name": "approver"}, "subjects": [subject], "roleRef": role});
    h.post(&format!("{group}/clusterrolebindings"), binding)
        .await
        .ok();
    request["status"]["conditions"] = json!([{"type": "Approved", "status": "True", "reason": "x"}]);
    let path = format!("{REQUESTS}/r/approval");
    let expected = "certificatesigningrequests.certificates.k8s.io \"r\" is forbidden: user not permitted to approve \
                    requests with signerName \"example.com/test\"";
    loop {
        let refused = as_nobody(&h, "PUT", &path, request.clone()).await.json();
        assert_eq!(refused["code"], 403);
        if refused["message"] == expected {
            break;
        }
        tokio::task::yield_now().await;
    }
    let rules = json!([
        {"verbs": ["update"], "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"]},
        {"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"]},
    ]);
    let mut role = h.get(&format!("{group}/clusterroles/approver")).await.ok();
    role["rules"] = rules;
    h.put(&format!("{group}/clusterroles/approver"), role).await.ok();
    while as_nobody(&h, "PUT", &path, request.clone()).await.json()["code"] == 403 {
        tokio::task::yield_now().await;
    }
    let approved = h.get(&format!("{REQUESTS}/r")).await.ok();
    assert_eq!(approved["status"]["conditions"][0]["type"], "Approved");
}
