//! Publications: one JSON object with a target and an event, and its text.
//!
//! What engines carry has one target: a room, a user or all connections. [`crate::targets`] separates what a publisher
//! addressed to several.
//!
//! The text reaches the browser byte for byte, so it is not parsed into a value: only the members that the server needs
//! are read. Deep nesting costs a byte of heap per level and no stack. Numbers of any size and lone surrogates in the
//! message are kept, as `JSON.parse` accepts them.

use crate::history::Position;
use crate::page::PageHash;
use crate::topic::{self, MAX_USER_BYTES};
use crate::{room, targets};
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// A publication with one target.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicationRef<'a> {
    /// The name of its [`topic::Topic`]: its room, or that of a user or of all connections.
    pub topic: Cow<'a, str>,
    /// The event's name.
    pub event: Cow<'a, str>,
    /// The text of the object, without the white space around it.
    pub text: &'a str,
    /// The value of its last `position` member, if that is a position. Only the engine knows whether it assigned it.
    pub position: Option<Position>,
    /// Whether it has a `position` member, whatever its value.
    pub has_position: bool,
    /// Who does not receive it.
    pub marks: Marks,
}

/// The members of a publication that say who does not receive it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    /// The page that does not receive it.
    pub except: Option<PageHash>,
    /// The event of which it is a copy. A connection receives one copy.
    pub id: Option<PublicationId>,
    /// Whether `except_users` lists users who do not receive it; see [`except_users`].
    pub excludes_users: bool,
}

/// The member `publication_id`, which copies of one event for several targets share.
///
/// # Shape
/// The first eight bytes of the SHA-256 of the text.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct PublicationId(u64);

/// A reason why a text is not a publication.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum InvalidPublication {
    /// The bytes are not UTF-8.
    #[error("it is not UTF-8")]
    NotUtf8,
    /// The text is not JSON.
    #[error("it is not JSON (line {line}, column {column})")]
    NotJson {
        /// The line of the error, from 1.
        line: usize,
        /// The byte in that line, from 1 (0 at the very start).
        column: usize,
    },
    /// It is JSON, but `null`, an array, a string, a number or a boolean.
    #[error("it is not an object")]
    NotAnObject,
    /// `room` is absent, `null` or empty.
    #[error("it has no room")]
    NoRoom,
    /// `room` is neither a string nor an integer, or is too long.
    #[error("its room is not a string or integer of at most {} bytes", room::MAX_BYTES)]
    BadRoom,
    /// `event` is absent or `null`.
    #[error("it has no event")]
    NoEvent,
    /// `event` is not a string, or is empty.
    #[error("its event is not a non-empty string")]
    NotAnEvent,
    /// `except` is neither `null` nor the hash of a page id.
    #[error("its except is not the hash of a page id: sixteen lower-case hexadecimal digits")]
    BadExcept,
    /// An element of `rooms` is not a room.
    #[error(
        "its rooms are not a room, or a list of rooms: strings or integers of at most {} bytes",
        room::MAX_BYTES
    )]
    BadRooms,
    /// `user`, or an element of `users`, is not the id of a user.
    #[error(
        "its users are not the id of a user, or a list of ids: strings or integers of 1 to {MAX_USER_BYTES} bytes \
         without control characters"
    )]
    BadUsers,
    /// `broadcast` is neither a boolean nor `null`.
    #[error("its broadcast is not true or false")]
    BadBroadcast,
    /// `rooms` or `users` is an empty list.
    #[error("its list of rooms or users is empty")]
    EmptyTargets,
    /// It has more than [`targets::MAX_TARGETS`] targets.
    #[error("it has more than {} targets", targets::MAX_TARGETS)]
    TooManyTargets,
    /// The copies for its targets have more than [`targets::MAX_COPIES_BYTES`] together.
    #[error("its copies for all targets have more than {} bytes together", targets::MAX_COPIES_BYTES)]
    CopiesTooLarge,
    /// It has several targets where one is expected.
    #[error(
        "it has several targets, which a plain PUBLISH to Redis cannot have; publish one copy for each, or over HTTP"
    )]
    SeveralTargets,
}

/// Parses one publication with one target: `room`, or `user`, or `"broadcast": true`.
///
/// If a member occurs twice, the last one counts, as for `JSON.parse`. With a room, `user` is a member like any other.
///
/// # Errors
/// Returns [`InvalidPublication`].
pub fn parse(published: &[u8]) -> Result<PublicationRef<'_>, InvalidPublication> {
    parse_text(std::str::from_utf8(published).map_err(|_| InvalidPublication::NotUtf8)?)
}

