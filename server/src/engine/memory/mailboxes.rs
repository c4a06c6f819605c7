//! The capability *mailboxes* of the memory engine: the lock around [`MemoryMailboxes`], and the notices to the shards.

use super::super::Fanout;
use super::checkpoints;
use super::durable::{Confirmation, Durable, Kind, Notice, Outputs};
use super::mailbox::{MemoryMailboxes, StoreOutcome, StoredNow, records};
use super::times::Times;
use crate::capability::{Pending, Unavailable};
use crate::clock::now_ms;
use crate::fair_turns::FairTurns;
use crate::mailbox::{
    Acknowledgement, MailboxAction, MailboxEvent, MailboxNotice, MailboxPage, MailboxReply, MailboxRequest,
    MailboxResult, MailboxSettings, Mailboxes, NewMessage, PageRequest, Removed, Stored,
};
use crate::outcome::Outcome;
use crate::store::{LogPosition, Source, Store};
use nodevent_protocol::mailbox::user_and_device;
use std::future::ready;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::runtime::Handle;

/// The mailboxes of one namespace.
#[derive(Debug, Clone)]
pub(super) struct MailboxesInMemory {
    settings: MailboxSettings,
    /// Locked while a message is stored and sent, so that all shards receive one order.
    fanout: Arc<tokio::sync::Mutex<Fanout>>,
    /// Locked briefly, and never across an await. Shards lock it too.
    mailboxes: Arc<Mutex<MemoryMailboxes>>,
    /// The turns of acknowledgements of connections: one at a time, and clients one after another.
    turns: Arc<FairTurns>,
    /// Runs what a shard must not wait for.
    runtime: Handle,
    /// For replies, which need no lock.
    replies: Fanout,
    /// `None`: there is no store.
    outputs: Option<Arc<Outputs>>,
}

// === impl MailboxesInMemory ===

impl MailboxesInMemory {
    /// Starts with these mailboxes.
    pub(super) fn start(
        settings: MailboxSettings,
        fanout: Fanout,
        mailboxes: MemoryMailboxes,
        durable: Option<Durable>,
    ) -> Arc<Self> {
        let mailboxes = Arc::new(Mutex::new(mailboxes));
        let replies = fanout.clone();
        let outputs = durable.map(|durable| Arc::new(Outputs::start(durable, fanout.clone())));
        let fanout = Arc::new(tokio::sync::Mutex::new(fanout));
        let this = Arc::new(Self {
            settings,
            fanout,
            mailboxes,
            turns: Arc::default(),
            runtime: Handle::current(),
            replies,
            outputs,
        });
        if let Some(durable) = this.durable() {
            durable.store.add_source(Arc::clone(&this) as _);
        }
        this
    }

    fn durable(&self) -> Option<&Durable> {
        self.outputs.as_ref().map(|outputs| outputs.durable())
    }

