//! Whoever reads too slowly, or not at all, is cut; the server does not grow, and nobody else waits.

use crate::guarded::Guarded;
use crate::rooms::resident;
use crate::support::raw::Raw;
use crate::support::{Browser, Request, Transport};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

/// Emits so many messages of `size` bytes, in portions that one request carries.
async fn emit_many(server: &Guarded, room: &str, count: usize, size: usize) {
    let filling = "x".repeat(size);
    let per_request = (500_000 / (size + 60)).max(1);
    let mut sent = 0;
    while sent < count {
        let portion: Vec<_> = (sent..count.min(sent + per_request))
            .map(|n| json!({"room": room, "event": "e", "message": [n, filling]}))
            .collect();
        sent += portion.len();
        let response = server.publish("/nodevent", json!(portion).to_string()).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

/// A browser that never reads, and one that reads everything. A hundred thousand publications in the full run.
#[tokio::test]
async fn who_stops_reading_is_cut_at_its_outbox_and_nobody_else_misses_anything() {
    // N-34
    let count = if std::env::var_os("NODEVENT_FULL").is_some() { 100_000 } else { 20_000 };
    let mut server = Guarded::start("/nodevent: {history: off}").await;
    let mut reader = Browser::connect(&server.site, "/nodevent", Transport::WebSocket).await;
    reader.join("r").await;
    let mut asleep = Raw::connected(&server.site, "/nodevent").await;
    asleep.say("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
    assert_eq!(asleep.text().await, "43/nodevent,1[null,true]");
    let before = resident(&server);
    let site = server.site.clone();
    let reading = tokio::spawn(async move {
        for n in 0..count {
            assert_eq!(reader.next_event().await.message[0], n);
        }
        reader.hears_nothing_else(&site).await;
    });
    emit_many(&server, "r", count, 1000).await;
    reading.await.unwrap();
    server.counts("nodevent_disconnects_total{reason=\"send_buffer_full\"}", 1).await;
    server.logs("a connection was closed reason=\"send_buffer_full\"").await;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 48 << 20, "the server has grown by {grown} bytes");
    server.harmed_nobody_else().await;
    drop(asleep);
}

#[tokio::test]
async fn a_session_that_does_not_poll_is_cut_at_its_outbox_too() {
    // N-34
    let mut server = Guarded::start("limits: {send_buffer: 100KB}\n/nodevent: {history: off}").await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let open: serde_json::Value = serde_json::from_str(&server.get(path).await.text()[1..]).unwrap();
    let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let body = "40/nodevent,\u{1e}42/nodevent,1[\"join\",{\"room\":\"r\"}]";
    assert_eq!(server.send(&Request::post(&session, body)).await.text(), "ok");
    emit_many(&server, "r", 150, 1000).await;
    server.counts("nodevent_disconnects_total{reason=\"send_buffer_full\"}", 1).await;
    assert_eq!(server.get(&session).await.json()["message"], "Session ID unknown");
    server.harmed_nobody_else().await;
}

/// The outbox is large enough for all of it; it is the standing still that is not waited for.
#[tokio::test]
async fn who_reads_nothing_for_the_write_stall_time_is_cut() {
    let settings = "limits: {send_buffer: 200MB, write_timeout: 500ms}\n/nodevent: {history: off}";
    let mut server = Guarded::start(settings).await;
    let mut asleep = Raw::connected(&server.site, "/nodevent").await;
    asleep.say("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
    assert_eq!(asleep.text().await, "43/nodevent,1[null,true]");
    emit_many(&server, "r", 150, 100_000).await;
    server.counts("nodevent_disconnects_total{reason=\"write_stalled\"}", 1).await;
    server.logs("a connection was closed reason=\"write_stalled\"").await;
    server.harmed_nobody_else().await;
    drop(asleep);
}

/// The same below HTTP: a response that nobody reads is not kept for ever.
#[tokio::test]
async fn a_response_that_nobody_reads_is_given_up() {
    let settings = "limits: {send_buffer: 200MB, write_timeout: 500ms}\n/nodevent: {history: off}";
    let mut server = Guarded::start(settings).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let open: serde_json::Value = serde_json::from_str(&server.get(path).await.text()[1..]).unwrap();
    let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let body = "40/nodevent,\u{1e}42/nodevent,1[\"join\",{\"room\":\"r\"}]";
    assert_eq!(server.send(&Request::post(&session, body)).await.text(), "ok");
    emit_many(&server, "r", 150, 100_000).await;
    let mut asleep = server.dial().await;
    asleep.write_all(&Request::get(&session).encode(&server.address)).await.unwrap();
    server.counts("nodevent_request_timeouts_total", 1).await;
    server.logs("a response was not read in time").await;
    server.harmed_nobody_else().await;
    drop(asleep);
}
