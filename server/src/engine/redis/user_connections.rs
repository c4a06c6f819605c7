//! The capability *connections of users* on Redis: servers share how many connections each user has.
//!
//! One task reports the users of this server in bounded turns, and renews its lease. If the server is killed, its users
//! disappear with the lease. Only Redis measures leases.

use super::Shared;
use super::script::{Script, ScriptError};
use crate::outcome::Pending;
use crate::user_connections::{LocalUsers, UserConnections};
use fred::types::Value;
use nodevent_protocol::connections::{self, ConnectionKeys};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Interval of the turns. Changes of a user within it are one.
const TURN: Duration = Duration::from_millis(100);
/// Users in one call.
const USERS_PER_CALL: usize = 500;
/// Pause after a call without success.
const RETRY_DELAY: Duration = Duration::from_secs(1);
/// Renewals within a lease.
const RENEWALS: u32 = 3;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct UserConnectionsInRedis {
    shared: Arc<Shared>,
    keys: ConnectionKeys,
    local: LocalUsers,
    lease: Duration,
    sync: Script,
    read: Script,
}

// === impl UserConnectionsInRedis ===

impl UserConnectionsInRedis {
    /// Starts the task.
    pub(super) fn start(shared: &Arc<Shared>, lease: Duration) -> Arc<Self> {
        let all = Arc::new(Self {
            keys: shared.scope.connections(shared.fanout.name()),
            shared: Arc::clone(shared),
            local: LocalUsers::new(),
            lease,
            sync: Script::new(connections::SYNC),
            read: Script::new(connections::READ),
        });
        tokio::spawn(Arc::clone(&all).run());
        all
    }

    /// Reports for as long as the process lives.
    async fn run(self: Arc<Self>) {
        // Whether Redis has all users of this server, and when they were last reported.
        let (mut is_known, mut renewed) = (false, None::<Instant>);
        let mut turns = tokio::time::interval(TURN);
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turns.tick().await;
            if !is_known {
                self.local.begin_again();
            }
            let Some(changes) = self.local.take_changes(USERS_PER_CALL) else {
                is_known = false;
                continue;
            };
            let is_due = renewed.is_none_or(|at| at.elapsed() >= self.lease / RENEWALS);
            if changes.is_empty() && is_known && !is_due {
                continue;
            }
            match self.report(&changes, !is_known).await {
                Ok(was_known) => {
                    // A Redis that has lost its data has only what was in this report.
                    is_known = was_known || !is_known;
                    renewed = Some(Instant::now());
                }
                Err(error) => {
                    let namespace = self.shared.fanout.name();
                    tracing::debug!(namespace, error = %error.unavailable, "connections of users were not reported");
                    self.local.put_back(changes);
                    tokio::time::sleep(RETRY_DELAY).await;
                }
            }
        }
    }

    /// Returns whether Redis had the users of this server before.
    async fn report(&self, changes: &[(Box<str>, u32)], is_new: bool) -> Result<bool, ScriptError> {
        let changes = changes.iter().map(|(user, count)| (&**user, *count));
        let args = connections::sync_args(self.local.server(), self.lease, is_new, changes);
        let keys = vec![self.keys.servers.clone(), self.keys.of_server(self.local.server())];
        let args = args.into_iter().map(Value::from).collect();
        let was_known: i64 = self.sync.run(&self.shared.publisher, keys, args).await?;
        Ok(was_known == 1)
    }
}

impl UserConnections for UserConnectionsInRedis {
    fn local(&self) -> &LocalUsers {
        &self.local
    }

    fn read<'a>(&'a self, user: &'a str) -> Pending<'a, Vec<(String, u32)>> {
        Box::pin(async move {
            let (keys, args) = (vec![self.keys.servers.clone()], vec![Value::from(user.to_owned())]);
            let flat: Result<Vec<String>, _> = self.read.run(&self.shared.publisher, keys, args).await;
            let flat = flat.map_err(|error| error.unavailable)?;
            let others = flat.chunks_exact(2).filter(|pair| pair[0] != self.local.server());
            let mut all: Vec<_> =
                others.filter_map(|pair| Some((pair[0].clone(), pair[1].parse().ok()?))).collect();
            // What this server knows is newer than its report.
            let own = self.local.count(user);
            if own > 0 {
                all.push((self.local.server().to_owned(), own));
            }
            Ok(all)
        })
    }
}
