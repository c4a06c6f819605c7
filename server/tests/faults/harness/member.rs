//! A light browser: it remembers where it stands in each room, comes back by itself after a jittered pause, asks for
//! what it has missed, and writes down everything it hears. Thousands of them run in one process.

use crate::support::packet::Packet;
use crate::support::site::Site;
use futures_util::{SinkExt as _, StreamExt as _};
use nodevent_protocol::history::Position;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

/// How long a handshake, or an acknowledgement, may take before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest pause before coming back, after the first attempt and after the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// Something that happened to a member in a room.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A join was acknowledged. `since` is what it had asked.
    Joined { position: Option<Position>, recovered: bool, since: Option<Position> },
    /// An event.
    Heard { position: Option<Position>, number: u64 },
    /// It was told that publications before that position may be missing.
    Lost { position: Position },
    /// It asked to leave.
    Leaving,
    /// The leave was acknowledged.
    Left,
}

/// Everything that happened to one member.
#[derive(Debug, Default)]
pub struct Record {
    /// By room, in order.
    pub rooms: HashMap<String, Vec<(Instant, What)>>,
    /// What must never happen: a room that was not joined, a packet that nobody understands, a refused join.
    pub strange: Vec<String>,
    /// How often it got into its namespace.
    pub connects: u64,
    /// How often it was told to stay away for a while.
    pub drains: u64,
    /// Whether it is in its namespace now, and all its joins are acknowledged.
    pub settled: bool,
}

/// A member's handle.
pub struct Member {
    pub namespace: String,
    record: Arc<Mutex<Record>>,
    orders: mpsc::Sender<Order>,
    task: JoinHandle<()>,
}

/// What a test has a member do.
#[derive(Debug, Clone)]
pub enum Order {
    Join(String),
    Leave(String),
    /// Its connection breaks.
    Break,
    /// It does not come back.
    End,
}

// === impl Member ===

impl Member {
    /// A member of `rooms` on any of the servers.
    pub fn new(addresses: &[String], namespace: &str, rooms: &[&str]) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let (orders, ordered) = mpsc::channel(64);
        let life = Life {
            addresses: addresses.to_vec(),
            namespace: namespace.to_owned(),
            rooms: rooms.iter().map(|room| ((*room).to_owned(), None)).collect(),
            record: Arc::clone(&record),
            ordered,
        };
        let task = tokio::spawn(life.live());
        Self { namespace: namespace.to_owned(), record, orders, task }
    }

    /// A member on any of these servers.
    pub fn at(sites: &[Site], namespace: &str, rooms: &[&str]) -> Self {
        let addresses: Vec<String> = sites.iter().map(|site| site.address.clone()).collect();
        Self::new(&addresses, namespace, rooms)
    }

    /// What happened to it so far.
    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().expect("the record")
    }

    pub fn is_settled(&self) -> bool {
        self.record().settled
    }

    /// Whether it has heard that number in a room.
    pub fn has_heard(&self, room: &str, wanted: u64) -> bool {
        let record = self.record();
        let heard = |(_, what): &(Instant, What)| matches!(what, What::Heard { number, .. } if *number == wanted);
        record.rooms.get(room).is_some_and(|entries| entries.iter().any(heard))
    }

    /// Has it do something.
    pub async fn order(&self, order: Order) {
        self.orders.send(order).await.expect("the member lives");
    }

    /// Ends it; answers what happened to it.
    pub async fn end(self) -> Record {
        let _ = self.orders.send(Order::End).await;
        let _ = self.task.await;
        std::mem::take(&mut *self.record.lock().expect("the record"))
    }
}

/// The task of a member.
struct Life {
    addresses: Vec<String>,
    namespace: String,
    /// Its rooms, and where it stands in each.
    rooms: HashMap<String, Option<Position>>,
    record: Arc<Mutex<Record>>,
    ordered: mpsc::Receiver<Order>,
}

/// One connection of it.
struct Connection {
    stream: WebSocketStream<TcpStream>,
    /// Heartbeats come at least so often.
    heartbeat: Duration,
    last_id: u64,
    joining: HashMap<u64, (String, Option<Position>, Instant)>,
    leaving: HashMap<u64, String>,
    /// Joins after which a leave was asked: their acknowledgements mean nothing any more.
    over: HashSet<u64>,
}

