//! The task that follows one namespace in Redis: hears what is published, passes it on in order, answers the
//! commands of new members, and checks that nothing was lost on the way.

use super::link::LinkHealth;
use super::room_state::{Disposition, ReadRequest, RoomState};
use super::script::{self, HistorySlice, Scripts};
use super::unique_queue::UniqueQueue;
use super::{CHANNEL_PREFIX, COMMAND_TIMEOUT, Command, link};
use crate::capability::Unavailable;
use crate::config::history::History;
use crate::engine::Fanout;
use crate::history::{Recovery, RecoveryRequest};
use crate::publication::Publication;
use fred::clients::{Client, SubscriberClient};
use fred::error::Error;
use fred::interfaces::{ClientLike, PubsubInterface};
use fred::types::{Message, Value};
use nodevent_protocol::history::{Keys, Position, Retention};
use nodevent_protocol::publication;
use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};

/// How often a slice of the live rooms is checked.
const TICK: Duration = Duration::from_secs(1);
/// Every live room is checked once in so many ticks.
const CHECK_BUCKETS: u64 = 15;
/// How long a question waits for a Redis that is away, to a tick.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// Reads under way at a time.
const MAX_CONCURRENT_READS: usize = 512;

/// One namespace in Redis.
pub(super) struct NamespaceSubscriber {
    pub(super) publisher: Client,
    pub(super) subscriber: SubscriberClient,
    pub(super) scripts: Arc<Scripts>,
    pub(super) fanout: Fanout,
    pub(super) history: History,
    /// Whether each room has a channel of its own.
    pub(super) channel_per_room: bool,
    /// Whether that channel lives in its slot of a cluster only.
    pub(super) sharded_pubsub: bool,
    /// Whether Redis has said that it knows no such channels, as before version 7. Then the script publishes to all
    /// nodes.
    pub(super) sharded_pubsub_unsupported: Arc<AtomicBool>,
    /// The largest publication that is passed on. Bytes.
    pub(super) max_publication_bytes: usize,
    /// The channel of the probe.
    pub(super) probe: String,
    pub(super) health: LinkHealth,
    pub(super) rooms: HashMap<Box<str>, RoomState>,
    /// Rooms whose channel is being unsubscribed from; they are not subscribed to before that is done.
    pub(super) unsubscribing: HashSet<Box<str>>,
    /// Rooms that want a read while as many as may be are under way.
    pub(super) read_queue: UniqueQueue,
    /// Rooms whose check is due.
    pub(super) check_queue: UniqueQueue,
    pub(super) reads_in_flight: usize,
    pub(super) results: mpsc::Sender<TaskResult>,
}

/// What was done apart from the follower.
pub(super) enum TaskResult {
    /// A read. `Ok(None)`: the room has no history.
    Read {
        room: Box<str>,
        found: Result<Option<HistorySlice>, Unavailable>,
        /// A check: nobody has asked, and nothing is passed on.
        check: bool,
    },
    /// A room's channel was unsubscribed from.
    Unsubscribed { room: Box<str> },
}

/// Where the follower gets its work.
pub(super) struct Inputs {
    pub(super) messages: broadcast::Receiver<Message>,
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    pub(super) results: mpsc::Receiver<TaskResult>,
    /// Counts the times the subscriptions stood.
    pub(super) subscriptions: watch::Receiver<u64>,
}

// === impl NamespaceSubscriber ===

