//! The task of one namespace: receives what is published, delivers it in order, and answers the requests of new members.
//!
//! [`super::room_state`] decides; this file executes. Reads run in tasks of their own ([`super::read_task`]), so that
//! live publications never wait for them. [`super::periodic_check`] is the rest of this task.

use super::backlog::{Backlog, Dropped, Next, Received, report_dropped};
use super::long_reads::LongReads;
use super::periodic_check::{CheckBudget, STEP};
use super::read_task::ReadTask;
use super::room_state::{CheckResult, Disposition, ReadRequest, ReadResult, RoomState, hash_of};
use super::rooms::Rooms;
use super::script::{HistorySlice, ScriptError};
use super::unique_queue::UniqueQueue;
use super::{Command, Shared};
use crate::engine::unpositioned;
use crate::history::{Recovery, RecoveryRequest, Since};
use crate::pages::PageNotice;
use crate::publication::{Publication, without_trace};
use fred::interfaces::{ClientLike, PubsubInterface};
use futures_util::future::{Either, select};
use nodevent_protocol::history::{Position, Retention};
use nodevent_protocol::pages::parse_notice;
use nodevent_protocol::publication;
use nodevent_protocol::topic;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Reads in progress at a time. A publication waits in Redis until those before it are done: about 40 µs each.
const MAX_CONCURRENT_READS: usize = 64;
/// Reads in progress at which no check starts.
const MAX_READS_BEFORE_CHECK: usize = 8;
/// Pause of a room after a read that has answered requests. Members who return during it share the next read, however
/// fast Redis is.
const READ_PAUSE: Duration = Duration::from_millis(5);
/// Channels that one task unsubscribes.
const MAX_UNSUBSCRIBED: usize = 256;
/// Rooms that are looked at when reads have ended, for those that need one. The others have their turn later.
const MAX_VISITS: usize = 256;

/// The state of the task.
pub(super) struct NamespaceSubscriber {
    pub(super) shared: Arc<Shared>,
    /// Rooms with members on this server.
    pub(super) rooms: Rooms,
    /// Rooms that wait for a read because too many are in progress.
    read_queue: UniqueQueue,
    /// Rooms whose last read failed or changed nothing. The next one must not follow at once.
    pub(super) retry_queue: UniqueQueue,
    /// The number of them that may be read now.
    pub(super) retries_due: usize,
    /// Which source has the next read.
    turn: usize,
    /// Rooms at which requests wait, or have waited a moment ago.
    pub(super) waiting: UniqueQueue,
    pub(super) checks: CheckBudget,
    /// Rooms without members whose channel is still subscribed. They wait for the task that unsubscribes.
    unsubscribe_queue: UniqueQueue,
    /// Rooms whose channel is being unsubscribed, by one task at a time. They are not subscribed again before that is done.
    unsubscribing: HashSet<Arc<str>>,
    reads_in_flight: usize,
    /// Those of them that have more than a page. They have a limit of their own.
    long_reads: Arc<LongReads>,
    /// Cloned into the tasks of reads. [`Inputs`] has the receiver.
    results_tx: mpsc::Sender<TaskResult>,
    /// Whether Redis does not have channels in one slot, as before version 7. Then the script publishes to all nodes.
    sharded_pubsub_unsupported: Arc<AtomicBool>,
}

/// The result of a task that the subscriber started.
pub(super) enum TaskResult {
    /// A read. `Ok(None)`: the room has no history.
    Read {
        room: Box<str>,
        result: Result<Option<HistorySlice>, ScriptError>,
        /// The check that this is, with the position that the room had when it started.
        check: Option<Check>,
    },
    /// The channels of all rooms that were being unsubscribed.
    Unsubscribed,
    /// A request whose time was replaced by a position.
    TimeFound(RecoveryRequest),
    /// A room's pause after a read has ended.
    PauseEnded { room: Box<str> },
}

