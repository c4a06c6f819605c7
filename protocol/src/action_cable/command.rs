//! Commands: what clients send.

use crate::history::Position;
use crate::publication::{raw_members, string};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;

/// A command of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command<'a> {
    /// `{"command": "subscribe", "identifier": …, "history": …, "presence": …}`
    Subscribe(Identifier<'a>, Option<History<'a>>, Option<Entry<'a>>),
    /// `{"command": "unsubscribe", "identifier": …}`
    Unsubscribe(Identifier<'a>),
    /// `{"command": "message", "identifier": …, "data": …}`. The data is a string that holds JSON. `None`: it is missing, or
    /// not a string.
    Message(Identifier<'a>, Option<Cow<'a, str>>),
    /// `{"command": "history", "identifier": …, "history": …}`, of the extended protocol.
    History(Identifier<'a>, History<'a>),
    /// `{"command": "whisper", "identifier": …, "data": …}`, of the extended protocol, with the text of the data: a JSON value.
    Whisper(Identifier<'a>, &'a str),
    /// `{"command": "join", "identifier": …, "presence": …}`, of the extended protocol.
    Join(Identifier<'a>, Entry<'a>),
    /// `{"command": "leave", "identifier": …}`, of the extended protocol.
    Leave(Identifier<'a>),
    /// `{"command": "presence", "identifier": …, "data": {"return_records": …}}`, of the extended protocol: whether the members
    /// are wanted, or their number alone.
    Presence(Identifier<'a>, bool),
    /// `{"command": "ping"}`, of the extended protocol.
    Ping,
    /// `{"command": "pong"}`, of the extended protocol.
    Pong,
}

/// The identifier of a subscription: a string that holds JSON. A client finds its subscriptions by that string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identifier<'a> {
    /// The string as a JSON value, quotes included, to send it back.
    pub json: Cow<'a, str>,
    /// The string. `None`: it is not text, because it contains half of a surrogate pair.
    pub text: Option<Cow<'a, str>>,
}

/// What a client of the extended protocol has received.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History<'a> {
    /// The time since which it wants what was published to streams that [`History::streams`] does not list. Seconds
    /// since the Unix epoch.
    pub since: Option<u64>,
    /// The positions of streams, by their `stream_id`. `None`: it is not a position that a server has assigned.
    pub streams: Vec<(Cow<'a, str>, Option<Position>)>,
}

/// As whom a client of the extended protocol is present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The id. `None`: it is missing, or neither text nor a whole number.
    pub id: Option<Cow<'a, str>>,
    /// What the client says about itself: the text of a JSON value.
    pub info: Option<&'a str>,
}

/// Why a message is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It is not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// Its `command` is missing, not text, or not known.
    #[error("unknown command")]
    UnknownCommand,
    /// Its `identifier` is missing or not a string.
    #[error("identifier is not a string")]
    NoIdentifier,
}

/// The streams of a `history` that are read. A subscription has one.
pub const MAX_STREAMS: usize = 64;

// === impl Command ===

impl<'a> Command<'a> {
    /// Parses a message. If a member occurs twice, the last one counts, as for `JSON.parse`.
    ///
    /// # Errors
    /// [`CommandError`].
    pub fn parse(text: &'a str) -> Result<Self, CommandError> {
        let members = raw_members(text).ok_or(CommandError::NotAnObject)?;
        let command =
            members.get("command").and_then(|raw| string(raw.get())).ok_or(CommandError::UnknownCommand)?;
        let identifier = || Identifier::read(members.get("identifier").copied());
        let history = || members.get("history").and_then(|raw| History::read(raw));
        let entry = || members.get("presence").and_then(|raw| Entry::read(raw));
        let data = members.get("data").map(|raw| raw.get());
        match &*command {
            "subscribe" => Ok(Self::Subscribe(identifier()?, history(), entry())),
            "unsubscribe" => Ok(Self::Unsubscribe(identifier()?)),
            "message" => {
                let data = members.get("data").and_then(|raw| string(raw.get()));
                Ok(Self::Message(identifier()?, data))
            }
            "history" => Ok(Self::History(identifier()?, history().unwrap_or_default())),
            "whisper" => Ok(Self::Whisper(identifier()?, data.unwrap_or("null"))),
            "join" => Ok(Self::Join(identifier()?, entry().unwrap_or_default())),
            "leave" => Ok(Self::Leave(identifier()?)),
            "presence" => Ok(Self::Presence(identifier()?, data.is_none_or(wants_records))),
            "ping" => Ok(Self::Ping),
            "pong" => Ok(Self::Pong),
            _ => Err(CommandError::UnknownCommand),
        }
    }
}

// === impl Identifier ===

impl<'a> Identifier<'a> {
    /// Reads an identifier from a JSON value. `None`: it is not a string.
    #[must_use]
    pub fn of(json: &'a str) -> Option<Self> {
        serde_json::from_str::<&RawValue>(json).ok().and_then(|raw| Self::read(Some(raw)).ok())
    }

    fn read(raw: Option<&'a RawValue>) -> Result<Self, CommandError> {
        let raw = raw.map(RawValue::get).filter(|raw| raw.starts_with('"')).ok_or(CommandError::NoIdentifier)?;
        Ok(match string(raw) {
            // Spellings with other escapes are the same string.
            Some(text) => Self { json: Cow::Owned(serde_json::Value::from(&*text).to_string()), text: Some(text) },
            None => Self { json: Cow::Borrowed(raw), text: None },
        })
    }
}

// === impl History ===

