//! Upgrades from long-polling to WebSocket, during delivery and at any moment.

use crate::support::{Browser, TestServer, Transport};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

#[tokio::test]
async fn browser_that_upgrades_stays_in_its_rooms() {
    let server = TestServer::start("/nodevent: {}").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::Polling).await;
    assert_eq!(browser.handshake["upgrades"], json!(["websocket"]));
    browser.join("r").await;
    server.emit("/nodevent", "r", "e", "polled").await;
    assert_eq!(browser.next_event().await.message, "polled");
    browser.upgrade(&[]).await;
    server.emit("/nodevent", "r", "e", "pushed").await;
    assert_eq!(browser.next_event().await.message, "pushed");
    browser.join("s").await;
    server.emit("/nodevent", "s", "e", "joined later").await;
    assert_eq!(browser.next_event().await.message, "joined later");
    browser.receives_nothing_else(&server).await;
    assert_eq!(server.metric("nodevent_connections_opened_total").await, 1);
}

/// Packets after the last packet of an upgrade arrive in the same read.
#[tokio::test]
async fn packets_right_after_the_upgrade_packet_are_not_lost() {
    let server = TestServer::start("/nodevent: {}").await;
    for _ in 0..20 {
        let mut browser = Browser::connect(&server, "/nodevent", Transport::Polling).await;
        let joins = ["a", "b"].map(|room| browser.event_packet("", "join", &[json!({"room": room})]));
        browser.upgrade(&[&joins[0], &joins[1]]).await;
        browser.join("c").await;
        for room in ["a", "b", "c"] {
            server.emit("/nodevent", room, "e", room).await;
            assert_eq!(browser.next_event().await.message, room);
        }
    }
}

/// A publisher publishes continuously while browsers, one after the other, connect by polling, join, and upgrade to
/// WebSocket. Each receives a sequence without gaps and duplicates from its first publication to the last.
#[tokio::test]
async fn upgrade_during_delivery_loses_and_duplicates_nothing() {
    let server = TestServer::start("/nodevent: {}").await;
    let (site, stop) = (server.site(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let publisher = tokio::spawn(async move {
        let mut n = 0_u64;
        while !stopped.load(SeqCst) {
            let some: Vec<_> = (n..n + 5).map(|n| json!({"room": "r", "event": "e", "message": n})).collect();
            assert_eq!(site.publish("/nodevent", json!(some).to_string()).await.status, 200);
            n += 5;
        }
        site.emit("/nodevent", "r", "last", n).await;
    });
    let mut browsers = Vec::new();
    for _ in 0..15 {
        let mut browser = Browser::connect(&server, "/nodevent", Transport::Polling).await;
        browser.join("r").await;
        let mut next = browser.next_event().await.message.as_u64().unwrap() + 1;
        for _ in 0..20 {
            assert_eq!(browser.next_event().await.message, next);
            next += 1;
        }
        browser.upgrade(&[]).await;
        for _ in 0..20 {
            assert_eq!(browser.next_event().await.message, next);
            next += 1;
        }
        browsers.push((browser, next));
    }
    stop.store(true, SeqCst);
    publisher.await.unwrap();
    for (mut browser, mut next) in browsers {
        loop {
            let event = browser.next_event().await;
            assert_eq!(event.message, next);
            if event.event == "last" {
                break;
            }
            next += 1;
        }
        browser.receives_nothing_else(&server).await;
    }
}

#[tokio::test]
async fn abandoned_upgrade_leaves_the_session_on_polling() {
    let server = TestServer::start("/nodevent: {}").await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::Polling).await;
    browser.join("r").await;
    for packets in [&[][..], &["2probe"], &["5"], &["2probe", "2probe"]] {
        browser.probe_and_abandon(packets).await;
        server.emit("/nodevent", "r", "e", packets.len()).await;
        assert_eq!(browser.next_event().await.message, packets.len(), "{packets:?}");
    }
    browser.upgrade(&[]).await;
    server.emit("/nodevent", "r", "e", "pushed").await;
    assert_eq!(browser.next_event().await.message, "pushed");
}
