//! Autobahn 7: the closing handshake. The server echoes the code, sends nothing after it, and closes the connection
//! first.

use crate::echo::{check_end, echo, failed, text};
use crate::support::raw::{CLOSE, CONTINUATION, End, PING, TEXT, close, first, last};

fn closed(code: u16) -> End {
    End::Closed(Some(code), String::new())
}

#[tokio::test]
async fn close_frame_is_echoed_and_frames_after_it_are_ignored() {
    let server = echo().await;
    let end = close(1000, "");
    check_end(
        &server,
        "7.1.1",
        &[last(TEXT, "4Hello World!"), end.clone()],
        &[text("4Hello World!")],
        closed(1000),
    )
    .await;
    check_end(&server, "7.1.2", &[end.clone(), end.clone()], &[], closed(1000)).await;
    check_end(&server, "7.1.3", &[end.clone(), last(PING, "")], &[], closed(1000)).await;
    check_end(&server, "7.1.4", &[end.clone(), last(TEXT, "4late")], &[], closed(1000)).await;
    let within = [first(TEXT, "4fragment1"), end.clone(), last(CONTINUATION, "fragment2")];
    check_end(&server, "7.1.5", &within, &[], closed(1000)).await;
    check_end(&server, "7.1.6", &[end, last(TEXT, vec![b'*'; 60_000])], &[], closed(1000)).await;
}

#[tokio::test]
async fn close_frame_may_carry_nothing_a_code_or_a_code_and_a_reason() {
    let server = echo().await;
    check_end(&server, "7.3.1", &[last(CLOSE, "")], &[], End::Closed(None, String::new())).await;
    check_end(&server, "7.3.2", &[last(CLOSE, "a")], &[], failed(1002, "bad_close_code")).await;
    check_end(&server, "7.3.3", &[close(1000, "")], &[], closed(1000)).await;
    check_end(&server, "7.3.4", &[close(1000, "Hello World!")], &[], closed(1000)).await;
    check_end(&server, "7.3.5", &[close(1000, "*".repeat(123))], &[], closed(1000)).await;
    check_end(&server, "7.3.6", &[close(1000, "*".repeat(124))], &[], failed(1002, "long_control")).await;
}

#[tokio::test]
async fn close_reason_that_is_not_utf8_fails_the_connection() {
    let server = echo().await;
    let reason = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    check_end(&server, "7.5.1", &[close(1000, reason)], &[], failed(1007, "bad_close_reason")).await;
}

#[tokio::test]
async fn every_permitted_close_code_is_echoed() {
    let server = echo().await;
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        check_end(&server, &format!("7.7 {code}"), &[close(code, "bye")], &[], closed(code)).await;
    }
}

#[tokio::test]
async fn every_other_close_code_fails_the_connection() {
    let server = echo().await;
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65_535] {
        let end = failed(1002, "bad_close_code");
        check_end(&server, &format!("7.9 {code}"), &[close(code, "")], &[], end).await;
    }
}
