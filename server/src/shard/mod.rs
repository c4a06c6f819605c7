//! A shard: one thread that owns its connections and their rooms.
//!
//! The thread waits on its sockets and its inbox, and serves its connections without a task to wake. All other threads
//! reach it through [`Shards`], whose inboxes are bounded. What a connection's bytes mean is decided by its
//! [`Protocol`]; the shard does not know any.
//!
//! In reading order: [`message`] (what a shard can be asked to do), `inbox` and `handle` (how it is asked), `slot` (the
//! state of a connection), `session` (its life), `connection` (what a protocol can do), `socket`, `polling`
//! (with `poll_response`), `streaming` and `body_stream` (the transports), `upgrade` (from polling to a WebSocket),
//! `delivery` and `delivery_queue` (from a publication to its members), `audience` (all connections) and `received`
//! (one copy for each), `concatenator` (one write for many frames), `collected` (one write for many small messages), `encodings`, `joins` and `join_buffers` (from a
//! join to its recovery), `pending_joins`, `pending_identities`, `mailbox` (messages for a user), `roomless`,
//! `buffers` (what one client may take from others), `timers`, `closes`, `connected` (what hooks
//! report), `identify` and `identities` (who a connection is), `expiries` (memberships that end with their key),
//! `revocations`, `pages` (subscriptions of pages), `calls` (requests to the application), `cable` and `refreshes` (for
//! Action Cable).

mod audience;
mod body_stream;
mod buffers;
mod cable;
mod calls;
mod claims;
mod closes;
mod collected;
mod concatenator;
mod connected;
mod connection;
mod delivery;
mod delivery_queue;
mod encodings;
mod expiries;
mod handle;
mod identify;
mod identities;
mod inbox;
mod join_buffers;
mod joins;
mod mailbox;
pub mod message;
mod pages;
mod pending_identities;
mod pending_joins;
mod poll_response;
mod polling;
mod presence;
mod received;
mod refreshes;
mod revocations;
mod roomless;
mod session;
mod slot;
mod socket;
mod stream;
mod streaming;
mod timers;
mod tracked;
mod upgrade;

pub use handle::{Reservation, Shards};
pub use inbox::{Busy, DeferredWakes};
pub use message::ToShard;
pub use stream::Stream;

use crate::address_limits::AddressLimits;
use crate::byte_budget::ByteBudget;
use crate::capability::Engines;
use crate::client::Client;
use crate::close_reason::CloseReason;
use crate::deflate::{Deflate, Inflater};
use crate::fair_queue::FairQueue;
use crate::fair_shares::FairShares;
use crate::histogram::ShardTimes;
use crate::history::RecoveryReply;
use crate::hub::Hub;
use crate::interest::Interest;
use crate::metrics::Metrics;
use crate::namespace::Namespaces;
#[cfg(doc)]
use crate::protocol::Protocol;
use crate::protocol::{Millis, NEVER};
use crate::rate_limit::RateLimit;
use buffers::BufferScan;
use closes::Closes;
use collected::Collected;
use concatenator::Concatenator;
use connected::Connected;
use delivery_queue::DeliveryQueue;
use encodings::Encodings;
use hashbrown::HashMap;
use inbox::Inbox;
use joins::PendingJoin;
use mailbox::ShardMailboxes;
use mio::{Events, Poll, Token};
use pages::ShardPages;
use pending_identities::PendingIdentities;
use pending_joins::PendingJoins;
use presence::Present;
use received::Received;
use refreshes::Refreshes;
use revocations::Revoked;
use roomless::{Roomless, RoomlessLimits};
use slab::Slab;
use slot::Slot;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use timers::Timers;

/// The token of the inbox's waker. A socket's token is its slot plus one.
const WAKER: Token = Token(0);
/// Readiness events taken at a time.
const EVENTS: usize = 1024;
/// The read buffer, one per shard: no connection has one of its own. Bytes.
const READ_BUFFER: usize = 16 * 1024;
/// Messages taken from the inbox before sockets and timers have their turn again.
const INBOX_TURN: usize = 1024;
/// Time for replies before requests, publications, sockets and timers have their turn again: a recovery may be as large as
/// a send buffer.
const REPLIES_TURN: Duration = Duration::from_millis(2);
/// Time for requests before publications, sockets and timers have their turn again.
const REQUESTS_TURN: Duration = Duration::from_millis(2);
/// Time for reads: of sockets that wait for their turn, and again of sockets that were reported now. What is left has
/// its turn later; see [`crate::fair_queue`].
const READ_TURN: Duration = Duration::from_millis(1);

