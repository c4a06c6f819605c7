//! The pages of connections: their subscriptions, as the engine has them, on the way to the protocol.
//!
//! A connection is known here before its page is read. So a change is in what is read, or is announced later, or both: then
//! the page is read again. At most one read for each connection is on its way, and a few for each client: its others wait
//! here, and are dropped with their connections.
//!
//! A visitor may open very many connections of one page, and each change of the page is for all of them. The newest ones,
//! which are those of real pages, follow it at once, and the others in turns that are limited in time.

use super::Shard;
use super::message::PageBroadcast;
use crate::client::Client;
use crate::fair_queue::FairQueue;
use crate::fair_shares::FairShares;
use crate::outcome::Outcome;
use crate::pages::{PageEvent, PageReply, PageReplyTo, Received};
use hashbrown::HashMap;
use nodevent_protocol::pages::{PageDigest, Subscription};
use smallvec::SmallVec;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Reads of a shard that may wait for an engine. Clients share them. A connection without a place tries again.
const MAX_READS: usize = 4_096;
/// Those that one client may have there, because engines serve them in their order.
const READS_PER_CLIENT: usize = 16;
/// Connections of one page that follow a change before anything else happens.
const FOLLOW_AT_ONCE: usize = 16;
/// Time for connections that follow changes later, before publications, sockets and timers have their turn again.
const FOLLOW_TURN: Duration = Duration::from_millis(1);

/// The pages of a shard's connections.
#[derive(Debug, Default)]
pub(super) struct ShardPages {
    /// The slots of the connections of each page. Most have one.
    slots: HashMap<(u16, PageDigest), SmallVec<[u32; 2]>>,
    /// The page of each connection in each namespace. Most connections are in one.
    of_slot: HashMap<u32, SmallVec<[OfSlot; 1]>>,
    reads: Reads,
    /// The connections that are behind a change of their page. Some have followed it since, or are gone.
    behind: FairQueue<Client, (u32, u16)>,
}

/// The page of a connection in a namespace.
#[derive(Debug)]
struct OfSlot {
    namespace: u16,
    page: PageDigest,
    client: Client,
    read: Read,
    /// Whether the engine has the page: one that is not subscribed to anything is not stored.
    is_stored: bool,
    /// Whether it is in [`ShardPages::behind`].
    is_behind: bool,
    /// Shows engines that the connection still wants what it has requested.
    is_wanted: Arc<()>,
}

/// A read of a connection's page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    /// None is on its way.
    Idle,
    /// It waits for others of its client, with this number.
    Waiting(u64),
    /// One is on its way.
    Pending,
    /// One is on its way, and another must follow, because something has changed since.
    PendingStale,
}

/// Whose turn it is to read.
#[derive(Debug)]
struct Reads {
    /// Those that are with an engine.
    requested: FairShares,
    /// The slots and namespaces of those that wait, in their order. A connection has at most one for each namespace.
    waiting: HashMap<Client, BTreeMap<u64, (u32, u16)>>,
    /// The number of the last one that waited.
    last: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Now,
    /// After another one of the client.
    Later,
    /// Others have taken all places.
    Never,
}

// === impl Reads ===

impl Default for Reads {
    fn default() -> Self {
        Self { requested: FairShares::new(MAX_READS), waiting: HashMap::new(), last: 0 }
    }
}

impl Reads {
    fn turn(&self, client: Client) -> Turn {
        match self.requested.of(client) {
            READS_PER_CLIENT.. => Turn::Later,
            count => match self.requested.check(client) {
                Ok(()) => Turn::Now,
                Err(_) if count > 0 => Turn::Later,
                Err(_) => Turn::Never,
            },
        }
    }

    /// A read waits. Returns its number.
    fn wait(&mut self, client: Client, slot: u32, namespace: u16) -> u64 {
        self.last += 1;
        self.waiting.entry(client).or_default().insert(self.last, (slot, namespace));
        self.last
    }

    /// A read waits no longer.
    fn cancel(&mut self, client: Client, number: u64) {
        if let Some(waiting) = self.waiting.get_mut(&client) {
            waiting.remove(&number);
            if waiting.is_empty() {
                self.waiting.remove(&client);
            }
        }
    }

    /// Takes the next read of a client that waits. `None`: there is none, or another one must end before.
    fn next(&mut self, client: Client) -> Option<(u32, u16)> {
        if self.turn(client) == Turn::Later {
            return None;
        }
        let (&number, &next) = self.waiting.get(&client)?.first_key_value()?;
        self.cancel(client, number);
        Some(next)
    }
}

