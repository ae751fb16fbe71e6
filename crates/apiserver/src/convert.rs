//! The two resources that are served in more versions than they are stored in: HorizontalPodAutoscaler (autoscaling/v1,
//! stored as v2) and Event (events.k8s.io/v1, stored as v1). Rules: upstream's pkg/apis/{autoscaling/v1,events/v1} conversions.

mod event;
mod hpa;

use corten_meta::Status;
use serde_json::Value;

use crate::catalog::Served;

/// From the stored version to the served one; objects of other resources stay as they are.
pub fn to_served(served: &Served, value: &mut Value) {
    if !served.converts() || value.is_null() {
        return;
    }
    match served.schema.kind {
        "Event" => event::to_events_v1(value),
        "HorizontalPodAutoscaler" => hpa::to_v1(value),
        _ => {}
    }
    corten_meta::object::set_gvk(value, &served.schema.gvk());
}

/// From the served version to the stored one.
///
/// # Errors
/// 400 where annotations hold what cannot be read.
pub fn to_stored(served: &Served, value: &mut Value) -> Result<(), Status> {
    if !served.converts() {
        return Ok(());
    }
    match served.schema.kind {
        "Event" => event::to_core_v1(value),
        "HorizontalPodAutoscaler" => hpa::to_v2(value)?,
        _ => {}
    }
    corten_meta::object::set_gvk(value, &served.schema.storage_resource().gvk());
    Ok(())
}