/// The settings of all shards.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Maximum time for which a socket may accept nothing while data is queued. Milliseconds.
    pub write_timeout: Millis,
    /// The largest message a client may send. Bytes.
    pub max_message_size: usize,
    /// The limit of every send buffer. Bytes.
    pub send_buffer: usize,
    /// The limit of all send buffers together. Bytes.
    pub send_buffers_total: usize,
    /// What responses to polls hold that are not written. It counts towards `send_buffers_total`.
    pub poll_responses: Arc<ByteBudget>,
    /// Messages that a connection may send per second, on average.
    pub messages_per_second: u32,
    /// Joins that a connection may request per second, on average. It may always request as many at once as it may be in
    /// rooms, so that it can return to all of them after a lost connection.
    pub joins_per_second: u32,
    /// Rooms that a connection may be in.
    pub max_rooms_per_connection: u32,
    /// Memberships of all connections: one for each room of each connection.
    pub max_memberships: usize,
    /// Bytes that a connection may send per second, on average.
    pub bytes_per_second: u32,
    /// Connections of one address that have joined no room.
    pub max_roomless_per_address: usize,
    /// Connections that have joined no room.
    pub max_roomless: usize,
    /// Compresses publications for connections that accept it. `None`: they are not compressed.
    pub deflate: Option<Arc<Deflate>>,
    /// The counts of all addresses.
    pub addresses: Arc<AddressLimits>,
}

/// The state of one shard's thread.
struct Shard {
    number: u8,
    poll: Poll,
    inbox: Arc<Inbox>,
    /// Requests of the inbox that wait for the turns of their clients.
    requests: FairQueue<Client, ToShard>,
    slots: Slab<Slot>,
    /// Connections in `slots`. The others are probes, and sockets that are closing.
    sessions: usize,
    hub: Hub,
    encodings: Encodings,
    concatenator: Concatenator,
    delivery: DeliveryQueue,
    /// Refreshes of Turbo that wait.
    refreshes: Refreshes,
    timers: Timers,
    namespaces: Arc<Namespaces>,
    engines: Arc<Engines>,
    settings: Settings,
    metrics: Arc<Metrics>,
    times: Arc<ShardTimes>,
    /// When the shard started: its clock's zero.
    started: Instant,
    /// Now, read once per turn. Milliseconds since `started`.
    now: Millis,
    /// Grows with every slot taken and every join, so that a timer or a late reply cannot reach a later occupant.
    generation: u32,
    /// Sockets that may have more to read, though they will not be reported again.
    read_again: FairQueue<Client, u32>,
    /// Who has received which event of those that were published to several targets.
    received: Received,
    /// Joins whose authorization or recovery has not arrived.
    pending_joins: PendingJoins,
    /// Recoveries that were ready when it was their turn. Each is one of `pending_joins`, which have a limit.
    ready_recoveries: VecDeque<RecoveryReply>,
    /// The mailboxes of its connections' users.
    mailboxes: ShardMailboxes,
    /// The pages of its connections.
    pages: ShardPages,
    /// Calls of each client that the application has not replied to.
    calls_pending: FairShares,
    /// Connections that wait for a decision about who they are.
    pending_identities: PendingIdentities,
    /// Revocations that are applied at the end of a turn.
    revoked: Vec<Revoked>,
    /// The memberships of all connections.
    memberships: FairShares,
    /// Slots and generations of probes that are closing, or were.
    closing_probes: VecDeque<(u32, u32)>,
    /// Who is present in which room.
    present: Present,
    connected: Connected,
    /// Connections that have joined no room.
    roomless: Roomless,
    roomless_limits: RoomlessLimits,
    buffer_scan: BufferScan,
    /// Joins whose authorization has not arrived, by their id.
    authorizations_pending: HashMap<u32, PendingJoin>,
    /// Connections that are about to be closed.
    to_close: Closes,
    /// Connections on long-polling that a delivery queued something for.
    polls_to_answer: Vec<u32>,
    /// What is about to be written to one connection.
    collected: Collected,
    /// The read buffer.
    read_buffer: Vec<u8>,
    /// The buffer in which small frames are encoded.
    encode_buffer: Vec<u8>,
    /// Inflates what clients have compressed. `None`: no client has.
    inflater: Option<Box<Inflater>>,
    stopping: bool,
}