// === impl ShardPages ===

impl ShardPages {
    fn of_slot(&mut self, slot: u32, namespace: u16) -> Option<&mut OfSlot> {
        find(&mut self.of_slot, slot, namespace)
    }

    /// A connection is not one of its page any more.
    fn remove(&mut self, slot: u32, namespace: u16) -> Option<OfSlot> {
        let pages = self.of_slot.get_mut(&slot)?;
        let index = pages.iter().position(|one| one.namespace == namespace)?;
        let removed = pages.swap_remove(index);
        if pages.is_empty() {
            self.of_slot.remove(&slot);
        }
        let of_page = (namespace, removed.page);
        if let Some(all) = self.slots.get_mut(&of_page) {
            all.retain(|one| *one != slot);
            if all.is_empty() {
                self.slots.remove(&of_page);
            }
        }
        if let Read::Waiting(number) = removed.read {
            self.reads.cancel(removed.client, number);
        }
        Some(removed)
    }

    /// Whether connections wait for the next [`Shard::follow_changes`].
    pub(super) fn are_behind(&self) -> bool {
        !self.behind.is_empty()
    }

    /// A page has changed, which a connection follows later.
    fn fall_behind(&mut self, slot: u32, namespace: u16) {
        let Some(of_slot) = find(&mut self.of_slot, slot, namespace).filter(|one| !one.is_behind) else { return };
        of_slot.is_behind = true;
        self.behind.push(of_slot.client, (slot, namespace));
    }

    /// The next connection that follows a change.
    fn next_behind(&mut self) -> Option<(u32, u16)> {
        while let Some((_, (slot, namespace))) = self.behind.pop() {
            let of_slot = find(&mut self.of_slot, slot, namespace);
            if of_slot.is_some_and(|one| std::mem::take(&mut one.is_behind)) {
                return Some((slot, namespace));
            }
        }
        None
    }
}

fn find(all: &mut HashMap<u32, SmallVec<[OfSlot; 1]>>, slot: u32, namespace: u16) -> Option<&mut OfSlot> {
    all.get_mut(&slot)?.iter_mut().find(|one| one.namespace == namespace)
}

// === impl Shard ===

impl Shard {
    /// A connection is one of this page; see [`crate::protocol::Core::open_page`].
    pub(super) fn open_page(&mut self, slot: u32, namespace: u16, page: PageDigest) -> Outcome<Vec<Subscription>> {
        if self.pages.of_slot(slot, namespace).is_none_or(|one| one.page != page) {
            self.pages.remove(slot, namespace);
            let client = Client::of(self.peer(slot));
            let is_wanted = Arc::default();
            let (read, is_stored, is_behind) = (Read::Idle, false, false);
            let known = OfSlot { namespace, page, client, read, is_stored, is_behind, is_wanted };
            self.pages.of_slot.entry(slot).or_default().push(known);
            self.pages.slots.entry((namespace, page)).or_default().push(slot);
        }
        self.read_page(slot, namespace)
    }

    /// Reads the page of a connection, as soon as it is its turn.
    fn read_page(&mut self, slot: u32, namespace: u16) -> Outcome<Vec<Subscription>> {
        let ShardPages { of_slot, reads, .. } = &mut self.pages;
        let Some(of_slot) = find(of_slot, slot, namespace) else { return Outcome::Overloaded };
        match of_slot.read {
            Read::Idle => {}
            Read::Waiting(_) => return Outcome::Pending,
            Read::Pending | Read::PendingStale => {
                of_slot.read = Read::PendingStale;
                return Outcome::Pending;
            }
        }
        match reads.turn(of_slot.client) {
            Turn::Now => self.request_subscriptions(slot, namespace),
            Turn::Later => {
                of_slot.read = Read::Waiting(reads.wait(of_slot.client, slot, namespace));
                Outcome::Pending
            }
            Turn::Never => Outcome::Overloaded,
        }
    }

    /// Requests the page of a connection from its engine.
    fn request_subscriptions(&mut self, slot: u32, namespace: u16) -> Outcome<Vec<Subscription>> {
        let generation = self.slots.get(slot as usize).map_or(0, |one| one.generation());
        let ShardPages { of_slot, reads, .. } = &mut self.pages;
        let Some(of_slot) = find(of_slot, slot, namespace) else { return Outcome::Overloaded };
        let OfSlot { page, client, .. } = *of_slot;
        let is_wanted = Arc::downgrade(&of_slot.is_wanted);
        let reply_to = PageReplyTo { shard: self.number, slot, generation, namespace, client, is_wanted };
        let pages = self.engines.get(namespace).and_then(|engine| engine.pages.as_ref());
        let outcome = pages.map_or(Outcome::Overloaded, |pages| pages.open(page, reply_to));
        match &outcome {
            Outcome::Pending => {
                of_slot.read = Read::Pending;
                reads.requested.add(client);
            }
            Outcome::Ready(subscriptions) => of_slot.is_stored = !subscriptions.is_empty(),
            Outcome::Overloaded => {}
        }
        outcome
    }

