//! Create (`registry.Store.Create`, `rest.BeforeCreate`).

use corten_meta::field::ErrorList;
use corten_meta::{Result, Status, object};
use serde_json::{Value, json};

use super::{Act, Write};
use crate::context::WriteContext;
use crate::metadata;
use crate::object::Object;
use crate::options::CreateOptions;
use crate::registry::Registry;
use crate::resource::{Resource, Subresource};

/// Names tried for a `generateName` before giving up: with eight, a million names fit one prefix.
const GENERATED_NAMES_MAX: u32 = 8;
/// What the server alone writes.
const SYSTEM_FIELDS: [&str; 5] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
];

impl Registry {
    /// Creates an object; `object` is decoded, pruned and defaulted.
    pub async fn create(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: &str,
        mut object: Value,
        _options: &CreateOptions,
    ) -> Result<Object> {
        self.metrics.creates.add(1);
        let write = Write {
            registry: self,
            ctx,
            resource,
            subresource: Subresource::MAIN,
            namespace,
        };
        write.check_namespace(&mut object)?;
        wipe_system_fields(&mut object);
        write.record_own(None, &mut object);
        let name = object::name(&object).to_owned();
        write.admit(Act::create(&name), &mut object).await?;
        let created = write.create_once(object).await?;
        resource.written(created, !ctx.dry_run).await
    }
}

impl Write<'_> {
    /// The object's namespace is the request's, or becomes it.
    pub(super) fn check_namespace(&self, object: &mut Value) -> Result<()> {
        let expected = if self.resource.namespaced {
            self.namespace
        } else {
            ""
        };
        let stated = object::namespace(object);
        if !stated.is_empty() && !expected.is_empty() && stated != expected {
            let message =
                "the namespace of the provided object does not match the namespace sent on the request";
            return Err(Status::bad_request(message));
        }
        if stated != expected {
            object::set_namespace(object, expected);
        }
        Ok(())
    }

    /// After mutating admission.
    pub(super) async fn create_once(&self, mut object: Value) -> Result<Object> {
        // Upstream's store says this; a dry run does not get that far.
        if !object::resource_version(&object).is_empty() && !self.ctx.dry_run {
            return Err(Status::new(
                500,
                "",
                "resourceVersion should not be set on objects to be created",
            ));
        }
        self.fill_system_fields(&mut object);
        let context = self.strategy_context();
        let strategy = &self.resource.strategy;
        let finish = strategy.begin_create(&context, &mut object).await?;
        let created = self.create_prepared(&mut object).await;
        if let Some(finish) = finish {
            finish(created.is_ok() && !self.ctx.dry_run);
        }
        let created = created?;
        if !self.ctx.dry_run {
            strategy.after_create(&context, &object).await;
        }
        Ok(created)
    }

    async fn create_prepared(&self, object: &mut Value) -> Result<Object> {
        let context = self.strategy_context();
        let strategy = &self.resource.strategy;
        self.check_namespace(object)?;
        strategy.prepare_for_create(&context, object);
        let mut errors: ErrorList = strategy.validate(&context, object);
        if errors.is_empty() {
            let name_rule = |name: &str, prefix: bool| strategy.validate_name(name, prefix);
            errors = metadata::validate(object, self.resource.namespaced, &name_rule);
        }
        if !errors.is_empty() {
            return Err(Status::invalid(
                &self.resource.group_kind(),
                object::name(object),
                errors,
            ));
        }
        for warning in strategy.warnings_on_create(&context, object) {
            self.ctx.warn(warning);
        }
        strategy.canonicalize(object);
        self.validate_admission(Act::create(object::name(object)), object)
            .await?;
        self.insert(object).await
    }

    fn fill_system_fields(&self, object: &mut Value) {
        if object.get("kind").is_none() {
            object["kind"] = json!(self.resource.kind);
            object["apiVersion"] = json!(self.resource.api_version());
        }
        let base = object::generate_name(object);
        if !base.is_empty() && object::name(object).is_empty() {
            let name = self.free_name(base);
            object::set_name(object, &name);
        }
        object::set_creation_timestamp(object, &self.ctx.now_text());
        object::set_uid(object, &object::new_uid());
    }

    /// A generated name that nothing in the cache has. Upstream tries again when the store refuses a name; looking first spares a
    /// copy of every object whose name is generated.
    fn free_name(&self, base: &str) -> String {
        let (resource, cache) = (self.resource, self.resource.cache());
        let mut name = resource.strategy.generate_name(base);
        for _ in 1..GENERATED_NAMES_MAX {
            if cache.get(&resource.key(self.namespace, &name)).is_none() {
                break;
            }
            name = resource.strategy.generate_name(base);
        }
        name
    }

    async fn insert(&self, object: &Value) -> Result<Object> {
        let prepared = self.prepared(object).await?;
        if self.ctx.dry_run {
            let (existing, _) = self.existing(&prepared.key, true).await?;
            return match existing {
                Some(_) => Err(self.exists_already(object).await),
                // A resourceVersion that was sent is answered as it came.
                None => Ok(prepared.object(object::resource_version(object).parse().unwrap_or(0))),
            };
        }
        let response = self.put(&prepared, 0).await?;
        if response.succeeded {
            return Ok(prepared.object(response.revision));
        }
        Err(self.exists_already(object).await)
    }

    async fn exists_already(&self, object: &Value) -> Status {
        let (resource, name) = (self.resource.group_resource(), object::name(object));
        let mut status = if object::generate_name(object).is_empty() {
            Status::already_exists(&resource, name)
        } else {
            Status::generate_name_conflict(&resource, name, 1)
        };
        let key = self.resource.key(object::namespace(object), name);
        let found = self
            .existing(&key, true)
            .await
            .ok()
            .and_then(|(found, _)| found?.value().ok());
        if found.is_some_and(|found| object::deletion_timestamp(&found).is_some()) {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }
}

/// What clients send of it does not count.
pub(super) fn wipe_system_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        SYSTEM_FIELDS
            .iter()
            .for_each(|field| drop(metadata.remove(*field)));
    }
}