/// A read that only compares.
#[derive(Clone, Copy)]
pub(super) struct Check {
    /// The room's position on this server when the check started.
    pub(super) position: Option<Position>,
}

/// The channels from which the subscriber receives its work.
pub(super) struct Inputs {
    /// Messages from Redis.
    pub(super) backlog: Backlog,
    /// Commands from the shards. The engine sends.
    pub(super) commands: mpsc::UnboundedReceiver<Command>,
    /// Results of tasks.
    pub(super) results: mpsc::Receiver<TaskResult>,
    /// Number of times that the permanent channels were subscribed. The resubscriber sends.
    pub(super) subscription_gen: watch::Receiver<u64>,
}

/// A command or a message.
enum Work {
    /// `None`: the engine is dropped.
    Command(Option<Command>),
    Message(Next),
}

/// Waits for the next command or message. If there are both, they have their turns one after another.
///
/// # Cancel safety
/// Safe.
async fn next_work(
    commands: &mut mpsc::UnboundedReceiver<Command>,
    backlog: &Backlog,
    is_turn_of_commands: &mut bool,
) -> Work {
    let (command, message) = (pin!(commands.recv()), pin!(backlog.next()));
    let work = if *is_turn_of_commands {
        match select(command, message).await {
            Either::Left((command, _)) => Work::Command(command),
            Either::Right((message, _)) => Work::Message(message),
        }
    } else {
        match select(message, command).await {
            Either::Left((message, _)) => Work::Message(message),
            Either::Right((command, _)) => Work::Command(command),
        }
    };
    *is_turn_of_commands = matches!(work, Work::Message(_));
    work
}

// === impl NamespaceSubscriber ===

impl NamespaceSubscriber {
    pub(super) fn new(shared: Arc<Shared>, results_tx: mpsc::Sender<TaskResult>) -> Self {
        Self {
            shared,
            rooms: Rooms::default(),
            read_queue: UniqueQueue::default(),
            retry_queue: UniqueQueue::default(),
            retries_due: 0,
            turn: 0,
            waiting: UniqueQueue::default(),
            checks: CheckBudget::default(),
            unsubscribe_queue: UniqueQueue::default(),
            unsubscribing: HashSet::new(),
            reads_in_flight: 0,
            long_reads: Arc::default(),
            results_tx,
            sharded_pubsub_unsupported: Arc::default(),
        }
    }

    /// Runs until the engine is dropped.
    pub(super) async fn run(mut self, mut inputs: Inputs) {
        let mut interval = tokio::time::interval(STEP);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let (mut step, mut is_turn_of_commands) = (0, true);
        let has_history = self.shared.history.of(topic::ALL).is_some();
        if has_history || self.shared.channel_per_room {
            self.rooms.get_or_add(topic::ALL, || RoomState::permanent(has_history));
        }
        loop {
            tokio::select! {
                biased;
                // First, because the others may never end. It is short.
                _ = interval.tick() => {
                    step += 1;
                    self.on_step(step);
                }
                // Next, because the other inputs start more of them. Their number is bounded by the tasks in progress.
                Some(done) = inputs.results.recv() => match done {
                    TaskResult::Read { room, result, check } => self.on_read(&room, result, check).await,
                    TaskResult::Unsubscribed => self.on_unsubscribed(),
                    TaskResult::TimeFound(request) => self.on_time_found(request),
                    TaskResult::PauseEnded { room } => self.on_pause_ended(&room),
                },
                // Members join and leave as fast as clients like, and publications arrive as fast as publishers like.
                work = next_work(&mut inputs.commands, &inputs.backlog, &mut is_turn_of_commands) => match work {
                    Work::Command(Some(Command::Recover(request))) => self.on_recovery_request(*request),
                    Work::Command(Some(Command::RoomEmpty { shard, room })) => self.on_room_empty(shard, &room),
                    Work::Command(None) => return,
                    Work::Message(Next::Received(received)) => self.on_received(&received).await,
                    Work::Message(Next::Dropped(dropped)) => self.on_dropped(&dropped),
                },
                changed = inputs.subscription_gen.changed() => match changed {
                    Ok(()) => self.on_resubscribed(),
                    Err(_) => return,
                },
            }
        }
    }

