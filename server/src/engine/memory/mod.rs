//! The memory engine: publications go straight to the shards, and histories are stored in this process.

mod cable;
mod connection_states;
mod history;
mod hooks;
mod mailbox;
mod mailboxes;
mod pages;
mod presence;
mod user_connections;

use super::{Fanout, unpositioned};
use crate::capability::{
    Engine, Health, HistoryRead, Pending, Publish, Publisher, ReadHistory, Revoke, Unavailable,
};
use crate::client::Client;
use crate::config::history::History;
use crate::history::{Recovery, RecoveryReply, RecoveryRequest, RoomHistory, Since};
use crate::mailbox::MailboxSettings;
use crate::outcome::Outcome;
use crate::pages::PageSettings;
use crate::presence::Settings;
use crate::publication::Publication;
use crate::revocation::{ListFull, Revocation};
use cable::CableInMemory;
use connection_states::StatesInMemory;
use history::MemoryHistory;
use hooks::JournalInMemory;
use mailboxes::MailboxesInMemory;
use nodevent_protocol::history::{Position, Retention, with_position};
use nodevent_protocol::publication::PublicationRef;
use pages::PagesInMemory;
use presence::MemoryPresence;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use user_connections::UserConnectionsInMemory;

/// The engine of one namespace.
#[derive(Debug)]
pub struct Memory {
    policy: History,
    /// Locked during a publish, so that all shards receive one order.
    fanout: tokio::sync::Mutex<Fanout>,
    /// Locked briefly, and never across an await. Shards lock it too, when a member joins.
    history: Mutex<MemoryHistory>,
}

// === impl Memory ===

impl Memory {
    /// Starts an engine with this retention that pushes into `fanout`. It has mailboxes, presence and pages if there are
    /// settings for them.
    pub fn start(
        fanout: Fanout,
        policy: History,
        mailboxes: Option<MailboxSettings>,
        presence: Option<Settings>,
        pages: Option<PageSettings>,
    ) -> Engine {
        let own_fanout = pages.is_some().then(|| fanout.clone());
        let mailboxes = mailboxes.map(|settings| Arc::new(MailboxesInMemory::new(settings, fanout.clone())) as _);
        let metrics = fanout.shared_metrics();
        let recorder = fanout.recorder().map(Arc::clone);
        let journal = recorder.as_ref().map(|recorder| Arc::new(JournalInMemory::new(recorder.limits())) as _);
        let states = fanout.has_connection_states().then(|| Arc::new(StatesInMemory::default()) as _);
        let serves_cable = fanout.is_served_by("action_cable");
        let history = Mutex::new(MemoryHistory::new(policy.max_memory));
        let memory = Arc::new(Self { policy, fanout: tokio::sync::Mutex::new(fanout), history });
        let pages =
            pages.zip(own_fanout).map(|(settings, fanout)| PagesInMemory::start(settings, fanout, &memory) as _);
        let cable = serves_cable.then(|| Arc::new(CableInMemory::start(&memory, Arc::clone(&metrics))) as _);
        let connections = presence.as_ref().map(|_| Arc::new(UserConnectionsInMemory::default()) as _);
        let presence = presence.map(|settings| MemoryPresence::start(&memory, settings, metrics, recorder) as _);
        Engine {
            kind: "memory",
            publish: Arc::clone(&memory) as _,
            history: Arc::clone(&memory) as _,
            read_history: Arc::clone(&memory) as _,
            mailboxes,
            revoke: Arc::clone(&memory) as _,
            presence,
            journal,
            pages,
            connections,
            states,
            cable,
            health: memory,
        }
    }

    /// Stores a publication and sends it to the shards.
    ///
    /// # Cancel safety
    /// Safe: it is stored and sent, or neither.
    async fn publish(
        &self,
        publication: &PublicationRef<'_>,
        idempotency_key: Option<&str>,
        publisher: Publisher<'_>,
    ) -> Option<Position> {
        let fanout = self.fanout.lock().await;
        let permit = fanout.reserve(publication.text.len()).await;
        let room = &*publication.topic;
        let Some(retention) = self.policy.of(room) else {
            permit.broadcast(unpositioned(publication));
            return None;
        };
        let now = Instant::now();
        let stored = {
            let mut history = self.history();
            if let Some(first) = idempotency_key.and_then(|key| history.find_idempotent(room, key, now)) {
                return Some(first);
            }
            let position = history.next_position(room, publisher, now);
            let text = with_position(publication.text, position);
            let stored = Publication::parsed(publication, text, Some(position));
            history.append(room, Arc::clone(&stored), publisher, retention, now);
            if let Some(key) = idempotency_key {
                history.record_idempotent(room, key, publisher, position, retention.age, now);
            }
            stored
        };
        let position = stored.position;
        permit.broadcast(stored);
        position
    }

    fn read(&self, room: &str, since: Since) -> Option<HistoryRead> {
        let retention = self.policy.of(room)?;
        let (history, now) = (self.history(), Instant::now());
        let recovery = Self::select(&history, room, since, retention, now);
        Some(HistoryRead { recovery, idle: Some(history.idle(room, now)) })
    }

    fn select(history: &MemoryHistory, room: &str, since: Since, retention: Retention, now: Instant) -> Recovery {
        let (position, log) = history.read(room, retention, now);
        Recovery::select(position, None, history.resolve(room, since, now), log)
    }

    fn history(&self) -> MutexGuard<'_, MemoryHistory> {
        // A panic leaves nothing in it that could not be used.
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Publish for Memory {
    fn publish<'a>(
        &'a self,
        publication: &'a PublicationRef<'a>,
        idempotency_key: Option<&'a str>,
        publisher: Publisher<'a>,
    ) -> Pending<'a, Option<Position>> {
        Box::pin(async move { Ok(self.publish(publication, idempotency_key, publisher).await) })
    }
}

impl RoomHistory for Memory {
    fn recover(&self, request: RecoveryRequest) -> Outcome<Option<RecoveryReply>> {
        let Some(retention) = self.policy.of(&request.room) else { return Outcome::Ready(None) };
        let recovery = Self::select(&self.history(), &request.room, request.since, retention, Instant::now());
        Outcome::Ready(Some(request.reply(Some(recovery))))
    }

    fn may_wait(&self, _room: &str) -> bool {
        false
    }

    fn has_history(&self, room: &str) -> bool {
        self.policy.of(room).is_some()
    }

    fn room_empty(&self, _shard: u8, _room: &str) {}
}

impl ReadHistory for Memory {
    fn read<'a>(&'a self, room: &'a str, since: Since, _client: Client) -> Pending<'a, Option<HistoryRead>> {
        Box::pin(ready(Ok(self.read(room, since))))
    }
}

impl Revoke for Memory {
    fn revoke<'a>(&'a self, revocation: &'a Revocation) -> Pending<'a, ()> {
        Box::pin(async move {
            let fanout = self.fanout.lock().await;
            fanout.revocations().remove_expired();
            let full = |full: ListFull| Unavailable { engine: "the memory engine", reason: full.to_string() };
            fanout.revoke(vec![revocation.clone()]).map_err(full)
        })
    }
}

impl Health for Memory {
    fn is_ready(&self) -> bool {
        true
    }
}
