//! The rooms of a visitor's page: what the application has subscribed it to, and what its connection has joined. The
//! difference is joined and left.
//!
//! Protocols whose clients belong to pages share it: [`super::pakyow`], [`super::socket_io`] and [`super::plain`]. They say
//! which page a connection is of, and what their clients are sent about its rooms.

use super::Mount;
use crate::authorize::DialectJoins;
use crate::encoding::Encoding;
use crate::history::{RequestId, Since};
use crate::outcome::Outcome;
use crate::pages::PageEvent;
use crate::protocol::{Core, JoinError, Joined, Millis, NEVER, Subscribe};
use nodevent_protocol::history::Position;
use nodevent_protocol::pages::{ITSELF, PageDigest, Subscription, topic_of};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// How often a page is read again, so that the engine keeps it: a part of its grace period, within these limits.
const RENEW_INTERVAL: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));
/// The part of the grace period.
const RENEWALS: u32 = 3;
/// For how many times `initial` a connection reads its page as often as that: another connection of the page may end
/// meanwhile, and the page is kept for `initial` from then on.
const NEW_FOR: u64 = 3;
/// Time after which a page is read again that could not be read, or joined. Milliseconds.
const RETRY: Millis = 1_000;
/// The range over which connections retry that failed together. Milliseconds.
const RETRY_SPREAD: Millis = 1_000;

/// What the pages of a namespace share.
#[derive(Debug)]
pub(super) struct PageSettings {
    namespace: u16,
    /// What the rooms of channels begin with.
    room_prefix: &'static str,
    /// Admits the joins.
    joins: Arc<DialectJoins>,
    encoding: Arc<dyn Encoding>,
    /// How long a page is kept that has not connected for that long.
    initial: Millis,
    renew_interval: Millis,
    /// The same for a new connection.
    first_renew_interval: Millis,
}

/// The page of a connection, and its rooms.
#[derive(Debug)]
pub(super) struct PageRooms {
    settings: Arc<PageSettings>,
    page: PageDigest,
    /// Few, so a list.
    rooms: Vec<Room>,
    /// The number of the last join.
    last: u64,
    /// What the client says it has received, until the page is read.
    received: Vec<(Box<str>, Position)>,
    /// When the page is read again.
    renew_at: Millis,
    /// Until when it is a new connection.
    new_until: Millis,
    /// Whether the page was read.
    is_read: bool,
}

/// A room of the page, or what is published to the page [`ITSELF`].
#[derive(Debug)]
struct Room {
    name: Box<str>,
    /// The number of its join.
    number: u64,
    state: Join,
    /// Up to where the page has received it: before the join, or with it.
    received: Option<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Join {
    Pending,
    Complete,
    /// It was rejected. The next read of the page repeats it, and does not return the position again.
    Rejected,
}

/// What has happened to a room, in the order in which the client is sent it.
#[derive(Debug)]
pub(super) enum RoomEvent {
    /// The connection is a member, and has received what it had missed; or the join was rejected, and will be repeated.
    Joined(Box<str>, Result<Joined, JoinError>),
    /// The page is not subscribed to it any more.
    Left(Box<str>),
}

// === impl PageSettings ===

impl PageSettings {
    /// The settings of a namespace whose pages are subscribed to rooms. With channels, they belong to another protocol.
    pub(super) fn of_rooms(mount: &Mount<'_>, namespace: u16, encoding: &Arc<dyn Encoding>) -> Option<Arc<Self>> {
        Self::of(mount, namespace, encoding).filter(|settings| settings.room_prefix.is_empty())
    }

    /// The settings of a namespace that has pages.
    pub(super) fn of(mount: &Mount<'_>, namespace: u16, encoding: &Arc<dyn Encoding>) -> Option<Arc<Self>> {
        let pages = mount.config.namespaces.get(usize::from(namespace))?.pages.as_ref()?;
        let (shortest, longest) = RENEW_INTERVAL;
        let interval = |kept: Duration| (kept / RENEWALS).clamp(shortest, longest).as_millis() as Millis;
        let renew_interval = interval(pages.settings.grace);
        Some(Arc::new(Self {
            namespace,
            room_prefix: pages.settings.room_prefix,
            joins: Arc::clone(&mount.namespaces.get(namespace).dialect_joins),
            encoding: Arc::clone(encoding),
            initial: pages.settings.initial.as_millis() as Millis,
            renew_interval,
            first_renew_interval: interval(pages.settings.initial).min(renew_interval),
        }))
    }
}

// === impl PageRooms ===

impl PageRooms {
    /// The page of a new connection, which is to be read now.
    pub(super) fn new(settings: &Arc<PageSettings>, page: PageDigest, now: Millis) -> Self {
        Self {
            settings: Arc::clone(settings),
            page,
            rooms: Vec::new(),
            last: 0,
            received: Vec::new(),
            renew_at: now,
            new_until: now.saturating_add(settings.initial.saturating_mul(NEW_FOR)),
            is_read: false,
        }
    }

