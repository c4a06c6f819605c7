//! The task that follows one namespace in Redis: hears what is published, passes it on in order, answers the
//! questions of new members, and checks that nothing was lost on the way.

use super::link::LinkHealth;
use super::room_state::{Disposition, ReadRequest, RoomState};
use super::script::{HistorySlice, Scripts};
use super::unique_queue::UniqueQueue;
use super::{CHANNEL_PREFIX, Command, PATIENCE, link};
use crate::config::history::History;
use crate::engine::{EngineError, Fanout, Read};
use crate::frame::Frame;
use crate::shard::keeper::{RecoveryReply, RecoveryRequest, Since};
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
const SLICES: u64 = 15;
/// How long a question waits for a Redis that is away, to a tick.
const ASK_PATIENCE: Duration = Duration::from_secs(10);
/// Reads under way at a time.
const READS: usize = 512;

/// One namespace in Redis.
pub(super) struct NamespaceSubscriber {
    pub(super) publisher: Client,
    pub(super) subscriber: SubscriberClient,
    pub(super) scripts: Arc<Scripts>,
    pub(super) fanout: Fanout,
    pub(super) history: History,
    /// Whether each room has a channel of its own.
    pub(super) by_room: bool,
    /// Whether that channel lives in its slot of a cluster only.
    pub(super) sharded: bool,
    /// Whether Redis has said that it knows no such channels, as before version 7. Then the script publishes to all
    /// nodes.
    pub(super) slotless: Arc<AtomicBool>,
    /// The largest publication that is passed on. Bytes.
    pub(super) most: usize,
    /// The channel of the probe.
    pub(super) probe: String,
    pub(super) pulse: LinkHealth,
    pub(super) live: HashMap<Box<str>, RoomState>,
    /// Rooms whose channel is being unsubscribed from; they are not subscribed to before that is done.
    pub(super) leaving: HashSet<Box<str>>,
    /// Rooms that want a read while as many as may be are under way.
    pub(super) to_read: UniqueQueue,
    /// Rooms whose check is due.
    pub(super) to_check: UniqueQueue,
    pub(super) reads: usize,
    pub(super) results: mpsc::Sender<Done>,
}

/// What was done apart from the follower.
pub(super) enum Done {
    /// A read. `Ok(None)`: the room has no history.
    Read {
        room: Box<str>,
        found: Result<Option<HistorySlice>, EngineError>,
        /// A check: nobody has asked, and nothing is passed on.
        check: bool,
    },
    /// A room's channel was unsubscribed from.
    Left { room: Box<str> },
}

/// Where the follower gets its work.
pub(super) struct Inputs {
    pub(super) messages: broadcast::Receiver<Message>,
    pub(super) questions: mpsc::UnboundedReceiver<Command>,
    pub(super) results: mpsc::Receiver<Done>,
    /// Counts the times the subscriptions stood.
    pub(super) standing: watch::Receiver<u64>,
}

// === impl NamespaceSubscriber ===

