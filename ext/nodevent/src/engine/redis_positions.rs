//! Reads the positions of rooms from Redis, so that a page can catch up from where its content is.
//!
//! A page shows what the application loaded after the request started. So a position is returned only if it is certain that
//! nothing was published since then: the expiry of the room's log, which each publication renews, shows the age of the last
//! one. Every position that is read is recorded in [`crate::positions`] too, where later requests find it.
//!
//! A request must never wait for long: after a failure nothing is read for [`PAUSE`].

use super::redis_config;
use crate::process::Process;
use crate::signal::Signal;
use crate::target::{EngineTarget, Target};
use fred::prelude::{Client, ClientLike, Config, Error, KeysInterface, LuaInterface};
use fred::types::config::ReconnectPolicy;
use nodevent_protocol::history::{self, READ, Retention, RetentionPolicy, Scope};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// How long nothing is read after a failure.
const PAUSE: Duration = Duration::from_secs(5);
/// The difference that rounding makes to the age of a publication.
const TOLERANCE: Duration = Duration::from_millis(5);

/// Reads positions from one Redis; see the head of this file.
pub(crate) struct PositionReader {
    shared: Arc<Shared>,
    process: &'static Process,
}

struct Shared {
    config: Config,
    scope: Scope,
    namespace: String,
    retention: RetentionPolicy,
    script_sha: String,
    /// Connected at the first read.
    client: OnceLock<Client>,
    paused_until: Mutex<Option<Instant>>,
}

impl PositionReader {
    /// `None`: the engine has no positions that can be read so.
    pub(crate) fn new(target: &Target, process: &'static Process) -> Option<Self> {
        let EngineTarget::Redis(redis) = &target.engine else { return None };
        let shared = Shared {
            config: redis_config::config(redis).ok()?,
            scope: Scope::new(redis.prefix.as_deref(), redis.db)?,
            namespace: redis.namespace.clone(),
            retention: redis.history.clone(),
            script_sha: history::script_sha(READ),
            client: OnceLock::new(),
            paused_until: Mutex::new(None),
        };
        Some(Self { shared: Arc::new(shared), process })
    }

    /// Starts to read. The reply is the position, if nothing was published for `since`. `None`: there is nothing to read,
    /// or a read has failed lately.
    pub(crate) fn read(
        &self,
        room: String,
        since: Duration,
        deadline: Instant,
    ) -> Option<Arc<Signal<Option<Option<String>>>>> {
        let retention = self.shared.retention.of(&room)?;
        if self.shared.paused().is_some_and(|until| Instant::now() < until) {
            return None;
        }
        let reply = Arc::new(Signal::default());
        let (shared, process, result) = (Arc::clone(&self.shared), self.process, Arc::clone(&reply));
        process.spawn_task(async move {
            let read = timeout_at(deadline.into(), shared.read(&room, retention)).await;
            let position = match read {
                Ok(Ok((position, idle))) => {
                    process.events.positions.record(&shared.namespace, &room, &position);
                    (idle > since + TOLERANCE).then_some(position)
                }
                _ => {
                    shared.pause();
                    None
                }
            };
            result.change(|value| *value = Some(position));
        });
        Some(reply)
    }

    /// The caller gave up.
    pub(crate) fn failed(&self) {
        self.shared.pause();
    }
}

impl Drop for PositionReader {
    fn drop(&mut self) {
        if let Some(client) = self.shared.client.get().cloned() {
            self.process.spawn_task(async move {
                let _ = timeout_at((Instant::now() + PAUSE).into(), client.quit()).await;
            });
        }
    }
}

impl Shared {
    fn paused(&self) -> Option<Instant> {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pause(&self) {
        *self.paused_until.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + PAUSE);
    }

    /// Reads a room's position, and how long ago the last publication was, at least.
    async fn read(&self, room: &str, retention: Retention) -> Result<(String, Duration), Error> {
        let client = self.client()?;
        client.wait_for_connect().await?;
        let keys = self.scope.keys(&self.namespace, room);
        let names = || vec![keys.position.clone(), keys.log.clone()];
        let args = || {
            let ttl = retention.position_ttl().as_millis().to_string();
            vec![ttl, "-1".to_owned(), String::new(), String::new()]
        };
        let known = client.evalsha::<Slice, _, _, _>(self.script_sha.as_str(), names(), args()).await;
        let slice = match known {
            Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(READ, names(), args()).await?,
            other => other?,
        };
        let (epoch, offset, ..) = slice;
        // After the position: a publication in between makes the age smaller than it was, never larger.
        let left: i64 = client.pttl(&keys.log).await?;
        let idle = match u64::try_from(left) {
            Ok(left) => retention.age.saturating_sub(Duration::from_millis(left)),
            // There is no log: the last publication is older than the age, or there was none.
            Err(_) => retention.age,
        };
        Ok((format!("{epoch}:{offset}"), idle))
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