    /// When the page is to be read again.
    pub(super) fn renew_at(&self) -> Millis {
        self.renew_at
    }

    /// Whether its subscriptions are known: they are joined, or their joins are pending.
    pub(super) fn is_read(&self) -> bool {
        self.is_read
    }

    /// What opens a room that the page is subscribed to, if the client asks for it.
    pub(super) fn credential(&self, room: &str) -> Option<Value> {
        let is_subscribed = room != ITSELF && self.rooms.iter().any(|one| *one.name == *room);
        is_subscribed.then(|| self.settings.joins.credential())
    }

    /// The connection shows another page from now on. It stays in the rooms to which that one is subscribed too.
    pub(super) fn replace(&mut self, page: PageDigest, core: &mut dyn Core) {
        if page == self.page {
            return;
        }
        self.close(core);
        self.on_unsubscribed([ITSELF].into_iter(), core);
        self.page = page;
        self.renew_at = core.now();
        self.new_until = core.now().saturating_add(self.settings.initial.saturating_mul(NEW_FOR));
    }

    /// The client has received rooms up to these positions, which it knows best.
    pub(super) fn set_received(&mut self, received: Vec<(Box<str>, Position)>) {
        self.received = received;
    }

    /// Reads the page, or reads it again.
    pub(super) fn read(&mut self, core: &mut dyn Core) -> Vec<RoomEvent> {
        self.renew_at = NEVER;
        match core.open_page(self.settings.namespace, self.page) {
            Outcome::Ready(subscriptions) => self.on_subscriptions(&subscriptions, core),
            Outcome::Pending => Vec::new(),
            Outcome::Overloaded => {
                self.retry(core);
                Vec::new()
            }
        }
    }

    /// Something has happened to the page.
    pub(super) fn on_event(&mut self, event: &PageEvent<'_>, core: &mut dyn Core) -> Vec<RoomEvent> {
        match event {
            PageEvent::Subscriptions(subscriptions) => self.on_subscriptions(subscriptions, core),
            PageEvent::Unsubscribed(rooms) => {
                let named = rooms.iter().map(|room| &**room).filter(|room| *room != ITSELF);
                self.on_unsubscribed(named, core)
            }
            PageEvent::Unavailable => {
                self.retry(core);
                Vec::new()
            }
        }
    }

    /// The page is read again in a moment.
    fn retry(&mut self, core: &mut dyn Core) {
        self.renew_at = core.now() + RETRY + rand::random::<Millis>() % RETRY_SPREAD;
    }

    /// The page was read.
    fn on_subscriptions(&mut self, subscriptions: &[Subscription], core: &mut dyn Core) -> Vec<RoomEvent> {
        let PageSettings { first_renew_interval, renew_interval, .. } = *self.settings;
        self.is_read = true;
        let interval = if core.now() < self.new_until { first_renew_interval } else { renew_interval };
        self.renew_at = core.now() + interval;
        let is_wanted = |name: &str| name == ITSELF || subscriptions.iter().any(|(room, _)| **room == *name);
        let gone: Vec<Box<str>> =
            self.rooms.iter().filter(|one| !is_wanted(&one.name)).map(|one| one.name.clone()).collect();
        let mut events = self.on_unsubscribed(gone.iter().map(|name| &**name), core);
        let received = std::mem::take(&mut self.received);
        let of_client = |name: &str| received.iter().find(|(one, _)| **one == *name).map(|(_, position)| *position);
        // What is published to the page itself needs no subscription.
        let itself = [(Box::from(ITSELF), None)];
        for (room, since) in subscriptions.iter().chain(&itself) {
            if let Some(since) = self.start_join(room, *since) {
                events.extend(self.join(room, of_client(room).or(since), core));
            }
        }
        events
    }

    /// Returns the position from which a room is to be joined. `None`: it is joined already.
    fn start_join(&mut self, name: &str, since: Option<Position>) -> Option<Option<Position>> {
        let Some(index) = self.rooms.iter().position(|one| *one.name == *name) else { return Some(since) };
        if self.rooms[index].state != Join::Rejected {
            return None;
        }
        let rejected = self.rooms.swap_remove(index);
        Some(later(since, rejected.received))
    }

    /// The page is not subscribed to these any more.
    fn on_unsubscribed<'a>(&mut self, rooms: impl Iterator<Item = &'a str>, core: &mut dyn Core) -> Vec<RoomEvent> {
        let mut events = Vec::new();
        for name in rooms {
            let Some(index) = self.rooms.iter().position(|one| *one.name == *name) else { continue };
            let room = self.rooms.swap_remove(index);
            core.unsubscribe(self.settings.namespace, &self.topic(name), &self.settings.encoding);
            events.push(RoomEvent::Left(room.name));
        }
        events
    }

    fn topic(&self, room: &str) -> String {
        topic_of(self.settings.room_prefix, self.page, room)
    }

