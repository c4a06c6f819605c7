//! The body of a polling POST, down to the Socket.IO packets in it.

use nodevent_protocol::engine_io::packet::{self, Packet};
use nodevent_protocol::engine_io::payload::{self, Part};
use nodevent_protocol::socket_io::Decoder;

/// What can be read can be written and read again; and whatever is in it is a packet above or refused there.
pub(crate) fn run(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let mut parts = Vec::new();
    let mut written = Vec::new();
    let mut session = Decoder::default();
    let mut open = true;
    for part in payload::decode(body) {
        let Ok(part) = part else { break };
        match &part {
            Part::Text(packet) => {
                let mut text = String::new();
                packet::encode(packet, &mut text);
                payload::push(&mut written, text.as_bytes());
                if let Packet::Message(text) = packet {
                    open = open && session.text(text).is_ok();
                }
            }
            Part::Binary(bytes) => {
                payload::push_binary(&mut written, bytes);
                open = open && session.binary(bytes).is_ok();
            }
        }
        parts.push(part);
    }
    if !parts.is_empty() {
        let written = String::from_utf8(written).unwrap();
        assert_eq!(payload::decode(&written).collect::<Result<Vec<_>, _>>(), Ok(parts));
    }
}
