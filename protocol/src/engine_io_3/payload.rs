//! Polling payloads: the packets of a POST body or of a GET response, each behind its length.
//!
//! # Shape
//! Of text: `<length>:<packet>…`; the length is decimal and counts UTF-16 code units. Of bytes:
//! `[0 = text, 1 = binary][length][255][packet]…`; the length has one byte from 0 to 9 per decimal digit and counts
//! bytes, and text is UTF-8. A body of bytes begins with 0 or 1, and one of text with an ASCII digit, which
//! distinguishes them.
//!
//! # Text outside ASCII
//! Both generations of clients call this version 3, and disagree about such text in a payload of text. Socket.IO 2
//! writes it as it is. Socket.IO 1 encodes it as UTF-8, and writes each byte as a character of its own (`ü` is `Ã¼`,
//! and has the length 2). So the server
//!
//! * sends payloads of bytes to clients that can read them, if there is text outside ASCII: both generations read it alike;
//! * sends JSON with escapes to the others (`b64=1`), which is ASCII;
//! * decodes the second encoding of what it receives, if all text outside ASCII of a packet is valid in it. The first
//!   packet of which it is not shows that the client is of Socket.IO 2, and ends this for the session.

use super::packet::{self, Part};
use crate::engine_io::packet::Malformed;
use std::borrow::Cow;
use std::iter::FusedIterator;

/// The end of a length in a payload of bytes.
const END_OF_LENGTH: u8 = 255;
/// Digits of a length. Bodies are smaller than that.
const MAX_DIGITS: usize = 10;

/// How a client encodes text outside ASCII in payloads of text.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TextEncoding {
    /// As it is.
    Plain,
    /// Perhaps as UTF-8 twice, as Socket.IO 1 does.
    #[default]
    PerhapsTwice,
}

/// The packets of a body, in order. It ends after the first malformed one.
#[derive(Debug)]
pub struct Packets<'a, 'e> {
    rest: Rest<'a>,
    encoding: &'e mut TextEncoding,
}

#[derive(Clone, Copy, Debug)]
enum Rest<'a> {
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Neither text nor bytes in this form.
    Malformed,
    End,
}

/// Parses the body of a POST. An empty body is one malformed packet. `encoding` is that of the session, and is updated.
#[must_use]
pub fn decode<'a, 'e>(body: &'a [u8], encoding: &'e mut TextEncoding) -> Packets<'a, 'e> {
    let rest = match body.first() {
        Some(0 | 1) => Rest::Bytes(body),
        Some(_) => std::str::from_utf8(body).map_or(Rest::Malformed, Rest::Text),
        None => Rest::Malformed,
    };
    Packets { rest, encoding }
}

/// Appends a text packet to a payload of text.
pub fn push_text(out: &mut Vec<u8>, packet: &str) {
    let length = if packet.is_ascii() { packet.len() } else { packet.encode_utf16().count() };
    out.extend_from_slice(length.to_string().as_bytes());
    out.push(b':');
    out.extend_from_slice(packet.as_bytes());
}

/// Appends a text packet to a payload of bytes.
pub fn push_text_as_bytes(out: &mut Vec<u8>, packet: &[u8]) {
    push_bytes(out, 0, packet);
}

/// Appends a binary packet, with the byte of its type, to a payload of bytes.
pub fn push_binary(out: &mut Vec<u8>, packet: &[u8]) {
    push_bytes(out, 1, packet);
}

fn push_bytes(out: &mut Vec<u8>, kind: u8, packet: &[u8]) {
    out.push(kind);
    out.extend(packet.len().to_string().bytes().map(|digit| digit - b'0'));
    out.push(END_OF_LENGTH);
    out.extend_from_slice(packet);
}

// === impl TextEncoding ===

impl TextEncoding {
    /// Decodes a packet of a payload of text.
    fn decode<'a>(&mut self, text: &'a str) -> Cow<'a, str> {
        if *self == Self::Plain || text.is_ascii() {
            return text.into();
        }
        if let Some(once) = decode_once(text) {
            return once.into();
        }
        *self = Self::Plain;
        text.into()
    }
}

/// Reads each character as a byte of UTF-8. `None`: the bytes are not UTF-8, or a character is not a byte.
fn decode_once(text: &str) -> Option<String> {
    let bytes = text.chars().map(|character| u8::try_from(u32::from(character)).ok());
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

// === impl Packets ===

impl<'a> Packets<'a, '_> {
    fn next_text(&mut self, body: &'a str) -> Result<Option<Part<'a>>, Malformed> {
        let digits = body.bytes().take(MAX_DIGITS + 1).take_while(u8::is_ascii_digit).count();
        let (length, rest) = body.split_at(digits);
        let rest = rest.strip_prefix(':').ok_or(Malformed::BadLength)?;
        if digits > MAX_DIGITS {
            return Err(Malformed::BadLength);
        }
        let length = length.parse().map_err(|_| Malformed::BadLength)?;
        let (packet, rest) = split_at_utf16(rest, length).ok_or(Malformed::BadLength)?;
        self.rest = if rest.is_empty() { Rest::End } else { Rest::Text(rest) };
        if packet.is_empty() {
            return Ok(None);
        }
        packet::decode_text(self.encoding.decode(packet)).map(Some)
    }

    fn next_bytes(&mut self, body: &'a [u8]) -> Result<Part<'a>, Malformed> {
        let (kind, rest) = body.split_first().ok_or(Malformed::BadLength)?;
        let digits = rest.iter().take(MAX_DIGITS + 1).take_while(|digit| **digit <= 9).count();
        let (length, rest) = rest.split_at(digits);
        let rest = rest.strip_prefix(&[END_OF_LENGTH]).ok_or(Malformed::BadLength)?;
        if length.is_empty() || digits > MAX_DIGITS {
            return Err(Malformed::BadLength);
        }
        let length = length.iter().fold(0_u64, |length, digit| 10 * length + u64::from(*digit));
        let length = usize::try_from(length).map_err(|_| Malformed::BadLength)?;
        let (packet, rest) = rest.split_at_checked(length).ok_or(Malformed::BadLength)?;
        self.rest = if rest.is_empty() { Rest::End } else { Rest::Bytes(rest) };
        match kind {
            0 => packet::decode_text(std::str::from_utf8(packet).map_err(|_| Malformed::NotUtf8)?),
            1 => packet::decode_binary(packet),
            _ => Err(Malformed::BadLength),
        }
    }
}

impl<'a> Iterator for Packets<'a, '_> {
    type Item = Result<Part<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let part = match std::mem::replace(&mut self.rest, Rest::End) {
                Rest::End => return None,
                Rest::Malformed => Err(Malformed::BadLength),
                Rest::Text(body) => match self.next_text(body) {
                    // `0:` is a payload without packets.
                    Ok(None) => continue,
                    Ok(Some(part)) => Ok(part),
                    Err(error) => Err(error),
                },
                Rest::Bytes(body) => self.next_bytes(body),
            };
            if part.is_err() {
                self.rest = Rest::End;
            }
            return Some(part);
        }
    }
}

