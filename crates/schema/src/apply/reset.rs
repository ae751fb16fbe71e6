//! Fields whose owners a write does not change, because its strategy puts them back. Facts: the `GetResetFields` of
//! upstream's strategies.

use corten_meta::GroupVersionKind;

/// A path of field names whose fields a write does not own.
pub type FieldPath = &'static [&'static str];

const NONE: &[FieldPath] = &[];
const SPEC: &[FieldPath] = &[&["spec"]];
const STATUS: &[FieldPath] = &[&["status"]];

/// Kinds whose status writes leave all metadata alone.
const METADATA_KEPT: &[&str] = &[
    "APIService",
    "CustomResourceDefinition",
    "FlowSchema",
    "PriorityLevelConfiguration",
    "ResourceClaim",
    "ValidatingAdmissionPolicy",
    "VolumeAttachment",
];

/// The fields that a write of a built-in kind or of one of its subresources resets.
pub fn reset_fields(gvk: &GroupVersionKind, subresource: &str, has_status: bool) -> &'static [FieldPath] {
    match (&*gvk.kind, subresource) {
        // Upstream's table has a group that is none.
        ("ServiceCIDR", _) => NONE,
        ("CertificateSigningRequest", "") => &[&["spec"], &["status"]],
        ("CertificateSigningRequest", "status") => &[&["spec"], &["status", "conditions"]],
        ("CertificateSigningRequest", "approval") => &[&["spec"], &["status", "certificate"]],
        ("Deployment", "status") => &[&["spec"], &["metadata", "labels"]],
        ("Pod", "status") => &[
            &["spec"],
            &["metadata", "deletionTimestamp"],
            &["metadata", "ownerReferences"],
        ],
        ("Namespace", "finalize") => STATUS,
        (kind, "status") if METADATA_KEPT.contains(&kind) => &[&["spec"], &["metadata"]],
        _ => reset_fields_of_custom(subresource, has_status),
    }
}

/// The same of a custom kind; most built-in kinds are no different.
pub fn reset_fields_of_custom(subresource: &str, has_status: bool) -> &'static [FieldPath] {
    match subresource {
        "status" => SPEC,
        "" if has_status => STATUS,
        _ => NONE,
    }
}
