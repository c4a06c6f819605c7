//! Publications with several targets: rooms, users, all connections.
//!
//! A publisher may address one event to any of them. Engines carry one copy for each target, so that a room and a user
//! have histories of their own. A copy names only its own target, because its recipients must not learn who the others
//! are. Copies of one event have the same `publication_id`, by which a connection that several of them reach receives
//! one. Copies are ordered users, rooms, all connections: the first that reaches a connection is the most specific.
//!
//! The server separates what it receives over HTTP, and the gem what it publishes to Redis. A publication to one room
//! keeps its text.

use crate::publication::{
    self, InvalidPublication, Members, Name, PublicationId, PublicationRef, WHITE, members, not_json, string,
};
use crate::room;
use crate::topic::{self, Topic};
use crate::trace::{self, TraceContext};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use smallvec::{SmallVec, smallvec};
use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

/// Maximum number of targets of one publication, without duplicates.
pub const MAX_TARGETS: usize = 1000;
/// Maximum size of the copies of one publication together. Bytes.
pub const MAX_COPIES_BYTES: usize = 16 * 1024 * 1024;

/// A publication, as a publisher sent it.
#[derive(Clone, Debug)]
pub enum Published<'a> {
    /// It has one target, and its text names it as copies do.
    One(PublicationRef<'a>),
    /// It is separated into copies.
    Several(Several<'a>),
}

/// A publication that is separated into copies.
#[derive(Clone, Debug)]
pub struct Several<'a> {
    /// The text that was published.
    text: &'a str,
    members: Members<'a>,
    /// The names of the topics, in the order of the copies. At least one.
    topics: Vec<Cow<'a, str>>,
    /// The members that all copies have, each with a comma before it.
    rest: String,
    /// The trace that all copies belong to.
    trace: Option<TraceContext>,
}

/// Parses one publication or an array of them, and checks all. An empty array is valid and has none.
///
/// # Errors
/// Returns the first [`InvalidPublication`], with its index if the body is an array.
pub fn parse_many(body: &[u8]) -> Result<Vec<Published<'_>>, (Option<usize>, InvalidPublication)> {
    let (texts, is_array) = texts(body).map_err(|invalid| (None, invalid))?;
    let each = texts.into_iter().enumerate();
    each.map(|(index, text)| parse_text(text).map_err(|invalid| (is_array.then_some(index), invalid))).collect()
}

/// The texts of one publication or of an array of them, which are not checked, and whether it is an array.
///
/// # Errors
/// Returns [`InvalidPublication`]: the body is not UTF-8, or it begins an array and is not JSON.
pub fn texts(body: &[u8]) -> Result<(SmallVec<[&str; 1]>, bool), InvalidPublication> {
    let text = std::str::from_utf8(body).map_err(|_| InvalidPublication::NotUtf8)?;
    if !text.trim_start_matches(WHITE).starts_with('[') {
        return Ok((smallvec![text], false));
    }
    let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| not_json(&error))?;
    Ok((elements.into_iter().map(RawValue::get).collect(), true))
}

/// Parses one publication with any number of targets.
///
/// # Errors
/// Returns [`InvalidPublication`].
pub fn parse(published: &[u8]) -> Result<Published<'_>, InvalidPublication> {
    parse_text(std::str::from_utf8(published).map_err(|_| InvalidPublication::NotUtf8)?)
}

fn parse_text(text: &str) -> Result<Published<'_>, InvalidPublication> {
    let members = members(text)?;
    let text = text.trim_matches(WHITE);
    let is_broadcast = members.is_broadcast()?;
    if members.rooms.is_none() && members.users.is_none() && !is_broadcast {
        let topic = match (members.room, members.user) {
            (None, Some(id)) => Cow::Owned(topic::of_user(&user(id)?)),
            (room, _) => publication::room(room)?,
        };
        return members.publication(topic, text).map(Published::One);
    }
    let mut topics = Topics::default();
    topics.add(members.user.map(user).transpose()?.map(|user| topic::of_user(&user).into()))?;
    for id in list(members.users, InvalidPublication::BadUsers)? {
        topics.add(Some(topic::of_user(&user(id)?).into()))?;
    }
    if members.room.is_some() {
        topics.add(Some(publication::room(members.room)?))?;
    }
    for name in list(members.rooms, InvalidPublication::BadRooms)? {
        topics.add(Some(publication::room(Some(name)).map_err(|_| InvalidPublication::BadRooms)?))?;
    }
    if is_broadcast {
        topics.add(Some(topic::ALL.into()))?;
    }
    let Topics { list: topics, .. } = topics;
    // It is the first member of each copy too.
    let (trace, without_trace) = trace::separate(text).unzip();
    let Rest(rest) =
        serde_json::from_str(without_trace.as_deref().unwrap_or(text)).map_err(|error| not_json(&error))?;
    let several = Several { text, members, topics, rest, trace: trace.flatten() };
    // What a copy has in common with the others is checked with any of them.
    members.publication(Cow::Borrowed(""), text)?;
    match several.topics.len().saturating_mul(several.max_copy_bytes()) {
        0..=MAX_COPIES_BYTES => Ok(Published::Several(several)),
        _ => Err(InvalidPublication::CopiesTooLarge),
    }
}

