//! `socket_io.json`: packets of browsers, malformed packets, and packets of the server.

use crate::vector::{list, load, number, text};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nodevent_protocol::socket_io::{self, Decoder, Malformed, Packet};
use serde_json::Value;

fn feed(decoder: &mut Decoder, frame: &Value) -> Result<Option<Packet>, Malformed> {
    match frame {
        Value::String(text) => decoder.text(text),
        binary => decoder.binary(&STANDARD.decode(text(binary, "base64")).unwrap()),
    }
}

fn packet(vector: &Value) -> Packet {
    let namespace = text(vector, "namespace").to_owned();
    let bytes = |base64: &Value| STANDARD.decode(base64.as_str().unwrap()).unwrap();
    let attachments = vector.get("attachments").map_or(&[][..], |all| all.as_array().unwrap());
    let attachments = attachments.iter().map(bytes).collect();
    match text(vector, "type") {
        "connect" => Packet::Connect {
            namespace,
            query: vector["query"].as_str().map(str::to_owned),
            auth: vector["auth"].as_str().map(str::to_owned),
        },
        "disconnect" => Packet::Disconnect { namespace },
        "event" => Packet::Event {
            namespace,
            id: vector["id"].as_u64(),
            args: text(vector, "args").to_owned(),
            attachments,
        },
        "ack" => {
            Packet::Ack { namespace, id: number(vector, "id"), args: text(vector, "args").to_owned(), attachments }
        }
        other => panic!("no such type: {other}"),
    }
}

#[test]
fn every_browser_packet_is_read() {
    for vector in list(&load("socket_io.json"), "decoded") {
        let mut decoder = Decoder::default();
        let (last, first) = list(vector, "frames").split_last().unwrap();
        for frame in first {
            assert_eq!(feed(&mut decoder, frame), Ok(None), "{vector}");
        }
        assert_eq!(feed(&mut decoder, last), Ok(Some(packet(&vector["packet"]))), "{vector}");
    }
}

#[test]
fn every_malformed_packet_is_refused_with_its_reason() {
    for vector in list(&load("socket_io.json"), "malformed") {
        let mut decoder = Decoder::default();
        let (last, first) = list(vector, "frames").split_last().unwrap();
        for frame in first {
            feed(&mut decoder, frame).unwrap_or_else(|malformed| panic!("{vector}: {malformed}"));
        }
        let malformed = feed(&mut decoder, last).expect_err(text(vector, "name"));
        assert_eq!(malformed.reason(), text(vector, "reason"), "{vector}");
    }
}

#[test]
fn every_packet_of_the_server_is_written_as_browsers_read_it() {
    for vector in list(&load("socket_io.json"), "encoded") {
        let mut out = String::new();
        let namespace = text(vector, "namespace");
        let id = vector["id"].as_u64();
        match text(vector, "type") {
            "connect" => socket_io::encode_connect(&mut out, namespace, text(vector, "sid")),
            "connect_error" => socket_io::encode_connect_error(&mut out, namespace, text(vector, "message")),
            "disconnect" => socket_io::encode_disconnect(&mut out, namespace),
            "event" => socket_io::encode_event(&mut out, namespace, id, text(vector, "args")),
            "ack" => socket_io::encode_ack(&mut out, namespace, id.unwrap(), text(vector, "args")),
            "binary_event" => {
                let attachments = number(vector, "attachments") as usize;
                socket_io::encode_binary_event(&mut out, namespace, id, text(vector, "args"), attachments);
            }
            "binary_ack" => {
                let attachments = number(vector, "attachments") as usize;
                socket_io::encode_binary_ack(&mut out, namespace, id.unwrap(), text(vector, "args"), attachments);
            }
            other => panic!("no such type: {other}"),
        }
        assert_eq!(out, text(vector, "text"), "{vector}");
    }
}
