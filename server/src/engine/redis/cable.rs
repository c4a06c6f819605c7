//! What is kept in Redis for Action Cable: a key for each cursor and session, which expires. So a page continues on any
//! server. Each server counts what its clients write.

use super::super::cable_places::CablePlaces;
use super::super::whispers::{WaitingWhispers, Whisper, Whispers};
use super::script::{Script, ScriptError};
use super::{COMMAND_TIMEOUT, Shared, client};
use crate::cable::{Cable, CableQuery, CableReply, CableRequest, CableWrite, SESSION_LIFETIME, cursor_lifetime};
use crate::client::Client;
use crate::fair_shares::FairShares;
use crate::outcome::Outcome;
use fred::interfaces::{KeysInterface, PubsubInterface};
use fred::types::{Expiration, Value};
use nodevent_protocol::action_cable::stored::{self, CableKey};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc;

/// The tasks that read and write. The requests for one key have one order.
const WORKERS: usize = 16;
/// Requests that may wait for one of them.
const MAX_QUEUE: usize = 4096;
/// Reads that may wait. Clients share them.
const MAX_READS: usize = 16_384;

/// See the head of this file.
#[derive(Debug)]
pub(super) struct CableInRedis {
    store: Arc<Store>,
    workers: Vec<mpsc::Sender<(Instant, Work)>>,
    whispers: Whispers,
}

#[derive(Debug)]
struct Store {
    shared: Arc<Shared>,
    open_cursor: Script,
    move_cursor: Script,
    take_session: Script,
    /// Locked briefly.
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    /// What was written, without its value.
    written: CablePlaces<()>,
    reads: FairShares,
}

#[derive(Debug)]
enum Work {
    Read(CableRequest),
    Write(CableWrite),
}

// === impl CableInRedis ===

impl CableInRedis {
    /// Starts its tasks on the current runtime.
    pub(super) fn start(shared: &Arc<Shared>) -> Self {
        let store = Arc::new(Store {
            shared: Arc::clone(shared),
            open_cursor: Script::new(stored::OPEN_CURSOR),
            move_cursor: Script::new(stored::MOVE_CURSOR),
            take_session: Script::new(stored::TAKE_SESSION),
            counts: Mutex::new(Counts { written: CablePlaces::default(), reads: FairShares::new(MAX_READS) }),
        });
        let start_worker = |_| {
            let (sender, receiver) = mpsc::channel(MAX_QUEUE);
            tokio::spawn(work(Arc::clone(&store), receiver));
            sender
        };
        let workers = (0..WORKERS).map(start_worker).collect();
        let (whispers, waiting) = Whispers::new();
        tokio::spawn(pass_on(Arc::clone(shared), waiting));
        Self { store, workers, whispers }
    }

    fn send(&self, key: CableKey, work: Work) -> bool {
        let worker = self.workers.get(usize::from(key.bucket()) % WORKERS);
        worker.is_some_and(|worker| worker.try_send((Instant::now(), work)).is_ok())
    }
}

/// Serves the requests for a part of the keys, one after another. While Redis is unavailable, those that have waited for too
/// long are given up, so that none waits for all before it.
async fn work(store: Arc<Store>, mut requests: mpsc::Receiver<(Instant, Work)>) {
    while let Some((queued_at, request)) = requests.recv().await {
        let is_late = queued_at.elapsed() > COMMAND_TIMEOUT;
        match request {
            Work::Read(request) => {
                let found = match is_late {
                    true => Ok(None),
                    false => store.read(request.query).await,
                };
                let found = found.unwrap_or_else(|error| {
                    store.log(&error);
                    None
                });
                store.counts().reads.remove(request.client);
                store.shared.fanout.reply_cable(CableReply { reply_to: request.reply_to, found });
            }
            Work::Write(_) if is_late => {}
            Work::Write(write) => {
                if let Err(error) = store.write(write).await {
                    store.log(&error);
                }
            }
        }
    }
}

/// Publishes whispers, which have no position and no place in a history.
async fn pass_on(shared: Arc<Shared>, mut whispers: WaitingWhispers) {
    while let Some(Whisper { room, text }) = whispers.next().await {
        if let Err(reason) = publish(&shared, &room, text).await {
            shared.fanout.metrics().dropped_whispers.fetch_add(1, Relaxed);
            tracing::debug!(namespace = shared.fanout.name(), reason, "a whisper was lost");
        }
    }
}