    /// Reads the page of a connection, and gives its protocol what is there.
    fn refresh_page(&mut self, slot: u32, namespace: u16) {
        match self.read_page(slot, namespace) {
            Outcome::Pending => {}
            Outcome::Ready(subscriptions) => {
                self.pass_on(slot, namespace, &PageEvent::Subscriptions(&subscriptions))
            }
            Outcome::Overloaded => self.pass_on(slot, namespace, &PageEvent::Unavailable),
        }
    }

    fn pass_on(&mut self, slot: u32, namespace: u16, event: &PageEvent<'_>) {
        if self.pages.of_slot(slot, namespace).is_none() {
            return;
        }
        self.with_protocol(slot, |protocol, core| protocol.page(namespace, event, core));
    }

    /// A page was read.
    pub(super) fn on_page_reply(&mut self, reply: PageReply) {
        let PageReply { page, reply_to, subscriptions } = reply;
        let PageReplyTo { slot, generation, namespace, client, .. } = reply_to;
        self.pages.reads.requested.remove(client);
        let is_open = self.is_open(slot, generation);
        let of_slot = self.pages.of_slot(slot, namespace);
        match of_slot.filter(|one| is_open && one.page == page) {
            Some(of_slot) => {
                let is_stale = std::mem::replace(&mut of_slot.read, Read::Idle) == Read::PendingStale;
                match &subscriptions {
                    Some(subscriptions) => {
                        of_slot.is_stored = !subscriptions.is_empty();
                        self.pass_on(slot, namespace, &PageEvent::Subscriptions(subscriptions));
                    }
                    None => self.pass_on(slot, namespace, &PageEvent::Unavailable),
                }
                if is_stale && self.is_open(slot, generation) {
                    self.refresh_page(slot, namespace);
                }
            }
            None => {
                let unused = subscriptions.filter(|subscriptions| !subscriptions.is_empty());
                let pages = self.engines.get(namespace).and_then(|engine| engine.pages.as_ref());
                if let (Some(unused), Some(pages)) = (unused, pages) {
                    pages.close(page, Received::Nothing(unused));
                }
            }
        }
        self.read_waiting_pages(client);
    }

    /// A read of a client has ended, so that another one has its turn.
    fn read_waiting_pages(&mut self, client: Client) {
        while let Some((slot, namespace)) = self.pages.reads.next(client) {
            if let Some(of_slot) = self.pages.of_slot(slot, namespace) {
                of_slot.read = Read::Idle;
            }
            self.refresh_page(slot, namespace);
        }
    }

    /// The subscriptions of a page have changed.
    pub(super) fn on_page_notice(&mut self, broadcast: &PageBroadcast) {
        let PageBroadcast { namespace, notice, cost } = broadcast;
        self.delivery.release(*cost);
        let Some(slots) = self.pages.slots.get(&(*namespace, notice.page)).cloned() else { return };
        let (later, at_once) = slots.split_at(slots.len().saturating_sub(FOLLOW_AT_ONCE));
        for slot in at_once {
            if !notice.unsubscribed.is_empty() {
                self.pass_on(*slot, *namespace, &PageEvent::Unsubscribed(&notice.unsubscribed));
            }
            self.refresh_page(*slot, *namespace);
        }
        // What they read says what is gone, too.
        for slot in later {
            self.pages.fall_behind(*slot, *namespace);
        }
    }

    /// Lets connections follow changes of their pages, for as long as a turn lasts.
    pub(super) fn follow_changes(&mut self) {
        if !self.pages.are_behind() {
            return;
        }
        let began = Instant::now();
        while began.elapsed() < FOLLOW_TURN
            && let Some((slot, namespace)) = self.pages.next_behind()
        {
            self.refresh_page(slot, namespace);
        }
    }

    /// Changes may have been lost.
    pub(super) fn on_page_notices_lost(&mut self, namespace: u16) {
        let all: Vec<u32> = self
            .pages
            .of_slot
            .iter()
            .filter(|(_, pages)| pages.iter().any(|one| one.namespace == namespace))
            .map(|(slot, _)| *slot)
            .collect();
        for slot in all {
            self.pages.fall_behind(slot, namespace);
        }
    }

