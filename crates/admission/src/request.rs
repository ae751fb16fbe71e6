//! A request as dynamic admission sees it: in the version the client used, or an equivalent one that a rule names.

use corten_meta::{GroupVersion, GroupVersionKind, GroupVersionResource, Result, Status, object};
use corten_registry::admission::View;
use corten_registry::{Attributes, Operation, Subresource, Versions, WriteContext};
use corten_schema::resources;
use serde_json::{Map, Value, json};

/// One request, before or after anything changed it.
pub(crate) struct Request<'a> {
    pub operation: Operation,
    /// The client's words.
    pub resource: GroupVersionResource,
    pub kind: GroupVersionKind,
    pub subresource: &'static str,
    /// Empty for cluster-scoped objects, except namespaces: their own name.
    pub namespace: String,
    pub name: String,
    pub ctx: &'a WriteContext,
    pub attributes: &'a Attributes<'a>,
    /// The object's own kind as it is stored.
    stored: GroupVersionKind,
}

/// A resource in another version, or group, that names the same objects.
pub(crate) struct Equivalent {
    pub resource: GroupVersionResource,
    pub kind: GroupVersionKind,
}

impl<'a> Request<'a> {
    pub fn new(ctx: &'a WriteContext, attributes: &'a Attributes<'a>, object: &Value) -> Self {
        let stored = attributes.resource;
        let (group, version) = if ctx.form.version.is_empty() {
            (stored.group.to_string(), stored.version.to_string())
        } else {
            (ctx.form.group.clone(), ctx.form.version.clone())
        };
        let own_kind = GroupVersionKind {
            group: group.clone().into(),
            version: version.clone().into(),
            kind: stored.kind.clone(),
        };
        let name = match attributes.name {
            "" => object::name(object),
            name => name,
        };
        let is_namespace = stored.group.is_empty() && stored.plural == "namespaces";
        let namespace = if is_namespace { name } else { attributes.namespace };
        Self {
            operation: attributes.operation,
            kind: kind_of(&own_kind, &stored.plural, attributes.subresource),
            resource: GroupVersionResource {
                group: group.into(),
                version: version.into(),
                resource: stored.plural.clone(),
            },
            subresource: attributes.subresource.0,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ctx,
            attributes,
            stored: stored.gvk(),
        }
    }

    /// Configuration of admission itself, which neither webhooks nor policies may touch.
    pub fn is_exempt(&self) -> bool {
        self.kind.group == "admissionregistration.k8s.io"
            && matches!(
                &*self.kind.kind,
                "ValidatingWebhookConfiguration"
                    | "MutatingWebhookConfiguration"
                    | "ValidatingAdmissionPolicy"
                    | "ValidatingAdmissionPolicyBinding"
                    | "MutatingAdmissionPolicy"
                    | "MutatingAdmissionPolicyBinding"
            )
    }

    /// The same objects by other names (upstream's `EquivalentResourcesFor`), without the request's own.
    pub fn equivalents(&self) -> Vec<Equivalent> {
        match self.versions() {
            Some(versions) => self.other_versions(versions),
            None => self.other_rows().collect(),
        }
    }

