//! What one page has received, and where it is a member, without I/O. It records what must not occur as a violation.

use super::inbox::Inbox;
use nodevent_protocol::history::Position;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Instant;

/// Entries of the trace that are kept.
const MAX_TRACE: usize = 100;

/// A target as a page sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// The page's own user.
    User,
    Room(String),
    All,
}

/// A membership of a page.
#[derive(Debug, Default, Clone)]
pub struct Membership {
    /// When it began. `None`: the server has not confirmed it. It outlives lost connections.
    pub since: Option<Instant>,
    pub position: Option<Position>,
    /// The newest number that came through this target.
    last_number: u64,
}

/// A membership that was revoked or rejected.
#[derive(Debug, Clone)]
pub struct Ended {
    pub room: String,
    pub at: Instant,
    /// When the token was issued.
    pub issued_ms: u64,
}

/// How a page received a publication.
#[derive(Debug, Clone)]
struct Receipt {
    connection: u64,
    topic: Topic,
}

/// The last packets and commands of a page. Its `Debug` is empty, because [`View::trace_text`] prints it.
#[derive(Default)]
struct Trace(VecDeque<String>);

impl std::fmt::Debug for Trace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// The state of one page.
#[derive(Debug, Default)]
pub struct View {
    pub user: Option<String>,
    pub token: String,
    /// When the token was issued. Milliseconds since the Unix epoch.
    pub issued_ms: u64,
    /// Number of the connection.
    pub connection: u64,
    /// The page is connected, has done what it was commanded, and all its joins are confirmed.
    pub is_settled: bool,
    /// Commands that were sent to the page, and those that it has taken.
    pub commands: (u64, u64),
    /// Its user was revoked: it waits for a new token.
    pub is_signed_out: bool,
    pub topics: BTreeMap<Topic, Membership>,
    /// Rooms whose leave is not confirmed.
    pub leaving: BTreeSet<String>,
    received: HashMap<u64, Receipt>,
    pub inbox: Inbox,
    /// Who is in each room with presence, according to its events.
    pub present: BTreeMap<String, BTreeSet<String>>,
    /// Memberships that were revoked or rejected.
    pub ended_by_revocation: Vec<Ended>,
    pub violations: Vec<String>,
    /// The last packets and commands, for the message of a failure.
    trace: Trace,
}

// === impl Topic ===

impl Topic {
    /// The target that an event or a notice names.
    pub fn of(value: &Value) -> Option<Self> {
        if value["broadcast"] == true {
            return Some(Self::All);
        }
        if value["user"].is_string() {
            return Some(Self::User);
        }
        Some(Self::Room(value["room"].as_str()?.to_owned()))
    }

    /// The argument of a `join`.
    pub fn join(&self, since: Option<Position>) -> Value {
        let mut join = match self {
            Self::Room(room) => json!({"room": room}),
            Self::All | Self::User => json!({"broadcast": true}),
        };
        if let Some(since) = since {
            join["since"] = since.to_string().into();
        }
        join
    }
}

// === impl View ===

