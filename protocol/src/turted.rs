//! TURTED: what its backends push, and the event that its browsers receive.
//!
//! A channel of TURTED is the room `turted:<channel>`, so that it is not a room of another dialect in the same namespace. A
//! user is the user of the namespace.
//!
//! # Source
//! TURTED 3.3.6 (`RestPushConnector`, `Dispatcher`), and the older format of `TURTED_client` 4.0.2.

use crate::publication::{WHITE, is_named, raw_members};
use crate::targets::{self, Published};
use crate::topic::{self, Topic};
use crate::{publication::InvalidPublication, room};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;

/// What the names of the rooms of channels begin with.
pub const CHANNEL_PREFIX: &str = "turted:";
/// The longest name of a channel. Bytes.
pub const MAX_CHANNEL_BYTES: usize = room::MAX_BYTES - CHANNEL_PREFIX.len();

/// The member of a publication that has the event as it was pushed, if that is not a text that names an event.
const EVENT: &str = "turted_event";
/// The event of such a publication.
const UNNAMED: &str = "EVENT";

/// What a backend pushes.
#[derive(Debug)]
pub struct Push<'a> {
    /// The text of a JSON value. `None`: it is missing.
    event: Option<&'a RawValue>,
    payload: Option<&'a RawValue>,
    users: Vec<String>,
    channels: Vec<String>,
    is_broadcast: bool,
}

/// The body is not JSON.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the body is not JSON")]
pub struct NotJson;

type Members<'a> = HashMap<String, &'a RawValue>;

// === impl Push ===

impl<'a> Push<'a> {
    /// Reads the body of a push, also one of the format before TURTED 3.3.3. JSON that is not an object pushes nothing.
    /// [`Push::password`] comes first.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn parse(body: &'a [u8]) -> Result<Self, NotJson> {
        let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
        let json: &RawValue = serde_json::from_str(text).map_err(|_| NotJson)?;
        let members = object(Some(json));
        if members.contains_key("cmd") {
            return Ok(Self::of_command(&members));
        }
        let targets = object(members.get("targets").copied());
        Ok(Self {
            event: members.get("event").copied(),
            payload: members.get("payload").copied(),
            users: names(&targets, &["users"]),
            channels: channels(&targets, &["channels"]),
            is_broadcast: targets.get("broadcast").is_some_and(|value| is_truthy(value)),
        })
    }

    /// The format before 3.3.3: `{cmd, auth, data: {event, user, users, channel, channels, payload}}`.
    fn of_command(members: &Members<'a>) -> Self {
        let command = members.get("cmd").and_then(|raw| string(raw)).unwrap_or_default();
        let data = object(members.get("data").copied());
        let (users, channels) = (names(&data, &["user", "users"]), channels(&data, &["channel", "channels"]));
        let (users, channels, is_broadcast) = match &*command {
            "notifyUser" => (users, Vec::new(), false),
            "notifyChannel" => (Vec::new(), channels, false),
            "notifyAll" => (Vec::new(), Vec::new(), true),
            _ => (Vec::new(), Vec::new(), false),
        };
        let (event, payload) = (data.get("event").copied(), data.get("payload").copied());
        Self { event, payload, users, channels, is_broadcast }
    }

    /// The password in the body of a push: `auth` itself, or its member `password`. Reads nothing else, because a program
    /// without the password may send anything.
    ///
    /// # Errors
    /// [`NotJson`].
    pub fn password(body: &[u8]) -> Result<Option<String>, NotJson> {
        let text = std::str::from_utf8(body).map_err(|_| NotJson)?;
        let auth = member(text, "auth").map_err(|_| NotJson)?.filter(|auth| auth.get() != "null");
        Ok(auth.and_then(|auth| string(auth).or_else(|| string(member(auth.get(), "password").ok()??))))
    }

    /// The publication, for [`Push::published`]. `None`: it has no target.
    #[must_use]
    pub fn publication(&self) -> Option<String> {
        if self.users.is_empty() && self.channels.is_empty() && !self.is_broadcast {
            return None;
        }
        let event = self.event.map_or("\"\"", RawValue::get);
        let name = self.event.and_then(string).filter(|name| !name.is_empty());
        let mut text = format!("{{\"event\":{}", Value::from(name.as_deref().unwrap_or(UNNAMED)));
        if name.is_none() {
            text += &format!(",\"{EVENT}\":{event}");
        }
        if !self.users.is_empty() {
            text += &format!(",\"users\":{}", Value::from(self.users.clone()));
        }
        if !self.channels.is_empty() {
            let rooms: Vec<String> = self.channels.iter().map(|channel| room_of(channel)).collect();
            text += &format!(",\"rooms\":{}", Value::from(rooms));
        }
        if self.is_broadcast {
            text += ",\"broadcast\":true";
        }
        Some(text + &format!(",\"message\":{}}}", self.payload.map_or("{}", RawValue::get)))
    }

    /// Reads what [`Push::publication`] has written.
    ///
    /// # Errors
    /// [`InvalidPublication`]: it has too many targets, or is too large for them.
    pub fn published(publication: &str) -> Result<Published<'_>, InvalidPublication> {
        targets::parse(publication.as_bytes())
    }
}

