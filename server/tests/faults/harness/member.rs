//! A lightweight browser that reconnects by itself: it remembers its position in each room, waits a jittered pause
//! after a lost connection, rejoins with its positions, and records everything it receives.
//!
//! It exists apart from [`crate::support::browser`] because thousands of members run in one process for minutes. A
//! member never fails a test by itself: a lost connection is part of its work, and it records a violation for the
//! checker. A [`Browser`](crate::support::Browser) fails the test as soon as something unexpected arrives.

use super::link::Link;
use crate::support::packet::Packet;
use crate::support::site::Site;
use nodevent_protocol::history::Position;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Time for a handshake or an acknowledgement, after which the member drops the connection.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Upper bound of the pause before the first reconnect; it doubles with each failure.
const MIN_PAUSE: Duration = Duration::from_millis(200);
/// Upper bound of the pause after many failures.
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// An entry in the record of a member and a room.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// A join was acknowledged. `since` is the position that the member sent.
    Joined { position: Option<Position>, recovered: bool, since: Option<Position> },
    /// An event of the publishers arrived.
    Received { position: Option<Position>, number: u64 },
    /// The server reported that publications before that position may be missing.
    Gap { position: Position },
    /// The member sent a leave.
    Leaving,
    /// The leave was acknowledged.
    Left,
}

/// Everything that one member sent and received.
#[derive(Debug, Default)]
pub struct Record {
    /// Entries by room, in order.
    pub rooms: HashMap<String, Vec<(Instant, Observation)>>,
    /// Observations that must never occur: an event of another room, an unknown packet, a refused join.
    pub violations: Vec<String>,
    /// Number of times the member entered its namespace.
    pub connects: u64,
    /// Number of `drain` notices.
    pub drains: u64,
    /// True while the member is in its namespace and all its joins are acknowledged.
    pub joined: bool,
}

/// A handle to a running member.
pub struct Member {
    pub namespace: String,
    record: Arc<Mutex<Record>>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// An instruction from a test to a member.
#[derive(Debug, Clone)]
pub enum Command {
    Join(String),
    Leave(String),
    /// Drop the connection and reconnect.
    Break,
    /// Close the connection and stop.
    End,
}

// === impl Member ===

impl Member {
    /// Starts a member of `rooms` that connects to a random one of the servers.
    pub fn new(addresses: &[String], namespace: &str, rooms: &[&str]) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let (commands_tx, commands_rx) = mpsc::channel(64);
        let task = MemberTask {
            addresses: addresses.to_vec(),
            namespace: namespace.to_owned(),
            rooms: rooms.iter().map(|room| ((*room).to_owned(), None)).collect(),
            record: Arc::clone(&record),
            commands: commands_rx,
        };
        let task = tokio::spawn(task.run());
        Self { namespace: namespace.to_owned(), record, commands: commands_tx, task }
    }

    /// Starts a member on these servers.
    pub fn at(sites: &[Site], namespace: &str, rooms: &[&str]) -> Self {
        let addresses: Vec<String> = sites.iter().map(|site| site.address.clone()).collect();
        Self::new(&addresses, namespace, rooms)
    }

    /// The record so far.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("the record")
    }

    pub fn is_joined(&self) -> bool {
        self.record().joined
    }

    /// Returns true if the member has received that number in a room.
    pub fn has_received(&self, room: &str, wanted: u64) -> bool {
        let record = self.record();
        let matches = |(_, what): &(Instant, Observation)| matches!(what, Observation::Received { number, .. } if *number == wanted);
        record.rooms.get(room).is_some_and(|entries| entries.iter().any(matches))
    }

    /// Sends a command to the member.
    pub async fn send(&self, command: Command) {
        self.commands.send(command).await.expect("the member runs");
    }

    /// Stops the member and returns its record.
    pub async fn end(self) -> Record {
        let _ = self.commands.send(Command::End).await;
        let _ = self.task.await;
        std::mem::take(&mut *self.record.lock().expect("the record"))
    }
}

/// The task behind a [`Member`].
struct MemberTask {
    addresses: Vec<String>,
    namespace: String,
    /// Rooms to be in, with the last known position in each.
    rooms: HashMap<String, Option<Position>>,
    record: Arc<Mutex<Record>>,
    commands: mpsc::Receiver<Command>,
}

