//! The ConfigMap that says since when the use of tokens of Secrets is noted. Upstream:
//! pkg/controlplane/controller/legacytokentracking.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use corten_auth::token::legacy::date;
use corten_meta::{Result, Status, fields};
use corten_registry::{Registry, Subresource, WatchOptions};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::Writer;
use crate::follow::{Change, follow_selected};

const NAMESPACE: &str = "kube-system";
const NAME: &str = "kube-apiserver-legacy-service-account-token-tracking";
/// Between two creations: servers of which some delete it would otherwise fight (upstream's limiter).
const BETWEEN_CREATIONS: Duration = Duration::from_secs(30 * 60);

/// What is to be done about the ConfigMap.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Nothing,
    Create,
    Wait(Duration),
    /// Its date is not one.
    Repair,
}

/// `found`: the ConfigMap; `created`: how long ago this server last made one.
fn plan(found: Option<&Value>, created: Option<Duration>) -> Step {
    match (found, created) {
        (Some(map), _) => {
            let since = map["data"]["since"].as_str();
            let good =
                since.is_some_and(|text| text.parse::<jiff::civil::Date>().is_ok() && text.len() == 10);
            if good { Step::Nothing } else { Step::Repair }
        }
        (None, Some(ago)) if ago < BETWEEN_CREATIONS => Step::Wait(BETWEEN_CREATIONS - ago),
        (None, _) => Step::Create,
    }
}

/// Makes the ConfigMap, and keeps it from then on until `stop`.
pub fn start(registry: &Arc<Registry>, stop: &CancellationToken) -> Result<()> {
    let (found, changes) = watch::channel(Known::None);
    let resource = registry
        .resource("", "configmaps")
        .ok_or_else(|| Status::internal("configmaps is not served"))?;
    let selector = format!("metadata.namespace={NAMESPACE},metadata.name={NAME}");
    let selector = fields::Selector::parse(&selector).map_err(Status::internal)?;
    let options = WatchOptions {
        field_selector: Some(selector),
        ..WatchOptions::default()
    };
    let (watched, ended) = (registry.clone(), stop.clone());
    tokio::spawn(async move {
        let apply = |change: Change<'_>| {
            found.send_modify(|known| match change {
                Change::Upsert(map) => *known = Some(Some(map.value().unwrap_or_default())),
                Change::Remove(..) => *known = Some(None),
                Change::Synced => {
                    known.get_or_insert(None);
                }
            });
        };
        follow_selected(&watched, &resource, &options, &ended, apply).await;
    });
    tokio::spawn(keep(registry.clone(), changes, stop.clone()));
    Ok(())
}

/// What is known of the ConfigMap; none before the first answer.
type Known = Option<Option<Value>>;

async fn keep(registry: Arc<Registry>, mut changes: watch::Receiver<Known>, stop: CancellationToken) {
    let clock = registry.clock().clone();
    let mut created: Option<SystemTime> = None;
    loop {
        let known = changes.borrow_and_update().clone();
        let now = clock.now();
        let ago = created.map(|at| now.duration_since(at).unwrap_or_default());
        let step = known.map_or(Step::Nothing, |map| plan(map.as_ref(), ago));
        let mut wait = None;
        match step {
            Step::Nothing => {}
            Step::Wait(left) => wait = Some(left),
            Step::Create | Step::Repair => match write(&registry, &step, now).await {
                Ok(()) if step == Step::Create => created = Some(now),
                Ok(()) => {}
                // Whoever changed it has caused an event.
                Err(error) if error.is_conflict() || error.is_not_found() => {}
                Err(error) => {
                    tracing::warn!(%error, name = NAME, "cannot be written");
                    wait = Some(BETWEEN_CREATIONS);
                }
            },
        }
        let late = async {
            match wait {
                Some(left) => clock.sleep(left).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = late => {}
            changed = changes.changed() => if changed.is_err() { return },
            () = stop.cancelled() => return,
        }
    }
}

async fn write(registry: &Arc<Registry>, step: &Step, now: SystemTime) -> Result<()> {
    let now = jiff::Timestamp::try_from(now).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let today = date(now);
    let writer = Writer::new(registry);
    if *step == Step::Create {
        let map = json!({"metadata": {"name": NAME}, "data": {"since": today}});
        return writer.ensure("", "configmaps", NAMESPACE, map).await;
    }
    let change = |map: &mut Value| {
        if plan(Some(map), None) == Step::Repair {
            map["data"]["since"] = json!(today);
        }
    };
    writer
        .update("", "configmaps", NAMESPACE, NAME, Subresource::MAIN, change)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_kept_and_creations_are_far_apart() {
        let map = |since: &str| json!({"data": {"since": since}});
        assert_eq!(plan(Some(&map("2026-01-31")), None), Step::Nothing);
        for wrong in ["", "yesterday", "2026-02-30", "2026-1-1", "20260131"] {
            assert_eq!(plan(Some(&map(wrong)), None), Step::Repair, "{wrong}");
        }
        assert_eq!(plan(Some(&json!({})), None), Step::Repair);
        assert_eq!(plan(None, None), Step::Create);
        let minutes = |n: u64| Duration::from_secs(60 * n);
        assert_eq!(plan(None, Some(minutes(10))), Step::Wait(minutes(20)));
        assert_eq!(plan(None, Some(minutes(30))), Step::Create);
    }
}