impl<'a> History<'a> {
    /// `None`: it is not an object.
    fn read(raw: &'a RawValue) -> Option<Self> {
        let members = raw_members(raw.get())?;
        let since = members.get("since").and_then(|raw| raw.get().parse().ok());
        let streams = members.get("streams").and_then(|raw| raw_members_in_order(raw.get())).unwrap_or_default();
        let streams = streams.into_iter().take(MAX_STREAMS).map(|(id, place)| (id, position(place)));
        Some(Self { since, streams: streams.collect() })
    }

    /// The position of a stream. `Some(None)`: it names one that no server has assigned.
    #[must_use]
    pub fn of(&self, stream: &str) -> Option<Option<Position>> {
        self.streams.iter().rev().find(|(id, _)| id == stream).map(|(_, position)| *position)
    }
}

/// Whether the data of a command `presence` ask for the members, as they do if they say nothing else.
fn wants_records(data: &str) -> bool {
    let members = raw_members(data);
    members.and_then(|members| members.get("return_records").map(|raw| raw.get())) != Some("false")
}

// === impl Entry ===

impl<'a> Entry<'a> {
    /// `None`: it is not an object.
    fn read(raw: &'a RawValue) -> Option<Self> {
        let members = raw_members(raw.get())?;
        let text = |raw: &&'a RawValue| {
            let is_number = raw.get().bytes().all(|byte| byte.is_ascii_digit());
            string(raw.get()).or_else(|| is_number.then(|| Cow::Borrowed(raw.get())))
        };
        Some(Self { id: members.get("id").and_then(text), info: members.get("info").map(|raw| raw.get()) })
    }
}

/// The members of an object, sorted by their names.
fn raw_members_in_order(text: &str) -> Option<Vec<(Cow<'_, str>, &RawValue)>> {
    let members: HashMap<String, &RawValue> = raw_members(text)?;
    let mut members: Vec<(Cow<'_, str>, &RawValue)> =
        members.into_iter().map(|(name, raw)| (Cow::Owned(name), raw)).collect();
    members.sort_by(|(one, _), (other, _)| one.cmp(other));
    Some(members)
}

/// Reads `{"epoch": "…", "offset": …}`.
fn position(raw: &RawValue) -> Option<Position> {
    let members = raw_members(raw.get())?;
    let epoch = string(members.get("epoch")?.get())?;
    let offset: u64 = members.get("offset")?.get().parse().ok()?;
    Position::parse(&format!("{epoch}:{offset}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_the_same_whatever_escapes_it_is_written_with() {
        let parse = |identifier: &str| {
            let text = format!(r#"{{"command":"unsubscribe","identifier":{identifier}}}"#);
            match Command::parse(&text).unwrap() {
                Command::Unsubscribe(Identifier { json, text }) => (json.into_owned(), text.map(Cow::into_owned)),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(parse(r#""\u0041""#), parse(r#""A""#));
        assert_eq!(parse(r#""A""#), ("\"A\"".to_owned(), Some("A".to_owned())));
        assert_eq!(parse(r#""\ud800""#), (r#""\ud800""#.to_owned(), None), "half of a surrogate pair is sent back");
    }

    #[test]
    fn the_last_member_of_a_name_counts() {
        let text = r#"{"command":"message","identifier":1,"identifier":"b","command":"subscribe"}"#;
        let identifier = Identifier { json: "\"b\"".into(), text: Some("b".into()) };
        assert_eq!(Command::parse(text), Ok(Command::Subscribe(identifier, None, None)));
    }

    #[test]
    fn a_client_is_present_as_a_text_or_a_number_and_with_any_info() {
        let entry = |presence: &str| {
            let text = format!(r#"{{"command":"join","identifier":"a","presence":{presence}}}"#);
            match Command::parse(&text).unwrap() {
                Command::Join(_, entry) => (entry.id.map(Cow::into_owned), entry.info.map(str::to_owned)),
                other => panic!("{other:?}"),
            }
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(entry(r#"{"id":"4\u0032","info":{"a": 1.50}}"#), (some("42"), some(r#"{"a": 1.50}"#)));
        assert_eq!(entry(r#"{"id":42}"#), (some("42"), None));
        for other in ["null", "[]", "7", "{}", r#"{"id":null}"#, r#"{"id":[1]}"#, r#"{"id":-1}"#] {
            assert_eq!(entry(other).0, None, "{other}");
        }
    }

    #[test]
    fn the_members_are_wanted_unless_a_client_says_otherwise() {
        let records = |data: &str| {
            let text = format!(r#"{{"command":"presence","identifier":"a"{data}}}"#);
            matches!(Command::parse(&text), Ok(Command::Presence(_, true)))
        };
        assert!(records("") && records(r#","data":{"return_records":true}"#) && records(r#","data":7"#));
        assert!(!records(r#","data":{"return_records":false}"#));
    }

    #[test]
    fn positions_that_no_server_assigns_are_known_to_be_wrong() {
        let text = r#"{"since":17,"streams":{"a":{"epoch":"00000000000000ab","offset":3},"b":{"epoch":"x","offset":3},"c":7}}"#;
        let raw: &RawValue = serde_json::from_str(text).unwrap();
        let history = History::read(raw).unwrap();
        assert_eq!(history.since, Some(17));
        assert_eq!(history.of("a"), Some(Some(Position { epoch: 0xab, offset: 3 })));
        assert_eq!((history.of("b"), history.of("c"), history.of("d")), (Some(None), Some(None), None));
    }
}
