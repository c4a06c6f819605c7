//! The positions of rooms, read from Redis. The expiry of a room's log, which each publication renews, shows the age of
//! the last one. A read writes nothing: a page that is only rendered keeps no room in Redis.

use super::lazy_client::{LazyClient, Script};
use super::positions::RoomState;
use super::redis_config;
use crate::target::RedisTarget;
use fred::prelude::{Error, KeysInterface};
use nodevent_protocol::history::{self, Position, READ, Read, RetentionPolicy, Scope};
use std::time::Duration;

/// See the head of this file.
pub(super) struct RedisPositions {
    client: LazyClient,
    scope: Scope,
    namespace: String,
    retention: RetentionPolicy,
    script: Script,
}

// === impl RedisPositions ===

impl RedisPositions {
    /// `None`: the target is invalid.
    pub(super) fn new(redis: &RedisTarget) -> Option<Self> {
        Some(Self {
            client: LazyClient::new(redis_config::config(redis).ok()?),
            scope: Scope::new(redis.prefix.as_deref(), redis.db)?,
            namespace: redis.namespace.clone(),
            retention: redis.history.clone(),
            script: Script::new(READ),
        })
    }

    /// Ends the connection.
    pub(super) async fn quit(&self) {
        self.client.quit().await;
    }

    /// `Ok(None)`: see [`super::positions`].
    pub(super) async fn read(&self, room: &str) -> Result<Option<RoomState>, Error> {
        match self.read_state(room).await {
            // It concerns this room only, e.g. a key of another type, or the rights of this user.
            Err(error) if history::is_permanent(error.details()) => Ok(None),
            read => read,
        }
    }

    async fn read_state(&self, room: &str) -> Result<Option<RoomState>, Error> {
        let Some(retention) = self.retention.of(room) else { return Ok(None) };
        let keys = self.scope.keys(&self.namespace, room);
        let names = vec![keys.position.clone(), keys.log.clone()];
        let slice: Slice = self.client.run(&self.script, names, Read::default().args()).await?;
        let (epoch, offset, ..) = slice;
        let Some(position) = Position::parse(&format!("{epoch}:{offset}")) else { return Ok(None) };
        // After the position: a publication in between makes the age smaller than it was, never larger.
        let left: i64 = self.client.connected().await?.pttl(&keys.log).await?;
        let idle = match u64::try_from(left) {
            Ok(left) => retention.age.saturating_sub(Duration::from_millis(left)),
            // There is no log: the last publication is older than the age, or there was none.
            Err(_) => retention.age,
        };
        Ok(Some(RoomState { position, idle: Some(idle) }))
    }
}

/// What the script returns; `protocol/redis/read_body.lua` has the names.
type Slice = (String, String, Vec<String>, String, String, String, String);
