//! Mailboxes: the messages for one user, and how they are stored in Redis.
//!
//! The keys and scripts are here and not in the server because they are part of the protocol between programs that share
//! a Redis, as those of [`crate::history`] are.

use crate::history::{PREFIX, Scope};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

macro_rules! script {
    ($file:literal) => {
        concat!(include_str!("../redis/mailbox_prelude.lua"), include_str!(concat!("../redis/", $file)))
    };
}

/// Stores a message and notifies the servers, in one step. The text documents its keys and arguments.
pub const STORE: &str = script!("mailbox_store.lua");
/// Reads a page of messages.
pub const READ: &str = script!("mailbox_read.lua");
/// Removes messages and notifies the servers, in one step.
pub const ACKNOWLEDGE: &str = script!("mailbox_acknowledge.lua");
/// Keeps the mailbox of a user who is or was connected.
pub const SEEN: &str = include_str!("../redis/mailbox_seen.lua");
/// Takes one of the namespace's places for a mailbox of a user who was never seen.
pub const PLACE: &str = include_str!("../redis/mailbox_place.lua");

/// Frees such a place.
pub const FREE: &str = include_str!("../redis/mailbox_free.lua");
/// Makes a device of a user known, which then has a mailbox of its own, and keeps it so.
pub const DEVICE: &str = script!("mailbox_device.lua");
/// Returns some of the users that have a place.
pub const SAMPLE: &str = include_str!("../redis/mailbox_sample.lua");

/// Devices of one user that have mailboxes of their own. A new one takes the place of the one that was seen least recently.
pub const MAX_DEVICES: usize = 32;
/// The longest name of a device. Bytes.
pub const MAX_DEVICE_BYTES: usize = 128;
/// Between the user and the device in the name of a mailbox. Neither contains it.
const DEVICE_SEPARATOR: char = '\u{1}';

/// The largest number that every language reads exactly.
const MAX_ID: u64 = (1 << 53) - 1;

/// The id of a message in its mailbox. Later messages have larger ids.
///
/// # Shape
/// The decimal digits of the time at which it was stored, in microseconds since the Unix epoch. On the wire it is a string.
/// Clients send it back and compare it for equality only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId(u64);

/// The messages that a client or an application acknowledges.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acknowledgement {
    /// All messages up to this one, and this one.
    pub up_to: Option<MessageId>,
    /// These messages, in any order.
    pub ids: Vec<MessageId>,
}

/// The names of a mailbox's keys. All of them are in one slot of a cluster.
///
/// # Shape
/// `nodevent:1:{<bytes of namespace>:<namespace>:mailbox:<bytes of user>:<user>}:<kind>`. The tag of a room has the
/// digits of a length in the place of `mailbox`, so the keys of rooms and users differ whatever the names contain. The
/// mailbox of a device has `device:<bytes of device>:<device>:<kind>` in the place of the kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxKeys {
    /// The hash of the newest id and the bytes.
    pub state: String,
    /// The stream of messages.
    pub messages: String,
    /// The sorted set of expiries.
    pub expiries: String,
    /// The sorted set of the user's devices.
    pub devices: String,
    tag: String,
}

/// The arguments of the script [`STORE`].
#[derive(Clone, Debug)]
pub struct Store<'a> {
    /// The channel of the namespace's mailboxes.
    pub channel: &'a str,
    /// The text of the message: a JSON object with at least one member.
    pub text: &'a str,
    /// The user.
    pub user: &'a str,
    /// Messages that the mailbox may hold.
    pub count: usize,
    /// Bytes that it may hold.
    pub bytes: usize,
    /// How long it is kept while its user is not connected. Zero: without a limit.
    pub age: Duration,
    /// Whether the message may create the mailbox.
    pub create: Create,
    /// How long the message is kept, whatever happens.
    pub ttl: Option<Duration>,
    /// How long the idempotency key is stored, if there is one.
    pub idempotency_ttl: Duration,
}

/// The reply of the script [`STORE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreReply {
    /// It is stored.
    Stored {
        /// Its id.
        id: MessageId,
        /// Messages that were removed for it.
        dropped: u64,
    },
    /// It was stored before with the same idempotency key.
    Duplicate(MessageId),
    /// The user is not known.
    Unknown,
    /// The user needs a place first; see [`PLACE`].
    NeedsPlace,
}

/// How long an idempotency key is stored if mailboxes have no age.
const DEFAULT_IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a message may create a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Create {
    /// It may not: users who were never seen have none.
    Never,
    /// It may, after its user has a place.
    NeedsPlace,
    /// It may.
    Always,
}

