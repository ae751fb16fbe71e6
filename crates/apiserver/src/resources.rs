//! The routing table's second level: paths below a served group and version.

use std::sync::Arc;

use corten_meta::Status;
use http::Method;

use crate::call::Call;
use crate::catalog::Served;
use crate::metrics::DeprecatedLabels;
use crate::respond::{self, Answer};
use crate::{reviews, subresources, verbs};

/// Finds the handler of a resource request. Large handlers have a box of their own, so that what leads to them is small.
///
/// # Errors
/// 404 and 405 in upstream's words, or what the handler gives.
pub async fn dispatch(call: Call) -> Result<Answer, Status> {
    let info = &call.info;
    let catalog = &call.server.catalog;
    let Some(served) = catalog.lookup(&info.group, &info.version, &info.resource) else {
        return nowhere(&call);
    };
    if served.custom.is_some() {
        return Box::pin(custom(call, served)).await;
    }
    // Paths below `proxy/` have been gone since v1.10, only their verb has not.
    if info.verb == "proxy" {
        return Err(Status::unknown_path());
    }
    if !right_scope(&call, &served) {
        return Err(Status::unknown_path());
    }
    if !info.subresource.is_empty() {
        return Box::pin(subresources::dispatch(call, served)).await;
    }
    if info.depth > 2 {
        return Err(Status::unknown_path());
    }
    if let Some(text) = deprecation(&served).filter(|_| has_route(&call, &served)) {
        call.warn(text);
        let labels = DeprecatedLabels {
            group: served.schema.group.into(),
            version: served.schema.version.into(),
            resource: served.schema.plural.into(),
            subresource: "".into(),
            removed_release: "",
        };
        let asked = &call.server.metrics.deprecated;
        asked.get_or_create(&labels).set(1);
    }
    if served.stored().is_err() {
        return Box::pin(reviews::dispatch(call, &served)).await;
    }
    if info.named_by_path {
        item(call, served).await
    } else {
        collection(call, served).await
    }
}

/// No such resource. Built-in groups have routers, for versions that are not there too, and those say so as an object.
fn nowhere(call: &Call) -> Result<Answer, Status> {
    if call.server.catalog.is_builtin_group(&call.info.group) {
        return Err(Status::unknown_path());
    }
    Ok(respond::not_found_text())
}

/// Custom kinds have no router: what does not fit their scope is not there at all.
async fn custom(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let info = &call.info;
    let (namespaced, everywhere) = (served.schema.namespaced, info.namespace.is_empty());
    let across = matches!(&*info.verb, "list" | "watch");
    if namespaced == everywhere && !(namespaced && across) {
        return Ok(respond::not_found_text());
    }
    if let Some(text) = served
        .custom
        .as_ref()
        .and_then(|kind| kind.version.deprecated.as_deref())
    {
        call.warn(text);
    }
    if !info.subresource.is_empty() {
        if served.schema.subresource(&info.subresource).is_none() {
            return Err(Status::not_found(&served.schema.group_resource(), &info.name));
        }
        return Box::pin(subresources::dispatch(call, served)).await;
    }
    if info.named_by_path {
        item(call, served).await
    } else {
        collection(call, served).await
    }
}

/// The warning that goes with every request a deprecated resource has a route for.
fn deprecation(served: &Served) -> Option<&'static str> {
    match (served.schema.group, served.schema.plural) {
        ("", "componentstatuses") => Some("v1 ComponentStatus is deprecated in v1.19+"),
        ("", "endpoints") => {
            Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        }
        _ => None,
    }
}

/// Whether the method leads somewhere: to objects by their names, to collections without.
fn has_route(call: &Call, served: &Served) -> bool {
    let info = &call.info;
    let whole_cluster = served.schema.namespaced && info.namespace.is_empty();
    let fits = match &*info.verb {
        "watch" => true,
        "list" => !info.named_by_path,
        "create" | "deletecollection" => !info.named_by_path && !whole_cluster,
        _ => info.named_by_path,
    };
    fits && served.schema.has_verb(&info.verb)
}

/// Cluster-scoped resources have no namespace in their path. Namespaced ones need it, but for lists over all namespaces.
fn right_scope(call: &Call, served: &Served) -> bool {
    let info = &call.info;
    if info.resource == "namespaces" {
        return true;
    }
    if served.schema.namespaced {
        !info.namespace.is_empty() || (!info.named_by_path && served.schema.has_verb("list"))
    } else {
        info.namespace.is_empty()
    }
}

async fn collection(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let whole_cluster = served.schema.namespaced && call.info.namespace.is_empty();
    let takes = |verb: &str| served.schema.has_verb(verb) && !whole_cluster;
    match call.method {
        Method::GET if call.info.verb == "watch" => Box::pin(verbs::watch(call, served)).await,
        Method::GET if served.schema.has_verb("list") => Box::pin(verbs::list(call, served)).await,
        Method::POST if takes("create") => Box::pin(verbs::create(call, served)).await,
        Method::DELETE if takes("deletecollection") => Box::pin(verbs::delete_collection(call, served)).await,
        _ => Err(Status::method_not_allowed()),
    }
}

async fn item(call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let takes = |verb: &str| served.schema.has_verb(verb);
    match call.method {
        Method::GET if call.info.verb == "watch" => Box::pin(verbs::watch(call, served)).await,
        Method::GET if takes("get") => verbs::get(call, served).await,
        Method::PUT if takes("update") => Box::pin(verbs::update(call, served)).await,
        Method::PATCH if takes("patch") => Box::pin(verbs::patch(call, served)).await,
        Method::DELETE if takes("delete") => Box::pin(verbs::delete(call, served)).await,
        _ => Err(Status::method_not_allowed()),
    }
}
