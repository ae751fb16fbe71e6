//! The token cleaner: bootstrap tokens go when they have expired.

use std::sync::Arc;
use std::time::Duration;

use corten_client::driver::{self, Next};
use corten_client::{Error, Key, Queue};
use k8s_openapi::api::core::v1::Secret;

use super::{QUERY, is_token, left};
use crate::core::context::queue_self;
use crate::core::{Context, Write};

/// Runs the controller until its context stops.
pub async fn run(context: Context) {
    let secrets = context.factory.filtered::<Secret>(QUERY);
    let queue: Queue<Key> = Queue::new("token_cleaner");
    queue_self(&secrets, &queue);
    secrets.synced().await;
    let executor = Arc::new(context.executor("token-cleaner"));
    let stop = context.stop.clone();
    driver::run("token_cleaner", queue, 1, stop, move |key| {
        let (executor, now) = (Arc::clone(&executor), context.now());
        let token = secrets.get_key(&key).filter(|s| is_token(s));
        async move {
            let Some((token, left)) = token.and_then(|t| left(&t, now).map(|left| (t, left))) else {
                return Ok::<_, Error>(Next::Done);
            };
            if left > Duration::ZERO {
                return Ok(Next::After(left));
            }
            let gone = Write::delete(&*token).into();
            executor.apply(vec![gone], None).await.map(|()| Next::Done)
        }
    })
    .await;
}
