//! A command of Action Cable, and the signed name in its identifier.

use nodevent_protocol::action_cable::command::{Command, Entry, Identifier, MAX_STREAMS};
use nodevent_protocol::action_cable::identifier::{self, Requested};
use nodevent_protocol::action_cable::refresh::Refresh;
use nodevent_protocol::action_cable::{frame, signed_name};
use nodevent_protocol::key::Secret;
use serde_json::Value;
use serde_json::value::RawValue;

/// A message is a command or an error. Frames for its identifier are JSON with that identifier, and no name is accepted
/// that a key has not signed.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // A name alone is an input too.
    check_name(text);
    // And so is a message.
    if let Some(refresh) = Refresh::parse(text) {
        assert_eq!(Refresh::parse(&refresh.html()), Some(refresh), "{text}");
    }
    match Command::parse(text) {
        Ok(Command::Subscribe(identifier, history, entry)) => {
            assert!(history.is_none_or(|history| history.streams.len() <= MAX_STREAMS));
            check_identifier(&identifier);
            check_entry(&identifier, &entry.unwrap_or_default());
        }
        Ok(Command::History(identifier, history)) => {
            assert!(history.streams.len() <= MAX_STREAMS);
            check_identifier(&identifier);
        }
        Ok(Command::Join(identifier, entry)) => check_entry(&identifier, &entry),
        Ok(Command::Whisper(identifier, data)) => {
            assert_json(&frame::message(&identifier.json, data));
            check_identifier(&identifier);
        }
        Ok(
            Command::Unsubscribe(identifier)
            | Command::Message(identifier, _)
            | Command::Leave(identifier)
            | Command::Presence(identifier, _),
        ) => check_identifier(&identifier),
        Ok(Command::Ping | Command::Pong) => {}
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn assert_json(text: &str) {
    assert!(serde_json::from_str::<&RawValue>(text).is_ok(), "{text}");
}

/// What a client says about itself is sent to others as JSON.
fn check_entry(identifier: &Identifier<'_>, entry: &Entry<'_>) {
    let id = entry.id.as_deref().unwrap_or_default();
    assert_json(&frame::presence_join(&identifier.json, id, entry.info.unwrap_or("null")));
    assert_json(&frame::presence_leave(&identifier.json, id));
}

fn check_identifier(identifier: &Identifier<'_>) {
    let json = &*identifier.json;
    for text in [
        frame::confirm_subscription(json),
        frame::reject_subscription(json),
        frame::confirm_history(json),
        frame::reject_history(json),
        frame::message(json, "1"),
        frame::welcome_back("sid", &[json]),
        frame::presence_error(json),
    ] {
        assert_json(&text);
    }
    let Some(text) = &identifier.text else { return };
    let confirmed: Value = serde_json::from_str(&frame::confirm_subscription(json)).unwrap();
    assert_eq!(confirmed["identifier"], **text);
    if let Some(Requested::Signed { token, .. }) = identifier::parse(text) {
        check_name(&token);
    }
}

/// A name that is accepted was signed by one key, and with another signature it is refused.
fn check_name(token: &str) {
    let keys = ["a key", "another key"].map(|key| Secret::new(key).unwrap());
    if signed_name::verify(token, &keys, 0).is_err() {
        return;
    }
    let signers = keys.iter().filter(|key| signed_name::verify(token, std::slice::from_ref(key), 0).is_ok());
    assert_eq!(signers.count(), 1, "{token}");
    let (signed, last) = token.split_at(token.len() - 1);
    let forged = format!("{signed}{}", if last == "0" { "1" } else { "0" });
    assert!(signed_name::verify(&forged, &keys, 0).is_err(), "{token}");
}
