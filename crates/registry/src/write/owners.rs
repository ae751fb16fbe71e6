//! Owner references that say the same twice (`dedupOwnerReferences`).

use serde_json::Value;

use crate::context::WriteContext;

const ADVICE: &str = "API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix \
                      your requests; duplicate UID(s) observed";

/// Takes out references that are there already, with a warning to the client. `admitted` says that mutating admission has
/// been asked: the text tells whose doing it was.
pub fn dedup_owners(ctx: &WriteContext, object: &mut Value, admitted: bool) {
    let owners = object
        .pointer_mut("/metadata/ownerReferences")
        .and_then(Value::as_array_mut);
    let Some(owners) = owners.filter(|owners| owners.len() > 1) else {
        return;
    };
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut duplicates: Vec<String> = Vec::new();
    for owner in std::mem::take(owners) {
        if kept.contains(&owner) {
            duplicates.push(owner["uid"].as_str().unwrap_or_default().to_owned());
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if !duplicates.is_empty() {
        let when = if admitted {
            " after mutating admission happens"
        } else {
            ""
        };
        let uids = duplicates.join(", ");
        ctx.warn(format!(
            ".metadata.ownerReferences contains duplicate entries{when}; {ADVICE}: {uids}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::User;
    use serde_json::json;
    use std::time::SystemTime;

    #[test]
    fn what_is_said_twice_counts_once() {
        let ctx = WriteContext::new(User::default(), SystemTime::UNIX_EPOCH);
        let (a, b) = (json!({"uid": "u", "name": "a"}), json!({"uid": "u", "name": "b"}));
        let mut object = json!({"metadata": {"ownerReferences": [a, b]}});
        dedup_owners(&ctx, &mut object, false);
        assert!(ctx.take_warnings().is_empty());
        object["metadata"]["ownerReferences"] = json!([a, b, a]);
        dedup_owners(&ctx, &mut object, false);
        assert_eq!(object["metadata"]["ownerReferences"], json!([a, b]));
        let warnings = ctx.take_warnings();
        assert!(warnings[0].starts_with(".metadata.ownerReferences contains duplicate entries; API"));
        assert!(warnings[0].ends_with("duplicate UID(s) observed: u"));
    }
}
