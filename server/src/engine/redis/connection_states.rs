//! The connections that were restored, in Redis: a key for each, which expires with its states. So a state is used
//! once, whichever server it reaches.

use super::{COMMAND_TIMEOUT, Shared, client};
use crate::connection_state::{ClaimReply, ClaimRequest, ConnectionStates};
use crate::outcome::Outcome;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, SetOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

/// Claims that wait for Redis. A connection that finds no place is closed, and its client comes back.
const MAX_PENDING: usize = 4096;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct StatesInRedis {
    shared: Arc<Shared>,
    /// Shards are not threads of the runtime.
    runtime: Handle,
    pending: Arc<Semaphore>,
}

// === impl StatesInRedis ===

impl StatesInRedis {
    /// Called on the runtime.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, runtime: Handle::current(), pending: Arc::new(Semaphore::new(MAX_PENDING)) }
    }
}

impl ConnectionStates for StatesInRedis {
    fn claim(&self, request: ClaimRequest) -> Outcome<bool> {
        let Ok(place) = Arc::clone(&self.pending).try_acquire_owned() else { return Outcome::Overloaded };
        let shared = Arc::clone(&self.shared);
        self.runtime.spawn(async move {
            let is_first = claim(&shared, request.instance, request.lifetime).await;
            if let Some(reply_to) = request.reply_to {
                shared.fanout.reply_claim(ClaimReply { reply_to, is_first });
            }
            drop(place);
        });
        Outcome::Pending
    }
}

/// Returns whether the connection was not restored before. `None`: Redis is unavailable.
async fn claim(shared: &Shared, instance: u64, lifetime: Duration) -> Option<bool> {
    let key = shared.scope.restored(shared.fanout.name(), instance);
    let expiration = Expiration::PX(lifetime.as_millis().try_into().ok()?);
    let set = async {
        client::wait_connected(&shared.publisher).await;
        shared.publisher.set::<Option<String>, _, _>(key, "1", Some(expiration), Some(SetOptions::NX), false).await
    };
    match tokio::time::timeout(COMMAND_TIMEOUT, set).await {
        Ok(Ok(reply)) => Some(reply.is_some()),
        Ok(Err(error)) => {
            tracing::debug!(details = error.details(), "a connection was not restored: Redis reported an error");
            None
        }
        Err(_) => None,
    }
}