impl NamespaceSubscriber {
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0;
        loop {
            tokio::select! {
                biased;
                // Before what makes more of them; they are no more than the reads that are under way.
                Some(done) = inputs.results.recv() => match done {
                    TaskResult::Read { room, found, check } => self.read_done(&room, found, check).await,
                    TaskResult::Unsubscribed { room } => self.on_unsubscribed(&room),
                },
                question = inputs.commands.recv() => match question {
                    Some(Command::Recover(request)) => self.on_recovery_request(*request),
                    Some(Command::RoomEmpty { shard, room }) => self.on_room_empty(shard, &room),
                    None => return,
                },
                message = inputs.messages.recv() => match message {
                    Ok(message) => self.on_message(message).await,
                    Err(RecvError::Lagged(lost)) => {
                        self.fanout.metrics().engine_lagged_messages.fetch_add(lost, Relaxed);
                        tracing::warn!(lost, namespace = self.fanout.name(), "the server is slower than its Redis");
                        self.recheck_all_rooms();
                    }
                    Err(RecvError::Closed) => return,
                },
                changed = inputs.subscriptions.changed() => match changed {
                    // What was published while the link was down has passed us by, and it was the link that was
                    // subscribed.
                    Ok(()) => {
                        if self.channel_per_room {
                            // It may be a newer Redis than before.
                            self.sharded_pubsub_unsupported.store(false, Relaxed);
                            self.rooms.values_mut().for_each(RoomState::mark_unsubscribed);
                        }
                        self.recheck_all_rooms();
                    }
                    Err(_) => return,
                },
                _ = tick.tick() => {
                    ticks += 1;
                    self.check_bucket(ticks % CHECK_BUCKETS);
                }
            }
        }
    }

    // --- what comes from Redis

    async fn on_message(&mut self, message: Message) {
        self.health.record_activity();
        if *message.channel == *self.probe {
            return self.health.record_probe();
        }
        let bytes: &[u8] = match &message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.as_bytes(),
            _ => return,
        };
        let metrics = self.fanout.metrics();
        if bytes.len() > self.max_publication_bytes {
            metrics.count_oversized_publish();
            let (bytes, most) = (bytes.len(), self.max_publication_bytes);
            tracing::warn!(namespace = self.fanout.name(), bytes, most, "a publish was skipped: it is too large");
            return;
        }
        let publication = match publication::parse(bytes) {
            Ok(publication) => publication,
            Err(skipped) => {
                metrics.count_invalid_publish(&skipped);
                tracing::warn!(namespace = self.fanout.name(), reason = %skipped, "a publish was skipped");
                return;
            }
        };
        let room = publication.room.as_ref();
        // Without a history, or published by somebody who knows none: delivered, but not followed.
        let position = publication.position.filter(|_| self.history.of(room).is_some());
        let Some(position) = position else {
            return self.fanout.broadcast(Publication::in_room(room, publication.text, None)).await;
        };
        // A room without members here is nobody's concern: who joins it later reads where it stands.
        let Some(state) = self.rooms.get_mut(room) else { return };
        let disposition = state.on_publication(position);
        let advanced_directly = state.position() == Some(position);
        match disposition {
            Disposition::Deliver => {
                self.fanout.broadcast(Publication::in_room(room, publication.text, Some(position))).await
            }
            Disposition::Ignore => {}
            Disposition::Gap => self.request_read(room),
            Disposition::NewEpoch => {
                self.fanout.broadcast_gap(room, position).await;
                if advanced_directly {
                    self.fanout.broadcast(Publication::in_room(room, publication.text, Some(position))).await;
                }
                self.request_read(room);
            }
        }
    }

    // --- what comes from the shards

    fn on_recovery_request(&mut self, request: RecoveryRequest) {
        let room = request.room.clone();
        let (has_history, subscribed) = (self.history.of(&room).is_some(), !self.channel_per_room);
        let state = self.rooms.entry(room.clone()).or_insert_with(|| RoomState::new(has_history, subscribed));
        state.add_shard(request.reply_to.shard);
        if state.is_ready_without_history() {
            return self.fanout.reply(request.reply(None));
        }
        if let Some(position) = state.position_if_caught_up(request.since) {
            return self.fanout.reply(request.reply(Some(Recovery::up_to_date(position))));
        }
        state.enqueue(request, Instant::now());
        self.request_read(&room);
    }

    fn on_room_empty(&mut self, shard: u8, room: &str) {
        if self.rooms.get_mut(room).is_some_and(|state| state.remove_shard(shard)) {
            self.forget(room);
        }
    }

    fn forget(&mut self, room: &str) {
        self.rooms.remove(room);
        // A room that was not subscribed to again since it was left last needs no second unsubscribing.
        if !self.channel_per_room || !self.unsubscribing.insert(room.into()) {
            return;
        }
        let (subscriber, channel) = (self.subscriber.clone(), Keys::of(self.fanout.name(), room).channel());
        let (sharded, results) = (self.is_sharded(room), self.results.clone());
        let room = room.into();
        tokio::spawn(async move {
            // A link that is down has lost its subscriptions with it. On one that stands the client answers when the
            // command is about to be written; a later subscription is written after it.
            if subscriber.is_connected() {
                let _ = match sharded {
                    true => subscriber.sunsubscribe(channel).await,
                    false => subscriber.unsubscribe(channel).await,
                };
            }
            let _ = results.send(TaskResult::Unsubscribed { room }).await;
        });
    }

    /// Whether a room's channel lives in its slot of a cluster only. What is not kept is published to all nodes.
    fn is_sharded(&self, room: &str) -> bool {
        self.sharded_pubsub && !self.sharded_pubsub_unsupported.load(Relaxed) && self.history.of(room).is_some()
    }

    /// A room's channel was unsubscribed from. Whoever has joined since waits for it to be subscribed to.
    fn on_unsubscribed(&mut self, room: &str) {
        self.unsubscribing.remove(room);
        self.request_read(room);
    }

    // --- reading

    /// Begins a read of a live room, if it needs one and none is under way.
    fn request_read(&mut self, room: &str) {
        if self.unsubscribing.contains(room) {
            return;
        }
        if self.reads_in_flight >= MAX_CONCURRENT_READS {
            return self.read_queue.push(room);
        }
        let Some(order) = self.rooms.get_mut(room).and_then(RoomState::start_read) else { return };
        self.read(room, order, false);
    }

    fn read(&mut self, room: &str, order: ReadRequest, check: bool) {
        self.reads_in_flight += 1;
        let retention = self.history.of(room);
        self.fanout.metrics().history_reads.fetch_add(u64::from(retention.is_some()), Relaxed);
        let read = ReadTask {
            publisher: self.publisher.clone(),
            // A room's own channel has to be heard before its position is read, or something could fall between.
            subscribe: order.subscribe.then(|| self.subscriber.clone()),
            sharded_pubsub: self.is_sharded(room),
            sharded_pubsub_unsupported: Arc::clone(&self.sharded_pubsub_unsupported),
            scripts: Arc::clone(&self.scripts),
            keys: Keys::of(self.fanout.name(), room),
            after: order.after,
            heard: self.rooms.get(room).and_then(RoomState::position),
            retention,
        };
        let (room, results) = (room.into(), self.results.clone());
        tokio::spawn(async move {
            let found = read.run().await;
            let _ = results.send(TaskResult::Read { room, found, check }).await;
        });
    }

    async fn read_done(&mut self, room: &str, found: Result<Option<HistorySlice>, Unavailable>, check: bool) {
        self.reads_in_flight -= 1;
        match found {
            Ok(Some(found)) if check => {
                if let Some(state) = self.rooms.get_mut(room)
                    && state.check_position(found.position)
                {
                    if self.channel_per_room {
                        // Why it did not come is unknown; the subscription may be gone without a word.
                        state.mark_unsubscribed();
                    }
                    self.request_read(room);
                }
            }
            Ok(Some(found)) => self.on_history(room, found).await,
            Ok(None) => {
                for request in self.rooms.get_mut(room).map(RoomState::on_subscribed).unwrap_or_default() {
                    self.fanout.reply(request.reply(None));
                }
                self.after_read(room);
            }
            Err(_) if check => {}
            Err(error) => {
                tracing::debug!(%error, "reading a room's history failed; it is tried again");
                self.read_failed(room);
            }
        }
        self.drain_queues();
    }

    async fn on_history(&mut self, room: &str, slice: HistorySlice) {
        let publications = slice.publications(room);
        let HistorySlice { position, jump, .. } = slice;
        let Some(state) = self.rooms.get_mut(room) else { return };
        let (backfill, replies) = state.on_read_completed(position, jump, publications.len());
        if backfill.gap {
            self.fanout.broadcast_gap(room, position).await;
        }
        self.fanout.metrics().backfilled_publications.fetch_add(backfill.deliver as u64, Relaxed);
        for publication in publications.iter().skip(publications.len() - backfill.deliver) {
            self.fanout.broadcast(Arc::clone(publication)).await;
        }
        for request in replies {
            let recovery = Recovery::select(position, jump, request.since, publications.iter().cloned());
            self.fanout.reply(request.reply(Some(recovery)));
        }
        self.after_read(room);
    }

    /// After a read: forgets a room that nobody is in any more, or begins the next read if one is wanted.
    fn after_read(&mut self, room: &str) {
        if self.rooms.get(room).is_some_and(RoomState::can_be_dropped) {
            self.forget(room);
        } else {
            self.request_read(room);
        }
    }

    /// Redis is away: the next tick tries again.
    fn read_failed(&mut self, room: &str) {
        if let Some(state) = self.rooms.get_mut(room) {
            state.on_read_failed();
        }
        if self.rooms.get(room).is_some_and(RoomState::can_be_dropped) {
            self.forget(room);
        }
    }

    // --- checking

    /// Anything may have been lost: read every live room.
    fn recheck_all_rooms(&mut self) {
        let rooms: Vec<Box<str>> = self.rooms.keys().cloned().collect();
        for room in rooms {
            if let Some(state) = self.rooms.get_mut(&room) {
                state.mark_possibly_stale();
            }
            self.request_read(&room);
        }
    }

    /// Has Redis asked where a slice of the live rooms stands, begins the reads that have failed before, and answers who
    /// has waited long enough for a Redis that is away.
    fn check_bucket(&mut self, slice: u64) {
        let (before, is_there) = (Instant::now().checked_sub(RECOVERY_TIMEOUT), self.health.is_ready());
        let mut overdue = Vec::new();
        for (room, state) in &mut self.rooms {
            overdue.extend(before.map(|before| state.take_timed_out(before)).unwrap_or_default());
            if state.needs_read() {
                self.read_queue.push(room);
            } else if is_there && state.position().is_some() && bucket_of(room) == slice {
                self.check_queue.push(room);
            }
        }
        for request in overdue {
            let recovery = Recovery::unavailable(request.since);
            self.fanout.reply(request.reply(Some(recovery)));
        }
        self.drain_queues();
    }

    /// Begins as many reads as may be under way: those that somebody waits for first.
    fn drain_queues(&mut self) {
        while self.reads_in_flight < MAX_CONCURRENT_READS {
            if let Some(room) = self.read_queue.pop() {
                self.request_read(&room);
            } else if let Some(room) = self.check_queue.pop() {
                if self.rooms.get(&*room).is_some_and(RoomState::has_history) {
                    self.read(&room, ReadRequest { after: None, subscribe: false }, true);
                }
            } else {
                return;
            }
        }
    }
}

