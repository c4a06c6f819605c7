//! The positions of rooms, read from Redis. The expiry of a room's log, which each publication renews, shows the age of
//! the last one. A read writes nothing: a page that is only rendered keeps no room in Redis.

use super::positions::RoomState;
use super::redis_config;
use crate::target::RedisTarget;
use fred::prelude::{Client, ClientLike, Config, Error, KeysInterface, LuaInterface};
use fred::types::config::ReconnectPolicy;
use nodevent_protocol::history::{self, Position, READ, Read, RetentionPolicy, Scope};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::time::timeout;

/// How long the end of the connection may take.
const QUIT_TIMEOUT: Duration = Duration::from_secs(5);

/// See the head of this file.
pub(super) struct RedisPositions {
    config: Config,
    scope: Scope,
    namespace: String,
    retention: RetentionPolicy,
    script_sha: String,
    /// Connected at the first read.
    client: OnceLock<Client>,
}

// === impl RedisPositions ===

impl RedisPositions {
    /// `None`: the target is invalid.
    pub(super) fn new(redis: &RedisTarget) -> Option<Self> {
        Some(Self {
            config: redis_config::config(redis).ok()?,
            scope: Scope::new(redis.prefix.as_deref(), redis.db)?,
            namespace: redis.namespace.clone(),
            retention: redis.history.clone(),
            script_sha: history::script_sha(READ),
            client: OnceLock::new(),
        })
    }

    /// Ends the connection.
    pub(super) async fn quit(&self) {
        if let Some(client) = self.client.get() {
            let _ = timeout(QUIT_TIMEOUT, client.quit()).await;
        }
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
        let client = self.client()?;
        client.wait_for_connect().await?;
        let keys = self.scope.keys(&self.namespace, room);
        let names = || vec![keys.position.clone(), keys.log.clone()];
        let args = || Read::default().args();
        let known = client.evalsha::<Slice, _, _, _>(self.script_sha.as_str(), names(), args()).await;
        let slice = match known {
            Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(READ, names(), args()).await?,
            other => other?,
        };
        let (epoch, offset, ..) = slice;
        let Some(position) = Position::parse(&format!("{epoch}:{offset}")) else { return Ok(None) };
        // After the position: a publication in between makes the age smaller than it was, never larger.
        let left: i64 = client.pttl(&keys.log).await?;
        let idle = match u64::try_from(left) {
            Ok(left) => retention.age.saturating_sub(Duration::from_millis(left)),
            // There is no log: the last publication is older than the age, or there was none.
            Err(_) => retention.age,
        };
        Ok(Some(RoomState { position, idle: Some(idle) }))
    }

    /// The client, connected in the background. It reconnects by itself.
    fn client(&self) -> Result<&Client, Error> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let mut config = self.config.clone();
        config.fail_fast = false;
        let mut builder = redis_config::builder(config);
        builder.set_policy(ReconnectPolicy::new_exponential(0, 5, 5_000, 2));
        let client = builder.build()?;
        if self.client.set(client.clone()).is_ok() {
            client.connect();
        }
        self.client.get().ok_or_else(|| Error::new(fred::error::ErrorKind::Config, "no client"))
    }
}

/// What the script returns; `protocol/redis/read_body.lua` has the names.
type Slice = (String, String, Vec<String>, String, String, String, String);
