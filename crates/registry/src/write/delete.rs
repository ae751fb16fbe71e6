//! Delete and deletecollection (`registry.Store.Delete`).

use corten_meta::{Result, Status, object};
use serde_json::Value;

use super::deletion::{self, Grace};
use super::{Act, Write};
use crate::context::WriteContext;
use crate::errors::MODIFIED;
use crate::object::Object;
use crate::options::{DeleteOptions, ListOptions, ListPage};
use crate::registry::{Deleted, Registry};
use crate::resource::{Resource, Subresource};
use crate::strategy::DeleteStep;

/// What came of one attempt.
enum Attempt {
    Done(Deleted),
    /// Nothing to write, or a dry run.
    Unwritten(Deleted),
    /// Another write came between.
    Raced,
}

/// Attempts before a delete gives up: each lost one means that another write went through.
const ATTEMPTS_MAX: u32 = 100;
/// Objects listed at once for a collection's deletion.
const COLLECTION_PAGE: u64 = 500;
/// Objects of a collection that are deleted at the same time.
const COLLECTION_TOGETHER: usize = 64;

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
        self.delete_as(ctx, resource, (namespace, name), name, options)
            .await
    }

    /// `shown` is the name admission sees: none for the objects of a collection.
    async fn delete_as(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        (namespace, name): (&str, &str),
        shown: &str,
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
                Some(existing) => write.delete_once(shown, &existing, options).await,
                None => Err(resource.missing(name)),
            };
            match attempt {
                // What was not written is only true if what it was decided on is the newest.
                Ok(Attempt::Unwritten(deleted)) if newest => {
                    return resource.deleted(deleted, !ctx.dry_run).await;
                }
                Ok(Attempt::Done(deleted)) => return resource.deleted(deleted, true).await,
                Ok(Attempt::Raced) => self.metrics.conflicts_retried.add(1),
                Err(status) if newest => return Err(status),
                Ok(Attempt::Unwritten(_)) | Err(_) => {}
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
            self.delete_page(ctx, resource, options, &page.items).await?;
            items.extend(page.items.iter().cloned());
            if !all || page.continue_token.is_empty() {
                return Ok(ListPage { items, ..page });
            }
            selection.resource_version.clear();
            selection.version_match = None;
            selection.continue_token = page.continue_token;
        }
    }

    /// Several at a time, so that they share commits of the store. What fails ends it.
    async fn delete_page(
        &self,
        ctx: &WriteContext,
        resource: &Resource,
        options: &DeleteOptions,
        items: &[Object],
    ) -> Result<()> {
        for batch in items.chunks(COLLECTION_TOGETHER) {
            let deletions: Vec<_> = batch
                .iter()
                .map(|item| {
                    let at = (item.namespace(), item.name());
                    self.delete_as(ctx, resource, at, "", options)
                })
                .collect();
            for deleted in futures::future::join_all(deletions).await {
                match deleted {
                    Err(status) if !status.is_not_found() => return Err(status),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

impl Write<'_> {
    async fn delete_once(&self, name: &str, existing: &Object, options: &DeleteOptions) -> Result<Attempt> {
        let old = self.resource.value_of(existing).await?;
        let mut nothing = Value::Null;
        let act = Act::delete(name, &old, options);
        self.admit(act, &mut nothing).await?;
        self.validate_admission(act, &nothing).await?;
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
    async fn store_deleting(&self, existing: &Object, object: &Value) -> Result<Attempt> {
        let prepared = self.prepared(object).await?;
        if existing.is_stored_as(&prepared.encoded.bytes) {
            return Ok(waiting(existing));
        }
        if self.ctx.dry_run {
            let object = prepared.object(existing.revision());
            return Ok(Attempt::Unwritten(Deleted { object, gone: false }));
        }
        let response = self.put(&prepared, existing.revision()).await?;
        if !response.succeeded {
            return Ok(Attempt::Raced);
        }
        Ok(Attempt::Done(Deleted {
            object: prepared.object(response.revision),
            gone: false,
        }))
    }

    /// As upstream, watchers see the deletion timestamp before the object goes. Who sees it may remove the object
    /// first (the kubelet does): that is what was asked for, not a missing object.
    async fn mark_and_remove(&self, existing: &Object, object: &Value) -> Result<Attempt> {
        match self.store_deleting(existing, object).await? {
            Attempt::Done(marked) | Attempt::Unwritten(marked) => {
                let attempt = self.remove_now(&marked.object, object).await?;
                if matches!(attempt, Attempt::Raced) && self.existing(existing.key(), true).await?.0.is_none()
                {
                    return Ok(Attempt::Done(Deleted { gone: true, ..marked }));
                }
                Ok(attempt)
            }
            Attempt::Raced => Ok(Attempt::Raced),
        }
    }

    async fn remove_now(&self, existing: &Object, object: &Value) -> Result<Attempt> {
        if self.ctx.dry_run {
            return Ok(Attempt::Unwritten(Deleted {
                object: existing.clone(),
                gone: true,
            }));
        }
        // Now, because afterwards a failure of it would not undo anything.
        let last = self.resource.in_version(existing.clone()).await?;
        let response = self.remove(existing.key(), existing.revision()).await?;
        if !response.succeeded {
            return Ok(Attempt::Raced);
        }
        self.registry.metrics.deletes.add(1);
        self.resource
            .strategy
            .after_delete(&self.strategy_context(), object)
            .await;
        // What clients get is the state before, with the revision of the deletion.
        Ok(Attempt::Done(Deleted {
            object: last.at_revision(response.revision),
            gone: true,
        }))
    }
}

/// Nothing to write: it is being deleted already.
fn waiting(existing: &Object) -> Attempt {
    Attempt::Unwritten(Deleted {
        object: existing.clone(),
        gone: false,
    })
}
