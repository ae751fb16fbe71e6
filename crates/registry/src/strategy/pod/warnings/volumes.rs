//! Volumes: kinds that are gone, files that are written over one another.

use corten_meta::quote;
use serde_json::Value;

use super::super::super::rules::At;
use super::{Warnings, fractional};

/// `(field, as the path shows it, what to say of it)`; gitRepo as it is with its driver off, the default.
const PLUGINS: [(&str, &str, &str); 9] = [
    (
        "photonPersistentDisk",
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    (
        "scaleIO",
        "scaleIO",
        "deprecated in v1.16, non-functional in v1.22+",
    ),
    (
        "flocker",
        "flocker",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "storageos",
        "storageOS",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "quobyte",
        "quobyte",
        "deprecated in v1.22, non-functional in v1.25+",
    ),
    (
        "glusterfs",
        "glusterfs",
        "deprecated in v1.25, non-functional in v1.26+",
    ),
    (
        "cephfs",
        "cephfs",
        "deprecated in v1.28, non-functional in v1.31+",
    ),
    ("rbd", "rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(super) fn plugins(spec: &At<'_, '_>) -> Warnings {
    let mut warnings = Warnings::new();
    for volume in spec.get("volumes").items() {
        warnings.extend(PLUGINS.iter().filter_map(|(field, ..)| plugin(&volume, field)));
        let ephemeral = volume.get("ephemeral");
        let template = ephemeral.get("volumeClaimTemplate");
        warnings.extend(claim_spec(&template.get("spec")));
    }
    warnings
}

/// What is said of a source of volumes that is gone, where `volume` (or a PersistentVolume's spec) has it.
pub(in crate::strategy) fn plugin(volume: &At<'_, '_>, field: &str) -> Option<String> {
    let (_, shown, message) = PLUGINS.iter().find(|(known, ..)| *known == field)?;
    let is_used = volume.get(field).is_set();
    is_used.then(|| format!("{}: {message}", volume.get(shown).path()))
}

/// `GetWarningsForPersistentVolumeClaimSpec`.
pub(in crate::strategy) fn claim_spec(spec: &At<'_, '_>) -> Warnings {
    let resources = spec.get("resources");
    ["requests", "limits"]
        .iter()
        .filter_map(|list| fractional(&resources.get(list), "storage"))
        .collect()
}

/// A file in a volume, and in a projected volume where it comes from.
struct File {
    path: String,
    source: String,
}

impl File {
    fn new(path: &str, source: &str) -> Self {
        Self {
            path: path.trim_end_matches('/').to_owned(),
            source: source.to_owned(),
        }
    }

    fn shown(&self) -> String {
        match self.source.is_empty() {
            true => quote(&self.path),
            false => format!("{} ({})", quote(&self.path), self.source),
        }
    }

    /// The same file, or a directory above it.
    fn holds(&self, other: &Self) -> bool {
        let rest = other.path.strip_prefix(&self.path);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    fn overlaps(&self, other: &Self) -> bool {
        !self.path.is_empty() && !other.path.is_empty() && (self.holds(other) || other.holds(self))
    }
}

/// `warningsForOverlappingVirtualPaths`. Its messages name the volume and have no path.
pub(super) fn overlaps(spec: &At<'_, '_>) -> Warnings {
    let mut warnings = Warnings::new();
    for volume in spec.get("volumes").items() {
        let name = volume.get("name").str();
        let (map, secret) = (&volume.value["configMap"], &volume.value["secret"]);
        let sources = [
            (map, format!("ConfigMap {}", quote(text(map, "name")))),
            (secret, format!("Secret {}", quote(text(secret, "secretName")))),
            (&volume.value["downwardAPI"], "DownwardAPI".to_owned()),
        ];
        for (source, what) in sources {
            let mut seen = Vec::new();
            add(items(source, ""), &mut seen, name, &what, &mut warnings);
        }
        projected(name, &volume.value["projected"], &mut warnings);
    }
    warnings
}

fn projected(name: &str, volume: &Value, warnings: &mut Warnings) {
    let mut seen = Vec::new();
    for source in volume["sources"].as_array().into_iter().flatten() {
        let is_empty = source
            .as_object()
            .is_none_or(|fields| fields.values().all(Value::is_null));
        if is_empty {
            let quoted = quote(name);
            warnings.push(format!("volume {quoted} (Projected) has no sources provided"));
        } else {
            add(files(source), &mut seen, name, "Projected", warnings);
        }
    }
}

fn add(files: Vec<File>, seen: &mut Vec<File>, volume: &str, what: &str, warnings: &mut Warnings) {
    for file in files {
        for other in seen.iter().filter(|other| file.overlaps(other)) {
            warnings.push(format!(
                "volume {} ({what}): overlapping paths: {} with {}",
                quote(volume),
                file.shown(),
                other.shown()
            ));
        }
        seen.push(file);
    }
}

/// What one source of a projected volume writes.
fn files(source: &Value) -> Vec<File> {
    let named = |kind: &str, own: &Value| format!("{kind} {}", quote(text(own, "name")));
    let (map, secret) = (&source["configMap"], &source["secret"]);
    let (token, bundle) = (&source["serviceAccountToken"], &source["clusterTrustBundle"]);
    if !map["items"].is_null() {
        items(map, &named("ConfigMap", map))
    } else if !secret["items"].is_null() {
        items(secret, &named("Secret", secret))
    } else if !source["downwardAPI"]["items"].is_null() {
        items(&source["downwardAPI"], "DownwardAPI")
    } else if !token.is_null() {
        vec![File::new(text(token, "path"), "ServiceAccountToken")]
    } else if !bundle.is_null() {
        let name = bundle["name"].as_str().unwrap_or(text(bundle, "signerName"));
        let shown = format!("ClusterTrustBundle {}", quote(name));
        vec![File::new(text(bundle, "path"), &shown)]
    } else {
        certificate(&source["podCertificate"])
    }
}

fn certificate(source: &Value) -> Vec<File> {
    [
        ("certificateChainPath", "PodCertificate chain"),
        ("keyPath", "PodCertificate key"),
        ("credentialBundlePath", "PodCertificate credential bundle"),
    ]
    .iter()
    .map(|(field, shown)| (text(source, field), shown))
    .filter(|(path, _)| !path.is_empty())
    .map(|(path, shown)| File::new(path, shown))
    .collect()
}

fn items(source: &Value, shown: &str) -> Vec<File> {
    let items = source["items"].as_array().into_iter().flatten();
    items.map(|item| File::new(text(item, "path"), shown)).collect()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}
