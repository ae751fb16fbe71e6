//! Update (`registry.Store.Update`, `rest.BeforeUpdate`, `GuaranteedUpdate`).

use corten_meta::field::{Error as FieldError, ErrorList, Path};
use corten_meta::number::parse_uint;
use corten_meta::{GroupKind, Result, Status, object};
use serde_json::Value;

use super::{Act, Write};
use crate::context::WriteContext;
use crate::errors::{MODIFIED, precondition_failed};
use crate::metadata;
use crate::object::Object;
use crate::options::UpdateOptions;
use crate::registry::{Registry, Updated};
use crate::resource::{Resource, Subresource};

/// What came of one attempt.
enum Attempt {
    Done(Updated),
    /// The object has left the store; it is shown as it would have been.
    Removed(Updated),
    /// Nothing changed, or a dry run.
    Unwritten(Updated),
    /// Another write came between.
    Raced,
}

/// Attempts before an update gives up: each lost one means that another write went through.
const ATTEMPTS_MAX: u32 = 100;

impl Registry {
    /// Guaranteed update: `change` gets the stored object (resourceVersion included; `Null` when it does not exist
    /// and may be created) and returns the wanted one; it runs again when another write came between.
    /// A resourceVersion in the wanted object that is not the stored one's is a conflict.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    pub async fn update<F>(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: &str,
        name: &str,
        subresource: Subresource,
        change: F,
        options: &UpdateOptions,
    ) -> Result<Updated>
    where
        F: Fn(&Value) -> Result<Value> + Send + Sync,
    {
        self.metrics.updates.add(1);
        let write = Write {
            registry: self,
            ctx,
            resource,
            subresource,
            namespace,
        };
        let key = resource.key(namespace, name);
        let mut fresh = false;
        for _ in 0..ATTEMPTS_MAX {
            let (existing, newest) = write.existing(&key, fresh).await?;
            match write
                .update_once(name, &key, existing.as_ref(), &change, options)
                .await
            {
                Ok(Attempt::Done(updated)) => return resource.updated(updated, !ctx.dry_run).await,
                Ok(Attempt::Removed(updated)) => return resource.updated(updated, false).await,
                // What was not written is only true if what it was compared with is the newest.
                Ok(Attempt::Unwritten(updated)) if newest => {
                    return resource.updated(updated, !ctx.dry_run).await;
                }
                Ok(Attempt::Unwritten(_)) => {}
                Ok(Attempt::Raced) => self.metrics.conflicts_retried.add(1),
                Err(status) if newest => return Err(status),
                // Perhaps only because what it saw was not the newest.
                Err(_) => {}
            }
            fresh = true;
        }
        Err(Status::conflict(&resource.group_resource(), name, MODIFIED))
    }
}