/// Starts `count` shards.
///
/// # Errors
/// The operating system refuses a thread or an epoll instance.
pub fn start(
    count: usize,
    settings: &Settings,
    namespaces: &Arc<Namespaces>,
    engines: &Arc<Engines>,
    metrics: &Arc<Metrics>,
) -> io::Result<(Shards, Vec<thread::JoinHandle<()>>)> {
    let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
    let interest = Arc::new(Interest::new(count));
    for number in 0..count {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), WAKER)?, Arc::clone(metrics)));
        inboxes.push(Arc::clone(&inbox));
        let shard = Shard {
            number: number as u8,
            poll,
            inbox,
            requests: FairQueue::default(),
            slots: Slab::new(),
            sessions: 0,
            hub: Hub::new(Arc::clone(&interest), number as u8),
            encodings: Encodings::default(),
            concatenator: Concatenator::default(),
            delivery: DeliveryQueue::default(),
            refreshes: Refreshes::default(),
            timers: Timers::default(),
            namespaces: Arc::clone(namespaces),
            engines: Arc::clone(engines),
            settings: settings.clone(),
            metrics: Arc::clone(metrics),
            times: metrics.add_shard(),
            started: Instant::now(),
            now: 0,
            generation: 0,
            read_again: FairQueue::default(),
            received: Received::default(),
            pending_joins: PendingJoins::default(),
            ready_recoveries: VecDeque::new(),
            mailboxes: ShardMailboxes::default(),
            pages: ShardPages::default(),
            calls_pending: FairShares::new(calls::MAX_PENDING),
            pending_identities: PendingIdentities::default(),
            revoked: Vec::new(),
            memberships: FairShares::new(settings.max_memberships.div_ceil(count)),
            closing_probes: VecDeque::new(),
            present: Present::default(),
            connected: Connected::default(),
            roomless: Roomless::default(),
            roomless_limits: settings.roomless_limits(count),
            buffer_scan: BufferScan::new(settings.send_buffers_total.div_ceil(count), count),
            authorizations_pending: HashMap::new(),
            to_close: Closes::new(),
            polls_to_answer: Vec::new(),
            collected: Collected::default(),
            read_buffer: vec![0; READ_BUFFER],
            encode_buffer: Vec::new(),
            inflater: None,
            stopping: false,
        };
        threads.push(thread::Builder::new().name(format!("shard-{number}")).spawn(move || shard.run())?);
    }
    Ok((Shards::new(inboxes, interest), threads))
}

// === impl Settings ===

impl Settings {
    fn message_rate(&self) -> RateLimit {
        RateLimit::new(self.messages_per_second, 0)
    }

    fn join_rate(&self) -> RateLimit {
        RateLimit::new(self.joins_per_second, self.max_rooms_per_connection)
    }

    /// It may always send the largest message, with the frames around it.
    fn byte_rate(&self) -> RateLimit {
        let burst = u32::try_from(2 * self.max_message_size).unwrap_or(u32::MAX);
        RateLimit::with_burst(self.bytes_per_second, burst.max(self.bytes_per_second))
    }

    /// The share of one of `shards`.
    fn roomless_limits(&self, shards: usize) -> RoomlessLimits {
        RoomlessLimits {
            per_client: self.max_roomless_per_address.div_ceil(shards),
            total: self.max_roomless.div_ceil(shards),
        }
    }
}

// === impl Shard ===

