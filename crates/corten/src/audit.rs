//! From the flags of the audit log to its options.

use crate::cli::AuditArgs;
use anyhow::Context;
use corten_apiserver::audit::{AuditOptions, LogOptions, Policy, WebhookOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Reads the policy. Paths are made absolute, because a detached server leaves its directory. `None`: nothing is audited.
pub(crate) fn options(args: &AuditArgs) -> anyhow::Result<Option<AuditOptions>> {
    let Some(file) = &args.audit_policy_file else {
        return Ok(None);
    };
    let named = || format!("--audit-policy-file {}", file.display());
    let text = std::fs::read(file).with_context(named)?;
    let policy = Policy::parse(&text).with_context(named)?;
    let log = args.audit_log_path.as_deref().map(|path| {
        anyhow::Ok(LogOptions {
            path: absolute(path)?,
            max_size_bytes: args.audit_log_maxsize << 20,
            max_age: DAY * args.audit_log_maxage,
            max_backups: args.audit_log_maxbackup,
        })
    });
    let webhook = args.audit_webhook_config_file.as_deref().map(absolute);
    Ok(Some(AuditOptions {
        policy,
        log: log.transpose()?,
        webhook: webhook.transpose()?.map(WebhookOptions::new),
    }))
}

/// Standard output stays what it is.
fn absolute(path: &Path) -> anyhow::Result<PathBuf> {
    if path == Path::new("-") {
        return Ok(path.to_owned());
    }
    std::path::absolute(path).with_context(|| format!("finding {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser as _;

    fn read(args: &[&str]) -> anyhow::Result<Option<AuditOptions>> {
        let cli = Cli::try_parse_from(["corten", "up"].iter().chain(args))?;
        let Command::Up(up) = cli.command else {
            unreachable!()
        };
        options(&up.audit)
    }

    #[test]
    fn flags_become_options() {
        assert!(read(&[]).unwrap().is_none());
        assert!(read(&["--audit-log-path", "x"]).is_err());
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy.yaml");
        let policy = file.to_str().unwrap();
        std::fs::write(
            &file,
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]",
        )
        .unwrap();
        let args = [
            "--audit-policy-file",
            policy,
            "--audit-log-path",
            "a.log",
            "--audit-log-maxsize",
            "2",
        ];
        let log = read(&args).unwrap().unwrap().log.unwrap();
        assert!(log.path.is_absolute() && log.max_size_bytes == 2 << 20);
        std::fs::write(&file, "kind: Policy").unwrap();
        assert!(format!("{:#}", read(&args).unwrap_err()).contains("unknown group version"));
    }
}