    // --- from Redis

    async fn on_received(&mut self, received: &Received) {
        let Shared { fanout, health, history, .. } = &*self.shared;
        health.record_activity();
        let bytes = match received {
            Received::Probe => return health.record_probe(),
            Received::PageNotice(bytes) => {
                if let Some((page, unsubscribed)) = parse_notice(bytes) {
                    fanout.notify_page(PageNotice { page, unsubscribed }).await;
                }
                return;
            }
            Received::Publication(bytes) => bytes,
        };
        let publication = match publication::parse(bytes) {
            Ok(publication) => publication,
            Err(invalid) => {
                fanout.metrics().count_invalid_publish(&invalid);
                tracing::warn!(namespace = fanout.name(), reason = %invalid, "dropped an invalid publish");
                return;
            }
        };
        let room = publication.topic.as_ref();
        // Only the script assigns positions, to rooms with history. Others may write one: `room_state` verifies it.
        let is_possible = |position: &Position| !position.is_absent() && history.of(room).is_some();
        let Some(position) = publication.position.filter(is_possible) else {
            return fanout.broadcast(unpositioned(&publication)).await;
        };
        // A room without members here needs no state. A later member reads its position.
        let Some(state) = self.rooms.get_mut(room) else { return };
        let delivered = || Publication::parsed(&publication, publication.text, Some(position));
        match state.on_publication(position, hash_of(&without_trace(publication.text))) {
            Disposition::Deliver => fanout.broadcast(delivered()).await,
            Disposition::Ignore => {}
            Disposition::Backfill => self.request_read(room),
            Disposition::DeliverAfterGap => {
                // A position that is older than the room's was forged: the room does not continue there.
                let continues_at = state.position().unwrap_or(position);
                fanout.broadcast_gap(room, continues_at).await;
                fanout.broadcast(delivered()).await;
            }
        }
    }

    /// The subscriber has connected again. What was published in the meantime did not arrive, and subscriptions to
    /// channels of rooms are lost.
    fn on_resubscribed(&mut self) {
        if self.shared.channel_per_room {
            // This Redis may be of another version.
            self.sharded_pubsub_unsupported.store(false, Relaxed);
            self.rooms.on_subscriptions_lost();
        }
        self.shared.fanout.page_notices_lost();
        self.recheck_all_rooms();
    }

    /// Messages were dropped. Their rooms are read, or all rooms if they are unknown.
    fn on_dropped(&mut self, dropped: &Dropped) {
        report_dropped(&self.shared, dropped.count);
        self.shared.fanout.page_notices_lost();
        let Some(rooms) = &dropped.rooms else { return self.recheck_all_rooms() };
        for room in rooms {
            if let Some(state) = self.rooms.get_mut(room) {
                state.mark_possibly_stale();
                self.request_read(room);
            }
        }
    }

    /// Any publication may have been lost. Every room is read, as soon as other reads have ended.
    fn recheck_all_rooms(&mut self) {
        self.rooms.on_messages_lost();
        self.drain_queues();
    }

    // --- from the shards

    fn on_recovery_request(&mut self, request: RecoveryRequest) {
        let room = request.room.clone();
        let (has_history, subscribed) = (self.shared.history.of(&room).is_some(), !self.shared.channel_per_room);
        let state = self.rooms.get_or_add(&room, || RoomState::new(has_history, subscribed));
        state.add_shard(request.reply_to.shard);
        if state.is_ready_without_history() {
            return self.shared.fanout.reply(request.reply(None));
        }
        if let (Since::Time(since_ms), Some(retention)) = (request.since, self.shared.history.of(&room)) {
            return self.find_time(request, since_ms, retention);
        }
        self.recover(request);
    }

