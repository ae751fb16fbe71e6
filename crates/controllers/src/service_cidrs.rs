//! The ServiceCIDR controller: ranges of service addresses are ready, and stay while they hold an address that no other
//! range holds. Upstream: pkg/controller/servicecidrs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, path};
use corten_client::request::STRATEGIC_PATCH;
use corten_client::{Error, Event, Informer, Key, Partial, Queue, watch};
use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use serde::Deserialize;
use serde_json::json;

use crate::core::context::time;
use crate::core::{Action, Context, Executor, Note, Write};

const WORKERS: usize = 2;
const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGER: &str = "service-cidr-controller";
const APPLY: &str = "application/apply-patch+yaml";
/// Addresses the server's allocators have taken.
const ADDRESSES: &str = "labelSelector=ipaddress.kubernetes.io%2Fmanaged-by%3Dipallocator.k8s.io";
/// Time for all API servers to stop taking addresses from a range that goes.
const GRACE: Duration = Duration::from_secs(10);

fn ranges(cidr: &ServiceCIDR) -> Vec<IpNet> {
    let cidrs = cidr.spec.as_ref().and_then(|s| s.cidrs.as_ref());
    cidrs
        .into_iter()
        .flatten()
        .filter_map(|c| c.parse().ok())
        .collect()
}

/// Whether services can have this address of a range: not the network's own, nor the broadcast address.
fn holds(range: &IpNet, address: IpAddr) -> bool {
    range.contains(&address)
        && range.network() != address
        && (address.is_ipv6() || range.broadcast() != address)
}

/// Whether nothing is lost with a range: another one covers it, or each of its addresses.
#[must_use]
pub fn dispensable(cidr: &ServiceCIDR, all: &[Arc<ServiceCIDR>], addresses: &[IpAddr]) -> bool {
    let own = ranges(cidr);
    let others: Vec<IpNet> = all
        .iter()
        .filter(|other| other.metadata.name() != cidr.metadata.name())
        .flat_map(|other| ranges(other))
        .collect();
    if own
        .iter()
        .all(|range| others.iter().any(|other| other.contains(range)))
    {
        return true;
    }
    let only_here = |address: &IpAddr| {
        own.iter().any(|range| holds(range, *address)) && !others.iter().any(|range| holds(range, *address))
    };
    !addresses.iter().any(only_here)
}

/// What a range needs that is not being deleted.
#[must_use]
pub fn plan(cidr: &ServiceCIDR, now: Timestamp) -> Vec<Action> {
    let mut actions = Vec::new();
    if !has_finalizer(cidr) {
        let patch = json!({"metadata": {"finalizers": [FINALIZER]}});
        actions.push(Write::patch_sub(cidr, STRATEGIC_PATCH, "", patch).into());
    }
    actions.extend(ready(cidr, true, "", "Kubernetes Service CIDR is ready", now));
    actions
}

/// What a range needs that is being deleted, and when to look at it again.
#[must_use]
pub fn plan_deletion(cidr: &ServiceCIDR, dispensable: bool, now: Timestamp) -> (Vec<Action>, Next) {
    if !dispensable {
        let message = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
        let action = ready(cidr, false, "Terminating", message, now);
        return (action.into_iter().collect(), Next::Done);
    }
    let since = cidr.metadata.deletion_timestamp.as_ref().map_or(now, |t| t.0);
    let left = (since + GRACE).duration_since(now);
    if left.is_positive() {
        return (Vec::new(), Next::After(left.unsigned_abs()));
    }
    let patch = json!({"metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
    let gone = has_finalizer(cidr).then(|| Write::patch_sub(cidr, STRATEGIC_PATCH, "", patch).into());
    (gone.into_iter().collect(), Next::Done)
}

fn has_finalizer(cidr: &ServiceCIDR) -> bool {
    let mut finalizers = cidr.metadata.finalizers.iter().flatten();
    finalizers.any(|f| f == FINALIZER)
}

fn ready(cidr: &ServiceCIDR, is: bool, reason: &str, message: &str, now: Timestamp) -> Option<Action> {
    let status = if is { "True" } else { "False" };
    let conditions = cidr.status.as_ref().and_then(|s| s.conditions.as_ref());
    let current = conditions.into_iter().flatten().find(|c| c.type_ == "Ready");
    if current.is_some_and(|c| c.status == status && c.reason == reason && c.message == message) {
        return None;
    }
    let patch = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": cidr.metadata.name()},
        "status": {"conditions": [{"type": "Ready", "status": status, "reason": reason, "message": message,
            "lastTransitionTime": time(now)}]}});
    let mut write = Write::patch_sub(cidr, APPLY, "status", patch);
    write
        .path
        .push_str(&format!("?fieldManager={MANAGER}&force=true"));
    Some(write.into())
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Partial>,
}

struct Controller {
    context: Context,
    executor: Executor,
    cidrs: Informer<ServiceCIDR>,
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let cidrs = context.factory.informer::<ServiceCIDR>();
    let queue: Queue<Key> = Queue::new("ipaddresses");
    let (adding, all) = (queue.clone(), cidrs.clone());
    cidrs.on_event(move |event| {
        adding.add(Key::of(&**event.object()));
        // A new range may be what others that go have waited for.
        if matches!(event, Event::Added(_)) {
            queue_going(&all, &adding);
        }
    });
    cidrs.synced().await;
    watch_addresses(&context, &cidrs, &queue);
    let stop = context.stop.clone();
    let this = Arc::new(Controller {
        executor: context.executor(MANAGER),
        context,
        cidrs,
    });
    driver::run("ipaddresses", queue, WORKERS, stop, move |key| {
        let this = Arc::clone(&this);
        async move { this.sync(&key).await }
    })
    .await;
}