impl NamespaceSubscriber {
    pub(super) async fn run(mut self, mut sources: Inputs) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0;
        loop {
            tokio::select! {
                biased;
                // Before what makes more of them; they are no more than the reads that are under way.
                Some(done) = sources.results.recv() => match done {
                    Done::Read { room, found, check } => self.read_done(&room, found, check).await,
                    Done::Left { room } => self.left(&room),
                },
                question = sources.questions.recv() => match question {
                    Some(Command::RecoveryRequest(ask)) => self.ask(*ask),
                    Some(Command::Rest { shard, room }) => self.rest(shard, &room),
                    None => return,
                },
                message = sources.messages.recv() => match message {
                    Ok(message) => self.hear(message).await,
                    Err(RecvError::Lagged(lost)) => {
                        self.fanout.metrics().engine_lagged_messages.fetch_add(lost, Relaxed);
                        tracing::warn!(lost, namespace = self.fanout.name(), "the server is slower than its Redis");
                        self.suspect_all();
                    }
                    Err(RecvError::Closed) => return,
                },
                changed = sources.standing.changed() => match changed {
                    // What was published while the link was down has passed us by, and it was the link that was
                    // subscribed.
                    Ok(()) => {
                        if self.by_room {
                            // It may be a newer Redis than before.
                            self.slotless.store(false, Relaxed);
                            self.live.values_mut().for_each(RoomState::deafen);
                        }
                        self.suspect_all();
                    }
                    Err(_) => return,
                },
                _ = tick.tick() => {
                    ticks += 1;
                    self.check_slice(ticks % SLICES);
                }
            }
        }
    }

    // --- what comes from Redis

    async fn hear(&mut self, message: Message) {
        self.pulse.stir();
        if *message.channel == *self.probe {
            return self.pulse.beat();
        }
        let bytes: &[u8] = match &message.value {
            Value::Bytes(bytes) => bytes,
            Value::String(text) => text.as_bytes(),
            _ => return,
        };
        let metrics = self.fanout.metrics();
        if bytes.len() > self.most {
            metrics.count_oversized_publish();
            let (bytes, most) = (bytes.len(), self.most);
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
            return self.fanout.pass(room, self.fanout.frame(publication.text), None).await;
        };
        // A room without members here is nobody's concern: who joins it later reads where it stands.
        let Some(live) = self.live.get_mut(room) else { return };
        let heard = live.hear(position);
        let is_at_once = live.position() == Some(position);
        match heard {
            Disposition::Deliver => {
                self.fanout.pass(room, self.fanout.frame(publication.text), Some(position)).await
            }
            Disposition::Ignore => {}
            Disposition::Gap => self.want_read(room),
            Disposition::NewEpoch => {
                self.fanout.tell_lost(room, position).await;
                if is_at_once {
                    self.fanout.pass(room, self.fanout.frame(publication.text), Some(position)).await;
                }
                self.want_read(room);
            }
        }
    }

    // --- what comes from the shards

    fn ask(&mut self, ask: RecoveryRequest) {
        let room = ask.room.clone();
        let (kept, listening) = (self.history.of(&room).is_some(), !self.by_room);
        let live = self.live.entry(room.clone()).or_insert_with(|| RoomState::new(kept, listening));
        live.rise(ask.reply_to.shard);
        if live.only_listens() {
            return self.fanout.answer(without_history(ask));
        }
        if let Some(position) = live.settled(ask.since) {
            return self.fanout.answer(Read { position, recovered: true, missed: Vec::new() }.answer(ask));
        }
        live.wait(ask, Instant::now());
        self.want_read(&room);
    }

    fn rest(&mut self, shard: u8, room: &str) {
        if self.live.get_mut(room).is_some_and(|live| live.rest(shard)) {
            self.forget(room);
        }
    }

    fn forget(&mut self, room: &str) {
        self.live.remove(room);
        // A room that was not subscribed to again since it was left last needs no second leaving.
        if !self.by_room || !self.leaving.insert(room.into()) {
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
            let _ = results.send(Done::Left { room }).await;
        });
    }

    /// Whether a room's channel lives in its slot of a cluster only. What is not kept is published to all nodes.
    fn is_sharded(&self, room: &str) -> bool {
        self.sharded && !self.slotless.load(Relaxed) && self.history.of(room).is_some()
    }

    /// A room's channel was unsubscribed from. Whoever has joined since waits for it to be subscribed to.
    fn left(&mut self, room: &str) {
        self.leaving.remove(room);
        self.want_read(room);
    }

    // --- reading

    /// Begins a read of a live room, if it needs one and none is under way.
    fn want_read(&mut self, room: &str) {
        if self.leaving.contains(room) {
            return;
        }
        if self.reads >= READS {
            return self.to_read.push(room);
        }
        let Some(order) = self.live.get_mut(room).and_then(RoomState::next_read) else { return };
        self.read(room, order, false);
    }

    fn read(&mut self, room: &str, order: ReadRequest, check: bool) {
        self.reads += 1;
        let kept = self.history.of(room);
        self.fanout.metrics().history_reads.fetch_add(u64::from(kept.is_some()), Relaxed);
        let read = ReadTask {
            publisher: self.publisher.clone(),
            // A room's own channel has to be heard before its position is read, or something could fall between.
            subscribe: order.subscribe.then(|| self.subscriber.clone()),
            sharded: self.is_sharded(room),
            slotless: Arc::clone(&self.slotless),
            scripts: Arc::clone(&self.scripts),
            keys: Keys::of(self.fanout.name(), room),
            after: order.after,
            heard: self.live.get(room).and_then(RoomState::position),
            kept,
        };
        let (room, results) = (room.into(), self.results.clone());
        tokio::spawn(async move {
            let found = read.run().await;
            let _ = results.send(Done::Read { room, found, check }).await;
        });
    }

    async fn read_done(&mut self, room: &str, found: Result<Option<HistorySlice>, EngineError>, check: bool) {
        self.reads -= 1;
        match found {
            Ok(Some(found)) if check => {
                if let Some(live) = self.live.get_mut(room)
                    && live.compare(found.position)
                {
                    if self.by_room {
                        // Why it did not come is unknown; the subscription may be gone without a word.
                        live.deafen();
                    }
                    self.want_read(room);
                }
            }
            Ok(Some(found)) => self.found(room, found).await,
            Ok(None) => {
                for ask in self.live.get_mut(room).map(RoomState::listens).unwrap_or_default() {
                    self.fanout.answer(without_history(ask));
                }
                self.go_on(room);
            }
            Err(_) if check => {}
            Err(error) => {
                tracing::debug!(%error, "reading a room's history failed; it is tried again");
                self.read_failed(room);
            }
        }
        self.take_turns();
    }

    async fn found(&mut self, room: &str, found: HistorySlice) {
        let HistorySlice { position, texts, jump } = found;
        let Some(live) = self.live.get_mut(room) else { return };
        let (backfill, answered) = live.found(position, jump, texts.len());
        let frames: Vec<Frame> = texts.iter().map(|text| self.fanout.frame(text)).collect();
        if backfill.lost {
            self.fanout.tell_lost(room, position).await;
        }
        if backfill.pass > 0 {
            self.fanout.metrics().backfilled_publications.fetch_add(backfill.pass as u64, Relaxed);
            let first = frames.len() - backfill.pass;
            for (index, frame) in frames.iter().enumerate().skip(first) {
                let own = position.nth_before((frames.len() - 1 - index) as u64, jump);
                self.fanout.pass(room, frame.clone(), Some(own)).await;
            }
        }
        for ask in answered {
            let read = Read::judge(position, jump, ask.since, frames.iter().cloned());
            self.fanout.answer(read.answer(ask));
        }
        self.go_on(room);
    }

    /// After a read: forgets a room that nobody is in any more, or begins the next read if one is wanted.
    fn go_on(&mut self, room: &str) {
        if self.live.get(room).is_some_and(RoomState::is_over) {
            self.forget(room);
        } else {
            self.want_read(room);
        }
    }

    /// Redis is away: the next tick tries again.
    fn read_failed(&mut self, room: &str) {
        if let Some(live) = self.live.get_mut(room) {
            live.failed();
        }
        if self.live.get(room).is_some_and(RoomState::is_over) {
            self.forget(room);
        }
    }

    // --- checking

    /// Anything may have been lost: read every live room.
    fn suspect_all(&mut self) {
        let rooms: Vec<Box<str>> = self.live.keys().cloned().collect();
        for room in rooms {
            if let Some(live) = self.live.get_mut(&room) {
                live.suspect();
            }
            self.want_read(&room);
        }
    }

    /// Has Redis asked where a slice of the live rooms stands, begins the reads that have failed before, and answers who
    /// has waited long enough for a Redis that is away.
    fn check_slice(&mut self, slice: u64) {
        let (before, is_there) = (Instant::now().checked_sub(ASK_PATIENCE), self.pulse.is_fresh());
        let mut overdue = Vec::new();
        for (room, live) in &mut self.live {
            overdue.extend(before.map(|before| live.overdue(before)).unwrap_or_default());
            if live.needs_read() {
                self.to_read.push(room);
            } else if is_there && live.position().is_some() && slice_of(room) == slice {
                self.to_check.push(room);
            }
        }
        for ask in overdue {
            self.fanout.answer(RecoveryReply {
                reply_to: ask.reply_to,
                namespace: ask.namespace,
                recovered: ask.since == Since::FirstJoin,
                room: ask.room,
                position: None,
                missed: Vec::new(),
            });
        }
        self.take_turns();
    }

    /// Begins as many reads as may be under way: those that somebody waits for first.
    fn take_turns(&mut self) {
        while self.reads < READS {
            if let Some(room) = self.to_read.pop() {
                self.want_read(&room);
            } else if let Some(room) = self.to_check.pop() {
                if self.live.get(&*room).is_some_and(RoomState::is_kept) {
                    self.read(&room, ReadRequest { after: None, subscribe: false }, true);
                }
            } else {
                return;
            }
        }
    }
}