/// The room of a channel.
#[must_use]
pub fn room_of(channel: &str) -> String {
    format!("{CHANNEL_PREFIX}{channel}")
}

/// Whether `text` can be the name of a channel: without control characters.
#[must_use]
pub fn is_channel(text: &str) -> bool {
    (1..=MAX_CHANNEL_BYTES).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// What browsers receive: the arguments of the event `EVENT`. `has_via`: it says through which target.
#[must_use]
pub fn event(publication: &str, has_via: bool) -> String {
    let members = raw_members(publication).unwrap_or_default();
    let event = members.get(EVENT).or_else(|| members.get("event")).map_or("\"\"", |raw| raw.get());
    let payload = members.get("message").map_or("{}", |raw| raw.get());
    let via = if has_via { format!(",\"via\":{}", via(topic_of(&members).as_deref())) } else { String::new() };
    format!("[\"EVENT\",{{\"event\":{event},\"payload\":{payload}{via}}}]")
}

/// The name of the topic of a publication.
fn topic_of(members: &Members<'_>) -> Option<String> {
    let text = |name: &str| members.get(name).and_then(|raw| text(raw));
    if let Some(room) = text("room") {
        return Some(room);
    }
    match text("user") {
        Some(user) => Some(topic::of_user(&user)),
        None => members.get("broadcast").is_some_and(|value| is_truthy(value)).then(|| topic::ALL.to_owned()),
    }
}

/// How browsers of TURTED name a topic.
#[must_use]
pub fn via(topic: Option<&str>) -> Value {
    match topic.map(Topic::parse) {
        Some(Topic::User(user)) => json!({"user": user}),
        Some(Topic::Room(room)) => match room.strip_prefix(CHANNEL_PREFIX) {
            Some(channel) => json!({"channel": channel}),
            None => json!({"room": room}),
        },
        Some(Topic::All) => json!({"broadcast": true}),
        None => Value::Null,
    }
}

/// A member of an object; the last one of its name. `None`: there is none, or it is something else. Reads the text once.
fn member<'a>(json: &'a str, name: &str) -> serde_json::Result<Option<&'a RawValue>> {
    struct Named<'n>(&'n str);

    impl<'de> Visitor<'de> for Named<'_> {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut found = None;
            while let Some(name) = map.next_key::<&RawValue>()? {
                match is_named(name.get(), self.0) {
                    true => found = Some(map.next_value()?),
                    false => drop(map.next_value::<IgnoredAny>()?),
                }
            }
            Ok(found)
        }
    }

    if !json.trim_start_matches(WHITE).starts_with('{') {
        return serde_json::from_str::<IgnoredAny>(json).map(|_| None);
    }
    let mut reader = serde_json::Deserializer::from_str(json);
    let found = reader.deserialize_map(Named(name))?;
    reader.end().map(|()| found)
}

