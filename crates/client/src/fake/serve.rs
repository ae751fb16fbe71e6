//! The fake server's requests.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::state::{Door, Fake, Refusal, Request, State, Watcher, Write, key_of, line, merge};

type Answer = Result<Value, Refusal>;
/// How the refusal of a create in a namespace that is going away ends.
const TERMINATING: &str = "because it is being terminated";

type Payload = UnsyncBoxBody<Bytes, std::io::Error>;

impl Fake {
    /// A client of this server, in process.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        let door = Door {
            fake: self.clone(),
            id: 0,
        };
        door.client()
    }

    async fn handle(&self, request: http::Request<Body>, door: usize) -> Response<Payload> {
        let (parts, body) = request.into_parts();
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let asked = format!("{} {}", parts.method, parts.uri.path());
        self.0.lock().asked.push(asked);
        if let Some(found) = discovery(parts.uri.path()) {
            return respond(200, &found);
        }
        let Some(target) = parse(parts.uri.path()) else {
            return respond(
                404,
                &json!({"code": 404, "reason": "NotFound", "message": "no such path"}),
            );
        };
        if query.contains("watch=1") {
            return self.watch(&target, &query, door);
        }
        let body = body.collect_bytes().await.unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let answer = self.answer(&parts.method, parts.uri.path(), &target, body);
        match answer {
            Ok(object) => respond(200, &object),
            Err((code, reason, message)) => {
                let mut status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure",
                    "code": code, "reason": reason, "message": message});
                if message.ends_with(TERMINATING) {
                    status["details"] =
                        json!({"causes": [{"reason": "NamespaceTerminating", "message": message}]});
                }
                respond(code, &status)
            }
        }
    }

    fn answer(&self, method: &Method, path: &str, target: &Request, body: Value) -> Answer {
        let mut state = self.0.lock();
        if *method == Method::GET {
            return state.read(target);
        }
        let failed = || (500, "InternalError", "injected".to_owned());
        let events = target.plural == "events";
        if state.failing > 0 && !events {
            state.failing -= 1;
            return Err(failed());
        }
        let answer = match method.as_str() {
            "POST" => state.post(target, body.clone()),
            "PUT" => state.put(target, body.clone()),
            "PATCH" => state.patch(target, &body),
            _ if target.name.is_empty() => state.delete_all(target, &body),
            _ => state.delete(target, &body),
        };
        if answer.is_ok() {
            state.writes.push(Write {
                method: method.to_string(),
                path: path.to_owned(),
                body,
            });
            if state.losing > 0 && !events {
                state.losing -= 1;
                return Err(failed());
            }
        }
        answer
    }

    fn watch(&self, target: &Request, query: &str, door: usize) -> Response<Payload> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut state = self.0.lock();
        let since = query
            .split('&')
            .find_map(|p| p.strip_prefix("resourceVersion=")?.parse::<u64>().ok());
        let mine = |plural: &str, o: &Value| {
            plural == target.plural && (target.ns.is_empty() || o["metadata"]["namespace"] == *target.ns)
        };
        match since {
            Some(since) if since < state.compacted => {
                let status =
                    json!({"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"});
                let _ = sender.send(Ok(line("ERROR", &status)));
            }
            Some(since) => {
                let missed = state
                    .log
                    .iter()
                    .filter(|c| c.revision > since && mine(&c.plural, &c.object));
                for change in missed {
                    let _ = sender.send(Ok(line(change.kind, &change.object)));
                }
            }
            None => {
                for object in state
                    .objects
                    .get(&target.plural)
                    .into_iter()
                    .flat_map(|o| o.values())
                {
                    if mine(&target.plural, object) {
                        let _ = sender.send(Ok(line("ADDED", object)));
                    }
                }
                let mark = json!({"kind": "X", "apiVersion": "v1", "metadata": {
                    "resourceVersion": state.revision.to_string(),
                    "annotations": {"k8s.io/initial-events-end": "true"}}});
                let _ = sender.send(Ok(line("BOOKMARK", &mark)));
            }
        }
        if since.is_none_or(|s| s >= state.compacted) {
            state.watcher_ids += 1;
            let id = state.watcher_ids;
            state.watchers.push(Watcher {
                id,
                plural: target.plural.clone(),
                ns: target.ns.clone(),
                door,
                sender,
            });
        }
        drop(state);
        let frames = stream::unfold(receiver, |mut r| async move {
            let item = r.recv().await?;
            Some((item.map(http_body::Frame::data), r))
        });
        Response::new(UnsyncBoxBody::new(StreamBody::new(frames)))
    }

    /// Polls until `ready` holds, giving other tasks their turn; fails after five seconds of test time.
    ///
    /// # Panics
    /// When the time is up.
    pub async fn until(&self, what: &str, ready: impl Fn(&Self) -> bool) {
        for _ in 0..5000 {
            if ready(self) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("not reached: {what}");
    }
}

