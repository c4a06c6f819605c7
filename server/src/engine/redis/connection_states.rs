//! The connections that were restored, in Redis: a key for each, which expires with its states. So a state is used
//! once, whichever server it reaches. Each server counts what its clients write.

use super::super::claims::Claims;
use super::{COMMAND_TIMEOUT, Shared, client};
use crate::client::Client;
use crate::connection_state::{ClaimReply, ClaimRequest, ConnectionStates};
use crate::fair_shares::FairShares;
use crate::outcome::Outcome;
use fred::interfaces::KeysInterface;
use fred::types::{Expiration, SetOptions};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Claims that wait for Redis. Clients share them. A connection that finds no place is closed, and its client comes back.
const MAX_PENDING: usize = 4096;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct StatesInRedis {
    shared: Arc<Shared>,
    /// Shards are not threads of the runtime.
    runtime: Handle,
    /// Locked briefly.
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug)]
struct Counts {
    pending: FairShares,
    claims: Claims,
}

/// What becomes of a claim.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    Now,
    /// Its client has used too many states.
    NotRestored,
    TooManyPending,
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    // A panic leaves nothing in it that could not be used.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A place of a client among those that wait. It is free when this is dropped, also without a reply.
#[derive(Debug)]
struct Place {
    counts: Arc<Mutex<Counts>>,
    client: Client,
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.counts).pending.remove(self.client);
    }
}

// === impl Counts ===

impl Counts {
    fn new() -> Self {
        Self { pending: FairShares::new(MAX_PENDING), claims: Claims::default() }
    }

    /// Counts a claim, if it may start.
    fn start(&mut self, request: &ClaimRequest, now: Instant) -> Start {
        self.claims.expire(now);
        if !self.claims.has_place(request.client) {
            return Start::NotRestored;
        }
        if self.pending.check(request.client).is_err() {
            return Start::TooManyPending;
        }
        self.pending.add(request.client);
        self.claims.add(request.client, request.instance, now + request.lifetime);
        Start::Now
    }
}

// === impl StatesInRedis ===

impl StatesInRedis {
    /// Called on the runtime.
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, runtime: Handle::current(), counts: Arc::new(Mutex::new(Counts::new())) }
    }
}

impl ConnectionStates for StatesInRedis {
    fn claim(&self, request: ClaimRequest) -> Outcome<bool> {
        match lock(&self.counts).start(&request, Instant::now()) {
            Start::Now => {}
            Start::NotRestored => return Outcome::Ready(false),
            Start::TooManyPending => return Outcome::Overloaded,
        }
        let place = Place { counts: Arc::clone(&self.counts), client: request.client };
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

#[cfg(test)]
mod tests {
    use super::super::super::claims::MAX_CLAIMS;
    use super::*;
    use std::net::IpAddr;

    fn request(client: u8, instance: u64) -> ClaimRequest {
        let client = Client::of(IpAddr::from([10, 0, 0, client]));
        ClaimRequest { reply_to: None, client, instance, lifetime: Duration::from_secs(180) }
    }

    #[test]
    fn one_client_takes_neither_the_claims_that_wait_nor_the_keys_of_others() {
        let (mut counts, now) = (Counts::new(), Instant::now());
        let waiting = (0..).take_while(|instance| counts.start(&request(1, *instance), now) == Start::Now).count();
        assert!(waiting < MAX_PENDING, "{waiting}");
        assert_eq!(counts.start(&request(1, 0), now), Start::TooManyPending);
        assert_eq!(counts.start(&request(2, 0), now), Start::Now);
        // Redis replies to each of them.
        let mut written = waiting;
        (0..waiting).for_each(|_| counts.pending.remove(request(1, 0).client));
        loop {
            counts.pending.remove(request(1, 0).client);
            match counts.start(&request(1, 0), now) {
                Start::Now => written += 1,
                end => break assert_eq!(end, Start::NotRestored),
            }
        }
        assert!(written < MAX_CLAIMS, "{written}");
        assert_eq!(counts.start(&request(2, 1), now), Start::Now);
        assert_eq!(counts.start(&request(1, 1), now + Duration::from_secs(181)), Start::Now);
    }
}
