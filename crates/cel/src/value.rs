//! Values of an evaluation. JSON input stays where it is: objects and arrays are borrowed with the type that the
//! schema declares for them, and only what an expression makes itself is owned.

use crate::authz::AuthzValue;
use crate::types::Type;
use serde_json::Value as Json;
use std::sync::Arc;

/// The object type of `variables`.
pub(crate) const VARIABLES: &str = "kubernetes.variables";

/// A value. Cloning is cheap.
#[derive(Clone)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(jiff::Timestamp),
    /// Nanoseconds.
    Duration(i64),
    /// A list the expression made.
    List(Arc<Vec<Value<'a>>>),
    /// A map the expression made, in insertion order.
    Map(Arc<Vec<(Value<'a>, Value<'a>)>>),
    /// An array or object of the input, with what is known of its type.
    Json(&'a Json, Type),
    Optional(Option<Arc<Value<'a>>>),
    Type(Type),
    /// An object the expression made: `Object{..}`, `JSONPatch{..}`.
    Struct(Arc<StructValue<'a>>),
    /// The `variables` of a policy: its fields are the programs of [`crate::Activation::variables`].
    Variables,
    Url(Arc<crate::library::url::Url>, Arc<str>),
    Ip(std::net::IpAddr),
    Cidr(crate::library::ip::Cidr),
    Quantity(Arc<corten_meta::Quantity>),
    Semver(Arc<semver::Version>),
    Format(&'static crate::library::formats::NamedFormat),
    Authz(Arc<AuthzValue<'a>>),
}

/// Text of the input or of the program, or made by the expression.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

impl std::ops::Deref for Text<'_> {
    type Target = str;
    fn deref(&self) -> &str {
        match self {
            Text::Borrowed(s) => s,
            Text::Shared(s) => s,
        }
    }
}

/// An object with a type name that an expression constructed.
#[derive(Clone)]
pub struct StructValue<'a> {
    pub type_name: Arc<str>,
    pub fields: Vec<(Arc<str>, Value<'a>)>,
}

impl<'a> Value<'a> {
    pub fn string(text: impl Into<Arc<str>>) -> Self {
        Value::String(Text::Shared(text.into()))
    }

    pub fn str(text: &'a str) -> Self {
        Value::String(Text::Borrowed(text))
    }

    pub fn list(items: Vec<Value<'a>>) -> Self {
        Value::List(Arc::new(items))
    }

    /// Input without a declared type: numbers become int, uint or double by what they are.
    pub fn json(json: &'a Json) -> Self {
        Self::typed(json, &Type::Dyn)
    }

    /// Input of a declared type. Where the JSON does not have the shape that the type promises, the value is what
    /// the JSON says; the schema's own validation reports that.
    pub fn typed(json: &'a Json, ty: &Type) -> Self {
        match json {
            Json::Null => Value::Null,
            Json::Bool(b) => Value::Bool(*b),
            Json::Number(n) => number(n, ty),
            Json::String(s) => text(s, ty),
            Json::Array(_) | Json::Object(_) => Value::Json(json, ty.clone()),
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(i) => Some(*i),
            _ => None,
        }
    }

    /// The type as `type(x)` gives it; parameters of lists and maps are dynamic.
    pub fn type_of(&self) -> Type {
        match self {
            Value::Null => Type::Null,
            Value::Bool(_) => Type::Bool,
            Value::Int(_) => Type::Int,
            Value::Uint(_) => Type::Uint,
            Value::Double(_) => Type::Double,
            Value::String(_) => Type::String,
            Value::Bytes(_) => Type::Bytes,
            Value::Timestamp(_) => Type::Timestamp,
            Value::Duration(_) => Type::Duration,
            Value::Json(_, ty @ Type::Object(_)) => ty.clone(),
            Value::List(_) | Value::Json(Json::Array(_), _) => Type::list(Type::Dyn),
            Value::Map(_) | Value::Json(..) => Type::map(Type::Dyn, Type::Dyn),
            Value::Optional(_) => Type::optional(Type::Dyn),
            Value::Type(t) => Type::type_of(t.clone()),
            Value::Struct(s) => Type::Object(s.type_name.clone()),
            Value::Variables => Type::object(VARIABLES),
            Value::Url(..) => Type::object("kubernetes.URL"),
            Value::Ip(_) => Type::opaque("net.IP", Vec::new()),
            Value::Cidr(_) => Type::opaque("net.CIDR", Vec::new()),
            Value::Quantity(_) => Type::object("kubernetes.Quantity"),
            Value::Semver(_) => Type::object("kubernetes.Semver"),
            Value::Format(_) => Type::object("kubernetes.NamedFormat"),
            Value::Authz(a) => Type::object(a.type_name()),
        }
    }
}

fn number<'a>(n: &serde_json::Number, ty: &Type) -> Value<'a> {
    if matches!(ty, Type::Double) {
        return Value::Double(n.as_f64().unwrap_or_default());
    }
    if let Some(i) = n.as_i64() {
        return Value::Int(i);
    }
    match n.as_u64() {
        Some(u) => Value::Uint(u),
        None => Value::Double(n.as_f64().unwrap_or_default()),
    }
}

fn text<'a>(s: &'a str, ty: &Type) -> Value<'a> {
    use base64::Engine;
    let converted = match ty {
        Type::Timestamp => crate::library::time::schema_timestamp(s).map(Value::Timestamp),
        Type::Duration => crate::library::time::parse_duration(s).map(Value::Duration),
        Type::Bytes => base64::engine::general_purpose::STANDARD
            .decode(s)
            .ok()
            .map(|b| Value::Bytes(b.into())),
        _ => None,
    };
    converted.unwrap_or(Value::str(s))
}
