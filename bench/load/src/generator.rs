//! The event loop, in one thread for all connections: it connects, answers the servers and counts deliveries.

use crate::client_protocol::{ClientProtocol, Outcome, Phase, Target};
use crate::clock::{Clock, Nanos};
use crate::connection::Connection;
use crate::frames::{self, CLOSE, PING, TEXT};
use crate::mailbox::{self, MailboxTally};
use crate::presence::{self, Change, PresenceTally};
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

/// Bytes of one read.
const READ_SIZE: usize = 256 * 1024;
/// Time for the acknowledgement of a join, after which it is sent again. Nanoseconds.
const TIMEOUT: Nanos = 2_000_000_000;
/// Receive buffer of a slow client's socket. Bytes.
const SLOW_BUFFER: usize = 4096;

/// The configuration of the generator.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) protocol: ClientProtocol,
    /// Addresses of the servers. A connection has the one at its index, in turn.
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) namespace: String,
    pub(crate) rooms: Vec<String>,
    /// A key for each room, if the server requires keys.
    pub(crate) keys: Vec<String>,
    /// A token for each connection, if the server identifies users.
    pub(crate) tokens: Vec<String>,
    pub(crate) connections: usize,
    /// How many different identifiers the connections in a room have. 0: all have the same.
    pub(crate) identifiers: usize,
    /// Number of connections that stop reading after their join.
    pub(crate) slow: usize,
    /// How many connects may be in progress at a time.
    pub(crate) concurrency: usize,
    /// True if connections remember positions and reconnect when the server closes them.
    pub(crate) reconnects: bool,
    /// True if connections open the mailboxes of their users and acknowledge what they receive.
    pub(crate) mailboxes: bool,
}

/// All connections.
pub(crate) struct Generator {
    poll: Poll,
    settings: Settings,
    clock: Clock,
    connections: Vec<Connection>,
    pub(crate) tally: Tally,
    /// Connections in their rooms.
    pub(crate) joined: usize,
    /// Connects in progress.
    connecting: usize,
    /// Index of the first connection that has not started.
    next: usize,
    /// Times at which closed connections reconnect.
    reconnecting: BinaryHeap<Reverse<(Nanos, usize)>>,
    /// Connections that the server closed unexpectedly.
    pub(crate) ended: u64,
    /// Slow clients that the server has closed.
    pub(crate) slow_closed: u64,
    /// Reconnects with `recovered: true`, and the others.
    pub(crate) recovered: u64,
    pub(crate) not_recovered: u64,
    /// Joins that were sent again.
    pub(crate) join_retries: u64,
    /// Time of the next check for unacknowledged joins.
    next_retry: Nanos,
    /// Changes of presence, as soon as there are any.
    pub(crate) presence: Option<PresenceTally>,
    /// Acknowledgements, if the connections have mailboxes.
    pub(crate) mailbox: Option<MailboxTally>,
    /// Time of the last acknowledged join.
    pub(crate) last_join: Nanos,
    buffer: Vec<u8>,
    /// Offset of the last stamp in its frame.
    hint: usize,
    random: u64,
}

// === impl Settings ===

impl Settings {
    fn address(&self, connection: usize) -> SocketAddr {
        self.addresses[connection % self.addresses.len()]
    }
}

// === impl Generator ===

impl Generator {
    pub(crate) fn new(settings: Settings, clock: Clock) -> anyhow::Result<Self> {
        let rooms = settings.rooms.len();
        let connections = (0..settings.connections)
            .map(|index| Connection::new((index % rooms) as u32, index < settings.slow))
            .collect();
        let mailbox = settings.mailboxes.then(|| MailboxTally::new(settings.connections)).transpose()?;
        Ok(Self {
            poll: Poll::new()?,
            settings,
            clock,
            connections,
            tally: Tally::new()?,
            joined: 0,
            connecting: 0,
            next: 0,
            reconnecting: BinaryHeap::new(),
            ended: 0,
            slow_closed: 0,
            recovered: 0,
            not_recovered: 0,
            join_retries: 0,
            next_retry: 0,
            presence: None,
            mailbox,
            last_join: 0,
            buffer: vec![0; READ_SIZE],
            hint: 0,
            random: 0x9e37_79b9_7f4a_7c15,
        })
    }

