//! `/healthz`, `/livez`, `/readyz`: named checks, each also at its own path.

mod slis;

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use parking_lot::{Mutex, RwLock};

use crate::query::Query;
use crate::respond::{self, Answer};

/// `Err` says why, for the log and the check's own path; the summary withholds it.
pub type Check = Arc<dyn Fn() -> Result<(), String> + Send + Sync>;

/// Which of the three endpoints a check belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Liveness and readiness.
    All,
    /// Readiness only.
    Ready,
}

struct Named {
    name: String,
    kind: Kind,
    check: Check,
}

/// The checks of one server; components add theirs as they start.
#[derive(Default)]
pub struct Health {
    checks: RwLock<Vec<Named>>,
    slis: Mutex<slis::Slis>,
}

impl Health {
    /// Adds a check. Names are upstream's where upstream has the check.
    pub fn add(
        &self,
        name: impl Into<String>,
        kind: Kind,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) {
        self.checks.write().push(Named {
            name: name.into(),
            kind,
            check: Arc::new(check),
        });
    }

    /// Ok where every check of `/readyz` passes.
    pub fn ready(&self) -> bool {
        self.checks.read().iter().all(|c| (c.check)().is_ok())
    }

    /// Answers `/readyz`, `/readyz/NAME` and so on; `None` where the path is not one of these.
    pub fn answer(&self, path: &str, query: &Query) -> Option<Answer> {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let endpoint = parts.next()?;
        let endpoint = ["healthz", "livez", "readyz"]
            .into_iter()
            .find(|e| *e == endpoint)?;
        let ready = endpoint == "readyz";
        match parts.next() {
            Some(name) => self.one(name, ready),
            None => Some(self.summary(endpoint, ready, query)),
        }
    }

    fn observed(&self, named: &Named, endpoint: &'static str) -> Result<(), String> {
        let outcome = (named.check)();
        self.slis.lock().observe(&named.name, endpoint, outcome.is_ok());
        outcome
    }

    fn one(&self, name: &str, ready: bool) -> Option<Answer> {
        let checks = self.checks.read();
        let found = checks
            .iter()
            .find(|c| c.name == name && (ready || c.kind == Kind::All))?;
        Some(match (found.check)() {
            Ok(()) => respond::text(StatusCode::OK, "ok"),
            Err(e) => respond::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("internal server error: {e}\n"),
            ),
        })
    }

    /// The text of `/metrics/slis`.
    pub fn slis(&self) -> String {
        self.slis.lock().render()
    }

    fn summary(&self, endpoint: &'static str, ready: bool, query: &Query) -> Answer {
        let mut excluded: Vec<&str> = query.all("exclude").collect();
        let mut out = String::new();
        let mut failed = false;
        for c in self.checks.read().iter().filter(|c| ready || c.kind == Kind::All) {
            let name = &c.name;
            let _ = if excluded.contains(&name.as_str()) {
                excluded.retain(|e| e != name);
                writeln!(out, "[+]{name} excluded: ok")
            } else if let Err(e) = self.observed(c, endpoint) {
                tracing::debug!(check = name, error = e, endpoint, "health check failed");
                failed = true;
                writeln!(out, "[-]{name} failed: reason withheld")
            } else {
                writeln!(out, "[+]{name} ok")
            };
        }
        if !excluded.is_empty() {
            let names: Vec<String> = excluded.iter().map(|e| format!("{e:?}")).collect();
            let _ = writeln!(
                out,
                "warn: some health checks cannot be excluded: no matches for {}",
                names.join(", ")
            );
        }
        if failed {
            return respond::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("{out}{endpoint} check failed\n"),
            );
        }
        if query.get("verbose").is_none() {
            return respond::text(StatusCode::OK, "ok");
        }
        respond::text(StatusCode::OK, format!("{out}{endpoint} check passed\n"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use http_body_util::BodyExt;

    async fn get(health: &Health, path: &str, query: &str) -> (u16, String) {
        let a = health.answer(path, &Query::parse(Some(query))).unwrap();
        let code = a.status().as_u16();
        let body = a.into_body().collect().await.unwrap().to_bytes();
        (code, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn summaries() {
        let h = Health::default();
        h.add("ping", Kind::All, || Ok(()));
        h.add("informer-sync", Kind::Ready, || Err("not yet".into()));
        assert_eq!(get(&h, "/livez", "").await, (200, "ok".into()));
        assert_eq!(
            get(&h, "/livez", "verbose").await,
            (200, "[+]ping ok\nlivez check passed\n".into())
        );
        let (code, text) = get(&h, "/readyz", "").await;
        assert_eq!(
            (code, text.as_str()),
            (
                500,
                "[+]ping ok\n[-]informer-sync failed: reason withheld\nreadyz check failed\n"
            )
        );
        assert_eq!(
            get(&h, "/readyz", "exclude=informer-sync").await,
            (200, "ok".into())
        );
        assert_eq!(get(&h, "/readyz/informer-sync", "").await.0, 500);
        assert!(h.answer("/livez/informer-sync", &Query::default()).is_none());
    }
}
