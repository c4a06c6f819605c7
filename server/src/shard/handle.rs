//! The handle of all shards: what the rest of the process uses to reach them.

use super::Settings;
use super::inbox::{Busy, Inbox, PUBLICATION_BYTES};
use super::message::{Broadcast, MailboxBroadcast, PageBroadcast, ToShard};
use crate::client::Client;
use crate::interest::Interest;
use crate::mailbox::MailboxNotice;
use crate::pages::PageNotice;
use crate::protocol::Millis;
use crate::publication::Notice;
use crate::revocation::Revocation;
use nodevent_protocol::topic;
use smallvec::SmallVec;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::SemaphorePermit;

/// Minimum size for which a publication counts, so that the number of small ones is limited too. Bytes.
const PUBLICATION_FLOOR: usize = 2048;

/// The inboxes of all shards.
#[derive(Debug, Clone)]
pub struct Shards {
    inboxes: Arc<[Arc<Inbox>]>,
    interest: Arc<Interest>,
}

/// A place for one publication in every inbox, until it is used or dropped.
#[derive(Debug)]
pub struct Reservation<'a> {
    shards: &'a Shards,
    permits: SmallVec<[SemaphorePermit<'a>; 4]>,
    cost: u32,
}

// === impl Shards ===

impl Shards {
    pub(super) fn new(inboxes: Vec<Arc<Inbox>>, interest: Arc<Interest>) -> Self {
        Self { inboxes: inboxes.into(), interest }
    }

    /// Waits until every inbox has a place for a publication of about `bytes`, and reserves it.
    ///
    /// # Cancel safety
    /// Safe: the places are given back.
    pub async fn reserve(&self, bytes: usize) -> Reservation<'_> {
        let cost = bytes.clamp(PUBLICATION_FLOOR, PUBLICATION_BYTES) as u32;
        let mut permits = SmallVec::with_capacity(self.inboxes.len());
        for inbox in self.inboxes.iter() {
            permits.extend(inbox.reserve(cost).await);
        }
        Reservation { shards: self, permits, cost }
    }

    /// The shard with the fewest connections.
    pub fn least_loaded(&self) -> u8 {
        let least = self.inboxes.iter().enumerate().min_by_key(|(_, inbox)| inbox.load());
        least.map_or(0, |(number, _)| number as u8)
    }

    /// Connections on all shards.
    pub fn connections(&self) -> usize {
        self.inboxes.iter().map(|inbox| inbox.connections()).sum()
    }

    /// Sends a reply to the shard with that number.
    pub fn send(&self, shard: u8, reply: ToShard) {
        if let Some(inbox) = self.inboxes.get(usize::from(shard)) {
            inbox.put(reply);
        }
    }

    /// Sends a request of a client, or what belongs to one, to the shard with that number.
    ///
    /// # Errors
    /// [`Busy`]: too many requests wait in its inbox, or there is no such shard.
    pub fn send_request(&self, shard: u8, client: Client, request: ToShard) -> Result<(), Busy> {
        self.inboxes.get(usize::from(shard)).ok_or(Busy)?.put_request(client, request)
    }

    /// Makes all shards read the mailboxes of a namespace again.
    pub fn mailbox_notices_lost(&self, namespace: u16) {
        for inbox in self.inboxes.iter() {
            inbox.put(ToShard::MailboxNoticesLost { namespace });
        }
    }

    /// Makes all shards read the subscriptions of the pages of a namespace again.
    pub fn page_notices_lost(&self, namespace: u16) {
        for inbox in self.inboxes.iter() {
            inbox.put(ToShard::PageNoticesLost { namespace });
        }
    }

    /// Makes all shards apply revocations, which the namespace's list has already.
    pub fn revoke(&self, namespace: u16, revocations: &Arc<[Revocation]>) {
        for inbox in self.inboxes.iter() {
            inbox.put(ToShard::Revoke { namespace, revocations: Arc::clone(revocations) });
        }
    }

    /// Makes all shards use these settings from now on.
    pub fn set_settings(&self, settings: &Arc<Settings>) {
        for inbox in self.inboxes.iter() {
            inbox.put(ToShard::Settings(Arc::clone(settings)));
        }
    }

    /// Closes the connections of all shards within `spread` milliseconds.
    pub fn drain(&self, spread: Millis) {
        for inbox in self.inboxes.iter() {
            inbox.put(ToShard::Drain { spread });
        }
    }

    /// Stops all shards now.
    pub fn stop(&self) {
        for inbox in self.inboxes.iter() {
            inbox.put(ToShard::Stop);
        }
    }
}

// === impl Reservation ===

impl Reservation<'_> {
    /// Puts a notice into the inbox of every shard that may have members of its room.
    pub fn deliver(self, namespace: u16, notice: Notice) {
        let Self { shards: Shards { inboxes, interest }, permits, cost } = self;
        let hash = match notice.topic() {
            topic::ALL => None,
            room => Some(interest.hash(namespace, room)),
        };
        let broadcast = Arc::new(Broadcast { namespace, hash, notice, cost, arrived: Instant::now() });
        let mut permits = permits.into_iter().enumerate();
        let mut put = |shard: usize| {
            // Those of the shards between are given back.
            if let (Some(inbox), Some((_, permit))) = (inboxes.get(shard), permits.find(|(of, _)| *of == shard)) {
                permit.forget();
                inbox.put(ToShard::Broadcast(Arc::clone(&broadcast)));
            }
        };
        match hash {
            None => (0..inboxes.len()).for_each(put),
            Some(hash) => interest.shards(hash).for_each(&mut put),
        }
    }

    /// Puts what happened in a mailbox into every inbox.
    pub fn notify_mailbox(self, namespace: u16, notice: MailboxNotice) {
        for permit in self.permits {
            permit.forget();
        }
        let broadcast = Arc::new(MailboxBroadcast { namespace, notice, cost: self.cost });
        for inbox in self.shards.inboxes.iter() {
            inbox.put(ToShard::MailboxNotice(Arc::clone(&broadcast)));
        }
    }

    /// Puts a change of the subscriptions of a page into every inbox.
    pub fn notify_page(self, namespace: u16, notice: PageNotice) {
        for permit in self.permits {
            permit.forget();
        }
        let broadcast = Arc::new(PageBroadcast { namespace, notice, cost: self.cost });
        for inbox in self.shards.inboxes.iter() {
            inbox.put(ToShard::PageNotice(Arc::clone(&broadcast)));
        }
    }
}
