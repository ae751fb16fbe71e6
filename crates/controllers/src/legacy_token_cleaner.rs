//! The legacy service account token cleaner: Secrets that were made for accounts and whose tokens nobody has used for long
//! are first put out of use, and go when that was long ago too. Upstream:
//! pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go, which looks at all of them every day; here each is
//! looked at on the day on which it may be due.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use corten_client::driver::Next;
use corten_client::object::{MetaExt, path};
use corten_client::{Error, Event, Informer, Key, Partial, Pod, Queue};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ConfigMap, Pod as WholePod, Secret, ServiceAccount};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use crate::core::{Action, Context, Executor, Reconcile, Write, drive};
use crate::service_account_tokens::{NAME, UID};

mod mounted;

/// Upstream's `--legacy-service-account-token-clean-up-period`.
pub const CLEAN_UP_PERIOD: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// After this the date of tracking is asked for again where the server has none.
const WITHOUT_TRACKING: Duration = Duration::from_secs(24 * 60 * 60);
const WORKERS: usize = 1;
const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";

/// When `period` has passed since the end (UTC) of the day a label names; none if it names none.
#[must_use]
pub fn after_day(label: &str, period: Duration) -> Option<Timestamp> {
    let day: Date = label.parse().ok().filter(|_| label.len() == "2006-01-02".len())?;
    let end = day.tomorrow().ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    end.checked_add(SignedDuration::try_from(period).ok()?).ok()
}

/// From when on a token counts as unused for `period`; none if it is none that a controller made for `account`, or cannot
/// be judged.
#[must_use]
pub fn due(secret: &Partial, account: Option<&ServiceAccount>, period: Duration) -> Option<Timestamp> {
    let meta = &secret.metadata;
    let account = account.filter(|account| {
        let uid = meta.annotation(UID).unwrap_or_default();
        let named = |r: &k8s_openapi::api::core::v1::ObjectReference| r.name.as_deref() == Some(meta.name());
        (uid.is_empty() || uid == account.metadata.uid()) && account.secrets.iter().flatten().any(named)
    });
    if meta.terminating() || account.is_none() {
        return None;
    }
    // Times are whole seconds, and it must be older than the period.
    let made = meta
        .creation_timestamp
        .as_ref()
        .map_or(Timestamp::UNIX_EPOCH, |t| t.0);
    let old = made.checked_add(SignedDuration::try_from(period).ok()? + SignedDuration::from_secs(1));
    match meta.label(LAST_USED) {
        Some(day) => Some(after_day(day, period)?.max(old.ok()?)),
        None => old.ok(),
    }
}

/// What becomes of a token that is due and that no pod mounts.
#[must_use]
pub fn plan(secret: &Partial, period: Duration, now: Timestamp) -> (Option<Action>, Next) {
    let typed = Secret {
        metadata: secret.metadata.clone(),
        ..Secret::default()
    };
    let since = secret.metadata.label(INVALID_SINCE).unwrap_or_default();
    let Some(gone) = after_day(since, period) else {
        let meta = &typed.metadata;
        let today = now.to_zoned(TimeZone::UTC).date().to_string();
        let patch = json!({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": meta.name(),
            "namespace": meta.ns(), "uid": meta.uid(), "labels": {INVALID_SINCE: today}}});
        return (Some(Write::patch(&typed, patch).into()), Next::Done);
    };
    if let Some(left) = left(gone, now) {
        return (None, Next::After(left));
    }
    // Someone may use it, or trust it again, at this moment.
    let this = json!({"resourceVersion": typed.metadata.rv()});
    let delete = Write::delete(&typed).option("preconditions", this);
    (Some(delete.into()), Next::Done)
}

fn left(until: Timestamp, now: Timestamp) -> Option<Duration> {
    let left = until.duration_since(now);
    left.is_positive().then(|| left.unsigned_abs())
}

/// Tokens that are due but that pods mount, by namespace; bounded by the token Secrets there are.
type Waiting = Arc<Mutex<HashMap<String, BTreeSet<Key>>>>;

struct Controller {
    context: Context,
    executor: Executor,
    secrets: Informer<Partial>,
    accounts: Informer<ServiceAccount>,
    waiting: Waiting,
    period: Duration,
}

/// Runs the controller until its context stops. `secrets`: the metadata of all token Secrets.
pub async fn run(context: Context, reader: Context, secrets: Informer<Partial>, period: Duration) {
    let accounts = context.factory.informer::<ServiceAccount>();
    let queue: Queue<Key> = Queue::new("legacy_service_account_token_cleaner");
    let adding = queue.clone();
    secrets.on_event(move |event| {
        if !matches!(event, Event::Deleted(_)) {
            adding.add(Key::of(&**event.object()));
        }
    });
    let adding = queue.clone();
    accounts.on_event(move |event| {
        let account = match &event {
            Event::Updated { old, new } if old.secrets == new.secrets => return,
            Event::Deleted(_) => return,
            event => event.object(),
        };
        for named in account.secrets.iter().flatten() {
            let name = named.name.as_deref().unwrap_or_default();
            adding.add(Key::new(account.metadata.ns(), name));
        }
    });
    let waiting = Waiting::default();
    let (adding, freed) = (queue.clone(), Arc::clone(&waiting));
    context.factory.informer::<Pod>().on_event(move |event| {
        if let Event::Deleted(pod) = event
            && let Some(keys) = freed.lock().remove(pod.metadata.ns())
        {
            keys.into_iter().for_each(|key| adding.add(key));
        }
    });
    accounts.synced().await;
    secrets.synced().await;
    let stop = context.stop.clone();
    let this = Controller {
        executor: context.executor("legacy-service-account-token-cleaner"),
        context: reader,
        secrets,
        accounts,
        waiting,
        period,
    };
    drive("legacy_service_account_token_cleaner", queue, WORKERS, stop, this).await;
}