/// What the scripts publish.
#[derive(Debug, PartialEq, Eq)]
pub enum Notice {
    /// A message was stored.
    Stored {
        /// The user.
        user: Box<str>,
        /// Its id.
        id: MessageId,
        /// The id of the message before it, which may have been removed. 0: there was none.
        previous: MessageId,
        /// Messages in the mailbox now.
        unread: u64,
        /// The message.
        text: Box<str>,
    },
    /// Messages were acknowledged.
    Acknowledged {
        /// The user.
        user: Box<str>,
        /// The messages.
        acknowledgement: Acknowledgement,
        /// Messages in the mailbox now.
        unread: u64,
    },
}

// === impl MessageId ===

impl MessageId {
    /// Before all messages.
    pub const FIRST: Self = Self(0);
    /// After all messages.
    pub const LAST: Self = Self(MAX_ID);

    /// The id of a message that is stored at this time, in microseconds, after the message `newest`.
    #[must_use]
    pub fn next(now_us: u64, newest: Self) -> Self {
        Self(now_us.max(newest.0 + 1).min(MAX_ID))
    }

    /// When it was stored, unless several were stored within a microsecond. Milliseconds since the Unix epoch.
    #[must_use]
    pub fn stored_ms(self) -> u64 {
        self.0 / 1000
    }

    /// Parses an id. `None`: it was never assigned.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_number = (1..=16).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = if is_number { text.parse().ok()? } else { return None };
        (number <= MAX_ID && (text == "0" || !text.starts_with('0'))).then_some(Self(number))
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

// === impl Acknowledgement ===

impl Acknowledgement {
    /// Whether it includes a message.
    #[must_use]
    pub fn includes(&self, id: MessageId) -> bool {
        self.up_to.is_some_and(|last| id <= last) || self.ids.contains(&id)
    }
}

// === impl Scope ===

impl Scope {
    /// Returns the keys of a mailbox: that of a user, or of a device of one; see [`of_device`].
    #[must_use]
    pub fn mailbox(&self, namespace: &str, name: &str) -> MailboxKeys {
        let (user, device) = user_and_device(name);
        let prefix = &self.prefix;
        let tag = format!("{prefix}{PREFIX}{{{}:{namespace}:mailbox:{}:{user}}}", namespace.len(), user.len());
        let of = device.map(|device| format!("device:{}:{device}:", device.len())).unwrap_or_default();
        MailboxKeys {
            state: format!("{tag}:{of}state"),
            messages: format!("{tag}:{of}messages"),
            expiries: format!("{tag}:{of}expiries"),
            devices: format!("{tag}:devices"),
            tag,
        }
    }

    /// Returns the channel of what happens in a namespace's mailboxes.
    #[must_use]
    pub fn mailbox_channel(&self, namespace: &str) -> String {
        format!("{}{PREFIX}mailboxes:{}:{namespace}", self.prefix, self.db)
    }

    /// Returns the key of the users that have a place; see [`PLACE`].
    #[must_use]
    pub fn mailbox_places(&self, namespace: &str) -> String {
        format!("{}{PREFIX}places:{namespace}", self.prefix)
    }
}

// === impl MailboxKeys ===

impl MailboxKeys {
    /// Returns the keys that every script expects first.
    #[must_use]
    pub fn all(&self) -> Vec<String> {
        vec![self.state.clone(), self.messages.clone(), self.expiries.clone()]
    }

    /// Returns the key that stores the id for an idempotency key.
    #[must_use]
    pub fn idempotency(&self, idempotency_key: &str) -> String {
        format!("{}:once:{idempotency_key}", self.tag)
    }
}

// === impl Store ===

impl Store<'_> {
    /// Returns the script's arguments in its order.
    #[must_use]
    pub fn args(&self) -> [String; 10] {
        let create = match self.create {
            Create::Never => "known",
            Create::NeedsPlace => "place",
            Create::Always => "any",
        };
        [
            self.channel.to_owned(),
            self.text.to_owned(),
            json_string(self.user),
            self.count.to_string(),
            self.bytes.to_string(),
            self.age.as_millis().to_string(),
            create.to_owned(),
            self.ttl.map(|ttl| ttl.as_millis().max(1).to_string()).unwrap_or_default(),
            self.idempotency_ttl.as_millis().max(1).to_string(),
            MAX_DEVICES.to_string(),
        ]
    }
}

// === impl StoreReply ===

impl StoreReply {
    /// Reads the reply. `None`: the script did not send it.
    #[must_use]
    pub fn read(status: &str, id: &str, dropped: u64) -> Option<Self> {
        match (status, MessageId::parse(id)) {
            ("stored", Some(id)) => Some(Self::Stored { id, dropped }),
            ("duplicate", Some(id)) => Some(Self::Duplicate(id)),
            ("unknown", _) => Some(Self::Unknown),
            ("place", _) => Some(Self::NeedsPlace),
            _ => None,
        }
    }
}

