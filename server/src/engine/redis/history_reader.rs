//! Reads of histories for HTTP: on a connection and a thread of their own, one at a time, in turns of the clients that
//! wait, and shared by readers that wait for the same.
//!
//! A history may have many megabytes, which keep Redis and the thread that parses them busy. So it is read in pages,
//! Redis and the other threads have pauses between them, and a flood of reads delays neither publishing nor joins.

use super::Shared;
use super::client;
use super::history_pages::{HistoryPages, IMPOSSIBLE, NextPage};
use super::script::{HistorySlice, ScriptError};
use crate::capability::Unavailable;
use crate::client::Client;
use crate::config::redis::Redis as RedisConfig;
use crate::fair_turns::{FairTurns, Ticket};
use crate::history::{Recovery, Since};
use fred::clients::Client as RedisClient;
use futures_util::future::{BoxFuture, FutureExt as _, Shared as SharedFuture, WeakShared};
use nodevent_protocol::history::{Keys, Read};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle};

/// Pause after each page, in units of the time that it took.
const PAUSE_FACTOR: u32 = 2;
/// Maximum time of one read, with its pauses. A history of 512 MB takes some ten seconds.
const MAX_READ_TIME: Duration = Duration::from_secs(60);
/// Number of waiting reads above which reads without a reader are dropped for the first time.
const MIN_SWEEP: usize = 1024;

/// The result of a read: `None` for a room without a history.
type ReadOutcome = Result<Option<Recovery>, Unavailable>;
type ReadFuture = BoxFuture<'static, ReadOutcome>;
type WaitingRead = (WeakShared<ReadFuture>, Arc<Ticket>);
/// Reads that have not started.
#[derive(Default)]
struct WaitingReads {
    by_key: HashMap<(Box<str>, Since), WaitingRead>,
    /// The number of reads at which those without a reader are dropped: twice as many as were left the last time, so that
    /// a read costs the same however many wait.
    sweep_at: usize,
}

/// See the head of this file.
pub(super) struct HistoryReader {
    settings: RedisConfig,
    shared: Arc<Shared>,
    /// Started by the first read.
    link: OnceLock<Link>,
    turns: Arc<FairTurns>,
    /// Later readers must not share a read that has started: it may miss what was published since.
    waiting: Mutex<WaitingReads>,
}

/// The connection and the thread that uses it.
struct Link {
    client: RedisClient,
    thread: Handle,
}

// === impl WaitingReads ===

impl WaitingReads {
    /// Drops reads without a reader, if there are many.
    fn sweep(&mut self) {
        if self.by_key.len() >= self.sweep_at.max(MIN_SWEEP) {
            self.by_key.retain(|_, (read, _)| read.upgrade().is_some());
            self.sweep_at = 2 * self.by_key.len();
        }
    }
}

// === impl HistoryReader ===

impl HistoryReader {
    /// # Units
    pub(super) fn new(settings: RedisConfig, shared: Arc<Shared>) -> Self {
        let (link, turns, waiting) = (OnceLock::new(), Arc::default(), Mutex::default());
        Self { settings, shared, link, turns, waiting }
    }

