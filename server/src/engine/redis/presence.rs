//! The capability *presence* on Redis: servers share who is in a room.
//!
//! Owns the task that reports the members on this server and renews its leases, room by room and in bounded turns, as the
//! periodic check does. What a call decides is in `protocol/redis/presence_sync.lua`: it removes the members of servers that
//! are gone, and publishes the events in the same step. Nothing here measures the end of a lease: that is Redis's clock.

use super::Shared;
use super::hooks::JournalInRedis;
use super::presence_script::{PresenceScripts, Synced};
use crate::client::Client;
use crate::fair_queue::FairQueue;
use crate::hooks::{HookEvent, Journal as _, Part};
use crate::outcome::Outcome;
use crate::presence::{
    Change, LocalPresence, Presence, PresenceError, PresenceReply, PresenceReplyTo, PresenceResult, RoomPresence,
    Settings,
};
use futures_util::StreamExt as _;
use futures_util::stream;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::MissedTickBehavior;

/// Interval of the turns. Changes of a room within it are one call.
const TURN: Duration = Duration::from_millis(50);
/// Rooms that one turn takes because they changed, because their leases are due, and because clients asked for their
/// members: 640 of each per second. A call takes about 50 µs of Redis.
const ROOMS_PER_TURN: usize = 32;
/// Calls at a time.
const CALLS_AT_ONCE: usize = 8;
/// Changes in one call.
const CHANGES_PER_CALL: usize = 200;
/// Pause after a call without success.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The presence of one namespace.
#[derive(Debug)]
pub(super) struct RedisPresence {
    shared: Arc<Shared>,
    local: LocalPresence,
    waiting: Mutex<Waiting>,
    /// Where the events for the application go, if it is notified of them.
    journal: Option<Arc<JournalInRedis>>,
}

/// Requests for the members of rooms. The shards and the connections over HTTP limit their number.
#[derive(Debug, Default)]
struct Waiting {
    /// The rooms for which each client waits, which have their turns one after another. Some had it with another client.
    rooms: FairQueue<Client, Box<str>>,
    requests: HashMap<Box<str>, OfRoom>,
}

/// The requests for the members of one room.
#[derive(Debug, Default)]
struct OfRoom {
    requests: Vec<PresenceReplyTo>,
    /// The clients that have it in [`Waiting::rooms`].
    clients: HashSet<Client>,
}

/// When rooms are due, each once.
#[derive(Debug, Default)]
struct Schedule {
    queue: BTreeSet<(Instant, Box<str>)>,
    due_of: HashMap<Box<str>, Instant>,
}

/// The task.
struct Worker {
    presence: Arc<RedisPresence>,
    scripts: PresenceScripts,
    /// Distinguishes this run of this server from all others.
    server: String,
    schedule: Schedule,
    /// The rooms that were large at the last call.
    large: HashSet<Box<str>>,
    /// How late the last lease was renewed: more rooms than there are turns for, or a slow Redis.
    lag: Duration,
}

/// The result of the calls for one room.
struct Served {
    room: Box<str>,
    synced: Result<Synced, ()>,
    /// The users of this server that Redis has, if they are not those that are here.
    theirs: Option<Vec<String>>,
    list: Option<PresenceResult>,
    requests: Vec<PresenceReplyTo>,
}

// === impl RedisPresence ===

impl RedisPresence {
    /// Starts the task.
    pub(super) fn start(
        shared: &Arc<Shared>,
        settings: Settings,
        journal: Option<Arc<JournalInRedis>>,
    ) -> Arc<Self> {
        let notifies = shared.fanout.recorder().is_some_and(|recorder| recorder.events().has_presence());
        let journal = journal.filter(|_| notifies);
        let local = LocalPresence::new(settings, shared.fanout.shared_metrics());
        let presence = Arc::new(Self { shared: Arc::clone(shared), local, waiting: Mutex::default(), journal });
        let worker = Worker {
            presence: Arc::clone(&presence),
            scripts: PresenceScripts::new(),
            server: format!("{:032x}", rand::random::<u128>()),
            schedule: Schedule::default(),
            large: HashSet::new(),
            lag: Duration::ZERO,
        };
        tokio::spawn(worker.run());
        presence
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reply(&self, requests: Vec<PresenceReplyTo>, result: &PresenceResult) {
        for request in requests {
            match request {
                PresenceReplyTo::Http(_, reply) => drop(reply.send(result.clone())),
                PresenceReplyTo::Connection(reply_to) => {
                    self.shared.fanout.reply_presence(PresenceReply { reply_to, result: result.clone() });
                }
            }
        }
    }
}

impl Presence for RedisPresence {
    fn local(&self) -> &LocalPresence {
        &self.local
    }

