//! Requests and limits: QoS class, cgroup values, and what an in-place resize has still to do.

use crate::machine::NodeFacts;
use crate::machine::view::ContainerView;
use crate::pod::{self, PodExt};
use crate::quantity::{self, Resources, milli_of, value_of};
use corten_runtime::cri;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use std::collections::BTreeMap;

const CPU: &str = "cpu";
const MEMORY: &str = "memory";
/// The CFS period, in microseconds.
pub const PERIOD_US: i64 = 100_000;
const MIN_QUOTA_US: i64 = 1000;
pub const MIN_SHARES: i64 = 2;
const MAX_SHARES: i64 = 262_144;

pub fn shares(milli: i64) -> i64 {
    (milli * 1024 / 1000).clamp(MIN_SHARES, MAX_SHARES)
}

/// CFS quota for a limit; 0 (unlimited) for none.
pub fn quota(milli: i64) -> i64 {
    if milli == 0 {
        0
    } else {
        (milli * PERIOD_US / 1000).max(MIN_QUOTA_US)
    }
}

fn list(r: Option<&ResourceRequirements>, limits: bool) -> Option<&Resources> {
    let r = r?;
    if limits {
        r.limits.as_ref()
    } else {
        r.requests.as_ref()
    }
}

fn limits(c: &Container) -> Option<&Resources> {
    list(c.resources.as_ref(), true)
}

fn requests(c: &Container) -> Option<&Resources> {
    list(c.resources.as_ref(), false)
}

