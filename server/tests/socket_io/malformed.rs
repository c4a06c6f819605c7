//! What is no packet ends its connection by name, and no other: the hostile cases of the fuzz targets and more, on
//! both transports, while somebody else is served.

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

/// A connected browser that must stay unharmed.
async fn bystander(server: &TestServer) -> Raw {
    let mut raw = Raw::connected(server, "/custom").await;
    raw.text().await;
    raw
}

async fn is_served(bystander: &mut Raw) {
    bystander.say("42/custom,[\"message\",\"served\"]").await;
    assert_eq!(bystander.text().await, "42/custom,[\"message-back\",\"served\"]");
}

#[tokio::test]
async fn a_malformed_packet_ends_its_websocket_by_name_and_harms_nobody_else() {
    //
    let server = socket_echo("").await;
    let mut bystander = bystander(&server).await;
    for said in MALFORMED {
        let mut raw = Raw::opened(&server).await;
        if *said != "40\"auth\"" && !said.starts_with("40") {
            raw.say("40").await;
            raw.text().await;
            raw.text().await;
        }
        raw.say(said).await;
        assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()), "{said:?}");
    }
    is_served(&mut bystander).await;
    server.metric_is("nodevent_connections", 1).await;
    server.metric_is("nodevent_disconnects_total{reason=\"malformed\"}", MALFORMED.len() as i64).await;
}

#[tokio::test]
async fn a_malformed_packet_ends_its_polling_session_and_the_post_is_told_why() {
    //
    let server = socket_echo("").await;
    let mut bystander = bystander(&server).await;
    for said in MALFORMED {
        let session = Session::open(&server).await;
        if !said.starts_with("40") {
            assert_eq!(session.post("40").await.0, 200);
        }
        assert_eq!(session.post(said).await, (400, closed("malformed packet")), "{said:?}");
        assert_eq!(session.get().await, (400, error(1, "Session ID unknown")), "{said:?}");
    }
    is_served(&mut bystander).await;
    server.metric_is("nodevent_connections", 1).await;
}

#[tokio::test]
async fn a_binary_message_that_nobody_announced_ends_the_connection() {
    //
    let server = socket_echo("").await;
    let mut raw = bystander(&server).await;
    raw.send(last(BINARY, b"\x00")).await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
}

#[tokio::test]
async fn a_text_where_an_attachment_is_awaited_ends_the_connection() {
    //
    let server = socket_echo("").await;
    let mut raw = bystander(&server).await;
    raw.say("451-/custom,[\"message\",{\"_placeholder\":true,\"num\":0}]").await;
    raw.say("42/custom,[\"message\"]").await;
    assert_eq!(raw.ended().await, End::Closed(Some(1008), "malformed packet".to_owned()));
}

#[tokio::test]
async fn deep_json_is_no_danger() {
    //
    let server = socket_echo("limits: {max_message_size: 1000000}").await;
    let mut bystander = bystander(&server).await;
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let mut raw = Raw::opened(&server).await;
    raw.say(&format!("40{{\"a\":{deep}}}")).await;
    assert!(raw.text().await.starts_with("40{"), "auth of any depth is text to the server");
    raw.say(&format!("42[\"nobody listens\",{deep}]")).await;
    raw.say("42[\"message\"]").await;
    assert!(raw.text().await.starts_with("42[\"auth\","));
    assert_eq!(raw.text().await, "42[\"message-back\"]");
    is_served(&mut bystander).await;
}
