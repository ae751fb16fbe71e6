//! One handler per verb, generic over the resource.

mod delete;
pub(crate) mod list;
pub mod patch;
mod read;
mod watch;
mod write;

pub use delete::{delete, delete_collection};
pub use list::{list, served_value};
pub use patch::patch;
pub use read::{answer_object, get};
pub use watch::watch;
pub(crate) use write::{check_name, check_namespace};
pub use write::{create, update};