    /// Stores a message for a user and for the user's devices. When it completes, the store has the message.
    ///
    /// # Cancel safety
    /// Safe: it is stored for all of them and will be sent, or for none.
    async fn store_durably(&self, outputs: &Outputs, new: &NewMessage<'_>) -> Result<Stored, Unavailable> {
        let devices = self.lock().devices(new.user).len();
        let bytes = (new.user.len() + new.text.len()) * (1 + devices);
        let (mut place, mut confirmation) = (Some(outputs.place(bytes).await?), None);
        let result = {
            let mut mailboxes = self.lock();
            let (now, times) = (Instant::now(), Times::now());
            let mut store_in = |mailboxes: &mut MemoryMailboxes, new: &NewMessage<'_>| {
                let now_us = times.now_ms().saturating_mul(1000);
                match mailboxes.store(new, now, now_us) {
                    StoreOutcome::Not(outcome) => outcome,
                    StoreOutcome::Now(stored) => {
                        let expiry = new.ttl.and_then(|ttl| now.checked_add(ttl));
                        let position = outputs.durable().append(Kind::MailboxStored, |one| {
                            records::write_stored(new.user, &stored, expiry, new.idempotency_key, &times, one);
                        });
                        let result = Stored::Stored { id: stored.message.id, dropped: stored.dropped };
                        let notice = Notice::Mailbox(stored_notice(new.user, stored));
                        confirmation = Some(outputs.push(position, Some(notice), place.take()));
                        result
                    }
                }
            };
            let mut result = store_in(&mut mailboxes, new);
            if !matches!(result, Stored::Full | Stored::Duplicate(_)) {
                for name in mailboxes.devices(new.user) {
                    result = merge(result, store_in(&mut mailboxes, &NewMessage { user: &name, ..*new }));
                }
            }
            // Also what says that nothing was stored depends on what was stored before.
            confirmation.get_or_insert_with(|| outputs.push(outputs.durable().newest(), None, place.take()));
            result
        };
        match confirmation.map(Confirmation::wait) {
            Some(confirmed) => confirmed.await.map(|()| result),
            None => Ok(result),
        }
    }

    /// Removes messages. When it completes, the store knows it.
    async fn acknowledge_durably(
        &self,
        outputs: &Outputs,
        user: &str,
        acknowledgement: &Acknowledgement,
    ) -> Result<Removed, Unavailable> {
        let place = outputs.place(user.len() + 8 * acknowledgement.ids.len()).await?;
        let (removed, confirmation) = {
            let mut mailboxes = self.lock();
            let ids = mailboxes.existing(user, &acknowledgement.ids);
            let removed = mailboxes.acknowledge(user, acknowledgement, Instant::now());
            let which = Acknowledgement { ids, up_to: acknowledgement.up_to };
            if removed.count == 0 {
                (removed, outputs.push(outputs.durable().newest(), None, Some(place)))
            } else {
                let position = outputs.durable().append(Kind::MailboxAcknowledged, |one| {
                    records::write_acknowledged(user, &which, &Times::now(), one);
                });
                let event = MailboxEvent::Acknowledged(which);
                let notice = MailboxNotice { user: user.into(), unread: removed.unread, event };
                (removed, outputs.push(position, Some(Notice::Mailbox(notice)), Some(place)))
            }
        };
        confirmation.wait().await.map(|()| removed)
    }

    /// Appends that a connection was opened or closed, if mailboxes depend on it. The caller holds the lock.
    fn note_connection(&self, kind: Kind, user: &str) {
        let matters = !self.settings.age.is_zero() || user_and_device(user).1.is_some();
        if let Some(durable) = self.durable().filter(|_| matters) {
            durable.note(kind, |one| records::write_connection(user, &Times::now(), one));
        }
    }

    /// Stores a message for a user and for the user's devices.
    ///
    /// # Cancel safety
    /// Safe for each mailbox: the message is stored and sent, or neither.
    async fn store(&self, new: &NewMessage<'_>) -> Stored {
        let fanout = self.fanout.lock().await;
        let mut result = self.store_in(&fanout, new).await;
        if matches!(result, Stored::Full | Stored::Duplicate(_)) {
            return result;
        }
        let devices = self.lock().devices(new.user);
        for name in devices {
            result = merge(result, self.store_in(&fanout, &NewMessage { user: &name, ..*new }).await);
        }
        result
    }

    async fn store_in(&self, fanout: &Fanout, new: &NewMessage<'_>) -> Stored {
        let place = fanout.reserve(new.user.len() + new.text.len()).await;
        let outcome = self.lock().store(new, Instant::now(), now_ms().saturating_mul(1000));
        match outcome {
            StoreOutcome::Not(outcome) => outcome,
            StoreOutcome::Now(now) => {
                let (id, dropped) = (now.message.id, now.dropped);
                place.notify(stored_notice(new.user, now));
                Stored::Stored { id, dropped }
            }
        }
    }

    /// # Cancel safety
    /// Safe: the messages are removed and the notice is sent, or neither.
    async fn acknowledge(&self, user: &str, acknowledgement: &Acknowledgement) -> Removed {
        let fanout = self.fanout.lock().await;
        let place = fanout.reserve(user.len() + 8 * acknowledgement.ids.len()).await;
        // All connections of the user receive the notice, so it names only what was there.
        let (ids, removed) = {
            let mut mailboxes = self.lock();
            let ids = mailboxes.existing(user, &acknowledgement.ids);
            (ids, mailboxes.acknowledge(user, acknowledgement, Instant::now()))
        };
        if removed.count > 0 {
            let event = MailboxEvent::Acknowledged(Acknowledgement { ids, up_to: acknowledgement.up_to });
            place.notify(MailboxNotice { user: user.into(), unread: removed.unread, event });
        }
        removed
    }

    async fn remove(&self, user: &str, acknowledgement: &Acknowledgement) -> Result<Removed, Unavailable> {
        match &self.outputs {
            Some(outputs) => self.acknowledge_durably(outputs, user, acknowledgement).await,
            None => Ok(self.acknowledge(user, acknowledgement).await),
        }
    }

    /// Reads a page, and up to where the log must be on disk before it is shown.
    fn read(&self, user: &str, page: PageRequest) -> (MailboxPage, LogPosition) {
        let mut mailboxes = self.lock();
        let page = mailboxes.read(user, page, Instant::now());
        (page, self.durable().map_or(0, Durable::newest))
    }

    fn lock(&self) -> MutexGuard<'_, MemoryMailboxes> {
        // A panic leaves nothing in it that could not be used.
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The result for a user and one more of the user's devices.
fn merge(result: Stored, of_device: Stored) -> Stored {
    match (result, of_device) {
        (Stored::Unknown, stored) => stored,
        (Stored::Stored { id, dropped }, Stored::Stored { dropped: more, .. }) => {
            Stored::Stored { id, dropped: dropped + more }
        }
        (result, _) => result,
    }
}

