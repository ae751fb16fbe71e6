//! The bootstrap signer: `kube-public/cluster-info` carries one signature per token, so that who has a token can tell
//! that the cluster's address and CA are the cluster's.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use corten_client::driver::{self, Next};
use corten_client::object::MetaExt;
use corten_client::{Error, Key, Queue};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use ring::hmac;
use serde_json::json;

use super::{NAMESPACE, QUERY, is_token, signing};
use crate::core::{Action, Context, Write};

const PUBLIC: &str = "kube-public";
const CLUSTER_INFO: &str = "cluster-info";
const KUBECONFIG: &str = "kubeconfig";
const SIGNATURE: &str = "jws-kubeconfig-";

/// A JWS with the content left out (RFC 7515, appendix F), HS256 under the token's secret part.
#[must_use]
pub fn detached(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let tag = hmac::sign(&key, signed.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The update that gives the map one signature for each token that may sign, and no other.
#[must_use]
pub fn plan<'a>(
    info: &ConfigMap,
    secrets: impl IntoIterator<Item = &'a Secret>,
    now: Timestamp,
) -> Option<Action> {
    let data = info.data.as_ref()?;
    let content = data.get(KUBECONFIG)?;
    let mut signed: BTreeMap<String, String> = data
        .iter()
        .filter(|(key, _)| !key.starts_with(SIGNATURE))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    for (id, secret) in secrets
        .into_iter()
        .filter(|s| is_token(s))
        .filter_map(|s| signing(s, now))
    {
        signed.insert(format!("{SIGNATURE}{id}"), detached(content, id, secret));
    }
    if signed == *data {
        return None;
    }
    let mut info = info.clone();
    info.data = Some(signed);
    Some(Write::update(&info).into())
}

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let query = format!("fieldSelector=metadata.name%3D{CLUSTER_INFO}");
    let maps = context.factory.filtered::<ConfigMap>(&query);
    let secrets = context.factory.filtered::<Secret>(QUERY);
    let queue: Queue<Key> = Queue::new("bootstrap_signer_queue");
    let adding = queue.clone();
    maps.on_event(move |event| {
        let meta = &event.object().metadata;
        if meta.ns() == PUBLIC && meta.name() == CLUSTER_INFO {
            adding.add(Key::new(PUBLIC, CLUSTER_INFO));
        }
    });
    let adding = queue.clone();
    secrets.on_event(move |event| {
        if event.object().metadata.ns() == NAMESPACE {
            adding.add(Key::new(PUBLIC, CLUSTER_INFO));
        }
    });
    maps.synced().await;
    secrets.synced().await;
    let executor = Arc::new(context.executor("bootstrap-signer"));
    let stop = context.stop.clone();
    driver::run("bootstrap_signer", queue, 1, stop, move |key| {
        let executor = Arc::clone(&executor);
        let tokens = secrets.list();
        let action = maps
            .get_key(&key)
            .and_then(|info| plan(&info, tokens.iter().map(|s| &**s), context.now()));
        async move {
            let actions = action.into_iter().collect();
            executor.apply(actions, None).await?;
            Ok::<_, Error>(Next::Done)
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde::Deserialize as _;

    use super::*;
    use crate::core::action::transcript;

    fn info(data: serde_json::Value) -> ConfigMap {
        serde_json::from_value(json!({"metadata": {"namespace": PUBLIC, "name": CLUSTER_INFO}, "data": data}))
            .unwrap()
    }

    fn token(id: &str, more: &[(&str, &str)]) -> Secret {
        let mut data = serde_json::Map::new();
        let own = [
            ("token-id", id),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-signing", "true"),
        ];
        for (key, value) in own.iter().chain(more) {
            let value = base64::engine::general_purpose::STANDARD.encode(value);
            data.insert((*key).to_owned(), value.into());
        }
        serde_json::from_value(json!({"type": "bootstrap.kubernetes.io/token", "data": data,
            "metadata": {"namespace": NAMESPACE, "name": format!("bootstrap-token-{id}")}}))
        .unwrap()
    }

    #[test]
    fn the_signature_is_that_of_upstream_s_tests() {
        let secret = "my voice is my passcode";
        assert_eq!(
            detached(
                "Hello from the other side. I must have called a thousand times.",
                "joshua",
                secret
            ),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"
        );
    }

    #[test]
    fn each_token_signs_and_signatures_of_others_go() {
        let now = Timestamp::UNIX_EPOCH;
        let old = info(json!({"kubeconfig": "c", "jws-kubeconfig-gone00": "x", "more": "kept"}));
        let past = token("past00", &[("expiration", "1969-12-31T00:00:00Z")]);
        let tokens = [token("abcdef", &[]), past];
        let Some(Action::Write(write)) = plan(&old, &tokens, now) else {
            panic!("nothing to write");
        };
        assert_eq!(
            transcript(&[Action::Write(write.clone())]),
            "update configmaps cluster-info\n"
        );
        let keys: Vec<_> = write.body["data"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["jws-kubeconfig-abcdef", "kubeconfig", "more"]);
        let written = ConfigMap::deserialize(&*write.body).unwrap();
        assert!(plan(&written, &tokens, now).is_none());
        assert!(plan(&info(json!({"other": "c"})), &tokens, now).is_none());
    }
}
