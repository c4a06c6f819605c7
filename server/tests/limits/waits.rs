//! Upgrades that are never finished, and connections that never enter a namespace.

use crate::guarded::Guarded;
use crate::support::raw::{End, Raw};

const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn an_upgrade_that_is_not_finished_is_told_so_and_its_session_goes_on() {
    let mut server = Guarded::start("limits: {handshake: 300ms}\n/nodevent: {}").await;
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
    let mut server = Guarded::start("limits: {connect: 400ms}\n/nodevent: {}").await;
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
    server.counts("nodevent_closes_total{reason=\"connect_timeout\"}", 51).await;
    server.logs("a connection was closed reason=\"connect_timeout\"").await;
    server.harmed_nobody_else().await;
}
