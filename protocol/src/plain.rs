//! The protocol `plain`: JSON objects over a WebSocket, for clients without Socket.IO.
//!
//! One object per line, one or several lines per message. `protocol/README.md` section 9 defines it, and
//! `vectors/plain.json` has an example of every line.

use crate::history::Position;
use crate::mailbox::{Acknowledgement, MessageId};
use crate::room;
use crate::topic::Topic;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// A line from a client.
#[derive(Debug, PartialEq)]
pub enum Command {
    /// `{"join": room, "key": …, "since": …, "id": …}`
    Join {
        /// The room's name.
        room: String,
        /// The room key or token.
        key: Option<Value>,
        /// The position up to which the client has received everything.
        since: Option<String>,
        /// The client's number for the request.
        id: Option<u64>,
    },
    /// `{"leave": room, "id": …}`
    Leave {
        /// The room's name.
        room: String,
        /// The client's number for the request.
        id: Option<u64>,
    },
    /// `{"token": …, "since_user": …, "since": {room: …}, "id": …}`
    Token {
        /// The token.
        token: String,
        /// The position up to which the client has received what was published to its user.
        since_user: Option<String>,
        /// The positions of rooms that the token lists.
        since: Vec<(String, String)>,
        /// The client's number for the request.
        id: Option<u64>,
    },
    /// `{"broadcast": true, "since": …, "id": …}`
    Broadcast {
        /// The position up to which the client has received what was published to all connections.
        since: Option<String>,
        /// The client's number for the request.
        id: Option<u64>,
    },
    /// `{"presence": room, "id": …}`
    Presence {
        /// The room's name.
        room: String,
        /// The client's number for the request.
        id: Option<u64>,
    },
    /// `{"call": {"method": …, "path": …, "body": …}, "id": …}`
    Call {
        /// The method.
        method: String,
        /// Path and query.
        path: String,
        /// The JSON text of the body.
        body: Option<String>,
        /// The client's number for the request.
        id: u64,
    },
    /// `{"mailbox": true, "id": …}`
    Mailbox {
        /// The client's number for the request.
        id: Option<u64>,
    },
    /// `{"acknowledge": {"ids": […], "up_to": …}, "id": …}`
    Acknowledge {
        /// The messages.
        acknowledgement: Acknowledgement,
        /// The client's number for the request.
        id: Option<u64>,
    },
    /// `{"ping": …}`
    Ping {
        /// The JSON text to send back.
        payload: String,
    },
}

/// Why a line is not a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CommandError {
    /// It is not a JSON object.
    #[error("not a JSON object")]
    NotAnObject,
    /// It has none of the commands' members, or more than one.
    #[error("unknown command")]
    UnknownCommand,
    /// `id` is not an integer from 0 to 2^64 - 1.
    #[error("invalid id")]
    BadId,
    /// The room's name is empty, too long, or neither a string nor an integer.
    #[error("Bad room")]
    BadRoom,
    /// `token` is not text.
    #[error("invalid token")]
    BadToken,
    /// `call` is not a call, or has no id.
    #[error("bad call")]
    BadCall,
    /// `acknowledge` does not name messages.
    #[error("Bad ids")]
    BadIds,
    /// `acknowledge` names more than [`MAX_IDS`] messages.
    #[error("Too many ids")]
    TooManyIds,
}

/// Messages in one `acknowledge`.
pub const MAX_IDS: usize = 1000;

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    join: Option<Value>,
    #[serde(default)]
    leave: Option<Value>,
    #[serde(default)]
    token: Option<Value>,
    #[serde(default)]
    broadcast: Option<Value>,
    #[serde(default)]
    presence: Option<Value>,
    #[serde(borrow, default)]
    call: Option<&'a RawValue>,
    #[serde(default)]
    mailbox: Option<Value>,
    #[serde(default)]
    acknowledge: Option<Value>,
    #[serde(borrow, default)]
    ping: Option<&'a RawValue>,
    #[serde(default)]
    key: Option<Value>,
    #[serde(default)]
    since: Option<Value>,
    #[serde(default)]
    since_user: Option<Value>,
    #[serde(default)]
    id: Option<Value>,
}

