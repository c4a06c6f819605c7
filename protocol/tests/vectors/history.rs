//! `history.json`: positions, keys in Redis, and positions that publishers wrote.

use crate::vector::{list, load, text};
use nodevent_protocol::history::{Position, Scope, without_position};
use nodevent_protocol::publication::parse;

#[test]
fn every_position_is_parsed_and_formatted() {
    for vector in list(&load("history.json"), "positions") {
        let position = Position::parse(text(vector, "text")).unwrap_or_else(|| panic!("{vector}"));
        assert_eq!(Position::epoch_text(position.epoch), text(vector, "epoch"), "{vector}");
        assert_eq!(Some(position.offset), vector["offset"].as_u64(), "{vector}");
        assert_eq!(position.is_absent(), vector["absent"], "{vector}");
        assert_eq!(position.to_string(), text(vector, "text"));
    }
}

#[test]
fn every_other_text_is_not_a_position() {
    for vector in list(&load("history.json"), "not_positions") {
        assert_eq!(Position::parse(text(vector, "text")), None, "{vector}");
    }
}

#[test]
fn keys_have_their_names() {
    for vector in list(&load("history.json"), "keys") {
        let prefix = vector.get("prefix").map(|prefix| prefix.as_str().unwrap());
        let db = vector.get("db").map_or(0, |db| u8::try_from(db.as_u64().unwrap()).unwrap());
        let scope = Scope::new(prefix, db).unwrap();
        let keys = scope.keys(text(vector, "namespace"), text(vector, "room"));
        if let Some(channel) = vector.get("namespace_channel") {
            assert_eq!(*channel, scope.channel(text(vector, "namespace")), "{vector}");
        }
        assert_eq!(keys.position, text(vector, "position"));
        assert_eq!(keys.log, text(vector, "log"));
        assert_eq!(keys.channel(), text(vector, "channel"));
        assert_eq!(keys.idempotency(text(vector, "idempotency_key")), text(vector, "once"));
    }
}

#[test]
fn position_of_a_publisher_is_overridden() {
    for vector in list(&load("history.json"), "overridden") {
        let publication = parse(text(vector, "published").as_bytes()).unwrap_or_else(|e| panic!("{vector}: {e}"));
        let delivered = match publication.has_position {
            true => without_position(publication.text),
            false => publication.text.to_owned(),
        };
        assert_eq!(delivered, text(vector, "text"));
    }
}
