//! The fan-out of one namespace: from its engine to the shards.
//!
//! It knows the shards' inboxes. It does not know connections or encodings.

use crate::cable::CableReply;
use crate::connection_state::ClaimReply;
use crate::history::RecoveryReply;
use crate::hooks::Recorder;
use crate::mailbox::{MailboxNotice, MailboxReply};
use crate::metrics::Metrics;
use crate::namespace::Namespaces;
use crate::pages::{PageNotice, PageReply};
use crate::presence::PresenceReply;
use crate::publication::{Notice, Publication, Trace};
use crate::revocation::{ListFull, Revocation, RevocationList};
use crate::shard::Reservation;
use crate::shard::{Shards, ToShard};
use crate::spans::{Span, Step};
use nodevent_protocol::history::Position;
use nodevent_protocol::key::Secret;
use nodevent_protocol::targets::Published;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

/// The fan-out of one namespace.
#[derive(Debug, Clone)]
pub struct Fanout {
    shards: Shards,
    namespaces: Arc<Namespaces>,
    namespace: u16,
    metrics: Arc<Metrics>,
}

/// A reserved place in every shard's inbox. Its holder sends one publication.
#[derive(Debug)]
pub(super) struct FanoutReservation<'a> {
    fanout: &'a Fanout,
    reservation: Reservation<'a>,
}

// === impl FanoutReservation ===

impl FanoutReservation<'_> {
    /// Sends a publication to every shard that may have members of its room.
    pub(super) fn broadcast(self, publication: Arc<Publication>) {
        if let Some(recorder) = self.fanout.recorder() {
            recorder.delivered(&publication);
        }
        let Fanout { metrics, namespace, .. } = self.fanout;
        if let Some(Trace { context, began }) = publication.trace.as_deref().copied() {
            let (namespace, ended) = (*namespace, Instant::now());
            metrics.spans.add(Span { context, step: Step::Engine, namespace, shard: None, began, ended });
        }
        self.reservation.deliver(*namespace, Notice::Publication(publication));
        metrics.publications.fetch_add(1, Relaxed);
    }

    /// Sends what happened in a mailbox to every shard.
    pub(super) fn notify(self, notice: MailboxNotice) {
        self.reservation.notify_mailbox(self.fanout.namespace, notice);
    }
}

// === impl Fanout ===

impl Fanout {
    /// Returns the fan-out of the namespace with that id.
    pub fn new(shards: Shards, namespaces: Arc<Namespaces>, namespace: u16, metrics: Arc<Metrics>) -> Self {
        Self { shards, namespaces, namespace, metrics }
    }

    /// Returns the namespace's name.
    pub fn name(&self) -> &str {
        &self.namespaces.get(self.namespace).name
    }

    /// The secrets of the namespace's room keys. `None`: it has no room keys.
    pub(super) fn secrets(&self) -> Option<Vec<Secret>> {
        self.namespaces.get(self.namespace).authorizers.secrets()
    }

    /// Records what the application is notified of.
    pub(super) fn recorder(&self) -> Option<&Arc<Recorder>> {
        self.namespaces.get(self.namespace).recorder.as_ref()
    }

    /// Returns the counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Sends a publication to every shard that may have members of its room. Waits while the inboxes are full.
    ///
    /// Callers make one call after the other. This is the order in which every connection receives the publications.
    pub(super) async fn broadcast(&self, publication: Arc<Publication>) {
        self.reserve(publication.text.len()).await.broadcast(publication);
    }

    /// Sends a publication to the connections of this server alone. No engine has it, and no history.
    pub async fn deliver_here(&self, published: &Published<'_>) {
        let several = match published {
            Published::One(one) => return self.broadcast(Publication::parsed(one, one.text, None)).await,
            Published::Several(several) => several,
        };
        let id = rand::random();
        for copy in 0..several.count() {
            let text = several.text(copy, id);
            if let Ok(one) = several.copy(copy, &text) {
                self.broadcast(Publication::parsed(&one, one.text, None)).await;
            }
        }
    }

