//! Allocations of the decoders: none while idle, few for typical input, and none for announced bytes.
#![cfg(test)]

use allocation_counter::{AllocationInfo, measure};
use nodevent_protocol::engine_io_3::payload::{TextEncoding, decode};
use nodevent_protocol::websocket::{Decoder, Message, Opcode, encode_masked};
use nodevent_protocol::{engine_io, publication, socket_io};
use std::ops::ControlFlow;

const LIMIT: usize = 64 * 1024;
const MASK: [u8; 4] = [1, 2, 3, 4];

fn ignore(_: Message<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_masked(&mut out, Opcode::Binary, payload, MASK);
    out[0] = first_byte;
    out
}

/// Measures the allocations while `decoder` reads `bytes` in reads of `piece` bytes.
fn feed(decoder: &mut Decoder, bytes: &mut [u8], piece: usize) -> AllocationInfo {
    measure(|| {
        for read in bytes.chunks_mut(piece) {
            decoder.feed(read, LIMIT, &mut ignore).unwrap();
        }
    })
}

#[test]
fn decoder_is_small() {
    assert!(size_of::<Decoder>() <= 32);
    assert!(size_of::<socket_io::Decoder>() <= 32);
}

#[test]
fn whole_frames_in_one_read_are_decoded_without_allocating() {
    let mut bytes =
        [frame(0x81, b"text"), frame(0x82, &[7; 5_000]), frame(0x89, b"ping"), frame(0x8a, b"")].concat();
    let length = bytes.len();
    assert_eq!(feed(&mut Decoder::default(), &mut bytes, length).count_total, 0);
}

#[test]
fn decoder_owns_nothing_between_messages() {
    let message =
        [frame(0x01, b"fragment"), frame(0x89, b"ping"), frame(0x00, &[b'x'; 9_000]), frame(0x80, b"")].concat();
    for piece in [1, 7, 4_096, message.len()] {
        let mut decoder = Decoder::default();
        let seen = feed(&mut decoder, &mut message.repeat(3), piece);
        assert!(seen.count_total > 0);
        assert_eq!(seen.bytes_current, 0, "in reads of {piece}");
    }
}

#[test]
fn announced_message_takes_memory_only_as_it_arrives() {
    // X-03: ten thousand connections, each of which announced a frame of the largest size and sent three bytes of it.
    let announced = frame(0x82, &[0; LIMIT]);
    let mut decoders: Vec<Decoder> = (0..10_000).map(|_| Decoder::default()).collect();
    let mut reads: Vec<_> = decoders.iter().map(|_| announced[..17].to_vec()).collect();
    let seen = measure(|| {
        for (decoder, read) in decoders.iter_mut().zip(&mut reads) {
            decoder.feed(read, LIMIT, &mut ignore).unwrap();
        }
    });
    let each = seen.bytes_current / 10_000;
    assert!((1..=256).contains(&each), "{each} bytes per connection");
}

#[test]
fn slow_message_takes_a_small_multiple_of_its_received_bytes() {
    for first_byte in [0x81, 0x82] {
        let mut bytes = frame(first_byte, &[b'x'; LIMIT]);
        let mut decoder = Decoder::default();
        for came in [1_000, 10_000, 60_000] {
            let mut decoder_of_part = Decoder::default();
            let seen = feed(&mut decoder_of_part, &mut bytes.clone()[..came], 100);
            assert!(seen.bytes_max <= 4 * came as u64 + 256, "{} bytes for {came}", seen.bytes_max);
        }
        assert_eq!(feed(&mut decoder, &mut bytes, 100).bytes_current, 0);
    }
}

#[test]
fn giant_announced_length_is_refused_without_allocating() {
    // X-03
    let mut bytes = vec![0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4];
    let mut decoder = Decoder::default();
    let seen = measure(|| {
        decoder.feed(&mut bytes, LIMIT, &mut ignore).unwrap_err();
    });
    assert_eq!(seen.count_total, 0);
}

#[test]
fn endless_fragments_do_not_add_up() {
    // X-03: empty fragments are free, and fragments of one byte are refused at the limit.
    let mut decoder = Decoder::default();
    let seen = feed(&mut decoder, &mut [frame(0x02, b""), frame(0x00, b"").repeat(100_000)].concat(), 4_096);
    assert!(seen.bytes_max <= 256, "{} bytes", seen.bytes_max);
    let mut bytes = frame(0x00, b"x").repeat(LIMIT + 1);
    let seen = measure(|| {
        decoder.feed(&mut bytes, LIMIT, &mut ignore).unwrap_err();
    });
    assert!(seen.bytes_max <= 4 * LIMIT as u64, "{} bytes", seen.bytes_max);
    assert_eq!(decoder.feed(&mut [0], LIMIT, &mut ignore), Ok(()));
}

#[test]
fn typical_join_allocates_only_its_namespace_and_its_arguments() {
    let packet = engine_io::packet::decode(r#"42/nodevent,0["join",{"room":"Discussion_12","key":"abc:123"}]"#);
    let Ok(engine_io::Packet::Message(text)) = packet else { panic!("{packet:?}") };
    let mut decoder = socket_io::Decoder::default();
    let seen = measure(|| {
        decoder.text(text).unwrap();
    });
    assert!(seen.count_total <= 3, "{} allocations", seen.count_total);
}

#[test]
fn typical_publication_allocates_next_to_nothing() {
    let published =
        br#"{"room":"Discussion_12","event":"update","message":{"id":12,"tags":["a","b"],"text":"Hello"}}"#;
    let seen = measure(|| {
        publication::parse(published).unwrap();
    });
    assert!(seen.count_total <= 2, "{} allocations", seen.count_total);
}

#[test]
fn nested_json_takes_a_small_multiple_of_its_length() {
    // X-03
    let levels = LIMIT / 2;
    let deep = "[".repeat(levels) + &"]".repeat(levels);
    let published = format!(r#"{{"room":"r","event":"e","message":{deep}}}"#);
    let packet = format!(r#"50-["x",{deep}]"#);
    let publication = measure(|| {
        publication::parse(published.as_bytes()).unwrap();
    });
    let event = measure(|| {
        socket_io::Decoder::default().text(&packet).unwrap();
    });
    for seen in [publication, event] {
        assert!(seen.bytes_max <= 16 * LIMIT as u64, "{} bytes", seen.bytes_max);
    }
}

#[test]
fn announced_length_in_a_payload_of_version_3_takes_no_memory() {
    // X-03
    for body in [&b"9999999999:4"[..], b"\x01\x09\x09\x09\x09\x09\x09\x09\x09\x09\x09\xff\x04"] {
        let seen = measure(|| {
            assert!(decode(body, &mut TextEncoding::PerhapsTwice).next().is_some_and(|part| part.is_err()));
        });
        assert_eq!(seen.count_total, 0);
    }
}
