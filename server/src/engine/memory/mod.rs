//! The memory engine: publications go straight to the shards, and histories are stored in this process. With a store,
//! they are sent as soon as it has them, and a restart restores them.

mod cable;
mod checkpoints;
mod connection_states;
mod durable;
mod history;
mod hooks;
mod mailbox;
mod mailboxes;
mod pages;
mod presence;
mod restore;
mod times;
mod user_connections;

pub use checkpoints::compact;
pub use restore::{Contents, Restored, RestoredStore, StoredNamespace, inspect, restore};

use super::{Fanout, unpositioned};
use crate::capability::{
    Begun, Engine, Health, HistoryRead, Pending, Publish, Publisher, ReadHistory, Revoke, Unavailable,
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
use crate::store::{LogPosition, Source, Store};
use cable::CableInMemory;
use connection_states::StatesInMemory;
use durable::{Confirmation, Durable, Kind, Notice, Outputs};
use history::MemoryHistory;
use hooks::JournalInMemory;
use mailboxes::MailboxesInMemory;
use nodevent_protocol::history::{Position, Retention, with_position};
use nodevent_protocol::publication::PublicationRef;
use pages::PagesInMemory;
use presence::MemoryPresence;
use restore::{Parts, append_revocation};
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use times::Times;
use tokio::runtime::Handle;
use user_connections::UserConnectionsInMemory;

/// The engine of one namespace.
#[derive(Debug)]
pub struct Memory {
    policy: History,
    /// Locked during a publish, so that all shards receive one order.
    fanout: tokio::sync::Mutex<Fanout>,
    /// Locked briefly, and never across an await. Shards lock it too, when a member joins.
    history: Mutex<MemoryHistory>,
    /// What waits for the store. `None`: there is none.
    outputs: Option<Outputs>,
    /// For replies of recoveries that wait for the store.
    replies: Fanout,
    /// Runs what a shard must not wait for.
    runtime: Handle,
}

// === impl Memory ===

impl Memory {
    /// Starts an engine with this retention that pushes into `fanout`. It has mailboxes, presence and pages if there are
    /// settings for them. `restored`: what it had, and the store.
    pub fn start(
        fanout: Fanout,
        policy: History,
        mailboxes: Option<MailboxSettings>,
        presence: Option<Settings>,
        pages: Option<PageSettings>,
        restored: Option<(Restored, &Store)>,
    ) -> Engine {
        let parts = match restored {
            Some((restored, store)) => restored.into_parts(store),
            None => Parts::empty(policy.max_memory, mailboxes.as_ref()),
        };
        let durable = parts.durable;
        let of_another = || durable.as_ref().map(Durable::another);
        // No client is connected, and there is a place for each: they were in such a list.
        let _ = fanout.revoke(parts.revocations);
        let own_fanout = pages.is_some().then(|| fanout.clone());
        let mailboxes = mailboxes
            .zip(parts.mailboxes)
            .map(|(settings, state)| MailboxesInMemory::start(settings, fanout.clone(), state, of_another()) as _);
        let metrics = fanout.shared_metrics();
        let recorder = fanout.recorder().map(Arc::clone);
        let state = parts.journal.unwrap_or_default();
        let journal =
            recorder.as_ref().map(|recorder| JournalInMemory::new(recorder.limits(), state, of_another()) as _);
        let states = fanout.has_connection_states().then(|| Arc::new(StatesInMemory::default()) as _);
        let cable_values = parts.cable;
        let (pages_state, cable_durable, pages_durable) = (parts.pages, of_another(), of_another());
        let serves_cable = fanout.is_served_by("action_cable");
        let (history, replies, runtime) = (Mutex::new(parts.history), fanout.clone(), Handle::current());
        let outputs = durable.map(|durable| Outputs::start(durable, fanout.clone()));
        let memory =
            Arc::new(Self { policy, fanout: tokio::sync::Mutex::new(fanout), history, outputs, replies, runtime });
        if let Some(durable) = memory.durable() {
            durable.store.add_source(Arc::clone(&memory) as _);
        }
        let pages = pages.zip(own_fanout).map(|(settings, fanout)| {
            PagesInMemory::start(settings, fanout, &memory, pages_state, pages_durable) as _
        });
        let cable = serves_cable
            .then(|| CableInMemory::start(&memory, Arc::clone(&metrics), cable_values, cable_durable) as _);
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

    fn durable(&self) -> Option<&Durable> {
        self.outputs.as_ref().map(Outputs::durable)
    }

    /// Stores a publication and sends it to the shards. If there is a store, it has the publication before that.
    ///
    /// # Cancel safety
    /// Safe: it is stored and sent, or neither.
    async fn publish(
        &self,
        publication: &PublicationRef<'_>,
        idempotency_key: Option<&str>,
        publisher: Publisher<'_>,
    ) -> Result<Option<Position>, Unavailable> {
        if let Some(outputs) = &self.outputs {
            let (position, confirmation) =
                self.publish_to(outputs, publication, idempotency_key, publisher).await?;
            return confirmation.wait().await.map(|()| position);
        }
        let fanout = self.fanout.lock().await;
        let permit = fanout.reserve(publication.text.len()).await;
        match self.append(publication, idempotency_key, publisher) {
            Appended::Duplicate(first) => Ok(Some(first)),
            Appended::Now(publication, _) => {
                let position = publication.position;
                permit.broadcast(publication);
                Ok(position)
            }
        }
    }

    /// Publishes what the server itself has to say, and does not wait until the store has it.
    async fn announce(&self, publication: &PublicationRef<'_>, publisher: Publisher<'_>) {
        match &self.outputs {
            Some(outputs) => drop(self.publish_to(outputs, publication, None, publisher).await),
            None => drop(self.publish(publication, None, publisher).await),
        }
    }

    async fn publish_to(
        &self,
        outputs: &Outputs,
        publication: &PublicationRef<'_>,
        idempotency_key: Option<&str>,
        publisher: Publisher<'_>,
    ) -> Result<(Option<Position>, Confirmation), Unavailable> {
        let place = outputs.place_of(publisher, publication.topic.len() + publication.text.len()).await?;
        let mut history = self.history();
        Ok(match self.append_to(&mut history, publication, idempotency_key, publisher) {
            // The first one may be on its way to the disk.
            Appended::Duplicate(first) => {
                (Some(first), outputs.push(outputs.durable().newest(), None, Some(place)))
            }
            Appended::Now(publication, position) => {
                let assigned = publication.position;
                (assigned, outputs.push(position, Some(Notice::Publication(publication)), Some(place)))
            }
        })
    }

    fn append(
        &self,
        publication: &PublicationRef<'_>,
        idempotency_key: Option<&str>,
        publisher: Publisher<'_>,
    ) -> Appended {
        self.append_to(&mut self.history(), publication, idempotency_key, publisher)
    }

    /// Appends a publication to its history, and to the log of the store.
    fn append_to(
        &self,
        history: &mut MemoryHistory,
        publication: &PublicationRef<'_>,
        idempotency_key: Option<&str>,
        publisher: Publisher<'_>,
    ) -> Appended {
        let room = &*publication.topic;
        let Some(retention) = self.policy.of(room) else { return Appended::Now(unpositioned(publication), 0) };
        let now = Instant::now();
        if let Some(first) = idempotency_key.and_then(|key| history.find_idempotent(room, key, now)) {
            return Appended::Duplicate(first);
        }
        let position = history.next_position(room, publisher, now);
        let text = with_position(publication.text, position);
        let stored = Publication::parsed(publication, text, Some(position));
        history.append(room, &stored, publisher, retention, now);
        let logged = self.durable().map_or(0, |durable| {
            let now_ms = Times::now().now_ms();
            durable.append(Kind::Published, |one| {
                history.write_published(&stored, publisher, idempotency_key, now_ms, one);
            })
        });
        if let Some(key) = idempotency_key {
            history.record_idempotent(room, key, publisher, position, retention.age, now);
        }
        Appended::Now(stored, logged)
    }

    fn read(&self, room: &str, since: Since) -> Option<HistoryRead> {
        self.read_logged(room, since).map(|(read, _)| read)
    }

    /// Reads, and up to where the log must be on disk before it is shown.
    fn read_logged(&self, room: &str, since: Since) -> Option<(HistoryRead, LogPosition)> {
        let retention = self.policy.of(room)?;
        let (history, now) = (self.history(), Instant::now());
        let recovery = Self::select(&history, room, since, retention, now);
        let position = self.durable().map_or(0, Durable::newest);
        Some((HistoryRead { recovery, idle: Some(history.idle(room, now)) }, position))
    }

    fn select(history: &MemoryHistory, room: &str, since: Since, retention: Retention, now: Instant) -> Recovery {
        let (position, log) = history.read(room, retention, now);
        Recovery::select(position, history.jump_of(room), history.resolve(room, since, now), log)
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
        Box::pin(self.publish(publication, idempotency_key, publisher))
    }

    fn begin<'a>(
        &'a self,
        publication: &'a PublicationRef<'a>,
        idempotency_key: Option<&'a str>,
        publisher: Publisher<'a>,
    ) -> Pending<'a, Begun> {
        Box::pin(async move {
            let Some(outputs) = &self.outputs else {
                let position = self.publish(publication, idempotency_key, publisher).await?;
                return Ok(Begun { position, confirmation: None });
            };
            let (position, confirmation) =
                self.publish_to(outputs, publication, idempotency_key, publisher).await?;
            Ok(Begun { position, confirmation: Some(Box::pin(confirmation.wait())) })
        })
    }
}