    /// Of a custom resource, whose definition says which there are.
    fn versions(&self) -> Option<&'a dyn Versions> {
        self.attributes.resource.versions.as_deref()
    }

    fn other_versions(&self, versions: &dyn Versions) -> Vec<Equivalent> {
        let own = corten_meta::api_version(&self.resource.group, &self.resource.version);
        let all = versions.all(self.subresource).into_iter();
        let others = all.filter(|api_version| *api_version != own);
        let named = others.filter_map(|api_version| GroupVersion::parse(&api_version).ok());
        let is_own_kind = self.kind.kind == self.stored.kind;
        named
            .map(|GroupVersion { group, version }| Equivalent {
                resource: GroupVersionResource {
                    group: group.clone(),
                    version: version.clone(),
                    resource: self.resource.resource.clone(),
                },
                kind: if is_own_kind {
                    GroupVersionKind {
                        group,
                        version,
                        kind: self.stored.kind.clone(),
                    }
                } else {
                    self.kind.clone()
                },
            })
            .collect()
    }

    fn other_rows(&self) -> impl Iterator<Item = Equivalent> + '_ {
        let stored = &self.stored;
        resources::all()
            .iter()
            .filter(move |row| {
                row.plural == self.resource.resource
                    && row.storage.group == stored.group
                    && row.storage.version == stored.version
                    && (row.group, row.version) != (&*self.resource.group, &*self.resource.version)
            })
            .filter(|row| self.subresource.is_empty() || row.subresource(self.subresource).is_some())
            .map(|row| Equivalent {
                resource: row.gvr(),
                kind: row
                    .subresource(self.subresource)
                    .map_or_else(|| row.gvk(), |sub| sub.gvk(row)),
            })
    }

    /// The stored object in a version, `Null` for none.
    ///
    /// # Errors
    /// As [`Request::object_as`].
    pub async fn old_as(&self, kind: &GroupVersionKind) -> Result<Value> {
        match self.attributes.old {
            Some(old) => self.object_as(kind, old).await,
            None => Ok(Value::Null),
        }
    }

    /// The object in a version, `Null` for none.
    ///
    /// # Errors
    /// Where a custom resource cannot be converted.
    pub async fn object_as(&self, kind: &GroupVersionKind, object: &Value) -> Result<Value> {
        if object.is_null() {
            return Ok(Value::Null);
        }
        let mut seen = self.view().map_or_else(|| object.clone(), |view| view.of(object));
        let written_as = object::api_version(&seen).to_owned();
        let is_own_kind = kind.kind == self.stored.kind;
        if is_own_kind && self.stored.api_version() != kind.api_version() && written_as != kind.api_version()
        {
            object::set_gvk(&mut seen, &self.stored);
            seen = self.convert(seen, kind).await?;
        }
        object::set_gvk(&mut seen, kind);
        Ok(seen)
    }

    async fn convert(&self, object: Value, kind: &GroupVersionKind) -> Result<Value> {
        if let Some(versions) = self.versions() {
            return versions.to_version(object, &kind.api_version()).await;
        }
        let mut converted = corten_schema::convert::to(object, kind);
        normalize(kind, &mut converted);
        Ok(converted)
    }

    /// Takes over what a webhook or policy made of the object in a version: read like a request's body, defaults filled in.
    ///
    /// # Errors
    /// Where it cannot be read or converted.
    pub async fn take_back(&self, kind: &GroupVersionKind, changed: Value, object: &mut Value) -> Result<()> {
        let mut changed = read(kind, changed)?;
        if let Some(view) = self.view() {
            view.put(&changed, object);
            return Ok(());
        }
        let is_own_kind = kind.kind == self.stored.kind;
        if is_own_kind && self.stored.api_version() != kind.api_version() {
            changed = self.convert(changed, &self.stored).await?;
        }
        // What the schema does not know is pruned, as from a client's body.
        if let Some(shaped) = self.versions().and_then(|versions| versions.read(&changed)) {
            changed = shaped;
        }
        *object = changed;
        Ok(())
    }

    fn view(&self) -> Option<&dyn View> {
        self.attributes.view
    }

    /// `CreateOptions`, `UpdateOptions` or `DeleteOptions` as the client sent them; `Null` for connections.
    pub fn options(&self) -> Value {
        let kind = match self.operation {
            Operation::Create => "CreateOptions",
            Operation::Update => "UpdateOptions",
            Operation::Delete => "DeleteOptions",
            Operation::Connect => return Value::Null,
        };
        let mut out = Map::new();
        out.insert("kind".into(), kind.into());
        out.insert("apiVersion".into(), "meta.k8s.io/v1".into());
        if self.ctx.dry_run {
            out.insert("dryRun".into(), json!(["All"]));
        }
        let form = &self.ctx.form;
        for (key, text) in [
            ("fieldManager", &form.field_manager),
            ("fieldValidation", &form.field_validation),
        ] {
            if !text.is_empty() && self.operation != Operation::Delete {
                out.insert(key.into(), json!(text));
            }
        }
        if let Some(options) = self.attributes.delete {
            delete_members(options, &mut out);
        }
        Value::Object(out)
    }

    /// The object with a configuration of the same version merged into it.
    ///
    /// # Errors
    /// What does not fit, in upstream's words.
    pub fn overlay(
        &self,
        kind: &GroupVersionKind,
        object: &Value,
        configuration: &Value,
    ) -> std::result::Result<Value, String> {
        match self.versions().filter(|_| kind.kind == self.stored.kind) {
            Some(versions) => versions.overlay(object, configuration),
            None => corten_schema::apply::overlay(kind, object, configuration),
        }
    }

    /// 403 in the words of `admission.NewForbidden`.
    pub fn forbidden(&self, object: &Value, error: impl std::fmt::Display) -> Status {
        let candidates = [
            self.name.as_str(),
            object::name(object),
            object::generate_name(object),
        ];
        let name = candidates.into_iter().find(|name| !name.is_empty());
        Status::forbidden(
            &self.attributes.resource.group_resource(),
            name.unwrap_or("Unknown"),
            error,
        )
    }
}

