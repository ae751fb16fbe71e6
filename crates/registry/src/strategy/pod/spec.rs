//! `ValidatePodSpec`: a pod's spec, and a template's.

use corten_meta::names;

use super::super::rules::{
    At, ErrorList, dns_label, dns_subdomain, ip_legacy, is_subdomain_with_underscore, qualified,
};
use super::{affinity, containers, resources, scheduling, security, volumes, windows};

/// What the rules depend on besides the spec.
#[derive(Clone, Copy, Debug)]
pub(in crate::strategy) struct Context<'a> {
    /// A pod itself, not a template.
    pub(in crate::strategy) is_pod: bool,
    /// The pod's name; empty for templates.
    pub(in crate::strategy) name: &'a str,
    /// The pod mirrors a static pod.
    pub(in crate::strategy) is_mirror: bool,
}

impl Context<'_> {
    pub(in crate::strategy) const TEMPLATE: Self = Self {
        is_pod: false,
        name: "",
        is_mirror: false,
    };
}

/// What containers are checked against.
pub(super) struct Scope<'v> {
    /// Volumes without errors, by name.
    pub(super) volumes: Vec<(&'v str, &'v serde_json::Value)>,
    /// Names of `spec.resourceClaims`.
    pub(super) claims: Vec<&'v str>,
    pub(super) grace_period: Option<i64>,
    pub(super) restart_policy: &'v str,
    pub(super) os: &'v str,
    pub(super) has_os: bool,
    pub(super) host_users: bool,
}

pub(in crate::strategy) fn validate(spec: &At<'_, '_>, context: Context<'_>, errors: &mut ErrorList) {
    let grace_period = spec.get("terminationGracePeriodSeconds");
    if !grace_period.is_set() {
        grace_period.required(errors, "");
    }
    let scope = Scope {
        volumes: volumes::validate(&spec.get("volumes"), context, errors),
        claims: resources::claim_names(&spec.get("resourceClaims")),
        grace_period: grace_period.int(),
        restart_policy: spec.get("restartPolicy").str(),
        os: spec.get("os").get("name").str(),
        has_os: spec.get("os").is_set(),
        host_users: spec.get("hostUsers").value != &serde_json::Value::Bool(false),
    };
    resources::validate_claims(&spec.get("resourceClaims"), context, errors);
    containers::validate_all(spec, &scope, errors);
    resources::validate_pod(spec, &scope, errors);
    host_network_ports(spec, context, errors);
    policies(spec, errors);
    super::super::rules::label_map(&spec.get("nodeSelector"), errors);
    security::validate_pod(spec, errors);
    affinity::validate(&spec.get("affinity"), errors);
    dns_config(spec, errors);
    for gate in spec.get("readinessGates").items() {
        qualified(&gate.get("conditionType"), errors);
    }
    scheduling::gates(&spec.get("schedulingGates"), errors);
    scheduling::spread(&spec.get("topologySpreadConstraints"), errors);
    windows::host_process(spec, errors);
    host_users(spec, &scope, errors);
    host_name_override(spec, errors);
    name_fields(spec, errors);
    rest(spec, &scope, errors);
}

fn policies(spec: &At<'_, '_>, errors: &mut ErrorList) {
    spec.get("restartPolicy")
        .one_of(errors, &["Always", "OnFailure", "Never"]);
    spec.get("dnsPolicy").one_of(
        errors,
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
    );
}

/// With the host's network a container's port is the host's.
fn host_network_ports(spec: &At<'_, '_>, context: Context<'_>, errors: &mut ErrorList) {
    if !spec.get("hostNetwork").bool() {
        return;
    }
    for container in spec.get("containers").items() {
        for port in container.get("ports").items() {
            let host = port.get("hostPort").int().unwrap_or(0);
            let own = port.get("containerPort").int().unwrap_or(0);
            if (context.is_pod || host != 0) && host != own {
                let detail = "must match `containerPort` when `hostNetwork` is true";
                port.get("hostPort").invalid_as(errors, host, detail);
            }
        }
    }
}