/// `{"method": …, "path": …, "body": …}`
#[derive(Deserialize)]
struct CallLine<'a> {
    method: String,
    path: String,
    #[serde(borrow, default)]
    body: Option<&'a RawValue>,
}

// === impl CallLine ===

impl<'a> CallLine<'a> {
    fn parse(call: &'a RawValue) -> Option<Self> {
        // The parser would take an array for the members in their order.
        let object = Some(call.get()).filter(|text| text.starts_with('{'));
        object.and_then(|text| serde_json::from_str(text).ok())
    }
}

// === impl CommandError ===

impl CommandError {
    /// The hint: what to send instead.
    #[must_use]
    pub fn hint(self) -> &'static str {
        match self {
            Self::NotAnObject => "send one JSON object per line",
            Self::UnknownCommand => {
                r#"send one of: {"join": room}, {"leave": room}, {"token": text}, {"broadcast": true}, {"presence": room}, {"call": {"method": …, "path": …}}, {"mailbox": true}, {"acknowledge": {"ids": […]}}, {"ping": …}"#
            }
            Self::BadId => "send an integer that is not negative",
            Self::BadRoom => "send a non-empty string of at most 255 bytes, or an integer",
            Self::BadToken => "send the text of a token",
            Self::BadCall => r#"send {"call": {"method": "POST", "path": "/comments", "body": …}, "id": 1}"#,
            Self::BadIds => {
                r#"send {"acknowledge": {"ids": ["…"]}} or {"acknowledge": {"up_to": "…"}} with ids of messages"#
            }
            Self::TooManyIds => "send at most 1000 ids at a time",
        }
    }
}

// === impl Command ===

impl Command {
    /// Parses one line.
    ///
    /// # Errors
    /// [`CommandError`], and the request's `id` if it has a valid one.
    pub fn parse(line: &str, max_room_name: usize) -> Result<Self, (CommandError, Option<u64>)> {
        // The parser would take an array for the members in their order.
        let object = Some(line).filter(|line| line.trim_start().starts_with('{'));
        let line: Option<Line<'_>> = object.and_then(|line| serde_json::from_str(line).ok());
        let line = line.ok_or((CommandError::NotAnObject, None))?;
        let id = match &line.id {
            None | Some(Value::Null) => None,
            Some(id) => Some(id.as_u64().ok_or((CommandError::BadId, None))?),
        };
        let fail = |error: CommandError| (error, id);
        let room = |room: &Value| room::from_json(room, max_room_name).map_err(|_| fail(CommandError::BadRoom));
        let Line {
            join,
            leave,
            token,
            broadcast,
            presence,
            call,
            mailbox,
            acknowledge,
            ping,
            key,
            since,
            since_user,
            ..
        } = line;
        let rest = (mailbox, acknowledge, call, ping);
        match (join, leave, token, broadcast, presence, rest) {
            (Some(name), None, None, None, None, (None, None, None, None)) => {
                let key = key.filter(|key| !key.is_null());
                Ok(Self::Join { room: room(&name)?, key, since: position(since), id })
            }
            (None, Some(name), None, None, None, (None, None, None, None)) => {
                Ok(Self::Leave { room: room(&name)?, id })
            }
            (None, None, Some(token), None, None, (None, None, None, None)) => {
                let token = token.as_str().ok_or(fail(CommandError::BadToken))?.to_owned();
                let since = match since {
                    Some(Value::Object(rooms)) => {
                        let text = |at: Value| at.as_str().unwrap_or_default().to_owned();
                        rooms.into_iter().map(|(room, at)| (room, text(at))).collect()
                    }
                    _ => Vec::new(),
                };
                Ok(Self::Token { token, since_user: position(since_user), since, id })
            }
            (None, None, None, Some(Value::Bool(true)), None, (None, None, None, None)) => {
                Ok(Self::Broadcast { since: position(since), id })
            }
            (None, None, None, None, Some(name), (None, None, None, None)) => {
                Ok(Self::Presence { room: room(&name)?, id })
            }
            (None, None, None, None, None, (Some(Value::Bool(true)), None, None, None)) => Ok(Self::Mailbox { id }),
            (None, None, None, None, None, (None, Some(which), None, None)) => {
                Ok(Self::Acknowledge { acknowledgement: acknowledgement(&which).map_err(fail)?, id })
            }
            (None, None, None, None, None, (None, None, Some(call), None)) => {
                let id = id.ok_or((CommandError::BadCall, None))?;
                let CallLine { method, path, body } = CallLine::parse(call).ok_or(fail(CommandError::BadCall))?;
                Ok(Self::Call { method, path, body: body.map(|body| body.get().to_owned()), id })
            }
            (None, None, None, None, None, (None, None, None, Some(payload))) => {
                Ok(Self::Ping { payload: payload.get().to_owned() })
            }
            _ => Err(fail(CommandError::UnknownCommand)),
        }
    }
}