    fn list(&self, room: &str, reply_to: PresenceReplyTo) -> Outcome<Arc<RoomPresence>> {
        self.waiting().add(room, reply_to);
        Outcome::Pending
    }
}

// === impl Waiting ===

impl Waiting {
    fn add(&mut self, room: &str, reply_to: PresenceReplyTo) {
        let client = reply_to.client();
        let of_room = self.requests.entry_ref(room).or_default();
        of_room.requests.push(reply_to);
        if of_room.clients.insert(client) {
            self.rooms.push(client, room.into());
        }
    }

    /// Takes the requests for up to `max` rooms. Nothing is read for clients that have given up.
    fn take(&mut self, max: usize) -> HashMap<Box<str>, Vec<PresenceReplyTo>> {
        let mut taken = HashMap::new();
        while taken.len() < max
            && let Some((_, room)) = self.rooms.pop()
        {
            let Some((room, OfRoom { mut requests, .. })) = self.requests.remove_entry(&room) else { continue };
            requests.retain(|one| !one.is_gone());
            if !requests.is_empty() {
                taken.insert(room, requests);
            }
        }
        taken
    }
}

// === impl Schedule ===

impl Schedule {
    fn set(&mut self, room: &str, at: Option<Instant>) {
        if let Some((room, before)) = self.due_of.remove_entry(room) {
            self.queue.remove(&(before, room));
        }
        if let Some(at) = at {
            self.due_of.insert(room.into(), at);
            self.queue.insert((at, room.into()));
        }
    }