/// Reads who does not receive a publication, from the text that was checked when it was published.
///
/// Fast for the usual text, which contains neither word: stored publications are not parsed otherwise.
#[must_use]
pub fn marks_of(text: &str) -> Marks {
    if !text.contains(EXCEPT) && !text.contains(PUBLICATION_ID) && !text.contains(EXCEPT_USERS) {
        return Marks::default();
    }
    let Ok(members) = serde_json::from_str::<Members<'_>>(text) else { return Marks::default() };
    let excludes_users = members.except_users.is_some();
    Marks { except: except(members.except).ok().flatten(), id: id(members.id), excludes_users }
}

/// The users whose connections do not receive a publication, which its member `except_users` lists: the text that was
/// checked when it was published. What is not a list of texts, or has more than [`targets::MAX_TARGETS`], lists none.
#[must_use]
pub fn except_users(text: &str) -> Vec<Cow<'_, str>> {
    let members = serde_json::from_str::<Members<'_>>(text).ok();
    let list = members.and_then(|members| serde_json::from_str(members.except_users?.get()).ok());
    list.map(|FewTexts(texts)| texts).unwrap_or_default()
}

/// Returns the text of a publication with an id of copies that belongs to `publisher`: equal for equal ids, and different from
/// those of all others. `None`: it has no id.
///
/// A page reads the last member of a name, also one that is written with escapes. So there is only this one afterwards.
#[must_use]
pub fn with_own_id(text: &str, publisher: &str) -> Option<String> {
    let WithoutId { mut text, id } = serde_json::from_str(text).ok()?;
    match string(id?).filter(|id| !id.is_empty()) {
        Some(id) => {
            let hash = Sha256::new().chain_update((publisher.len() as u64).to_le_bytes()).chain_update(publisher);
            let digest: [u8; 32] = hash.chain_update(&*id).finalize().into();
            let number = digest.split_first_chunk().map_or(0, |(first, _)| u64::from_be_bytes(*first));
            text += &format!(",{PUBLICATION_ID}:\"{number:016x}\"}}");
        }
        None => text.push('}'),
    }
    Some(text)
}

/// The text of a publication's message: a JSON value. `None`: it has none.
#[must_use]
pub fn message_of(text: &str) -> Option<&str> {
    serde_json::from_str::<Members<'_>>(text).ok()?.message.map(RawValue::get)
}

/// The names of the members that [`marks_of`] looks for. Only without escapes.
const EXCEPT: &str = "\"except\"";
const EXCEPT_USERS: &str = "\"except_users\"";
const PUBLICATION_ID: &str = "\"publication_id\"";
/// The white space of JSON.
pub(crate) const WHITE: [char; 4] = [' ', '\t', '\n', '\r'];

fn parse_text(text: &str) -> Result<PublicationRef<'_>, InvalidPublication> {
    let members = members(text)?;
    let topic = match (members.room, members.user) {
        _ if members.has_several_targets() => return Err(InvalidPublication::SeveralTargets),
        (None, Some(user)) => Cow::Owned(topic::of_user(&targets::user(user)?)),
        (None, None) if members.is_broadcast()? => Cow::Borrowed(topic::ALL),
        (room, _) => self::room(room)?,
    };
    members.publication(topic, text.trim_matches(WHITE))
}

/// Reads the members of the text of an object.
pub(crate) fn members(text: &str) -> Result<Members<'_>, InvalidPublication> {
    if !text.trim_start_matches(WHITE).starts_with('{') {
        let json = serde_json::from_str::<IgnoredAny>(text);
        return Err(json.map_or_else(|error| not_json(&error), |_| InvalidPublication::NotAnObject));
    }
    serde_json::from_str(text).map_err(|error| not_json(&error))
}

/// The members of the text of an object, by name. The last one counts if there are several of one name. `None`: it is not an
/// object, or a name is not text.
pub(crate) fn raw_members(text: &str) -> Option<std::collections::HashMap<String, &RawValue>> {
    if !text.trim_start_matches(WHITE).starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

pub(crate) fn not_json(error: &serde_json::Error) -> InvalidPublication {
    InvalidPublication::NotJson { line: error.line(), column: error.column() }
}

pub(crate) fn room(member: Option<&RawValue>) -> Result<Cow<'_, str>, InvalidPublication> {
    let raw = member.map_or("null", RawValue::get);
    let room = match raw.as_bytes() {
        b"null" | b"\"\"" => return Err(InvalidPublication::NoRoom),
        [b'"', ..] => string(raw).ok_or(InvalidPublication::BadRoom)?,
        [b'-' | b'0'..=b'9', ..] => {
            let number = serde_json::from_str(raw).map_err(|_| InvalidPublication::BadRoom)?;
            Cow::Owned(room::from_json(&number, room::MAX_BYTES).map_err(|_| InvalidPublication::BadRoom)?)
        }
        _ => return Err(InvalidPublication::BadRoom),
    };
    room::check(&room, room::MAX_BYTES).map_err(|_| InvalidPublication::BadRoom)?;
    Ok(room)
}