    /// A connection has received the channels of its page up to these positions, and is not one of the page any more.
    pub(super) fn close_page(&mut self, slot: u32, namespace: u16, received: Vec<Subscription>) {
        let Some(OfSlot { page, is_stored, .. }) = self.pages.remove(slot, namespace) else { return };
        if let Some(pages) = self.engines.get(namespace).and_then(|engine| engine.pages.as_ref())
            && is_stored
        {
            pages.close(page, Received::UpTo(received));
        }
    }

    /// A connection is not one of any page any more.
    pub(super) fn forget_pages(&mut self, slot: u32) {
        while let Some(namespace) =
            self.pages.of_slot.get(&slot).and_then(|pages| pages.first()).map(|one| one.namespace)
        {
            self.pages.remove(slot, namespace);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn client(number: u8) -> Client {
        Client::of(IpAddr::from([10, 0, 0, number]))
    }

    /// Takes a turn, or waits for it.
    fn read(reads: &mut Reads, client: Client, slot: u32) -> Turn {
        let turn = reads.turn(client);
        match turn {
            Turn::Now => reads.requested.add(client),
            Turn::Later => {
                reads.wait(client, slot, 0);
            }
            Turn::Never => {}
        }
        turn
    }

    #[test]
    fn few_reads_of_a_client_are_with_an_engine_and_the_others_follow_in_their_order() {
        let mut reads = Reads::default();
        let turns = (0..1_000).map(|slot| read(&mut reads, client(1), slot)).filter(|turn| *turn == Turn::Now);
        assert_eq!(turns.count(), READS_PER_CLIENT);
        assert_eq!(read(&mut reads, client(2), 5_000), Turn::Now, "another client does not wait");
        for slot in READS_PER_CLIENT as u32..1_000 {
            assert_eq!(reads.next(client(1)), None);
            reads.requested.remove(client(1));
            assert_eq!(reads.next(client(1)), Some((slot, 0)));
            assert_eq!(read(&mut reads, client(1), slot), Turn::Now);
        }
        (0..READS_PER_CLIENT).for_each(|_| reads.requested.remove(client(1)));
        assert!(reads.next(client(1)).is_none() && reads.waiting.is_empty());
    }

    #[test]
    fn connections_that_come_and_go_leave_nothing_that_waits() {
        let mut reads = Reads::default();
        while read(&mut reads, client(1), 0) == Turn::Now {}
        for slot in 0..1_000 {
            let number = reads.wait(client(1), slot, 0);
            reads.cancel(client(1), number);
        }
        assert_eq!(reads.waiting.values().map(BTreeMap::len).sum::<usize>(), 1);
    }

    #[test]
    fn connections_that_are_behind_follow_once_and_clients_have_their_turns() {
        let mut pages = ShardPages::default();
        let open = |pages: &mut ShardPages, slot, number| {
            let page = PageDigest::of("key", "id");
            let (client, is_wanted) = (client(number), Arc::default());
            let (read, is_stored, is_behind) = (Read::Idle, false, false);
            let one = OfSlot { namespace: 0, page, client, read, is_stored, is_behind, is_wanted };
            pages.of_slot.entry(slot).or_default().push(one);
        };
        (0..100).for_each(|slot| open(&mut pages, slot, 1));
        open(&mut pages, 200, 2);
        for _ in 0..3 {
            (0..100).chain([200, 300]).for_each(|slot| pages.fall_behind(slot, 0));
        }
        pages.remove(0, 0);
        open(&mut pages, 0, 3);
        let order: Vec<u32> = std::iter::from_fn(|| pages.next_behind()).map(|(slot, _)| slot).collect();
        assert_eq!((order[0], order.len()), (200, 100), "each once, and not the one that has the slot now");
        assert!(!pages.are_behind());
    }

    #[test]
    fn without_a_place_nothing_waits_for_ever() {
        let mut reads = Reads::default();
        for number in 0..u32::MAX {
            let client = Client::of(IpAddr::from((number + (10 << 24)).to_be_bytes()));
            if read(&mut reads, client, number) == Turn::Never {
                break;
            }
        }
        assert_eq!(reads.requested.usage().1, MAX_READS);
        // What has waited is taken, and is not served.
        let late = Client::of(IpAddr::from([11, 0, 0, 1]));
        reads.wait(late, 7, 1);
        assert_eq!((reads.next(late), reads.turn(late)), (Some((7, 1)), Turn::Never));
    }
}