impl RoomHistory for Memory {
    fn recover(&self, request: RecoveryRequest) -> Outcome<Option<RecoveryReply>> {
        let Some((read, position)) = self.read_logged(&request.room, request.since) else {
            return Outcome::Ready(None);
        };
        match self.durable() {
            // What a member learns must survive.
            Some(durable) if !durable.store.is_written(position) => {
                let (durable, replies) = (durable.clone(), self.replies.clone());
                self.runtime.spawn(async move {
                    let recovery = match durable.written(position).await {
                        Ok(()) => read.recovery,
                        Err(_) => Recovery { position: None, recovered: false, publications: Vec::new() },
                    };
                    replies.reply(request.reply(Some(recovery)));
                });
                Outcome::Pending
            }
            _ => Outcome::Ready(Some(request.reply(Some(read.recovery)))),
        }
    }

    fn may_wait(&self, room: &str) -> bool {
        self.durable().is_some_and(|durable| durable.store.waits()) && self.has_history(room)
    }

    fn has_history(&self, room: &str) -> bool {
        self.policy.of(room).is_some()
    }

    // It replies at once, with what is on its way to the shard too.
    fn follows_rooms(&self) -> bool {
        false
    }

    fn room_empty(&self, _shard: u8, _room: &str) {}
}

impl ReadHistory for Memory {
    fn read<'a>(&'a self, room: &'a str, since: Since, _client: Client) -> Pending<'a, Option<HistoryRead>> {
        let read = self.read_logged(room, since);
        match (self.durable(), read) {
            (Some(durable), Some((read, position))) if !durable.store.is_written(position) => {
                Box::pin(async move {
                    durable.written(position).await?;
                    Ok(Some(read))
                })
            }
            (_, read) => Box::pin(ready(Ok(read.map(|(read, _)| read)))),
        }
    }
}