/// In which tick of a round a room is checked: the same in every round, whatever other rooms come and go.
fn bucket_of(room: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    hasher.finish() % CHECK_BUCKETS
}

/// Whether Redis does not know the command.
fn is_unknown(error: &Error) -> bool {
    error.details().starts_with("ERR unknown command")
}

/// One read, apart from the follower.
struct ReadTask {
    publisher: Client,
    subscribe: Option<SubscriberClient>,
    sharded_pubsub: bool,
    sharded_pubsub_unsupported: Arc<AtomicBool>,
    scripts: Arc<Scripts>,
    keys: Keys,
    after: Option<u64>,
    heard: Option<Position>,
    retention: Option<Retention>,
}

// === impl ReadTask ===

impl ReadTask {
    /// `None`: the room has no history, and there was nothing to do but to subscribe.
    async fn run(self) -> Result<Option<HistorySlice>, Unavailable> {
        if let Some(subscriber) = &self.subscribe {
            let subscribed = tokio::time::timeout(COMMAND_TIMEOUT, self.subscribe(subscriber)).await;
            let away = |details: &str| script::unavailable(details.to_owned());
            subscribed.map_err(|_| away("no answer to SUBSCRIBE"))?.map_err(|error| away(error.details()))?;
        }
        let Some(retention) = self.retention else { return Ok(None) };
        self.scripts.read(&self.publisher, &self.keys, self.after, self.heard, retention).await.map(Some)
    }

    async fn subscribe(&self, subscriber: &SubscriberClient) -> Result<(), Error> {
        let channel = self.keys.channel();
        debug_assert!(channel.starts_with(CHANNEL_PREFIX));
        link::wait_connected(subscriber).await;
        if self.sharded_pubsub {
            match subscriber.ssubscribe(channel.as_str()).await {
                Err(error) if is_unknown(&error) => self.sharded_pubsub_unsupported.store(true, Relaxed),
                other => return other,
            }
        }
        subscriber.subscribe(channel).await?;
        // The client has answered before it wrote. What comes back on the same link shows that Redis has subscribed.
        subscriber.ping::<Value>(None).await.map(|_pong| ())
    }
}