async fn publish(shared: &Shared, room: &str, text: String) -> Result<(), String> {
    let (publisher, is_kept) = (&shared.publisher, shared.history.of(room).is_some());
    let channel = if shared.channel_per_room { shared.keys(room).channel() } else { shared.channel.clone() };
    let publish = async {
        client::wait_connected(publisher).await;
        if shared.sharded_pubsub && is_kept {
            match publisher.spublish::<i64, _, _>(channel.as_str(), text.as_str()).await {
                // Before Redis 7 there is no SPUBLISH, and PUBLISH reaches every node of a cluster.
                Err(error) if error.details().starts_with("ERR unknown command") => {}
                other => return other,
            }
        }
        publisher.publish::<i64, _, _>(channel, text).await
    };
    match tokio::time::timeout(COMMAND_TIMEOUT, publish).await {
        Ok(Ok(_receivers)) => Ok(()),
        Ok(Err(error)) => Err(error.details().to_owned()),
        Err(_) => Err("Redis did not respond in time".to_owned()),
    }
}

// === impl Store ===

impl Store {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        // A panic leaves nothing in it that could not be used.
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, error: &ScriptError) {
        let error = &error.unavailable;
        tracing::debug!(namespace = self.shared.fanout.name(), %error, "a cursor or session is unavailable");
    }

    fn key(&self, key: CableKey) -> String {
        self.shared.scope.cable(self.shared.fanout.name(), key)
    }

    async fn run<R: fred::types::FromValue>(
        &self,
        script: &Script,
        key: CableKey,
        args: Vec<String>,
    ) -> Result<R, ScriptError> {
        let args = args.into_iter().map(Value::from).collect();
        script.run(&self.shared.publisher, vec![self.key(key)], args).await
    }

    async fn read(&self, query: CableQuery) -> Result<Option<Box<str>>, ScriptError> {
        let found: String = match query {
            CableQuery::Cursor { key, holder } => {
                self.run(&self.open_cursor, key, vec![format!("{holder:016x}")]).await?
            }
            CableQuery::Session { key } => self.run(&self.take_session, key, Vec::new()).await?,
        };
        Ok((!found.is_empty()).then(|| found.into()))
    }

    async fn write(&self, write: CableWrite) -> Result<(), ScriptError> {
        match write {
            CableWrite::Cursor { key, holder, stream, position } => {
                let Some(retention) = self.shared.history.of(&stream) else { return Ok(()) };
                let lifetime = cursor_lifetime(retention.age).as_millis().to_string();
                let args = vec![format!("{holder:016x}"), position.to_string(), lifetime];
                self.run::<i64>(&self.move_cursor, key, args).await.map(drop)
            }
            CableWrite::Session { key, text } => {
                let expiration = i64::try_from(SESSION_LIFETIME.as_millis()).ok().map(Expiration::PX);
                let publisher = &self.shared.publisher;
                let set = async {
                    client::wait_connected(publisher).await;
                    publisher.set::<Value, _, _>(self.key(key), &*text, expiration, None, false).await
                };
                match tokio::time::timeout(COMMAND_TIMEOUT, set).await {
                    Ok(Ok(_)) => Ok(()),
                    Ok(Err(error)) => Err(ScriptError::from_redis(error.details())),
                    Err(_) => Err(ScriptError::timed_out()),
                }
            }
        }
    }
}

impl Cable for CableInRedis {
    fn read(&self, request: CableRequest) -> Outcome<Option<Box<str>>> {
        {
            let reads = &mut self.store.counts().reads;
            if reads.check(request.client).is_err() {
                return Outcome::Overloaded;
            }
            reads.add(request.client);
        }
        if self.send(request.query.key(), Work::Read(request)) {
            return Outcome::Pending;
        }
        self.store.counts().reads.remove(request.client);
        Outcome::Overloaded
    }

    fn write(&self, client: Client, write: CableWrite) {
        let now = Instant::now();
        let (bytes, lifetime) = match &write {
            CableWrite::Cursor { stream, .. } => {
                let Some(retention) = self.store.shared.history.of(stream) else { return };
                (0, cursor_lifetime(retention.age))
            }
            CableWrite::Session { text, .. } => (text.len(), SESSION_LIFETIME),
        };
        let (key, until) = (write.key(), now + lifetime);
        {
            let written = &mut self.store.counts().written;
            written.expire(now);
            if written.get_mut(key).is_some() {
                written.keep(key, until);
            } else if !written.insert(key, client, bytes, (), until) {
                return;
            }
        }
        if !self.send(key, Work::Write(write)) {
            let namespace = self.store.shared.fanout.name();
            tracing::debug!(
                namespace,
                "too many cursors are written at once: a page will receive some messages again"
            );
        }
    }

    fn whisper(&self, client: Client, room: &str, text: String) {
        if !self.whispers.push(client, room, text) {
            self.store.shared.fanout.metrics().dropped_whispers.fetch_add(1, Relaxed);
        }
    }
}
