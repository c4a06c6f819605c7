//! The dialect `turted`: `IDENT`, `JOIN`, `LEAVE`, `ECHO` and `EVENT`, as TURTED has them.
//!
//! A channel is a room with a prefix, and a user is a user of the namespace: a connection joins the topics of as many
//! users as it has identified. So a push is a publication to users, rooms or all connections, and each connection
//! receives it once.
//!
//! # Source
//! TURTED 3.3.6 (`ConnectionManager`, `UserManager`, `ChannelManager`).

mod authenticator;

use crate::authorize::DialectJoins;
use crate::config::turted::{Ident, JoinPolicy, Turted as Settings};
use crate::history::RequestId;
use crate::namespace::Namespace;
use crate::outcome::Outcome;
use crate::protocol::{JoinError, Joined};
use crate::protocols::Mount;
use crate::protocols::socket_io::arguments::Argument;
use crate::protocols::socket_io::dialect::{Dialect, Event, Operations};
use authenticator::Decision;
use nodevent_protocol::history::Position;
use nodevent_protocol::topic::{self, Topic};
use nodevent_protocol::turted::{self, CHANNEL_PREFIX};
use serde_json::{Value, json};
use std::sync::Arc;

/// What a client receives whose user was not verified.
const NOT_VERIFIED: &str = "IDENT not verified";
/// What a client receives that may not join a channel.
const NOT_ALLOWED: &str = "JOIN not allowed";
/// The parts of requests to join a user whom the client named by a number that is not negative, or is.
const NUMBER: u16 = 1;
const NEGATIVE_NUMBER: u16 = 2;

/// The dialect of one namespace.
#[derive(Debug)]
struct Turted {
    settings: Settings,
    /// Admits its joins.
    joins: Arc<DialectJoins>,
}

/// Makes the dialect of a namespace.
pub(super) fn make(mount: &Mount<'_>, namespace: &Namespace) -> Arc<dyn Dialect> {
    let settings = mount.config.namespaces[usize::from(namespace.id)].turted.clone().unwrap_or_default();
    Arc::new(Turted { settings, joins: Arc::clone(&namespace.dialect_joins) })
}

// === impl Turted ===

impl Turted {
    /// `IDENT {username or user, …}`. Nothing happens without a name.
    fn ident(&self, operations: &mut dyn Operations, data: Argument<'_>) {
        let [username, user] = data.fields(["username", "user"]);
        let Some(value) = username.value().or_else(|| user.value()).filter(|value| *value != "") else { return };
        let Some((name, request)) = name_of(&value) else { return refuse(operations, NOT_VERIFIED) };
        let Some(credential) = self.credential_of_ident(&name, data) else {
            operations.reject_join(match self.settings.ident {
                // There is nothing to guess.
                Ident::Closed => JoinError::Unauthorized(NOT_VERIFIED),
                _ => JoinError::WrongKey(NOT_VERIFIED),
            });
            return refuse(operations, NOT_VERIFIED);
        };
        let topic = topic::of_user(&name);
        match operations.join_decided(&topic, &credential, data.raw(), request) {
            Ok(Outcome::Ready(_)) => emit(operations, "OK", &json!({"username": value})),
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            Err(error) => refuse(operations, ident_error(error).as_str()),
        }
    }

    /// The credential of the join to the topic of a user. `None`: the client is not that user.
    fn credential_of_ident(&self, name: &str, data: Argument<'_>) -> Option<Value> {
        match authenticator::verify(&self.settings.ident, name, data) {
            Decision::Yes => Some(self.joins.credential()),
            Decision::Application => {
                // As text: a value takes many times as much memory, and it waits for the application.
                Some(self.joins.question(json!({"ident": {"username": name, "data": data.raw()}})))
            }
            Decision::No => None,
        }
    }

    /// `JOIN {channel}`. Nothing happens without a name.
    fn join(&self, operations: &mut dyn Operations, data: Argument<'_>) {
        let Some(channel) = channel_of(data) else { return };
        let Some(credential) = self.credential_of_join(operations, &channel) else {
            operations.reject_join(JoinError::Unauthorized(NOT_ALLOWED));
            return refuse(operations, NOT_ALLOWED);
        };
        let room = turted::room_of(&channel);
        match operations.join_decided(&room, &credential, None, RequestId::UNREQUESTED) {
            Ok(Outcome::Pending | Outcome::Overloaded) => {}
            result => on_joined(operations, &channel, result.map(|_| ())),
        }
    }

    /// The credential of a join. `None`: the connection may not join.
    fn credential_of_join(&self, operations: &dyn Operations, channel: &str) -> Option<Value> {
        let users = operations.users();
        match self.settings.join {
            JoinPolicy::Open => Some(self.joins.credential()),
            JoinPolicy::Application => {
                Some(self.joins.question(json!({"join": {"channel": channel, "users": users}})))
            }
            JoinPolicy::Identified if !users.is_empty() => Some(self.joins.credential()),
            // An `IDENT` that was sent before may still wait for the application.
            JoinPolicy::Identified if matches!(self.settings.ident, Ident::Application) => {
                Some(self.joins.question(json!({"after_ident": true})))
            }
            JoinPolicy::Identified => None,
        }
    }
}

