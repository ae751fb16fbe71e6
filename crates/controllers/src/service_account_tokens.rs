//! Token secrets of ServiceAccounts: new ones are filled in, and they go when their account does. Upstream:
//! pkg/controller/serviceaccount/tokens_controller.go.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use corten_client::driver::{self, Next};
use corten_client::object::{MetaExt, path_of};
use corten_client::{Error, Event, Informer, Key, Partial, Queue, watch};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use parking_lot::Mutex;
use serde::Deserialize;

use crate::core::{Action, Context, Executor, Write};
use crate::keys::TokenSigner;

const WORKERS: usize = 2;
pub(crate) const NAME: &str = "kubernetes.io/service-account.name";
pub(crate) const UID: &str = "kubernetes.io/service-account.uid";
const QUERY: &str = "fieldSelector=type%3Dkubernetes.io%2Fservice-account-token";

/// What token secrets are filled with.
#[derive(Clone)]
pub struct Filling {
    pub signer: Arc<dyn TokenSigner>,
    /// PEM; empty: none is written.
    pub root_ca: String,
}

#[derive(Deserialize)]
struct List {
    #[serde(default)]
    items: Vec<Secret>,
}

/// Deletions of the token secrets of an account that is gone: those that name it, and its uid if they name one.
#[must_use]
pub fn plan(account: &str, living: Option<&ServiceAccount>, secrets: &[Secret]) -> Vec<Action> {
    let of = |s: &&Secret| s.metadata.annotation(NAME) == Some(account);
    let stale = |s: &&Secret| living.is_none_or(|living| is_stale(s, living));
    secrets
        .iter()
        .filter(of)
        .filter(stale)
        .map(|s| Write::delete(s).into())
        .collect()
}

/// Whether a secret is of an earlier account of this name.
fn is_stale(secret: &Secret, living: &ServiceAccount) -> bool {
    let uid = secret.metadata.annotation(UID).unwrap_or_default();
    !uid.is_empty() && uid != living.metadata.uid()
}

/// Updates of the account's token secrets that lack something.
///
/// # Errors
/// When a token cannot be signed.
pub fn fill(account: &ServiceAccount, secrets: &[Secret], with: &Filling) -> Result<Vec<Action>, String> {
    let meta = &account.metadata;
    let of = |s: &&Secret| s.metadata.annotation(NAME) == Some(meta.name()) && !is_stale(s, account);
    let mut actions = Vec::new();
    for secret in secrets.iter().filter(of).filter(|s| !s.metadata.terminating()) {
        let held = |key: &str| {
            secret
                .data
                .as_ref()
                .and_then(|d| d.get(key))
                .map(|v| v.0.as_slice())
        };
        let lacks = |key: &str| held(key).is_none_or(<[u8]>::is_empty);
        let lacks_ca = !with.root_ca.is_empty() && held("ca.crt") != Some(with.root_ca.as_bytes());
        if !lacks_ca && !lacks("namespace") && !lacks("token") {
            continue;
        }
        let mut filled = secret.clone();
        let data = filled.data.get_or_insert_default();
        let mut set =
            |key: &str, value: String| drop(data.insert(key.into(), ByteString(value.into_bytes())));
        if lacks_ca {
            set("ca.crt", with.root_ca.clone());
        }
        if lacks("namespace") {
            set("namespace", meta.ns().to_owned());
        }
        if lacks("token") {
            set("token", with.signer.sign(account, secret.metadata.name())?);
        }
        let annotations = filled.metadata.annotations.get_or_insert_default();
        annotations.insert(NAME.into(), meta.name().to_owned());
        annotations.insert(UID.into(), meta.uid().to_owned());
        actions.push(Write::update(&filled).into());
    }
    Ok(actions)
}

/// The update of an account that names token secrets which are gone.
#[must_use]
pub fn forget(account: &ServiceAccount, gone: &BTreeSet<String>) -> Option<Action> {
    let named = |r: &k8s_openapi::api::core::v1::ObjectReference| {
        r.name.as_ref().is_some_and(|name| gone.contains(name))
    };
    if !account.secrets.iter().flatten().any(named) {
        return None;
    }
    let mut account = account.clone();
    account.secrets.get_or_insert_default().retain(|r| !named(r));
    Some(Write::update(&account).into())
}

/// Names of token secrets that went, by their account; bounded by the keys in the queue.
type Gone = Arc<Mutex<HashMap<Key, BTreeSet<String>>>>;

/// The metadata of all token secrets; what they hold is not kept.
#[must_use]
pub fn secrets(context: &Context) -> Informer<Partial> {
    let source = watch::Source {
        query: QUERY.into(),
        ..watch::Source::metadata(path_of("", "v1", "secrets", "", "", ""))
    };
    Informer::start(context.factory.client().clone(), source, context.stop.clone())
}

