//! Types that mutating policies construct: `Object` with any fields, and `JSONPatch`.

use super::{Answer, Context};
use crate::provider::TypeProvider;
use crate::types::Type;
use crate::value::Value;

/// `Object`, `Object.spec` and so on, and `JSONPatch`.
pub(crate) struct MutationTypes;

impl TypeProvider for MutationTypes {
    fn has_type(&self, name: &str) -> bool {
        name == "JSONPatch" || name == "Object" || name.starts_with("Object.")
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        match (type_name, field) {
            ("JSONPatch", "op" | "path" | "from") => Some(Type::String),
            // Such a field has no type at all, which nothing fits.
            ("JSONPatch", field) if field != "value" => Some(Type::opaque("", Vec::new())),
            // Whatever is written is taken; the patched object is validated as any other.
            _ => Some(Type::Dyn),
        }
    }
}

/// A key as a segment of a JSON pointer.
pub(super) fn escape_key<'a>(context: &Context<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match args {
        [Value::String(key)] => Ok(Value::string(key.replace('~', "~0").replace('/', "~1"))),
        _ => context.no_overload(args),
    }
}