/// Returns the name of the mailbox of a device. The name of a user's own mailbox is the user.
#[must_use]
pub fn of_device(user: &str, device: &str) -> String {
    format!("{user}{DEVICE_SEPARATOR}{device}")
}

/// Returns the user, and the device if the mailbox is that of one.
#[must_use]
pub fn user_and_device(name: &str) -> (&str, Option<&str>) {
    match name.split_once(DEVICE_SEPARATOR) {
        Some((user, device)) => (user, Some(device)),
        None => (name, None),
    }
}

/// Whether a text can name a device.
#[must_use]
pub fn is_device(text: &str) -> bool {
    (1..=MAX_DEVICE_BYTES).contains(&text.len()) && !text.contains(char::is_control)
}

/// Returns the keys of the script [`DEVICE`] for the mailbox of a device.
#[must_use]
pub fn device_keys(scope: &Scope, namespace: &str, name: &str) -> Vec<String> {
    let (of_user, own) = (scope.mailbox(namespace, user_and_device(name).0), scope.mailbox(namespace, name));
    let mut keys = of_user.all();
    keys.push(own.devices.clone());
    keys.extend(own.all());
    keys
}

/// Returns the arguments of the script [`DEVICE`] in its order. `keep`: how long the mailbox is kept from now on. Zero:
/// without a limit.
#[must_use]
pub fn device_args(name: &str, keep: Duration) -> Vec<String> {
    let device = user_and_device(name).1.unwrap_or_default();
    vec![device.to_owned(), keep.as_millis().to_string(), MAX_DEVICES.to_string()]
}

/// Returns how long an idempotency key is stored in mailboxes of this age.
#[must_use]
pub fn idempotency_ttl(age: Duration) -> Duration {
    if age.is_zero() { DEFAULT_IDEMPOTENCY_TTL } else { age }
}

/// Returns the arguments of the script [`PLACE`] in its order.
#[must_use]
pub fn place_args(user: &str, age: Duration, max_mailboxes: usize) -> Vec<String> {
    vec![user.to_owned(), age.as_millis().to_string(), max_mailboxes.to_string()]
}

/// Returns the arguments of the script [`ACKNOWLEDGE`] in its order.
#[must_use]
pub fn acknowledge_args(
    channel: &str,
    user: &str,
    age: Duration,
    acknowledgement: &Acknowledgement,
) -> Vec<String> {
    let up_to = acknowledgement.up_to.map(|id| id.to_string()).unwrap_or_default();
    let mut args = vec![channel.to_owned(), json_string(user), age.as_millis().to_string(), up_to];
    args.extend(acknowledgement.ids.iter().map(ToString::to_string));
    args
}

/// Returns the text of a message: `sent` is the time in milliseconds since the Unix epoch, and `message` the text of a JSON
/// value. The engine appends the id as the last member, with [`with_id`] or in Redis.
#[must_use]
pub fn message_text(event: &str, message: &str, sent: u64) -> String {
    format!("{{\"event\":{},\"message\":{message},\"sent\":{sent}}}", json_string(event))
}

/// Returns the text of a message with its id as the last member.
#[must_use]
pub fn with_id(text: &str, id: MessageId) -> String {
    format!("{},\"id\":\"{id}\"}}", text.strip_suffix('}').unwrap_or(text))
}

