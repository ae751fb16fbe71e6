//! What is switched on beyond upstream's defaults: `--feature-gates` and `--runtime-config`, in upstream's spelling and
//! words, as far as there is something to switch.

use crate::cli::FeatureArgs;
use anyhow::bail;
use corten_apiserver::Features;
use corten_schema::resources::{self, Selection, ServedVersion};
use std::collections::BTreeMap;

const MIGRATOR: &str = "StorageVersionMigrator";
/// What the gate MIGRATOR holds shut.
const MIGRATION: &str = "storagemigration.k8s.io";
/// Keys of `--runtime-config` that stand for many versions, in the order in which they apply.
const GROUPS: [&str; 4] = ["api/all", "api/ga", "api/beta", "api/alpha"];

/// Reads the flags.
pub(crate) fn of(args: &FeatureArgs) -> anyhow::Result<Features> {
    let migrator = gates(&args.feature_gates)?;
    let selection = selection(&args.runtime_config)?;
    let wanted = selection.serves(MIGRATION, "v1beta1");
    if wanted && !migrator {
        tracing::warn!(
            "{MIGRATION}/v1beta1 is not served: the feature gate {MIGRATOR} is off; switch it on with --feature-gates {MIGRATOR}=true"
        );
    }
    if migrator && !wanted {
        tracing::warn!(
            "the feature gate {MIGRATOR} does nothing here: its API is off; switch it on with --runtime-config {MIGRATION}/v1beta1=true"
        );
    }
    Ok(Features {
        selection: Selection::of(|v| {
            selection.serves(v.group, v.version) && (v.group != MIGRATION || migrator)
        }),
        storage_version_migrator: migrator,
    })
}

/// Whether the controllers are to migrate: where they work for the API server of this process, what it does not serve
/// cannot be asked for.
pub(crate) fn migrates(features: &Features) -> bool {
    features.storage_version_migrator && features.selection.serves(MIGRATION, "v1beta1")
}

/// The one gate there is.
pub(crate) fn gates(flags: &[String]) -> anyhow::Result<bool> {
    let mut migrator = false;
    for pair in pairs(flags) {
        let Some((name, value)) = pair.split_once('=') else {
            bail!("--feature-gates: missing bool value for {}", pair.trim());
        };
        let (name, value) = (name.trim(), value.trim());
        let Some(on) = parse_bool(value) else {
            bail!(
                "--feature-gates: invalid value of {name}={value}, err: {}",
                no_bool(value)
            );
        };
        if name != MIGRATOR {
            bail!(
                "--feature-gates: unrecognized feature gate: {name}. There is {MIGRATOR}=true|false (BETA - default=false)"
            );
        }
        migrator = on;
    }
    Ok(migrator)
}

fn selection(flags: &[String]) -> anyhow::Result<Selection> {
    let pairs = pairs(flags).map(|pair| match pair.split_once('=') {
        Some((key, value)) => (key.trim(), value.trim()),
        None => (pair.trim(), ""),
    });
    let overrides: BTreeMap<&str, &str> = pairs.collect();
    known_groups(&overrides)?;
    let mut on: Vec<(ServedVersion, bool)> = Vec::new();
    for key in GROUPS {
        let Some(value) = overrides.get(key) else { continue };
        let wanted = match *value {
            "true" => true,
            "false" => false,
            value => bail!("--runtime-config: invalid value {key}={value}"),
        };
        let is_beta = matches!(key, "api/all" | "api/beta");
        if !wanted && matches!(key, "api/all" | "api/ga") {
            bail!("--runtime-config: {key}=false: what upstream serves by default is always served");
        }
        on.extend(
            resources::optional_versions()
                .iter()
                .filter(|_| is_beta)
                .map(|v| (*v, wanted)),
        );
    }
    for (key, value) in overrides.iter().filter(|(key, _)| !GROUPS.contains(key)) {
        let wanted = match (*value, parse_bool(value)) {
            ("", _) => true,
            (_, Some(wanted)) => wanted,
            _ => bail!(
                "--runtime-config: invalid value of {key}: {value}, err: {}",
                no_bool(value)
            ),
        };
        on.extend(version_of(key, wanted)?.map(|version| (version, wanted)));
    }
    Ok(Selection::of(|v| {
        on.iter().rfind(|(of, _)| of == v).is_some_and(|(_, on)| *on)
    }))
}

/// Keys name groups that exist.
fn known_groups(overrides: &BTreeMap<&str, &str>) -> anyhow::Result<()> {
    let mut unknown = Vec::new();
    for key in overrides.keys().filter(|key| !GROUPS.contains(key)) {
        let parts: Vec<&str> = key.split('/').collect();
        let (2 | 3, [group, version, ..]) = (parts.len(), &parts[..]) else {
            bail!("--runtime-config: runtime-config invalid key {key}");
        };
        if !built_in().any(|v| v.group == *group) {
            unknown.push(format!("{group}/{version}"));
        }
    }
    if !unknown.is_empty() {
        bail!(
            "--runtime-config: unknown api groups {}. {}",
            unknown.join(","),
            can_be_switched()
        );
    }
    Ok(())
}