impl Door {
    /// A client that comes in here.
    #[must_use]
    pub fn client(&self) -> kube::Client {
        let door = self.clone();
        crate::in_process(tower::service_fn(move |request: http::Request<Body>| {
            let door = door.clone();
            async move {
                door.travel().await;
                door.alive().await;
                let write = request.method() != Method::GET && !request.uri().path().ends_with("/events");
                let response = door.fake.handle(request, door.id).await;
                if write {
                    door.spend();
                }
                door.alive().await;
                Ok::<_, Infallible>(response)
            }
        }))
    }

    /// Requests take one to four milliseconds of test time and overtake each other on the way. Without a door they take none.
    async fn travel(&self) {
        if self.id == 0 {
            return;
        }
        let millis = {
            let mut state = self.fake.0.lock();
            state.requests = state.requests.wrapping_mul(0x9E37_79B9).wrapping_add(7);
            1 + (state.requests >> 13) % 4
        };
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    /// Never returns once the door is dead.
    async fn alive(&self) {
        if self.left().is_some_and(|left| left == 0) {
            std::future::pending::<()>().await;
        }
    }

    fn spend(&self) {
        if let Some(Some(left)) = self.fake.0.lock().doors.get_mut(self.id.wrapping_sub(1)) {
            *left = left.saturating_sub(1);
        }
    }
}

impl State {
    fn find(&self, target: &Request) -> Result<Value, Refusal> {
        let key = (target.ns.clone(), target.name.clone());
        self.objects
            .get(&target.plural)
            .and_then(|o| o.get(&key))
            .cloned()
            .ok_or_else(|| {
                (
                    404,
                    "NotFound",
                    format!("{} \"{}\" not found", target.plural, target.name),
                )
            })
    }

    fn read(&self, target: &Request) -> Answer {
        if !target.name.is_empty() {
            return self.find(target);
        }
        let all = self
            .objects
            .get(&target.plural)
            .into_iter()
            .flat_map(|o| o.values());
        let items: Vec<_> = all
            .filter(|o| target.ns.is_empty() || o["metadata"]["namespace"] == *target.ns)
            .collect();
        Ok(json!({"kind": "List", "apiVersion": "v1", "items": items,
            "metadata": {"resourceVersion": self.revision.to_string()}}))
    }

    fn post(&mut self, target: &Request, mut body: Value) -> Answer {
        if target.sub == "binding" {
            return self.bind(target, &body);
        }
        if target.plural == "subjectaccessreviews" {
            return Ok(self.review(body));
        }
        if !target.name.is_empty() {
            return Ok(body);
        }
        if !target.ns.is_empty() {
            body["metadata"]["namespace"] = json!(target.ns);
        }
        let home = (String::new(), target.ns.clone());
        let home = self.objects.get("namespaces").and_then(|all| all.get(&home));
        if home.is_some_and(|ns| !ns["metadata"]["deletionTimestamp"].is_null()) {
            let message = format!(
                "unable to create new content in namespace {} {TERMINATING}",
                target.ns
            );
            return Err((403, "Forbidden", message));
        }
        if home.is_none() && self.gone.contains(&target.ns) {
            return Err((404, "NotFound", format!("namespaces \"{}\" not found", target.ns)));
        }
        self.born(&mut body);
        let key = key_of(&body);
        if self
            .objects
            .get(&target.plural)
            .is_some_and(|o| o.contains_key(&key))
        {
            return Err((
                409,
                "AlreadyExists",
                format!("{} \"{}\" already exists", target.plural, key.1),
            ));
        }
        Ok(self.store(&target.plural, &key, body))
    }

    /// Who is in a group that any binding names may do anything.
    fn review(&self, mut review: Value) -> Value {
        let bindings = self.objects.get("clusterrolebindings").into_iter().flatten();
        let mut subjects = bindings.filter_map(|(_, binding)| binding["subjects"].as_array());
        let groups = review["spec"]["groups"].as_array();
        let bound = |name: &Value| groups.is_some_and(|groups| groups.contains(name));
        let allowed = subjects.any(|named| named.iter().any(|subject| bound(&subject["name"])));
        review["status"] = json!({"allowed": allowed});
        review
    }

