//! The namespaces: every key that begins with `/`, or the flat keys that an old gem's file has.

use super::history::History;
use super::redis::Redis;
use super::report::{Place, Report};
use super::table::Table;
use super::tree::{Node, Value};
use nodevent_protocol::key::Secret;
use std::time::Duration;

/// Secrets shorter than this can be found by trying. Bytes.
const SHORT: usize = 16;
/// The dialects that are built.
const DIALECTS: [&str; 1] = ["nodevent"];
/// The protocols that are built.
const PROTOCOLS: [(&str, Protocol); 2] = [("socket_io", Protocol::SocketIo), ("plain", Protocol::Plain)];
/// The namespace where none is named.
pub const DEFAULT: &str = "/nodevent";

/// A protocol that browsers may speak in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// Engine.IO and Socket.IO, with a dialect inside.
    SocketIo,
    /// Plain WebSocket and server-sent events.
    Plain,
}

/// One namespace.
#[derive(Debug, Clone)]
pub struct Namespace {
    /// Its name with the leading slash.
    pub name: String,
    /// Its engine: `None` is the memory engine.
    pub redis: Option<Redis>,
    /// The protocols that browsers may speak; at least one.
    pub protocols: Vec<Protocol>,
    /// The vocabulary of events inside Socket.IO.
    pub dialect: String,
    /// Secrets by which room keys may be signed, the first of them signs.
    pub secrets: Vec<Secret>,
    /// The longest time from now at which a key may still expire. Keys that are valid for longer are rejected.
    pub max_key_lifetime: Option<Duration>,
    /// What a publisher over HTTP has to show.
    pub publish_key: Option<Secret>,
    /// What is kept of its rooms.
    pub history: History,
    /// Whether each room has its own channel in Redis, so that a server receives only the rooms of its members.
    pub channel_per_room: bool,
}

// === impl Namespace ===

impl Namespace {
    /// A namespace of which only the name is known: open, in memory.
    pub fn named(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            redis: None,
            protocols: vec![Protocol::SocketIo],
            dialect: DIALECTS[0].to_owned(),
            secrets: Vec::new(),
            max_key_lifetime: None,
            publish_key: None,
            history: History::default(),
            channel_per_room: false,
        }
    }

    fn read(name: &str, node: &Node, report: &mut Report) -> Self {
        let mut namespace = Self::named(name);
        if let Some(mut table) = Table::open(node, name, report) {
            namespace.read_keys(&mut table, report);
            table.finish(report);
        }
        namespace
    }

    fn read_keys(&mut self, table: &mut Table<'_>, report: &mut Report) {
        let path = table.name("redis");
        if let Some(node) = table.take(&["redis"]) {
            self.redis = Redis::read(node, &path, report);
        }
        self.read_secrets(table, report);
        let place = table.place_of(&["publish_key", "apiKey"]);
        let name = table.name("publish_key");
        if let Some(key) = table.text(&["publish_key", "apiKey"], report) {
            self.publish_key = secret(&key, &name, place, report);
        }
        self.max_key_lifetime = table.duration(&["max_key_lifetime"], report);
        let place = table.place_of(&["dialect"]);
        if let Some(dialect) = table.text(&["dialect"], report) {
            if !DIALECTS.contains(&dialect.as_str()) {
                let what = format!("{}: there is no dialect `{dialect}` in this version", table.name("dialect"));
                report.mistake(place, what, format!("write one of: {}", DIALECTS.join(", ")));
            }
            self.dialect = dialect;
        }
        self.read_protocols(table, report);
        let name = table.name("history");
        if let Some(node) = table.take(&["history"]) {
            self.history = History::read(node, &name, report);
        }
        // Where and how the gem publishes; nothing for the server.
        table.take(&["url"]);
        table.take(&["publisher"]);
        self.channel_per_room = table.flag(&["channel_per_room"], report).unwrap_or(false);
    }

    fn read_protocols(&mut self, table: &mut Table<'_>, report: &mut Report) {
        let name = table.name("protocol");
        let mut protocols = Vec::new();
        for (text, place) in table.texts(&["protocol"], report) {
            match PROTOCOLS.iter().find(|(known, _)| *known == text) {
                Some((_, protocol)) if protocols.contains(protocol) => {}
                Some((_, protocol)) => protocols.push(*protocol),
                None => {
                    let names = PROTOCOLS.map(|(known, _)| known).join(", ");
                    let what = format!("{name}: there is no protocol `{text}` in this version");
                    report.mistake(place, what, format!("write one or a list of: {names}"));
                }
            }
        }
        if !protocols.is_empty() {
            self.protocols = protocols;
        }
    }

    fn read_secrets(&mut self, table: &mut Table<'_>, report: &mut Report) {
        let (place, name) = (table.place_of(&["secret"]), table.name("secret"));
        if let Some(text) = table.text(&["secret"], report) {
            self.secrets.extend(secret(&text, &name, place, report));
        }
        let name = table.name("secrets");
        let Some(node) = table.take(&["secrets"]) else { return };
        let Value::List(list) = &node.value else {
            report.mistake(node.place, format!("{name} is not a list"), "write `secrets: [{id: a, secret: …}]`");
            return;
        };
        for (index, node) in list.iter().enumerate() {
            let path = format!("{name}[{index}]");
            if let Value::Scalar(text) = &node.value {
                self.secrets.extend(secret(text, &path, node.place, report));
                continue;
            }
            let Some(mut table) = Table::open(node, &path, report) else { continue };
            table.take(&["id"]);
            let place = table.place_of(&["secret"]);
            match table.text(&["secret"], report) {
                Some(text) => self.secrets.extend(secret(&text, &format!("{path}.secret"), place, report)),
                None => {
                    report.mistake(table.place, format!("{path} has no secret"), "write `secret: <random text>`")
                }
            }
            table.finish(report);
        }
    }
}

