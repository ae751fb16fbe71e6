//! Facts about a pod that many places ask for: its names, its containers, its restart rules, its QoS class.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, EphemeralContainer, Pod, PodSpec};

/// What a container is to its pod. The order is the order in which upstream lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Init,
    Main,
    Ephemeral,
}

/// Accessors on [`Pod`] that never fail: a pod from the API always has a spec.
pub trait PodExt {
    fn uid(&self) -> &str;
    fn name(&self) -> &str;
    fn namespace(&self) -> &str;
    /// `name_namespace(uid)`, the form of upstream's messages.
    fn desc(&self) -> String;
    fn spec(&self) -> &PodSpec;
    fn inits(&self) -> &[Container];
    fn mains(&self) -> &[Container];
    fn ephemerals(&self) -> &[EphemeralContainer];
    fn host_network(&self) -> bool;
    fn is_deleting(&self) -> bool;
    fn phase(&self) -> &str;
    /// Init, main or ephemeral container of that name (an ephemeral one as a plain container).
    fn container(&self, name: &str) -> Option<(Kind, Container)>;
}

static EMPTY_SPEC: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);

impl PodExt for Pod {
    fn uid(&self) -> &str {
        self.metadata.uid.as_deref().unwrap_or_default()
    }
    fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }
    fn namespace(&self) -> &str {
        self.metadata.namespace.as_deref().unwrap_or_default()
    }
    fn desc(&self) -> String {
        format!("{}_{}({})", self.name(), self.namespace(), self.uid())
    }
    fn spec(&self) -> &PodSpec {
        self.spec.as_ref().unwrap_or(&EMPTY_SPEC)
    }
    fn inits(&self) -> &[Container] {
        self.spec().init_containers.as_deref().unwrap_or_default()
    }
    fn mains(&self) -> &[Container] {
        &self.spec().containers
    }
    fn ephemerals(&self) -> &[EphemeralContainer] {
        self.spec().ephemeral_containers.as_deref().unwrap_or_default()
    }
    fn host_network(&self) -> bool {
        self.spec().host_network.unwrap_or(false)
    }
    fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }
    fn phase(&self) -> &str {
        self.status
            .as_ref()
            .and_then(|s| s.phase.as_deref())
            .unwrap_or_default()
    }
    fn container(&self, name: &str) -> Option<(Kind, Container)> {
        let find = |list: &[Container]| list.iter().find(|c| c.name == name).cloned();
        find(self.mains())
            .map(|c| (Kind::Main, c))
            .or_else(|| find(self.inits()).map(|c| (Kind::Init, c)))
            .or_else(|| {
                let found = self.ephemerals().iter().find(|c| c.name == name)?;
                Some((Kind::Ephemeral, plain(found)))
            })
    }
}

/// An ephemeral container has all fields of a container but its target.
pub fn plain(c: &EphemeralContainer) -> Container {
    Container {
        args: c.args.clone(),
        command: c.command.clone(),
        env: c.env.clone(),
        env_from: c.env_from.clone(),
        image: c.image.clone(),
        image_pull_policy: c.image_pull_policy.clone(),
        name: c.name.clone(),
        resources: c.resources.clone(),
        security_context: c.security_context.clone(),
        stdin: c.stdin,
        stdin_once: c.stdin_once,
        termination_message_path: c.termination_message_path.clone(),
        termination_message_policy: c.termination_message_policy.clone(),
        tty: c.tty,
        volume_mounts: c.volume_mounts.clone(),
        working_dir: c.working_dir.clone(),
        ..Container::default()
    }
}

/// A sidecar: an init container that keeps running.
pub fn is_sidecar(c: &Container) -> bool {
    c.restart_policy.as_deref() == Some("Always")
}

pub fn restart_policy(spec: &PodSpec) -> &str {
    spec.restart_policy.as_deref().unwrap_or("Always")
}

/// Whether the pod restarts what fails (`Always` and `OnFailure`).
pub fn restarts_on_failure(spec: &PodSpec) -> bool {
    restart_policy(spec) != "Never"
}

/// Whether a container that ended with `exit_code` is to run again (KEP-5307: rules, then the container's own
/// policy, then the pod's).
pub fn should_restart(c: &Container, spec: &PodSpec, exit_code: i32) -> bool {
    if let Some(own) = c.restart_policy.as_deref() {
        if let Some(rule) = matching_rule(c, exit_code)
            && matches!(rule.action.as_str(), "Restart" | "RestartAllContainers")
        {
            return true;
        }
        match own {
            "Always" => return true,
            "OnFailure" => return exit_code != 0,
            "Never" => return false,
            _ => {}
        }
    }
    match restart_policy(spec) {
        "OnFailure" => exit_code != 0,
        "Never" => false,
        _ => true,
    }
}

/// The first rule that speaks about `exit_code`.
pub fn matching_rule(c: &Container, exit_code: i32) -> Option<&ContainerRestartRule> {
    c.restart_policy_rules.iter().flatten().find(|rule| {
        rule.exit_codes.as_ref().is_some_and(|codes| {
            let listed = codes.values.iter().flatten().any(|code| *code == exit_code);
            match codes.operator.as_str() {
                "In" => listed,
                "NotIn" => !listed,
                _ => false,
            }
        })
    })
}

/// FNV-1a, 32 bit: what upstream hashes containers with.
fn fnv32(bytes: &[u8]) -> u32 {
    bytes
        .iter()
        .fold(0x811c_9dc5, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193))
}

/// Changes when a change of the spec needs a new container: its name or image.
pub fn container_hash(c: &Container) -> String {
    let image = c.image.as_deref().unwrap_or_default();
    format!("{:x}", fnv32(format!("{}\0{image}", c.name).as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ContainerRestartRuleOnExitCodes;

    #[test]
    fn rules_come_before_policies() {
        let mut c = Container {
            restart_policy: Some("Never".into()),
            ..Container::default()
        };
        let spec = PodSpec::default();
        assert!(!should_restart(&c, &spec, 42));
        c.restart_policy_rules = Some(vec![ContainerRestartRule {
            action: "Restart".into(),
            exit_codes: Some(ContainerRestartRuleOnExitCodes {
                operator: "In".into(),
                values: Some(vec![42]),
            }),
        }]);
        assert!(should_restart(&c, &spec, 42));
        assert!(!should_restart(&c, &spec, 1));
        c.restart_policy = None;
        assert!(
            should_restart(&c, &spec, 0),
            "the pod's policy is Always when unset"
        );
    }
}
