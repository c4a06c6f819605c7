//! A shard: one thread that owns its connections and their rooms outright.
//!
//! The thread waits on its sockets and its inbox, and does everything for its connections without a lock and
//! without waking a task. Everybody else speaks to it through [`Shards`], whose inboxes are bounded.
//!
//! In reading order: [`inbox`] (what may be asked of a shard), `slot` (what it keeps per connection), `session`
//! (the life of a connection), `socket`, `polling` and `listening` (the transports), `upgrade` (from one to the other),
//! `pending_acks` (acknowledgements owed to us), `delivery` (from a publication to its members), `recovery` and `join_buffers` (from a
//! join to what was missed, through the [`keeper`]), `timers`.

mod delivery;
pub mod events;
pub mod inbox;
mod join_buffers;
pub mod keeper;
mod listening;
mod operations;
mod pending_acks;
mod polling;
mod rate;
mod recovery;
mod session;
mod sid;
mod slot;
mod socket;
mod stream;
mod timers;
mod upgrade;

pub use inbox::{Attach, Listen, Opened, PollAnswer, PostAnswer, Purpose, Shards, ToShard, UpgradeAnswer};
pub use sid::Sid;
pub use stream::Stream;

use crate::close_reason::CloseReason;
use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::namespace::Namespaces;
use delivery::Delivery;
use inbox::Inbox;
use keeper::RoomHistory;
use mio::{Events, Poll, Token};
use nodevent_protocol::engine_io::session::{Millis, Timing};
use slab::Slab;
use slot::Slot;
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};
use timers::Timers;

/// The token of the inbox's waker; sockets have their slot's number plus one.
const WAKER: Token = Token(0);
/// Readiness events taken at a time.
const EVENTS: usize = 1024;
/// The read buffer, one per shard: no connection holds one of its own. Bytes.
const READ_BUFFER: usize = 64 * 1024;
/// Messages taken from the inbox before sockets and timers have their turn again.
const INBOX_TURN: usize = 1024;

/// What a shard is told at start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Heartbeat and upgrade times.
    pub timing: Timing,
    /// From the open packet to the first namespace. Milliseconds.
    pub connect_timeout: Millis,
    /// How long a socket may take nothing while something waits for it. Milliseconds.
    pub write_stall: Millis,
    /// The largest message a browser may send. Bytes.
    pub max_payload: usize,
    /// The bound of every outbox. Bytes.
    pub outbox: usize,
    /// PollQueue a connection may send per second, in the long run.
    pub packets_per_second: u32,
    /// Joins a connection may ask for per second, in the long run.
    pub joins_per_second: u32,
    /// What stands above Engine.IO.
    pub above: Above,
}

/// What stands above Engine.IO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Above {
    /// Socket.IO and the namespaces' dialects.
    SocketIo,
    /// Every message is sent back: what the official test suite of Engine.IO asks for.
    Echo {
        /// Waited between the answer to a WebSocket handshake and the open packet, by the whole shard: the suite's
        /// client hears only the first of two things that come in one read.
        pause: Duration,
    },
}

/// The state of one shard's thread.
struct Shard {
    number: u8,
    poll: Poll,
    inbox: Arc<Inbox>,
    slots: Slab<Slot>,
    hub: Hub,
    delivery: Delivery,
    timers: Timers,
    namespaces: Arc<Namespaces>,
    /// What keeps the rooms' history; set before the first connection comes.
    keeper: Arc<OnceLock<Arc<dyn RoomHistory>>>,
    settings: Settings,
    metrics: Arc<Metrics>,
    /// When the shard began: its clock's zero.
    began: Instant,
    /// Now, read once per turn. Milliseconds since `began`.
    now: Millis,
    /// Grows by one per slot taken, so that a timer or a late answer cannot hit a later tenant.
    generation: u32,
    /// Sockets that may have more to read, though they will not be reported again.
    unread: VecDeque<u32>,
    /// Questions to the keeper whose answers have not come yet.
    asked: usize,
    /// Connections that a delivery found to be at their bound, to be ended after it.
    doomed: Vec<(u32, CloseReason)>,
    /// Connections on long-polling that a delivery put something before.
    polls: Vec<u32>,
    /// The last connection that was closed, by its generation, for the post that was the cause.
    last_closed: (u32, Option<CloseReason>),
    /// The read buffer.
    scratch: Vec<u8>,
    /// Where small frames are encoded.
    out: Vec<u8>,
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
    keeper: &Arc<OnceLock<Arc<dyn RoomHistory>>>,
    metrics: &Arc<Metrics>,
) -> io::Result<(Shards, Vec<thread::JoinHandle<()>>)> {
    let (mut inboxes, mut threads) = (Vec::new(), Vec::new());
    for number in 0..count {
        let poll = Poll::new()?;
        let inbox = Arc::new(Inbox::new(mio::Waker::new(poll.registry(), WAKER)?));
        inboxes.push(Arc::clone(&inbox));
        let shard = Shard {
            number: number as u8,
            poll,
            inbox,
            slots: Slab::new(),
            hub: Hub::default(),
            delivery: Delivery::default(),
            timers: Timers::default(),
            namespaces: Arc::clone(namespaces),
            keeper: Arc::clone(keeper),
            settings: settings.clone(),
            metrics: Arc::clone(metrics),
            began: Instant::now(),
            now: 0,
            generation: 0,
            unread: VecDeque::new(),
            asked: 0,
            doomed: Vec::new(),
            polls: Vec::new(),
            last_closed: (0, None),
            scratch: vec![0; READ_BUFFER],
            out: Vec::new(),
            stopping: false,
        };
        threads.push(thread::Builder::new().name(format!("shard-{number}")).spawn(move || shard.run())?);
    }
    Ok((Shards::new(inboxes), threads))
}

