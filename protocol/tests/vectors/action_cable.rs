//! `action_cable.json`: signed names of streams, commands and frames.

use crate::vector::{list, load, number, text};
use base64::Engine as _;
use nodevent_protocol::action_cable::command::{Command, Entry, History, Identifier};
use nodevent_protocol::action_cable::{frame, signed_name};
use nodevent_protocol::history::Position;
use nodevent_protocol::key::Secret;
use serde_json::{Value, json};

fn keys(vectors: &Value) -> Vec<Secret> {
    let decode = |text| base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    list(vectors, "keys").iter().map(|key| Secret::new(decode(text(key, "base64"))).unwrap()).collect()
}

#[test]
fn every_signed_name_is_accepted_or_refused_as_rails_does() {
    let vectors = load("action_cable.json");
    let (keys, now) = (keys(&vectors), number(&vectors, "now"));
    for vector in list(&vectors, "accepted") {
        let expires = vector.get("expires").and_then(Value::as_u64);
        let verified = signed_name::verify(text(vector, "token"), &keys, now);
        assert_eq!(verified, Ok((text(vector, "name").to_owned(), expires)), "{vector}");
    }
    for vector in list(&vectors, "rejected") {
        let error = signed_name::verify(text(vector, "token"), &keys, now).unwrap_err();
        assert_eq!(error.to_string(), text(vector, "error"), "{vector}");
    }
}

#[test]
fn a_name_is_signed_as_rails_signs_it() {
    let vectors = load("action_cable.json");
    let plain = &list(&vectors, "accepted")[0];
    assert_eq!(signed_name::sign(text(plain, "name"), &keys(&vectors)[0]), text(plain, "token"));
}

/// Adds as whom a client is present.
fn present(value: &mut Value, entry: &Entry<'_>) {
    value["id"] = entry.id.as_deref().into();
    value["info"] = entry.info.map_or(Value::Null, |info| serde_json::from_str(info).unwrap());
}

/// Converts a command to the form of the vectors.
fn describe(command: &Command<'_>) -> Value {
    let with = |command: &str, identifier: &Identifier<'_>, history: Option<&History<'_>>| {
        let mut value = json!({"command": command, "identifier": identifier.text.as_deref().unwrap()});
        if let Some(history) = history {
            let streams = history.streams.iter();
            let streams = streams.map(|(id, at)| (id.to_string(), Value::from(at.unwrap().to_string())));
            value["streams"] = streams.collect();
            if let Some(since) = history.since {
                value["since"] = since.into();
            }
        }
        value
    };
    match command {
        Command::Subscribe(identifier, history, entry) => {
            let mut value = with("subscribe", identifier, history.as_ref());
            if let Some(entry) = entry {
                present(&mut value, entry);
            }
            value
        }
        Command::Whisper(identifier, data) => {
            let mut value = with("whisper", identifier, None);
            value["data"] = serde_json::from_str(data).unwrap();
            value
        }
        Command::Join(identifier, entry) => {
            let mut value = with("join", identifier, None);
            present(&mut value, entry);
            value
        }
        Command::Leave(identifier) => with("leave", identifier, None),
        Command::Presence(identifier, has_records) => {
            let mut value = with("presence", identifier, None);
            value["records"] = (*has_records).into();
            value
        }
        Command::Unsubscribe(identifier) => with("unsubscribe", identifier, None),
        Command::Message(identifier, _) => with("message", identifier, None),
        Command::History(identifier, history) => with("history", identifier, Some(history)),
        Command::Ping => json!({"command": "ping"}),
        Command::Pong => json!({"command": "pong"}),
    }
}

#[test]
fn every_command_is_read_as_listed_or_is_none() {
    let vectors = load("action_cable.json");
    for vector in list(&vectors, "commands") {
        let mut expected = vector.clone();
        let message = expected.as_object_mut().unwrap().remove("text").unwrap();
        assert_eq!(describe(&Command::parse(message.as_str().unwrap()).unwrap()), expected, "{vector}");
    }
    for vector in list(&vectors, "errors") {
        let error = Command::parse(text(vector, "text")).unwrap_err();
        assert_eq!(error.to_string(), text(vector, "error"), "{vector}");
    }
}

#[test]
fn every_frame_is_written_as_listed() {
    for vector in list(&load("action_cable.json"), "frames") {
        let identifier = vector.get("identifier").cloned().unwrap_or_default().to_string();
        let position = vector.get("position").map(|at| Position::parse(at.as_str().unwrap()).unwrap());
        let frame = match (text(vector, "kind"), position) {
            ("ping", _) => frame::ping(number(vector, "time").into()),
            ("confirm_subscription", _) => frame::confirm_subscription(&identifier),
            ("reject_subscription", _) => frame::reject_subscription(&identifier),
            ("confirm_history", _) => frame::confirm_history(&identifier),
            ("reject_history", _) => frame::reject_history(&identifier),
            ("welcome", _) => frame::welcome(text(vector, "sid")),
            ("welcome_back", _) => frame::welcome_back(text(vector, "sid"), &[&identifier]),
            ("presence_join", _) => frame::presence_join(&identifier, text(vector, "id"), text(vector, "info")),
            ("presence_leave", _) => frame::presence_leave(&identifier, text(vector, "id")),
            ("presence_info", _) => {
                let records = vector.get("records").and_then(Value::as_str);
                frame::presence_info(&identifier, number(vector, "total"), records)
            }
            ("presence_error", _) => frame::presence_error(&identifier),
            ("disconnect", _) => frame::disconnect(text(vector, "reason"), vector["reconnect"] == true),
            ("message", None) => frame::message(&identifier, text(vector, "message")),
            ("message", Some(at)) => {
                frame::placed_message(&identifier, text(vector, "message"), text(vector, "stream"), at)
            }
            (kind, _) => panic!("an unknown kind: {kind}"),
        };
        assert_eq!(frame, text(vector, "text"), "{vector}");
    }
}
