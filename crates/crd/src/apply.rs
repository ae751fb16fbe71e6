//! Structural schemas as server-side apply sees them (kube-openapi's `schemaconv`).

use corten_schema::apply::custom::{CustomType, Member, Role, Scalar};
use serde_json::Value;

use crate::structural::{Additional, ListType, MapType, Structural, Type};

/// The root of a resource: its own metadata beside what the schema says.
#[derive(Debug)]
pub struct Resource<'s>(pub Option<&'s Structural>);

impl CustomType for Resource<'_> {
    fn role(&self) -> Role<'_> {
        Role::Granular
    }

    fn preserves_unknown(&self) -> bool {
        self.0.is_some_and(|schema| schema.preserve_unknown_fields)
    }

    fn member(&self, name: &str, preserve: bool) -> Member<'_> {
        match (self.0, name) {
            (None, _) => Member::Deduced,
            (_, "metadata") => Member::Metadata,
            (_, "apiVersion" | "kind") => Member::Text,
            (Some(schema), name) => match schema.property(name) {
                Some(property) => Member::Type(property),
                None if preserve => Member::Deduced,
                None => Member::Unknown,
            },
        }
    }

    fn declares(&self, name: &str) -> bool {
        self.0
            .is_some_and(|schema| crate::object::is_meta_field(name) || schema.property(name).is_some())
    }

    fn item(&self) -> Member<'_> {
        Member::Deduced
    }

    fn key_default(&self, _key: &str) -> Option<&Value> {
        None
    }
}

impl CustomType for Structural {
    fn role(&self) -> Role<'_> {
        match self.kind {
            Type::Any => Role::Untyped,
            Type::Object if self.map_type == MapType::Atomic => Role::WholeObject,
            Type::Object => Role::Granular,
            Type::Array => match self.list_type {
                ListType::Set => Role::Set,
                ListType::Map => Role::Keyed(self.list_map_keys()),
                ListType::Atomic | ListType::Unset => Role::WholeList,
            },
            // A format may stand for another type in Go.
            Type::String if matches!(self.format(), "" | "byte") => Role::Scalar(Scalar::Text),
            Type::String => Role::Scalar(Scalar::Any),
            Type::Integer | Type::Number => Role::Scalar(Scalar::Number),
            Type::Boolean => Role::Scalar(Scalar::Flag),
        }
    }

    fn preserves_unknown(&self) -> bool {
        self.preserve_unknown_fields
    }

    fn member(&self, name: &str, preserve: bool) -> Member<'_> {
        if self.embedded_resource {
            match name {
                "metadata" => return Member::Metadata,
                "apiVersion" | "kind" => return Member::Text,
                _ => {}
            }
        }
        if let Some(property) = self.property(name) {
            return Member::Type(property);
        }
        match &self.additional {
            Additional::Schema(schema) => Member::Type(&**schema),
            Additional::Any => Member::Deduced,
            Additional::Forbidden => Member::Unknown,
            // An object of which nothing is said may hold anything.
            Additional::Unset if preserve || (self.properties.is_empty() && !self.embedded_resource) => {
                Member::Deduced
            }
            Additional::Unset => Member::Unknown,
        }
    }

    fn declares(&self, name: &str) -> bool {
        self.property(name).is_some() || (self.embedded_resource && crate::object::is_meta_field(name))
    }

    fn item(&self) -> Member<'_> {
        self.items
            .as_deref()
            .map_or(Member::Deduced, |items| Member::Type(items))
    }

    fn key_default(&self, key: &str) -> Option<&Value> {
        self.items.as_deref()?.property(key)?.default.as_deref()
    }
}
