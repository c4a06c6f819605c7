//! The pages of connections: their subscriptions, as the engine has them, on the way to the protocol.
//!
//! A connection is known here before its page is read. So a change is in what is read, or is announced later, or both: then
//! the page is read again. At most one read for each connection is on its way.

use super::Shard;
use super::message::PageBroadcast;
use crate::outcome::Outcome;
use crate::pages::{PageEvent, PageReply, PageReplyTo};
use hashbrown::HashMap;
use nodevent_protocol::pages::{PageDigest, Subscription};
use smallvec::SmallVec;

/// The pages of a shard's connections.
#[derive(Debug, Default)]
pub(super) struct ShardPages {
    /// The slots of the connections of each page. Most have one.
    slots: HashMap<(u16, PageDigest), SmallVec<[u32; 2]>>,
    /// The page of each connection.
    of_slot: HashMap<u32, OfSlot>,
}

#[derive(Debug, Clone, Copy)]
struct OfSlot {
    namespace: u16,
    page: PageDigest,
    read: Read,
}

/// A read of a connection's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// None is on its way.
    Idle,
    /// One is on its way.
    Pending,
    /// One is on its way, and another must follow, because something has changed since.
    PendingStale,
}

// === impl Shard ===

impl Shard {
    /// A connection is one of this page; see [`crate::protocol::Core::open_page`].
    pub(super) fn open_page(&mut self, slot: u32, namespace: u16, page: PageDigest) -> Outcome<Vec<Subscription>> {
        let known = OfSlot { namespace, page, read: Read::Idle };
        if self.pages.of_slot.get(&slot).is_none_or(|one| (one.namespace, one.page) != (namespace, page)) {
            self.forget_page(slot);
            self.pages.of_slot.insert(slot, known);
            self.pages.slots.entry((namespace, page)).or_default().push(slot);
        }
        self.read_page(slot)
    }

    /// Reads the page of a connection.
    fn read_page(&mut self, slot: u32) -> Outcome<Vec<Subscription>> {
        let Some(of_slot) = self.pages.of_slot.get_mut(&slot) else { return Outcome::Overloaded };
        if of_slot.read != Read::Idle {
            of_slot.read = Read::PendingStale;
            return Outcome::Pending;
        }
        let OfSlot { namespace, page, .. } = *of_slot;
        let generation = self.slots.get(slot as usize).map_or(0, |one| one.generation());
        let reply_to = PageReplyTo { shard: self.number, slot, generation };
        let pages = self.engines.get(namespace).and_then(|engine| engine.pages.as_ref());
        let outcome = pages.map_or(Outcome::Overloaded, |pages| pages.open(page, reply_to));
        if let (Outcome::Pending, Some(of_slot)) = (&outcome, self.pages.of_slot.get_mut(&slot)) {
            of_slot.read = Read::Pending;
        }
        outcome
    }

    /// Reads the page of a connection, and gives its protocol what is there.
    fn refresh_page(&mut self, slot: u32) {
        match self.read_page(slot) {
            Outcome::Pending => {}
            Outcome::Ready(subscriptions) => self.pass_on(slot, &PageEvent::Subscriptions(&subscriptions)),
            Outcome::Overloaded => self.pass_on(slot, &PageEvent::Unavailable),
        }
    }

    fn pass_on(&mut self, slot: u32, event: &PageEvent<'_>) {
        let Some(namespace) = self.pages.of_slot.get(&slot).map(|one| one.namespace) else { return };
        self.with_protocol(slot, |protocol, core| protocol.page(namespace, event, core));
    }

    /// A page was read.
    pub(super) fn on_page_reply(&mut self, reply: PageReply) {
        let PageReply { reply_to: PageReplyTo { slot, generation, .. }, subscriptions } = reply;
        if !self.is_open(slot, generation) {
            return;
        }
        let Some(of_slot) = self.pages.of_slot.get_mut(&slot) else { return };
        let is_stale = std::mem::replace(&mut of_slot.read, Read::Idle) == Read::PendingStale;
        match &subscriptions {
            Some(subscriptions) => self.pass_on(slot, &PageEvent::Subscriptions(subscriptions)),
            None => self.pass_on(slot, &PageEvent::Unavailable),
        }
        if is_stale && self.is_open(slot, generation) {
            self.refresh_page(slot);
        }
    }

    /// The subscriptions of a page have changed.
    pub(super) fn on_page_notice(&mut self, broadcast: &PageBroadcast) {
        let PageBroadcast { namespace, notice, cost } = broadcast;
        self.delivery.release(*cost);
        let Some(slots) = self.pages.slots.get(&(*namespace, notice.page)).cloned() else { return };
        for slot in slots {
            if !notice.unsubscribed.is_empty() {
                self.pass_on(slot, &PageEvent::Unsubscribed(&notice.unsubscribed));
            }
            self.refresh_page(slot);
        }
    }

    /// Changes may have been lost.
    pub(super) fn on_page_notices_lost(&mut self, namespace: u16) {
        let all: Vec<u32> = self
            .pages
            .of_slot
            .iter()
            .filter(|(_, one)| one.namespace == namespace)
            .map(|(slot, _)| *slot)
            .collect();
        for slot in all {
            self.refresh_page(slot);
        }
    }

    /// A connection has received the channels of its page up to these positions, and will receive nothing more.
    pub(super) fn close_page(&mut self, slot: u32, received: Vec<Subscription>) {
        let Some(OfSlot { namespace, page, .. }) = self.pages.of_slot.get(&slot).copied() else { return };
        self.forget_page(slot);
        if let Some(pages) = self.engines.get(namespace).and_then(|engine| engine.pages.as_ref()) {
            pages.close(page, received);
        }
    }

    /// A connection is not one of its page any more.
    pub(super) fn forget_page(&mut self, slot: u32) {
        let Some(OfSlot { namespace, page, .. }) = self.pages.of_slot.remove(&slot) else { return };
        if let Some(slots) = self.pages.slots.get_mut(&(namespace, page)) {
            slots.retain(|one| *one != slot);
            if slots.is_empty() {
                self.pages.slots.remove(&(namespace, page));
            }
        }
    }
}
