//! Autobahn 2: pings and pongs.

use crate::echo::{NOT_UTF8, check, check_end, echo, failed, pong, text};
use crate::support::raw::{PING, PONG, TEXT, last};

#[tokio::test]
async fn ping_gets_a_pong_with_the_same_payload() {
    let server = echo().await;
    for (name, payload) in [("2.1", &b""[..]), ("2.2", b"Hello, world!"), ("2.3", &NOT_UTF8), ("2.4", &[0xfe; 125])]
    {
        check(&server, name, &[last(PING, payload)], &[pong(payload)]).await;
    }
}

#[tokio::test]
async fn control_frame_of_126_bytes_fails_the_connection() {
    let server = echo().await;
    for (name, opcode) in [("2.5", PING), ("2.5 with a pong", PONG)] {
        check_end(&server, name, &[last(opcode, [0xfe; 126])], &[], failed(1002, "long_control")).await;
    }
}

#[tokio::test]
async fn unsolicited_pong_gets_no_reply() {
    let server = echo().await;
    check(&server, "2.7", &[last(PONG, "")], &[]).await;
    check(&server, "2.8", &[last(PONG, "unasked")], &[]).await;
    check(&server, "2.9", &[last(PONG, "unasked"), last(PING, "asked")], &[pong("asked")]).await;
}

#[tokio::test]
async fn many_pings_get_their_pongs_in_order() {
    let server = echo().await;
    let payloads: Vec<_> = (0..10).map(|number| format!("payload-{number}")).collect();
    let sent: Vec<_> = payloads.iter().map(|payload| last(PING, payload)).collect();
    let expected: Vec<_> = payloads.iter().map(pong).collect();
    check(&server, "2.10 and 2.11", &sent, &expected).await;
}

#[tokio::test]
async fn pong_keeps_its_place_among_messages() {
    let server = echo().await;
    let sent = [last(TEXT, "4a"), last(PING, "p"), last(TEXT, "4b")];
    check(&server, "order", &sent, &[text("4a"), pong("p"), text("4b")]).await;
}
