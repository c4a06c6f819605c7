//! The event loop: connects, answers what servers ask, and counts what is heard. One thread for all connections.

use crate::client_protocol::{Heard, Phase, Speaks, Who};
use crate::clock::{Clock, Nanos};
use crate::connection::Connection;
use crate::frames::{self, CLOSE, PING, TEXT};
use crate::stamp::Stamp;
use crate::tally::Tally;
use anyhow::{Context as _, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use nodevent_protocol::websocket::Opcode;
use socket2::SockRef;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::time::Duration;

/// Bytes taken by one read.
const READ: usize = 256 * 1024;
/// How long an answer to a join is waited for. Nanoseconds.
const PATIENCE: Nanos = 2_000_000_000;
/// What a slow neighbour's socket takes before it is full. Bytes.
const SLOW_BUFFER: usize = 4096;

/// What the generator is told.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) speaks: Speaks,
    pub(crate) address: SocketAddr,
    pub(crate) namespace: String,
    pub(crate) rooms: Vec<String>,
    /// A key for each room, where the server asks for one.
    pub(crate) keys: Vec<String>,
    pub(crate) connections: usize,
    /// How many of them stop reading once they are in their room.
    pub(crate) slow: usize,
    /// How many connects may be under way at a time.
    pub(crate) at_once: usize,
    /// Whether positions are kept, and connections that end come back.
    pub(crate) returns: bool,
}

/// All connections.
pub(crate) struct Generator {
    poll: Poll,
    settings: Settings,
    clock: Clock,
    connections: Vec<Connection>,
    pub(crate) tally: Tally,
    /// In their rooms now.
    pub(crate) joined: usize,
    /// Connects under way.
    under_way: usize,
    /// The first connection that has not begun yet.
    next: usize,
    /// When connections that ended come back.
    returning: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// Connections that ended without being asked to.
    pub(crate) ended: u64,
    /// Slow neighbours that the server has closed.
    pub(crate) slow_ended: u64,
    /// Returns of which the server said that nothing is missing, and the others.
    pub(crate) recovered: u64,
    pub(crate) not_recovered: u64,
    /// Joins that were asked for again.
    pub(crate) asked_again: u64,
    /// When to look for joins without an answer.
    look: Nanos,
    /// When the last connection came into its room.
    pub(crate) last_join: Nanos,
    buffer: Vec<u8>,
    /// Where the last stamp began in its frame.
    hint: usize,
    random: u64,
}

// === impl Generator ===

impl Generator {
    pub(crate) fn new(settings: Settings, clock: Clock) -> anyhow::Result<Self> {
        let rooms = settings.rooms.len();
        let connections = (0..settings.connections)
            .map(|index| Connection::new((index % rooms) as u32, index < settings.slow))
            .collect();
        Ok(Self {
            poll: Poll::new()?,
            settings,
            clock,
            connections,
            tally: Tally::new()?,
            joined: 0,
            under_way: 0,
            next: 0,
            returning: BinaryHeap::new(),
            ended: 0,
            slow_ended: 0,
            recovered: 0,
            not_recovered: 0,
            asked_again: 0,
            look: 0,
            last_join: 0,
            buffer: vec![0; READ],
            hint: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        })
    }

    /// Connects all and waits until they are in their rooms.
    pub(crate) fn connect_all(&mut self, patience: Duration) -> anyhow::Result<()> {
        let wanted = self.connections.len();
        if !self.run(patience, |generator| generator.joined == wanted)? {
            bail!("only {} of {wanted} connections came into their rooms within {patience:?}", self.joined);
        }
        Ok(())
    }

