//! Signed names open their stream and no other, and commands are read whatever a client sends.

use nodevent_protocol::action_cable::command::Command;
use nodevent_protocol::action_cable::signed_name::{SignedNameError, sign, sign_json, verify};
use nodevent_protocol::key::Secret;
use proptest::prelude::*;
use serde_json::json;

#[path = "../../fuzz/entries/action_cable.rs"]
mod entry;

fn secret() -> impl Strategy<Value = Secret> {
    "\\PC{1,80}".prop_map(|text| Secret::new(text).unwrap())
}

proptest! {
    #[test]
    fn signed_name_is_verified_by_its_key_among_others(name in ".{0,80}", key in secret(), others in prop::collection::vec(secret(), 0..3)) {
        let token = sign(&name, &key);
        let mut keys = others;
        keys.push(key);
        prop_assert_eq!(verify(&token, &keys, 0), Ok((name, None)));
    }

    #[test]
    fn name_with_an_expiry_is_valid_until_then(name in ".{0,40}", key in secret(), second in 0_u32..60, now_ms: u64) {
        let exp = format!("2030-01-01T00:00:{second:02}.000Z");
        let expires_ms = 1_893_456_000_000 + u64::from(second) * 1000;
        let token = sign_json(&json!({"_rails": {"data": name, "exp": exp}}).to_string(), &key);
        let expected = if now_ms < expires_ms { Ok((name, Some(expires_ms))) } else { Err(SignedNameError::Expired) };
        prop_assert_eq!(verify(&token, &[key], now_ms), expected);
    }

    #[test]
    fn no_change_of_a_signed_name_is_accepted(
        name in "[a-zA-Z0-9:]{1,40}", key in secret(), at: prop::sample::Index, character in "\\PC",
    ) {
        let token = sign(&name, &key);
        let at = at.index(token.len());
        let changed = format!("{}{character}{}", &token[..at], &token[at + 1..]);
        if changed != token {
            prop_assert!(verify(&changed, &[key], 0).is_err());
        }
    }

    #[test]
    fn name_of_another_key_is_refused(name in ".{0,40}", key in "[a-z]{1,40}", other in "[A-Z]{1,40}") {
        let token = sign(&name, &Secret::new(key).unwrap());
        prop_assert_eq!(verify(&token, &[Secret::new(other).unwrap()], 0), Err(SignedNameError::BadSignature));
    }

    #[test]
    fn identifier_is_sent_back_as_the_string_that_it_was(identifier in ".{0,80}") {
        let text = json!({"command": "unsubscribe", "identifier": identifier}).to_string();
        match Command::parse(&text) {
            Ok(Command::Unsubscribe(read)) => {
                prop_assert_eq!(serde_json::from_str::<String>(&read.json).unwrap(), identifier);
            }
            other => prop_assert!(false, "{other:?}"),
        }
    }

    #[test]
    fn any_bytes_are_a_command_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        entry::run(&bytes);
    }

    #[test]
    fn any_object_is_a_command_or_none(
        command in prop_oneof![
            Just("subscribe"), Just("unsubscribe"), Just("message"), Just("history"), Just("ping"), Just("other"),
        ],
        identifier in ".{0,40}", channel in prop_oneof![Just("Turbo::StreamsChannel"), Just("$pubsub"), Just("C")],
        token in "[ -~]{0,100}", history in ".{0,40}",
    ) {
        let identifier = match identifier.len() % 3 {
            0 => identifier,
            _ => json!({"channel": channel, "signed_stream_name": token, "stream_name": identifier}).to_string(),
        };
        let text = json!({"command": command, "identifier": identifier, "history": {"since": history.len(), "streams": {&history: {"epoch": history, "offset": 1}}}});
        entry::run(text.to_string().as_bytes());
    }
}
