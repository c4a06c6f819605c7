//! Turns the messages of one session into Socket.IO packets.
//!
//! Holds nothing unless a packet waits for its attachments. JSON is checked without building values, so deep nesting
//! costs a byte of heap per level and no stack.

use super::attachments;
use super::packet::{MAX_ATTACHMENTS, Malformed, Packet};
use serde::de::{Deserialize, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Event names that Socket.IO itself uses, on either side or in Node's event emitter.
const RESERVED: [&[u8]; 6] =
    [b"connect", b"connect_error", b"disconnect", b"disconnecting", b"newListener", b"removeListener"];

/// The reader of one session. After a [`Malformed`] the session must be closed; later messages are read as if it were
/// new.
#[derive(Debug, Default)]
pub struct Decoder {
    /// The packet that waits for attachments.
    partial: Option<Box<PartialPacket>>,
}

/// A packet, and the number of its attachments that are missing (at least one).
#[derive(Debug)]
struct PartialPacket {
    packet: Packet,
    missing: usize,
}

// === impl Decoder ===

impl Decoder {
    /// Takes a text message, without the `4` of Engine.IO. `None`: attachments must follow.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the session must be closed.
    pub fn text(&mut self, text: &str) -> Result<Option<Packet>, Malformed> {
        if self.partial.take().is_some() {
            return Err(Malformed::AttachmentAwaited);
        }
        let (packet, missing) = decode(text)?;
        if missing == 0 {
            return Ok(Some(packet));
        }
        self.partial = Some(Box::new(PartialPacket { packet, missing }));
        Ok(None)
    }

    /// Takes a binary message. `None`: more attachments must follow.
    ///
    /// # Errors
    /// Returns [`Malformed`] if the session must be closed.
    pub fn binary(&mut self, bytes: &[u8]) -> Result<Option<Packet>, Malformed> {
        let mut partial = self.partial.take().ok_or(Malformed::UnexpectedAttachment)?;
        if let Packet::Event { attachments, .. } | Packet::Ack { attachments, .. } = &mut partial.packet {
            attachments.push(bytes.to_vec());
        }
        partial.missing -= 1;
        if partial.missing == 0 {
            return Ok(Some(partial.packet));
        }
        self.partial = Some(partial);
        Ok(None)
    }

    /// Returns the size of the packet that waits for attachments. Bytes.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| match &partial.packet {
            Packet::Event { args, attachments, .. } | Packet::Ack { args, attachments, .. } => {
                args.len() + attachments.iter().map(Vec::len).sum::<usize>()
            }
            _ => 0,
        })
    }

    /// Returns whether a packet waits for attachments.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.partial.is_some()
    }
}

/// Parses a text. Returns the packet, and the number of its attachments.
fn decode(text: &str) -> Result<(Packet, usize), Malformed> {
    let kind = *text.as_bytes().first().ok_or(Malformed::UnknownType)?;
    if !matches!(kind, b'0'..=b'3' | b'5' | b'6') {
        return Err(Malformed::UnknownType);
    }
    let rest = &text[1..];
    let (announced, rest) = if kind >= b'5' { announced(rest)? } else { (0, rest) };
    let (namespace, query, rest) = namespace(rest);
    let (id, rest) = id(rest)?;
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t' | b'\n' | b'\r'));
    let json = match is_space(rest.as_bytes().first()) || is_space(rest.as_bytes().last()) {
        true => rest.trim_matches([' ', '\t', '\n', '\r']),
        false => rest,
    };
    if kind >= b'5' {
        json_array(json)?;
        attachments::check(json, announced)?;
    }
    let attachments = Vec::with_capacity(announced);
    let packet = match kind {
        b'0' => Packet::Connect { namespace, query, auth: auth(json)? },
        b'1' if json.is_empty() => Packet::Disconnect { namespace },
        b'1' => return Err(Malformed::BadArguments),
        b'2' | b'5' => Packet::Event { namespace, id, args: event(json)?, attachments },
        _ => Packet::Ack { namespace, id: id.ok_or(Malformed::BadId)?, args: ack(json)?, attachments },
    };
    Ok((packet, announced))
}

/// Parses `<number>-` of a binary packet.
fn announced(text: &str) -> Result<(usize, &str), Malformed> {
    let (number, rest) = text.split_once('-').ok_or(Malformed::BadAttachments)?;
    if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(Malformed::BadAttachments);
    }
    match number.parse() {
        Ok(announced) if announced <= MAX_ATTACHMENTS => Ok((announced, rest)),
        _ => Err(Malformed::TooManyAttachments),
    }
}

/// Parses `/namespace?query,`. Without it, the namespace is `/`.
fn namespace(text: &str) -> (String, Option<String>, &str) {
    if !text.starts_with('/') {
        return ("/".to_owned(), None, text);
    }
    let (namespace, rest) = text.split_once(',').unwrap_or((text, ""));
    match namespace.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.to_owned()), rest),
        None => (namespace.to_owned(), None, rest),
    }
}