/// The kind of a subresource; the resource's own where the schema knows no other.
fn kind_of(own: &GroupVersionKind, plural: &str, subresource: Subresource) -> GroupVersionKind {
    let Some(row) = resources::lookup(&own.group, &own.version, plural) else {
        if subresource == Subresource::SCALE {
            return GroupVersionKind::new("autoscaling", "v1", "Scale");
        }
        return own.clone();
    };
    row.subresource(subresource.0)
        .map_or_else(|| row.gvk(), |sub| sub.gvk(row))
}

/// Reads a changed object as its kind. Custom resources have no type here; their own schema looks at them later.
pub(crate) fn read(kind: &GroupVersionKind, changed: Value) -> Result<Value> {
    let Some(id) = corten_schema::type_of(kind) else {
        return Ok(changed);
    };
    let decoded = corten_schema::decode::as_kind(changed, kind, corten_schema::Mode::Ignore)
        .map_err(|status| Status::internal(status.message))?;
    let mut value = decoded.value;
    corten_schema::default(id, &mut value);
    Ok(value)
}

fn normalize(kind: &GroupVersionKind, value: &mut Value) {
    if let Some(id) = corten_schema::type_of(kind) {
        // What one version leaves out when empty, the other may write; a conversion makes no wrong types.
        let _ = corten_schema::normalize(id, value, corten_schema::Mode::Ignore);
    }
}

fn delete_members(options: &corten_registry::DeleteOptions, out: &mut Map<String, Value>) {
    use corten_registry::Propagation;
    if let Some(seconds) = options.grace_period_seconds {
        out.insert("gracePeriodSeconds".into(), json!(seconds));
    }
    let propagation = options.propagation.as_ref().map(|propagation| match propagation {
        Propagation::Orphan => "Orphan",
        Propagation::Background => "Background",
        Propagation::Foreground => "Foreground",
        Propagation::Invalid(text) => text,
    });
    if let Some(text) = propagation {
        out.insert("propagationPolicy".into(), json!(text));
    }
    if let Some(orphan) = options.orphan_dependents {
        out.insert("orphanDependents".into(), json!(orphan));
    }
    let wanted = &options.preconditions;
    let mut preconditions = Map::new();
    if let Some(uid) = &wanted.uid {
        preconditions.insert("uid".into(), json!(uid));
    }
    if let Some(version) = &wanted.resource_version {
        preconditions.insert("resourceVersion".into(), json!(version));
    }
    if !preconditions.is_empty() {
        out.insert("preconditions".into(), Value::Object(preconditions));
    }
}