    fn join(&mut self, name: &str, since: Option<Position>, core: &mut dyn Core) -> Option<RoomEvent> {
        self.last += 1;
        let number = self.last;
        self.rooms.push(Room { name: name.into(), number, state: Join::Pending, received: since });
        let joined = core.subscribe(Subscribe {
            namespace: self.settings.namespace,
            room: &self.topic(name),
            credential: Some(&self.settings.joins.credential()),
            kept: None,
            since: since.map_or(Since::FirstJoin, Since::Position),
            encoding: &self.settings.encoding,
            request: RequestId { number: Some(number), part: RequestId::OF_PAGE },
        });
        match joined {
            Ok(Outcome::Ready(joined)) => self.on_joined(number, Ok(joined), core),
            // The connection is closed if the server is overloaded.
            Ok(Outcome::Pending | Outcome::Overloaded) => None,
            Err(error) => self.on_joined(number, Err(error), core),
        }
    }

    /// The join with this number is complete, or was rejected.
    pub(super) fn on_joined(
        &mut self,
        number: u64,
        result: Result<Joined, JoinError>,
        core: &mut dyn Core,
    ) -> Option<RoomEvent> {
        let room = self.rooms.iter_mut().find(|one| one.number == number)?;
        match result {
            Ok(Joined { recovery }) => {
                room.state = Join::Complete;
                room.received = recovery.and_then(|recovery| recovery.position).or(room.received);
            }
            Err(_) => room.state = Join::Rejected,
        }
        let name = room.name.clone();
        if result.is_err() {
            // Too many joins in a short time. The core has logged it.
            self.retry(core);
        }
        Some(RoomEvent::Joined(name, result))
    }

    /// The connection is about to be closed, or shows another page.
    pub(super) fn close(&self, core: &mut dyn Core) {
        let up_to = |room: &Room| {
            let delivered = match room.state {
                Join::Complete => core.delivered(self.settings.namespace, &self.topic(&room.name)),
                // What was delivered to other members waits for the join.
                Join::Pending | Join::Rejected => None,
            };
            later(room.received, delivered)
        };
        let received: Vec<Subscription> = self.rooms.iter().map(|room| (room.name.clone(), up_to(room))).collect();
        core.close_page(self.settings.namespace, received);
    }
}

/// The later of two positions. What was delivered last counts if they cannot be compared.
fn later(received: Option<Position>, delivered: Option<Position>) -> Option<Position> {
    match (received, delivered) {
        (Some(one), Some(other)) if one.epoch == other.epoch && one.offset > other.offset => Some(one),
        (one, other) => other.or(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encoding::Frame;
    use nodevent_protocol::topic::Topic;

    #[derive(Debug)]
    struct NoEncoding;

    impl Encoding for NoEncoding {
        fn publication(&self, text: &str, _position: Option<Position>) -> Frame {
            Frame::text(text)
        }

        fn gap(&self, _topic: Topic<'_>, _position: Position) -> Frame {
            Frame::text("")
        }
    }

    fn rooms() -> PageRooms {
        let settings = PageSettings {
            namespace: 0,
            room_prefix: "",
            joins: Arc::default(),
            encoding: Arc::new(NoEncoding),
            initial: 1,
            renew_interval: 1,
            first_renew_interval: 1,
        };
        PageRooms::new(&Arc::new(settings), PageDigest::of("key", "id"), 0)
    }

    fn room(state: Join, received: Option<Position>) -> Room {
        Room { name: "a".into(), number: 1, state, received }
    }

    #[test]
    fn a_rejected_join_is_repeated_from_its_position() {
        let at = Some(Position { epoch: 1, offset: 5 });
        let mut page = rooms();
        assert_eq!(page.start_join("a", at), Some(at));
        page.rooms.push(room(Join::Pending, at));
        assert_eq!(page.start_join("a", None), None);
        page.rooms[0].state = Join::Rejected;
        assert_eq!(page.start_join("a", None), Some(at), "the engine returns it once");
        assert!(page.rooms.is_empty());
    }

    #[test]
    fn a_client_may_ask_for_rooms_of_its_page_and_for_no_others() {
        let mut page = rooms();
        page.rooms.push(room(Join::Complete, None));
        page.rooms.push(Room { name: ITSELF.into(), ..room(Join::Complete, None) });
        assert!(page.credential("a").is_some());
        assert!(page.credential("b").is_none() && page.credential(ITSELF).is_none());
    }

    #[test]
    fn the_later_position_counts() {
        let at = |epoch, offset| Some(Position { epoch, offset });
        assert_eq!(later(at(1, 5), at(1, 3)), at(1, 5));
        assert_eq!(later(at(1, 3), at(1, 5)), at(1, 5));
        assert_eq!(later(at(1, 5), at(2, 3)), at(2, 3));
        assert_eq!((later(at(1, 5), None), later(None, at(1, 3)), later(None, None)), (at(1, 5), at(1, 3), None));
    }
}
