//! The capability *presence* in this process: one server, so no lease can end.
//!
//! A task takes the changes that shards report, decides on the events, and publishes them as any other publication.

use super::Memory;
use crate::capability::Publisher;
use crate::hooks::Recorder;
use crate::metrics::Metrics;
use crate::outcome::Outcome;
use crate::presence::{LocalPresence, Presence, PresenceReplyTo, PresenceResult, RoomPresence, Roster, Settings};
use hashbrown::{HashMap, HashSet};
use nodevent_protocol::publication;
use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Rooms with changes that one turn takes.
const ROOMS_PER_TURN: usize = 256;
/// Changes of a room that one turn takes, so that other rooms have their turn.
const CHANGES_PER_TURN: usize = 256;
/// The task wakes at least this often.
const MAX_SLEEP: Duration = Duration::from_secs(3600);

/// The presence of one namespace.
#[derive(Debug)]
pub(super) struct MemoryPresence {
    local: LocalPresence,
    /// Locked briefly, and never across an await.
    rosters: Mutex<HashMap<Box<str>, Roster>>,
}

// === impl MemoryPresence ===

impl MemoryPresence {
    /// Starts the task, which publishes through `memory`.
    pub(super) fn start(
        memory: &Arc<Memory>,
        settings: Settings,
        metrics: Arc<Metrics>,
        recorder: Option<Arc<Recorder>>,
    ) -> Arc<Self> {
        let local = LocalPresence::new(settings, Arc::clone(&metrics));
        let presence = Arc::new(Self { local, rosters: Mutex::default() });
        let (memory, this) = (Arc::clone(memory), Arc::clone(&presence));
        tokio::spawn(async move { this.run(&memory, &metrics, recorder.as_deref()).await });
        presence
    }

    async fn run(&self, memory: &Memory, metrics: &Metrics, recorder: Option<&Recorder>) {
        // When rooms are due without a change; each room once.
        let (mut due, mut due_of) = (BTreeSet::new(), HashMap::new());
        loop {
            let next = due.first().map_or(MAX_SLEEP, |(at, _): &(Instant, Box<str>)| {
                at.saturating_duration_since(Instant::now()).min(MAX_SLEEP)
            });
            let _ = tokio::time::timeout(next, self.local.wait()).await;
            loop {
                let now = Instant::now();
                let mut rooms = self.local.take_rooms(ROOMS_PER_TURN);
                while rooms.len() < 2 * ROOMS_PER_TURN
                    && let Some((at, room)) = due.pop_first()
                {
                    if at > now {
                        due.insert((at, room));
                        break;
                    }
                    due_of.remove(&room);
                    rooms.push(room);
                }
                if rooms.is_empty() {
                    break;
                }
                for room in rooms {
                    let (events, next) = self.apply(&room, now);
                    for event in events {
                        if let Some(recorder) = recorder {
                            recorder.presence_published(&event);
                        }
                        if let Ok(publication) = publication::parse(event.as_bytes()) {
                            memory.announce(&publication, Publisher::PRESENCE).await;
                            metrics.presence_events.fetch_add(1, Relaxed);
                        }
                    }
                    if let Some(before) = due_of.remove(&room) {
                        due.remove(&(before, room.clone()));
                    }
                    if let Some(at) = next {
                        due_of.insert(room.clone(), at);
                        due.insert((at, room));
                    }
                }
            }
        }
    }

    /// Applies the changes of a room. Returns its events, and when it is due again.
    fn apply(&self, room: &str, now: Instant) -> (Vec<String>, Option<Instant>) {
        let changes = self.local.take_changes(room, CHANGES_PER_TURN);
        let mut rosters = self.rosters.lock().unwrap_or_else(PoisonError::into_inner);
        let roster = rosters.entry_ref(room).or_default();
        let events = roster.apply(room, changes.clone(), self.local.settings(), now);
        let due = roster.due();
        if roster.is_empty() {
            rosters.remove(room);
        }
        drop(rosters);
        self.local.confirm(room, &changes);
        (events, due)
    }

    fn read(&self, room: &str) -> RoomPresence {
        let present = self.local.members(room);
        let rosters = self.rosters.lock().unwrap_or_else(PoisonError::into_inner);
        let roster = rosters.get(room);
        let listed: HashSet<&str> = present.iter().map(|member| &*member.user).collect();
        let returning = roster.into_iter().flat_map(Roster::members);
        let returning: Vec<_> = returning.filter(|member| !listed.contains(&*member.user)).collect();
        let count = (present.len() + returning.len()) as u64;
        drop(listed);
        match roster.is_some_and(Roster::is_large) || count > self.local.settings().max_size {
            true => RoomPresence::large(count),
            false => RoomPresence::of(present.into_iter().chain(returning), count),
        }
    }
}

impl Presence for MemoryPresence {
    fn local(&self) -> &LocalPresence {
        &self.local
    }

    fn list(&self, room: &str, reply_to: PresenceReplyTo) -> Outcome<Arc<RoomPresence>> {
        let list = Arc::new(self.read(room));
        if let PresenceReplyTo::Http(_, reply) = reply_to {
            let result: PresenceResult = Ok(Arc::clone(&list));
            let _ = reply.send(result);
        }
        Outcome::Ready(list)
    }
}
