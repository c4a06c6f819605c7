//! A page: connects with the token of its user, keeps its memberships across lost connections, and does what the walk
//! commands.

use super::view::{Topic, View};
use crate::harness::link::Link;
use crate::support::packet::Packet;
use crate::support::site::Site;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub const NAMESPACE: &str = "/walk";
/// Time for a handshake or a reply, after which the page drops the connection.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Interval of checks, and pause before an acknowledgement is repeated.
const TICK: Duration = Duration::from_millis(200);
/// Pause before a reconnect.
const PAUSE: Duration = Duration::from_millis(50);

/// An instruction from the walk to a page.
#[derive(Debug, Clone)]
pub enum Command {
    Join(String),
    Leave(String),
    /// Drop the connection, and connect again after a pause.
    Break(Duration),
    /// A new token on the live connection.
    Renew(String, u64),
    /// A new token, after the user was revoked.
    SignIn(String, u64),
    /// Acknowledge so many messages.
    Acknowledge(usize),
    End,
}

/// A handle to a running page.
pub struct Page {
    view: Arc<Mutex<View>>,
    commands: mpsc::Sender<Command>,
    task: JoinHandle<()>,
}

/// A request whose reply has not arrived.
enum Request {
    Join(Topic, bool),
    Leave(String),
    Mailbox,
    Acknowledge(BTreeSet<u64>),
    Token(String, u64),
}

/// One connection.
struct Connection {
    link: Link,
    last_id: u64,
    requests: HashMap<u64, (Request, Instant)>,
    /// What the server confirms without a request.
    awaited: Vec<Topic>,
}

/// The task behind a [`Page`].
struct PageTask {
    addresses: Vec<String>,
    /// The id of the page, which publications can exclude.
    id: String,
    attempts: usize,
    online_at: Instant,
    view: Arc<Mutex<View>>,
    commands: mpsc::Receiver<Command>,
}

/// The end of a connection.
enum Ended {
    Broken,
    Stopped,
}

// === impl Page ===

impl Page {
    /// Starts a page. `view` has its user, its token and its rooms. `number` chooses the first server.
    pub fn start(sites: &[Site], id: String, number: usize, view: View) -> Self {
        let (view, (commands_tx, commands_rx)) = (Arc::new(Mutex::new(view)), mpsc::channel(64));
        let task = PageTask {
            addresses: sites.iter().map(|site| site.address.clone()).collect(),
            id,
            attempts: number,
            online_at: Instant::now(),
            view: Arc::clone(&view),
            commands: commands_rx,
        };
        Self { view, commands: commands_tx, task: tokio::spawn(task.run()) }
    }

    pub fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("the view")
    }

    pub async fn send(&self, command: Command) {
        self.view().commands.0 += 1;
        self.commands.send(command).await.expect("the page runs");
    }

    pub async fn end(self) {
        self.send(Command::End).await;
        self.task.await.expect("the page does not panic");
    }
}

// === impl PageTask ===