    fn bind(&mut self, target: &Request, body: &Value) -> Answer {
        let mut pod = self.find(&Request {
            sub: String::new(),
            ..target.clone()
        })?;
        if pod["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty()) {
            return Err((409, "Conflict", "pod is already assigned to a node".into()));
        }
        pod["spec"]["nodeName"] = body["target"]["name"].clone();
        let key = (target.ns.clone(), target.name.clone());
        self.store(&target.plural, &key, pod);
        Ok(json!({"kind": "Status", "status": "Success"}))
    }

    fn put(&mut self, target: &Request, mut body: Value) -> Answer {
        let old = self.find(target)?;
        let wanted = body["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        if !wanted.is_empty() && old["metadata"]["resourceVersion"] != wanted {
            return Err((409, "Conflict", "the object has been modified".into()));
        }
        if target.sub == "approval" {
            for condition in body["status"]["conditions"].as_array_mut().into_iter().flatten() {
                if condition["lastUpdateTime"].is_null() {
                    condition["lastUpdateTime"] = json!(super::clock::START);
                }
            }
        }
        if matches!(target.sub.as_str(), "status" | "approval") {
            let mut merged = old.clone();
            merged["status"] = body["status"].clone();
            // The strategies of status leave annotations to the writer.
            if body["metadata"]["annotations"].is_object() {
                merged["metadata"]["annotations"] = body["metadata"]["annotations"].clone();
            }
            return Ok(self.replace(target, &old, merged));
        }
        if target.sub != "finalize" {
            body["status"] = old["status"].clone();
        }
        Ok(self.replace(target, &old, body))
    }

    fn patch(&mut self, target: &Request, patch: &Value) -> Answer {
        let old = self.find(target)?;
        for field in ["uid", "resourceVersion"] {
            let wanted = &patch["metadata"][field];
            if !wanted.is_null() && *wanted != old["metadata"][field] {
                return Err((409, "Conflict", "the object has been modified".into()));
            }
        }
        let mut new = old.clone();
        merge(&mut new, patch);
        Ok(self.replace(target, &old, new))
    }

    fn replace(&mut self, target: &Request, old: &Value, mut new: Value) -> Value {
        let key = (target.ns.clone(), target.name.clone());
        for field in ["uid", "creationTimestamp", "deletionTimestamp", "generation"] {
            new["metadata"][field] = old["metadata"][field].clone();
        }
        if new["spec"] != old["spec"] {
            new["metadata"]["generation"] = json!(old["metadata"]["generation"].as_u64().unwrap_or(0) + 1);
        }
        new["metadata"]["resourceVersion"] = old["metadata"]["resourceVersion"].clone();
        if new == *old {
            return new;
        }
        let stored = self.store(&target.plural, &key, new);
        let terminating = !stored["metadata"]["deletionTimestamp"].is_null();
        if terminating && !has_finalizers(&stored) && target.plural != "pods" {
            self.remove(&target.plural, &key);
        }
        stored
    }

    fn delete_all(&mut self, target: &Request, options: &Value) -> Answer {
        let keys: Vec<_> = self
            .objects
            .get(&target.plural)
            .into_iter()
            .flat_map(|o| o.keys().cloned())
            .collect();
        for (ns, name) in keys.into_iter().filter(|(ns, _)| *ns == target.ns) {
            self.delete(
                &Request {
                    ns,
                    name,
                    ..target.clone()
                },
                options,
            )?;
        }
        Ok(json!({"kind": "Status", "status": "Success"}))
    }