    /// Hears on until `done` says so, or for `patience`; answers whether it was done.
    pub(crate) fn run(&mut self, patience: Duration, done: impl Fn(&Self) -> bool) -> anyhow::Result<bool> {
        let until = self.clock.now() + patience.as_nanos() as Nanos;
        let mut events = Events::with_capacity(1024);
        loop {
            self.begin_some()?;
            let now = self.clock.now();
            if self.under_way > 0 && now >= self.look {
                self.ask_again(now);
                self.look = now + PATIENCE;
            }
            if done(self) {
                return Ok(true);
            }
            if now >= until {
                return Ok(false);
            }
            // Short, since the publisher's end is not an event of a socket.
            self.poll.poll(&mut events, Some(Duration::from_millis(5))).or_else(|error| match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            })?;
            for event in &events {
                self.ready(event.token().0)?;
            }
        }
    }

    /// Lets the slow neighbours read what there is, so that it shows which of them the server has closed.
    pub(crate) fn wake_slow(&mut self) -> anyhow::Result<()> {
        for index in 0..self.connections.len() {
            if self.connections[index].slow {
                self.connections[index].reads = true;
                self.ready(index)?;
            }
        }
        Ok(())
    }

    /// How many are in each room, but for slow neighbours.
    pub(crate) fn members(&self) -> Vec<u64> {
        let mut members = vec![0; self.settings.rooms.len()];
        for connection in self.connections.iter().filter(|one| !one.slow) {
            members[connection.room as usize] += 1;
        }
        members
    }

    /// How many of those have heard all publications of their room.
    pub(crate) fn complete(&self, emitted: &[u32]) -> usize {
        self.connections.iter().filter(|one| !one.slow && one.expects == emitted[one.room as usize]).count()
    }

    fn begin_some(&mut self) -> anyhow::Result<()> {
        while self.under_way < self.settings.at_once && self.next < self.connections.len() {
            self.begin(self.next)?;
            self.next += 1;
        }
        let now = self.clock.now();
        while let Some(&Reverse((at, index))) = self.returning.peek()
            && at <= now
            && self.under_way < self.settings.at_once
        {
            self.returning.pop();
            self.begin(index)?;
        }
        Ok(())
    }

    fn begin(&mut self, index: usize) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.settings.address).context("cannot open a socket")?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_nodelay(true)?;
        // Ends with a reset, so that a run leaves no ports behind that wait.
        socket.set_linger(Some(Duration::ZERO))?;
        let connection = &mut self.connections[index];
        if connection.slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        connection.stream = Some(stream);
        connection.phase = Phase::Dialling;
        connection.began = self.clock.now();
        connection.partial.clear();
        self.under_way += 1;
        Ok(())
    }

    /// Asks again for joins that no answer came to: what a person would do by loading the page again.
    fn ask_again(&mut self, now: Nanos) {
        for connection in &mut self.connections {
            if connection.phase != Phase::Joining || connection.began + PATIENCE > now {
                continue;
            }
            if let Some(join) = self.settings.speaks.join(&who(&self.settings, connection)) {
                self.asked_again += 1;
                drop(connection.say(Opcode::Text, join.as_bytes()));
            }
        }
    }

    fn ready(&mut self, index: usize) -> anyhow::Result<()> {
        if self.connections[index].phase == Phase::Dialling && !self.dialled(index)? {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let connection = &mut self.connections[index];
            if connection.phase == Phase::Joined && !connection.reads {
                break;
            }
            let Some(stream) = &mut connection.stream else { break };
            match stream.read(&mut buffer) {
                Ok(0) => {
                    self.end(index)?;
                    break;
                }
                Ok(count) => {
                    self.heard(index, &buffer[..count])?;
                    // Less than asked for: there was no more.
                    if count < buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.end(index)?;
                    break;
                }
            }
        }
        self.buffer = buffer;
        Ok(())
    }

    /// A socket that was being connected is reported; answers whether it stands.
    fn dialled(&mut self, index: usize) -> anyhow::Result<bool> {
        let Some(stream) = &self.connections[index].stream else { return Ok(false) };
        if stream.take_error()?.is_some() {
            self.end(index)?;
            return Ok(false);
        }
        if stream.peer_addr().is_err() {
            return Ok(false);
        }
        let speaks = self.settings.speaks;
        let host = self.settings.address.to_string();
        let request = speaks.request(&host, &who(&self.settings, &self.connections[index]));
        let connection = &mut self.connections[index];
        connection.phase = if request.is_some() { Phase::Upgrading } else { speaks.after_request() };
        if let Some(request) = request
            && connection.write(request.as_bytes()).is_err()
        {
            self.end(index)?;
        }
        Ok(true)
    }

    /// Bytes came.
    fn heard(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let now = self.clock.now();
        let partial = std::mem::take(&mut self.connections[index].partial);
        if partial.is_empty() {
            let rest = self.frames(index, bytes, now)?;
            self.connections[index].partial.extend_from_slice(rest);
        } else {
            let mut whole = partial;
            whole.extend_from_slice(bytes);
            let rest = self.frames(index, &whole, now)?.len();
            whole.drain(..whole.len() - rest);
            self.connections[index].partial = whole;
        }
        Ok(())
    }

    /// Takes whole frames; answers what is left.
    fn frames<'a>(&mut self, index: usize, mut bytes: &'a [u8], now: Nanos) -> anyhow::Result<&'a [u8]> {
        if self.connections[index].phase == Phase::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(bytes) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                if self.settings.returns {
                    self.end(index)?;
                    return Ok(&[]);
                }
                bail!("the handshake was refused: {}", String::from_utf8_lossy(&bytes[..end]));
            }
            bytes = &bytes[end + 4..];
            self.now_in(index, self.settings.speaks.after_request());
        }
        while let Some(frame) = frames::next(&mut bytes) {
            match frame.opcode {
                PING => drop(self.connections[index].say(Opcode::Pong, frame.payload)),
                CLOSE => {
                    self.end(index)?;
                    return Ok(&[]);
                }
                TEXT => self.text(index, frame.payload, now)?,
                _ => {}
            }
        }
        Ok(bytes)
    }

    fn text(&mut self, index: usize, payload: &[u8], now: Nanos) -> anyhow::Result<()> {
        let Some(stamp) = Stamp::find(payload, &mut self.hint) else { return self.control(index, payload) };
        let connection = &mut self.connections[index];
        if connection.slow {
            return Ok(());
        }
        self.tally.count(stamp, now, &mut connection.expects);
        if self.settings.returns
            && let Some(position) = position(payload)
        {
            connection.position = Some(position.into());
        }
        Ok(())
    }

    /// A text that is no delivery.
    fn control(&mut self, index: usize, payload: &[u8]) -> anyhow::Result<()> {
        let connection = &self.connections[index];
        let mut answer = String::new();
        let heard =
            self.settings.speaks.hear(connection.phase, payload, &who(&self.settings, connection), &mut answer);
        let returned = connection.position.is_some();
        if !answer.is_empty() && self.connections[index].say(Opcode::Text, answer.as_bytes()).is_err() {
            return self.end(index);
        }
        match heard {
            Heard::Nothing => Ok(()),
            Heard::Refused => bail!("the server refused a connection: {}", String::from_utf8_lossy(payload)),
            Heard::Now(phase) => {
                if phase == Phase::Joined && returned {
                    let recovered = memchr::memmem::find(payload, br#""recovered":true"#).is_some();
                    *(if recovered { &mut self.recovered } else { &mut self.not_recovered }) += 1;
                }
                self.now_in(index, phase);
                Ok(())
            }
        }
    }

    fn now_in(&mut self, index: usize, phase: Phase) {
        let connection = &mut self.connections[index];
        if phase == Phase::Joined && connection.phase != Phase::Joined {
            self.joined += 1;
            self.under_way -= 1;
            self.last_join = self.clock.now();
        }
        connection.phase = phase;
    }

    /// A connection is over; where connections return, it will after a second, give or take a half.
    fn end(&mut self, index: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        let phase = std::mem::replace(&mut connection.phase, Phase::Away);
        connection.stream = None;
        match phase {
            Phase::Away => return Ok(()),
            Phase::Joined => self.joined -= 1,
            _ => self.under_way -= 1,
        }
        if connection.slow {
            self.slow_ended += 1;
            return Ok(());
        }
        self.ended += 1;
        if self.settings.returns {
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pause = 500_000_000 + (self.random >> 33) % 1_000_000_000;
            self.returning.push(Reverse((self.clock.now() + pause, index)));
        } else if phase != Phase::Joined {
            bail!("the server ended a connection while it was {phase:?}");
        }
        Ok(())
    }
}

fn who<'a>(settings: &'a Settings, connection: &'a Connection) -> Who<'a> {
    let room = connection.room as usize;
    Who {
        namespace: &settings.namespace,
        room: &settings.rooms[room],
        key: settings.keys.get(room).map(String::as_str),
        since: connection.position.as_deref(),
    }
}

/// The position that stands at the end of a delivery: `…,"position":"epoch:offset"}]`.
fn position(payload: &[u8]) -> Option<&str> {
    let mark = br#""position":""#;
    let start = memchr::memmem::rfind(payload, mark)? + mark.len();
    let length = memchr::memchr(b'"', &payload[start..])?;
    std::str::from_utf8(&payload[start..start + length]).ok()
}
