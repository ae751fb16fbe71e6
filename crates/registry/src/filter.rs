//! Selectors resolved against what a resource can be selected by.

use std::sync::Arc;

use corten_meta::{Result, Status, fields, labels};

use crate::object::Object;
use crate::resource::Resource;

pub(crate) const NAME: &str = "metadata.name";
pub(crate) const NAMESPACE: &str = "metadata.namespace";

/// Which objects of a resource a list or watch is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Filter {
    resource: Resource,
    pub namespace: Option<String>,
    labels: Option<labels::Selector>,
    fields: Option<fields::Selector>,
    /// Terms about what only an object in the version of the handle has, to which a webhook converts.
    late: Option<Arc<fields::Selector>>,
}

impl Filter {
    /// Refuses field names the resource cannot be selected by, in upstream's words.
    pub fn new(
        resource: &Resource,
        namespace: Option<&str>,
        labels: Option<&labels::Selector>,
        fields: Option<&fields::Selector>,
    ) -> Result<Self> {
        let fields = fields.filter(|selector| !selector.is_empty());
        for requirement in fields.iter().flat_map(|selector| selector.requirements()) {
            check_field(resource, &requirement.field)?;
        }
        let of_selector = fields
            .and_then(|selector| selector.exact(NAMESPACE))
            .filter(|_| resource.namespaced);
        let of_metadata = |field: &str| matches!(field, NAME | NAMESPACE);
        let (fields, late) = match fields {
            Some(fields) if resource.asks() => fields.clone().split(of_metadata),
            fields => (
                fields.cloned().unwrap_or_default(),
                fields::Selector::everything(),
            ),
        };
        Ok(Self {
            resource: resource.clone(),
            namespace: namespace
                .or(of_selector)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            labels: labels.filter(|selector| !selector.is_empty()).cloned(),
            fields: Some(fields).filter(|selector| !selector.is_empty()),
            late: Some(late).filter(|selector| !selector.is_empty()).map(Arc::new),
        })
    }

    /// No selectors: every object of the scope.
    pub fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none() && self.late.is_none()
    }

    /// What [`Filter::matches`] lets through is to be converted, and shown to [`Filter::selects_converted`].
    pub fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// A webhook is asked to show this object.
    pub fn asks_about(&self, object: &Object) -> bool {
        self.resource.asks() && !self.resource.has_version(object)
    }

    /// The value demanded of a field.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.fields.as_ref()?.exact(field)
    }

    /// The one key that can match.
    pub fn single_key(&self) -> Option<String> {
        let name = self.exact(NAME)?;
        match (&self.namespace, self.resource.namespaced) {
            (Some(namespace), true) => Some(format!("{namespace}/{name}")),
            (None, true) => None,
            (_, false) => Some(name.to_owned()),
        }
    }

    /// The part of every matching key before the name.
    pub fn key_prefix(&self) -> String {
        self.namespace
            .as_ref()
            .map_or_else(String::new, |namespace| format!("{namespace}/"))
    }

    pub fn matches(&self, object: &Object) -> bool {
        self.namespace
            .as_deref()
            .is_none_or(|namespace| object.namespace() == namespace)
            && self
                .labels
                .as_ref()
                .is_none_or(|selector| selector.matches_with(|key| object.label(key)))
            && self
                .fields
                .as_ref()
                .is_none_or(|selector| selector.matches(|field| self.field(object, field)))
    }

    /// The terms that are left, of an object in the version of the handle; `cached` is the same one as it is stored.
    ///
    /// # Errors
    /// Where the object cannot be read.
    pub fn selects_converted(&self, cached: &Object, converted: &Object) -> Result<bool> {
        let Some(late) = &self.late else {
            return Ok(true);
        };
        if self.resource.is_stored_version() && self.resource.has_version(cached) {
            return Ok(late.matches(|field| self.field(cached, field)));
        }
        let value = converted.value()?;
        let values = late
            .requirements()
            .iter()
            .map(|term| {
                (
                    &term.field,
                    self.resource.strategy.field_value(&value, &term.field),
                )
            })
            .collect::<Vec<_>>();
        let value = |field: &str| values.iter().find(|(name, _)| *name == field);
        Ok(late.matches(|field| value(field).map(|(_, value)| value.as_str())))
    }

    fn field<'a>(&self, object: &'a Object, field: &str) -> Option<&'a str> {
        match field {
            NAME => Some(object.name()),
            NAMESPACE => Some(object.namespace()),
            field => {
                let at = self.resource.strategy.field_place(field)?;
                object.field(at)
            }
        }
    }
}

/// Without a conversion of field labels: neither fields of its own nor a custom resource.
fn plain(resource: &Resource) -> bool {
    resource.versions.is_none() && resource.strategy.selectable_fields().is_empty()
}

fn check_field(resource: &Resource, field: &str) -> Result<()> {
    let known = match field {
        NAME => true,
        NAMESPACE => resource.namespaced || plain(resource),
        field => resource.strategy.selectable_fields().contains(&field),
    };
    if known {
        return Ok(());
    }
    // Kinds with selectable fields of their own have a conversion of their own, with another text.
    Err(Status::bad_request(match (&*resource.group, &*resource.kind) {
        ("batch", "Job") => format!("field label {field:?} not supported for Job"),
        ("resource.k8s.io", kind @ "ResourceSlice") => {
            let version = resource.api_version();
            format!("field label not supported for {version}, Kind={kind}: {field}")
        }
        _ if plain(resource) => {
            format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
        }
        _ => format!("field label not supported: {field}"),
    }))
}