fn event(member: Option<&RawValue>) -> Result<Cow<'_, str>, InvalidPublication> {
    match member.map(RawValue::get) {
        None | Some("null") => Err(InvalidPublication::NoEvent),
        Some(raw) => string(raw).filter(|event| !event.is_empty()).ok_or(InvalidPublication::NotAnEvent),
    }
}

fn except(member: Option<&RawValue>) -> Result<Option<PageHash>, InvalidPublication> {
    match member.map(RawValue::get) {
        None | Some("null") => Ok(None),
        Some(raw) => match string(raw).and_then(|text| PageHash::parse(&text)) {
            Some(page) => Ok(Some(page)),
            None => Err(InvalidPublication::BadExcept),
        },
    }
}

fn id(member: Option<&RawValue>) -> Option<PublicationId> {
    string(member?.get()).filter(|id| !id.is_empty()).map(|id| PublicationId::of(&id))
}

/// A string, borrowed if it has no escapes.
#[derive(serde::Deserialize)]
struct Borrowing<'a>(#[serde(borrow)] Cow<'a, str>);

/// Returns the string that `raw` encodes, borrowed if it has no escapes.
pub(crate) fn string(raw: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str(raw).ok().map(|Borrowing(text)| text)
}

/// Whether a name of a member, as it is written, is this one.
pub(crate) fn is_named(raw: &str, name: &str) -> bool {
    match raw.contains('\\') {
        true => string(raw).as_deref() == Some(name),
        false => raw.trim_matches('"') == name,
    }
}

/// A member that is `null` is absent.
fn not_null(raw: &RawValue) -> Option<&RawValue> {
    (raw.get() != "null").then_some(raw)
}

/// The members that the server reads, as they are written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Members<'a> {
    pub(crate) room: Option<&'a RawValue>,
    pub(crate) rooms: Option<&'a RawValue>,
    pub(crate) user: Option<&'a RawValue>,
    pub(crate) users: Option<&'a RawValue>,
    pub(crate) broadcast: Option<&'a RawValue>,
    event: Option<&'a RawValue>,
    message: Option<&'a RawValue>,
    position: Option<&'a RawValue>,
    except: Option<&'a RawValue>,
    except_users: Option<&'a RawValue>,
    pub(crate) id: Option<&'a RawValue>,
}

// === impl Members ===

impl<'a> Members<'a> {
    /// The publication with these members and this text, which is addressed to a topic.
    pub(crate) fn publication(
        &self,
        topic: Cow<'a, str>,
        text: &'a str,
    ) -> Result<PublicationRef<'a>, InvalidPublication> {
        let position = self.position.and_then(|raw| string(raw.get())).and_then(|text| Position::parse(&text));
        Ok(PublicationRef {
            topic,
            event: event(self.event)?,
            text,
            position,
            has_position: self.position.is_some(),
            marks: Marks {
                except: except(self.except)?,
                id: id(self.id),
                excludes_users: self.except_users.is_some(),
            },
        })
    }

    /// Whether it has a member that only publications with several targets need.
    fn has_several_targets(&self) -> bool {
        let is_broadcast = self.broadcast.is_some_and(|raw| raw.get() == "true");
        self.rooms.is_some() || self.users.is_some() || is_broadcast && (self.room.is_some() || self.user.is_some())
    }

    /// Whether it is addressed to all connections.
    pub(crate) fn is_broadcast(&self) -> Result<bool, InvalidPublication> {
        match self.broadcast.map(RawValue::get) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(InvalidPublication::BadBroadcast),
        }
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Members::default();
        while let Some(name) = map.next_key::<&RawValue>()? {
            match Name::of(name.get()) {
                Name::Room => members.room = not_null(map.next_value()?),
                Name::Rooms => members.rooms = not_null(map.next_value()?),
                Name::User => members.user = not_null(map.next_value()?),
                Name::Users => members.users = not_null(map.next_value()?),
                Name::Broadcast => members.broadcast = not_null(map.next_value()?),
                Name::Id => members.id = Some(map.next_value()?),
                Name::Message => members.message = Some(map.next_value()?),
                Name::Event => members.event = Some(map.next_value()?),
                Name::Position => members.position = Some(map.next_value()?),
                Name::Except => members.except = Some(map.next_value()?),
                Name::ExceptUsers => members.except_users = not_null(map.next_value()?),
                Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(members)
    }
}

