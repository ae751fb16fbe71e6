//! The Common Expression Language as Kubernetes v1.36 uses it: CRD validation rules, admission policies, match
//! conditions, device selectors.
//!
//! Owns: parser, type checker, interpreter over borrowed JSON, runtime cost and static cost estimate, and the function
//! libraries of upstream's base environment. Must never know: a kind, the store, HTTP; it does no I/O and holds no
//! thread. Errors have cel-go's texts, because API errors carry them.
//!
//! Why an own engine: the published interpreters (`cel`, `cel-interpreter`) do not check types, do not estimate or
//! count cost, and copy their input; each of the three is part of the API's behaviour.
//!
//! ```
//! use corten_cel::{Activation, Budget, Env, Type, Value};
//! let env = Env::builder().var("self", Type::map(Type::String, Type::Int)).build();
//! let program = env.compile("self.replicas <= 5").unwrap();
//! let input = serde_json::json!({"replicas": 3});
//! let activation = Activation::new().bind("self", Value::json(&input));
//! let value = program.eval(&activation, &mut Budget::default()).unwrap();
//! assert_eq!(value.as_bool(), Some(true));
//! ```
//!
//! Read first: `env.rs` for what an expression can see, then `eval/mod.rs`.

mod authz;
mod check;
mod env;
pub mod environments;
mod errors;
mod escape;
mod estimate;
mod eval;
mod library;
mod parse;
mod program;
mod provider;
mod types;
mod value;

pub use authz::{Authorizer, AuthzDecision, AuthzRequest};
pub use env::{Env, EnvBuilder};
pub use errors::{CompileError, CompileErrors, EvalError};
pub use escape::{escape, is_identifier, unescape};
pub use estimate::{CostEstimate, SizeEstimate};
pub use program::{Activation, Budget, PER_CALL_LIMIT, Program, REQUEST_BUDGET};
pub use provider::{NoHints, SizeHints, TypeProvider};
pub use types::{ListSemantics, ListType, Type};
pub use value::{StructValue, Text, Value};