    /// Connects all, and waits until they are in their rooms.
    pub(crate) fn connect_all(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let wanted = self.connections.len();
        if !self.run(timeout, |generator| generator.joined == wanted)? {
            bail!("only {} of {wanted} connections joined within {timeout:?}", self.joined);
        }
        Ok(())
    }

    /// Runs the event loop until `done` returns true or `timeout` has passed, and returns whether it is done.
    pub(crate) fn run(&mut self, timeout: Duration, done: impl Fn(&Self) -> bool) -> anyhow::Result<bool> {
        let until = self.clock.now() + timeout.as_nanos() as Nanos;
        let mut events = Events::with_capacity(1024);
        loop {
            self.start_connects()?;
            let now = self.clock.now();
            if self.connecting > 0 && now >= self.next_retry {
                self.retry_joins(now);
                self.next_retry = now + TIMEOUT;
            }
            if done(self) {
                return Ok(true);
            }
            if now >= until {
                return Ok(false);
            }
            // The timeout is short because the end of the publisher is not a socket event.
            self.poll.poll(&mut events, Some(Duration::from_millis(5))).or_else(|error| match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            })?;
            for event in &events {
                self.on_ready(event.token().0)?;
            }
        }
    }

    /// Lets the slow clients read again, which reveals the ones that the server has closed.
    pub(crate) fn resume_slow(&mut self) -> anyhow::Result<()> {
        for index in 0..self.connections.len() {
            if self.connections[index].slow {
                self.connections[index].is_reading = true;
                self.on_ready(index)?;
            }
        }
        Ok(())
    }

    /// The user of a connection leaves its room or enters it.
    pub(crate) fn change_presence(&mut self, index: usize, change: Change) -> anyhow::Result<()> {
        let (connection, now) = (&self.connections[index], self.clock.now());
        let target = target(&self.settings, connection, index);
        let packet = match change {
            Change::Leave => Some(self.settings.protocol.leave(&target)),
            Change::Enter => self.settings.protocol.join(&target),
        };
        let packet = packet.context("the protocol has no rooms")?;
        self.presence.as_mut().context("there is no tally")?.changes(index, now);
        self.connections[index].send(Opcode::Text, packet.as_bytes()).context("a connection has ended")
    }

    /// Number of members of each room without slow clients.
    pub(crate) fn members(&self) -> Vec<u64> {
        let mut members = vec![0; self.settings.rooms.len()];
        for connection in self.connections.iter().filter(|one| !one.slow) {
            members[connection.room as usize] += 1;
        }
        members
    }

    /// Number of these members that received all publications of their room.
    pub(crate) fn complete(&self, emitted: &[u32]) -> usize {
        self.connections.iter().filter(|one| !one.slow && one.next_number == emitted[one.room as usize]).count()
    }

    fn start_connects(&mut self) -> anyhow::Result<()> {
        while self.connecting < self.settings.concurrency && self.next < self.connections.len() {
            self.start_connect(self.next)?;
            self.next += 1;
        }
        let now = self.clock.now();
        while let Some(&Reverse((at, index))) = self.reconnecting.peek()
            && at <= now
            && self.connecting < self.settings.concurrency
        {
            self.reconnecting.pop();
            self.start_connect(index)?;
        }
        Ok(())
    }

    fn start_connect(&mut self, index: usize) -> anyhow::Result<()> {
        let mut stream = TcpStream::connect(self.settings.address(index)).context("cannot open a socket")?;
        let socket = SockRef::from(&stream);
        socket.set_tcp_nodelay(true)?;
        // Closing resets the connection, so that a run leaves no ports in TIME_WAIT.
        socket.set_linger(Some(Duration::ZERO))?;
        let connection = &mut self.connections[index];
        if connection.slow {
            socket.set_recv_buffer_size(SLOW_BUFFER)?;
        }
        self.poll.registry().register(&mut stream, Token(index), Interest::READABLE | Interest::WRITABLE)?;
        connection.stream = Some(stream);
        connection.phase = Phase::Connecting;
        connection.started = self.clock.now();
        connection.partial.clear();
        self.connecting += 1;
        Ok(())
    }

    /// Sends unacknowledged joins again, as a user does by reloading the page.
    fn retry_joins(&mut self, now: Nanos) {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if connection.phase != Phase::Joining || connection.started + TIMEOUT > now {
                continue;
            }
            if let Some(join) = self.settings.protocol.join(&target(&self.settings, connection, index)) {
                self.join_retries += 1;
                drop(connection.send(Opcode::Text, join.as_bytes()));
            }
        }
    }

    fn on_ready(&mut self, index: usize) -> anyhow::Result<()> {
        if self.connections[index].phase == Phase::Connecting && !self.on_connected(index)? {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        loop {
            let connection = &mut self.connections[index];
            if connection.phase == Phase::Joined && !connection.is_reading {
                break;
            }
            let Some(stream) = &mut connection.stream else { break };
            match stream.read(&mut buffer) {
                Ok(0) => {
                    self.end(index)?;
                    break;
                }
                Ok(count) => {
                    self.tally.bytes += count as u64;
                    self.on_bytes(index, &buffer[..count])?;
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

    /// Completes a TCP connect and starts the handshake. Returns true if the socket is connected.
    fn on_connected(&mut self, index: usize) -> anyhow::Result<bool> {
        let Some(stream) = &self.connections[index].stream else { return Ok(false) };
        if stream.take_error()?.is_some() {
            self.end(index)?;
            return Ok(false);
        }
        if stream.peer_addr().is_err() {
            return Ok(false);
        }
        let protocol = self.settings.protocol;
        let host = self.settings.address(index).to_string();
        let request = protocol.request(&host, &target(&self.settings, &self.connections[index], index));
        let connection = &mut self.connections[index];
        connection.phase = if request.is_some() { Phase::Upgrading } else { protocol.after_request() };
        if let Some(request) = request
            && connection.write(request.as_bytes()).is_err()
        {
            self.end(index)?;
        }
        Ok(true)
    }

    /// Handles received bytes.
    fn on_bytes(&mut self, index: usize, bytes: &[u8]) -> anyhow::Result<()> {
        let now = self.clock.now();
        let partial = std::mem::take(&mut self.connections[index].partial);
        if partial.is_empty() {
            let rest = self.read_frames(index, bytes, now)?;
            self.connections[index].partial.extend_from_slice(rest);
        } else {
            let mut whole = partial;
            whole.extend_from_slice(bytes);
            let rest = self.read_frames(index, &whole, now)?.len();
            whole.drain(..whole.len() - rest);
            self.connections[index].partial = whole;
        }
        Ok(())
    }

    /// Handles complete frames, and returns the remaining bytes.
    fn read_frames<'a>(&mut self, index: usize, mut bytes: &'a [u8], now: Nanos) -> anyhow::Result<&'a [u8]> {
        if self.connections[index].phase == Phase::Upgrading {
            let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(bytes) };
            if !bytes.starts_with(b"HTTP/1.1 101") {
                if self.settings.reconnects {
                    self.end(index)?;
                    return Ok(&[]);
                }
                bail!("the handshake was refused: {}", String::from_utf8_lossy(&bytes[..end]));
            }
            bytes = &bytes[end + 4..];
            self.enter_phase(index, self.settings.protocol.after_request());
        }
        while let Some(frame) = frames::next(&mut bytes) {
            match frame.opcode {
                PING => drop(self.connections[index].send(Opcode::Pong, frame.payload)),
                CLOSE => {
                    self.end(index)?;
                    return Ok(&[]);
                }
                TEXT => self.on_text(index, frame.payload, now)?,
                _ => {}
            }
        }
        Ok(bytes)
    }

    fn on_text(&mut self, index: usize, payload: &[u8], now: Nanos) -> anyhow::Result<()> {
        if self.mailbox.is_some()
            && let Some((stamps, ids)) = mailbox::messages(payload, &self.settings.namespace)
        {
            return self.on_messages(index, &stamps, &ids, now);
        }
        let Some(stamp) = Stamp::find(payload, &mut self.hint) else { return self.on_control(index, payload) };
        let connection = &mut self.connections[index];
        if connection.slow {
            return Ok(());
        }
        self.tally.count(stamp, now, &mut connection.next_number);
        if self.settings.reconnects
            && let Some(position) = position(payload)
        {
            connection.position = Some(position.into());
        }
        Ok(())
    }

    /// Counts the messages of a mailbox and acknowledges them.
    fn on_messages(&mut self, index: usize, stamps: &[Stamp], ids: &[&str], now: Nanos) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        for stamp in stamps {
            self.tally.count(*stamp, now, &mut connection.next_number);
        }
        if ids.is_empty() {
            return Ok(());
        }
        if let Some(tally) = &mut self.mailbox {
            tally.acknowledges(index, now);
        }
        let packet = mailbox::acknowledge(&self.settings.namespace, ids);
        if connection.send(Opcode::Text, packet.as_bytes()).is_err() {
            return self.end(index);
        }
        Ok(())
    }

    /// Counts what a member receives apart from deliveries.
    fn count_notices(&mut self, index: usize, payload: &[u8]) {
        let now = self.clock.now();
        if let Some(tally) = &mut self.presence
            && !presence::is_mover(index, self.settings.rooms.len())
        {
            tally.count(payload, now);
        }
        if let Some(tally) = &mut self.mailbox {
            tally.count(index, payload, now);
        }
    }

    /// Handles a text that is not a delivery.
    fn on_control(&mut self, index: usize, payload: &[u8]) -> anyhow::Result<()> {
        let connection = &self.connections[index];
        let mut reply = String::new();
        let outcome = self.settings.protocol.on_text(
            connection.phase,
            payload,
            &target(&self.settings, connection, index),
            &mut reply,
        );
        let has_reconnected = connection.position.is_some();
        if !reply.is_empty() && self.connections[index].send(Opcode::Text, reply.as_bytes()).is_err() {
            return self.end(index);
        }
        match outcome {
            Outcome::Ignored => {
                self.count_notices(index, payload);
                Ok(())
            }
            Outcome::Refused => bail!("the server refused a connection: {}", String::from_utf8_lossy(payload)),
            Outcome::Phase(phase) => {
                if phase == Phase::Joined && has_reconnected {
                    let recovered = memchr::memmem::find(payload, br#""recovered":true"#).is_some();
                    *(if recovered { &mut self.recovered } else { &mut self.not_recovered }) += 1;
                }
                self.enter_phase(index, phase);
                if phase == Phase::Joined && self.settings.mailboxes {
                    let open = mailbox::open(&self.settings.namespace);
                    self.connections[index]
                        .send(Opcode::Text, open.as_bytes())
                        .context("a connection has ended")?;
                }
                Ok(())
            }
        }
    }

    fn enter_phase(&mut self, index: usize, phase: Phase) {
        let connection = &mut self.connections[index];
        if phase == Phase::Joined && connection.phase != Phase::Joined {
            self.joined += 1;
            self.connecting -= 1;
            self.last_join = self.clock.now();
        }
        connection.phase = phase;
    }

    /// Handles the end of a connection. In a reconnect scenario, it reconnects after 0.5 to 1.5 s.
    fn end(&mut self, index: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        let phase = std::mem::replace(&mut connection.phase, Phase::Disconnected);
        connection.stream = None;
        match phase {
            Phase::Disconnected => return Ok(()),
            Phase::Joined => self.joined -= 1,
            _ => self.connecting -= 1,
        }
        if connection.slow {
            self.slow_closed += 1;
            return Ok(());
        }
        self.ended += 1;
        if self.settings.reconnects {
            self.random =
                self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let pause = 500_000_000 + (self.random >> 33) % 1_000_000_000;
            self.reconnecting.push(Reverse((self.clock.now() + pause, index)));
        } else if phase != Phase::Joined {
            bail!("the server closed a connection in phase {phase:?}");
        }
        Ok(())
    }
}

fn target<'a>(settings: &'a Settings, connection: &'a Connection, index: usize) -> Target<'a> {
    let room = connection.room as usize;
    Target {
        namespace: &settings.namespace,
        room: &settings.rooms[room],
        key: settings.keys.get(room).map(String::as_str),
        identifier: index.checked_rem(settings.identifiers),
        token: settings.tokens.get(index).map(String::as_str),
        since: connection.position.as_deref(),
    }
}

/// Returns the position at the end of a delivery: `…,"position":"epoch:offset"}]`.
fn position(payload: &[u8]) -> Option<&str> {
    let mark = br#""position":""#;
    let start = memchr::memmem::rfind(payload, mark)? + mark.len();
    let length = memchr::memchr(b'"', &payload[start..])?;
    std::str::from_utf8(&payload[start..start + length]).ok()
}