/// Runs the controller until its context stops. Without a filling, new secrets wait for someone else's.
pub async fn run(context: Context, filling: Option<Filling>, secrets: Informer<Partial>) {
    let accounts = context.factory.informer::<ServiceAccount>();
    let queue: Queue<Key> = Queue::new("serviceaccount_tokens");
    let adding = queue.clone();
    accounts.on_event(move |event| {
        if let Event::Deleted(account) = event {
            adding.add(Key::of(&**account));
        }
    });
    accounts.synced().await;
    let gone = Gone::default();
    queue_for_secrets(&secrets, &queue, Arc::clone(&gone));
    let executor = Arc::new(context.executor("serviceaccount-token-controller"));
    driver::run(
        "serviceaccount_tokens",
        queue,
        WORKERS,
        context.stop.clone(),
        move |key| {
            let (executor, filling) = (Arc::clone(&executor), filling.clone());
            let gone = gone.lock().remove(&key).unwrap_or_default();
            async move { sync(&executor, &key, filling.as_ref(), &gone).await }
        },
    )
    .await;
}

fn queue_for_secrets(secrets: &Informer<Partial>, queue: &Queue<Key>, gone: Gone) {
    let adding = queue.clone();
    secrets.on_event(move |event| {
        let secret = &event.object().metadata;
        let Some(name) = secret.annotation(NAME) else {
            return;
        };
        let key = Key::new(secret.ns(), name);
        if matches!(event, Event::Deleted(_)) {
            let mut gone = gone.lock();
            let names = gone.entry(key.clone()).or_default();
            names.insert(secret.name().to_owned());
        }
        adding.add(key);
    });
}

async fn sync(
    executor: &Executor,
    key: &Key,
    filling: Option<&Filling>,
    gone: &BTreeSet<String>,
) -> Result<Next, Error> {
    // The cache may not have seen an account that was just made.
    let living = match executor.caller.get::<ServiceAccount>(key.ns(), key.name()).await {
        Ok(account) => Some(account),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error),
    };
    let list = path_of("", "v1", "secrets", key.ns(), "", "");
    let secrets: List = executor.caller.read(&format!("{list}?{QUERY}")).await?;
    let mut actions = plan(key.name(), living.as_ref(), &secrets.items);
    if let Some(account) = &living {
        let mut gone = gone.clone();
        gone.retain(|name| secrets.items.iter().all(|s| s.metadata.name() != name));
        actions.extend(forget(account, &gone));
        if let Some(filling) = filling {
            actions.extend(fill(account, &secrets.items, filling).map_err(Error::Other)?);
        }
    }
    match executor.apply(actions, None).await {
        // Whoever changed it meanwhile has caused an event.
        Err(error) if !error.is_conflict() && !error.is_not_found() => Err(error),
        _ => Ok(Next::Done),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::core::action::transcript;

    struct Fixed;

    impl TokenSigner for Fixed {
        fn sign(&self, account: &ServiceAccount, secret: &str) -> Result<String, String> {
            Ok(format!("{}/{secret}", account.metadata.uid()))
        }
    }

    fn account() -> ServiceAccount {
        serde_json::from_value(json!({"metadata": {"namespace": "a", "name": "x", "uid": "u"},
            "secrets": [{"name": "gone"}, {"name": "kept"}]}))
        .unwrap()
    }

    fn secret(name: &str, uid: Option<&str>) -> Secret {
        serde_json::from_value(json!({"metadata": {"namespace": "a", "name": name,
            "annotations": {NAME: "x", UID: uid.unwrap_or_default()}}}))
        .unwrap()
    }

    #[test]
    fn new_secrets_are_filled_once() {
        let filling = Filling {
            signer: Arc::new(Fixed),
            root_ca: "PEM".into(),
        };
        let secrets = [secret("t", None), secret("former", Some("other"))];
        let actions = fill(&account(), &secrets, &filling).unwrap();
        assert_eq!(transcript(&actions), "update secrets t\n");
        let Some(Action::Write(write)) = actions.into_iter().next() else {
            panic!("nothing written");
        };
        let filled = Secret::deserialize(&*write.body).unwrap();
        let data = filled.data.clone().unwrap();
        assert_eq!(data["token"].0, b"u/t");
        assert_eq!(data["namespace"].0, b"a");
        assert_eq!(data["ca.crt"].0, b"PEM");
        assert_eq!(filled.metadata.annotation(UID), Some("u"));
        assert!(fill(&account(), &[filled], &filling).unwrap().is_empty());
    }

    #[test]
    fn accounts_forget_secrets_that_are_gone() {
        let gone = BTreeSet::from(["gone".to_owned()]);
        let Some(Action::Write(write)) = forget(&account(), &gone) else {
            panic!("nothing written");
        };
        assert_eq!(write.body["secrets"], json!([{"name": "kept"}]));
        assert!(forget(&account(), &BTreeSet::new()).is_none());
    }
}
