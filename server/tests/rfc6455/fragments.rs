//! Autobahn 5 (messages in fragments) and 10 (a message in many).

use crate::echo::{LIMIT, binary, check, check_end, echo, failed, pong, text};
use crate::support::raw::{BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, first, last};

#[tokio::test]
async fn fragments_are_put_together() {
    let server = echo().await;
    let sent = [first(TEXT, "4fragment1"), last(CONTINUATION, "fragment2")];
    check(&server, "5.3 to 5.5", &sent, &[text("4fragment1fragment2")]).await;
    let sent = [first(BINARY, b"\x00\xff"), first(CONTINUATION, b""), last(CONTINUATION, b"\xfe")];
    check(&server, "binary", &sent, &[binary(b"\x00\xff\xfe")]).await;
    let sent = [first(TEXT, ""), first(CONTINUATION, "4middle"), last(CONTINUATION, "")];
    check(&server, "6.1.3", &sent, &[text("4middle")]).await;
    let sent = [first(BINARY, ""), first(CONTINUATION, ""), last(CONTINUATION, "")];
    check(&server, "nothing in three", &sent, &[binary("")]).await;
}

#[tokio::test]
async fn control_frame_between_fragments_is_answered_immediately() {
    let server = echo().await;
    let sent = [first(TEXT, "4fragment1"), last(PING, "ping"), last(CONTINUATION, "fragment2")];
    check(&server, "5.6 to 5.8", &sent, &[pong("ping"), text("4fragment1fragment2")]).await;
    let sent = [
        first(TEXT, "4fragment1"),
        first(CONTINUATION, "fragment2"),
        last(PING, "pongme 1!"),
        first(CONTINUATION, "fragment3"),
        last(PONG, "unasked"),
        first(CONTINUATION, "fragment4"),
        last(PING, "pongme 2!"),
        last(CONTINUATION, "fragment5"),
    ];
    let expected = [pong("pongme 1!"), pong("pongme 2!"), text("4fragment1fragment2fragment3fragment4fragment5")];
    check(&server, "5.19 and 5.20", &sent, &expected).await;
}

#[tokio::test]
async fn fragmented_control_frame_fails_the_connection() {
    let server = echo().await;
    for (name, opcode) in [("5.1", PING), ("5.2", PONG), ("a close", CLOSE)] {
        let sent = [first(opcode, "fragment1"), last(CONTINUATION, "fragment2")];
        check_end(&server, name, &sent, &[], failed(1002, "fragmented_control")).await;
    }
}

#[tokio::test]
async fn continuation_without_a_message_fails_the_connection() {
    let server = echo().await;
    let end = || failed(1002, "unexpected_continuation");
    for (name, piece) in [("5.9 to 5.11", last(CONTINUATION, "x")), ("5.12 to 5.14", first(CONTINUATION, "x"))] {
        let sent = [piece, last(TEXT, "4Hello, world!")];
        check_end(&server, name, &sent, &[], end()).await;
    }
    let sent = [first(TEXT, "4a"), last(CONTINUATION, "b"), first(CONTINUATION, "c"), last(TEXT, "4d")];
    check_end(&server, "5.15 to 5.17", &sent, &[text("4ab")], end()).await;
}

#[tokio::test]
async fn message_within_a_message_fails_the_connection() {
    let server = echo().await;
    for opcode in [TEXT, BINARY] {
        let sent = [first(TEXT, "4fragment1"), last(opcode, "4fragment2")];
        check_end(&server, "5.18", &sent, &[], failed(1002, "expected_continuation")).await;
    }
}

#[tokio::test]
async fn message_of_65536_bytes_in_fragments_of_1300_comes_back() {
    let server = echo().await;
    let words = format!("4{}", "*".repeat(65_535));
    let mut pieces: Vec<_> = words.as_bytes().chunks(1300).map(|piece| first(CONTINUATION, piece)).collect();
    pieces[0][0] = TEXT;
    let end = pieces.len() - 1;
    pieces[end][0] |= 0x80;
    check(&server, "10.1.1", &pieces, &[text(&words)]).await;
}

#[tokio::test]
async fn fragments_of_one_byte_come_back_whole() {
    let server = echo().await;
    let mut pieces: Vec<_> = b"4one byte at a time".iter().map(|byte| first(CONTINUATION, [*byte])).collect();
    pieces[0][0] = TEXT;
    pieces.push(last(CONTINUATION, ""));
    check(&server, "one byte each", &pieces, &[text("4one byte at a time")]).await;
}

#[tokio::test]
async fn fragments_that_exceed_the_limit_together_are_refused() {
    //
    let server = echo().await;
    let mut sent = vec![first(BINARY, vec![0; LIMIT - 1]), first(CONTINUATION, "x")];
    sent.push(last(CONTINUATION, "y"));
    check_end(&server, "a byte too many", &sent, &[], failed(1009, "too_big")).await;
}
