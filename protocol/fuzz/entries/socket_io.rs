//! The messages of one Socket.IO session. 0x1e separates them; one that begins with `b` is binary.

use nodevent_protocol::socket_io::{self, Decoder, MAX_ATTACHMENTS, Packet};
use serde::de::IgnoredAny;

/// Every packet is what it says it is, and read again after it was written.
pub(crate) fn run(data: &[u8]) {
    let mut decoder = Decoder::default();
    for message in data.split(|&byte| byte == 0x1e) {
        let packet = match (message, std::str::from_utf8(message)) {
            ([b'b', bytes @ ..], _) => decoder.binary(bytes),
            (_, Ok(text)) => decoder.text(text),
            _ => return,
        };
        match packet {
            Ok(Some(packet)) => judge(&packet),
            Ok(None) => assert!(decoder.is_waiting()),
            Err(_) => return,
        }
    }
}

fn judge(packet: &Packet) {
    assert!(packet.namespace().starts_with('/'));
    assert!(!packet.namespace().contains(['?', ',']));
    let mut text = String::new();
    let mut binary: &[Vec<u8>] = &[];
    match packet {
        Packet::Connect { namespace, query, auth } => {
            let auth = auth.as_deref().unwrap_or_default();
            assert!(auth.is_empty() || is_json(auth, '{'));
            let query = query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
            text = format!("0{namespace}{query},{auth}");
        }
        Packet::Disconnect { namespace } => socket_io::encode_disconnect(&mut text, namespace),
        Packet::Event { namespace, id, args, attachments } => {
            assert!(is_json(args, '['));
            binary = attachments;
            match attachments.len() {
                0 => socket_io::encode_event(&mut text, namespace, *id, args),
                count => socket_io::encode_binary_event(&mut text, namespace, *id, args, count),
            }
        }
        Packet::Ack { namespace, id, args, attachments } => {
            assert!(is_json(args, '['));
            binary = attachments;
            match attachments.len() {
                0 => socket_io::encode_ack(&mut text, namespace, *id, args),
                count => socket_io::encode_binary_ack(&mut text, namespace, *id, args, count),
            }
        }
    }
    assert!(binary.len() <= MAX_ATTACHMENTS);
    let mut decoder = Decoder::default();
    let mut read = decoder.text(&text).unwrap();
    for bytes in binary {
        assert_eq!(read, None);
        read = decoder.binary(bytes).unwrap();
    }
    assert_eq!(read.as_ref(), Some(packet));
}

fn is_json(text: &str, opening: char) -> bool {
    text.starts_with(opening) && serde_json::from_str::<IgnoredAny>(text).is_ok()
}
