//! podFailurePolicy and successPolicy.

use corten_client::object::MetaExt;
use corten_client::pod::{ContainerStatus, Pod};
use k8s_openapi::api::batch::v1::{JobSpec, PodFailurePolicy, PodFailurePolicyRule};

use super::indexes::Indexes;

/// What a rule makes of a failed pod.
#[derive(Debug, PartialEq, Eq)]
pub enum Ruling {
    Counts,
    Ignored,
    FailsIndex,
    /// With the message of the condition.
    FailsJob(String),
}

/// The first rule that matches decides.
#[must_use]
pub fn judge(policy: Option<&PodFailurePolicy>, pod: &Pod) -> Ruling {
    for (index, rule) in policy.into_iter().flat_map(|p| p.rules.iter()).enumerate() {
        let Some(what) = matched(rule, pod) else { continue };
        return match rule.action.as_str() {
            "Ignore" => Ruling::Ignored,
            "FailIndex" => Ruling::FailsIndex,
            "FailJob" => Ruling::FailsJob(format!("{what} matching FailJob rule at index {index}")),
            _ => Ruling::Counts,
        };
    }
    Ruling::Counts
}

fn matched(rule: &PodFailurePolicyRule, pod: &Pod) -> Option<String> {
    let (ns, name) = (pod.metadata.ns(), pod.metadata.name());
    let status = pod.status.as_ref()?;
    if let Some(codes) = &rule.on_exit_codes {
        let all = status
            .container_statuses
            .iter()
            .chain(&status.init_container_statuses)
            .flatten();
        let (container, code) = all
            .filter(|c| codes.container_name.as_ref().is_none_or(|n| *n == c.name))
            .filter_map(|c| Some((c, exit_code(c)?)))
            .find(|(_, code)| *code != 0 && codes.values.contains(code) == (codes.operator == "In"))?;
        return Some(format!(
            "Container {} for pod {ns}/{name} failed with exit code {code}",
            container.name
        ));
    }
    let patterns = rule.on_pod_conditions.iter().flatten();
    let conditions = status.conditions.iter().flatten();
    let found = conditions.into_iter().find(|c| {
        patterns
            .clone()
            .any(|p| p.type_ == c.type_ && p.status.as_deref().unwrap_or("True") == c.status)
    })?;
    Some(format!("Pod {ns}/{name} has condition {}", found.type_))
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    Some(status.state.as_ref()?.terminated.as_ref()?.exit_code)
}

/// The message of the condition when the success policy is met.
#[must_use]
pub fn success(spec: &JobSpec, succeeded: &Indexes) -> Option<String> {
    let rules = &spec.success_policy.as_ref()?.rules;
    for (index, rule) in rules.iter().enumerate() {
        let met = match &rule.succeeded_indexes {
            Some(text) => {
                let wanted = Indexes::parse(text, spec.completions.unwrap_or(0));
                let have = wanted.0.intersection(&succeeded.0).count();
                let needed = rule
                    .succeeded_count
                    .map_or(wanted.0.len(), |n| usize::try_from(n).unwrap_or(0));
                have >= needed
            }
            None => rule.succeeded_count.is_some_and(|n| succeeded.len() >= n),
        };
        if met {
            return Some(format!("Matched rules at index {index}"));
        }
    }
    None
}