/// Whether a text can be a message: it is the text of a JSON object and nothing else.
#[must_use]
pub fn is_message(text: &str) -> bool {
    text.starts_with('{')
        && serde_json::from_str::<&RawValue>(text).is_ok_and(|value| value.get().len() == text.len())
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

// === impl Notice ===

impl Notice {
    /// Parses what a script published. `None`: no script published it.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Wire<'a> {
            user: Box<str>,
            unread: u64,
            id: Option<&'a str>,
            previous: Option<&'a str>,
            #[serde(borrow)]
            message: Option<&'a RawValue>,
            up_to: Option<&'a str>,
            #[serde(borrow, default)]
            ids: Vec<&'a str>,
        }
        let Wire { user, unread, id, previous, message, up_to, ids } = serde_json::from_slice(bytes).ok()?;
        if let Some(message) = message {
            if !is_message(message.get()) {
                return None;
            }
            let (id, previous) = (MessageId::parse(id?)?, MessageId::parse(previous?)?);
            return Some(Self::Stored { user, id, previous, unread, text: message.get().into() });
        }
        let up_to = match up_to? {
            "" => None,
            id => Some(MessageId::parse(id)?),
        };
        let ids = ids.into_iter().map(MessageId::parse).collect::<Option<_>>()?;
        Some(Self::Acknowledged { user, acknowledgement: Acknowledgement { up_to, ids }, unread })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn id(text: &str) -> MessageId {
        MessageId::parse(text).unwrap()
    }

    #[test]
    fn ids_are_decimal_numbers_that_every_language_reads_and_grow_even_if_the_clock_goes_back() {
        for text in ["", "-1", "+1", "01", "1.0", "1e3", " 1", "9007199254740992", "99999999999999999", "١"] {
            assert_eq!(MessageId::parse(text), None, "{text:?}");
        }
        assert_eq!(id("1764412345678901").to_string(), "1764412345678901");
        assert_eq!(MessageId::next(5, id("9")), id("10"));
        assert_eq!(MessageId::next(50, id("9")), id("50"));
        assert_eq!(MessageId::next(u64::MAX, id("9")), MessageId::LAST);
    }

    #[test]
    fn keys_of_mailboxes_rooms_and_places_never_collide_and_share_a_tag() {
        // Texts that are parts of each other's composed names.
        let names =
            ["/a", "a", "mailbox", "mailbox:1:a", "a}:state", "a}:once:k", "1:a", "", "}:messages", "2:/a:1:b"];
        let (mut seen, mut count) = (HashSet::new(), 0);
        let mut add = |name: String| {
            count += 1;
            assert!(seen.insert(name.clone()), "{name}");
        };
        for prefix in [None, Some("a"), Some("nodevent")] {
            let scope = Scope::new(prefix, 0).unwrap();
            for namespace in names {
                add(scope.mailbox_channel(namespace));
                add(scope.mailbox_places(namespace));
                add(scope.secrets(namespace));
                for name in names {
                    let (mailbox, room) = (scope.mailbox(namespace, name), scope.keys(namespace, name));
                    mailbox.all().into_iter().for_each(&mut add);
                    [room.position.clone(), room.log.clone(), room.channel()].into_iter().for_each(&mut add);
                    for key in names {
                        add(mailbox.idempotency(key));
                        add(room.idempotency(key));
                    }
                    let tag = |key: &str| key[key.find('{').unwrap()..=key.find('}').unwrap()].to_owned();
                    assert_eq!(tag(&mailbox.state), tag(&mailbox.messages));
                    assert_eq!(tag(&mailbox.state), tag(&mailbox.idempotency("k")));
                }
            }
        }
        assert!(count > 1000);
    }

    #[test]
    fn mailboxes_of_devices_share_the_tag_of_their_user_and_no_key() {
        let scope = Scope::new(None, 0).unwrap();
        let (mut seen, names) = (HashSet::new(), ["a", "a:state", "state", "1:a", "s", ":", "\"", "devices"]);
        for user in names {
            let of_user = scope.mailbox("/n", user);
            let tag = format!("{}:", of_user.state.strip_suffix(":state").unwrap());
            for key in of_user.all().into_iter().chain([of_user.devices.clone(), of_user.idempotency("k")]) {
                assert!(seen.insert(key.clone()), "{key}");
            }
            for device in names {
                let name = of_device(user, device);
                assert_eq!(user_and_device(&name), (user, Some(device)));
                for key in scope.mailbox("/n", &name).all() {
                    assert!(key.starts_with(&tag) && seen.insert(key.clone()), "{key}");
                }
                assert_eq!(device_keys(&scope, "/n", &name)[3], of_user.devices);
            }
        }
        assert_eq!(user_and_device("a"), ("a", None));
        assert!(is_device("phone 1") && !is_device("") && !is_device("a\u{1}b") && !is_device(&"x".repeat(129)));
    }

    #[test]
    fn what_the_scripts_publish_is_read_and_anything_else_is_not() {
        let stored = br#"{"user":"a\"b","id":"7","previous":"0","unread":2,"message":{"event":"e","id":"7"}}"#;
        let expected = Notice::Stored {
            user: "a\"b".into(),
            id: id("7"),
            previous: MessageId::FIRST,
            unread: 2,
            text: r#"{"event":"e","id":"7"}"#.into(),
        };
        assert_eq!(Notice::parse(stored), Some(expected));
        let acknowledgement = Acknowledgement { up_to: None, ids: vec![id("7"), id("9")] };
        assert!(acknowledgement.includes(id("9")) && !acknowledgement.includes(id("8")));
        let text = br#"{"user":"a","unread":0,"up_to":"","ids":["7","9"]}"#;
        assert_eq!(
            Notice::parse(text),
            Some(Notice::Acknowledged { user: "a".into(), acknowledgement, unread: 0 })
        );
        for other in [
            "",
            "{}",
            "[]",
            r#"{"user":"a","unread":0}"#,
            r#"{"user":"a","unread":0,"up_to":"x"}"#,
            r#"{"user":"a","id":"7","previous":"0","unread":2,"message":7}"#,
        ] {
            assert_eq!(Notice::parse(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn text_of_a_message_gets_its_id_as_the_last_member() {
        let text = message_text("a\"b", "[1]", 5);
        assert_eq!(with_id(&text, id("7")), r#"{"event":"a\"b","message":[1],"sent":5,"id":"7"}"#);
    }
}