    fn delete(&mut self, target: &Request, options: &Value) -> Answer {
        let mut object = self.find(target)?;
        let wanted = &options["preconditions"]["uid"];
        if !wanted.is_null() && *wanted != object["metadata"]["uid"] {
            return Err((
                409,
                "Conflict",
                "the UID in the precondition does not match".into(),
            ));
        }
        let key = (target.ns.clone(), target.name.clone());
        match options["propagationPolicy"].as_str() {
            Some("Foreground") => add_finalizer(&mut object, "foregroundDeletion"),
            Some("Orphan") => add_finalizer(&mut object, "orphan"),
            _ => {}
        }
        let bound = object["spec"]["nodeName"].as_str().is_some_and(|n| !n.is_empty());
        let graceful = target.plural == "pods" && bound && options["gracePeriodSeconds"] != 0;
        if graceful || has_finalizers(&object) {
            if object["metadata"]["deletionTimestamp"].is_null() {
                object["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:30Z");
                if target.plural == "namespaces" {
                    object["status"]["phase"] = json!("Terminating");
                }
                return Ok(self.store(&target.plural, &key, object));
            }
            return Ok(object);
        }
        self.remove(&target.plural, &key);
        Ok(object)
    }
}

/// Those of its metadata, and those of a namespace's spec.
fn has_finalizers(object: &Value) -> bool {
    let some = |part: &str| {
        object[part]["finalizers"]
            .as_array()
            .is_some_and(|f| !f.is_empty())
    };
    some("metadata") || some("spec")
}

fn add_finalizer(object: &mut Value, name: &str) {
    let list = &mut object["metadata"]["finalizers"];
    match list.as_array_mut() {
        Some(names) => names.push(json!(name)),
        None => *list = json!([name]),
    }
}

/// The resources a test cluster serves, as aggregated discovery.
const SERVED: [(&str, &str, &str, &str); 16] = [
    ("", "pods", "Pod", "Namespaced"),
    ("", "services", "Service", "Namespaced"),
    ("", "configmaps", "ConfigMap", "Namespaced"),
    ("", "secrets", "Secret", "Namespaced"),
    ("", "serviceaccounts", "ServiceAccount", "Namespaced"),
    ("", "endpoints", "Endpoints", "Namespaced"),
    ("", "nodes", "Node", "Cluster"),
    ("", "namespaces", "Namespace", "Cluster"),
    ("apps", "deployments", "Deployment", "Namespaced"),
    ("apps", "replicasets", "ReplicaSet", "Namespaced"),
    ("apps", "statefulsets", "StatefulSet", "Namespaced"),
    ("apps", "daemonsets", "DaemonSet", "Namespaced"),
    ("apps", "controllerrevisions", "ControllerRevision", "Namespaced"),
    ("batch", "jobs", "Job", "Namespaced"),
    ("batch", "cronjobs", "CronJob", "Namespaced"),
    (
        "discovery.k8s.io",
        "endpointslices",
        "EndpointSlice",
        "Namespaced",
    ),
];

fn discovery(path: &str) -> Option<Value> {
    let core = match path.trim_end_matches('/') {
        "/api" => true,
        "/apis" => false,
        other => return resource_list(other),
    };
    let mut groups: Vec<Value> = Vec::new();
    for (group, plural, kind, scope) in SERVED.iter().filter(|r| r.0.is_empty() == core) {
        if groups.last().is_none_or(|g| g["metadata"]["name"] != *group) {
            groups
                .push(json!({"metadata": {"name": group}, "versions": [{"version": "v1", "resources": []}]}));
        }
        let last = groups.len() - 1;
        if let Some(list) = groups[last]["versions"][0]["resources"].as_array_mut() {
            list.push(json!({"resource": plural, "scope": scope,
                "responseKind": {"group": group, "version": "v1", "kind": kind},
                "verbs": ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]}));
        }
    }
    Some(
        json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": groups}),
    )
}

/// What a group and version serves, for who asks for it alone.
fn resource_list(path: &str) -> Option<Value> {
    let (group, version) = path.strip_prefix("/apis/")?.split_once('/')?;
    let served = SERVED.iter().filter(|row| row.0 == group && version == "v1");
    let resources: Vec<Value> = served.map(|row| json!({"name": row.1, "kind": row.2})).collect();
    let found = json!({"kind": "APIResourceList", "groupVersion": format!("{group}/{version}"), "resources": resources});
    (!version.contains('/')).then_some(found)
}

fn parse(path: &str) -> Option<Request> {
    let mut parts = path
        .trim_matches('/')
        .split('/')
        .map(str::to_owned)
        .collect::<Vec<_>>();
    let skip = if parts.first()? == "api" { 2 } else { 3 };
    if parts.len() <= skip {
        return None;
    }
    let rest = parts.split_off(skip);
    let api_version = parts.split_off(1).join("/");
    let part = |i: usize| rest.get(i).cloned().unwrap_or_default();
    let namespaced =
        part(0) == "namespaces" && rest.len() > 2 && part(2) != "status" && part(2) != "finalize";
    let at = if namespaced { 2 } else { 0 };
    let ns = if namespaced { part(1) } else { String::new() };
    Some(Request {
        api_version,
        plural: part(at),
        ns,
        name: part(at + 1),
        sub: part(at + 2),
    })
}

fn respond(code: u16, body: &Value) -> Response<Payload> {
    let body = Full::new(Bytes::from(body.to_string())).map_err(|never| match never {});
    let mut response = Response::new(UnsyncBoxBody::new(body));
    *response.status_mut() =
        http::StatusCode::from_u16(code).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    response
}