/// One connection of a member.
struct Connection {
    link: Link,
    last_id: u64,
    joining: HashMap<u64, (String, Option<Position>, Instant)>,
    leaving: HashMap<u64, String>,
    /// Joins followed by a leave: their acknowledgements are ignored.
    superseded: HashSet<u64>,
}

/// The end of a connection.
enum Ended {
    /// The member reconnects.
    Broken,
    /// The test stopped the member.
    Stopped,
}

// === impl MemberTask ===

impl MemberTask {
    async fn run(mut self) {
        let mut failures = 0;
        loop {
            let connected = tokio::time::timeout(TIMEOUT, self.connect()).await;
            if let Ok(Some(connection)) = connected {
                failures = 0;
                self.record().connects += 1;
                let ended = self.stay(connection).await;
                self.record().joined = false;
                if matches!(ended, Ended::Stopped) {
                    return;
                }
            } else {
                failures += 1;
            }
            let max_pause = (MIN_PAUSE * 2_u32.pow(failures.min(8))).min(MAX_PAUSE);
            let pause = tokio::time::sleep(max_pause.mul_f64(rand::random::<f64>()));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    command = self.commands.recv() => match command {
                        Some(Command::Join(room)) => drop(self.rooms.entry(room).or_default()),
                        Some(Command::Leave(room)) => {
                            self.rooms.remove(&room);
                            self.observe(&room, Observation::Leaving);
                            self.observe(&room, Observation::Left);
                        }
                        Some(Command::Break) => {}
                        Some(Command::End) | None => return,
                    },
                }
            }
        }
    }

    async fn connect(&self) -> Option<Connection> {
        let address = &self.addresses[rand::random_range(0..self.addresses.len())];
        let mut link = Link::open(address).await?;
        link.enter(&self.namespace, "").await.filter(|reply| reply.starts_with("40"))?;
        Some(Connection {
            link,
            last_id: 0,
            joining: HashMap::new(),
            leaving: HashMap::new(),
            superseded: HashSet::new(),
        })
    }

    /// Serves a connection until it ends.
    async fn stay(&mut self, mut connection: Connection) -> Ended {
        let rooms: Vec<String> = self.rooms.keys().cloned().collect();
        for room in rooms {
            if self.join(&mut connection, &room).await.is_none() {
                return Ended::Broken;
            }
        }
        self.update_joined(&connection);
        let mut last = Instant::now();
        let mut check = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                packet = connection.link.next() => {
                    let Some(packet) = packet else { return Ended::Broken };
                    last = Instant::now();
                    if self.on_packet(&mut connection, &packet).await.is_none() {
                        return Ended::Broken;
                    }
                }
                command = self.commands.recv() => {
                    let done = match command {
                        Some(Command::Join(room)) => {
                            self.rooms.entry(room.clone()).or_default();
                            self.join(&mut connection, &room).await
                        }
                        Some(Command::Leave(room)) => self.leave(&mut connection, &room).await,
                        Some(Command::Break) => None,
                        Some(Command::End) | None => {
                            connection.link.close().await;
                            return Ended::Stopped;
                        }
                    };
                    if done.is_none() {
                        self.record_pending_leaves(&connection);
                        return Ended::Broken;
                    }
                }
                _ = check.tick() => {
                    let overdue = connection.joining.values().any(|(_, _, sent)| sent.elapsed() > TIMEOUT);
                    if last.elapsed() > connection.link.heartbeat + Duration::from_secs(1) || overdue {
                        self.record_pending_leaves(&connection);
                        return Ended::Broken;
                    }
                }
            }
        }
    }

    async fn join(&mut self, connection: &mut Connection, room: &str) -> Option<()> {
        let since = self.rooms.get(room).copied().flatten();
        let mut join = json!({"room": room});
        if let Some(since) = since {
            join["since"] = since.to_string().into();
        }
        connection.last_id += 1;
        connection.joining.insert(connection.last_id, (room.to_owned(), since, Instant::now()));
        self.record().joined = false;
        let packet = format!("42{},{}{}", self.namespace, connection.last_id, json!(["join", join]));
        connection.link.send(packet).await
    }

    async fn leave(&mut self, connection: &mut Connection, room: &str) -> Option<()> {
        self.rooms.remove(room);
        self.observe(room, Observation::Leaving);
        connection
            .superseded
            .extend(connection.joining.extract_if(|_, (joining, ..)| joining == room).map(|(id, _)| id));
        // The member no longer waits for a join that this leave supersedes.
        self.update_joined(connection);
        connection.last_id += 1;
        connection.leaving.insert(connection.last_id, room.to_owned());
        let leave = json!(["leave", {"room": room}]);
        let packet = format!("42{},{}{leave}", self.namespace, connection.last_id);
        connection.link.send(packet).await
    }

    /// Records pending leaves as done: memberships end with their connection.
    fn record_pending_leaves(&self, connection: &Connection) {
        connection.leaving.values().for_each(|room| self.observe(room, Observation::Left));
    }

    /// Handles an Engine.IO packet. Returns `None` if the connection ended.
    async fn on_packet(&mut self, connection: &mut Connection, packet: &str) -> Option<()> {
        match packet.split_at_checked(1) {
            Some(("2", _)) => return connection.link.send("3").await,
            Some(("4", message)) => {
                let Some(packet) = Packet::read(message) else {
                    self.record().violations.push(format!("not a packet: {message}"));
                    return None;
                };
                if packet.namespace != self.namespace {
                    self.record().violations.push(format!("another namespace: {message}"));
                }
                match packet.kind {
                    '3' => self.on_ack(connection, &packet),
                    '2' => self.on_event(&packet.value()),
                    '1' => return None,
                    _ => self.record().violations.push(format!("an unexpected packet: {message}")),
                }
            }
            Some(("6", _)) => {}
            _ => return None,
        }
        Some(())
    }

    fn on_ack(&mut self, connection: &mut Connection, packet: &Packet) {
        let (id, reply) = (packet.id.unwrap_or_default(), packet.value());
        if let Some(room) = connection.leaving.remove(&id) {
            return self.observe(&room, Observation::Left);
        }
        if connection.superseded.remove(&id) {
            return;
        }
        let Some((room, since, _)) = connection.joining.remove(&id) else {
            return self.record().violations.push(format!("an unsolicited acknowledgement: {reply}"));
        };
        if !reply[0].is_null() {
            return self.record().violations.push(format!("a join was refused: {reply}"));
        }
        let position = reply[2]["position"].as_str().and_then(Position::parse);
        let recovered = reply[2]["recovered"] == true;
        if let Some(known) = self.rooms.get_mut(&room)
            && position.is_some()
        {
            *known = position;
        }
        self.observe(&room, Observation::Joined { position, recovered, since });
        self.update_joined(connection);
    }

    fn on_event(&mut self, event: &Value) {
        let (name, publication) = (event[0].as_str().unwrap_or_default(), &event[1]);
        if name == "drain" {
            return self.record().drains += 1;
        }
        let room = publication["room"].as_str().unwrap_or_default().to_owned();
        let position = publication["position"].as_str().and_then(Position::parse);
        match (name, position) {
            ("lost", Some(position)) => self.observe(&room, Observation::Gap { position }),
            ("event", _) => {
                let message = &publication["message"];
                if message["room"] != room.as_str() || message["namespace"] != self.namespace.as_str() {
                    self.record().violations.push(format!("an event of another room or namespace: {event}"));
                }
                if let Some(known) = self.rooms.get_mut(&room)
                    && position.is_some()
                {
                    *known = position;
                }
                let number = message["number"].as_u64().unwrap_or_default();
                self.observe(&room, Observation::Received { position, number });
            }
            _ => self.record().violations.push(format!("an unknown event: {event}")),
        }
    }

    fn update_joined(&self, connection: &Connection) {
        self.record().joined = connection.joining.is_empty();
    }

    fn observe(&self, room: &str, what: Observation) {
        let mut record = self.record();
        match record.rooms.get_mut(room) {
            Some(entries) => entries.push((Instant::now(), what)),
            None => drop(record.rooms.insert(room.to_owned(), vec![(Instant::now(), what)])),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("the record")
    }
}
