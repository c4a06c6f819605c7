//! Engine.IO packets and payloads are read as they were written.

use nodevent_protocol::engine_io::packet::{self, Packet};
use nodevent_protocol::engine_io::payload::{self, Part};
use nodevent_protocol::engine_io::{Handshake, Malformed};
use proptest::prelude::*;
use serde_json::Value;

#[path = "../../fuzz/entries/polling_payload.rs"]
mod entry;

/// An owned packet: its kind, its text or its bytes.
#[derive(Clone, Debug)]
enum Owned {
    Text(char, String),
    Binary(Vec<u8>),
}

impl Owned {
    fn packet(&self) -> Packet<'_> {
        match self {
            Self::Text('0', text) => Packet::Open(text),
            Self::Text('2', text) => Packet::Ping(text),
            Self::Text('3', text) => Packet::Pong(text),
            Self::Text('4', text) => Packet::Message(text),
            Self::Text('1', _) => Packet::Close,
            Self::Text('5', _) => Packet::Upgrade,
            Self::Text(..) => Packet::Noop,
            Self::Binary(bytes) => Packet::Binary(bytes),
        }
    }

    fn part(&self) -> Part<'_> {
        match self {
            Self::Binary(bytes) => Part::Binary(bytes.clone()),
            Self::Text(..) => Part::Text(self.packet()),
        }
    }
}

fn owned() -> impl Strategy<Value = Owned> {
    prop_oneof![
        (prop::char::range('0', '6'), "[^\u{1e}]{0,40}").prop_map(|(kind, text)| Owned::Text(kind, text)),
        any::<Vec<u8>>().prop_map(Owned::Binary),
    ]
}

proptest! {
    #[test]
    fn text_packet_is_read_as_it_was_written(kind in prop::char::range('0', '6'), text: String) {
        let owned = Owned::Text(kind, text);
        let mut out = String::new();
        packet::encode(&owned.packet(), &mut out);
        prop_assert_eq!(packet::decode(&out), Ok(owned.packet()));
    }

    #[test]
    fn payload_is_read_as_it_was_written(all in proptest::collection::vec(owned(), 1..8)) {
        let mut out = Vec::new();
        for owned in &all {
            match owned {
                Owned::Binary(bytes) => payload::push_binary(&mut out, bytes),
                Owned::Text(..) => {
                    let mut text = String::new();
                    packet::encode(&owned.packet(), &mut text);
                    payload::push(&mut out, text.as_bytes());
                }
            }
        }
        let body = String::from_utf8(out).unwrap();
        let read: Result<Vec<_>, Malformed> = payload::decode(&body).collect();
        prop_assert_eq!(read, Ok(all.iter().map(Owned::part).collect::<Vec<_>>()));
    }

    #[test]
    fn every_body_is_a_payload_or_malformed(body: String, likely in "[0-6b][0-9a-zA-Z=]{0,9}(\u{1e}[0-6b][\\[\"{A-Za-z0-9=]{0,9}){0,5}") {
        entry::run(body.as_bytes());
        entry::run(likely.as_bytes());
    }

    #[test]
    fn handshake_is_the_json_of_its_values(sid: String, interval: u32, timeout: u32, max_payload: u32) {
        let handshake = Handshake {
            sid: &sid,
            upgrades: &["websocket"],
            ping_interval_ms: interval.into(),
            ping_timeout_ms: timeout.into(),
            max_payload: max_payload as usize,
        };
        let value: Value = serde_json::from_str(&handshake.to_packet()[1..]).unwrap();
        prop_assert_eq!(value["sid"].as_str(), Some(&*sid));
        prop_assert_eq!(value["pingInterval"].as_u64(), Some(interval.into()));
        prop_assert_eq!(value["pingTimeout"].as_u64(), Some(timeout.into()));
        prop_assert_eq!(value["maxPayload"].as_u64(), Some(max_payload.into()));
    }
}