/// A position that is not a string is not a position of the server's.
fn position(since: Option<Value>) -> Option<String> {
    since.filter(|since| !since.is_null()).map(|since| since.as_str().unwrap_or_default().to_owned())
}

/// The messages that `{"ids": […], "up_to": …}` names.
fn acknowledgement(which: &Value) -> Result<Acknowledgement, CommandError> {
    let id = |value: &Value| value.as_str().and_then(MessageId::parse).ok_or(CommandError::BadIds);
    let member = |name: &str| which.get(name).filter(|value| !value.is_null());
    let up_to = member("up_to").map(id).transpose()?;
    let ids = match (member("ids"), up_to) {
        (None, Some(_)) => Vec::new(),
        (Some(Value::Array(ids)), _) if ids.len() > MAX_IDS => return Err(CommandError::TooManyIds),
        (Some(Value::Array(ids)), _) => ids.iter().map(id).collect::<Result<_, _>>()?,
        _ => return Err(CommandError::BadIds),
    };
    Ok(Acknowledgement { up_to, ids })
}

/// The first line of a connection. `heartbeat`: the interval of the server's heartbeats. Milliseconds.
#[must_use]
pub fn hello(heartbeat: u64) -> String {
    json!({"hello": {"version": 1, "heartbeat": heartbeat}}).to_string()
}

/// A heartbeat. The next one follows within `interval`. Milliseconds.
#[must_use]
pub fn heartbeat(interval: u64) -> String {
    json!({"heartbeat": interval}).to_string()
}

/// The reply to a ping.
#[must_use]
pub fn pong(payload: &str) -> String {
    format!("{{\"pong\":{payload}}}")
}

/// The reply to a join, and the result of joining a room of a token. `recovery`: whether nothing is missing, and the topic's
/// position. `None`: no history.
#[must_use]
pub fn joined(topic: Topic<'_>, id: Option<u64>, recovery: Option<(Option<Position>, bool)>) -> String {
    let mut line = match topic {
        Topic::Room(room) => json!({"joined": room}),
        Topic::User(user) => json!({"joined": true, "user": user}),
        Topic::All => json!({"joined": true, "broadcast": true}),
    };
    add_recovery(&mut line, recovery);
    with_id(line, id)
}

fn add_recovery(line: &mut Value, recovery: Option<(Option<Position>, bool)>) {
    if let Some((position, recovered)) = recovery {
        line["position"] = position.map(|position| position.to_string()).into();
        line["recovered"] = recovered.into();
    }
}

/// The name of the page that the handshake has named. `None`: the visitor is not known.
#[must_use]
pub fn page(page: Option<&str>) -> String {
    json!({"page": page}).to_string()
}

/// The client receives what is published to its page alone.
#[must_use]
pub fn joined_page(page: &str, recovery: Option<(Option<Position>, bool)>) -> String {
    let mut line = json!({"joined": true, "page": page});
    add_recovery(&mut line, recovery);
    line.to_string()
}

/// The reply to a leave.
#[must_use]
pub fn left(room: &str, id: Option<u64>) -> String {
    with_id(json!({"left": room}), id)
}

/// Who the connection is, and how long its token is valid. Milliseconds.
#[must_use]
pub fn identified(user: &str, expires_in: u64, id: Option<u64>) -> String {
    with_id(json!({"identified": user, "expires_in": expires_in}), id)
}