/// `Guaranteed`, `Burstable` or `BestEffort`. What the API said at creation stays.
pub fn qos_class(pod: &Pod) -> &str {
    if let Some(class) = pod.status.as_ref().and_then(|s| s.qos_class.as_deref()) {
        return class;
    }
    let pod_level = pod.spec().resources.as_ref();
    let all: Vec<Option<&ResourceRequirements>> = match pod_level {
        Some(r) => vec![Some(r)],
        None => pod
            .mains()
            .iter()
            .chain(pod.inits())
            .map(|c| c.resources.as_ref())
            .collect(),
    };
    let mut guaranteed = true;
    let mut any = false;
    for r in all {
        for name in [CPU, MEMORY] {
            let positive = |l: Option<&Resources>| {
                l.and_then(|l| l.get(name))
                    .map(quantity::milli)
                    .filter(|v| *v > 0)
            };
            let (request, limit) = (positive(list(r, false)), positive(list(r, true)));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request == limit;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// cgroup values of one container.
pub fn linux(pod: &Pod, c: &Container, node: &NodeFacts) -> cri::LinuxContainerResources {
    let pod_limits = list(pod.spec().resources.as_ref(), true);
    let limit = |name, of: fn(Option<&Resources>, &str) -> Option<i64>| {
        of(limits(c), name)
            .filter(|v| *v > 0)
            .or_else(|| of(pod_limits, name))
            .unwrap_or(0)
    };
    let cpu_limit = limit(CPU, milli_of);
    let memory_limit = limit(MEMORY, value_of);
    let cpu_request = milli_of(requests(c), CPU).unwrap_or(cpu_limit);
    cri::LinuxContainerResources {
        cpu_period: PERIOD_US,
        cpu_quota: quota(cpu_limit),
        cpu_shares: shares(cpu_request),
        memory_limit_in_bytes: memory_limit,
        oom_score_adj: oom_score_adj(pod, c, node.memory_bytes),
        ..cri::LinuxContainerResources::default()
    }
}

/// Who dies first when memory runs out (upstream's `qos` policy).
fn oom_score_adj(pod: &Pod, c: &Container, capacity: i64) -> i64 {
    const GUARANTEED: i64 = -997;
    const BEST_EFFORT: i64 = 1000;
    const NODE_CRITICAL: i32 = 2_000_001_000;
    if pod.spec().priority.is_some_and(|p| p >= NODE_CRITICAL) {
        return GUARANTEED;
    }
    match qos_class(pod) {
        "Guaranteed" => return GUARANTEED,
        "BestEffort" => return BEST_EFFORT,
        _ => {}
    }
    let request = |c: &Container| value_of(requests(c), MEMORY).unwrap_or(0);
    let mut share = request(c);
    if pod.inits().iter().any(|s| s.name == c.name && pod::is_sidecar(s)) {
        share = share.max(pod.mains().iter().map(request).min().unwrap_or(0));
    }
    let adj = 1000 - 1000i64.saturating_mul(share) / capacity.max(1);
    adj.clamp(1000 + GUARANTEED, BEST_EFFORT - 1)
}

/// Sums requests (or limits) as the scheduler does: main containers and sidecars together, but at least each init
/// container's own, and the overhead on top. Pod-level values go above the sum.
pub fn pod_total(pod: &Pod, of_limits: bool) -> Resources {
    let of = |c: &Container| list(c.resources.as_ref(), of_limits).cloned().unwrap_or_default();
    let mut total = Resources::new();
    for c in pod.mains() {
        add(&mut total, &of(c));
    }
    let mut sidecars = Resources::new();
    let mut peak = Resources::new();
    for c in pod.inits() {
        let mut here = of(c);
        if pod::is_sidecar(c) {
            add(&mut total, &here);
            add(&mut sidecars, &here);
            here.clone_from(&sidecars);
        } else {
            add(&mut here, &sidecars);
        }
        raise(&mut peak, &here);
    }
    raise(&mut total, &peak);
    if let Some(own) = list(pod.spec().resources.as_ref(), of_limits) {
        total.extend(own.clone());
    }
    if let Some(overhead) = &pod.spec().overhead {
        let mut extra = overhead.clone();
        if of_limits {
            extra.retain(|k, _| total.contains_key(k));
        }
        add(&mut total, &extra);
    }
    total
}

pub fn add(total: &mut Resources, more: &Resources) {
    for (name, q) in more {
        let sum = total.get(name).map_or_else(|| q.clone(), |t| quantity::sum(t, q));
        total.insert(name.clone(), sum);
    }
}

fn raise(total: &mut Resources, other: &Resources) {
    for (name, q) in other {
        let max = total.get(name).map_or_else(|| q.clone(), |t| quantity::max(t, q));
        total.insert(name.clone(), max);
    }
}

/// cgroup values of the whole pod; zero: leave as the kernel has it.
pub fn pod_cgroup(pod: &Pod) -> cri::LinuxContainerResources {
    let class = qos_class(pod);
    let mut out = cri::LinuxContainerResources {
        cpu_shares: MIN_SHARES,
        ..Default::default()
    };
    if class == "BestEffort" {
        return out;
    }
    let (req, lim) = (pod_total(pod, false), pod_total(pod, true));
    out.cpu_shares = shares(milli_of(Some(&req), CPU).unwrap_or(0));
    let pod_limits = list(pod.spec().resources.as_ref(), true);
    let declared = |name: &str| {
        pod_limits.is_some_and(|l| l.contains_key(name))
            || pod
                .mains()
                .iter()
                .chain(pod.inits())
                .all(|c| limits(c).is_some_and(|l| l.contains_key(name)))
    };
    if declared(CPU) {
        out.cpu_quota = quota(milli_of(Some(&lim), CPU).unwrap_or(0));
        out.cpu_period = PERIOD_US;
    }
    if declared(MEMORY) {
        out.memory_limit_in_bytes = value_of(Some(&lim), MEMORY).unwrap_or(0);
    }
    out
}

/// Whether the running container's cgroup values differ from what the spec asks for.
pub fn resize_pending(pod: &Pod, c: &Container, v: &ContainerView, node: &NodeFacts) -> bool {
    let Some(have) = &v.resources else { return false };
    let want = linux(pod, c, node);
    cpu_differs(have, &want) || memory_differs(have, &want)
}

/// What the pod asks for beyond all that the node has: resource, request, capacity.
pub fn beyond(pod: &Pod, node: &NodeFacts) -> Option<(&'static str, i64, i64)> {
    let total = pod_total(pod, false);
    let cpu = milli_of(Some(&total), CPU).unwrap_or(0);
    let memory = value_of(Some(&total), MEMORY).unwrap_or(0);
    let over = [(CPU, cpu, node.cpu_milli), (MEMORY, memory, node.memory_bytes)];
    over.into_iter().find(|(_, asked, has)| *has > 0 && asked > has)
}

fn cpu_differs(have: &cri::LinuxContainerResources, want: &cri::LinuxContainerResources) -> bool {
    let quota = |r: &cri::LinuxContainerResources| r.cpu_quota.max(0);
    (have.cpu_shares != 0 && have.cpu_shares != want.cpu_shares) || quota(have) != quota(want)
}

fn memory_differs(have: &cri::LinuxContainerResources, want: &cri::LinuxContainerResources) -> bool {
    // A limit is never taken away in place, as upstream.
    want.memory_limit_in_bytes > 0 && have.memory_limit_in_bytes != want.memory_limit_in_bytes
}

/// Whether the resize of a resource whose policy is `RestartContainer` is pending.
pub fn resize_needs_restart(pod: &Pod, c: &Container, v: &ContainerView, node: &NodeFacts) -> bool {
    let Some(have) = &v.resources else { return false };
    let want = linux(pod, c, node);
    let restarts = |name: &str| {
        let mut policies = c.resize_policy.iter().flatten();
        policies.any(|p| p.resource_name == name && p.restart_policy == "RestartContainer")
    };
    (restarts(CPU) && cpu_differs(have, &want)) || (restarts(MEMORY) && memory_differs(have, &want))
}

/// The resources a container has in effect, in the terms of the API.
pub fn actual(c: &Container, v: &ContainerView) -> ResourceRequirements {
    let mut out = c.resources.clone().unwrap_or_default();
    let Some(have) = v
        .resources
        .as_ref()
        .filter(|_| v.state == crate::machine::view::State::Running)
    else {
        return out;
    };
    if let Some(limits) = &mut out.limits {
        if have.cpu_quota > MIN_QUOTA_US && have.cpu_period > 0 {
            keep(
                limits,
                CPU,
                have.cpu_quota * 1000 / have.cpu_period,
                quantity::milli,
                quantity::cpu,
            );
        }
        if have.memory_limit_in_bytes > 0 {
            keep(
                limits,
                MEMORY,
                have.memory_limit_in_bytes,
                quantity::value,
                quantity::bytes,
            );
        }
    }
    if let Some(requests) = &mut out.requests
        && have.cpu_shares > MIN_SHARES
    {
        // Shares lose precision: the text of the spec stands while it means the same shares.
        let same = requests
            .get(CPU)
            .is_some_and(|q| shares(quantity::milli(q)) == have.cpu_shares);
        if !same {
            requests.insert(CPU.into(), quantity::cpu((have.cpu_shares * 1000 + 1023) / 1024));
        }
    }
    out
}

fn keep(
    list: &mut BTreeMap<String, Quantity>,
    name: &str,
    have: i64,
    read: fn(&Quantity) -> i64,
    write: fn(i64) -> Quantity,
) {
    if list.get(name).map(read) != Some(have) {
        list.insert(name.to_owned(), write(have));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::PodSpec;

    fn container(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Container {
        let map = |l: &[(&str, &str)]| {
            Some(
                l.iter()
                    .map(|(k, v)| ((*k).to_owned(), Quantity((*v).to_owned())))
                    .collect(),
            )
        };
        let resources = ResourceRequirements {
            requests: map(requests),
            limits: map(limits),
            claims: None,
        };
        Container {
            resources: Some(resources),
            ..Container::default()
        }
    }

    fn pod(containers: Vec<Container>) -> Pod {
        Pod {
            spec: Some(PodSpec {
                containers,
                ..PodSpec::default()
            }),
            ..Pod::default()
        }
    }

    #[test]
    fn qos_classes() {
        let full = [("cpu", "1"), ("memory", "1Gi")];
        assert_eq!(qos_class(&pod(vec![container(&[], &[])])), "BestEffort");
        assert_eq!(qos_class(&pod(vec![container(&full, &full)])), "Guaranteed");
        assert_eq!(
            qos_class(&pod(vec![container(&full, &full), container(&[], &[])])),
            "Burstable"
        );
        assert_eq!(qos_class(&pod(vec![container(&full[..1], &[])])), "Burstable");
    }

    #[test]
    fn cgroup_values() {
        let node = NodeFacts {
            memory_bytes: 16 << 30,
            ..NodeFacts::default()
        };
        let c = container(
            &[("cpu", "250m"), ("memory", "4Gi")],
            &[("cpu", "500m"), ("memory", "8Gi")],
        );
        let p = pod(vec![c.clone()]);
        let r = linux(&p, &c, &node);
        assert_eq!((r.cpu_shares, r.cpu_quota, r.cpu_period), (256, 50_000, 100_000));
        assert_eq!((r.memory_limit_in_bytes, r.oom_score_adj), (8 << 30, 750));
        assert_eq!(pod_cgroup(&p).memory_limit_in_bytes, 8 << 30);
    }
}