/// The members of an object. None, if it is something else.
fn object(raw: Option<&RawValue>) -> Members<'_> {
    raw.and_then(|raw| raw_members(raw.get())).unwrap_or_default()
}

fn string(raw: &RawValue) -> Option<String> {
    serde_json::from_str(raw.get()).ok()
}

/// A string, or an integer as its decimal text.
fn text(raw: &RawValue) -> Option<String> {
    match raw.get().as_bytes() {
        [b'"', ..] => string(raw),
        [b'-' | b'0'..=b'9', ..] => room::from_json(&serde_json::from_str(raw.get()).ok()?, room::MAX_BYTES).ok(),
        _ => None,
    }
}

/// The names in these members, each a name or a list of names. What cannot be a name reaches no connection.
fn names(members: &Members<'_>, of: &[&str]) -> Vec<String> {
    let mut names = Vec::new();
    for raw in of.iter().filter_map(|name| members.get(*name)) {
        match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(list) => names.extend(list.into_iter().filter_map(text)),
            Err(_) => names.extend(text(raw)),
        }
    }
    names.retain(|name| topic::is_user(name));
    names
}

/// The names of channels in these members.
fn channels(members: &Members<'_>, of: &[&str]) -> Vec<String> {
    let mut channels = names(members, of);
    channels.retain(|name| is_channel(name));
    channels
}

