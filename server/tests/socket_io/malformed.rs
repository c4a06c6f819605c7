//! Malformed packets end their own connection with a reason and no other one. The cases include those of the fuzz
//! targets, on both transports, while a bystander is served.

use crate::session::{Session, closed, error, socket_echo};
use crate::support::TestServer;
use crate::support::raw::{BINARY, End, Raw, last};

const MALFORMED: &[&str] = &[
    "abc",
    "",
    "4",
    "4abc",
    "47[]",
    "49",
    "4☃",
    "42",
    "42{}",
    "42[]",
    "42[null]",
    "42[{}]",
    "42[[\"message\"]]",
    "42abc[\"message\"]",
    "42\"message\"",
    "42[\"message\"",
    "42[\"message\"]]",
    "42[\"message\",]",
    "42[\"message\"] trailing",
    "42[\"connect\"]",
    "42[\"connect_error\"]",
    "42[\"disconnect\"]",
    "42[\"disconnecting\"]",
    "42[\"newListener\"]",
    "42[\"removeListener\"]",
    "42[\"dis\\u0063onnect\"]",
    "42999999999999999999999999999999[\"message\"]",
    "43[]",
    "43999999999999999999999999999999[]",
    "431{}",
    "44",
    "44{\"message\":\"x\"}",
    "40[]",
    "40\"auth\"",
    "40{",
    "41{}",
    "45[\"message\"]",
    "451[\"message\"]",
    "45-[\"message\"]",
    "45x-[\"message\"]",
    "45-1-[\"message\"]",
    "451-9999999[\"x\"]",
    "451-[\"message\",{\"_placeholder\":true,\"num\":1}]",
    "451-[\"message\",{\"_placeholder\":true,\"num\":-1}]",
    "451-[\"message\",{\"_placeholder\":true,\"num\":\"0\"}]",
    "451-[\"message\",{\"_placeholder\":true}]",
    "45999999999-[\"message\"]",
    "4518446744073709551616-[\"message\"]",
];

/// Connects a browser that must not be affected.
async fn bystander(server: &TestServer) -> Raw {
    let mut raw = Raw::connected(server, "/custom").await;
    raw.text().await;
    raw
}

async fn is_served(bystander: &mut Raw) {
    bystander.send_text("42/custom,[\"message\",\"served\"]").await;
    assert_eq!(bystander.text().await, "42/custom,[\"message-back\",\"served\"]");
}

#[tokio::test]
async fn malformed_packet_closes_its_websocket_with_a_reason() {
    //
    let server = socket_echo("").await;
    let mut bystander = bystander(&server).await;
    for text in MALFORMED {
        let mut raw = Raw::opened(&server).await;
        if *text != "40\"auth\"" && !text.starts_with("40") {
            raw.send_text("40").await;
            raw.text().await;
            raw.text().await;
        }
        raw.send_text(text).await;
        assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()), "{text:?}");
    }
    is_served(&mut bystander).await;
    server.metric_is("nodevent_connections", 1).await;
    server.metric_is("nodevent_disconnects_total{reason=\"malformed\"}", MALFORMED.len() as i64).await;
}

#[tokio::test]
async fn malformed_packet_ends_its_polling_session_and_the_post_gets_the_reason() {
    //
    let server = socket_echo("").await;
    let mut bystander = bystander(&server).await;
    for text in MALFORMED {
        let session = Session::open(&server).await;
        if !text.starts_with("40") {
            assert_eq!(session.post("40").await.0, 200);
        }
        assert_eq!(session.post(text).await, (400, closed("malformed packet")), "{text:?}");
        assert_eq!(session.get().await, (400, error(1, "Session ID unknown")), "{text:?}");
    }
    is_served(&mut bystander).await;
    server.metric_is("nodevent_connections", 1).await;
}

#[tokio::test]
async fn unannounced_binary_message_ends_the_connection() {
    //
    let server = socket_echo("").await;
    let mut raw = bystander(&server).await;
    raw.send(last(BINARY, b"\x00")).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
}

#[tokio::test]
async fn text_in_place_of_an_attachment_ends_the_connection() {
    //
    let server = socket_echo("").await;
    let mut raw = bystander(&server).await;
    raw.send_text("451-/custom,[\"message\",{\"_placeholder\":true,\"num\":0}]").await;
    raw.send_text("42/custom,[\"message\"]").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
}

#[tokio::test]
async fn deeply_nested_json_is_harmless() {
    //
    let server = socket_echo("limits: {max_message_size: 1000000}").await;
    let mut bystander = bystander(&server).await;
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let mut raw = Raw::opened(&server).await;
    raw.send_text(&format!("40{{\"a\":{deep}}}")).await;
    assert!(raw.text().await.starts_with("40{"), "the server treats auth of any depth as text");
    raw.send_text(&format!("42[\"unknown event\",{deep}]")).await;
    raw.send_text("42[\"message\"]").await;
    assert!(raw.text().await.starts_with("42[\"auth\","));
    assert_eq!(raw.text().await, "42[\"message-back\"]");
    is_served(&mut bystander).await;
}
