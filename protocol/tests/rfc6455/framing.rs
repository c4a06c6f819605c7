//! Autobahn 1 (framing), 3 (reserved bits) and 4 (opcodes).

use crate::case::{BINARY, CLOSE, Open, PING, Received, TEXT, Violated, check, frame, last, text};
use nodevent_protocol::websocket::Violation;

/// Every length at which the header of a frame changes its form, and its neighbours.
const LENGTHS: [usize; 8] = [0, 1, 125, 126, 127, 128, 65_535, 65_536];

#[test]
fn text_of_every_length_form_is_received() {
    for length in LENGTHS {
        let whole = "*".repeat(length);
        check(&format!("1.1 {length}"), &[last(TEXT, &whole)], &[text(&whole)], Open);
    }
}

#[test]
fn binary_of_every_length_form_is_received() {
    for length in LENGTHS {
        let whole = vec![0xfe; length];
        check(&format!("1.2 {length}"), &[last(BINARY, &whole)], &[Received::Binary(whole)], Open);
    }
}

#[test]
fn reserved_bit_fails_the_connection_after_earlier_messages() {
    let (before, after) = (last(TEXT, "Hello"), last(PING, ""));
    for bits in 1..=7_u8 {
        for (opcode, payload) in [(TEXT, "x"), (BINARY, "x"), (CLOSE, ""), (PING, "x")] {
            let reserved = frame(0x80 | (bits << 4) | opcode, payload.as_bytes());
            let sent = [before.clone(), reserved, after.clone()];
            check(&format!("3.{bits} {opcode}"), &sent, &[text("Hello")], Violated(Violation::ReservedBits));
        }
    }
}

#[test]
fn reserved_opcode_fails_the_connection_after_earlier_messages() {
    let (before, after) = (last(TEXT, "Hello"), last(PING, ""));
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in ["", "reserved"] {
            let sent = [before.clone(), frame(0x80 | opcode, payload.as_bytes()), after.clone()];
            let end = Violated(Violation::UnknownOpcode(opcode));
            check(&format!("4 {opcode}"), &sent, &[text("Hello")], end);
        }
    }
}

#[test]
fn unmasked_frame_fails_the_connection() {
    // RFC 6455, 5.1; Autobahn always masks.
    for unmasked in [&b"\x81\x05Hello"[..], b"\x89\x00", b"\x88\x02\x03\xe8", b"\x81\x7e\x00\x7e", b"\x81\x7f"] {
        let sent = [last(TEXT, "x"), unmasked.to_vec()];
        check("unmasked", &sent, &[text("x")], Violated(Violation::Unmasked));
    }
}

#[test]
fn length_in_more_bytes_than_needed_fails_the_connection() {
    // RFC 6455, 5.2: the shortest form must be used, and the highest bit of eight bytes must be 0.
    for head in [
        &[0x82, 0xfe, 0, 125][..],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0, 125],
        &[0x82, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
        &[0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    ] {
        check(&format!("{head:x?}"), &[head.to_vec()], &[], Violated(Violation::BadLength));
    }
}