/// Reads all namespaces of a file.
pub fn read(top: &mut Table<'_>, report: &mut Report) -> Vec<Namespace> {
    let mut all: Vec<Namespace> =
        top.take_prefixed("/").into_iter().map(|(name, _, node)| Namespace::read(name, node, report)).collect();
    let flat = top.text(&["namespace"], report).map(|name| format!("/{}", name.trim_start_matches('/')));
    let first = all.first().map(|namespace| namespace.name.clone());
    let mut namespace = Namespace::named(&flat.clone().or(first).unwrap_or_else(|| DEFAULT.to_owned()));
    namespace.read_keys(top, report);
    let says = namespace.redis.is_some() || !namespace.secrets.is_empty() || namespace.publish_key.is_some();
    if let Some(one) = all.iter_mut().find(|one| one.name == namespace.name) {
        if one.history == History::default() {
            one.history = namespace.history.clone();
        }
        one.channel_per_room |= namespace.channel_per_room;
    }
    match all.iter_mut().find(|one| one.name == namespace.name) {
        // The flat keys complete the namespace of that name; what stands below its name wins.
        Some(one) if says => {
            one.redis = one.redis.take().or(namespace.redis);
            if one.secrets.is_empty() {
                one.secrets = namespace.secrets;
            }
            one.publish_key = one.publish_key.take().or(namespace.publish_key);
        }
        Some(_) => {}
        None if says || flat.is_some() => all.push(namespace),
        None => {}
    }
    all
}

fn secret(text: &str, name: &str, place: Place, report: &mut Report) -> Option<Secret> {
    match Secret::new(text) {
        Ok(secret) => {
            if text.len() < SHORT {
                let what = format!("{name} has {} bytes and can be found by trying", text.len());
                report.warn(place, what, "use 32 random bytes or more, e.g. from `openssl rand -hex 32`");
            }
            Some(secret)
        }
        Err(_) => {
            let what = format!("{name} is empty, so anybody could forge what it signs");
            report.mistake(
                place,
                what,
                "write a long random text, e.g. from `openssl rand -hex 32`, or leave the key out",
            );
            None
        }
    }
}
