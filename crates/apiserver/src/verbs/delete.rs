//! DELETE of one object and of collections.

use std::sync::Arc;

use corten_meta::status::Details;
use corten_meta::{Status, object};
use corten_registry::{Items, OpenPage};
use http::StatusCode;

use crate::call::Call;
use crate::catalog::Served;
use crate::listing::Listing;
use crate::negotiate::Accepted;
use crate::options::Deletion;
use crate::respond::{self, Answer};
use crate::verbs::answer_object;
use crate::verbs::list;
use crate::{codec, negotiate};

/// Resources whose last state is the answer to their deletion (upstream's `ReturnDeletedObject`).
const RETURNS_OBJECT: [(&str, &str); 17] = [
    ("", "namespaces"),
    ("", "persistentvolumeclaims"),
    ("", "persistentvolumes"),
    ("", "pods"),
    ("", "podtemplates"),
    ("", "resourcequotas"),
    ("", "serviceaccounts"),
    ("", "services"),
    ("resource.k8s.io", "deviceclasses"),
    ("resource.k8s.io", "resourceclaims"),
    ("resource.k8s.io", "resourceclaimtemplates"),
    ("resource.k8s.io", "resourceslices"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "storageclasses"),
    ("storage.k8s.io", "volumeattachments"),
    ("storage.k8s.io", "volumeattributesclasses"),
];

/// `DELETE .../NAME`.
///
/// # Errors
/// 404, 409 for preconditions, 400 and 422 for bad options.
pub async fn delete(mut call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let deletion = read_options(&mut call).await?;
    warn_of_orphans(&call, &served, &deletion);
    let ctx = call.write_context(deletion.dry_run, "");
    let deleted = {
        let (ns, name) = (served.namespace_of(&call), &call.info.name);
        call.server
            .registry
            .delete(&ctx, served.stored()?, ns, name, &deletion.options)
            .await
    };
    call.take_notes(&ctx);
    let deleted = deleted?;
    let orphaning_refused = !deleted.gone && deletion.options.orphan_dependents == Some(false);
    let code = if orphaning_refused {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    if !deleted.gone || RETURNS_OBJECT.contains(&(served.schema.group, served.schema.plural)) {
        return answer_object(&call, &served, code, &deleted.object, accepted);
    }
    let details = Details {
        name: call.info.name.clone(),
        group: served.schema.group.to_owned(),
        kind: served.schema.plural.to_owned(),
        uid: object::uid(&deleted.object.value()?).to_owned(),
        ..Details::default()
    };
    respond::object(
        code,
        &Status::success_json(&details),
        Accepted {
            shape: negotiate::Shape::Plain,
            ..accepted
        },
    )
}

/// `DELETE` of everything a selector finds.
///
/// # Errors
/// 400 and 422 for bad options.
pub async fn delete_collection(mut call: Call, served: Arc<Served>) -> Result<Answer, Status> {
    let accepted = call.answer_of(&served)?;
    let selection = Listing::read(&call.query, &call.info, false)?.into_list();
    let deletion = read_options(&mut call).await?;
    warn_of_orphans(&call, &served, &deletion);
    let ctx = call.write_context(deletion.dry_run, "");
    let page = {
        let namespace = Some(served.namespace_of(&call)).filter(|ns| !ns.is_empty());
        let registry = &call.server.registry;
        registry
            .delete_collection(&ctx, served.stored()?, namespace, &deletion.options, &selection)
            .await
    };
    call.take_notes(&ctx);
    let page = page?;
    let page = OpenPage {
        revision: page.revision,
        continue_token: page.continue_token,
        remaining: page.remaining,
        items: Items::of_objects(served.stored()?, page.items),
    };
    list::answer(&call, &served, page, accepted).await
}

/// Jobs leave their pods behind unless the client says otherwise.
fn warn_of_orphans(call: &Call, served: &Served, deletion: &Deletion) {
    let options = &deletion.options;
    let unsaid = options.propagation.is_none() && options.orphan_dependents.is_none();
    if unsaid && (served.schema.group, served.schema.plural) == ("batch", "jobs") {
        call.warn(JOB_ORPHANS);
    }
}

const JOB_ORPHANS: &str = "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to \
                           remove them or set propagationPolicy=Orphan to suppress this warning";

/// Options come from the body where there is one, else from the query.
async fn read_options(call: &mut Call) -> Result<Deletion, Status> {
    let body = call.read_body().await?;
    if body.is_empty() {
        return Deletion::from_query(&call.query);
    }
    let format = call.body_format()?;
    Deletion::from_body(&codec::decode_options(&body, format, "DeleteOptions")?)
}
