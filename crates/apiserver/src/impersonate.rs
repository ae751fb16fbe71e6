//! `Impersonate-*` headers (`kubectl --as`): acting as another user, where RBAC grants the verb `impersonate`.

use std::collections::BTreeMap;
use std::sync::Arc;

use corten_auth::authz::Attributes;
use corten_auth::{UserInfo, groups, split_service_account, users};
use corten_meta::Status;

use crate::authz::check;
use crate::call::Call;
use crate::query::unescape;

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA_PREFIX: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Replaces the call's user by the one its headers ask for.
///
/// # Errors
/// 403 where one of the identities asked for may not be taken, 400 where groups or extras come without a user.
pub fn apply(call: &mut Call) -> Result<(), Status> {
    let texts = |name: &str| -> Vec<String> {
        call.headers
            .get_all(name)
            .iter()
            .filter_map(|v| v.to_str().ok())
            .map(str::to_owned)
            .collect()
    };
    let (user, groups, uid) = (
        call.header(USER).unwrap_or_default(),
        texts(GROUP),
        call.header(UID).unwrap_or_default(),
    );
    let extra = extras(call);
    if user.is_empty() {
        if groups.is_empty() && uid.is_empty() && extra.is_empty() {
            return Ok(());
        }
        let asked = references(&groups, &extra, uid).join(" ");
        let text = format!("requested [{asked}] without impersonating a user");
        return Err(Status::bad_request(text));
    }
    let wanted = UserInfo {
        username: user.to_owned(),
        uid: uid.to_owned(),
        groups,
        extra,
    };
    permitted(call, &wanted)?;
    call.user = Arc::new(completed(wanted));
    if let Some(audit) = call.audit() {
        audit.impersonated(&call.user);
    }
    Ok(())
}

/// What is asked for as Go prints upstream's references to it: kind, namespace, name, uid, version, resource version and field.
fn references(groups: &[String], extra: &BTreeMap<String, Vec<String>>, uid: &str) -> Vec<String> {
    let groups = groups.iter().map(|name| format!("{{Group  {name}    }}"));
    let of_key = |(key, values): (&String, &Vec<String>)| -> Vec<String> {
        let one = |value| format!("{{UserExtra  {value}  {AUTHENTICATION}/v1  {key}}}");
        values.iter().map(one).collect()
    };
    let uid = Some(uid).filter(|uid| !uid.is_empty());
    let uid = uid.map(|uid| format!("{{UID  {uid}  {AUTHENTICATION}/v1  }}"));
    groups.chain(extra.iter().flat_map(of_key)).chain(uid).collect()
}

fn extras(call: &Call) -> BTreeMap<String, Vec<String>> {
    let mut out: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &call.headers {
        if let (Some(key), Ok(value)) = (name.as_str().strip_prefix(EXTRA_PREFIX), value.to_str()) {
            let key = unescape(key, false).unwrap_or_else(|| key.to_owned());
            out.entry(key).or_default().push(value.to_owned());
        }
    }
    out
}

fn permitted(call: &Call, wanted: &UserInfo) -> Result<(), Status> {
    let ask = |a: Attributes<'_>| check(&call.server, &a);
    let question = |group, resource| Attributes::resource(&call.user, "impersonate", group, resource);
    match split_service_account(&wanted.username) {
        Some((namespace, name)) => ask(Attributes {
            namespace,
            name,
            ..question("", "serviceaccounts")
        })?,
        None => ask(Attributes {
            name: &wanted.username,
            ..question("", "users")
        })?,
    }
    for name in &wanted.groups {
        ask(Attributes {
            name,
            ..question("", "groups")
        })?;
    }
    for (key, values) in &wanted.extra {
        for name in values {
            let subresource = key.as_str();
            ask(Attributes {
                name,
                subresource,
                version: "v1",
                ..question(AUTHENTICATION, "userextras")
            })?;
        }
    }
    if !wanted.uid.is_empty() {
        ask(Attributes {
            name: &wanted.uid,
            version: "v1",
            ..question(AUTHENTICATION, "uids")
        })?;
    }
    Ok(())
}

/// Adds the groups that come with a name, as upstream does.
fn completed(mut user: UserInfo) -> UserInfo {
    if user.username == users::ANONYMOUS {
        if !user.in_group(groups::UNAUTHENTICATED) {
            user.groups.push(groups::UNAUTHENTICATED.to_owned());
        }
        return user;
    }
    if user.groups.is_empty()
        && let Some((namespace, name)) = split_service_account(&user.username)
    {
        user.groups = UserInfo::service_account(namespace, name, "").groups;
    }
    user.authenticated()
}