// === impl Shard ===

impl Shard {
    fn run(mut self) {
        let mut events = Events::with_capacity(EVENTS);
        while !self.stopping {
            let patience = self.patience();
            if let Err(error) = self.poll.poll(&mut events, patience)
                && error.kind() != io::ErrorKind::Interrupted
            {
                tracing::error!(shard = self.number, %error, "waiting for sockets failed; the shard stops");
                return;
            }
            self.inbox.is_awake();
            self.now = self.began.elapsed().as_millis() as Millis;
            for event in &events {
                if event.token() != WAKER {
                    let slot = (event.token().0 - 1) as u32;
                    self.socket_ready(slot, event.is_readable(), event.is_read_closed(), event.is_writable());
                }
            }
            self.read_leftovers();
            self.take_inbox();
            self.deliver_turn();
            self.run_timers();
        }
    }

    /// How long the thread may sleep: not at all while there is work, else until the next timer.
    fn patience(&self) -> Option<Duration> {
        if !self.unread.is_empty() || self.delivery.has_work() || !self.inbox.may_sleep() {
            return Some(Duration::ZERO);
        }
        let now = self.began.elapsed().as_millis() as Millis;
        // One more, since the clock is cut to whole milliseconds.
        let timer = self.timers.next().map(|at| Duration::from_millis(at.saturating_sub(now) + 1));
        let rest = self.delivery.next_rest().map(|at| at.saturating_duration_since(Instant::now()));
        timer.into_iter().chain(rest).min()
    }

    fn take_inbox(&mut self) {
        for _ in 0..INBOX_TURN {
            let Some(message) = self.inbox.take() else { return };
            match message {
                ToShard::Publication(publication) => self.accept_publication(&publication),
                ToShard::Answer(answer) => self.answered_later(*answer),
                ToShard::Attach(attach) => self.attach(*attach),
                ToShard::Open { answer } => self.open_polling(answer),
                ToShard::Find { sid, answer } => drop(answer.send(self.knows(sid))),
                ToShard::UpgradeBegins { sid, answer } => self.upgrade_begins(sid, answer),
                ToShard::UpgradeGone { sid } => self.upgrade_gone(sid),
                ToShard::Poll { sid, answer } => self.poll_begins(sid, answer),
                ToShard::PollGone { sid } => self.poll_gone(sid),
                ToShard::PostBegins { sid, answer } => self.post_begins(sid, answer),
                ToShard::Post { sid, body, answer } => self.post(sid, &body, answer),
                ToShard::PostGone { sid, ends } => self.post_gone(sid, ends),
                ToShard::Listen(listen) => self.listen(*listen),
                ToShard::ListenerGone { sid } => self.listener_gone(sid),
                ToShard::Drain { spread } => self.drain(spread),
                ToShard::Stop => self.stop(),
            }
        }
    }

    /// Spreads the end of all connections over `spread`, after telling those in a namespace how long to stay away.
    fn drain(&mut self, spread: Millis) {
        let all: Vec<u32> = self.slots.iter().map(|(slot, _)| slot as u32).collect();
        let count = all.len().max(1) as u64;
        for (index, slot) in all.into_iter().enumerate() {
            let at = self.now + spread * index as u64 / count;
            if let Some(session) = self.session_mut(slot) {
                session.leave_at = at;
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
