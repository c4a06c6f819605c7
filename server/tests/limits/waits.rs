//! Unfinished upgrades, connections that never enter a namespace, and too many connections.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::raw::{End, Raw, handshake_request};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn unfinished_upgrade_is_closed_and_its_session_continues() {
    let mut server = ServerWithBystander::start("limits: {request_timeout: 300ms}\n/nodevent: {}").await;
    for (attempt, first) in [None, Some("2probe")].into_iter().enumerate() {
        let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
        let session = format!("&sid={}", open["sid"].as_str().unwrap());
        let mut raw = Raw::open(&server.site, &session).await;
        if let Some(first) = first {
            raw.send_text(first).await;
            assert_eq!(raw.text().await, "3probe");
        }
        let timeout = End::Closed(Some(1008), "upgrade timeout".to_owned());
        assert_eq!(raw.ended().await, timeout);
        server.metric_is("nodevent_upgrade_timeouts_total", attempt as i64 + 1).await;
        server.logs("an upgrade to WebSocket timed out").await;
        let post = crate::support::Request::post(&format!("{POLLING}{session}"), "40/nodevent,");
        assert_eq!(server.send(&post).await.text(), "ok");
        assert!(server.get(&format!("{POLLING}{session}")).await.text().starts_with("40/nodevent,"));
    }
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn connections_that_never_enter_a_namespace_are_closed_with_a_reason() {
    let mut server = ServerWithBystander::start("limits: {connect_timeout: 400ms}\n/nodevent: {}").await;
    let mut raws = Vec::new();
    for _ in 0..50 {
        raws.push(Raw::opened(&server.site).await);
    }
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let polled = server.get(&format!("{POLLING}&sid={}", open["sid"].as_str().unwrap())).await;
    assert_eq!(polled.text(), "1");
    for raw in &mut raws {
        let timeout = End::Closed(Some(1008), "no namespace or room joined in time".to_owned());
        assert_eq!(raw.ended().await, timeout);
    }
    server.metric_is("nodevent_disconnects_total{reason=\"connect_timeout\"}", 51).await;
    server.logs("connection closed reason=\"connect_timeout\"").await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn connection_beyond_the_limit_gets_503() {
    let mut server = ServerWithBystander::start("limits: {max_connections: 3}\n/nodevent: {}").await;
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let session = format!("&sid={}", open["sid"].as_str().unwrap());
    let third = Raw::connected(&server.site, "/nodevent").await;
    server.metric_is("nodevent_connections", 3).await;
    let websocket = handshake_request("");
    for response in
        [server.get(POLLING).await, server.send(&websocket).await, server.get("/api/nodevent/rooms/r/events").await]
    {
        assert_eq!(response.status, 503);
        assert!(response.text().contains("busy"), "{}", response.text());
    }
    server.metric_is("nodevent_rejected_connections_total", 3).await;
    server.logs("connection refused: `limits: max_connections` is reached").await;
    // Existing connections stay, and may upgrade.
    let mut upgrading = Raw::open(&server.site, &session).await;
    upgrading.send_text("2probe").await;
    assert_eq!(upgrading.text().await, "3probe");
    upgrading.send_text("5").await;
    upgrading.send_text("40/nodevent,").await;
    assert!(upgrading.text().await.starts_with("40/nodevent,"));
    drop(third);
    server.metric_is("nodevent_connections", 2).await;
    Raw::connected(&server.site, "/nodevent").await;
    server.bystander_is_unaffected().await;
}