/// The id of the copies that are published with an idempotency key, which is the same if the publish is repeated.
#[must_use]
pub fn id_of(idempotency_key: &str) -> u64 {
    PublicationId::of(idempotency_key).number()
}

/// Reads the id of a user: a string, or an integer as its decimal text.
pub(crate) fn user(raw: &RawValue) -> Result<Cow<'_, str>, InvalidPublication> {
    let id = match raw.get().as_bytes() {
        [b'"', ..] => string(raw.get()),
        [b'-' | b'0'..=b'9', ..] => {
            let number = serde_json::from_str(raw.get()).ok();
            number.and_then(|number| room::from_json(&number, topic::MAX_USER_BYTES).ok()).map(Cow::Owned)
        }
        _ => None,
    };
    id.filter(|id| topic::is_user(id)).ok_or(InvalidPublication::BadUsers)
}

/// The elements of a list. A value that is not a list is one element.
fn list(member: Option<&RawValue>, bad: InvalidPublication) -> Result<Vec<&RawValue>, InvalidPublication> {
    match member {
        None => Ok(Vec::new()),
        Some(raw) if raw.get().starts_with('[') => match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
            Ok(list) if list.is_empty() => Err(InvalidPublication::EmptyTargets),
            list => list.map_err(|_| bad),
        },
        Some(raw) => Ok(vec![raw]),
    }
}

/// Topics without duplicates.
#[derive(Default)]
struct Topics<'a> {
    list: Vec<Cow<'a, str>>,
    known: HashSet<Cow<'a, str>>,
}

// === impl Topics ===

impl<'a> Topics<'a> {
    fn add(&mut self, topic: Option<Cow<'a, str>>) -> Result<(), InvalidPublication> {
        let Some(topic) = topic.filter(|topic| self.known.insert(topic.clone())) else { return Ok(()) };
        self.list.push(topic);
        if self.list.len() > MAX_TARGETS { Err(InvalidPublication::TooManyTargets) } else { Ok(()) }
    }
}

// === impl Published ===

impl<'a> Published<'a> {
    /// The text that was published.
    #[must_use]
    pub fn text(&self) -> &'a str {
        match self {
            Self::One(publication) => publication.text,
            Self::Several(several) => several.text,
        }
    }

    /// The names of its topics, in the order of its copies. At least one.
    #[must_use]
    pub fn topics(&self) -> &[Cow<'a, str>] {
        match self {
            Self::One(publication) => std::slice::from_ref(&publication.topic),
            Self::Several(several) => &several.topics,
        }
    }

    /// Its event.
    #[must_use]
    pub fn event(&self) -> Cow<'_, str> {
        match self {
            Self::One(publication) => publication.event.clone(),
            Self::Several(several) => several.publication("", "").map_or(Cow::Borrowed(""), |one| one.event),
        }
    }
}

// === impl Several ===

impl<'a> Several<'a> {
    /// The number of copies.
    #[must_use]
    pub fn count(&self) -> usize {
        self.topics.len()
    }

    /// The name of the topic of a copy.
    #[must_use]
    pub fn topic(&self, copy: usize) -> &str {
        self.topics.get(copy).map_or("", |topic| topic)
    }