impl View {
    pub fn violate(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub fn trace(&mut self, what: impl Into<String>) {
        if self.trace.0.len() == MAX_TRACE {
            self.trace.0.pop_front();
        }
        self.trace.0.push_back(what.into());
    }

    pub fn trace_text(&self) -> String {
        self.trace.0.iter().map(|line| format!("\n  {line}")).collect()
    }

    pub fn has_received(&self, number: u64) -> bool {
        self.received.contains_key(&number)
    }

    /// Whether the page is a member of a room.
    pub fn is_in(&self, room: &str) -> bool {
        self.topics.contains_key(&Topic::Room(room.to_owned()))
    }

    pub fn position(&self, topic: &Topic) -> Option<Position> {
        self.topics.get(topic)?.position
    }

    /// Whether the page waits for nothing: it is connected and has no acknowledgement to send, or it is signed out.
    pub fn is_idle(&self) -> bool {
        let is_connected = self.is_settled && self.inbox.pending.is_empty();
        self.commands.0 == self.commands.1 && (is_connected || self.is_signed_out)
    }

    /// The server has revoked the user.
    pub fn sign_out(&mut self) {
        self.is_signed_out = true;
        self.topics.remove(&Topic::User);
    }

    /// A new token of the same user.
    pub fn sign_in(&mut self, token: String, issued_ms: u64) {
        (self.token, self.issued_ms, self.is_signed_out) = (token, issued_ms, false);
        self.topics.entry(Topic::User).or_default();
    }

    pub fn on_disconnect(&mut self) {
        self.is_settled = false;
        self.leaving.clear();
        self.inbox.on_disconnect();
    }

    /// A join is confirmed: the reply to `join`, or the notice about the user.
    pub fn on_joined(&mut self, topic: &Topic, had_position: bool, reply: &Value) {
        let Some(membership) = self.topics.get_mut(topic) else { return };
        membership.since.get_or_insert_with(Instant::now);
        if let Some(position) = reply["position"].as_str().and_then(Position::parse) {
            membership.position = Some(position);
        }
        if reply["recovered"] != true {
            self.violate(format!("{topic:?} has a gap: {reply}, with a position: {had_position}"));
        }
    }

    /// A membership ended by a revocation, or a join was rejected.
    pub fn on_revoked(&mut self, room: &str) {
        self.topics.remove(&Topic::Room(room.to_owned()));
        self.present.remove(room);
        let ended = Ended { room: room.to_owned(), at: Instant::now(), issued_ms: self.issued_ms };
        self.ended_by_revocation.push(ended);
    }

    /// Handles an event that concerns publications.
    pub fn on_event(&mut self, name: &str, value: &Value) {
        let Some(topic) = Topic::of(value) else { return self.violate(format!("no target: {name} {value}")) };
        if let Topic::Room(room) = &topic
            && self.leaving.contains(room)
        {
            // The server has not processed the leave, so it does not send another copy.
            if let Some(number) = value["message"].as_u64() {
                let connection = self.connection;
                self.received.entry(number).or_insert(Receipt { connection, topic });
            }
            return;
        }
        if topic == Topic::User && value["user"].as_str() != self.user.as_deref() {
            return self.violate(format!("of another user: {value}"));
        }
        if name == "lost" {
            return self.violate(format!("a gap: {value}"));
        }
        let Some(membership) = self.topics.get_mut(&topic) else {
            return self.violate(format!("received without a membership: {name} {value}"));
        };
        let position = value["position"].as_str().and_then(Position::parse);
        let before = membership.position;
        if let (Some(before), Some(position)) = (before, position)
            && before.epoch == position.epoch
            && position.offset <= before.offset
        {
            return self.violate(format!("{position} came after {before}: {value}"));
        }
        membership.position = position.or(before);
        if name == "skipped" {
            return;
        }
        if value["event"].as_str().is_some_and(|event| event.starts_with("nodevent:")) {
            return self.on_presence(value);
        }
        let Some(number) = value["message"].as_u64() else { return self.violate(format!("no number: {value}")) };
        if number <= membership.last_number {
            let last = membership.last_number;
            return self.violate(format!("{number} came after {last} through {topic:?}"));
        }
        membership.last_number = number;
        let receipt = Receipt { connection: self.connection, topic };
        // A client drops copies of one event that come through another target after a reconnect.
        if let Some(first) = self.received.get(&number) {
            if first.connection == receipt.connection || first.topic == receipt.topic {
                self.violate(format!("{number} came twice: {first:?}, {receipt:?}"));
            }
            return;
        }
        self.received.insert(number, receipt);
    }

    /// Users enter and leave in turn.
    fn on_presence(&mut self, value: &Value) {
        let (room, user) = (value["room"].as_str().unwrap_or_default(), &value["message"]["user"]);
        let user = user.as_str().unwrap_or_default().to_owned();
        let Some(present) = self.present.get_mut(room) else { return };
        let is_change = match value["event"].as_str() {
            Some("nodevent:enter") => present.insert(user),
            Some("nodevent:leave") => present.remove(&user),
            _ => false,
        };
        let count = present.len() as u64;
        if !is_change || value["message"]["count"] != count {
            self.violate(format!("{value}, when there were {count}"));
        }
    }
}