/// A list of texts that is not too long.
struct FewTexts<'a>(Vec<Cow<'a, str>>);

impl<'de> Deserialize<'de> for FewTexts<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FewTextsVisitor)
    }
}

struct FewTextsVisitor;

impl<'de> Visitor<'de> for FewTextsVisitor {
    type Value = FewTexts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of texts")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(Borrowing(text)) = list.next_element()? {
            if texts.len() >= targets::MAX_TARGETS {
                return Err(A::Error::custom("too many texts"));
            }
            texts.push(text);
        }
        Ok(FewTexts(texts))
    }
}

/// The text of an object without its end and without its id, and the id as it is written, whatever the spelling of its name.
struct WithoutId<'a> {
    text: String,
    id: Option<&'a str>,
}

impl<'de> Deserialize<'de> for WithoutId<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(WithoutIdVisitor)
    }
}

struct WithoutIdVisitor;

impl<'de> Visitor<'de> for WithoutIdVisitor {
    type Value = WithoutId<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut text, mut id) = ("{".to_owned(), None);
        while let Some((name, value)) = map.next_entry::<&RawValue, &RawValue>()? {
            let (name, value) = (name.get(), value.get());
            if is_named(name, "publication_id") {
                id = Some(value);
                continue;
            }
            text.push_str(if text.len() == 1 { "" } else { "," });
            text.extend([name, ":", value]);
        }
        Ok(WithoutId { text, id })
    }
}

pub(crate) enum Name {
    Room,
    Rooms,
    User,
    Users,
    Broadcast,
    Id,
    Event,
    Message,
    Position,
    Except,
    ExceptUsers,
    Other,
}

// === impl Name ===

impl Name {
    /// Recognizes a member's name as it is written. A name with a lone surrogate is not a string in Rust, but it is
    /// valid.
    pub(crate) fn of(raw: &str) -> Self {
        // Only without escapes, because `marks_of` looks for them so.
        match raw {
            EXCEPT => return Self::Except,
            EXCEPT_USERS => return Self::ExceptUsers,
            PUBLICATION_ID => return Self::Id,
            _ => {}
        }
        let name = if raw.contains('\\') { string(raw) } else { Some(Cow::Borrowed(raw.trim_matches('"'))) };
        match name.as_deref() {
            Some("room") => Self::Room,
            Some("rooms") => Self::Rooms,
            Some("user") => Self::User,
            Some("users") => Self::Users,
            Some("broadcast") => Self::Broadcast,
            Some("event") => Self::Event,
            Some("message") => Self::Message,
            Some("position") => Self::Position,
            _ => Self::Other,
        }
    }
}

// === impl PublicationId ===

impl PublicationId {
    /// The id with this text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(text.as_bytes()).into();
        Self(digest.split_first_chunk().map_or(0, |(first, _)| u64::from_be_bytes(*first)))
    }

    /// The id as a number.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }

    /// The id with that number.
    #[must_use]
    pub fn from_number(number: u64) -> Self {
        Self(number)
    }
}

// === impl InvalidPublication ===