    /// The text of a copy. `id` is the same for all copies of this publication, and different for every other.
    #[must_use]
    pub fn text(&self, copy: usize, id: u64) -> String {
        let topic = self.topic(copy);
        let (name, value) = Topic::parse(topic).member();
        let mut text = format!("{{\"{name}\":{value}");
        match self.members.id.and_then(|own| string(own.get())).filter(|own| !own.is_empty()) {
            Some(own) => text += &format!(",\"publication_id\":{}", serde_json::Value::from(own)),
            None if self.topics.len() > 1 => text += &format!(",\"publication_id\":\"{id:016x}\""),
            None => {}
        }
        text = text + &self.rest + "}";
        self.trace.and_then(|trace| trace::add(&text, trace)).unwrap_or(text)
    }

    /// The copy with this text from [`Several::text`].
    ///
    /// # Errors
    /// None, because it was parsed with its publication.
    pub fn copy<'b>(&'b self, copy: usize, text: &'b str) -> Result<PublicationRef<'b>, InvalidPublication> {
        let topic = self.topic(copy);
        let mut publication = self.publication(topic, text)?;
        if publication.marks.id.is_none() && self.topics.len() > 1 {
            publication.marks.id = publication::marks_of(text).id;
        }
        Ok(publication)
    }

    fn publication<'b>(&'b self, topic: &'b str, text: &'b str) -> Result<PublicationRef<'b>, InvalidPublication>
    where
        'a: 'b,
    {
        self.members.publication(Cow::Borrowed(topic), text)
    }

    /// The size of the largest copy, at most. Bytes.
    fn max_copy_bytes(&self) -> usize {
        // A control character has six bytes in JSON; `publication_id` and punctuation have fewer than 64.
        let topic = self.topics.iter().map(|topic| topic.len()).max().unwrap_or_default();
        let id = self.members.id.map_or(0, |id| id.get().len());
        6 * topic + id + 64 + trace::MEMBER_BYTES + self.rest.len()
    }
}

/// The members that name no target, as they are written, each with a comma before it.
struct Rest(String);

impl<'de> Deserialize<'de> for Rest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RestVisitor)
    }
}

struct RestVisitor;