    /// Starts the connection and its thread, if they are not running. The caller has the turn.
    fn link(&self) -> Result<&Link, Unavailable> {
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let unavailable = |reason| Unavailable { engine: "Redis", reason };
        let client = client::builder(&self.settings).map_err(unavailable)?.build();
        let client = client.map_err(|error| unavailable(error.to_string()))?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| unavailable(error.to_string()))?;
        let thread = runtime.handle().clone();
        let supervision = client::supervise_client(client.clone(), self.shared.address.clone());
        let name = format!("history {}", self.shared.fanout.name());
        let started = std::thread::Builder::new().name(name).spawn(move || runtime.block_on(supervision));
        started.map_err(|error| unavailable(error.to_string()))?;
        Ok(self.link.get_or_init(|| Link { client, thread }))
    }

    /// Reads what is stored of a room after `since`.
    pub(super) fn read(self: &Arc<Self>, room: &str, since: Since, client: Client) -> SharedFuture<ReadFuture> {
        let key = (Box::from(room), since);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, ticket)) = waiting.by_key.get(&key)
            && let Some(read) = read.upgrade()
        {
            self.turns.wait_for(ticket, client);
            return read;
        }
        waiting.sweep();
        let (reader, own_key) = (Arc::clone(self), key.clone());
        let (ticket, turn) = self.turns.wait(client);
        let read: ReadFuture = Box::pin(async move {
            // Every ticket has its turn in the end.
            let turn = turn.await;
            reader.waiting.lock().unwrap_or_else(PoisonError::into_inner).by_key.remove(&own_key);
            let (room, since) = own_key;
            let Link { client, thread } = reader.link()?;
            let (client, thread) = (client.clone(), thread.clone());
            let read = thread.spawn(async move {
                let (read, pause) = reader.read_now(&client, &room, since).await;
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    drop(turn);
                });
                read
            });
            read.await.unwrap_or_else(|_| Err(ScriptError::timed_out().unavailable))
        });
        let read = read.shared();
        waiting.by_key.extend(read.downgrade().map(|read| (key, (read, ticket))));
        read
    }

    /// Reads now. Also returns the pause until the next read.
    async fn read_now(&self, client: &RedisClient, room: &str, since: Since) -> (ReadOutcome, Duration) {
        if self.shared.history.of(room).is_none() {
            return (Ok(None), Duration::ZERO);
        }
        let connected = tokio::time::timeout(super::COMMAND_TIMEOUT, client::wait_connected(client)).await;
        if connected.is_err() {
            return (Err(ScriptError::timed_out().unavailable), Duration::ZERO);
        }
        let after = match since {
            Since::Position(position) if position.is_absent() => Some(0),
            Since::Position(position) => Some(position.offset),
            Since::Beginning => Some(0),
            Since::FirstJoin | Since::Time(_) | Since::Invalid => None,
        };
        let room_read = RoomRead { shared: &self.shared, client, keys: self.shared.keys(room) };
        let (slice, pause) = match after {
            Some(after) => {
                let pages = room_read.in_pages(after, self.shared.max_history_bytes);
                let timed_out = || (Err(ScriptError::timed_out()), Duration::ZERO);
                tokio::time::timeout(MAX_READ_TIME, pages).await.unwrap_or_else(|_| timed_out())
            }
            None => room_read.timed(None, None).await,
        };
        let recovery = slice.map(|mut slice| {
            let publications = slice.take_publications(room).into_iter();
            Some(Recovery::select(slice.position, slice.jump, slice.resolve(since), publications))
        });
        (recovery.map_err(|error| error.unavailable), pause)
    }
}

/// A slice of a room, and the pause until the next read.
type TimedSlice = (Result<HistorySlice, ScriptError>, Duration);

/// The reads of one room.
struct RoomRead<'a> {
    shared: &'a Shared,
    client: &'a RedisClient,
    keys: Keys,
}

// === impl RoomRead ===

impl RoomRead<'_> {
    async fn timed(&self, after: Option<u64>, limit: Option<usize>) -> TimedSlice {
        let began = Instant::now();
        // The reader need not be a member of the room: it writes nothing.
        let slice =
            self.shared.scripts.read(self.client, &self.keys, Read { after, limit, ..Read::default() }).await;
        (slice, began.elapsed() * PAUSE_FACTOR)
    }

    /// Reads what follows an offset, page by page.
    async fn in_pages(&self, after: u64, max_bytes: usize) -> TimedSlice {
        let mut pages = HistoryPages::after(after, max_bytes);
        loop {
            let (next, count) = pages.next();
            let (page, pause) = self.timed(Some(next), Some(count)).await;
            let page = match page {
                Ok(page) => pages.add(page),
                error => return (error, pause),
            };
            match page {
                NextPage::Read => tokio::time::sleep(pause).await,
                NextPage::Complete(slice) => return (Ok(slice), pause),
                NextPage::Impossible => {
                    return (Err(ScriptError::transient(IMPOSSIBLE)), pause);
                }
                NextPage::Unpaged => {
                    tokio::time::sleep(pause).await;
                    return self.timed(Some(after), None).await;
                }
            }
        }
    }
}

impl fmt::Debug for HistoryReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryReader").field("turns", &self.turns).finish_non_exhaustive()
    }
}