impl Write<'_> {
    async fn update_once<F>(
        &self,
        name: &str,
        key: &str,
        existing: Option<&Object>,
        change: &F,
        options: &UpdateOptions,
    ) -> Result<Attempt>
    where
        F: Fn(&Value) -> Result<Value> + Send + Sync,
    {
        let Some(existing) = existing else {
            return self.create_absent(name, change, options).await;
        };
        let old = self.resource.value_of(existing).await?;
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != object::uid(&old)) {
            let (resource, key) = (self.resource.group_resource(), self.resource.store_key(key));
            return Err(precondition_failed(
                &resource,
                name,
                &key,
                "UID",
                uid,
                object::uid(&old),
            ));
        }
        let mut new = change(&old)?;
        self.record_own(Some(&old), &mut new);
        self.admit(Act::update(name, &old, options), &mut new).await?;
        self.check_version(name, &mut new, &old)?;
        let context = self.strategy_context();
        let strategy = &self.resource.strategy;
        let finish = strategy.begin_update(&context, &mut new, &old).await?;
        let act = Act::update(name, &old, options);
        let attempt = self.update_prepared(act, existing, &mut new, &old).await;
        let done = matches!(attempt, Ok(Attempt::Done(_) | Attempt::Removed(_)));
        if let Some(finish) = finish {
            finish(done);
        }
        if done {
            strategy.after_update(&context, &new).await;
        }
        attempt
    }

    /// The object is not there: PUT of a kind that allows it, and server-side apply, create it.
    async fn create_absent<F>(&self, name: &str, change: &F, options: &UpdateOptions) -> Result<Attempt>
    where
        F: Fn(&Value) -> Result<Value> + Send + Sync,
    {
        let may_create = options.force_allow_create || self.resource.strategy.allow_create_on_update();
        let missing = self.resource.missing(name);
        if !may_create || self.subresource != Subresource::MAIN || !missing.is_not_found() {
            return Err(missing);
        }
        let mut new = change(&Value::Null)?;
        object::set_resource_version(&mut new, "");
        self.check_namespace(&mut new)?;
        super::create::wipe_system_fields(&mut new);
        self.admit(Act::create(name), &mut new).await?;
        match self.create_once(new).await {
            Ok(object) => Ok(Attempt::Done(Updated {
                object,
                created: true,
            })),
            // Someone else created it: update theirs.
            Err(status) if status.is_already_exists() => Ok(Attempt::Raced),
            Err(status) => Err(status),
        }
    }

    /// The version the client has seen must be the stored one; where none is given, the kind decides.
    fn check_version(&self, name: &str, new: &mut Value, old: &Value) -> Result<()> {
        let resource = self.resource.group_resource();
        let (seen, stored) = (object::resource_version(new), object::resource_version(old));
        if seen == stored {
            return Ok(());
        }
        if !matches!(seen, "" | "0") {
            parse_uint::<u64>(seen).map_err(|text| Status::new(500, "", text))?;
            return Err(Status::conflict(&resource, name, MODIFIED));
        }
        if !self.resource.strategy.allow_unconditional_update() {
            let path = Path::new("metadata").child("resourceVersion");
            let error = FieldError::invalid(&path, 0, "must be specified for an update");
            let kind = GroupKind::new(resource.group, resource.resource);
            return Err(Status::invalid(&kind, name, ErrorList::from(error)));
        }
        let stored = stored.to_owned();
        object::set_resource_version(new, &stored);
        Ok(())
    }

    async fn update_prepared(
        &self,
        act: Act<'_>,
        existing: &Object,
        new: &mut Value,
        old: &Value,
    ) -> Result<Attempt> {
        self.before_update(new, old)?;
        self.validate_admission(act, new).await?;
        let strategy = &self.resource.strategy;
        if removes_last_finalizer(new, old) && strategy.should_delete_during_update(new, old) {
            return self.delete_instead(existing, new).await;
        }
        super::times::keep(new, old);
        let prepared = self.prepared(new).await?;
        if existing.is_stored_as(&prepared.encoded.bytes) {
            self.registry.metrics.updates_unchanged.add(1);
            return Ok(Attempt::Unwritten(Updated {
                object: existing.clone(),
                created: false,
            }));
        }
        if self.ctx.dry_run {
            let object = prepared.object(existing.revision());
            return Ok(Attempt::Unwritten(Updated {
                object,
                created: false,
            }));
        }
        let response = self.put(&prepared, existing.revision()).await?;
        if !response.succeeded {
            return Ok(Attempt::Raced);
        }
        Ok(Attempt::Done(Updated {
            object: prepared.object(response.revision),
            created: false,
        }))
    }

    fn before_update(&self, new: &mut Value, old: &Value) -> Result<()> {
        let context = self.strategy_context();
        let strategy = &self.resource.strategy;
        self.check_namespace(new)?;
        for field in ["kind", "apiVersion"] {
            new[field] = old[field].clone();
        }
        object::set_generation(new, object::generation(old));
        strategy.prepare_for_update(&context, new, old);
        keep_system_fields(new, old);
        let name_rule = |name: &str, prefix: bool| corten_meta::names::is_path_segment(name, prefix);
        let mut errors = metadata::validate(new, self.resource.namespaced, &name_rule);
        errors.extend(metadata::validate_update(new, old));
        errors.extend(strategy.validate_update(&context, new, old));
        if !errors.is_empty() {
            return Err(Status::invalid(
                &self.resource.group_kind(),
                object::name(new),
                errors,
            ));
        }
        for warning in strategy.warnings_on_update(&context, new, old) {
            self.ctx.warn(warning);
        }
        strategy.canonicalize(new);
        Ok(())
    }

    /// The update takes away the last thing a deleted object waited for.
    async fn delete_instead(&self, existing: &Object, new: &Value) -> Result<Attempt> {
        let object = self.prepared(new).await?.object(existing.revision());
        let updated = Updated {
            object,
            created: false,
        };
        if self.ctx.dry_run {
            return Ok(Attempt::Unwritten(updated));
        }
        if !self.remove(existing.key(), existing.revision()).await?.succeeded {
            return Ok(Attempt::Raced);
        }
        self.registry.metrics.deletes.add(1);
        self.resource
            .strategy
            .after_delete(&self.strategy_context(), new)
            .await;
        Ok(Attempt::Removed(updated))
    }
}

/// What an update cannot change, or need not state.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let old_metadata = &old["metadata"];
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else {
        return;
    };
    if metadata
        .get("uid")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .is_empty()
    {
        metadata.insert("uid".to_owned(), old_metadata["uid"].clone());
    }
    for field in ["creationTimestamp", "deletionTimestamp"] {
        if !old_metadata[field].is_null() {
            metadata.insert(field.to_owned(), old_metadata[field].clone());
        }
    }
    let grace = "deletionGracePeriodSeconds";
    if !old_metadata[grace].is_null() && metadata.get(grace).is_none_or(Value::is_null) {
        metadata.insert(grace.to_owned(), old_metadata[grace].clone());
    }
    metadata.remove("selfLink");
}

/// `ShouldDeleteDuringUpdate`.
fn removes_last_finalizer(new: &Value, old: &Value) -> bool {
    object::finalizers(new).is_empty()
        && object::deletion_timestamp(old).is_some()
        && object::deletion_grace_period_seconds(old).unwrap_or(0) == 0
}