impl Reconcile for Controller {
    async fn sync(&self, key: &Key) -> Result<Next, Error> {
        let Some(secret) = self.secrets.get_key(key) else {
            return Ok(Next::Done);
        };
        let account = secret.metadata.annotation(NAME).unwrap_or_default();
        let account = self.accounts.get(key.ns(), account);
        let now = self.context.now();
        let Some(due) = due(&secret, account.as_deref(), self.period) else {
            return Ok(Next::Done);
        };
        if let Some(left) = left(due, now) {
            return Ok(Next::After(left));
        }
        match self.tracked().await?.map(|since| left(since, now)) {
            None => return Ok(Next::After(WITHOUT_TRACKING)),
            Some(Some(left)) => return Ok(Next::After(left)),
            Some(None) => {}
        }
        if self.is_mounted(key).await? {
            return Ok(Next::Done);
        }
        let (action, next) = plan(&secret, self.period, now);
        self.executor.apply(action.into_iter().collect(), None).await?;
        Ok(next)
    }
}

#[derive(Deserialize)]
struct Pods {
    #[serde(default)]
    items: Vec<WholePod>,
}

impl Controller {
    /// From when on the server's notes reach back far enough; none where it keeps none.
    async fn tracked(&self) -> Result<Option<Timestamp>, Error> {
        let map: ConfigMap = match self.executor.caller.get("kube-system", TRACKING).await {
            Err(error) if error.is_not_found() => return Ok(None),
            map => map?,
        };
        let since = map.data.as_ref().and_then(|data| data.get("since"));
        Ok(since.and_then(|day| after_day(day, self.period)))
    }

    fn wait(&self, key: &Key) {
        let mut waiting = self.waiting.lock();
        waiting
            .entry(key.ns().to_owned())
            .or_default()
            .insert(key.clone());
    }

    /// Whether a pod has it, in which case it is looked at again when one goes. What pods mount is not in the cache.
    async fn is_mounted(&self, key: &Key) -> Result<bool, Error> {
        self.wait(key);
        let path = path::<WholePod>(key.ns(), "", "");
        let pods: Pods = self.context.caller().read(&path).await?;
        let mounted = pods
            .items
            .iter()
            .any(|pod| mounted::secrets(pod).any(|name| name == key.name()));
        if !mounted && let Some(keys) = self.waiting.lock().get_mut(key.ns()) {
            keys.remove(key);
        }
        Ok(mounted)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::core::transcript;

    const DAY: Duration = Duration::from_secs(86_400);
    const PERIOD: Duration = Duration::from_secs(30 * 86_400);

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn secret(labels: serde_json::Value) -> Partial {
        serde_json::from_value(json!({"metadata": {"namespace": "a", "name": "t", "uid": "1", "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T12:00:00Z", "labels": labels, "annotations": {NAME: "x", UID: "u"}}}))
        .unwrap()
    }

    fn account(secrets: serde_json::Value) -> ServiceAccount {
        serde_json::from_value(
            json!({"metadata": {"namespace": "a", "name": "x", "uid": "u"}, "secrets": secrets}),
        )
        .unwrap()
    }

    #[test]
    fn days_count_to_their_end() {
        assert_eq!(after_day("2026-02-28", DAY), Some(at("2026-03-02T00:00:00Z")));
        for wrong in ["", "2026-02-30", "20260228", "2026-2-8", "9999-12-31"] {
            assert_eq!(after_day(wrong, DAY), None, "{wrong}");
        }
    }

    #[test]
    fn only_generated_tokens_fall_due() {
        let own = account(json!([{"name": "t"}]));
        let due = |labels, account: &ServiceAccount| due(&secret(labels), Some(account), PERIOD);
        assert_eq!(due(json!({}), &own), Some(at("2026-01-31T12:00:01Z")));
        let used = json!({LAST_USED: "2026-03-01"});
        assert_eq!(due(used, &own), Some(at("2026-04-01T00:00:00Z")));
        assert_eq!(due(json!({LAST_USED: "lately"}), &own), None);
        assert_eq!(due(json!({}), &account(json!([{"name": "other"}]))), None);
        let mut former = own;
        former.metadata.uid = Some("v".into());
        assert_eq!(due(json!({}), &former), None);
        assert_eq!(super::due(&secret(json!({})), None, PERIOD), None);
    }

    #[test]
    fn tokens_are_put_out_of_use_and_then_go() {
        let now = at("2026-06-01T10:00:00Z");
        let (action, next) = plan(&secret(json!({INVALID_SINCE: "never"})), PERIOD, now);
        assert_eq!(
            transcript(&[action.unwrap()]),
            format!(
                "patch secrets t {{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{{\"labels\":{{\"{INVALID_SINCE}\":\"2026-06-01\"}},\
                 \"name\":\"t\",\"namespace\":\"a\",\"uid\":\"1\"}}}}\n"
            )
        );
        assert_eq!(next, Next::Done);
        let (action, next) = plan(&secret(json!({INVALID_SINCE: "2026-05-31"})), PERIOD, now);
        assert_eq!(
            (action, next),
            (None, Next::After(29 * DAY + Duration::from_secs(14 * 3600)))
        );
        let (action, _) = plan(&secret(json!({INVALID_SINCE: "2026-05-01"})), PERIOD, now);
        let Some(Action::Write(write)) = action else {
            panic!("nothing is written")
        };
        assert_eq!(write.body["preconditions"], json!({"resourceVersion": "7"}));
    }
}
