//! One task per remote APIService: is it available, and what does it serve.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::availability::{Verdict, judge, objects};
use super::service::ApiService;
use super::{discovery, feed, openapi};
use crate::server::Inner;

/// A server that is well is asked again after this: nothing tells when it dies. Upstream's resync of APIServices.
const RECHECK: Duration = Duration::from_secs(30);
/// After a failure: first and longest pause.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Requests of one check; one success is enough. Upstream's number.
const ATTEMPTS: usize = 5;

/// Runs until the APIService is gone or the server stops.
pub async fn run(server: Weak<Inner>, service: Arc<ApiService>) {
    let mut pause = RETRY_MIN;
    loop {
        let Some(inner) = server.upgrade() else { return };
        let (clock, stop) = (inner.registry.clock().clone(), inner.stop.clone());
        let checked = tokio::select! {
            verdict = sync(&inner, &service) => verdict,
            () = service.stop.cancelled() => return,
            () = stop.cancelled() => return,
        };
        drop(inner);
        let wait = if checked { RECHECK } else { pause };
        tokio::select! {
            () = service.changed.notified() => pause = RETRY_MIN,
            () = clock.sleep(wait) => pause = if checked { RETRY_MIN } else { (pause * 2).min(RETRY_MAX) },
            () = service.stop.cancelled() => return,
            () = stop.cancelled() => return,
        }
    }
}

/// One round; true where the server is available.
async fn sync(server: &Inner, service: &ApiService) -> bool {
    let verdict = match objects(server, &service.service).await {
        Ok((found, slices)) => match judge(&service.service, found.as_ref(), &slices) {
            Some(verdict) => verdict,
            None => probe(service).await,
        },
        Err(error) => {
            tracing::warn!(%error, name = service.name, "an APIService cannot be checked");
            return false;
        }
    };
    feed::write_verdict(server, &service.name, &verdict).await;
    if verdict.available {
        discovery::read(service).await;
        openapi::read(service).await;
    } else {
        discovery::stale(service);
    }
    verdict.available
}

async fn probe(service: &ApiService) -> Verdict {
    let failed = |message| Verdict::no("FailedDiscoveryCheck", message);
    let mut last = match ask(service).await {
        Ok(()) => return Verdict::passed(),
        Err(error) => error,
    };
    let mut more: FuturesUnordered<_> = (1..ATTEMPTS).map(|_| ask(service)).collect();
    while let Some(outcome) = more.next().await {
        match outcome {
            Ok(()) => return Verdict::passed(),
            Err(error) => last = error,
        }
    }
    failed(last)
}

/// Asks for the one document that every extension API server has.
async fn ask(service: &ApiService) -> Result<(), String> {
    let transport = service.transport.as_ref().map_err(Clone::clone)?;
    let path = format!("/apis/{}/{}", service.group, service.version);
    let url = format!("https://{}{path}", transport.authority());
    match transport.get(&path, "*/*", None).await {
        Ok(answer) if answer.code.is_success() => Ok(()),
        Ok(answer) => Err(format!("bad status from {url}: {}", answer.code.as_u16()))
            .map_err(|bad| format!("failing or missing response from {url}: {bad}")),
        Err(error) => Err(format!(
            "failing or missing response from {url}: Get {url:?}: {error}"
        )),
    }
}