impl FusedIterator for Packets<'_, '_> {}

/// Splits a text behind `length` UTF-16 code units. `None`: it is shorter, or that is within a character.
fn split_at_utf16(text: &str, length: usize) -> Option<(&str, &str)> {
    if text.as_bytes().get(..length)?.is_ascii() {
        return text.split_at_checked(length);
    }
    let mut missing = length;
    for (index, character) in text.char_indices() {
        if missing == 0 {
            return text.split_at_checked(index);
        }
        missing = missing.checked_sub(character.len_utf16())?;
    }
    (missing == 0).then_some((text, ""))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine_io::Packet;

    fn read(body: &[u8]) -> Vec<Result<Part<'_>, Malformed>> {
        decode(body, &mut TextEncoding::Plain).collect()
    }

    /// The data of a text message.
    fn owned(part: &Part<'_>) -> String {
        match part.packet() {
            Packet::Message(text) => text.to_owned(),
            other => panic!("{other:?}"),
        }
    }

    fn text(text: &str) -> Result<Part<'_>, Malformed> {
        Ok(Part::Text(text.into()))
    }

    #[test]
    fn samples_of_the_protocol_text_are_read() {
        assert_eq!(read(b"6:4hello2:4\xe2\x82\xac"), [text("4hello"), text("4€")]);
        assert_eq!(read(b"6:4hello10:b4AQIDBA=="), [text("4hello"), Ok(Part::Binary(vec![1, 2, 3, 4].into()))]);
        let bytes = b"\x00\x06\xff4hello\x01\x05\xff\x04\x01\x02\x03\x04\x00\x04\xff4\xe2\x82\xac";
        assert_eq!(read(bytes), [text("4hello"), Ok(Part::Binary(vec![1, 2, 3, 4].into())), text("4€")]);
    }

    #[test]
    fn lengths_count_utf16_code_units_and_end_between_characters() {
        assert_eq!(read("4:4😀x1:2".as_bytes()), [text("4😀x"), text("2")]);
        assert_eq!(read("2:4😀1:2".as_bytes()), [Err(Malformed::BadLength)], "within a surrogate pair");
        let mut out = Vec::new();
        push_text(&mut out, "4ü😀");
        assert_eq!(out, "4:4ü😀".as_bytes());
    }

    #[test]
    fn text_that_was_encoded_twice_is_decoded_until_the_client_shows_that_it_does_not() {
        let mut encoding = TextEncoding::PerhapsTwice;
        let twice = "4\u{c3}\u{bc}\u{f0}\u{9f}\u{98}\u{80}";
        let body = format!("7:{twice}");
        let read = |body: &str, encoding: &mut TextEncoding| -> Vec<_> {
            decode(body.as_bytes(), encoding).map(|part| owned(&part.unwrap())).collect()
        };
        assert_eq!(read(&body, &mut encoding), ["ü😀"]);
        assert_eq!(read("2:4ü", &mut encoding), ["ü"], "a byte that does not begin a character");
        assert_eq!(encoding, TextEncoding::Plain);
        assert_eq!(read(&body, &mut encoding), [twice[1..].to_owned()]);
    }

    #[test]
    fn hostile_lengths_are_malformed_and_nothing_after_them_is_read() {
        //
        for body in [
            &b""[..],
            b":",
            b"1",
            b"1:",
            b"12",
            b"x:4",
            b"-1:4",
            b"+1:4",
            b" 1:4",
            b"2:4",
            b"99999999999:4",
            b"9999999999:4",
            b"00000000001:4",
            b"1e3:4",
            b"1:2x",
            b"\x00",
            b"\x00\xff4",
            b"\x00\x01",
            b"\x00\x01\xff",
            b"\x00\x0a\xff4",
            b"\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff\x04",
            b"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\xff\x04",
            b"\x02\x01\xff4",
            b"\x00\x02\xff4\xff",
            b"\x80",
            b"1:4\xff",
        ] {
            let read = read(body);
            assert!(read.last().is_some_and(Result::is_err), "{body:?}: {read:?}");
        }
        assert_eq!(read(b"1:9" as &[u8]).len() + read(b"1:91:2").len(), 2);
        assert_eq!(read(b"0:"), []);
        assert_eq!(read(b"0:1:20:"), [text("2")]);
    }
}
