//! API types as CEL types: the fields of a kind as its OpenAPI schema shows them to expressions.

use std::collections::HashMap;

use corten_cel::{Type, TypeProvider};
use corten_schema::TypeId;
use corten_schema::types::{Kind, Shape, Special};
use parking_lot::Mutex;

/// Struct types by the names expressions know them by, gathered as they are met.
#[derive(Default)]
pub(super) struct ApiTypes(Mutex<HashMap<String, TypeId>>);

impl ApiTypes {
    /// The type of a struct.
    pub fn object(&self, id: TypeId) -> Type {
        let ty = id.get();
        let name = format!("{}.{}", ty.package.path, ty.name);
        self.0.lock().insert(name.clone(), id);
        Type::object(&name)
    }

    /// None for what has no single type in OpenAPI and so is not shown to expressions.
    fn shape(&self, shape: &Shape) -> Option<Type> {
        Some(match shape.kind {
            Kind::String => Type::String,
            Kind::Bool => Type::Bool,
            Kind::Int32 | Kind::Int64 => Type::Int,
            Kind::Float64 => Type::Double,
            Kind::Bytes => Type::Bytes,
            Kind::Struct(id) => self.object(id),
            Kind::List(element) => Type::list(self.shape(&element.shape)?),
            Kind::Map(element) => Type::map(Type::String, self.shape(&element.shape)?),
            Kind::Special(Special::Time | Special::MicroTime) => Type::Timestamp,
            Kind::Special(Special::Duration) => Type::String,
            Kind::Special(Special::IntOrString) => Type::Dyn,
            Kind::Special(_) => return None,
        })
    }
}

impl TypeProvider for ApiTypes {
    fn has_type(&self, name: &str) -> bool {
        self.0.lock().contains_key(name)
    }

    fn field(&self, type_name: &str, field: &str) -> Option<Type> {
        let id = self.0.lock().get(type_name).copied()?;
        self.shape(&id.get().field(field)?.shape)
    }
}
