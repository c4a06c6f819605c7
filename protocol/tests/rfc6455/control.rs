//! Autobahn 2: pings and pongs.

use crate::case::{CLOSE, Closed, Open, PING, PONG, Received, TEXT, Violated, check, last, text};
use nodevent_protocol::websocket::Violation;

#[test]
fn ping_is_received_with_its_payload() {
    let binary = [0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
    for (name, payload) in [("2.1", &b""[..]), ("2.2", b"Hello, world!"), ("2.3", &binary), ("2.4", &[0xfe; 125])] {
        check(name, &[last(PING, payload)], &[Received::Ping(payload.to_vec())], Open);
    }
}

#[test]
fn control_frame_of_126_bytes_fails_the_connection() {
    for (name, opcode) in [("2.5", PING), ("2.5 with a pong", PONG), ("7.3.6", CLOSE)] {
        let sent = [last(opcode, [0xfe; 126]), last(TEXT, "x")];
        check(name, &sent, &[], Violated(Violation::LongControl));
    }
    check("eight bytes of length", &[vec![0x89, 0xff]], &[], Violated(Violation::LongControl));
}

#[test]
fn unsolicited_pong_is_accepted() {
    check("2.7", &[last(PONG, "")], &[Received::Pong(vec![])], Open);
    check("2.8", &[last(PONG, "unasked")], &[Received::Pong(b"unasked".to_vec())], Open);
    let sent = [last(PONG, "unasked"), last(PING, "asked")];
    check("2.9", &sent, &[Received::Pong(b"unasked".to_vec()), Received::Ping(b"asked".to_vec())], Open);
}

#[test]
fn many_pings_are_received_in_order() {
    let payloads: Vec<_> = (0..10).map(|number| format!("payload-{number}")).collect();
    let sent: Vec<_> = payloads.iter().map(|payload| last(PING, payload)).collect();
    let received: Vec<_> = payloads.iter().map(|payload| Received::Ping(payload.clone().into_bytes())).collect();
    check("2.10 and 2.11", &sent, &received, Open);
}

#[test]
fn ping_between_messages_and_a_close_keeps_its_place() {
    let sent = [last(TEXT, "a"), last(PING, "p"), last(TEXT, "b"), last(CLOSE, "")];
    let received = [text("a"), Received::Ping(b"p".to_vec()), text("b"), Received::Close(None, String::new())];
    check("order", &sent, &received, Closed);
}