impl Revoke for Memory {
    fn revoke<'a>(&'a self, revocation: &'a Revocation) -> Pending<'a, ()> {
        Box::pin(async move {
            let fanout = self.fanout.lock().await;
            fanout.revocations().remove_expired();
            let full = |full: ListFull| Unavailable { engine: "the memory engine", reason: full.to_string() };
            // At once, also if the disk is slow: it is confirmed later.
            fanout.revoke(vec![revocation.clone()]).map_err(full)?;
            drop(fanout);
            match self.durable() {
                Some(durable) => {
                    // If it is not appended, the next checkpoint contains it.
                    durable.admitted().await?;
                    durable.written(append_revocation(durable, revocation)).await
                }
                None => Ok(()),
            }
        })
    }
}

impl Health for Memory {
    fn is_ready(&self) -> bool {
        self.durable().is_none_or(|durable| !durable.store.is_failing())
    }
}

impl Source for Memory {
    fn write_all(&self, store: &Store) {
        let Some(durable) = self.durable() else { return };
        checkpoints::write_history(|| self.history(), durable, store);
        for revocation in self.replies.revocations().all() {
            append_revocation(durable, &revocation);
        }
        store.pause();
    }
}

/// What [`Memory::append`] did.
enum Appended {
    /// It was published before.
    Duplicate(Position),
    /// It was appended, and the log of the store is there.
    Now(Arc<Publication>, LogPosition),
}
