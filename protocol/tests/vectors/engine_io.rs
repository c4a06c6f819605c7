//! `engine_io.json`: packets, payloads, the handshake and its errors.

use crate::vector::{list, load, number, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nodevent_protocol::engine_io::packet::{self, Packet};
use nodevent_protocol::engine_io::payload::{self, Part};
use nodevent_protocol::engine_io::{Handshake, RequestError};
use serde_json::Value;

fn packet(vector: &Value) -> Packet<'_> {
    let data = text(vector, "data");
    match text(vector, "type") {
        "open" => Packet::Open(data),
        "close" => Packet::Close,
        "ping" => Packet::Ping(data),
        "pong" => Packet::Pong(data),
        "message" => Packet::Message(data),
        "upgrade" => Packet::Upgrade,
        "noop" => Packet::Noop,
        other => panic!("no such type: {other}"),
    }
}

fn part(vector: &Value) -> Part<'_> {
    match vector.get("base64") {
        Some(base64) => Part::Binary(STANDARD.decode(base64.as_str().unwrap()).unwrap()),
        None => Part::Text(packet(vector)),
    }
}

#[test]
fn every_packet_is_read_and_written() {
    let vectors = load("engine_io.json");
    for vector in list(&vectors, "packets") {
        assert_eq!(packet::decode(text(vector, "text")), Ok(packet(vector)), "{vector}");
        let mut out = String::new();
        packet::encode(&packet(vector), &mut out);
        assert_eq!(out, text(vector, "text"), "{vector}");
    }
    for vector in list(&vectors, "lenient") {
        assert_eq!(packet::decode(text(vector, "text")), Ok(packet(vector)), "{vector}");
    }
}

#[test]
fn every_malformed_packet_is_refused() {
    for vector in list(&load("engine_io.json"), "malformed") {
        assert!(packet::decode(text(vector, "text")).is_err(), "{vector}");
    }
}

#[test]
fn every_payload_is_read_and_written() {
    for vector in list(&load("engine_io.json"), "payloads") {
        let parts: Vec<_> = list(vector, "packets").iter().map(part).collect();
        let read: Result<Vec<_>, _> = payload::decode(text(vector, "body")).collect();
        assert_eq!(read.as_ref(), Ok(&parts), "{vector}");
        let mut out = Vec::new();
        for part in &parts {
            match part {
                Part::Binary(bytes) => payload::push_binary(&mut out, bytes),
                Part::Text(packet) => {
                    let mut text = String::new();
                    packet::encode(packet, &mut text);
                    payload::push(&mut out, text.as_bytes());
                }
            }
        }
        assert_eq!(out, text(vector, "body").as_bytes(), "{vector}");
    }
}

#[test]
fn payload_is_read_up_to_its_first_malformed_packet() {
    //
    for vector in list(&load("engine_io.json"), "malformed_payloads") {
        let read: Vec<_> = payload::decode(text(vector, "body")).collect();
        let (last, good) = read.split_last().unwrap();
        assert!(last.is_err(), "{vector}");
        assert_eq!(good.len() as u64, number(vector, "packets"), "{vector}");
        assert!(good.iter().all(Result::is_ok), "{vector}");
    }
}

#[test]
fn handshake_is_written_as_browsers_read_it() {
    let vector = &load("engine_io.json")["handshake"];
    let upgrades: Vec<_> = list(vector, "upgrades").iter().map(|upgrade| upgrade.as_str().unwrap()).collect();
    let handshake = Handshake {
        sid: text(vector, "sid"),
        upgrades: &upgrades,
        ping_interval_ms: number(vector, "pingInterval"),
        ping_timeout_ms: number(vector, "pingTimeout"),
        max_payload: number(vector, "maxPayload") as usize,
    };
    assert_eq!(handshake.to_packet()[1..], *text(vector, "json"));
}

#[test]
fn every_error_has_the_code_the_text_and_the_status_of_the_reference_implementation() {
    for vector in list(&load("engine_io.json"), "errors") {
        let error = match text(vector, "error") {
            "UnknownTransport" => RequestError::UnknownTransport,
            "UnknownSid" => RequestError::UnknownSid,
            "BadHandshakeMethod" => RequestError::BadHandshakeMethod,
            "BadRequest" => RequestError::BadRequest,
            "Forbidden" => RequestError::Forbidden,
            "UnsupportedProtocolVersion" => RequestError::UnsupportedProtocolVersion,
            other => panic!("no such error: {other}"),
        };
        assert_eq!(error.body(), text(vector, "body"));
        assert_eq!(u64::from(error.status()), number(vector, "status"));
    }
}