    /// Finds the position for the time since which a new member wants the history.
    fn find_time(&self, request: RecoveryRequest, since_ms: u64, retention: Retention) {
        let (shared, results_tx) = (Arc::clone(&self.shared), self.results_tx.clone());
        tokio::spawn(async move {
            let keys = shared.keys(&request.room);
            let found = shared.scripts.find_time(&shared.publisher, &keys, since_ms, retention).await;
            // The member learns that it cannot know what it has missed.
            let since = found.unwrap_or(Since::Invalid);
            let _ = results_tx.send(TaskResult::TimeFound(RecoveryRequest { since, ..request })).await;
        });
    }

    fn on_time_found(&mut self, request: RecoveryRequest) {
        // Otherwise the member has left.
        if self.rooms.get_mut(&request.room).is_some() {
            self.recover(request);
        }
    }

    /// Replies to a request, or reads for it. Its room has a state.
    fn recover(&mut self, request: RecoveryRequest) {
        let room = request.room.clone();
        let Some(state) = self.rooms.get_mut(&room) else { return };
        if let Some(recovery) = state.immediate_recovery(request.since) {
            return self.shared.fanout.reply(request.reply(Some(recovery)));
        }
        let requested_at = request.requested_at;
        state.enqueue(request, requested_at);
        self.waiting.push(&room);
        self.request_read(&room);
    }

    fn on_room_empty(&mut self, shard: u8, room: &str) {
        if self.rooms.get_mut(room).is_some_and(|state| state.remove_shard(shard)) {
            self.drop_room(room);
        }
    }

    /// Drops the state of a room. Its channel is unsubscribed later.
    fn drop_room(&mut self, room: &str) {
        self.rooms.remove(room);
        if self.shared.channel_per_room && !self.unsubscribing.contains(room) {
            self.unsubscribe_queue.push(room);
            self.unsubscribe_next();
        }
    }

    /// Starts the task that unsubscribes, if it is not running and channels wait for it. So the number of tasks does
    /// not grow with the rooms that become empty, nor what waits: each room is in the queue once, and a room that has
    /// members again keeps its subscription.
    fn unsubscribe_next(&mut self) {
        if !self.unsubscribing.is_empty() {
            return;
        }
        while self.unsubscribing.len() < MAX_UNSUBSCRIBED {
            let Some(room) = self.unsubscribe_queue.pop() else { break };
            if self.rooms.get_mut(&room).is_none() {
                self.unsubscribing.insert(room);
            }
        }
        if self.unsubscribing.is_empty() {
            return;
        }
        let (mut plain, mut sharded) = (Vec::new(), Vec::new());
        for room in &self.unsubscribing {
            let channels = if self.is_sharded(room) { &mut sharded } else { &mut plain };
            channels.push(self.shared.keys(room).channel());
        }
        let (shared, results_tx) = (Arc::clone(&self.shared), self.results_tx.clone());
        tokio::spawn(async move {
            // A lost connection has lost its subscriptions too. Otherwise the client returns when it is about to write the
            // command, and writes a later subscription after it.
            if shared.subscriber.is_connected() {
                if !plain.is_empty() {
                    let _ = shared.subscriber.unsubscribe(plain).await;
                }
                // Each may be in another slot.
                for channel in sharded {
                    let _ = shared.subscriber.sunsubscribe(channel).await;
                }
            }
            let _ = results_tx.send(TaskResult::Unsubscribed).await;
        });
    }

    /// Returns whether a room's channel is in one slot of a cluster only. Rooms without history are published to all
    /// nodes.
    fn is_sharded(&self, room: &str) -> bool {
        self.shared.sharded_pubsub
            && !self.sharded_pubsub_unsupported.load(Relaxed)
            && self.shared.history.of(room).is_some()
    }

    /// Channels were unsubscribed. Members that have joined since then wait for a new subscription.
    fn on_unsubscribed(&mut self) {
        for room in std::mem::take(&mut self.unsubscribing) {
            self.request_read(&room);
        }
        self.unsubscribe_next();
    }