/// How a connection ended.
enum Ended {
    Broken,
    ForGood,
}

// === impl Life ===

impl Life {
    async fn live(mut self) {
        let mut failures = 0;
        loop {
            let connected = tokio::time::timeout(PATIENCE, self.connect()).await;
            if let Ok(Some(connection)) = connected {
                failures = 0;
                self.record().connects += 1;
                let ended = self.stay(connection).await;
                self.record().settled = false;
                if matches!(ended, Ended::ForGood) {
                    return;
                }
            } else {
                failures += 1;
            }
            let most = (PAUSES.0 * 2_u32.pow(failures.min(8))).min(PAUSES.1);
            let pause = tokio::time::sleep(most.mul_f64(rand::random::<f64>()));
            tokio::pin!(pause);
            loop {
                tokio::select! {
                    () = &mut pause => break,
                    order = self.ordered.recv() => match order {
                        Some(Order::Join(room)) => drop(self.rooms.entry(room).or_default()),
                        Some(Order::Leave(room)) => {
                            self.rooms.remove(&room);
                            self.note(&room, What::Leaving);
                            self.note(&room, What::Left);
                        }
                        Some(Order::Break) => {}
                        Some(Order::End) | None => return,
                    },
                }
            }
        }
    }

    async fn connect(&self) -> Option<Connection> {
        let address = &self.addresses[rand::random_range(0..self.addresses.len())];
        let tcp = TcpStream::connect(address).await.ok()?;
        tcp.set_nodelay(true).ok()?;
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let config = WebSocketConfig::default().read_buffer_size(4096).write_buffer_size(4096);
        let (mut stream, _) = tokio_tungstenite::client_async_with_config(url, tcp, Some(config)).await.ok()?;
        let open = next(&mut stream).await?;
        let open: Value = serde_json::from_str(open.strip_prefix('0')?).ok()?;
        let heartbeat = open["pingInterval"].as_u64()? + open["pingTimeout"].as_u64()?;
        stream.send(Message::text(format!("40{},", self.namespace))).await.ok()?;
        loop {
            let packet = next(&mut stream).await?;
            if packet.starts_with("40") {
                break;
            }
            if packet == "2" {
                stream.send(Message::text("3")).await.ok()?;
            }
        }
        Some(Connection {
            stream,
            heartbeat: Duration::from_millis(heartbeat),
            last_id: 0,
            joining: HashMap::new(),
            leaving: HashMap::new(),
            over: HashSet::new(),
        })
    }

