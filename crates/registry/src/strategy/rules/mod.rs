//! What validation is written with: a value that knows its path, and the checks many kinds share.

mod at;
mod counts;
mod ip;
mod labels;
mod meta;
mod names;
mod node_labels;
mod quantity;

pub(super) use at::{At, go_struct};
pub(super) use counts::{
    amount, at_most_100_percent, int_or_percent, nonnegative_fields, not_above, not_decremented,
};
pub(super) use ip::{
    Ip, cidr, cidr_warnings, endpoint_ip, ip_legacy, ip_strict, ip_warnings, is_dual_stack, parse_ip_sloppy,
};
pub(super) use labels::{
    label_map, label_name, label_selector, selector_matches_template, selector_size, show_selector,
};
pub(super) use meta::{
    annotations, conditions, immutable, kube_finalizer, object_meta, object_meta_update, template_meta,
};
pub(super) use names::*;
pub(super) use node_labels::{
    deprecated_node_label, expression_warnings, node_label_warning, node_selector_warnings,
};
pub(super) use quantity::{nanos, quantity_of, show};

pub(super) use corten_meta::field::ErrorList;