impl InvalidPublication {
    /// Returns a short name for counters.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotJson { .. } => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::NoRoom => "no_room",
            Self::BadRoom => "bad_room",
            Self::NoEvent => "no_event",
            Self::NotAnEvent => "not_an_event",
            Self::BadExcept => "bad_except",
            Self::BadRooms => "bad_rooms",
            Self::BadUsers => "bad_users",
            Self::BadBroadcast => "bad_broadcast",
            Self::EmptyTargets => "empty_targets",
            Self::TooManyTargets => "too_many_targets",
            Self::CopiesTooLarge => "copies_too_large",
            Self::SeveralTargets => "several_targets",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_and_event_are_borrowed_from_what_was_published() {
        let publication = parse(br#"{"room":"r","event":"e","message":"\u2028"}"#).unwrap();
        assert!(matches!((publication.topic, publication.event), (Cow::Borrowed("r"), Cow::Borrowed("e"))));
    }

    #[test]
    fn invalid_json_is_reported_with_its_location() {
        // N-26
        let published = b"{\"room\":\"r\",\n\"event\" \"e\"}";
        assert_eq!(parse(published), Err(InvalidPublication::NotJson { line: 2, column: 9 }));
    }

    #[test]
    fn invalid_utf8_is_reported_wherever_it_is() {
        // N-26
        for published in
            [&b"\xff"[..], b"{\"room\":\"r\",\"event\":\"\xc3\"}", b"{\"room\":\"r\",\"event\":\"e\"}\xff"]
        {
            assert_eq!(parse(published), Err(InvalidPublication::NotUtf8));
            assert_eq!(targets::parse_many(published).unwrap_err(), (None, InvalidPublication::NotUtf8));
        }
    }

    #[test]
    fn no_raw_control_character_reaches_the_text() {
        // A raw 0x1e in the text would end a packet in a polling payload.
        for control in '\0'..' ' {
            for published in [
                format!(r#"{{"room":"r","event":"e","na{control}me":1}}"#),
                format!(r#"{{"room":"r","event":"e","message":"{control}"}}"#),
                format!(r#"{{"room":"r","event":"e","message":{{"{control}":1}}}}"#),
            ] {
                assert!(
                    matches!(parse(published.as_bytes()), Err(InvalidPublication::NotJson { .. })),
                    "{published:?}"
                );
            }
        }
    }

    #[test]
    fn copy_names_a_user_or_all_connections() {
        for (published, topic) in [
            (r#"{"user":"42","event":"e"}"#, "\u{1}user:42"),
            (r#"{"user":42,"event":"e"}"#, "\u{1}user:42"),
            (r#"{"broadcast":true,"event":"e"}"#, topic::ALL),
            (r#"{"room":"r","user":"42","event":"e"}"#, "r"),
            (r#"{"room":"r","broadcast":false,"users":null,"event":"e"}"#, "r"),
        ] {
            assert_eq!(parse(published.as_bytes()).unwrap().topic, topic, "{published}");
        }
    }

    #[test]
    fn an_id_belongs_to_its_publisher_however_it_is_written() {
        let own = |text: &str| with_own_id(text, "game");
        let text = own(r#"{ "room": "r","publication_id":"a" ,"event":"e", "x":{"publication_id":1}}"#).unwrap();
        let (before, id) = text.split_once(r#","publication_id":""#).unwrap();
        assert_eq!(before, r#"{"room":"r","event":"e","x":{"publication_id":1}"#);
        assert!(id.len() == 18 && id.ends_with("\"}"), "{text}");
        for same in [
            r#"{"room":"r","event":"e","x":{"publication_id":1},"publication_id":"b","publication_id":"\u0061"}"#,
            r#"{"publication_id":"b","room":"r","publication\u005fid":"a","event":"e","x":{"publication_id":1}}"#,
        ] {
            assert_eq!(own(same).as_ref(), Some(&text));
        }
        for none in
            [r#"{"publication_id":"a","room":"r","publication_id":null}"#, r#"{"room":"r","publication_id":7}"#]
        {
            assert_eq!(own(none).unwrap(), r#"{"room":"r"}"#);
        }
        assert_ne!(with_own_id(&text, "gam"), with_own_id(&text, "game"));
        assert_eq!(own(r#"{"room":"r","message":{"publication_id":"a"}}"#), None);
    }

    #[test]
    fn a_list_of_users_that_is_too_long_names_none() {
        let text = |count: usize| {
            let users: Vec<String> = (0..count).map(|number| format!("\"{number}\"")).collect();
            format!(r#"{{"room":"r","event":"e","except_users":[{}]}}"#, users.join(","))
        };
        assert_eq!(except_users(&text(targets::MAX_TARGETS)).len(), targets::MAX_TARGETS);
        assert_eq!(except_users(&text(targets::MAX_TARGETS + 1)).len(), 0);
        assert_eq!(except_users(r#"{"except_users":["a",1]}"#).len(), 0);
    }

    #[test]
    fn several_targets_are_not_one() {
        for members in
            [r#""rooms":["r"]"#, r#""users":"42""#, r#""room":"r","broadcast":true"#, r#""room":"r","rooms":[]"#]
        {
            let published = format!(r#"{{{members},"event":"e"}}"#);
            assert_eq!(parse(published.as_bytes()), Err(InvalidPublication::SeveralTargets), "{published}");
        }
    }

    #[test]
    fn million_levels_of_nesting_need_no_stack() {
        // N-32, X-03
        let levels = 1_000_000;
        let message = "[{\"a\":".repeat(levels / 2) + "0" + &"}]".repeat(levels / 2);
        let published = format!(r#"{{"room":"r","event":"e","message":{message}}}"#);
        let array = format!("[{published}]");
        let read = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            assert_eq!(parse(published.as_bytes()).unwrap().text, published);
            assert_eq!(targets::parse_many(array.as_bytes()).unwrap()[0].text(), published);
            assert!(parse(&published.as_bytes()[..published.len() - 2]).is_err());
        });
        read.unwrap().join().unwrap();
    }
}
