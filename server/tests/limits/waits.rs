//! Upgrades that are never finished, connections that never enter a namespace, and more of them than there may be.

use crate::guarded::Guarded;
use crate::support::raw::{End, Raw};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn an_upgrade_that_is_not_finished_is_told_so_and_its_session_goes_on() {
    let mut server = Guarded::start("limits: {handshake_timeout: 300ms}\n/nodevent: {}").await;
    for (attempt, first) in [None, Some("2probe")].into_iter().enumerate() {
        let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
        let session = format!("&sid={}", open["sid"].as_str().unwrap());
        let mut raw = Raw::open(&server.site, &session).await;
        if let Some(first) = first {
            raw.say(first).await;
            assert_eq!(raw.text().await, "3probe");
        }
        let told = End::Closed(Some(1008), "the upgrade was not finished in time".to_owned());
        assert_eq!(raw.ended().await, told);
        server.counts("nodevent_upgrade_timeouts_total", attempt as i64 + 1).await;
        server.logs("an upgrade to WebSocket was not finished in time").await;
        let post = crate::support::Request::post(&format!("{POLLING}{session}"), "40/nodevent,");
        assert_eq!(server.send(&post).await.text(), "ok");
        assert!(server.get(&format!("{POLLING}{session}")).await.text().starts_with("40/nodevent,"));
    }
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn connections_that_never_enter_a_namespace_are_told_so_and_closed() {
    let mut server = Guarded::start("limits: {connect_timeout: 400ms}\n/nodevent: {}").await;
    let mut raws = Vec::new();
    for _ in 0..50 {
        raws.push(Raw::opened(&server.site).await);
    }
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let polled = server.get(&format!("{POLLING}&sid={}", open["sid"].as_str().unwrap())).await;
    assert_eq!(polled.text(), "1");
    for raw in &mut raws {
        let told = End::Closed(Some(1008), "no namespace connected in time".to_owned());
        assert_eq!(raw.ended().await, told);
    }
    server.counts("nodevent_disconnects_total{reason=\"connect_timeout\"}", 51).await;
    server.logs("a connection was closed reason=\"connect_timeout\"").await;
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn who_comes_when_there_are_as_many_as_there_may_be_is_told_to_come_later() {
    let mut server = Guarded::start("limits: {max_connections: 3}\n/nodevent: {}").await;
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let session = format!("&sid={}", open["sid"].as_str().unwrap());
    let third = Raw::connected(&server.site, "/nodevent").await;
    server.counts("nodevent_connections", 3).await;
    let websocket = crate::support::Request::get("/socket.io/?EIO=4&transport=websocket")
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    for response in
        [server.get(POLLING).await, server.send(&websocket).await, server.get("/api/nodevent/rooms/r/events").await]
    {
        assert_eq!(response.status, 503);
        assert!(response.text().contains("busy"), "{}", response.text());
    }
    server.counts("nodevent_rejected_connections_total", 3).await;
    server.logs("a connection was refused: there are as many as `limits: max_connections` allows").await;
    // Who is in stays in, and may change its transport.
    let mut upgrading = Raw::open(&server.site, &session).await;
    upgrading.say("2probe").await;
    assert_eq!(upgrading.text().await, "3probe");
    upgrading.say("5").await;
    upgrading.say("40/nodevent,").await;
    assert!(upgrading.text().await.starts_with("40/nodevent,"));
    drop(third);
    server.counts("nodevent_connections", 2).await;
    Raw::connected(&server.site, "/nodevent").await;
    server.harmed_nobody_else().await;
}
