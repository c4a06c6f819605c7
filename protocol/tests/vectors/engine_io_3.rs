//! `engine_io_3.json`: payloads of Engine.IO 3, of both generations of clients. X-02

use crate::vector::{list, load, number, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nodevent_protocol::engine_io::{Malformed, Packet, packet};
use nodevent_protocol::engine_io_3::packet::{Part, encode_base64, encode_binary};
use nodevent_protocol::engine_io_3::payload::{self, TextEncoding};
use serde_json::Value;

fn part(vector: &Value) -> Part<'static> {
    if let Some(base64) = vector.get("base64") {
        return Part::Binary(STANDARD.decode(base64.as_str().unwrap()).unwrap().into());
    }
    let data = text(vector, "data");
    let packet = match text(vector, "type") {
        "close" => Packet::Close,
        "ping" => Packet::Ping(data),
        "message" => Packet::Message(data),
        "upgrade" => Packet::Upgrade,
        other => panic!("no such type: {other}"),
    };
    let mut out = String::new();
    packet::encode(&packet, &mut out);
    Part::Text(out.into())
}

fn parts(vector: &Value) -> Vec<Part<'static>> {
    list(vector, "packets").iter().map(part).collect()
}

fn read(body: &[u8], mut encoding: TextEncoding) -> Result<Vec<Part<'_>>, Malformed> {
    payload::decode(body, &mut encoding).collect()
}

#[test]
fn every_payload_of_text_is_read_and_written() {
    for vector in list(&load("engine_io_3.json"), "text") {
        let (body, parts) = (text(vector, "body"), parts(vector));
        assert_eq!(read(body.as_bytes(), TextEncoding::Plain).as_ref(), Ok(&parts), "{vector}");
        let mut out = Vec::new();
        for part in &parts {
            match part {
                Part::Text(text) => payload::push_text(&mut out, text),
                Part::Binary(bytes) => payload::push_text(&mut out, &encode_base64(bytes)),
            }
        }
        assert_eq!(out, body.as_bytes(), "{vector}");
    }
}

#[test]
fn every_payload_that_was_encoded_twice_is_read() {
    for vector in list(&load("engine_io_3.json"), "twice") {
        let read = read(text(vector, "body").as_bytes(), TextEncoding::PerhapsTwice);
        assert_eq!(read, Ok(parts(vector)), "{vector}");
    }
}

#[test]
fn every_payload_of_bytes_is_read_and_written() {
    for vector in list(&load("engine_io_3.json"), "bytes") {
        let (body, parts) = (STANDARD.decode(text(vector, "base64")).unwrap(), parts(vector));
        assert_eq!(read(&body, TextEncoding::PerhapsTwice).as_ref(), Ok(&parts), "{vector}");
        let mut out = Vec::new();
        for part in &parts {
            match part {
                Part::Text(text) => payload::push_text_as_bytes(&mut out, text.as_bytes()),
                Part::Binary(bytes) => payload::push_binary(&mut out, &encode_binary(bytes)),
            }
        }
        assert_eq!(out, body, "{vector}");
    }
}

#[test]
fn payload_is_read_up_to_its_first_malformed_packet() {
    //
    for vector in list(&load("engine_io_3.json"), "malformed") {
        let mut encoding = TextEncoding::Plain;
        let read: Vec<_> = payload::decode(text(vector, "body").as_bytes(), &mut encoding).collect();
        let (last, good) = read.split_last().unwrap();
        assert!(last.is_err(), "{vector}");
        assert_eq!(good.len() as u64, number(vector, "packets"), "{vector}");
        assert!(good.iter().all(Result::is_ok), "{vector}");
    }
}