impl Shard {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopping {
            let timeout = self.poll_timeout();
            if let Err(error) = self.poll.poll(&mut events, timeout)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(shard = self.number, %error, "waiting for sockets failed; the shard stops");
                return;
            }
            self.inbox.mark_awake();
            self.now = self.started.elapsed().as_millis() as Millis;
            self.read_leftovers();
            self.take_events(&events);
            self.take_inbox();
            self.apply_revocations();
            self.request_overdue_recoveries();
            self.complete_ready_joins();
            self.serve_mailboxes();
            self.follow_changes();
            self.deliver();
            self.send_refreshes();
            self.received.expire(self.now);
            self.scan_buffers();
            self.run_timers();
            self.run_closes();
            self.inbox.release(self.delivery.take_released());
        }
    }

    /// Maximum time for which the thread may sleep: zero while there is work, otherwise the time until the next timer.
    fn poll_timeout(&self) -> Option<Duration> {
        let has_work = !self.read_again.is_empty()
            || !self.requests.is_empty()
            || !self.ready_recoveries.is_empty()
            || self.pages.are_behind()
            || self.delivery.has_work()
            || !self.to_close.is_empty()
            || self.timers.next().is_some_and(|at| at <= self.now)
            || self.refreshes.next().is_some_and(|at| at <= self.now);
        if has_work || !self.inbox.prepare_to_sleep() {
            return Some(Duration::ZERO);
        }
        let now = self.started.elapsed().as_millis() as Millis;
        // Add 1 ms because the clock is rounded down.
        let timers =
            self.timers.next().into_iter().chain(self.buffer_scan.due()).chain(self.pending_joins.next_overdue());
        let timers = timers.chain(self.refreshes.next());
        let timers = timers.chain(Some(self.mailboxes.due()).filter(|due| *due != NEVER));
        let timer = timers.min().map(|at| Duration::from_millis(at.saturating_sub(now) + 1));
        let cooldown = self.delivery.next_cooldown_end().map(|at| at.saturating_duration_since(Instant::now()));
        timer.into_iter().chain(cooldown).min()
    }

    /// Serves the sockets that the operating system reports, and reads for as long as a turn lasts.
    fn take_events(&mut self, events: &Events) {
        let (began, mut may_read) = (Instant::now(), true);
        for event in events {
            if event.token() == WAKER {
                continue;
            }
            let slot = (event.token().0 - 1) as u32;
            if event.is_writable() {
                self.flush(slot);
            }
            if !event.is_readable() && !event.is_read_closed() {
                continue;
            }
            self.on_readable(slot, event.is_read_closed(), may_read);
            may_read = may_read && began.elapsed() < READ_TURN;
        }
    }

    fn take_inbox(&mut self) {
        let mut replies_began = None;
        for _ in 0..INBOX_TURN {
            let Some(message) = self.inbox.take_message() else { break };
            let is_publication = matches!(message, ToShard::Broadcast(_));
            if is_publication {
                self.on_message_taken(message);
                continue;
            }
            let began = *replies_began.get_or_insert_with(Instant::now);
            self.on_message_taken(message);
            if began.elapsed() >= REPLIES_TURN {
                break;
            }
        }
        let began = Instant::now();
        while let Some(request) = self.inbox.take_request(&mut self.requests) {
            self.on_message_taken(request);
            if began.elapsed() >= REQUESTS_TURN {
                return;
            }
        }
    }

    fn on_message_taken(&mut self, message: ToShard) {
        match message {
            ToShard::Broadcast(broadcast) => self.accept_broadcast(&broadcast),
            ToShard::Recovered(reply) => self.on_recovery_reply(*reply),
            ToShard::Present(reply) => self.on_presence_reply(*reply),
            ToShard::Authorized(reply) => self.on_authorize_reply(reply),
            ToShard::MailboxNotice(broadcast) => self.on_mailbox_notice(broadcast),
            ToShard::MailboxNoticesLost { namespace } => self.on_mailbox_notices_lost(namespace),
            ToShard::MailboxReply(reply) => self.on_mailbox_reply(*reply),
            ToShard::PageNotice(broadcast) => self.on_page_notice(&broadcast),
            ToShard::PageNoticesLost { namespace } => self.on_page_notices_lost(namespace),
            ToShard::PageReply(reply) => self.on_page_reply(*reply),
            ToShard::Called(reply) => self.on_called(*reply),
            ToShard::Identified(reply) => self.on_identity_reply(reply),
            ToShard::Claimed(reply) => self.on_claim_reply(reply),
            ToShard::Cable(reply) => self.on_cable_reply(reply),
            ToShard::Revoke { namespace, revocations } => self.revoked.push((namespace, revocations)),
            ToShard::Attach(attach) => self.attach(*attach),
            ToShard::Polling(request) => self.on_polling_request(request),
            ToShard::Upgrade(request) => self.on_upgrade_request(request),
            ToShard::Stream(request) => self.on_stream_request(request),
            ToShard::Drain { spread } => self.drain(spread),
            ToShard::Stop => self.stop(),
            ToShard::Settings(settings) => self.set_settings(&settings),
        }
    }

    /// Uses these settings from now on. What clients hold already stays theirs.
    fn set_settings(&mut self, settings: &Settings) {
        let shards = self.buffer_scan.shards();
        self.memberships.set_max(settings.max_memberships.div_ceil(shards));
        self.roomless_limits = settings.roomless_limits(shards);
        self.settings = settings.clone();
    }

    /// Spreads the closing of all connections over `spread`.
    fn drain(&mut self, spread: Millis) {
        let all: Vec<u32> = self.slots.iter().map(|(slot, _)| slot as u32).collect();
        let count = all.len().max(1) as u64;
        for (index, slot) in all.into_iter().enumerate() {
            let at = self.now + spread * index as u64 / count;
            if let Some(session) = self.session_mut(slot) {
                session.drain_at = at;
            }
            self.arm(slot);
        }
    }

    fn stop(&mut self) {
        let all: Vec<u32> = self.slots.iter().map(|(slot, _)| slot as u32).collect();
        for slot in all {
            self.close(slot, CloseReason::Draining);
        }
        self.stopping = true;
    }
}
