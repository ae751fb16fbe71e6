//! Delete and deletecollection (`registry.Store.Delete`).

use std::sync::Arc;

use corten_meta::{Result, Status, object};
use serde_json::Value;

use super::Write;
use super::deletion::{self, Grace};
use crate::admission::Operation;
use crate::context::WriteContext;
use crate::errors::MODIFIED;
use crate::object::Object;
use crate::options::{DeleteOptions, ListOptions, ListPage};
use crate::registry::{Deleted, Registry};
use crate::resource::{Resource, Subresource};
use crate::strategy::DeleteStep;

/// What came of one attempt; `None`: another write came between.
type Attempt = Option<Deleted>;

/// Attempts before a delete gives up: each lost one means that another write went through.
const ATTEMPTS_MAX: u32 = 100;
/// Objects listed at once for a collection's deletion.
const COLLECTION_PAGE: u64 = 500;

impl Registry {
    /// Deletes an object, or begins to: grace periods and finalizers keep it until they have run out.
    pub async fn delete(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted> {
        deletion::check_options(options)?;
        let write = Write {
            registry: self,
            ctx,
            resource,
            subresource: Subresource::MAIN,
            namespace,
        };
        let key = resource.key(namespace, name);
        let mut fresh = false;
        for _ in 0..ATTEMPTS_MAX {
            let (existing, newest) = write.existing(&key, fresh).await?;
            let attempt = match existing {
                Some(existing) => write.delete_once(name, &existing, options).await,
                None => Err(Status::not_found(&resource.group_resource(), name)),
            };
            match attempt {
                Ok(Some(deleted)) => return Ok(deleted),
                Ok(None) => self.metrics.conflicts_retried.add(1),
                Err(status) if newest => return Err(status),
                Err(_) => {}
            }
            fresh = true;
        }
        Err(Status::conflict(&resource.group_resource(), name, MODIFIED))
    }

    /// Deletes everything the list selects; returns what it deleted.
    pub async fn delete_collection(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        namespace: Option<&str>,
        options: &DeleteOptions,
        selection: &ListOptions,
    ) -> Result<ListPage> {
        let mut selection = selection.clone();
        let all = selection.limit == 0;
        if all {
            selection.limit = COLLECTION_PAGE;
        }
        let mut items = Vec::new();
        loop {
            let page = self.list(resource, namespace, &selection).await?;
            for item in &page.items {
                match self
                    .delete(ctx, resource, item.namespace(), item.name(), options)
                    .await
                {
                    Ok(_) => {}
                    Err(status) if status.is_not_found() => {}
                    Err(status) => return Err(status),
                }
            }
            items.extend(page.items.iter().cloned());
            if !all || page.continue_token.is_empty() {
                return Ok(ListPage { items, ..page });
            }
            selection.resource_version.clear();
            selection.version_match = None;
            selection.continue_token = page.continue_token;
        }
    }
}

impl Write<'_> {
    async fn delete_once(
        &self,
        name: &str,
        existing: &Arc<Object>,
        options: &DeleteOptions,
    ) -> Result<Attempt> {
        let old = existing.value()?;
        let mut nothing = Value::Null;
        self.admit(Operation::Delete, name, Some(&old), &mut nothing)
            .await?;
        self.validate_admission(Operation::Delete, name, Some(&old), &nothing)
            .await?;
        deletion::check_preconditions(self.resource, options, &old)?;
        let mut object = old;
        let context = self.strategy_context();
        match self.resource.strategy.delete_step(&context, &mut object, options) {
            DeleteStep::Store => return self.store_deleting(existing, &object).await,
            DeleteStep::Wait => return Ok(waiting(existing)),
            DeleteStep::Generic => {}
        }
        let grace = deletion::begin(&context, options, &mut object);
        if grace == Grace::Pending {
            return Ok(waiting(existing));
        }
        deletion::set_propagation(self.resource.strategy.gc_policy(), options, &mut object);
        let held = !object::finalizers(&object).is_empty();
        match grace {
            Grace::None if held => {
                deletion::mark_as_deleting(&mut object, self.ctx.now);
                self.store_deleting(existing, &object).await
            }
            Grace::None => self.remove_now(existing, &object).await,
            Grace::Begun(0) if !held => self.mark_and_remove(existing, &object).await,
            _ => self.store_deleting(existing, &object).await,
        }
    }

    /// The object stays, with its deletion begun.
    async fn store_deleting(&self, existing: &Arc<Object>, object: &Value) -> Result<Attempt> {
        let prepared = self.prepared(object)?;
        if existing.is_stored_as(&prepared.encoded.bytes) {
            return Ok(waiting(existing));
        }
        if self.ctx.dry_run {
            return Ok(Some(Deleted {
                object: prepared.object(existing.revision),
                gone: false,
            }));
        }
        let response = self.put(&prepared, existing.revision).await?;
        let stored = response.succeeded.then(|| prepared.object(response.revision));
        Ok(stored.map(|object| Deleted { object, gone: false }))
    }

    /// As upstream, watchers see the deletion timestamp before the object goes.
    async fn mark_and_remove(&self, existing: &Arc<Object>, object: &Value) -> Result<Attempt> {
        match self.store_deleting(existing, object).await? {
            Some(marked) if self.ctx.dry_run => Ok(Some(Deleted { gone: true, ..marked })),
            Some(marked) => self.remove_now(&marked.object, object).await,
            None => Ok(None),
        }
    }

    async fn remove_now(&self, existing: &Arc<Object>, object: &Value) -> Result<Attempt> {
        if self.ctx.dry_run {
            return Ok(Some(Deleted {
                object: Arc::clone(existing),
                gone: true,
            }));
        }
        let response = self.remove(&existing.key, existing.revision).await?;
        if !response.succeeded {
            return Ok(None);
        }
        self.registry.metrics.deletes.add(1);
        self.resource
            .strategy
            .after_delete(&self.strategy_context(), object)
            .await;
        // What clients get is the state before, with the revision of the deletion.
        Ok(Some(Deleted {
            object: Arc::new(existing.at_revision(response.revision)),
            gone: true,
        }))
    }
}

/// Nothing to write: it is being deleted already.
fn waiting(existing: &Arc<Object>) -> Attempt {
    Some(Deleted {
        object: Arc::clone(existing),
        gone: false,
    })
}
