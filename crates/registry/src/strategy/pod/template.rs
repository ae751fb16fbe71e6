//! The template of pods in a workload (`ValidatePodTemplateSpec`).

use super::super::rules::{At, ErrorList, annotations as template_annotations, label_map};
use super::{annotations, spec};

pub(in crate::strategy) fn validate(template: &At<'_, '_>, errors: &mut ErrorList) {
    let metadata = template.get("metadata");
    // Upstream's paths leave `metadata` out.
    let labels = template.get("labels").with(metadata.get("labels").value);
    let noted = template
        .get("annotations")
        .with(metadata.get("annotations").value);
    label_map(&labels, errors);
    template_annotations(&noted, errors);
    let pods = template.get("spec");
    annotations::validate(&noted, &pods, errors);
    spec::validate(&pods, spec::Context::TEMPLATE, errors);
    annotations::match_fields(&noted, &pods, errors);
    let ephemeral = pods.get("ephemeralContainers");
    if !ephemeral.is_empty() {
        ephemeral.forbidden(errors, "ephemeral containers not allowed in pod template");
    }
}