    // --- reads

    /// Starts a read of a room if it needs one, none is in progress for it, and not too many are in progress.
    pub(super) fn request_read(&mut self, room: &str) {
        if self.unsubscribing.contains(room) {
            return;
        }
        if self.short_reads() >= MAX_CONCURRENT_READS {
            return self.read_queue.push(room);
        }
        let Some(request) = self.rooms.get_mut(room).and_then(RoomState::start_read) else { return };
        self.spawn_read(room, request, None);
    }

    /// The reads in progress that have not turned out to be long.
    fn short_reads(&self) -> usize {
        self.reads_in_flight.saturating_sub(self.long_reads.count())
    }

    /// Starts the task of a read.
    pub(super) fn spawn_read(&mut self, room: &str, request: ReadRequest, check: Option<Check>) {
        self.reads_in_flight += 1;
        let retention = self.shared.history.of(room);
        self.shared.fanout.metrics().history_reads.fetch_add(u64::from(retention.is_some()), Relaxed);
        let task = ReadTask {
            shared: Arc::clone(&self.shared),
            keys: self.shared.keys(room),
            subscribe_first: request.subscribe_first,
            sharded_pubsub: self.is_sharded(room),
            sharded_pubsub_unsupported: Arc::clone(&self.sharded_pubsub_unsupported),
            after: request.after,
            is_urgent: self.rooms.get_mut(room).is_some_and(|state| state.is_behind()),
            clients: self.rooms.get_mut(room).map(|state| state.clients()).unwrap_or_default(),
            long_reads: Arc::clone(&self.long_reads),
            received: self.rooms.get_mut(room).and_then(|state| state.position()),
            retention,
        };
        let (room, results_tx) = (room.into(), self.results_tx.clone());
        tokio::spawn(async move {
            let result = task.run().await;
            let _ = results_tx.send(TaskResult::Read { room, result, check }).await;
        });
    }

    async fn on_read(
        &mut self,
        room: &str,
        result: Result<Option<HistorySlice>, ScriptError>,
        check: Option<Check>,
    ) {
        self.reads_in_flight -= 1;
        match result {
            result if check.is_some() => {
                if let (Ok(Some(slice)), Some(check)) = (result, check) {
                    self.on_checked(room, slice, check).await;
                }
            }
            Ok(Some(slice)) => self.on_history(room, slice).await,
            Ok(None) => {
                for request in self.rooms.get_mut(room).map(RoomState::on_subscribed).unwrap_or_default() {
                    self.shared.fanout.reply(request.reply(None));
                }
                self.after_read(room);
            }
            Err(error) => {
                self.on_read_error(room, &error);
                self.after_read(room);
            }
        }
        self.drain_queues();
    }