/// The version a key switches; none where it is served anyway.
fn version_of(key: &str, wanted: bool) -> anyhow::Result<Option<ServedVersion>> {
    let parts: Vec<&str> = key.split('/').collect();
    let (group, version) = (parts[0], parts[1]);
    let Some(found) = built_in().find(|v| (v.group, v.version) == (group, version)) else {
        bail!(
            "--runtime-config: group version {group}/{version} that has not been registered. {}",
            can_be_switched()
        );
    };
    if let Some(resource) = parts.get(2) {
        if resource.to_lowercase() != *resource {
            bail!(
                "--runtime-config: invalid key {key}: group/version/resource and resource is always lowercase plural, not {resource:?}"
            );
        }
        if resources::lookup(group, version, resource).is_none() {
            return Ok(None);
        }
    }
    let optional = resources::optional_versions().contains(found);
    if !optional && !wanted {
        bail!("--runtime-config: {key}=false: what upstream serves by default is always served");
    }
    Ok(optional.then_some(*found))
}

fn built_in() -> impl Iterator<Item = &'static ServedVersion> {
    resources::versions().iter().chain(resources::optional_versions())
}

fn can_be_switched() -> String {
    let all = resources::optional_versions().iter();
    let all: Vec<String> = all.map(|v| format!("{}/{}", v.group, v.version)).collect();
    format!("What can be switched is {}", all.join(", "))
}

fn pairs(flags: &[String]) -> impl Iterator<Item = &str> {
    flags
        .iter()
        .flat_map(|flag| flag.split(','))
        .filter(|pair| !pair.trim().is_empty())
}

/// Go's `strconv.ParseBool`.
fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

fn no_bool(text: &str) -> String {
    format!("strconv.ParseBool: parsing {text:?}: invalid syntax")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(gates: &str, config: &str) -> anyhow::Result<Features> {
        of(&FeatureArgs {
            feature_gates: vec![gates.to_owned()],
            runtime_config: vec![config.to_owned()],
        })
    }

    #[test]
    fn the_api_needs_both() {
        let served = |gates: &str, config: &str| read(gates, config).is_ok_and(|f| migrates(&f));
        let (gate, api) = (
            "StorageVersionMigrator=true",
            "storagemigration.k8s.io/v1beta1=true",
        );
        assert!(served(gate, api) && served(gate, "api/all=true") && served(gate, "api/beta=true"));
        assert!(served(
            gate,
            "storagemigration.k8s.io/v1beta1/storageversionmigrations"
        ));
        assert!(served(gate, "apps/v1=true, storagemigration.k8s.io/v1beta1"));
        for (gates, config) in [
            ("", ""),
            (gate, ""),
            ("", api),
            ("StorageVersionMigrator=f", api),
            (gate, "api/all=true,storagemigration.k8s.io/v1beta1=false"),
            (gate, "api/all=true,api/beta=false"),
        ] {
            assert!(
                read(gates, config).is_ok() && !served(gates, config),
                "{gates} {config}"
            );
        }
        assert!(read(gate, "").is_ok_and(|f| f.storage_version_migrator && f.selection.is_default()));
    }

    #[test]
    fn what_there_is_not_is_said_in_upstream_s_words() {
        let said = |gates: &str, config: &str| {
            read(gates, config)
                .err()
                .map_or_else(String::new, |e| e.to_string())
        };
        for (gates, config, wanted) in [
            (
                "Foo=true",
                "",
                "unrecognized feature gate: Foo. There is StorageVersionMigrator=true|false",
            ),
            (
                "StorageVersionMigrator",
                "",
                "missing bool value for StorageVersionMigrator",
            ),
            (
                "StorageVersionMigrator=on",
                "",
                "invalid value of StorageVersionMigrator=on, err: strconv.ParseBool: parsing \"on\": invalid syntax",
            ),
            (
                "",
                "foo.io/v1=true",
                "unknown api groups foo.io/v1. What can be switched is storagemigration.k8s.io/v1beta1",
            ),
            (
                "",
                "apps/v2=true",
                "group version apps/v2 that has not been registered",
            ),
            ("", "v1=true", "runtime-config invalid key v1"),
            ("", "api/all=maybe", "invalid value api/all=maybe"),
            (
                "",
                "apps/v1=false",
                "apps/v1=false: what upstream serves by default is always served",
            ),
            (
                "",
                "apps/v1/Deployments=true",
                "resource is always lowercase plural, not \"Deployments\"",
            ),
        ] {
            let said = said(gates, config);
            assert!(said.contains(wanted), "{said}");
        }
    }
}