fn dns_config(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let config = spec.get("dnsConfig");
    let (nameservers, searches) = (config.get("nameservers"), config.get("searches"));
    if spec.get("dnsPolicy").str() == "None" {
        if !config.is_set() {
            return config.required(errors, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        if nameservers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return nameservers.required(errors, detail);
        }
    }
    if nameservers.len() > 3 {
        nameservers.invalid(errors, "must not have more than 3 nameservers");
    }
    for nameserver in nameservers.items() {
        ip_legacy(&nameserver, &[], errors);
    }
    if searches.len() > 32 {
        searches.invalid(errors, "must not have more than 32 search paths");
    }
    let characters: usize = searches.items().map(|search| search.len() + 1).sum();
    if characters > 2048 + 1 {
        searches.invalid(
            errors,
            "must not have more than 2048 characters (including spaces) in the search list",
        );
    }
    for search in searches.items().filter(|search| search.str() != ".") {
        let name = search.str().strip_suffix('.').unwrap_or(search.str());
        for message in is_subdomain_with_underscore(name) {
            search.invalid_as(errors, name, &message);
        }
    }
    for option in config.get("options").items() {
        if option.get("name").is_empty() {
            option.required(errors, "must not be empty");
        }
    }
}

fn host_users(spec: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    if scope.host_users {
        return;
    }
    for (set, shown) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if spec.get(set).bool() {
            spec.get(shown).forbidden(errors, "when `hostUsers` is false");
        }
    }
    containers::each(spec, &mut |container| {
        let devices = container.get("volumeDevices");
        if !devices.is_empty() {
            devices.forbidden(errors, "when `hostUsers` is false");
        }
    });
}

fn host_name_override(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let name = spec.get("hostnameOverride");
    if !name.is_set() {
        return;
    }
    if spec.get("setHostnameAsFQDN").bool() {
        name.forbidden(errors, "may not be specified when setHostnameAsFQDN is true");
    }
    if spec.get("hostNetwork").bool() {
        name.forbidden(errors, "may not be specified when hostNetwork is true");
    }
    if name.len() > 64 {
        name.too_long(errors, 64);
    }
    dns_subdomain(&name, errors);
}

fn name_fields(spec: &At<'_, '_>, errors: &mut ErrorList) {
    for field in ["serviceAccountName", "nodeName"] {
        if !spec.get(field).is_empty() {
            dns_subdomain(&spec.get(field), errors);
        }
    }
    spec.get("activeDeadlineSeconds")
        .within(errors, 1, i64::from(i32::MAX));
    for field in ["hostname", "subdomain"] {
        if !spec.get(field).is_empty() {
            dns_label(&spec.get(field), errors);
        }
    }
    scheduling::tolerations(&spec.get("tolerations"), errors);
    for alias in spec.get("hostAliases").items() {
        ip_legacy(&alias.get("ip"), &[], errors);
        for name in alias.get("hostnames").items() {
            dns_subdomain(&name, errors);
        }
    }
    if !spec.get("priorityClassName").is_empty() {
        dns_subdomain(&spec.get("priorityClassName"), errors);
    }
    if spec.get("runtimeClassName").is_set() {
        dns_subdomain(&spec.get("runtimeClassName"), errors);
    }
    let preemption = spec.get("preemptionPolicy");
    if preemption.is_set() {
        preemption.one_of(errors, &["PreemptLowerPriority", "Never"]);
    }
}

fn rest(spec: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let overhead = spec.get("overhead");
    if overhead.is_set() {
        resources::overhead(&overhead, errors);
    }
    let os = spec.get("os");
    match scope.os {
        _ if !scope.has_os => {}
        "" => os.get("name").required(errors, ""),
        "linux" => windows::validate_linux(spec, errors),
        "windows" => windows::validate_windows(spec, errors),
        name => {
            let error = corten_meta::field::Error::not_supported(&os.path(), name, &["linux", "windows"]);
            errors.push(error);
        }
    }
    let group = spec.get("schedulingGroup");
    if group.is_set() {
        let name = group.get("podGroupName");
        match name.is_set() {
            true => name.invalid_each(errors, names::name_is_dns_subdomain(name.str(), false)),
            false => name.invalid(errors, "must specify one of: `podGroupName`"),
        }
    }
    file_key_volumes(spec, errors);
}

/// Files that give environment variables are in emptyDir volumes.
fn file_key_volumes(spec: &At<'_, '_>, errors: &mut ErrorList) {
    let volumes = spec.get("volumes");
    containers::each(spec, &mut |container| {
        for env in container.get("env").items() {
            let source = env.get("valueFrom");
            let reference = source.get("fileKeyRef");
            if !reference.is_set() {
                continue;
            }
            let name = reference.get("volumeName");
            let found = volumes
                .items()
                .filter(|volume| volume.get("name").str() == name.str())
                .last();
            match found.map(|volume| volume.get("emptyDir").is_set()) {
                None => name.not_found(errors),
                Some(false) => name.invalid(errors, "referenced volume must be of type emptyDir"),
                Some(true) => {}
            }
        }
    });
}