fn queue_going(cidrs: &Informer<ServiceCIDR>, queue: &Queue<Key>) {
    for cidr in cidrs.list().iter().filter(|c| c.metadata.terminating()) {
        queue.add(Key::of(&**cidr));
    }
}

/// Addresses are as many as services: their metadata goes by and is not kept.
fn watch_addresses(context: &Context, cidrs: &Informer<ServiceCIDR>, queue: &Queue<Key>) {
    let source = watch::Source {
        query: ADDRESSES.into(),
        ..watch::Source::metadata(path::<IPAddress>("", "", ""))
    };
    let (client, cidrs, queue) = (context.factory.client().clone(), cidrs.clone(), queue.clone());
    tokio::spawn(watch::run::<Partial>(
        client,
        source,
        context.stop.clone(),
        move |delta| {
            if matches!(delta, watch::Delta::Apply(_) | watch::Delta::Delete(_)) {
                queue_going(&cidrs, &queue);
            }
        },
    ));
}

impl Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(cidr) = self.cidrs.get_key(key) else {
            return Ok(Next::Done);
        };
        let now = self.context.now();
        let (actions, next) = if cidr.metadata.terminating() {
            let list = path::<IPAddress>("", "", "");
            let list: List = self.executor.caller.read(&format!("{list}?{ADDRESSES}")).await?;
            let names = list.items.iter().filter_map(|a| a.metadata.name().parse().ok());
            let addresses: Vec<IpAddr> = names.collect();
            let may = dispensable(&cidr, &self.cidrs.list(), &addresses);
            plan_deletion(&cidr, may, now)
        } else {
            (plan(&cidr, now), Next::Done)
        };
        match self.executor.apply(actions, None).await {
            Err(error) if !error.is_not_found() => {
                let message = "The ServiceCIDR Status can not be set to Ready=True";
                let note = Note::warning(&*cidr, "KubernetesServiceCIDRError", message);
                self.executor.apply(vec![note.into()], None).await?;
                Err(error)
            }
            _ => Ok(next),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::core::action::transcript;

    fn cidr(name: &str, range: &str, deleted: bool) -> ServiceCIDR {
        let at = deleted.then_some("1970-01-01T00:00:00Z");
        serde_json::from_value(json!({"metadata": {"name": name, "deletionTimestamp": at,
            "finalizers": deleted.then_some([FINALIZER])}, "spec": {"cidrs": [range]}}))
        .unwrap()
    }

    #[test]
    fn a_range_goes_when_nothing_depends_on_it() {
        let going = cidr("b", "10.1.0.0/24", true);
        let mut all = vec![Arc::new(going.clone()), Arc::new(cidr("a", "10.0.0.0/24", false))];
        let inside: IpAddr = "10.1.0.7".parse().unwrap();
        let outside: IpAddr = "10.0.0.7".parse().unwrap();
        assert!(dispensable(&going, &all, &[outside]));
        assert!(!dispensable(&going, &all, &[inside]));
        all.push(Arc::new(cidr("c", "10.1.0.0/16", false)));
        assert!(dispensable(&going, &all, &[inside]));
    }

    #[test]
    fn ranges_are_readied_kept_and_let_go() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let condition = |status, reason, message, at| {
            format!(
                "{{\"apiVersion\":\"networking.k8s.io/v1\",\"kind\":\"ServiceCIDR\",\"metadata\":{{\"name\":\"x\"}},\
                 \"status\":{{\"conditions\":[{{\"lastTransitionTime\":\"{at}\",\"message\":\"{message}\",\
                 \"reason\":\"{reason}\",\"status\":\"{status}\",\"type\":\"Ready\"}}]}}}}"
            )
        };
        let ready = condition(
            "True",
            "",
            "Kubernetes Service CIDR is ready",
            "1970-01-01T00:00:05Z",
        );
        assert_eq!(
            transcript(&plan(&cidr("x", "10.1.0.0/24", false), at(5))),
            format!(
                "patch servicecidrs x {{\"metadata\":{{\"finalizers\":[\"{FINALIZER}\"]}}}}\npatch servicecidrs x {ready}\n"
            )
        );
        let going = cidr("x", "10.1.0.0/24", true);
        let (actions, next) = plan_deletion(&going, true, at(5));
        assert_eq!(
            (transcript(&actions).as_str(), next),
            ("", Next::After(Duration::from_secs(5)))
        );
        let (actions, _) = plan_deletion(&going, true, at(10));
        assert_eq!(
            transcript(&actions),
            format!(
                "patch servicecidrs x {{\"metadata\":{{\"$deleteFromPrimitiveList/finalizers\":[\"{FINALIZER}\"]}}}}\n"
            )
        );
        let (actions, next) = plan_deletion(&going, false, at(5));
        assert!(transcript(&actions).contains("\"reason\":\"Terminating\",\"status\":\"False\""));
        assert_eq!(next, Next::Done);
    }
}
