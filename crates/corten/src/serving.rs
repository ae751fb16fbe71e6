//! What flags say of how the API server serves: upstream's, with its defaults and the values it refuses.

use crate::cli::ServingArgs;
use crate::tokens;
use anyhow::bail;
use corten_apiserver::limits::Chosen;
use corten_auth::UserInfo;
use corten_registry::ResourceInfo;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Serving {
    pub(crate) limits: Chosen,
    /// How long events are kept, if not as long as usual; zero is for ever.
    event_ttl: Option<Duration>,
    /// Tokens of a file, with their users.
    pub(crate) tokens: Vec<(String, UserInfo)>,
}

impl Serving {
    /// Refuses what would serve nothing.
    pub(crate) fn of(args: &ServingArgs) -> anyhow::Result<Self> {
        let usual = Chosen::default();
        let limits = Chosen {
            reads_in_flight: args.max_requests_inflight.unwrap_or(usual.reads_in_flight),
            writes_in_flight: args
                .max_mutating_requests_inflight
                .unwrap_or(usual.writes_in_flight),
            request_timeout: args.request_timeout.unwrap_or(usual.request_timeout),
            min_request_timeout: args
                .min_request_timeout
                .map_or(usual.min_request_timeout, |s| Duration::from_secs(s.into())),
        };
        if limits.reads_in_flight == 0 && limits.writes_in_flight == 0 {
            bail!(
                "--max-requests-inflight 0 and --max-mutating-requests-inflight 0: they must add up to something positive"
            );
        }
        if limits.request_timeout.is_zero() {
            bail!("--request-timeout 0s: every request would be given up at once; name a positive duration");
        }
        Ok(Self {
            limits,
            event_ttl: args.event_ttl,
            tokens: match &args.token_auth_file {
                Some(file) => tokens::read(file)?,
                None => Vec::new(),
            },
        })
    }

    /// Gives the resources that expire their time.
    pub(crate) fn keep_events(&self, resources: &mut [ResourceInfo]) {
        let Some(ttl) = self.event_ttl else { return };
        for resource in resources.iter_mut().filter(|r| r.ttl.is_some()) {
            resource.ttl = Some(ttl).filter(|ttl| !ttl.is_zero());
        }
    }
}
