//! Payloads of Engine.IO 3 are read as they were written, by clients of both generations. X-02

use nodevent_protocol::engine_io::Malformed;
use nodevent_protocol::engine_io_3::packet::{Part, encode_base64, encode_binary};
use nodevent_protocol::engine_io_3::payload::{self, TextEncoding};
use nodevent_protocol::socket_io::ascii;
use proptest::prelude::*;
use serde_json::{Value, json};

#[path = "../../fuzz/entries/polling_payload_3.rs"]
mod entry;

fn part() -> impl Strategy<Value = Part<'static>> {
    prop_oneof![
        "[0-6](?s:.){0,40}".prop_map(|text| Part::Text(text.into())),
        "[0-6][a-z\u{e0}-\u{ff}\u{4e00}-\u{4eff}\u{1f600}-\u{1f64f}]{0,20}"
            .prop_map(|text| Part::Text(text.into())),
        any::<Vec<u8>>().prop_map(|bytes| Part::Binary(bytes.into())),
    ]
}

fn read<'a>(body: &'a [u8], encoding: &mut TextEncoding) -> Result<Vec<Part<'a>>, Malformed> {
    payload::decode(body, encoding).collect()
}

/// Text as `engine.io-parser` 1.3 writes it: each byte of its UTF-8 is a character.
fn twice(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

/// A payload of text as clients write it, which count `length` of JavaScript.
fn text_payload<'a>(packets: impl IntoIterator<Item = &'a String>) -> String {
    packets.into_iter().map(|packet| format!("{}:{packet}", packet.encode_utf16().count())).collect()
}

proptest! {
    #[test]
    fn payload_of_text_is_read_as_it_was_written(parts in proptest::collection::vec(part(), 1..8)) {
        let packets: Vec<String> = parts.iter().map(|part| match part {
            Part::Text(text) => text.clone().into_owned(),
            Part::Binary(bytes) => encode_base64(bytes),
        }).collect();
        let mut written = Vec::new();
        packets.iter().for_each(|packet| payload::push_text(&mut written, packet));
        let expected = text_payload(&packets);
        prop_assert_eq!(&written, expected.as_bytes());
        prop_assert_eq!(read(&written, &mut TextEncoding::Plain), Ok(parts));
    }

    #[test]
    fn payload_of_bytes_is_read_as_it_was_written(parts in proptest::collection::vec(part(), 1..8)) {
        let mut written = Vec::new();
        for part in &parts {
            match part {
                Part::Text(text) => payload::push_text_as_bytes(&mut written, text.as_bytes()),
                Part::Binary(bytes) => payload::push_binary(&mut written, &encode_binary(bytes)),
            }
        }
        prop_assert_eq!(read(&written, &mut TextEncoding::PerhapsTwice), Ok(parts));
    }

    #[test]
    fn text_that_socket_io_1_encodes_twice_is_read(texts in proptest::collection::vec("4(?s:.){0,20}", 1..5)) {
        let body = text_payload(&texts.iter().map(|text| twice(text)).collect::<Vec<_>>());
        let expected: Vec<_> = texts.iter().map(|text| Part::Text(text.into())).collect();
        prop_assert_eq!(read(body.as_bytes(), &mut TextEncoding::PerhapsTwice), Ok(expected));
    }

    #[test]
    fn text_with_characters_that_are_not_bytes_is_never_taken_for_encoded_twice(text in "4(?s:.){0,20}[\u{100}-\u{ffff}](?s:.){0,20}") {
        let body = text_payload([&text]);
        let mut encoding = TextEncoding::PerhapsTwice;
        prop_assert_eq!(read(body.as_bytes(), &mut encoding), Ok(vec![Part::Text(text.into())]));
        prop_assert_eq!(encoding, TextEncoding::Plain);
    }

    #[test]
    fn both_generations_read_json_in_ascii_alike(text: String) {
        let packet = format!("42/nodevent,{}", json!(["event", {"message": text}]));
        let ascii = ascii::escape(&packet).unwrap_or(packet);
        prop_assert!(ascii.is_ascii());
        prop_assert_eq!(twice(&ascii), ascii.clone());
        let value: Value = serde_json::from_str(&ascii["42/nodevent,".len()..]).unwrap();
        prop_assert_eq!(value[1]["message"].as_str(), Some(&*text));
    }

    #[test]
    fn every_body_is_a_payload_or_malformed(
        body: Vec<u8>,
        text in "([0-9]{1,3}:[0-6b][\\[\"{A-Za-z0-9=\u{e0}-\u{ff}]{0,9}){0,5}",
        bytes in proptest::collection::vec((0_u8..3, proptest::collection::vec(0_u8..11, 0..4), any::<Vec<u8>>()), 0..5),
    ) {
        entry::run(&body);
        entry::run(text.as_bytes());
        let bytes = bytes.into_iter().flat_map(|(kind, length, packet)| [vec![kind], length, vec![255], packet].concat());
        entry::run(&bytes.collect::<Vec<_>>());
    }
}