    /// Stays until the connection ends.
    async fn stay(&mut self, mut connection: Connection) -> Ended {
        let rooms: Vec<String> = self.rooms.keys().cloned().collect();
        for room in rooms {
            if self.join(&mut connection, &room).await.is_none() {
                return Ended::Broken;
            }
        }
        self.settle(&connection);
        let mut last = Instant::now();
        let mut look = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                packet = next(&mut connection.stream) => {
                    let Some(packet) = packet else { return Ended::Broken };
                    last = Instant::now();
                    if self.take(&mut connection, &packet).await.is_none() {
                        return Ended::Broken;
                    }
                }
                order = self.ordered.recv() => {
                    let done = match order {
                        Some(Order::Join(room)) => {
                            self.rooms.entry(room.clone()).or_default();
                            self.join(&mut connection, &room).await
                        }
                        Some(Order::Leave(room)) => self.leave(&mut connection, &room).await,
                        Some(Order::Break) => None,
                        Some(Order::End) | None => {
                            let _ = connection.stream.close(None).await;
                            return Ended::ForGood;
                        }
                    };
                    if done.is_none() {
                        self.give_up_leaving(&connection);
                        return Ended::Broken;
                    }
                }
                _ = look.tick() => {
                    let unanswered = connection.joining.values().any(|(_, _, asked)| asked.elapsed() > PATIENCE);
                    if last.elapsed() > connection.heartbeat + Duration::from_secs(1) || unanswered {
                        self.give_up_leaving(&connection);
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
        self.record().settled = false;
        let packet = format!("42{},{}{}", self.namespace, connection.last_id, json!(["join", join]));
        connection.stream.send(Message::text(packet)).await.ok()
    }

    async fn leave(&mut self, connection: &mut Connection, room: &str) -> Option<()> {
        self.rooms.remove(room);
        self.note(room, What::Leaving);
        connection.over.extend(connection.joining.extract_if(|_, (joining, ..)| joining == room).map(|(id, _)| id));
        // A join that was taken back is not awaited any more.
        self.settle(connection);
        connection.last_id += 1;
        connection.leaving.insert(connection.last_id, room.to_owned());
        let leave = json!(["leave", {"room": room}]);
        let packet = format!("42{},{}{leave}", self.namespace, connection.last_id);
        connection.stream.send(Message::text(packet)).await.ok()
    }

    /// With the connection its memberships end.
    fn give_up_leaving(&self, connection: &Connection) {
        connection.leaving.values().for_each(|room| self.note(room, What::Left));
    }

    /// Takes an Engine.IO packet. `None`: the connection has ended.
    async fn take(&mut self, connection: &mut Connection, packet: &str) -> Option<()> {
        match packet.split_at_checked(1) {
            Some(("2", _)) => return connection.stream.send(Message::text("3")).await.ok(),
            Some(("4", message)) => {
                let Some(packet) = Packet::read(message) else {
                    self.record().strange.push(format!("no packet: {message}"));
                    return None;
                };
                if packet.namespace != self.namespace {
                    self.record().strange.push(format!("another namespace: {message}"));
                }
                match packet.kind {
                    '3' => self.acknowledged(connection, &packet),
                    '2' => self.event(&packet.value()),
                    '1' => return None,
                    _ => self.record().strange.push(format!("an unexpected packet: {message}")),
                }
            }
            Some(("6", _)) => {}
            _ => return None,
        }
        Some(())
    }

    fn acknowledged(&mut self, connection: &mut Connection, packet: &Packet) {
        let (id, answer) = (packet.id.unwrap_or_default(), packet.value());
        if let Some(room) = connection.leaving.remove(&id) {
            return self.note(&room, What::Left);
        }
        if connection.over.remove(&id) {
            return;
        }
        let Some((room, since, _)) = connection.joining.remove(&id) else {
            return self.record().strange.push(format!("an acknowledgement of nothing: {answer}"));
        };
        if !answer[0].is_null() {
            return self.record().strange.push(format!("a join was refused: {answer}"));
        }
        let position = answer[2]["position"].as_str().and_then(Position::parse);
        let recovered = answer[2]["recovered"] == true;
        if let Some(stands) = self.rooms.get_mut(&room)
            && position.is_some()
        {
            *stands = position;
        }
        self.note(&room, What::Joined { position, recovered, since });
        self.settle(connection);
    }

    fn event(&mut self, event: &Value) {
        let (name, publication) = (event[0].as_str().unwrap_or_default(), &event[1]);
        if name == "drain" {
            return self.record().drains += 1;
        }
        let room = publication["room"].as_str().unwrap_or_default().to_owned();
        let position = publication["position"].as_str().and_then(Position::parse);
        match (name, position) {
            ("lost", Some(position)) => self.note(&room, What::Lost { position }),
            ("event", _) => {
                let message = &publication["message"];
                if message["room"] != room.as_str() || message["namespace"] != self.namespace.as_str() {
                    self.record().strange.push(format!("not for here: {event}"));
                }
                if let Some(stands) = self.rooms.get_mut(&room)
                    && position.is_some()
                {
                    *stands = position;
                }
                let number = message["number"].as_u64().unwrap_or_default();
                self.note(&room, What::Heard { position, number });
            }
            _ => self.record().strange.push(format!("an event that nobody knows: {event}")),
        }
    }

    fn settle(&self, connection: &Connection) {
        self.record().settled = connection.joining.is_empty();
    }

    fn note(&self, room: &str, what: What) {
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

/// The next Engine.IO packet. `None`: the connection has ended.
async fn next(stream: &mut WebSocketStream<TcpStream>) -> Option<String> {
    loop {
        match stream.next().await? {
            Ok(Message::Text(text)) => return Some(text.to_string()),
            Ok(Message::Ping(_) | Message::Pong(_)) => {}
            _ => return None,
        }
    }
}