    async fn on_checked(&mut self, room: &str, mut slice: HistorySlice, check: Check) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        let publications = slice.take_publications(room);
        let read = ReadResult::new(&slice, &publications, state.unverified());
        match state.on_checked(read, check.position) {
            CheckResult::UpToDate => {}
            CheckResult::Behind => {
                if self.shared.channel_per_room {
                    // Why it did not arrive is unknown. The subscription may be lost.
                    state.mark_unsubscribed();
                }
                self.request_read(room);
            }
            CheckResult::NotStored => {
                self.shared.fanout.broadcast_gap(room, slice.position).await;
                self.request_read(room);
            }
        }
    }

    async fn on_history(&mut self, room: &str, mut slice: HistorySlice) {
        let publications = slice.take_publications(room);
        let Some(state) = self.rooms.get_mut(room) else { return };
        let (backfill, requests) =
            state.on_read_completed(ReadResult::new(&slice, &publications, state.unverified()));
        let fanout = &self.shared.fanout;
        if backfill.gap {
            fanout.broadcast_gap(room, slice.position).await;
        }
        fanout.metrics().backfilled_publications.fetch_add(backfill.deliver as u64, Relaxed);
        for publication in publications.iter().skip(publications.len() - backfill.deliver) {
            fanout.broadcast(Arc::clone(publication)).await;
        }
        let is_requested = !requests.is_empty();
        for request in requests {
            let since = slice.resolve(request.since);
            let recovery = Recovery::select(slice.position, slice.jump, since, publications.iter().cloned());
            fanout.reply(request.reply(Some(recovery)));
        }
        if is_requested {
            self.pause(room);
        }
        self.after_read(room);
    }

    /// Starts the pause of a room.
    fn pause(&mut self, room: &str) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        state.start_pause();
        let (room, results_tx) = (room.into(), self.results_tx.clone());
        tokio::spawn(async move {
            tokio::time::sleep(READ_PAUSE).await;
            let _ = results_tx.send(TaskResult::PauseEnded { room }).await;
        });
    }

    fn on_pause_ended(&mut self, room: &str) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        state.end_pause();
        self.after_read(room);
    }

    fn on_read_error(&mut self, room: &str, error: &ScriptError) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        if !error.is_permanent {
            tracing::debug!(error = %error.unavailable, "could not read a room's history; retrying");
            return state.on_read_failed();
        }
        let requests = state.on_read_rejected();
        let fanout = &self.shared.fanout;
        tracing::warn!(
            namespace = fanout.name(),
            error = %error.unavailable,
            "could not read a room's history; its members were admitted without recovery"
        );
        for request in requests {
            let recovery = Recovery::unavailable(request.since);
            fanout.reply(request.reply(Some(recovery)));
        }
    }

    /// Drops a room that has no members any more, or starts its next read. One that is not urgent waits for its retry.
    fn after_read(&mut self, room: &str) {
        let Some(state) = self.rooms.get_mut(room) else { return };
        if state.can_be_dropped() {
            self.drop_room(room);
        } else if !state.should_wait() {
            self.request_read(room);
        } else if state.needs_read() {
            self.retry_queue.push(room);
        }
    }

    /// Starts as many reads as possible, and checks only if there are few reads.
    pub(super) fn drain_queues(&mut self) {
        for _ in 0..MAX_VISITS {
            if self.short_reads() >= MAX_CONCURRENT_READS {
                return;
            }
            let Some(room) = self.next_to_read() else { break };
            self.request_read(&room);
        }
        while self.short_reads() < MAX_READS_BEFORE_CHECK && self.checks.take() {
            let Some(room) = self.rooms.next_to_check() else { break };
            self.check(&room);
        }
    }

    /// The next room that may need a read. None of the three sources has to wait until another is empty.
    fn next_to_read(&mut self) -> Option<Arc<str>> {
        for _ in 0..3 {
            self.turn = (self.turn + 1) % 3;
            let room = match self.turn {
                0 => self.read_queue.pop(),
                1 if self.retries_due > 0 => {
                    self.retries_due -= 1;
                    self.retry_queue.pop()
                }
                1 => None,
                _ => self.rooms.next_to_recheck(),
            };
            if room.is_some() {
                return room;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Weakness 23: members that joined and left without end kept publications from being delivered.
    #[tokio::test]
    async fn commands_and_messages_have_their_turns_one_after_another() {
        let (commands_tx, mut commands) = mpsc::unbounded_channel();
        let backlog = Backlog::holding(100);
        for _ in 0..1_000 {
            commands_tx.send(Command::RoomEmpty { shard: 0, room: "r".into() }).unwrap();
        }
        let mut is_turn_of_commands = true;
        let mut messages = 0;
        for _ in 0..200 {
            let work = next_work(&mut commands, &backlog, &mut is_turn_of_commands).await;
            messages += usize::from(matches!(work, Work::Message(_)));
        }
        assert_eq!(messages, 100);
        let work = next_work(&mut commands, &backlog, &mut is_turn_of_commands).await;
        assert!(matches!(work, Work::Command(Some(_))), "only commands are left");
    }
}
