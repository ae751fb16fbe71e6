//! Between the version that is served and the one that is stored; they differ for two resources (Event of events.k8s.io,
//! HorizontalPodAutoscaler of autoscaling/v1). The conversions are the schema's.

use std::borrow::Cow;

use corten_meta::GroupVersionKind;
use serde_json::Value;

use crate::catalog::Served;

fn convert(value: &mut Value, target: &GroupVersionKind) {
    if !value.is_null() {
        *value = corten_schema::convert::to(value.take(), target);
        // What one version leaves out when empty, the other may write.
        if let Some(id) = corten_schema::type_of(target)
            && let Err(error) = corten_schema::normalize(id, value, corten_schema::Mode::Ignore)
        {
            tracing::error!(%error, %target, "converted object does not fit its type");
        }
    }
}

/// From the stored version to the served one.
pub fn to_served(served: &Served, value: &mut Value) {
    if served.converts() {
        convert(value, &served.schema.gvk());
    }
}

/// A stored object in the served version: as it is for almost all kinds.
pub fn as_served<'a>(served: &Served, stored: &'a Value) -> Cow<'a, Value> {
    if !served.converts() {
        return Cow::Borrowed(stored);
    }
    let mut value = stored.clone();
    to_served(served, &mut value);
    Cow::Owned(value)
}

/// From the served version to the stored one.
pub fn to_stored(served: &Served, value: &mut Value) {
    if served.converts() {
        convert(value, &served.schema.storage_resource().gvk());
    }
}
