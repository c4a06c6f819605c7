//! Reads of histories for HTTP: on a connection and a thread of their own, one at a time, and shared by readers that wait for
//! the same.
//!
//! A history may have many megabytes, which keep Redis and the thread that parses them busy. So Redis and the other threads
//! have pauses between two reads, and a flood of them delays neither publishing nor joins.

use super::Shared;
use super::client;
use super::script::ScriptError;
use crate::capability::Unavailable;
use crate::history::{Recovery, Since};
use fred::clients::Client;
use futures_util::future::{BoxFuture, FutureExt as _, Shared as SharedFuture, WeakShared};
use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::runtime::{Builder, Handle};
use tokio::sync::Semaphore;

/// Pause after a read, in units of the time that it took.
const PAUSE_FACTOR: u32 = 2;
/// Entries of reads that wait, after which those without a reader are dropped.
const MAX_ENTRIES: usize = 1024;

/// The result of a read: `None` for a room without a history.
type Read = Result<Option<Recovery>, Unavailable>;
type ReadFuture = BoxFuture<'static, Read>;
/// Reads that have not started, by room and position.
type WaitingReads = HashMap<(Box<str>, Since), WeakShared<ReadFuture>>;

/// See the head of this file.
pub(super) struct HistoryReader {
    client: Client,
    shared: Arc<Shared>,
    /// The thread that reads.
    thread: Handle,
    turn: Arc<Semaphore>,
    /// Later readers must not share a read that has started: it may miss what was published since.
    waiting: Mutex<WaitingReads>,
}

// === impl HistoryReader ===

impl HistoryReader {
    /// Reads with `client`, which connects as soon as Redis responds.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(super) fn start(client: Client, shared: Arc<Shared>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = runtime.handle().clone();
        let supervision = client::supervise_client(client.clone(), shared.address.clone());
        let name = format!("history {}", shared.fanout.name());
        std::thread::Builder::new().name(name).spawn(move || runtime.block_on(supervision))?;
        Ok(Self { client, shared, thread, turn: Arc::new(Semaphore::new(1)), waiting: Mutex::default() })
    }

    /// Reads what is stored of a room after `since`.
    pub(super) fn read(self: &Arc<Self>, room: &str, since: Since) -> SharedFuture<ReadFuture> {
        let key = (Box::from(room), since);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = waiting.get(&key).and_then(WeakShared::upgrade) {
            return read;
        }
        if waiting.len() >= MAX_ENTRIES {
            waiting.retain(|_, read| read.upgrade().is_some());
        }
        let (reader, own_key) = (Arc::clone(self), key.clone());
        let read: ReadFuture = Box::pin(async move {
            // The semaphore is never closed.
            let turn = Arc::clone(&reader.turn).acquire_owned().await;
            reader.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&own_key);
            let (room, since) = own_key;
            let thread = reader.thread.clone();
            let read = thread.spawn(async move {
                let began = Instant::now();
                let read = reader.read_now(&room, since).await;
                let pause = began.elapsed() * PAUSE_FACTOR;
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    drop(turn);
                });
                read
            });
            read.await.unwrap_or_else(|_| Err(ScriptError::timed_out().unavailable))
        });
        let read = read.shared();
        waiting.extend(read.downgrade().map(|read| (key, read)));
        read
    }

    async fn read_now(&self, room: &str, since: Since) -> Read {
        let Some(retention) = self.shared.history.of(room) else { return Ok(None) };
        let after = match since {
            Since::Position(position) if position.is_absent() => Some(0),
            Since::Position(position) => Some(position.offset),
            Since::Beginning => Some(0),
            Since::FirstJoin | Since::Invalid => None,
        };
        let keys = self.shared.keys(room);
        let connected = tokio::time::timeout(super::COMMAND_TIMEOUT, client::wait_connected(&self.client)).await;
        if connected.is_err() {
            return Err(ScriptError::timed_out().unavailable);
        }
        let read = self.shared.scripts.read(&self.client, &keys, after, None, retention).await;
        let slice = read.map_err(|error| error.unavailable)?;
        let publications = slice.publications(room).into_iter();
        Ok(Some(Recovery::select(slice.position, slice.jump, slice.resolve(since), publications)))
    }
}

impl fmt::Debug for HistoryReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HistoryReader").field("turn", &self.turn).finish_non_exhaustive()
    }
}
