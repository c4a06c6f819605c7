//! The capability *mailboxes* of the memory engine: the lock around [`MemoryMailboxes`], and the notices to the shards.

use super::super::Fanout;
use super::mailbox::{MemoryMailboxes, StoreOutcome};
use crate::capability::Pending;
use crate::clock::now_ms;
use crate::fair_turns::FairTurns;
use crate::mailbox::{
    Acknowledgement, MailboxAction, MailboxEvent, MailboxNotice, MailboxPage, MailboxReply, MailboxRequest,
    MailboxResult, MailboxSettings, Mailboxes, NewMessage, PageRequest, Removed, Stored,
};
use crate::outcome::Outcome;
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
}

// === impl MailboxesInMemory ===

impl MailboxesInMemory {
    pub(super) fn new(settings: MailboxSettings, fanout: Fanout) -> Self {
        let mailboxes = Arc::new(Mutex::new(MemoryMailboxes::new(settings.clone())));
        let replies = fanout.clone();
        let fanout = Arc::new(tokio::sync::Mutex::new(fanout));
        Self { settings, fanout, mailboxes, turns: Arc::default(), runtime: Handle::current(), replies }
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
            let stored = self.store_in(&fanout, &NewMessage { user: &name, ..*new }).await;
            match (&mut result, stored) {
                (Stored::Unknown, stored) => result = stored,
                (Stored::Stored { dropped, .. }, Stored::Stored { dropped: more, .. }) => *dropped += more,
                _ => {}
            }
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
                let event = MailboxEvent::Stored { message: now.message, previous: now.previous };
                place.notify(MailboxNotice { user: new.user.into(), unread: now.unread, event });
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

    fn lock(&self) -> MutexGuard<'_, MemoryMailboxes> {
        // A panic leaves nothing in it that could not be used.
        self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mailboxes for MailboxesInMemory {
    fn settings(&self) -> &MailboxSettings {
        &self.settings
    }

    fn store<'a>(&'a self, message: &'a NewMessage<'a>) -> Pending<'a, Stored> {
        Box::pin(async move { Ok(self.store(message).await) })
    }

    fn read<'a>(&'a self, user: &'a str, page: PageRequest) -> Pending<'a, MailboxPage> {
        Box::pin(ready(Ok(self.lock().read(user, page, Instant::now()))))
    }

    fn acknowledge<'a>(&'a self, user: &'a str, acknowledgement: &'a Acknowledgement) -> Pending<'a, Removed> {
        Box::pin(async move { Ok(self.acknowledge(user, acknowledgement).await) })
    }

    fn request(&self, request: MailboxRequest) -> Outcome<MailboxReply> {
        let MailboxRequest { reply_to, user, action } = request;
        match action {
            MailboxAction::Read(page) => {
                let page = self.lock().read(&user, page, Instant::now());
                Outcome::Ready(MailboxReply { reply_to, result: MailboxResult::Read(Ok(page)) })
            }
            // Others may hold the lock of the fan-out, or the inboxes may be full.
            MailboxAction::Acknowledge { acknowledgement, request } => {
                let mailboxes = self.clone();
                self.runtime.spawn(async move {
                    let (_ticket, turn) = mailboxes.turns.wait(reply_to.client);
                    // Every ticket has its turn in the end.
                    let _turn = turn.await.ok();
                    let removed = mailboxes.acknowledge(&user, &acknowledgement).await;
                    let result = MailboxResult::Acknowledged { request, result: Ok(removed) };
                    mailboxes.replies.mailbox_reply(MailboxReply { reply_to, result });
                });
                Outcome::Pending
            }
        }
    }

    fn connected(&self, user: &str) {
        let (connected, namespace) = (self.lock().connected(user, Instant::now()), self.replies.name());
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
        self.lock().disconnected(user, Instant::now());
    }
}
