//! `plain.json`: the lines of the protocol `plain`.

use crate::vector::{list, load, number, text};
use nodevent_protocol::history::Position;
use nodevent_protocol::plain::{self, Command};
use nodevent_protocol::room::MAX_BYTES;
use nodevent_protocol::topic::Topic;
use serde_json::{Value, json};

/// Converts a command to the form of the vectors.
fn describe(command: &Command) -> Value {
    let with_id = |mut value: Value, id: &Option<u64>| {
        if let Some(id) = id {
            value["id"] = (*id).into();
        }
        value
    };
    match command {
        Command::Ping { payload } => json!({"ping": payload}),
        Command::Token { token, since_user, since, id } => {
            let mut value = json!({"token": token});
            if let Some(since) = since_user {
                value["since_user"] = since.clone().into();
            }
            if !since.is_empty() {
                value["since"] = since.iter().cloned().map(|(room, at)| (room, Value::from(at))).collect();
            }
            with_id(value, id)
        }
        Command::Broadcast { since, id } => {
            let mut value = json!({"broadcast": true});
            if let Some(since) = since {
                value["since"] = since.clone().into();
            }
            with_id(value, id)
        }
        Command::Presence { room, id } => with_id(json!({"presence": room}), id),
        Command::Call { method, path, body, id } => {
            let mut value = json!({"call": {"method": method, "path": path}, "id": id});
            if let Some(body) = body {
                value["call"]["body"] = body.as_str().into();
            }
            value
        }
        Command::Mailbox { id } => with_id(json!({"mailbox": true}), id),
        Command::Acknowledge { acknowledgement, id } => {
            let ids: Vec<String> = acknowledgement.ids.iter().map(ToString::to_string).collect();
            let mut which = json!({"ids": ids});
            if let Some(last) = acknowledgement.up_to {
                which["up_to"] = last.to_string().into();
            }
            with_id(json!({"acknowledge": which}), id)
        }
        Command::Leave { room, id } => with_id(json!({"leave": room}), id),
        Command::Join { room, key, since, id } => {
            let mut value = json!({"join": room});
            if let Some(key) = key {
                value["key"] = key.clone();
            }
            if let Some(since) = since {
                value["since"] = since.clone().into();
            }
            with_id(value, id)
        }
    }
}

/// The topic that a vector names.
fn topic(vector: &Value) -> Topic<'_> {
    match (vector["room"].as_str(), vector["user"].as_str()) {
        (Some(room), _) => Topic::Room(room),
        (None, Some(user)) => Topic::User(user),
        (None, None) => Topic::All,
    }
}

#[test]
fn every_command_is_parsed() {
    for vector in list(&load("plain.json"), "commands") {
        let command = Command::parse(text(vector, "line"), MAX_BYTES);
        assert_eq!(command.as_ref().map(describe), Ok(vector["command"].clone()), "{vector}");
    }
}

#[test]
fn every_invalid_line_has_its_error_and_its_id() {
    for vector in list(&load("plain.json"), "errors") {
        let (error, id) = Command::parse(text(vector, "line"), MAX_BYTES).unwrap_err();
        assert_eq!(error.to_string(), text(vector, "error"), "{vector}");
        assert_eq!(id, vector["id"].as_u64(), "{vector}");
    }
}

#[test]
fn every_line_of_the_server_is_encoded() {
    for vector in list(&load("plain.json"), "lines") {
        let id = vector["id"].as_u64();
        let position = vector["position"].as_str().map(|position| Position::parse(position).unwrap());
        let line = match text(vector, "kind") {
            "hello" => plain::hello(number(vector, "heartbeat")),
            "heartbeat" => plain::heartbeat(number(vector, "heartbeat")),
            "pong" => plain::pong(text(vector, "payload")),
            "joined" => {
                let recovery = vector["recovered"].as_bool().map(|recovered| (position, recovered));
                plain::joined(topic(vector), id, recovery)
            }
            "left" => plain::left(text(vector, "room"), id),
            "error" => plain::error(text(vector, "error"), text(vector, "hint"), vector["room"].as_str(), id),
            "gap" => plain::gap(topic(vector), position.unwrap()),
            "identified" => plain::identified(text(vector, "user"), number(vector, "expires_in"), id),
            "expired" => plain::expired(number(vector, "grace")),
            "presence" => plain::presence(&vector["list"].to_string(), id),
            "mailbox" => plain::mailbox(&vector["delivery"].to_string()),
            "acknowledged" => plain::acknowledged(&vector["which"].to_string()),
            "called" => plain::called(&vector["response"].to_string(), id.unwrap()),
            "call_failed" => {
                plain::call_failed(text(vector, "error"), number(vector, "status") as u16, id.unwrap())
            }
            "removed" => plain::removed(number(vector, "count"), number(vector, "unread"), id),
            "closing" => plain::closing(text(vector, "reason"), number(vector, "reconnect_after")),
            other => panic!("unknown kind: {other}"),
        };
        assert_eq!(serde_json::from_str::<Value>(&line).unwrap(), vector["line"], "{vector}");
    }
}
