//! Probes and lifecycle hooks.

use corten_meta::names;

use super::super::rules::{At, ErrorList, port_number, port_number_or_name};
use super::spec::Scope;

const ONE_HANDLER: &str = "may not specify more than 1 handler type";

const LINUX_SIGNALS: &[&str] = &[
    "SIGABRT",
    "SIGALRM",
    "SIGBUS",
    "SIGCHLD",
    "SIGCLD",
    "SIGCONT",
    "SIGFPE",
    "SIGHUP",
    "SIGILL",
    "SIGINT",
    "SIGIO",
    "SIGIOT",
    "SIGKILL",
    "SIGPIPE",
    "SIGPOLL",
    "SIGPROF",
    "SIGPWR",
    "SIGQUIT",
    "SIGRTMAX",
    "SIGRTMAX-1",
    "SIGRTMAX-10",
    "SIGRTMAX-11",
    "SIGRTMAX-12",
    "SIGRTMAX-13",
    "SIGRTMAX-14",
    "SIGRTMAX-2",
    "SIGRTMAX-3",
    "SIGRTMAX-4",
    "SIGRTMAX-5",
    "SIGRTMAX-6",
    "SIGRTMAX-7",
    "SIGRTMAX-8",
    "SIGRTMAX-9",
    "SIGRTMIN",
    "SIGRTMIN+1",
    "SIGRTMIN+10",
    "SIGRTMIN+11",
    "SIGRTMIN+12",
    "SIGRTMIN+13",
    "SIGRTMIN+14",
    "SIGRTMIN+15",
    "SIGRTMIN+2",
    "SIGRTMIN+3",
    "SIGRTMIN+4",
    "SIGRTMIN+5",
    "SIGRTMIN+6",
    "SIGRTMIN+7",
    "SIGRTMIN+8",
    "SIGRTMIN+9",
    "SIGSEGV",
    "SIGSTKFLT",
    "SIGSTOP",
    "SIGSYS",
    "SIGTERM",
    "SIGTRAP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGUSR1",
    "SIGUSR2",
    "SIGVTALRM",
    "SIGWINCH",
    "SIGXCPU",
    "SIGXFSZ",
];

pub(super) fn validate_all(container: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(kind);
        if !probe.is_set() {
            continue;
        }
        validate(&probe, scope, errors);
        let grace = probe.get("terminationGracePeriodSeconds");
        if kind == "readinessProbe" {
            if grace.is_set() {
                grace.invalid(errors, "must not be set for readinessProbes");
            }
            continue;
        }
        let successes = probe.get("successThreshold").int().unwrap_or(0);
        if successes != 1 {
            probe
                .get("successThreshold")
                .invalid_as(errors, successes, "must be 1");
        }
    }
}

fn validate(probe: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], scope, errors);
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        probe.get(field).nonnegative(errors);
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        grace.invalid(errors, "must be greater than 0");
    }
}

pub(super) fn lifecycle(lifecycle: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    for hook in ["postStart", "preStop"] {
        if lifecycle.get(hook).is_set() {
            handler(
                &lifecycle.get(hook),
                &["exec", "httpGet", "tcpSocket", "sleep"],
                scope,
                errors,
            );
        }
    }
    let signal = lifecycle.get("stopSignal");
    match scope.os {
        _ if !signal.is_set() => {}
        _ if !scope.has_os => {
            signal.forbidden(errors, "may not be set for containers with empty `spec.os.name`");
        }
        "windows" => signal.one_of_if_set(errors, &["SIGKILL", "SIGTERM"]),
        "linux" => signal.one_of_if_set(errors, LINUX_SIGNALS),
        _ => {}
    }
}

fn handler(at: &At<'_, '_>, kinds: &[&str], scope: &Scope<'_>, errors: &mut ErrorList) {
    let mut handlers = 0;
    for kind in kinds {
        let action = at.get(kind);
        if !action.is_set() {
            continue;
        }
        handlers += 1;
        match *kind {
            _ if handlers > 1 => action.forbidden(errors, ONE_HANDLER),
            "exec" => action.get("command").nonempty(errors),
            "httpGet" => http_get(&action, errors),
            "tcpSocket" => port_number_or_name(&action.get("port"), errors),
            "grpc" => port_number(&action.get("port"), errors),
            _ => sleep(&action, scope, errors),
        }
    }
    if handlers == 0 {
        at.required(errors, "must specify a handler type");
    }
}

fn http_get(action: &At<'_, '_>, errors: &mut ErrorList) {
    action.get("path").nonempty(errors);
    port_number_or_name(&action.get("port"), errors);
    let scheme = action.get("scheme");
    if !["HTTP", "HTTPS"].contains(&scheme.str()) {
        scheme.not_supported(errors, &["HTTP", "HTTPS"]);
    }
    let headers = action.get("httpHeaders");
    for header in headers.items() {
        let name = header.get("name").str();
        for message in names::is_http_header_name(name) {
            headers.invalid_as(errors, name, &message);
        }
    }
}

fn sleep(action: &At<'_, '_>, scope: &Scope<'_>, errors: &mut ErrorList) {
    let seconds = action.get("seconds").int().unwrap_or(0);
    if let Some(grace) = scope.grace_period.filter(|grace| seconds < 0 || seconds > *grace) {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
        action.invalid_as(errors, seconds, &detail);
    }
}