impl PageTask {
    fn view(&self) -> MutexGuard<'_, View> {
        self.view.lock().expect("the view")
    }

    async fn run(mut self) {
        while self.comes_online().await {
            if let Ok(Some(connection)) = tokio::time::timeout(TIMEOUT, self.connect()).await {
                let ended = self.stay(connection).await;
                self.view().trace("the connection ended");
                self.view().on_disconnect();
                if matches!(ended, Ended::Stopped) {
                    return;
                }
            }
            self.online_at = self.online_at.max(Instant::now() + PAUSE);
        }
    }

    /// Takes the next command. The page is not settled before it has followed it.
    async fn command(&mut self) -> Option<Command> {
        let command = self.commands.recv().await;
        let mut view = self.view();
        view.is_settled = false;
        view.commands.1 += 1;
        view.trace(format!("{command:?}"));
        command
    }

    /// Waits until the page may connect. Returns `false` if it was stopped.
    async fn comes_online(&mut self) -> bool {
        loop {
            let is_signed_out = self.view().is_signed_out;
            if !is_signed_out && Instant::now() >= self.online_at {
                return true;
            }
            let online_at = self.online_at;
            tokio::select! {
                () = tokio::time::sleep_until(online_at.into()), if !is_signed_out => {}
                command = self.command() => match command {
                    Some(Command::Join(room)) => {
                        self.view().topics.entry(Topic::Room(room)).or_default();
                    }
                    Some(Command::Leave(room)) => drop(self.view().topics.remove(&Topic::Room(room))),
                    Some(Command::Break(pause)) => self.online_at = Instant::now() + pause,
                    // A token of a user who is signed out comes by `SignIn` only.
                    Some(Command::Renew(..)) if is_signed_out => {}
                    Some(Command::Renew(token, issued_ms) | Command::SignIn(token, issued_ms)) => {
                        self.view().sign_in(token, issued_ms);
                    }
                    Some(Command::Acknowledge(count)) => self.view().inbox.acknowledge(count),
                    Some(Command::End) | None => return false,
                },
            }
        }
    }

    async fn connect(&mut self) -> Option<Connection> {
        self.attempts += 1;
        let mut link = Link::open(&self.addresses[self.attempts % self.addresses.len()]).await?;
        let auth = {
            let view = self.view();
            let mut auth = json!({"pageId": self.id});
            if view.user.is_some() {
                auth["token"] = view.token.as_str().into();
            }
            for (name, topic) in [("since_user", Topic::User), ("since_broadcast", Topic::All)] {
                if let Some(since) = view.position(&topic) {
                    auth[name] = since.to_string().into();
                }
            }
            auth.to_string()
        };
        let reply = link.enter(NAMESPACE, &auth).await?;
        self.view().trace(format!("connects with {auth}: {reply}"));
        if reply.contains("Token has been revoked") {
            self.view().sign_out();
            return None;
        }
        if !reply.starts_with("40") {
            self.view().violate(format!("the namespace refused: {reply}"));
            return None;
        }
        let mut view = self.view();
        view.connection += 1;
        // The server confirms these without a request.
        let awaited = [Topic::User, Topic::All].into_iter().filter(|topic| match topic {
            Topic::User => view.user.is_some(),
            _ => view.position(topic).is_some(),
        });
        let awaited = awaited.collect();
        drop(view);
        Some(Connection { link, last_id: 0, requests: HashMap::new(), awaited })
    }

    /// Serves a connection until it ends.
    async fn stay(&mut self, mut connection: Connection) -> Ended {
        let (topics, has_user): (Vec<Topic>, bool) = {
            let view = self.view();
            let is_requested = |topic: &&Topic| **topic != Topic::User && !connection.awaited.contains(topic);
            (view.topics.keys().filter(is_requested).cloned().collect(), view.user.is_some())
        };
        for topic in topics {
            if self.join(&mut connection, topic).await.is_none() {
                return Ended::Broken;
            }
        }
        if has_user && request(&mut connection, Request::Mailbox, "mailbox", &json!({})).await.is_none() {
            return Ended::Broken;
        }
        let (mut last, mut tick) = (Instant::now(), tokio::time::interval(TICK));
        loop {
            let done = tokio::select! {
                packet = connection.link.next() => {
                    last = Instant::now();
                    match packet {
                        Some(packet) => self.on_packet(&mut connection, &packet).await,
                        None => None,
                    }
                }
                command = self.command() => match command {
                    Some(Command::End) | None => {
                        connection.link.close().await;
                        return Ended::Stopped;
                    }
                    Some(command) => self.on_command(&mut connection, command).await,
                },
                _ = tick.tick() => {
                    let is_overdue = connection.requests.values().any(|(_, sent)| sent.elapsed() > TIMEOUT);
                    let is_dead = last.elapsed() > connection.link.heartbeat + Duration::from_secs(1);
                    match is_overdue || is_dead {
                        true => None,
                        false => self.acknowledge(&mut connection).await,
                    }
                }
            };
            if done.is_none() {
                return Ended::Broken;
            }
            let is_joining =
                connection.requests.values().any(|(request, _)| !matches!(request, Request::Acknowledge(_)));
            let mut view = self.view();
            view.is_settled = !is_joining && connection.awaited.is_empty() && (!has_user || view.inbox.is_open);
        }
    }

    async fn on_command(&mut self, connection: &mut Connection, command: Command) -> Option<()> {
        match command {
            Command::Join(room) => {
                let topic = Topic::Room(room);
                self.view().topics.entry(topic.clone()).or_default();
                self.join(connection, topic).await
            }
            Command::Leave(room) => {
                {
                    let mut view = self.view();
                    view.topics.remove(&Topic::Room(room.clone()));
                    view.leaving.insert(room.clone());
                }
                let argument = json!({"room": room});
                request(connection, Request::Leave(room), "leave", &argument).await
            }
            Command::Break(pause) => {
                self.online_at = Instant::now() + pause;
                None
            }
            Command::Renew(token, issued_ms) => {
                let argument = json!({"token": token});
                request(connection, Request::Token(token, issued_ms), "token", &argument).await
            }
            Command::Acknowledge(count) => {
                self.view().inbox.acknowledge(count);
                self.acknowledge(connection).await
            }
            Command::SignIn(..) | Command::End => Some(()),
        }
    }

    async fn join(&mut self, connection: &mut Connection, topic: Topic) -> Option<()> {
        let since = self.view().position(&topic);
        let argument = topic.join(since);
        request(connection, Request::Join(topic, since.is_some()), "join", &argument).await
    }

    /// Sends the acknowledgements that are not confirmed, unless some are on their way.
    async fn acknowledge(&mut self, connection: &mut Connection) -> Option<()> {
        let is_sending = connection.requests.values().any(|(one, _)| matches!(one, Request::Acknowledge(_)));
        let ids: BTreeSet<u64> = self.view().inbox.pending.iter().copied().take(500).collect();
        if is_sending || ids.is_empty() || !self.view().inbox.is_open {
            return Some(());
        }
        let texts: Vec<String> = ids.iter().map(u64::to_string).collect();
        request(connection, Request::Acknowledge(ids), "acknowledge", &json!({"ids": texts})).await
    }

    /// Handles an Engine.IO packet. Returns `None` if the connection ended.
    async fn on_packet(&mut self, connection: &mut Connection, packet: &str) -> Option<()> {
        if packet == "2" {
            return connection.link.send("3").await;
        }
        self.view().trace(packet);
        let packet = packet.strip_prefix('4').and_then(Packet::read)?;
        match packet.kind {
            '1' => return None,
            '2' => return self.on_event(connection, &packet.value()).await,
            '3' => {}
            _ => self.view().violate(format!("an unexpected packet: {packet:?}")),
        }
        let (Some((request, _)), reply) = (connection.requests.remove(&packet.id?), packet.value()) else {
            self.view().violate(format!("an unsolicited acknowledgement: {packet:?}"));
            return None;
        };
        let mut view = self.view();
        match request {
            Request::Join(topic, had_position) if reply[0].is_null() => {
                view.on_joined(&topic, had_position, &reply[2]);
            }
            Request::Join(Topic::Room(room), _) if reply[0] == "Token has been revoked" => view.on_revoked(&room),
            Request::Leave(room) if reply[0].is_null() => drop(view.leaving.remove(&room)),
            Request::Acknowledge(ids) if reply[0].is_null() => {
                view.inbox.on_confirmed(&ids, reply[1]["unread"].as_u64())
            }
            // The next tick repeats it.
            Request::Acknowledge(_) if reply[0] == "Unavailable" || reply[0] == "Busy" => {}
            Request::Token(token, issued_ms) if reply[0].is_null() => {
                (view.token, view.issued_ms) = (token, issued_ms);
            }
            Request::Token(..) if reply[0] == "Token has been revoked" => {}
            Request::Mailbox if reply[0].is_null() => {}
            Request::Join(..)
            | Request::Leave(_)
            | Request::Acknowledge(_)
            | Request::Token(..)
            | Request::Mailbox => {
                view.violate(format!("a request was refused: {reply}"));
            }
        }
        Some(())
    }

    async fn on_event(&mut self, connection: &mut Connection, event: &Value) -> Option<()> {
        let (name, value) = (event[0].as_str().unwrap_or_default(), &event[1]);
        let topic = Topic::of(value);
        match (name, topic) {
            ("drain" | "identified", _) => {}
            ("event" | "skipped" | "lost", _) => self.view().on_event(name, value),
            ("joined", Some(topic)) => {
                connection.awaited.retain(|one| *one != topic);
                let mut view = self.view();
                let had_position = view.position(&topic).is_some();
                view.on_joined(&topic, had_position, value);
            }
            ("revoked", Some(Topic::Room(room))) => {
                let is_watcher = {
                    let mut view = self.view();
                    if view.user.is_some() && !view.leaving.contains(&room) {
                        view.on_revoked(&room);
                    }
                    view.user.is_none()
                };
                // Who has no user has no token that was revoked, and comes back at once.
                if is_watcher {
                    return self.join(connection, Topic::Room(room)).await;
                }
            }
            ("revoked", None) => {
                self.view().sign_out();
                return None;
            }
            ("mailbox", _) => {
                let mut view = self.view();
                if let Err(what) = view.inbox.on_page(value) {
                    view.violate(format!("{what}, in {value}"));
                }
            }
            ("acknowledged", _) => self.view().inbox.on_acknowledged(value),
            _ => self.view().violate(format!("an unknown event: {event}")),
        }
        Some(())
    }
}

/// Sends an event that has a reply.
async fn request(connection: &mut Connection, request: Request, event: &str, argument: &Value) -> Option<()> {
    connection.last_id += 1;
    let id = connection.last_id;
    connection.requests.insert(id, (request, Instant::now()));
    connection.link.send(format!("42{NAMESPACE},{id}{}", json!([event, argument]))).await
}