impl Dialect for Turted {
    fn event(&self, operations: &mut dyn Operations, event: Event) {
        let Some((name, data)) = Argument::of_event(&event.args) else { return };
        match &*name {
            "IDENT" => self.ident(operations, data),
            "JOIN" => self.join(operations, data),
            "LEAVE" => {
                if let Some(channel) = channel_of(data) {
                    operations.leave(&turted::room_of(&channel));
                    emit(operations, "OK", &json!({"channel": channel}));
                }
            }
            "ECHO" => echo(operations, data, &event),
            // `PING` and `message` have no effect.
            _ => {}
        }
    }

    fn restore(&self, operations: &mut dyn Operations, topic: Topic<'_>, kept: Option<&str>) {
        let credential = match topic {
            Topic::User(user) => self.credential_of_ident(user, kept.map_or(Argument::MISSING, Argument::of_value)),
            Topic::Room(room) => {
                room.strip_prefix(CHANNEL_PREFIX).and_then(|channel| self.credential_of_join(operations, channel))
            }
            Topic::All => None,
        };
        if let Some(credential) = credential {
            operations.rejoin(topic, Some(&credential), kept);
        }
    }

    fn joined(&self, operations: &mut dyn Operations, request: RequestId, result: Result<Joined, JoinError>) {
        let Some(number) = request.number else { return };
        let username = match request.part {
            NEGATIVE_NUMBER => Value::from(number.cast_signed()),
            _ => Value::from(number),
        };
        on_identified(operations, username, result);
    }

    fn joined_by_token(
        &self,
        operations: &mut dyn Operations,
        topic: Topic<'_>,
        result: Result<Joined, JoinError>,
    ) {
        match topic {
            Topic::User(user) => on_identified(operations, user.into(), result),
            Topic::Room(room) => {
                on_joined(operations, room.strip_prefix(CHANNEL_PREFIX).unwrap_or(room), result.map(|_| ()));
            }
            Topic::All => {}
        }
    }

    fn owns(&self, topic: Topic<'_>) -> bool {
        match topic {
            Topic::Room(room) => room.starts_with(CHANNEL_PREFIX),
            Topic::User(_) | Topic::All => true,
        }
    }

    fn write_publication(&self, packet: &mut String, text: &str) {
        packet.push_str(&turted::event(text, self.settings.has_via));
    }

    fn gap(&self, topic: Topic<'_>, _position: Position) -> String {
        json!(["GAP", turted::via(Some(&topic.name()))]).to_string()
    }
}

/// The name of a user, and the id of the request to join that remembers its form. `None`: it cannot be a name.
fn name_of(value: &Value) -> Option<(String, RequestId)> {
    let (name, request) = match value {
        Value::String(name) => (name.clone(), RequestId::UNREQUESTED),
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(number), _) => (number.to_string(), RequestId { number: Some(number), part: NUMBER }),
            (_, Some(number)) => {
                let id = number.cast_unsigned();
                (number.to_string(), RequestId { number: Some(id), part: NEGATIVE_NUMBER })
            }
            _ => return None,
        },
        _ => return None,
    };
    topic::is_user(&name).then_some((name, request))
}

/// The channel that a client names. Only a text is one.
fn channel_of(data: Argument<'_>) -> Option<String> {
    let channel = data.field("channel").value()?;
    channel.as_str().filter(|channel| turted::is_channel(channel)).map(str::to_owned)
}

/// `ECHO`: the same data, or `null`.
fn echo(operations: &mut dyn Operations, data: Argument<'_>, event: &Event) {
    if event.attachments.is_empty() {
        operations.emit(&format!("[\"ECHO\",{}]", data.raw().unwrap_or("null")), &[]);
    } else if Argument::of_value(&event.args).elements().is_some_and(|args| args.len() == 2) {
        // All attachments belong to the data.
        operations.emit(&event.args, &event.attachments);
    }
}

fn on_identified(operations: &mut dyn Operations, username: Value, result: Result<Joined, JoinError>) {
    match result {
        Ok(_) => emit(operations, "OK", &json!({"username": username})),
        Err(error) => refuse(operations, ident_error(error).as_str()),
    }
}

fn on_joined(operations: &mut dyn Operations, channel: &str, result: Result<(), JoinError>) {
    match result {
        Ok(()) => emit(operations, "OK", &json!({"channel": channel})),
        Err(JoinError::Unauthorized(_) | JoinError::WrongKey(_)) => refuse(operations, NOT_ALLOWED),
        Err(error) => refuse(operations, &format!("JOIN failed: {error}")),
    }
}

fn ident_error(error: JoinError) -> String {
    match error {
        JoinError::Unauthorized(_) | JoinError::WrongKey(_) => NOT_VERIFIED.to_owned(),
        error => format!("IDENT failed: {error}"),
    }
}

fn refuse(operations: &mut dyn Operations, error: &str) {
    emit(operations, "ERROR", &error.into());
}

fn emit(operations: &mut dyn Operations, event: &str, data: &Value) {
    operations.emit(&json!([event, data]).to_string(), &[]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_digits_are_one_user_and_nothing_else_is_a_name() {
        // T-05, T-40
        assert_eq!(name_of(&json!(42)).unwrap().0, name_of(&json!("42")).unwrap().0);
        assert_eq!(name_of(&json!(-7)).unwrap().1, RequestId { number: Some(-7i64 as u64), part: NEGATIVE_NUMBER });
        assert_eq!(name_of(&json!("__proto__")).unwrap().0, "__proto__");
        for value in [json!(1.5), json!(true), json!({}), json!(["a"]), json!("a\u{1}b"), json!("x".repeat(256))] {
            assert!(name_of(&value).is_none(), "{value}");
        }
    }
}
