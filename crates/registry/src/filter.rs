//! Selectors resolved against what a resource can be selected by.

use corten_meta::{Result, Status, fields, labels};

use crate::object::Object;
use crate::resource::Resource;

pub(crate) const NAME: &str = "metadata.name";
pub(crate) const NAMESPACE: &str = "metadata.namespace";

/// Which objects of a resource a list or watch is about.
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    resource: Resource,
    pub namespace: Option<String>,
    labels: Option<labels::Selector>,
    fields: Option<fields::Selector>,
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
        Ok(Self {
            resource: resource.clone(),
            namespace: namespace
                .or(of_selector)
                .filter(|name| !name.is_empty())
                .map(str::to_owned),
            labels: labels.filter(|selector| !selector.is_empty()).cloned(),
            fields: fields.cloned(),
        })
    }

    /// No selectors: every object of the scope.
    pub fn is_everything(&self) -> bool {
        self.labels.is_none() && self.fields.is_none()
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

    fn field<'a>(&self, object: &'a Object, field: &str) -> Option<&'a str> {
        match field {
            NAME => Some(object.name()),
            NAMESPACE => Some(object.namespace()),
            field => {
                let names = self.resource.strategy.selectable_fields();
                let at = names.iter().position(|name| *name == field)?;
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
    Err(Status::bad_request(if plain(resource) {
        format!("{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"")
    } else {
        format!("field label not supported: {field}")
    }))
}
