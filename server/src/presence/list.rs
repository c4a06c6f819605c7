//! The members of a room, as clients receive them.

use serde_json::Value;
use std::fmt::Write as _;

/// Maximum size of the members of one list. Further members are left out, and the list says so. Bytes.
pub const MAX_LIST_BYTES: usize = 256 * 1024;

/// A member of a room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user: Box<str>,
    /// What the application says about the user: the text of a JSON value.
    pub info: Option<Box<str>>,
    /// The user's connections in the room. 0: the last one has left, and the user may return.
    pub connections: u64,
}

/// Who is in a room. Encoded once for all who asked at the same time.
///
/// # Shape
/// `{"count": 2, "large": false, "complete": true, "members": [{"user", "info", "connections"}, …]}`. The order of the
/// members has no meaning. `large`: there are so many that only their number is known. `complete`: all of them are
/// listed.
#[derive(Debug, PartialEq, Eq)]
pub struct RoomPresence {
    /// The number of members.
    pub count: u64,
    /// The text of the object.
    pub text: Box<str>,
}

// === impl RoomPresence ===

impl RoomPresence {
    /// The list of a room whose members are these.
    pub fn of(members: impl IntoIterator<Item = Member>, count: u64) -> Self {
        let (mut list, mut listed) = (String::new(), 0);
        for Member { user, info, connections } in members {
            let user = Value::from(&*user);
            let info = info.as_deref().unwrap_or("null");
            let before = list.len();
            let comma = if listed == 0 { "" } else { "," };
            let _ = write!(list, "{comma}{{\"user\":{user},\"info\":{info},\"connections\":{connections}}}");
            if list.len() > MAX_LIST_BYTES {
                list.truncate(before);
                break;
            }
            listed += 1;
        }
        let is_complete = listed >= count;
        let text = format!("{{\"count\":{count},\"large\":false,\"complete\":{is_complete},\"members\":[{list}]}}");
        Self { count, text: text.into() }
    }

    /// The list of a room that has only a number of members.
    pub fn large(count: u64) -> Self {
        let text = format!("{{\"count\":{count},\"large\":true,\"complete\":false,\"members\":[]}}");
        Self { count, text: text.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(number: usize, info: &str) -> Member {
        Member { user: format!("u\"{number}").into(), info: Some(info.into()), connections: 1 }
    }

    #[test]
    fn lists_are_those_of_the_vectors() {
        let vectors: Value = serde_json::from_str(include_str!("../../../protocol/vectors/presence.json")).unwrap();
        for vector in vectors["lists"].as_array().unwrap() {
            let count = vector["count"].as_u64().unwrap();
            let member = |one: &Value| Member {
                user: one["user"].as_str().unwrap().into(),
                info: one["info"].as_str().map(Into::into),
                connections: one["connections"].as_u64().unwrap(),
            };
            let list = match vector["members"].as_array() {
                Some(members) => RoomPresence::of(members.iter().map(member), count),
                None => RoomPresence::large(count),
            };
            assert_eq!(*list.text, *vector["text"].as_str().unwrap());
        }
    }

    #[test]
    fn a_list_is_json_and_says_whether_it_is_complete() {
        let list = |presence: &RoomPresence| serde_json::from_str::<Value>(&presence.text).unwrap();
        let one = list(&RoomPresence::of([member(1, "{\"a\":1}")], 1));
        let expected = serde_json::json!({
            "count": 1, "large": false, "complete": true, "members": [{"user": "u\"1", "info": {"a": 1}, "connections": 1}]
        });
        assert_eq!(one, expected);
        let info = format!("\"{}\"", "x".repeat(1000));
        let presence = RoomPresence::of((0..1000).map(|number| member(number, &info)), 1000);
        let long = list(&presence);
        assert!(presence.text.len() < MAX_LIST_BYTES + 100);
        assert_eq!((&long["complete"], &long["count"]), (&false.into(), &1000.into()));
        assert!((200..300).contains(&long["members"].as_array().unwrap().len()));
        assert_eq!(list(&RoomPresence::large(7))["large"], true);
    }
}
