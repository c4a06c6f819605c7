//! SocketIO Web Service: which rooms belong to one user, and how its messages look inside of the server.
//!
//! A message has arguments instead of one value. It travels as the message of a publication or of a mailbox: an array,
//! marked as `spread`. So a program that publishes to such a namespace in any other way sends one argument.
//!
//! Configuration, the dialect, `POST /send` and the request to the application share this file, which knows none of them.

use hyper::Uri;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What a namespace with this dialect knows of its rooms and events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// What the names of rooms of one user begin with. `None`: every room is one of a group.
    pub user_room_prefix: Option<Box<str>>,
    /// A room that every connection is in, also one without a token.
    pub public_room: Option<Box<str>>,
    /// Whether `batch` and `resync` are called `_batch` and `_resync`.
    pub has_underscore: bool,
    /// Where the application is notified that a user has connected or disconnected. `:id` in it is the user.
    pub update_user_url: Option<Uri>,
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// The event's name.
    pub event: Cow<'a, str>,
    /// The texts of the arguments, separated by commas.
    pub arguments: &'a str,
    /// Whether an acknowledgement out of order clears the mailbox.
    pub resync: bool,
}

/// Names of events that mean something else for a client's own code.
const RESERVED: [&str; 14] = [
    "connect",
    "connect_error",
    "connect_timeout",
    "connecting",
    "disconnect",
    "disconnecting",
    "error",
    "newListener",
    "reconnect",
    "reconnect_attempt",
    "reconnect_error",
    "reconnect_failed",
    "reconnecting",
    "removeListener",
];

// === impl Settings ===

impl Settings {
    /// Whether a room belongs to one user.
    pub fn is_user_room(&self, room: &str) -> bool {
        self.user_room_prefix.as_ref().is_some_and(|prefix| room.starts_with(&**prefix))
    }

    /// The id that the application has given to a user: the name of its room without the prefix.
    pub fn user_id<'a>(&self, user: &'a str) -> &'a str {
        self.user_room_prefix.as_ref().and_then(|prefix| user.strip_prefix(&**prefix)).unwrap_or(user)
    }

    /// The name of `batch`.
    pub fn batch(&self) -> &'static str {
        if self.has_underscore { "_batch" } else { "batch" }
    }

    /// The name of `resync`.
    pub fn resync(&self) -> &'static str {
        if self.has_underscore { "_resync" } else { "resync" }
    }
}

/// Whether clients could not distinguish an event of this name from one of their own.
pub fn is_reserved(event: &str) -> bool {
    RESERVED.contains(&event)
}

/// The text of a message in the mailbox of a user: a JSON object. `arguments` is the text of a JSON array. `sent`:
/// milliseconds since the Unix epoch.
pub fn mailbox_text(event: &str, arguments: &str, resync: bool, sent: u64) -> String {
    let resync = if resync { ",\"resync\":true" } else { "" };
    format!("{{\"event\":{},\"message\":{arguments},\"spread\":true{resync},\"sent\":{sent}}}", json!(event))
}

/// The text of a message to rooms: a JSON object, as publishers send it. The connections of these users do not receive it.
pub fn publication_text(rooms: &[&str], except_users: &[&str], event: &str, arguments: &str) -> String {
    let except =
        if except_users.is_empty() { String::new() } else { format!(",\"except_users\":{}", json!(except_users)) };
    format!(
        "{{\"rooms\":{},\"event\":{},\"message\":{arguments},\"spread\":true{except}}}",
        json!(rooms),
        json!(event)
    )
}

/// Reads a message: the text of a JSON object. `None`: it is not one.
pub fn parse(text: &str) -> Option<Message<'_>> {
    #[derive(Deserialize)]
    struct Written<'a> {
        #[serde(borrow)]
        event: Cow<'a, str>,
        #[serde(borrow)]
        message: Option<&'a RawValue>,
        #[serde(default)]
        spread: bool,
        #[serde(default)]
        resync: bool,
    }
    let Written { event, message, spread, resync } = serde_json::from_str(text).ok()?;
    let message = message.map_or("null", RawValue::get);
    let elements = message.strip_prefix('[').and_then(|text| text.strip_suffix(']')).filter(|_| spread);
    Some(Message { event, arguments: elements.map_or(message, str::trim), resync })
}

// === impl Message ===

impl Message<'_> {
    /// The text of a JSON array: the event's name and the arguments.
    pub fn event_text(&self) -> String {
        let (name, separator) = (json!(self.event), if self.arguments.is_empty() { "" } else { "," });
        format!("[{name}{separator}{}]", self.arguments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn w20_arguments_are_spread_and_nested_arrays_stay() {
        for (arguments, event) in [
            ("[]", r#"["e"]"#),
            ("[ ]", r#"["e"]"#),
            ("[1]", r#"["e",1]"#),
            ("[[1,2],3]", r#"["e",[1,2],3]"#),
            (r#"["]",null,{"a":[]}]"#, r#"["e","]",null,{"a":[]}]"#),
        ] {
            let stored = mailbox_text("e", arguments, false, 5);
            assert_eq!(parse(&stored).unwrap().event_text(), event);
            let published = publication_text(&["a"], &["user_1"], "e", arguments);
            assert_eq!(parse(&published).unwrap().event_text(), event);
        }
        assert!(parse(&mailbox_text("e", "[]", true, 5)).unwrap().resync);
    }

    #[test]
    fn what_other_programs_publish_is_one_argument() {
        let one = |text| parse(text).map(|message| message.event_text());
        assert_eq!(one(r#"{"room":"a","event":"\u00e9","message":[1,2]}"#).as_deref(), Some(r#"["é",[1,2]]"#));
        assert_eq!(one(r#"{"room":"a","event":"e"}"#).as_deref(), Some(r#"["e",null]"#));
        assert_eq!(one(r#"{"event":"e","message":7,"spread":true}"#).as_deref(), Some(r#"["e",7]"#));
        assert_eq!(one("[]"), None);
    }

    #[test]
    fn w43_w55_a_prefix_makes_rooms_of_users_and_none_makes_none() {
        let settings = Settings { user_room_prefix: Some("user_".into()), ..Settings::default() };
        assert!(
            settings.is_user_room("user_1") && settings.is_user_room("user_*") && !settings.is_user_room("staff")
        );
        assert!(!Settings::default().is_user_room("user_1"));
    }

    #[test]
    fn w45_names_of_a_clients_own_events_are_reserved() {
        assert!(is_reserved("disconnect") && is_reserved("error") && !is_reserved("message"));
    }
}