/// Whether JavaScript counts a value as true.
fn is_truthy(raw: &RawValue) -> bool {
    match raw.get() {
        "false" | "null" | "\"\"" => false,
        text if text.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) => {
            text.parse::<f64>().is_ok_and(|number| number != 0.0)
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publication(body: &str) -> Option<Value> {
        let text = Push::parse(body.as_bytes()).unwrap().publication()?;
        Push::published(&text).unwrap();
        Some(serde_json::from_str(&text).unwrap())
    }

    fn received(body: &str) -> Value {
        let text = Push::parse(body.as_bytes()).unwrap().publication().unwrap();
        serde_json::from_str(&event(&text, false)).unwrap()
    }

    #[test]
    fn a_push_is_a_publication_to_its_users_channels_or_all() {
        // T-17, T-18, T-20
        let all =
            r#"{"event":"e","targets":{"users":["a",42],"channels":["chat"],"broadcast":true},"payload":{"m":1}}"#;
        let expected = json!({"event": "e", "users": ["a", "42"], "rooms": ["turted:chat"], "broadcast": true,
            "message": {"m": 1}});
        assert_eq!(publication(all), Some(expected));
        let strings = r#"{"event":"e","targets":{"users":"xosofox","channels":"chat"}}"#;
        let expected = json!({"event": "e", "users": ["xosofox"], "rooms": ["turted:chat"], "message": {}});
        assert_eq!(publication(strings), Some(expected));
    }

    #[test]
    fn broadcast_counts_if_it_is_true_in_javascript() {
        // T-19
        for (value, counts) in [
            ("true", true),
            ("1", true),
            ("\"yes\"", true),
            ("{}", true),
            ("[]", true),
            ("false", false),
            ("0", false),
            ("0.0", false),
            ("null", false),
            ("\"\"", false),
        ] {
            let body = format!(r#"{{"event":"e","targets":{{"broadcast":{value}}}}}"#);
            assert_eq!(publication(&body).is_some(), counts, "{value}");
        }
    }

    #[test]
    fn payload_is_kept_as_it_is_and_a_missing_one_is_an_empty_object() {
        // T-22
        for payload in ["0", "false", "\"\"", "null", "[1,2]", "{\"a\":1e999}", "\"\\ud800\""] {
            let body = format!(r#"{{"event":"e","targets":{{"users":"a"}},"payload":{payload}}}"#);
            let text = Push::parse(body.as_bytes()).unwrap().publication().unwrap();
            assert_eq!(event(&text, false), format!(r#"["EVENT",{{"event":"e","payload":{payload}}}]"#));
        }
        let missing = received(r#"{"event":"e","targets":{"users":"a"}}"#);
        assert_eq!(missing, json!(["EVENT", {"event": "e", "payload": {}}]));
    }

    #[test]
    fn event_may_have_any_name_or_none() {
        // T-33
        for (event, expected) in [
            ("\"event\":\"error\",", json!("error")),
            ("\"event\":\"\",", json!("")),
            ("\"event\":7,", json!(7)),
            ("\"event\":null,", json!(null)),
            ("", json!("")),
        ] {
            let received = received(&format!(r#"{{{event}"targets":{{"channels":"c"}}}}"#));
            assert_eq!(received[1]["event"], expected, "{event}");
        }
    }

    #[test]
    fn the_older_format_is_understood() {
        // T-45
        for (command, targets) in [
            ("notifyUser", json!({"users": ["a"]})),
            ("notifyChannel", json!({"rooms": ["turted:c", "turted:d"]})),
            ("notifyAll", json!({"broadcast": true})),
        ] {
            let body = json!({"cmd": command, "auth": {"password": "p"}, "data": {"event": "e", "user": "a",
                "channel": "c", "channels": ["d"], "payload": 1}});
            let mut expected = json!({"event": "e", "message": 1});
            expected.as_object_mut().unwrap().extend(targets.as_object().unwrap().clone());
            assert_eq!(publication(&body.to_string()), Some(expected), "{command}");
            assert_eq!(Push::password(body.to_string().as_bytes()).unwrap().as_deref(), Some("p"));
        }
        assert_eq!(publication(r#"{"cmd":"exit","data":{"user":"a"}}"#), None);
    }

    #[test]
    fn the_password_is_a_text_or_in_an_object() {
        // T-25
        for (auth, expected) in [
            ("{\"password\":\"p\"}", Some("p")),
            ("\"p\"", Some("p")),
            ("{\"password\":7}", None),
            ("{\"hasOwnProperty\":1}", None),
            ("[\"p\"]", None),
            ("null", None),
        ] {
            let body = format!("{{\"auth\":{auth}}}");
            assert_eq!(Push::password(body.as_bytes()).unwrap().as_deref(), expected, "{auth}");
        }
    }

    #[test]
    fn hostile_bodies_push_nothing() {
        // T-40
        let deep = format!("{{\"targets\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
        for body in [
            "null",
            "[]",
            "42",
            "\"x\"",
            "{}",
            r#"{"targets":"all"}"#,
            r#"{"targets":{"users":[{},[],null,true,"",1.5,"a\u0000b"],"channels":{}}}"#,
            &deep,
        ] {
            assert!(Push::parse(body.as_bytes()).is_ok_and(|push| push.publication().is_none()), "{body:.80}");
        }
        for body in ["", "x", "{", "\u{feff}{}"] {
            assert_eq!(Push::parse(body.as_bytes()).unwrap_err(), NotJson, "{body}");
        }
        assert!(Push::parse(b"{\"event\":\"\xff\"}").is_err());
        let prototypes = r#"{"targets":{"users":["constructor","__proto__"],"channels":["toString"]}}"#;
        assert_eq!(publication(prototypes).unwrap()["users"], json!(["constructor", "__proto__"]));
    }

    #[test]
    fn via_names_the_target_of_a_copy() {
        // T-46
        for (target, expected) in [
            (r#""user":"a""#, json!({"user": "a"})),
            (r#""room":"turted:chat""#, json!({"channel": "chat"})),
            (r#""broadcast":true"#, json!({"broadcast": true})),
        ] {
            let text = event(&format!(r#"{{{target},"event":"e","message":1}}"#), true);
            let event: Value = serde_json::from_str(&text).unwrap();
            assert_eq!(event[1], json!({"event": "e", "payload": 1, "via": expected}));
        }
    }
}
