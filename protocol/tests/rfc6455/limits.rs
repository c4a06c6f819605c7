//! The limit of a message, by its header alone, and the decoder after its caller breaks.

use crate::case::{
    BINARY, CONTINUATION, LIMIT, Open, PING, Received, TEXT, Violated, check, first, last, run, text,
};
use nodevent_protocol::websocket::{Decoder, Message, Violation};
use std::ops::ControlFlow;

const TOO_BIG: Violation = Violation::TooBig { limit: LIMIT };

#[test]
fn frame_that_announces_a_terabyte_is_refused_by_its_header() {
    // X-03
    for announced in [1_u64 << 40, 1 << 62, LIMIT as u64 + 1] {
        let mut head = vec![0x82, 0xff];
        head.extend_from_slice(&announced.to_be_bytes());
        check("half a header", &[last(TEXT, "x"), head.clone()], &[text("x")], Open);
        head.extend_from_slice(&[1, 2, 3, 4]);
        check("a header", &[last(TEXT, "x"), head], &[text("x")], Violated(TOO_BIG));
    }
}

#[test]
fn fragments_of_a_message_count_together() {
    let half = vec![b'*'; LIMIT / 2];
    let sent = [first(BINARY, &half), last(PING, ""), first(CONTINUATION, &half)];
    check("at the limit", &sent, &[Received::Ping(vec![])], Open);
    let sent = [sent.concat(), last(CONTINUATION, "*")];
    check("one byte above the limit", &sent, &[Received::Ping(vec![])], Violated(TOO_BIG));
}

#[test]
fn half_a_character_counts_as_the_bytes_it_has() {
    let sent = [first(TEXT, b"a\xf0\x9f\x98"), first(CONTINUATION, b"\x80b")].concat();
    assert_eq!(run(&sent, sent.len(), 5), (vec![], Violated(Violation::TooBig { limit: 5 })));
    assert_eq!(run(&sent, sent.len(), 6), (vec![], Open));
}

#[test]
fn control_frame_has_its_own_limit() {
    let sent = last(PING, [7; 125]);
    assert_eq!(run(&sent, 1, 0), (vec![Received::Ping(vec![7; 125])], Open));
}

#[test]
fn endless_empty_fragments_are_read_without_end() {
    let sent = [first(TEXT, ""), first(CONTINUATION, "").repeat(10_000)].concat();
    assert_eq!(run(&sent, sent.len(), 0), (vec![], Open));
}

#[test]
fn caller_that_breaks_receives_nothing_more() {
    for piece in [1, 1_000] {
        let mut decoder = Decoder::default();
        let mut sent = [last(TEXT, "a"), first(TEXT, "b"), last(CONTINUATION, "c"), last(TEXT, "d")].concat();
        let mut received = Vec::new();
        for bytes in sent.chunks_mut(piece) {
            decoder
                .feed(bytes, LIMIT, &mut |message| {
                    received.push(format!("{message:?}"));
                    if message == Message::Text("bc") { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                })
                .unwrap();
        }
        assert_eq!(received, [r#"Text("a")"#, r#"Text("bc")"#]);
        assert!(decoder.is_finished());
    }
}

#[test]
fn violation_is_reported_once_and_ends_reading() {
    let mut decoder = Decoder::default();
    let mut never = |message: Message<'_>| panic!("{message:?}");
    assert_eq!(decoder.feed(&mut [0xff], LIMIT, &mut never), Err(Violation::ReservedBits));
    assert_eq!(decoder.feed(&mut last(TEXT, "late"), LIMIT, &mut never), Ok(()));
}