fn stored_notice(user: &str, stored: StoredNow) -> MailboxNotice {
    let event = MailboxEvent::Stored { message: stored.message, previous: stored.previous };
    MailboxNotice { user: user.into(), unread: stored.unread, event }
}

impl Source for MailboxesInMemory {
    fn write_all(&self, store: &Store) {
        let Some(durable) = self.durable() else { return };
        checkpoints::write_mailboxes(|| self.lock(), durable, store);
    }
}

impl Mailboxes for MailboxesInMemory {
    fn settings(&self) -> &MailboxSettings {
        &self.settings
    }

    fn store<'a>(&'a self, message: &'a NewMessage<'a>) -> Pending<'a, Stored> {
        Box::pin(async move {
            match &self.outputs {
                Some(outputs) => self.store_durably(outputs, message).await,
                None => Ok(self.store(message).await),
            }
        })
    }

    fn read<'a>(&'a self, user: &'a str, page: PageRequest) -> Pending<'a, MailboxPage> {
        let (page, position) = self.read(user, page);
        match self.durable() {
            Some(durable) if !durable.store.is_written(position) => Box::pin(async move {
                durable.written(position).await?;
                Ok(page)
            }),
            _ => Box::pin(ready(Ok(page))),
        }
    }

    fn acknowledge<'a>(&'a self, user: &'a str, acknowledgement: &'a Acknowledgement) -> Pending<'a, Removed> {
        Box::pin(self.remove(user, acknowledgement))
    }

    fn request(&self, request: MailboxRequest) -> Outcome<MailboxReply> {
        let MailboxRequest { reply_to, user, action } = request;
        match action {
            MailboxAction::Read(page) => {
                let (page, position) = self.read(&user, page);
                let Some(durable) = self.durable().filter(|durable| !durable.store.is_written(position)) else {
                    return Outcome::Ready(MailboxReply { reply_to, result: MailboxResult::Read(Ok(page)) });
                };
                let (durable, replies) = (durable.clone(), self.replies.clone());
                self.runtime.spawn(async move {
                    let result = MailboxResult::Read(durable.written(position).await.map(|()| page));
                    replies.mailbox_reply(MailboxReply { reply_to, result });
                });
                Outcome::Pending
            }
            // Others may hold the lock of the fan-out, or the inboxes may be full.
            MailboxAction::Acknowledge { acknowledgement, request } => {
                let mailboxes = self.clone();
                self.runtime.spawn(async move {
                    let (_ticket, turn) = mailboxes.turns.wait(reply_to.client);
                    // Every ticket has its turn in the end.
                    let _turn = turn.await.ok();
                    let result = mailboxes.remove(&user, &acknowledgement).await;
                    let result = MailboxResult::Acknowledged { request, result };
                    mailboxes.replies.mailbox_reply(MailboxReply { reply_to, result });
                });
                Outcome::Pending
            }
        }
    }

    fn connected(&self, user: &str) {
        let namespace = self.replies.name();
        let connected = {
            let mut mailboxes = self.lock();
            let is_new_device = user_and_device(user).1.is_some() && !mailboxes.has_mailbox(user);
            let connected = mailboxes.connected(user, Instant::now());
            match (connected, self.durable()) {
                // It has begun as a copy of another mailbox.
                (Some(_), Some(durable)) if is_new_device => {
                    durable.note(Kind::Mailbox, |one| mailboxes.write_mailbox(user, &Times::now(), one));
                }
                (Some(_), Some(_)) => self.note_connection(Kind::MailboxConnected, user),
                _ => {}
            }
            connected
        };
        match connected {
            Some(0) => {}
            Some(dropped) => {
                self.replies.metrics().mailbox_dropped.fetch_add(dropped, Relaxed);
                tracing::warn!(namespace, dropped, "a user has too many devices; the oldest one was forgotten");
            }
            None => {
                self.replies.metrics().mailbox_full.fetch_add(1, Relaxed);
                tracing::warn!(namespace, "there is no memory for the mailbox of another device");
            }
        }
    }

    fn disconnected(&self, user: &str) {
        let mut mailboxes = self.lock();
        mailboxes.disconnected(user, Instant::now());
        self.note_connection(Kind::MailboxDisconnected, user);
    }
}
