//! Autobahn 7: the closing handshake, its codes and its reasons.

use crate::case::{CLOSE, CONTINUATION, Closed, PING, Received, TEXT, Violated, check, first, last, text};
use nodevent_protocol::websocket::Violation;

fn close(code: u16, reason: impl AsRef<[u8]>) -> Vec<u8> {
    last(CLOSE, [&code.to_be_bytes(), reason.as_ref()].concat())
}

fn closed(code: u16, reason: &str) -> Received {
    Received::Close(Some(code), reason.to_owned())
}

#[test]
fn frames_after_a_close_are_not_read() {
    let end = close(1000, "");
    let received = [text("Hello World!"), closed(1000, "")];
    check("7.1.1", &[last(TEXT, "Hello World!"), end.clone()], &received, Closed);
    check("7.1.2", &[end.clone(), end.clone()], &[closed(1000, "")], Closed);
    check("7.1.3", &[end.clone(), last(PING, "")], &[closed(1000, "")], Closed);
    check("7.1.4", &[end.clone(), last(TEXT, "late")], &[closed(1000, "")], Closed);
    check("7.1.5", &[first(TEXT, "f1"), end.clone(), last(CONTINUATION, "f2")], &[closed(1000, "")], Closed);
    check("invalid bytes after a close", &[end, vec![0xff; 50]], &[closed(1000, "")], Closed);
}

#[test]
fn close_frame_may_carry_nothing_a_code_or_a_code_and_a_reason() {
    check("7.3.1", &[last(CLOSE, "")], &[Received::Close(None, String::new())], Closed);
    check("7.3.3", &[close(1000, "")], &[closed(1000, "")], Closed);
    check("7.3.4", &[close(1000, "Hello World!")], &[closed(1000, "Hello World!")], Closed);
    let longest = "*".repeat(123);
    check("7.3.5", &[close(1000, &longest)], &[closed(1000, &longest)], Closed);
}

#[test]
fn half_a_close_code_fails_the_connection() {
    check("7.3.2", &[last(CLOSE, "a")], &[], Violated(Violation::BadCloseCode));
}

#[test]
fn close_reason_longer_than_a_control_frame_fails_the_connection() {
    check("7.3.6", &[close(1000, "*".repeat(124))], &[], Violated(Violation::LongControl));
}

#[test]
fn close_reason_that_is_not_utf8_fails_the_connection() {
    let reason = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    check("7.5.1", &[close(1000, reason)], &[], Violated(Violation::BadCloseReason));
    check("cut short", &[close(1000, b"\xe2\x98")], &[], Violated(Violation::BadCloseReason));
}

#[test]
fn every_permitted_close_code_is_received() {
    // 7.7, and 1012 to 1014, which the registry of RFC 6455 has assigned since.
    let given = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
    for code in given {
        check(&format!("7.7 {code}"), &[close(code, "")], &[closed(code, "")], Closed);
        check(&format!("7.7 {code}"), &[close(code, "bye")], &[closed(code, "bye")], Closed);
    }
}

#[test]
fn every_other_close_code_fails_the_connection() {
    // 7.9 and 7.13
    let others = [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
    for code in others {
        check(&format!("7.9 {code}"), &[close(code, "")], &[], Violated(Violation::BadCloseCode));
        check(&format!("7.9 {code}"), &[close(code, "bye")], &[], Violated(Violation::BadCloseCode));
    }
}

#[test]
fn every_violation_has_the_code_that_the_rfc_names() {
    for (violation, code) in [
        (Violation::ReservedBits, 1002),
        (Violation::UnknownOpcode(3), 1002),
        (Violation::FragmentedControl, 1002),
        (Violation::Unmasked, 1002),
        (Violation::LongControl, 1002),
        (Violation::BadLength, 1002),
        (Violation::UnexpectedContinuation, 1002),
        (Violation::ExpectedContinuation, 1002),
        (Violation::BadCloseCode, 1002),
        (Violation::BadCloseReason, 1007),
        (Violation::BadText, 1007),
        (Violation::TooBig { limit: 1 }, 1009),
    ] {
        assert_eq!(violation.close_code(), code, "{violation}");
    }
}
