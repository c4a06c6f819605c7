//! Reads the positions of rooms from the engine, so that a page can catch up from where its content is.
//!
//! A page shows what the application loaded after the request started. So a position is returned only if it is certain
//! that nothing was published since then: the engine reports how long a room has been idle. Every position that is read
//! is recorded in [`crate::positions`] too, where later requests find it.
//!
//! A request must never wait for long: after a failure nothing is read for a while, which the breaker decides. A refusal
//! is not a failure: it concerns one room or key, and came as fast as a position would have.

use super::breaker::Breaker;
use super::http_positions::HttpPositions;
use super::redis_positions::RedisPositions;
use crate::process::Process;
use crate::signal::Signal;
use crate::target::{EngineTarget, Target};
use nodevent_protocol::history::Position;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// The difference that rounding makes to the time for which a room has been idle.
const TOLERANCE: Duration = Duration::from_millis(5);

/// A request for a position; the caller waits for the signal.
pub(crate) type PositionReply = Arc<Signal<Option<Option<Position>>>>;

/// Reads positions from the engine of one target; see the head of this file.
pub(crate) struct PositionReader {
    shared: Arc<Shared>,
    process: &'static Process,
}

struct Shared {
    source: Source,
    breaker: Mutex<Breaker>,
}

enum Source {
    Redis(Box<RedisPositions>),
    Http(Box<HttpPositions>),
}

/// What an engine knows about a room.
#[derive(Debug)]
pub(super) struct RoomState {
    pub(super) position: Position,
    /// The time for which nothing was published, at least. `None`: not known.
    pub(super) idle: Option<Duration>,
}

// === impl PositionReader ===

impl PositionReader {
    /// `None`: the target is invalid.
    pub(crate) fn new(target: &Target, process: &'static Process) -> Option<Self> {
        let source = match &target.engine {
            EngineTarget::Redis(redis) => Source::Redis(Box::new(RedisPositions::new(redis)?)),
            EngineTarget::Http(http) => Source::Http(Box::new(HttpPositions::new(http).ok()?)),
        };
        Some(Self { shared: Arc::new(Shared { source, breaker: Mutex::default() }), process })
    }

    /// Starts to read. The reply is the position, if nothing was published for `since`. `None`: a read has failed lately.
    /// `key` is a key for the room, which only a server needs.
    pub(crate) fn read(
        &self,
        namespace: String,
        room: String,
        key: String,
        since: Duration,
        deadline: Instant,
    ) -> Option<PositionReply> {
        let started = Instant::now();
        if !self.shared.breaker().admits(started) {
            return None;
        }
        let reply = PositionReply::default();
        let (shared, process, result) = (Arc::clone(&self.shared), self.process, Arc::clone(&reply));
        process.spawn_task(async move {
            let read = timeout_at(deadline.into(), shared.source.read(&namespace, &room, &key)).await;
            let position = match read {
                Ok(Ok(state)) => {
                    shared.breaker().succeeded();
                    state.and_then(|RoomState { position, idle }| {
                        process.events.positions.record(&namespace, &room, position);
                        // The idle time ended while the read was on its way.
                        (idle? > since.saturating_add(started.elapsed() + TOLERANCE)).then_some(position)
                    })
                }
                _ => {
                    shared.breaker().failed(started, Instant::now());
                    None
                }
            };
            result.change(|value| *value = Some(position));
        });
        Some(reply)
    }
}

impl Drop for PositionReader {
    fn drop(&mut self) {
        let shared = Arc::clone(&self.shared);
        self.process.spawn_task(async move {
            if let Source::Redis(redis) = &shared.source {
                redis.quit().await;
            }
        });
    }
}

// === impl Shared ===

impl Shared {
    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Source ===

impl Source {
    /// `Ok(None)`: the room has no history, the engine refuses to report it, or what it reports is not a position.
    async fn read(&self, namespace: &str, room: &str, key: &str) -> Result<Option<RoomState>, String> {
        match self {
            Self::Redis(redis) => redis.read(room).await.map_err(|error| error.to_string()),
            Self::Http(http) => http.read(namespace, room, key).await,
        }
    }
}
