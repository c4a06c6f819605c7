//! Autobahn 5 (fragmentation) and 10 (a message in many fragments).

use crate::case::{
    BINARY, CONTINUATION, LIMIT, Open, PING, PONG, Received, TEXT, Violated, check, first, frame, last, text,
};
use nodevent_protocol::websocket::Violation;

#[test]
fn fragmented_control_frame_fails_the_connection() {
    for (name, opcode) in [("5.1", PING), ("5.2", PONG), ("a close", 8)] {
        let sent = [first(opcode, "fragment1"), last(CONTINUATION, "fragment2")];
        check(name, &sent, &[], Violated(Violation::FragmentedControl));
    }
}

#[test]
fn fragments_are_put_together() {
    let sent = [first(TEXT, "fragment1"), last(CONTINUATION, "fragment2")];
    check("5.3 to 5.5", &sent, &[text("fragment1fragment2")], Open);
    let sent = [first(BINARY, b"\x00\xff"), first(CONTINUATION, b""), last(CONTINUATION, b"\xfe")];
    check("binary", &sent, &[Received::Binary(vec![0x00, 0xff, 0xfe])], Open);
    let sent = [first(TEXT, ""), first(CONTINUATION, ""), last(CONTINUATION, "")];
    check("6.1.2", &sent, &[text("")], Open);
    let sent = [first(TEXT, ""), first(CONTINUATION, "middle"), last(CONTINUATION, "")];
    check("6.1.3", &sent, &[text("middle")], Open);
}

#[test]
fn control_frame_may_come_between_fragments() {
    let sent = [first(TEXT, "fragment1"), last(PING, "ping"), last(CONTINUATION, "fragment2")];
    check("5.6 to 5.8", &sent, &[Received::Ping(b"ping".to_vec()), text("fragment1fragment2")], Open);
    let sent = [first(TEXT, "fragment1"), last(PONG, ""), last(PING, ""), last(CONTINUATION, "fragment2")];
    let received = [Received::Pong(vec![]), Received::Ping(vec![]), text("fragment1fragment2")];
    check("a pong as well", &sent, &received, Open);
}

#[test]
fn many_fragments_with_pings_between_them_are_put_together() {
    let sent = [
        first(TEXT, "fragment1"),
        first(CONTINUATION, "fragment2"),
        last(PING, "pongme 1!"),
        first(CONTINUATION, "fragment3"),
        first(CONTINUATION, "fragment4"),
        last(PING, "pongme 2!"),
        last(CONTINUATION, "fragment5"),
    ];
    let received = [
        Received::Ping(b"pongme 1!".to_vec()),
        Received::Ping(b"pongme 2!".to_vec()),
        text("fragment1fragment2fragment3fragment4fragment5"),
    ];
    check("5.19 and 5.20", &sent, &received, Open);
}

#[test]
fn continuation_without_a_message_fails_the_connection() {
    let hello = last(TEXT, "Hello, world!");
    for (name, opening) in [("5.9 to 5.11", 0x80), ("5.12 to 5.14", 0x00)] {
        let sent = [frame(opening | CONTINUATION, b"non-continuation payload"), hello.clone()];
        check(name, &sent, &[], Violated(Violation::UnexpectedContinuation));
    }
    let sent = [first(TEXT, "f1"), last(CONTINUATION, "f2"), first(CONTINUATION, "f3"), last(TEXT, "f4")];
    check("5.15", &sent, &[text("f1f2")], Violated(Violation::UnexpectedContinuation));
    for (name, opening) in [("5.16", 0x00), ("5.17", 0x80)] {
        let one = [
            frame(opening | CONTINUATION, b"fragment1"),
            first(TEXT, "fragment2"),
            last(CONTINUATION, "fragment3"),
        ];
        check(name, &[one.concat(), one.concat()], &[], Violated(Violation::UnexpectedContinuation));
    }
}

#[test]
fn message_within_a_message_fails_the_connection() {
    for (name, inner) in [("5.18", last(TEXT, "fragment2")), ("binary", first(BINARY, "fragment2"))] {
        let sent = [first(TEXT, "fragment1"), inner];
        check(name, &sent, &[], Violated(Violation::ExpectedContinuation));
    }
}

#[test]
fn message_in_many_fragments_is_put_together() {
    let whole = "*".repeat(LIMIT);
    let pieces: Vec<_> = whole.as_bytes().chunks(1_300).collect();
    let count = pieces.len();
    let fragment = |(at, piece): (usize, &&[u8])| {
        let opcode = if at == 0 { TEXT } else { CONTINUATION };
        if at + 1 == count { last(opcode, piece) } else { first(opcode, piece) }
    };
    let sent: Vec<_> = pieces.iter().enumerate().map(fragment).collect();
    check("10.1.1", &sent, &[text(&whole)], Open);
}

#[test]
fn message_in_fragments_of_one_byte_is_put_together() {
    let whole = "κόσμε".repeat(50);
    let mut sent = vec![first(TEXT, "")];
    sent.extend(whole.as_bytes().iter().map(|byte| first(CONTINUATION, [*byte])));
    sent.push(last(CONTINUATION, ""));
    check("one byte each", &sent, &[text(&whole)], Open);
}
