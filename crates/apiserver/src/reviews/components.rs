//! ComponentStatus (`kubectl get cs`): deprecated upstream, still served.

use corten_meta::status::Details;
use corten_meta::{GroupResource, Status, labels};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::call::Call;
use crate::catalog::Served;
use crate::listing::Listing;
use crate::negotiate::Shape;
use crate::respond::{self, Answer};
use crate::shape;

/// Upstream's name of the store and the two roles, which live in this process: that this answers is their health.
const COMPONENTS: [&str; 3] = ["controller-manager", "scheduler", STORE];

const STORE: &str = "etcd-0";

fn component(call: &Call, name: &str) -> Value {
    let health = if name == STORE {
        call.server.registry.store_health()
    } else {
        Ok(())
    };
    let condition = match health {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(unhealthy) => json!({"type": "Healthy", "status": "False", "error": unhealthy.reason}),
    };
    json!({
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [condition],
    })
}

/// Which of them the list's options select. They have no labels; all other options are only validated.
fn selected(call: &Call) -> Result<Vec<&'static str>, Status> {
    let options = Listing::read(&call.query, &call.info, false)?.into_list();
    let (labels, fields) = (
        options
            .label_selector
            .unwrap_or_else(labels::Selector::everything),
        options.field_selector.unwrap_or_default(),
    );
    let known = |field: &str| matches!(field, "metadata.name" | "metadata.namespace");
    if let Some(other) = fields.requirements().iter().find(|r| !known(&r.field)) {
        let field = &other.field;
        return Err(Status::bad_request(format!(
            "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        )));
    }
    let fits = |name: &&'static str| fields.matches(|f| (f == "metadata.name").then_some(*name));
    let unlabelled = labels.matches_with(|_| None);
    Ok(COMPONENTS
        .into_iter()
        .filter(|_| unlabelled)
        .filter(fits)
        .collect())
}

fn no_watch() -> Status {
    let text = "watch is not supported on resources of kind \"componentstatuses\"";
    Status::new(405, "MethodNotAllowed", text).with_details(Details {
        kind: "componentstatuses".to_owned(),
        ..Details::default()
    })
}

/// GET of one or of all.
///
/// # Errors
/// 404, 405.
pub fn answer(call: &Call, served: &Served) -> Result<Answer, Status> {
    if call.method != Method::GET {
        return Err(Status::method_not_allowed());
    }
    if call.info.verb == "watch" {
        return Err(no_watch());
    }
    let accepted = call.object_answer()?;
    let name = &call.info.name;
    if call.info.named_by_path {
        if !COMPONENTS.contains(&name.as_str()) {
            // Upstream says it in the singular.
            return Err(Status::not_found(
                &GroupResource::new("", "componentstatus"),
                name,
            ));
        }
        let value = component(call, name);
        let value = shape::of_one(call, served, value, accepted)?;
        return respond::object(StatusCode::OK, &value, accepted);
    }
    let selected = selected(call)?;
    let values: Vec<Value> = selected.into_iter().map(|c| component(call, c)).collect();
    let metadata = json!({"resourceVersion": ""});
    let value = match accepted.shape {
        Shape::Plain => shape::plain_list(served, values, json!({})),
        Shape::PartialList => shape::partial_list(&values, metadata, accepted.meta_version),
        Shape::Partial => return Err(shape::not_an_object(served)),
        Shape::Table => shape::whole_table(call, served, values, metadata, accepted)?,
    };
    respond::object(StatusCode::OK, &value, accepted)
}