/// In which tick of a round a room is checked: the same in every round, whatever other rooms come and go.
fn slice_of(room: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    room.hash(&mut hasher);
    hasher.finish() % SLICES
}

/// The answer to who joins a room without a history: as the shard gives it where an engine keeps nothing.
fn without_history(ask: RecoveryRequest) -> RecoveryReply {
    let RecoveryRequest { reply_to, namespace, room, .. } = ask;
    RecoveryReply { reply_to, namespace, room, position: None, recovered: false, missed: Vec::new() }
}

/// Whether Redis does not know the command.
fn is_unknown(error: &Error) -> bool {
    error.details().starts_with("ERR unknown command")
}

/// One read, apart from the follower.
struct ReadTask {
    publisher: Client,
    subscribe: Option<SubscriberClient>,
    sharded: bool,
    slotless: Arc<AtomicBool>,
    scripts: Arc<Scripts>,
    keys: Keys,
    after: Option<u64>,
    heard: Option<Position>,
    kept: Option<Retention>,
}

// === impl ReadTask ===

impl ReadTask {
    /// `None`: the room has no history, and there was nothing to do but to subscribe.
    async fn run(self) -> Result<Option<HistorySlice>, EngineError> {
        if let Some(subscriber) = &self.subscribe {
            let subscribed = tokio::time::timeout(PATIENCE, self.subscribe(subscriber)).await;
            let away = |details: &str| EngineError::Away(details.to_owned());
            subscribed.map_err(|_| away("no answer to SUBSCRIBE"))?.map_err(|error| away(error.details()))?;
        }
        let Some(kept) = self.kept else { return Ok(None) };
        self.scripts.read(&self.publisher, &self.keys, self.after, self.heard, kept).await.map(Some)
    }

    async fn subscribe(&self, subscriber: &SubscriberClient) -> Result<(), Error> {
        let channel = self.keys.channel();
        debug_assert!(channel.starts_with(CHANNEL_PREFIX));
        link::standing(subscriber).await;
        if self.sharded {
            match subscriber.ssubscribe(channel.as_str()).await {
                Err(error) if is_unknown(&error) => self.slotless.store(true, Relaxed),
                other => return other,
            }
        }
        subscriber.subscribe(channel).await?;
        // The client has answered before it wrote. What comes back on the same link shows that Redis has subscribed.
        subscriber.ping::<Value>(None).await.map(|_pong| ())
    }
}
