//! Table rows as upstream's printers compute them (`pkg/printers/internalversion`). All columns, the wide ones too: clients
//! choose by priority.

mod admission;
mod apps;
mod core;
mod networking;
mod node;
mod pod;
mod policy;
mod storage;
mod view;

use corten_meta::time::Timestamp;
use serde_json::{Value, json};

use crate::resources::{Column, Resource};
use view::View;
pub use view::human_duration;

/// Cells in column order.
type Cells = Vec<Value>;

static DEFAULT_COLUMNS: [Column; 2] = [
    Column {
        name: "Name",
        kind: "string",
        format: "name",
        priority: 0,
    },
    Column {
        name: "Created At",
        kind: "date",
        format: "",
        priority: 0,
    },
];

/// The columns of a resource; name and creation time where it declares none (custom resources bring their own).
pub fn columns(resource: &Resource) -> &'static [Column] {
    if resource.columns.is_empty() {
        &DEFAULT_COLUMNS
    } else {
        resource.columns
    }
}

/// What a column of the kind's table shows, in our own words.
pub fn describe(kind: &str, column: &str) -> &'static str {
    crate::descriptions::column(kind, column)
}

/// The row of an object, cells in column order. `now` gives ages.
pub fn cells(resource: &Resource, object: &Value, now: Timestamp) -> Cells {
    let view = View::new(object, now);
    printer(resource.group, resource.kind).map_or_else(|| view.name_and_creation(), |print| print(&view))
}

/// The row's conditions: pods that have ended carry one.
pub fn conditions(resource: &Resource, object: &Value) -> Option<Value> {
    if (resource.group, resource.kind) != ("", "Pod") {
        return None;
    }
    let (reason, message) = match object["status"]["phase"].as_str()? {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

type Printer = fn(&View<'_>) -> Cells;

fn printer(group: &str, kind: &str) -> Option<Printer> {
    Some(match group {
        "" => core::printer(kind)?,
        "apps" | "batch" | "autoscaling" => apps::printer(kind)?,
        "networking.k8s.io" | "discovery.k8s.io" => networking::printer(kind)?,
        "storage.k8s.io" | "resource.k8s.io" => storage::printer(kind)?,
        "admissionregistration.k8s.io" | "apiregistration.k8s.io" => admission::printer(kind)?,
        "events.k8s.io" => core::event_series,
        _ => policy::printer(kind)?,
    })
}

/// The cells of a Scale: what `kubectl get --subresource=scale` shows.
pub fn scale_cells(object: &Value, now: Timestamp) -> Cells {
    let view = View::new(object, now);
    vec![
        view.name(),
        view.int("/spec/replicas"),
        view.int("/status/replicas"),
        view.age(),
    ]
}

/// The columns that go with `scale_cells`; those of custom kinds say more about the form of their cells.
pub fn scale_columns(of_custom_kind: bool) -> [Column; 4] {
    let column = |name, kind, format| Column {
        name,
        kind,
        format,
        priority: 0,
    };
    let (name_format, age_kind) = match of_custom_kind {
        true => ("name", "date"),
        false => ("", "string"),
    };
    [
        column("Name", "string", name_format),
        column("Desired", "integer", ""),
        column("Available", "integer", ""),
        column("Age", age_kind, ""),
    ]
}

#[cfg(test)]
mod tests;
