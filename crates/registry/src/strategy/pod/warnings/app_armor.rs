//! AppArmor profiles in annotations, from before they were fields.

use super::super::super::rules::At;
use super::super::annotations::{APP_ARMOR, APP_ARMOR_DETAIL, app_armor_field};
use super::annotation;

/// The annotation is fine beside a field of the container, or if it says what the pod's field says.
pub(super) fn of_container(
    container: &At<'_, '_>,
    annotations: &At<'_, '_>,
    spec: &At<'_, '_>,
) -> Option<String> {
    let key = format!("{APP_ARMOR}{}", container.get("name").str());
    let noted = annotations.value.get(&key)?.as_str().unwrap_or_default();
    let profile = |at: &At<'_, '_>| at.value["securityContext"]["appArmorProfile"].clone();
    app_armor_field(noted, &profile(container), &profile(spec))?;
    annotation(annotations, &key, APP_ARMOR_DETAIL)
}
