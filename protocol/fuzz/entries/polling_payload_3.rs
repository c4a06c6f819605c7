//! The body of a polling POST of Engine.IO 3, down to the Socket.IO packets in it.

use nodevent_protocol::engine_io::Packet;
use nodevent_protocol::engine_io_3::packet::{Part, encode_base64, encode_binary};
use nodevent_protocol::engine_io_3::payload::{self, TextEncoding};
use nodevent_protocol::socket_io::session::{Revision, Session};
use nodevent_protocol::socket_io::{self, Decoder, ascii};

/// What can be read can be written and read again, as text and as bytes; and whatever is in it is a packet above or
/// refused there.
pub(crate) fn run(data: &[u8]) {
    let resolve = |name: &str| (name == "/nodevent").then_some(0);
    for mut encoding in [TextEncoding::Plain, TextEncoding::PerhapsTwice] {
        let mut session = Session::new(Revision::V4);
        session.admitted(0);
        let mut open = true;
        let mut parts = Vec::new();
        for part in payload::decode(data, &mut encoding) {
            let Ok(part) = part else { break };
            match part.packet() {
                Packet::Message(text) => {
                    open = open && session.text(text, resolve).is_ok();
                    check_ascii(text, open);
                }
                Packet::Binary(bytes) => open = open && session.binary(bytes, resolve).is_ok(),
                _ => {}
            }
            parts.push(part);
        }
        if parts.is_empty() {
            continue;
        }
        for write in [write_text, write_bytes] {
            let mut written = Vec::new();
            parts.iter().for_each(|part| write(&mut written, part));
            let mut plain = TextEncoding::Plain;
            assert_eq!(payload::decode(&written, &mut plain).collect::<Result<Vec<_>, _>>().as_ref(), Ok(&parts));
        }
    }
}

/// A packet with JSON is the same in ASCII.
fn check_ascii(text: &str, is_packet: bool) {
    if let (true, Some(escaped)) = (is_packet, ascii::escape(text)) {
        let packet = |text: &str| Decoder::default().text(text).ok().flatten();
        let args = |packet: Option<socket_io::Packet>| match packet {
            Some(socket_io::Packet::Event { args, .. } | socket_io::Packet::Ack { args, .. }) => {
                serde_json::from_str::<serde_json::Value>(&args).ok()
            }
            _ => None,
        };
        assert_eq!(args(packet(&escaped)), args(packet(text)));
    }
}

fn write_text(out: &mut Vec<u8>, part: &Part<'_>) {
    match part {
        Part::Text(text) => payload::push_text(out, text),
        Part::Binary(bytes) => payload::push_text(out, &encode_base64(bytes)),
    }
}

fn write_bytes(out: &mut Vec<u8>, part: &Part<'_>) {
    match part {
        Part::Text(text) => payload::push_text_as_bytes(out, text.as_bytes()),
        Part::Binary(bytes) => payload::push_binary(out, &encode_binary(bytes)),
    }
}
