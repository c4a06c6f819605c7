//! RFC 7692: which frames may be compressed, with the examples of its section 7.2.3. The decoder does not inflate.

use crate::case::{
    BINARY, CLOSE, CONTINUATION, LIMIT, Open, PING, PONG, Received, TEXT, Violated, check, check_deflate, first,
    frame, last, run_with, text,
};
use nodevent_protocol::websocket::{Decoder, Violation};

/// RSV1.
const DEFLATED: u8 = 0x40;
/// "Hello" in a compressed block: section 7.2.3.1.
const HELLO: &[u8] = &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];

fn deflated(opcode: u8, payload: &[u8]) -> Vec<u8> {
    frame(0x80 | DEFLATED | opcode, payload)
}

fn hello() -> Received {
    Received::Deflated(true, HELLO.to_vec())
}

#[test]
fn compressed_message_is_passed_on_as_it_is() {
    check_deflate("7.2.3.1", &[deflated(TEXT, HELLO)], &[hello()], Open);
    let again = [0xf2, 0x00, 0x11, 0x00, 0x00];
    let sent = [deflated(TEXT, HELLO), deflated(BINARY, &again)];
    check_deflate("7.2.3.2", &sent, &[hello(), Received::Deflated(false, again.to_vec())], Open);
    let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
    check_deflate("7.2.3.3", &[deflated(TEXT, stored)], &[Received::Deflated(true, stored.to_vec())], Open);
    check_deflate("7.2.3.6", &[deflated(TEXT, &[0])], &[Received::Deflated(true, vec![0])], Open);
    check_deflate("nothing", &[deflated(BINARY, &[])], &[Received::Deflated(false, vec![])], Open);
}

#[test]
fn fragments_of_a_compressed_message_are_put_together() {
    // Section 7.2.3.1: only the first frame has the bit.
    let sent = [frame(DEFLATED | TEXT, &HELLO[..3]), last(CONTINUATION, &HELLO[3..])];
    check_deflate("two fragments", &sent, &[hello()], Open);
    let sent = [
        frame(DEFLATED | TEXT, b""),
        last(PING, "p"),
        first(CONTINUATION, HELLO),
        last(PONG, ""),
        last(CONTINUATION, b""),
    ];
    let received = [Received::Ping(b"p".to_vec()), Received::Pong(vec![]), hello()];
    check_deflate("control frames between them", &sent, &received, Open);
}

#[test]
fn messages_may_be_sent_without_compression() {
    let sent = [last(TEXT, "a"), deflated(TEXT, HELLO), first(TEXT, "b"), last(CONTINUATION, "c")];
    check_deflate("both", &sent, &[text("a"), hello(), text("bc")], Open);
    let sent = [first(TEXT, "a"), last(CONTINUATION, "☃")];
    check_deflate("text in fragments", &sent, &[text("a☃")], Open);
    check_deflate("not UTF-8", &[last(TEXT, b"\xff")], &[], Violated(Violation::BadText));
}

#[test]
fn only_the_first_frame_of_a_message_has_the_bit() {
    let reserved = Violated(Violation::ReservedBits);
    for opcode in [CLOSE, PING, PONG] {
        let sent = [last(TEXT, "x"), deflated(opcode, b"")];
        check_deflate("a control frame", &sent, &[text("x")], reserved);
    }
    let sent = [frame(DEFLATED | TEXT, &HELLO[..3]), deflated(CONTINUATION, &HELLO[3..])];
    check_deflate("the last fragment", &sent, &[], reserved);
    let sent = [first(TEXT, "x"), frame(DEFLATED | CONTINUATION, b"y")];
    check_deflate("a fragment of another message", &sent, &[], reserved);
    for bits in [0x10, 0x20, 0x50, 0x60, 0x70] {
        check_deflate("other bits", &[frame(0x80 | bits | TEXT, HELLO)], &[], reserved);
    }
}

#[test]
fn without_negotiation_nothing_may_be_compressed() {
    for opcode in [TEXT, BINARY, CONTINUATION, PING] {
        check("RSV1", &[deflated(opcode, HELLO)], &[], Violated(Violation::ReservedBits));
    }
}

#[test]
fn compressed_message_is_limited_by_its_header() {
    let too_big = Violated(Violation::TooBig { limit: LIMIT });
    let max = LIMIT + LIMIT / 16 + 64;
    let sent = [deflated(BINARY, &vec![7; max])].concat();
    let (received, end) = run_with(Decoder::with_deflate(), &sent, 997, LIMIT);
    assert_eq!((received.len(), end), (1, Open), "a message that compression lengthens");
    let head = crate::frames::head(0x80 | DEFLATED | BINARY, max as u64 + 1);
    check_deflate("one byte more", &[head], &[], too_big);
    let sent = [frame(DEFLATED | TEXT, &vec![7; max - 10]), crate::frames::head(CONTINUATION, 11)];
    check_deflate("fragments together", &sent, &[], too_big);
    let sent = [crate::frames::head(0x80 | BINARY, LIMIT as u64 + 1)];
    check_deflate("a message that is not compressed", &sent, &[], too_big);
}
