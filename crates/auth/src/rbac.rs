//! Role-based access control: rules, their index by subject, the escalation check, aggregation, the default policy.

mod aggregate;
pub mod bootstrap;
mod cover;
mod escalation;
mod index;
mod model;
mod rule;

pub use aggregate::{aggregated_rules, selects_role};
pub use cover::covers;
pub use escalation::{Escalation, Refused, confirm_no_escalation};
pub use index::RbacAuthorizer;
pub use model::{Binding, PolicyRule, Role, RoleRef, Subject};