fn id(text: &str) -> Result<(Option<u64>, &str), Malformed> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (id, rest) = text.split_at(digits);
    if id.is_empty() {
        return Ok((None, rest));
    }
    Ok((Some(id.parse().map_err(|_| Malformed::BadId)?), rest))
}

fn auth(json: &str) -> Result<Option<String>, Malformed> {
    if json.is_empty() {
        return Ok(None);
    }
    if !json.starts_with('{') || serde_json::from_str::<IgnoredAny>(json).is_err() {
        return Err(Malformed::BadArguments);
    }
    Ok(Some(json.to_owned()))
}

fn event(json: &str) -> Result<String, Malformed> {
    let Ok(First(Some(name))) = serde_json::from_str::<First<'_>>(json) else {
        return Err(Malformed::BadArguments);
    };
    match name.get().as_bytes() {
        [b'"', ..] if is_reserved(name.get()) => Err(Malformed::ReservedEvent),
        [b'"' | b'-' | b'0'..=b'9', ..] => Ok(json.to_owned()),
        _ => Err(Malformed::BadArguments),
    }
}

/// Parses the arguments of an ack. An ack without anything after its id has no arguments, as in the reference
/// implementation.
fn ack(json: &str) -> Result<String, Malformed> {
    if json.is_empty() {
        return Ok("[]".to_owned());
    }
    json_array(json)?;
    Ok(json.to_owned())
}

fn json_array(json: &str) -> Result<(), Malformed> {
    if json.starts_with('[') && serde_json::from_str::<IgnoredAny>(json).is_ok() {
        Ok(())
    } else {
        Err(Malformed::BadArguments)
    }
}

/// Returns whether a JSON string is a reserved name. It may contain escapes.
fn is_reserved(json: &str) -> bool {
    if json.contains('\\') {
        return serde_json::from_str::<String>(json).is_ok_and(|name| RESERVED.contains(&name.as_bytes()));
    }
    RESERVED.contains(&json.trim_matches('"').as_bytes())
}

/// The first element of an array as it is written. The rest is only checked to be JSON.
struct First<'a>(Option<&'a RawValue>);

impl<'de> Deserialize<'de> for First<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(FirstVisitor)
    }
}

struct FirstVisitor;

impl<'de> Visitor<'de> for FirstVisitor {
    type Value = First<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let first = seq.next_element()?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(First(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_is_one_packet() {
        let packet = Decoder::default().text(r#"2/nodevent,0["join",{"room":"r"}]"#);
        let event = Packet::Event {
            namespace: "/nodevent".into(),
            id: Some(0),
            args: r#"["join",{"room":"r"}]"#.into(),
            attachments: vec![],
        };
        assert_eq!(packet, Ok(Some(event)));
    }

    #[test]
    fn binary_event_waits_for_its_attachments() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.text(r#"51-["x",{"_placeholder":true,"num":0}]"#), Ok(None));
        assert!(decoder.is_waiting());
        assert!(decoder.binary(b"\x01").unwrap().is_some());
        assert!(!decoder.is_waiting());
        assert_eq!(decoder.binary(b"\x01"), Err(Malformed::UnexpectedAttachment));
    }

    #[test]
    fn million_levels_of_nesting_need_no_stack() {
        // X-03
        let levels = 1_000_000;
        let deep = "[{\"a\":".repeat(levels / 2) + "0" + &"}]".repeat(levels / 2);
        let read = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            let mut decoder = Decoder::default();
            assert!(decoder.text(&format!("2[\"x\",{deep}]")).unwrap().is_some());
            assert!(decoder.text(&format!("31[{deep}]")).unwrap().is_some());
            assert!(decoder.text(&format!("0{{\"a\":{deep}}}")).unwrap().is_some());
            assert!(decoder.text(&format!("50-[\"x\",{deep}]")).unwrap().is_some());
            assert_eq!(decoder.text(&format!("2[{deep}]")), Err(Malformed::BadArguments));
            assert_eq!(decoder.text(&format!("2[\"x\",{deep}")), Err(Malformed::BadArguments));
        });
        read.unwrap().join().unwrap();
    }

    #[test]
    fn largest_ack_id_has_64_bits() {
        // X-03
        let id = |digits: &str| match Decoder::default().text(&format!("2{digits}[\"x\"]")) {
            Ok(Some(Packet::Event { id, .. })) => Ok(id),
            Err(malformed) => Err(malformed),
            other => panic!("{other:?}"),
        };
        assert_eq!(id("18446744073709551615"), Ok(Some(u64::MAX)));
        assert_eq!(id("18446744073709551616"), Err(Malformed::BadId));
    }
}
