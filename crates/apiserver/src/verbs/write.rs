//! POST and PUT.

use std::sync::Arc;

use corten_meta::{Status, object};
use corten_registry::{CreateOptions, Subresource, UpdateOptions, dedup_owners};
use http::StatusCode;
use serde_json::Value;

use crate::apply::{Ownership, may_create};
use crate::call::Call;
use crate::catalog::Served;
use crate::options::{For, WriteOptions};
use crate::respond::Answer;
use crate::verbs::answer_object;
use crate::{codec, convert, grants};

/// `POST` to a collection.
///
/// # Errors
/// What decoding, admission, validation and the store give.
pub async fn create(mut call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let format = call.body_format()?;
    let body = call.read_body().await?;
    let options = WriteOptions::read(&call.query, For::Create)?;
    let mut obj = codec::decode_served(&call, &served, &body, format, options.validation)?;
    served.may_create(object::name(&obj))?;
    check_namespace(&mut obj, served.namespace_of(&call))?;
    let ownership = Ownership::new(&call, &served, &options);
    grants::check(&call, &served, &Value::Null, &obj)?;
    let ctx = call.write_context(options.dry_run, ownership.manager());
    dedup_owners(&ctx, &mut obj, false);
    ownership.record("", &Value::Null, &mut obj);
    convert::to_stored(&served, &mut obj);
    let created = {
        let resource = served.stored()?;
        let namespace = served.namespace_of(&call);
        call.server
            .registry
            .create(&ctx, resource, namespace, obj, &CreateOptions::default())
            .await
    };
    call.take_notes(&ctx);
    answer_object(&call, &served, StatusCode::CREATED, &created?, accepted)
}

/// `PUT` of one object or one of its subresources that has the object's own kind.
///
/// # Errors
/// As [`create`]; 409 for a stale resourceVersion.
pub async fn update(mut call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let body = call.read_body().await?;
    let options = WriteOptions::read(&call.query, For::Update)?;
    let format = call.body_format()?;
    let mut obj = codec::decode_served(&call, &served, &body, format, options.validation)?;
    check_namespace(&mut obj, served.namespace_of(&call))?;
    check_name(&obj, &call.info.name)?;
    let ownership = Ownership::new(&call, &served, &options);
    let ctx = call.write_context(options.dry_run, ownership.manager());
    dedup_owners(&ctx, &mut obj, false);
    let uid = Some(object::uid(&obj))
        .filter(|u| !u.is_empty())
        .map(str::to_owned);
    let update = UpdateOptions {
        uid,
        ..UpdateOptions::default()
    };
    let subresource = served.subresource(&call.info.subresource);
    let updated = {
        let change = |live: &Value| {
            let mut wanted = obj.clone();
            if live.is_null() {
                may_create(&call, &wanted)?;
            }
            grants::check(&call, &served, live, &wanted)?;
            let current = convert::as_served(&served, live);
            ownership.record(subresource.0, &current, &mut wanted);
            convert::to_stored(&served, &mut wanted);
            Ok(wanted)
        };
        let (ns, name) = (served.namespace_of(&call), &call.info.name);
        call.server
            .registry
            .update(&ctx, served.stored()?, ns, name, subresource, change, &update)
            .await
    };
    call.take_notes(&ctx);
    let updated = updated?;
    let code = if updated.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    answer_object(&call, &served, code, &updated.object, accepted)
}

/// The object's namespace is the request's; one that says otherwise is refused.
///
/// # Errors
/// 400.
pub(crate) fn check_namespace(obj: &mut Value, namespace: &str) -> Result<(), Status> {
    let own = object::namespace(obj);
    if own == namespace {
        return Ok(());
    }
    if own.is_empty() || namespace.is_empty() {
        object::set_namespace(obj, namespace);
        return Ok(());
    }
    Err(Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

/// The object's name is the path's.
///
/// # Errors
/// 400.
pub(crate) fn check_name(obj: &Value, name: &str) -> Result<(), Status> {
    let own = object::name(obj);
    if own == name {
        return Ok(());
    }
    Err(Status::bad_request(if own.is_empty() {
        format!("the name of the object ({name} based on URL) was undeterminable: name must be provided")
    } else {
        format!("the name of the object ({own}) does not match the name on the URL ({name})")
    }))
}

impl Served {
    /// The registry's handle.
    ///
    /// # Errors
    /// 405 for virtual kinds.
    pub fn stored(&self) -> Result<&corten_registry::Resource, Status> {
        self.stored.as_ref().ok_or_else(Status::method_not_allowed)
    }

    /// Nothing is created of a kind whose definition is being deleted.
    ///
    /// # Errors
    /// 403.
    pub fn may_create(&self, name: &str) -> Result<(), Status> {
        if self.custom.as_ref().is_some_and(|kind| kind.terminating) {
            let text = "create not allowed while custom resource definition is terminating";
            return Err(Status::forbidden(&self.schema.group_resource(), name, text));
        }
        Ok(())
    }

    /// The request's namespace, `""` for cluster-scoped resources (whose path may hold one: namespaces themselves).
    pub fn namespace_of<'a>(&self, call: &'a Call) -> &'a str {
        if self.schema.namespaced {
            &call.info.namespace
        } else {
            ""
        }
    }

    /// The registry's name of a subresource.
    pub fn subresource(&self, name: &str) -> Subresource {
        self.schema
            .subresource(name)
            .map_or(Subresource::MAIN, |s| Subresource(s.name))
    }
}