impl<'de> Visitor<'de> for RestVisitor {
    type Value = Rest;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut rest = String::new();
        while let Some(name) = map.next_key::<&RawValue>()? {
            match Name::of(name.get()) {
                Name::Room | Name::Rooms | Name::User | Name::Users | Name::Broadcast | Name::Id => {
                    map.next_value::<IgnoredAny>()?;
                }
                Name::Event | Name::Message | Name::Position | Name::Except | Name::ExceptUsers | Name::Other => {
                    let value: &RawValue = map.next_value()?;
                    rest += &format!(",{}:{}", name.get(), value.get());
                }
            }
        }
        Ok(Rest(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn several(published: &str) -> Vec<String> {
        match parse(published.as_bytes()).unwrap() {
            Published::One(one) => vec![one.text.to_owned()],
            Published::Several(several) => (0..several.count()).map(|copy| several.text(copy, 0xab)).collect(),
        }
    }

    #[test]
    fn copies_name_their_own_target_only_users_first() {
        // W-19, T-15, T-16
        let published =
            r#"{"rooms":["a","b"],"event":"e","users":"42","message":{"rooms":1},"broadcast":true,"x":1}"#;
        let rest = r#""publication_id":"00000000000000ab","event":"e","message":{"rooms":1},"x":1}"#;
        let expected = [r#""user":"42""#, r#""room":"a""#, r#""room":"b""#, r#""broadcast":true"#]
            .map(|one| format!("{{{one},{rest}"));
        assert_eq!(several(published), expected);
    }

    #[test]
    fn publication_to_one_target_keeps_its_text_or_has_no_id() {
        let plain = r#"{ "room" : "r", "user": "7", "event": "e" }"#;
        assert_eq!(several(plain), [plain]);
        assert_eq!(several(r#"{"users":["42"],"event":"e"}"#), [r#"{"user":"42","event":"e"}"#]);
        assert_eq!(several(r#"{"rooms":"r","users":null,"event":"e"}"#), [r#"{"room":"r","event":"e"}"#]);
        assert_eq!(several(r#"{"event":"e","broadcast":true}"#), [r#"{"broadcast":true,"event":"e"}"#]);
    }

    #[test]
    fn string_or_list_duplicates_and_integers_are_the_same_target() {
        // T-17
        let one = several(r#"{"users":[42,"42"],"rooms":[7,"7"],"room":"7","user":"42","event":"e"}"#);
        assert_eq!(one.len(), 2, "{one:?}");
    }

    #[test]
    fn every_copy_has_the_trace_of_its_publication_as_its_first_member() {
        let trace = r#"{"traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","#;
        let copies = several(&format!(r#"{trace}"rooms":["a","b"],"event":"e"}}"#));
        let rest = r#","publication_id":"00000000000000ab","event":"e"}"#;
        assert_eq!(copies, ["a", "b"].map(|room| format!(r#"{trace}"room":"{room}"{rest}"#)));
    }

    #[test]
    fn id_of_the_publisher_is_kept() {
        let copies = several(r#"{"rooms":["a","b"],"publication_id":"mine","event":"e"}"#);
        assert!(copies.iter().all(|copy| copy.contains(r#""publication_id":"mine""#)), "{copies:?}");
    }

    #[test]
    fn every_copy_is_a_publication_with_the_same_marks() {
        let published = r#"{"users":["a","\u0062"],"broadcast":true,"event":"e","except":"ba7816bf8f01cfea"}"#;
        let Published::Several(several) = parse(published.as_bytes()).unwrap() else { panic!("one") };
        for copy in 0..several.count() {
            let text = several.text(copy, 7);
            assert_eq!(several.copy(copy, &text), publication::parse(text.as_bytes()), "{text}");
            assert_eq!(several.copy(copy, &text).unwrap().marks.id, Some(PublicationId::of("0000000000000007")));
        }
    }

    #[test]
    fn bad_targets_are_rejected_with_their_reason() {
        use InvalidPublication as Invalid;
        let long = "x".repeat(256);
        let many: Vec<String> = (0..=MAX_TARGETS).map(|n| n.to_string()).collect();
        let many = serde_json::to_string(&many).unwrap();
        for (members, invalid) in [
            (r#""rooms":[]"#, Invalid::EmptyTargets),
            (r#""users":[],"room":"r""#, Invalid::EmptyTargets),
            (r#""rooms":{}"#, Invalid::BadRooms),
            (r#""rooms":[["a"]]"#, Invalid::BadRooms),
            (r#""rooms":["a",""]"#, Invalid::BadRooms),
            (r#""rooms":["a",1.5]"#, Invalid::BadRooms),
            (r#""rooms":["\u0001user:42"]"#, Invalid::BadRooms),
            (r#""rooms":true"#, Invalid::BadRooms),
            (&format!(r#""rooms":"{long}""#), Invalid::BadRooms),
            (r#""room":"\u0001all","users":"42""#, Invalid::BadRoom),
            (r#""users":[null]"#, Invalid::BadUsers),
            (r#""users":"""#, Invalid::BadUsers),
            (r#""users":["a\nb"]"#, Invalid::BadUsers),
            (r#""users":{"id":1}"#, Invalid::BadUsers),
            (r#""user":false"#, Invalid::BadUsers),
            (&format!(r#""users":"{long}""#), Invalid::BadUsers),
            (r#""broadcast":1"#, Invalid::BadBroadcast),
            (r#""broadcast":"true","room":"r""#, Invalid::BadBroadcast),
            (r#""broadcast":false"#, Invalid::NoRoom),
            (r#""users":null,"rooms":null"#, Invalid::NoRoom),
            (&format!(r#""users":{many}"#), Invalid::TooManyTargets),
        ] {
            let published = format!(r#"{{{members},"event":"e"}}"#);
            assert_eq!(parse(published.as_bytes()).unwrap_err(), invalid, "{published}");
        }
        assert_eq!(parse(br#"{"users":"42"}"#).unwrap_err(), Invalid::NoEvent);
        assert_eq!(parse(br#"{"users":"42","event":"e","except":1}"#).unwrap_err(), Invalid::BadExcept);
    }

    #[test]
    fn limits_are_reached_and_not_exceeded() {
        let users: Vec<String> = (0..MAX_TARGETS).map(|n| n.to_string()).collect();
        let users = serde_json::to_string(&users).unwrap();
        let with = |bytes: usize| format!(r#"{{"users":{users},"event":"e","message":"{}"}}"#, "x".repeat(bytes));
        assert_eq!(parse(with(16_000).as_bytes()).unwrap().topics().len(), MAX_TARGETS);
        assert_eq!(parse(with(20_000).as_bytes()).unwrap_err(), InvalidPublication::CopiesTooLarge);
    }
}