/// The token has expired. The connection is closed after that time, unless it presents a new one. Milliseconds.
#[must_use]
pub fn expired(grace: u64) -> String {
    json!({"expired": {"grace": grace}}).to_string()
}

/// The reply to `presence`. `list` is the text of a JSON object.
#[must_use]
pub fn presence(list: &str, id: Option<u64>) -> String {
    let id = id.map_or(String::new(), |id| format!(",\"id\":{id}"));
    format!("{{\"presence\":{list}{id}}}")
}

/// Messages of the mailbox. `delivery` is the text of a JSON object.
#[must_use]
pub fn mailbox(delivery: &str) -> String {
    format!("{{\"mailbox\":{delivery}}}")
}

/// A connection of the user, or the application, has acknowledged messages. `which` is the text of a JSON object.
#[must_use]
pub fn acknowledged(which: &str) -> String {
    format!("{{\"acknowledged\":{which}}}")
}

/// The reply to `acknowledge`.
#[must_use]
pub fn removed(count: u64, unread: u64, id: Option<u64>) -> String {
    with_id(json!({"removed": count, "unread": unread}), id)
}

/// The reply to a call: `response` is the text of a JSON object.
#[must_use]
pub fn called(response: &str, id: u64) -> String {
    format!("{{\"called\":{response},\"id\":{id}}}")
}

/// The reply to a call that has no response.
#[must_use]
pub fn call_failed(error: &str, status: u16, id: u64) -> String {
    json!({"error": error, "status": status, "id": id}).to_string()
}

/// The reply to a request that failed.
#[must_use]
pub fn error(error: &str, hint: &str, room: Option<&str>, id: Option<u64>) -> String {
    let mut line = json!({"error": error, "hint": hint});
    if let Some(room) = room {
        line["room"] = room.into();
    }
    with_id(line, id)
}

/// The notice that publications of a topic before `position` may be missing and cannot be recovered.
#[must_use]
pub fn gap(topic: Topic<'_>, position: Position) -> String {
    let position = position.to_string();
    match topic {
        Topic::Room(room) => json!({"gap": room, "position": position}),
        Topic::User(user) => json!({"gap": true, "user": user, "position": position}),
        Topic::All => json!({"gap": true, "broadcast": true, "position": position}),
    }
    .to_string()
}

/// The notice that the server shuts down. The client should reconnect after that time. Milliseconds.
#[must_use]
pub fn closing(reason: &str, reconnect_after: u64) -> String {
    json!({"closing": reason, "reconnect_after": reconnect_after}).to_string()
}

fn with_id(mut line: Value, id: Option<u64>) -> String {
    if let Some(id) = id {
        line["id"] = id.into();
    }
    line.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_a_client_is_named_and_joined() {
        assert_eq!(page(Some("9756")), r#"{"page":"9756"}"#);
        assert_eq!(page(None), r#"{"page":null}"#);
        let position = Position { epoch: 1, offset: 5 };
        let joined: Value = serde_json::from_str(&joined_page("9756", Some((Some(position), true)))).unwrap();
        let at = position.to_string();
        assert_eq!(joined, json!({"joined": true, "page": "9756", "position": at, "recovered": true}));
        assert_eq!(joined_page("9756", None), r#"{"joined":true,"page":"9756"}"#);
    }

    #[test]
    fn invalid_line_is_reported_with_its_id() {
        for (line, error, id) in [
            ("", CommandError::NotAnObject, None),
            ("[]", CommandError::NotAnObject, None),
            ("{}", CommandError::UnknownCommand, None),
            (r#"{"join":"r","leave":"r","id":3}"#, CommandError::UnknownCommand, Some(3)),
            (r#"{"join":"","id":4}"#, CommandError::BadRoom, Some(4)),
            (r#"{"join":["r"],"id":5}"#, CommandError::BadRoom, Some(5)),
            (r#"{"join":"r","id":-1}"#, CommandError::BadId, None),
            (r#"{"join":"r","id":"x"}"#, CommandError::BadId, None),
        ] {
            assert_eq!(Command::parse(line, 255), Err((error, id)), "{line}");
        }
    }
}
