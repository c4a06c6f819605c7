//! A line of the protocol `plain`.

use nodevent_protocol::plain::{self, Command};
use nodevent_protocol::room;
use nodevent_protocol::topic::Topic;
use serde_json::Value;

/// A line is a command or an error, and a command's room is one that can be joined.
pub(crate) fn run(data: &[u8]) {
    let Ok(line) = std::str::from_utf8(data) else { return };
    match Command::parse(line, room::MAX_BYTES) {
        Ok(Command::Join { room, .. } | Command::Leave { room, .. } | Command::Presence { room, .. }) => {
            room::check(&room, room::MAX_BYTES).unwrap();
            let joined: Value = serde_json::from_str(&plain::joined(Topic::Room(&room), None, None)).unwrap();
            assert_eq!(joined["joined"], room);
        }
        Ok(Command::Acknowledge { acknowledgement, .. }) => {
            assert!(acknowledgement.ids.len() <= plain::MAX_IDS);
        }
        Ok(Command::Call { body, .. }) => {
            assert!(body.is_none_or(|body| serde_json::from_str::<&serde_json::value::RawValue>(&body).is_ok()));
        }
        Ok(Command::Token { .. } | Command::Broadcast { .. } | Command::Mailbox { .. }) => {}
        Ok(Command::Ping { payload }) => {
            let pong = plain::pong(&payload);
            assert!(serde_json::from_str::<&serde_json::value::RawValue>(&pong).is_ok(), "{pong}");
        }
        Err((error, _)) => assert!(!error.hint().is_empty()),
    }
}