    /// Takes up to `max` rooms that are due, and how late the first of them is.
    fn take(&mut self, max: usize, now: Instant) -> (Vec<Box<str>>, Duration) {
        let (mut rooms, mut late) = (Vec::new(), Duration::ZERO);
        while rooms.len() < max
            && let Some((at, room)) = self.queue.pop_first()
        {
            if at > now {
                self.queue.insert((at, room));
                break;
            }
            late = late.max(now - at);
            self.due_of.remove(&room);
            rooms.push(room);
        }
        (rooms, late)
    }
}

// === impl Worker ===

impl Worker {
    async fn run(mut self) {
        let mut turn = tokio::time::interval(TURN);
        turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            turn.tick().await;
            if !self.take_turn().await {
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }

    /// The time of a lease: short enough that members leave within the configured time, with the turns until a server
    /// notices; long enough that a lease is renewed before it ends.
    fn ttl(&self) -> Duration {
        self.presence.local.settings().lease * 2 / 3 + 2 * self.lag
    }

    /// Returns `false` if a call failed.
    async fn take_turn(&mut self) -> bool {
        let presence = Arc::clone(&self.presence);
        let mut requests = presence.waiting().take(ROOMS_PER_TURN);
        let changed = presence.local.take_rooms(ROOMS_PER_TURN);
        let (due, late) = self.schedule.take(ROOMS_PER_TURN, Instant::now());
        if !due.is_empty() {
            self.lag = late;
        }
        // A request alone reports and renews nothing.
        let mut rooms: HashMap<Box<str>, bool> = requests.keys().map(|room| (room.clone(), false)).collect();
        rooms.extend(changed.into_iter().chain(due).map(|room| (room, true)));
        if rooms.is_empty() {
            return true;
        }
        let this = &*self;
        let jobs: Vec<_> = rooms
            .into_iter()
            .map(|(room, is_due)| {
                let requests = requests.remove(&room).unwrap_or_default();
                this.serve(room, is_due, requests)
            })
            .collect();
        let served: Vec<Served> = stream::iter(jobs).buffer_unordered(CALLS_AT_ONCE).collect().await;
        let mut is_ok = true;
        for one in served {
            is_ok &= one.synced.is_ok();
            self.finish(one);
        }
        is_ok
    }

    /// The calls for one room.
    async fn serve(&self, room: Box<str>, is_due: bool, requests: Vec<PresenceReplyTo>) -> Served {
        let local = &self.presence.local;
        let changes = local.take_changes(&room, CHANGES_PER_CALL);
        let mut served =
            Served { synced: Ok(Synced::default()), theirs: None, list: None, requests: Vec::new(), room };
        if is_due || !changes.is_empty() {
            let synced = self.sync(&served.room, &changes).await;
            match &synced {
                Ok(synced) => {
                    local.confirm(&served.room, &changes);
                    if local.confirmed_users(&served.room).is_some_and(|ours| ours as u64 != synced.own) {
                        let keys = self.presence.shared.keys(&served.room);
                        let client = &self.presence.shared.publisher;
                        served.theirs = self.scripts.own_users(client, &keys, &self.server).await.ok();
                    }
                }
                Err(()) => local.retry(&served.room, &changes),
            }
            served.synced = synced;
        }
        if !requests.is_empty() {
            served.list = Some(self.read(&served.room).await);
            served.requests = requests;
        }
        served
    }

    async fn sync(&self, room: &str, changes: &[Change]) -> Result<Synced, ()> {
        let shared = &self.presence.shared;
        let settings = self.presence.local.settings();
        let synced = self.scripts.sync(shared, room, &self.server, self.ttl(), changes, settings);
        let synced = synced.await;
        if let (Some(journal), Ok(synced)) = (&self.presence.journal, &synced) {
            self.forward(journal, room, &synced.hook_events).await;
        }
        synced.map_err(|error| {
            let namespace = shared.fanout.name();
            tracing::warn!(namespace, error = %error.unavailable, "presence not reported; retrying");
            shared.fanout.metrics().presence_failures.fetch_add(1, Relaxed);
        })
    }

    /// Moves the events for the application from the list of a room into the journal. What cannot be moved is moved
    /// after the next call for the room.
    async fn forward(&self, journal: &JournalInRedis, room: &str, hook_events: &[String]) {
        let Some(recorder) = self.presence.shared.fanout.recorder() else { return };
        let wanted = |text: &str| match text.starts_with("{\"type\":\"entered\"") {
            true => recorder.events().entered,
            false => recorder.events().left,
        };
        let events: Vec<HookEvent> = hook_events
            .iter()
            .filter_map(|entry| entry.split_once(' '))
            .filter(|(_, text)| wanted(text))
            .map(|(id, text)| HookEvent {
                key: format!("presence {id} {room}").into(),
                text: text.into(),
                part: Part::Members,
            })
            .collect();
        if !events.is_empty() && journal.append(&events).await.is_err() {
            return;
        }
        if hook_events.is_empty() {
            return;
        }
        recorder.notify_appended();
        let (shared, keys) = (&self.presence.shared, self.presence.shared.keys(room));
        let removed = self.scripts.remove_hook_events(&shared.publisher, &keys, hook_events).await;
        if let Err(error) = removed {
            let namespace = shared.fanout.name();
            tracing::debug!(namespace, error = %error.unavailable, "hooks: events stay in the list of a room");
        }
    }

    async fn read(&self, room: &str) -> PresenceResult {
        let shared = &self.presence.shared;
        let list = self.scripts.read(&shared.publisher, &shared.keys(room), 2 * self.ttl()).await;
        list.map(Arc::new).map_err(|error| {
            // The text may name keys, users and scripts of Redis, so it is for the operator.
            let namespace = shared.fanout.name();
            tracing::warn!(namespace, error = %error.unavailable, "presence not read");
            PresenceError::Unavailable
        })
    }

    /// Does what follows the calls for one room.
    fn finish(&mut self, served: Served) {
        let Served { room, synced, theirs, list, requests } = served;
        if let Some(list) = list {
            self.presence.reply(requests, &list);
        }
        let local = &self.presence.local;
        let now = Instant::now();
        let Ok(Synced { count, own, next_due, events, is_large, hook_events }) = synced else {
            return self.schedule.set(&room, Some(now + RETRY_DELAY));
        };
        if count.is_none() {
            return;
        }
        self.presence.shared.fanout.metrics().presence_events.fetch_add(events, Relaxed);
        if let Some(theirs) = theirs {
            local.report_again(&room, &theirs);
        } else if !is_large && self.large.remove(&room) {
            // While it was large, Redis has stored no info.
            local.report_again(&room, &[]);
        } else if is_large && own > 0 {
            self.large.insert(room.clone());
        }
        let has_users = own > 0 || local.has_users(&room);
        if !has_users {
            self.large.remove(&room);
        }
        let renewal = has_users.then(|| now + local.settings().lease / 6);
        // The list may have more.
        let more = (!hook_events.is_empty()).then_some(TURN);
        let next =
            renewal.into_iter().chain(next_due.into_iter().chain(more).map(|wait| now + wait.max(TURN))).min();
        self.schedule.set(&room, next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[test]
    fn clients_have_their_turns_one_after_another_and_those_that_gave_up_have_none() {
        let client = |host: u8| Client::of([10, 0, 0, host].into());
        let (mut waiting, mut receivers) = (Waiting::default(), Vec::new());
        let mut add = |waiting: &mut Waiting, host: u8, room: &str| {
            let (sender, receiver) = oneshot::channel();
            waiting.add(room, PresenceReplyTo::Http(client(host), sender));
            receivers.push(receiver);
        };
        (0..1_000).for_each(|room| add(&mut waiting, 1, &room.to_string()));
        add(&mut waiting, 2, "own");
        // It has waited longest for the other client.
        add(&mut waiting, 2, "999");
        let taken = waiting.take(4);
        assert!(["0", "own", "1", "999"].iter().all(|room| taken.contains_key(*room)), "{taken:?}");
        assert_eq!(taken["999"].len(), 2);
        drop(receivers);
        assert!(waiting.take(4).is_empty() && waiting.rooms.is_empty() && waiting.requests.is_empty());
    }
}
