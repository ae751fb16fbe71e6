//! Writing every object of a resource once more: an applied configuration without fields changes nothing but the version
//! that is stored. Upstream: storageversionmigrator.go, which takes the objects from the garbage collector's cache.

use corten_client::object::MetaExt;
use corten_client::{Caller, Error, Partial};
use corten_meta::resource_version::is_newer;
use futures::future::join_all;
use serde_json::{Value, json};

use super::CONTROLLER;
use super::definition::APPLY;
use crate::core::discovery::Served;

/// Patches under way at a time.
const TOGETHER: usize = 16;
/// What a busy or ailing server answers: it is tried again.
const PASSING: [&str; 5] = [
    "ServerTimeout",
    "TooManyRequests",
    "ServiceUnavailable",
    "InternalError",
    "Timeout",
];

/// Writes what was last written up to `until`. The inner error ends the migration; the outer one calls for another try.
pub(super) async fn write_all(
    caller: &Caller,
    of: &Served,
    until: &str,
) -> Result<Result<(), String>, Error> {
    let collection = of.path("", "");
    let mut next = None;
    loop {
        let (page, more) = caller.metadata_page(&collection, next.as_deref()).await?;
        let mut old = Vec::new();
        for object in page {
            match is_newer(object.metadata.rv(), until) {
                Err(error) => return Ok(Err(unhandled(&error))),
                Ok(false) => old.push(object),
                Ok(true) => {}
            }
        }
        for some in old.chunks(TOGETHER) {
            let writes = some.iter().map(|object| write(caller, of, object));
            for outcome in join_all(writes).await {
                match outcome {
                    Ok(()) => {}
                    Err(error) if is_passing(&error) => return Err(error),
                    Err(error) => return Ok(Err(unhandled(&error))),
                }
            }
        }
        match more {
            None => return Ok(Ok(())),
            more => next = more,
        }
    }
}

fn unhandled(error: &impl std::fmt::Display) -> String {
    format!("migration encountered unhandled error: {error}")
}

/// A conflict means that it has been written, or has gone, since it was listed.
async fn write(caller: &Caller, of: &Served, object: &Partial) -> Result<(), Error> {
    let meta = &object.metadata;
    let body: Value = json!({"apiVersion": of.api_version(), "kind": of.kind,
        "metadata": {"uid": meta.uid(), "resourceVersion": meta.rv()}});
    let path = of.path(meta.ns(), meta.name());
    let path = format!("{path}?fieldManager={CONTROLLER}");
    match caller.patch(&path, APPLY, &body).await {
        Err(error) if !error.is_conflict() => Err(error),
        _ => Ok(()),
    }
}

/// The server could not be reached, or was not able to answer.
fn is_passing(error: &Error) -> bool {
    error.code() == 0 || PASSING.contains(&error.reason())
}
