//! resources.tsv: what is served, from upstream's discovery documents and table columns.
//!
//! Records: `G group version` in discovery order, then for each resource `R plural kind singular scope hash verbs
//! shortNames categories`, its subresources `S name group version kind verbs` and its columns `C name type format priority`.

use std::fmt::Write;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{joined, text};

pub fn render(discovery: &Value, columns: &Value) -> Result<String> {
    let mut out = String::new();
    for root in ["/api", "/apis"] {
        let groups = discovery["aggregated"][root]["items"]
            .as_array()
            .context("no groups in discovery")?;
        for group in groups {
            let name = group["metadata"]["name"].as_str().unwrap_or_default();
            for version in group["versions"].as_array().into_iter().flatten() {
                let version_name = text(version, "version");
                let version_name = if version_name.is_empty() {
                    "v1"
                } else {
                    version_name
                };
                let path = if name.is_empty() {
                    "/api/v1".to_owned()
                } else {
                    format!("/apis/{name}/{version_name}")
                };
                writeln!(out, "G\t{name}\t{version_name}")?;
                let served = version["resources"].as_array().into_iter().flatten();
                for resource in served {
                    resource_lines(&mut out, resource, &discovery["legacy"][&path], &path, columns)?;
                }
            }
        }
    }
    Ok(out)
}

fn resource_lines(
    out: &mut String,
    resource: &Value,
    legacy: &Value,
    path: &str,
    columns: &Value,
) -> Result<()> {
    let plural = text(resource, "resource");
    let legacy = legacy["resources"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|r| r["name"] == plural);
    let hash = legacy.map_or("", |l| text(l, "storageVersionHash"));
    let fields = [
        plural,
        text(&resource["responseKind"], "kind"),
        text(resource, "singularResource"),
        text(resource, "scope"),
        hash,
        &joined(&resource["verbs"]),
        &joined(&resource["shortNames"]),
        &joined(&resource["categories"]),
    ];
    writeln!(out, "R\t{}", fields.join("\t"))?;
    for sub in resource["subresources"].as_array().into_iter().flatten() {
        let kind = &sub["responseKind"];
        let fields = [
            text(sub, "subresource"),
            text(kind, "group"),
            text(kind, "version"),
            text(kind, "kind"),
            &joined(&sub["verbs"]),
        ];
        writeln!(out, "S\t{}", fields.join("\t"))?;
    }
    for column in columns[format!("{path}/{plural}")]
        .as_array()
        .into_iter()
        .flatten()
    {
        let (name, kind, format) = (text(column, "name"), text(column, "type"), text(column, "format"));
        writeln!(out, "C\t{name}\t{kind}\t{format}\t{}", column["priority"])?;
    }
    Ok(())
}