    /// Waits until every inbox has a place for a publication of about `bytes`.
    ///
    /// # Cancel safety
    /// Safe: sending with the permit does not wait, so a cancelled caller leaves nothing half done.
    pub(super) async fn reserve(&self, bytes: usize) -> FanoutReservation<'_> {
        FanoutReservation { fanout: self, reservation: self.shards.reserve(bytes).await }
    }

    /// Notifies the members of a room that publications before `position` may be missing and cannot be recovered.
    pub(super) async fn broadcast_gap(&self, room: &str, position: Position) {
        let reservation = self.shards.reserve(room.len()).await;
        reservation.deliver(self.namespace, Notice::gap(room, position));
        self.metrics.gaps.fetch_add(1, Relaxed);
        tracing::warn!(namespace = self.name(), "room history gap could not be backfilled; members were notified");
    }

    /// Sends what happened in a mailbox to every shard. Waits while the inboxes are full.
    pub(super) async fn notify(&self, notice: MailboxNotice) {
        self.reserve(notice.size()).await.notify(notice);
    }

    /// Sends a change of the subscriptions of a page to every shard. Waits while the inboxes are full.
    pub(super) async fn notify_page(&self, notice: PageNotice) {
        self.reserve(notice.size()).await.reservation.notify_page(self.namespace, notice);
    }

    /// Makes the shards read the subscriptions of all pages of their connections again: changes may have been lost.
    pub(super) fn page_notices_lost(&self) {
        self.shards.page_notices_lost(self.namespace);
    }

    /// Sends the subscriptions of a page to the shard that has requested them.
    pub(super) fn page_reply(&self, reply: PageReply) {
        // As for recoveries.
        self.shards.send(reply.reply_to.shard, ToShard::PageReply(Box::new(reply)));
    }

    /// Makes the shards read all mailboxes of their connections again: notices may have been lost.
    pub(super) fn mailbox_notices_lost(&self) {
        self.shards.mailbox_notices_lost(self.namespace);
    }

    /// Sends the reply to a request about a mailbox to its shard.
    pub(super) fn mailbox_reply(&self, reply: MailboxReply) {
        let shard = reply.reply_to.shard;
        // The inbox always has a place for a reply: the shard limits how many it requests.
        self.shards.send(shard, ToShard::MailboxReply(Box::new(reply)));
    }

    /// The revocations of the namespace that this server knows.
    pub(super) fn revocations(&self) -> &RevocationList {
        &self.namespaces.get(self.namespace).revocations
    }

    /// Applies revocations: clients that arrive later are rejected, then those that are there are ended. Revocations that
    /// change nothing are left out. Returns the first that found no place, if any.
    pub(super) fn revoke(&self, revocations: Vec<Revocation>) -> Result<(), ListFull> {
        let (list, mut result) = (self.revocations(), Ok(()));
        let mut changed = Vec::with_capacity(revocations.len());
        for one in revocations {
            match list.add(&one) {
                Ok(true) => changed.push(one),
                Ok(false) => {}
                Err(full) => result = Err(full),
            }
        }
        if !changed.is_empty() {
            self.metrics.revocations.fetch_add(changed.len() as u64, Relaxed);
            self.shards.revoke(self.namespace, &changed.into());
        }
        result
    }

    /// Returns the counters, to keep.
    pub fn shared_metrics(&self) -> Arc<Metrics> {
        Arc::clone(&self.metrics)
    }

    /// Sends the reply to a request for the members of a room to its shard.
    pub(super) fn reply_presence(&self, reply: PresenceReply) {
        // As for recoveries.
        self.shards.send(reply.reply_to.shard, ToShard::Present(Box::new(reply)));
    }

    /// Sends the reply to a claim to its shard.
    pub(super) fn reply_claim(&self, reply: ClaimReply) {
        // The engine limits how many claims it has.
        self.shards.send(reply.reply_to.shard, ToShard::Claimed(reply));
    }

    /// Sends what was found of a cursor or a session to its shard.
    pub(super) fn reply_cable(&self, reply: CableReply) {
        // The engine limits how many requests it has.
        self.shards.send(reply.reply_to.shard, ToShard::Cable(reply));
    }

    /// Whether a protocol serves the namespace, by its name in the configuration.
    pub(super) fn is_served_by(&self, protocol: &str) -> bool {
        self.namespaces.get(self.namespace).protocols.iter().any(|one| one == protocol)
    }

    /// Whether connections of the namespace can be restored.
    pub(super) fn has_connection_states(&self) -> bool {
        self.namespaces.get(self.namespace).connection_state.is_some()
    }

    /// Sends the reply to a recovery request to its shard.
    pub(super) fn reply(&self, reply: RecoveryReply) {
        let shard = reply.reply_to.shard;
        // The inbox always has a place for a reply: the shard limits how many it requests.
        self.shards.send(shard, ToShard::Recovered(Box::new(reply)));
    }
}
