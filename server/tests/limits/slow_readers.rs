//! Slow readers are disconnected, the server's memory stays bounded, and other clients are not delayed.

use crate::addresses::dial_from;
use crate::rooms::resident;
use crate::server_with_bystander::ServerWithBystander;
use crate::support::raw::{Raw, handshake};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, Request, Transport, is_full_run};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Publishes `count` messages of `size` bytes, several per request.
async fn emit_many(server: &ServerWithBystander, room: &str, count: usize, size: usize) {
    let padding = "x".repeat(size);
    let per_request = (500_000 / (size + 60)).max(1);
    let mut sent = 0;
    while sent < count {
        let batch: Vec<_> = (sent..count.min(sent + per_request))
            .map(|n| json!({"room": room, "event": "e", "message": [n, padding]}))
            .collect();
        sent += batch.len();
        let response = server.publish("/nodevent", json!(batch).to_string()).await;
        assert_eq!(response.status, 200, "{}", response.text());
    }
}

/// One browser never reads, and another one reads everything. 100,000 publications in the full run.
#[tokio::test]
async fn slow_reader_is_disconnected_without_affecting_others() {
    // N-34
    let count = if is_full_run() { 100_000 } else { 20_000 };
    let mut server = ServerWithBystander::start("/nodevent: {history: off}").await;
    let mut reader = Browser::connect(&server.site, "/nodevent", Transport::WebSocket).await;
    reader.join("r").await;
    let mut stalled = Raw::connected(&server.site, "/nodevent").await;
    stalled.send_text("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
    assert_eq!(stalled.text().await, "43/nodevent,1[null,true]");
    let before = resident(&server);
    let site = server.site.clone();
    let reading = tokio::spawn(async move {
        for n in 0..count {
            assert_eq!(reader.next_event().await.message[0], n);
        }
        reader.receives_nothing_else(&site).await;
    });
    emit_many(&server, "r", count, 1000).await;
    reading.await.unwrap();
    server.metric_is("nodevent_disconnects_total{reason=\"send_buffer_full\"}", 1).await;
    server.logs("connection closed reason=\"send_buffer_full\"").await;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 48 << 20, "the server grew by {grown} bytes");
    server.bystander_is_unaffected().await;
    drop(stalled);
}

#[tokio::test]
async fn session_that_stops_polling_is_closed_when_its_send_buffer_is_full() {
    // N-34
    let mut server = ServerWithBystander::start("limits: {send_buffer: 100KB}\n/nodevent: {history: off}").await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let open: serde_json::Value = serde_json::from_str(&server.get(path).await.text()[1..]).unwrap();
    let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let body = "40/nodevent,\u{1e}42/nodevent,1[\"join\",{\"room\":\"r\"}]";
    assert_eq!(server.send(&Request::post(&session, body)).await.text(), "ok");
    emit_many(&server, "r", 150, 1000).await;
    server.metric_is("nodevent_disconnects_total{reason=\"send_buffer_full\"}", 1).await;
    assert_eq!(server.get(&session).await.json()["message"], "Session ID unknown");
    server.bystander_is_unaffected().await;
}

/// The send buffer has space for everything; only the write timeout applies.
#[tokio::test]
async fn reader_that_stalls_for_the_write_timeout_is_disconnected() {
    let settings = "limits: {send_buffer: 200MB, write_timeout: 500ms}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let mut stalled = Raw::connected(&server.site, "/nodevent").await;
    stalled.send_text("42/nodevent,1[\"join\",{\"room\":\"r\"}]").await;
    assert_eq!(stalled.text().await, "43/nodevent,1[null,true]");
    emit_many(&server, "r", 150, 100_000).await;
    server.metric_is("nodevent_disconnects_total{reason=\"write_stalled\"}", 1).await;
    server.logs("connection closed reason=\"write_stalled\"").await;
    server.bystander_is_unaffected().await;
    drop(stalled);
}

/// The same for HTTP: the server does not keep an unread response forever.
#[tokio::test]
async fn response_that_is_not_read_times_out() {
    let settings = "limits: {send_buffer: 200MB, write_timeout: 500ms}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let path = "/socket.io/?EIO=4&transport=polling";
    let open: serde_json::Value = serde_json::from_str(&server.get(path).await.text()[1..]).unwrap();
    let session = format!("{path}&sid={}", open["sid"].as_str().unwrap());
    let body = "40/nodevent,\u{1e}42/nodevent,1[\"join\",{\"room\":\"r\"}]";
    assert_eq!(server.send(&Request::post(&session, body)).await.text(), "ok");
    emit_many(&server, "r", 150, 100_000).await;
    let mut stalled = server.dial().await;
    stalled.write_all(&Request::get(&session).encode(&server.address)).await.unwrap();
    server.metric_is("nodevent_request_timeouts_total", 1).await;
    server.logs("a response was not read in time").await;
    server.bystander_is_unaffected().await;
    drop(stalled);
}

/// Responses with a history hold what a client has not read. A client that holds more than its part gets no further one.
#[tokio::test]
async fn unread_histories_of_one_client_are_limited_and_counted() {
    let mut server = ServerWithBystander::start("/nodevent: {history: {size: 100}}").await;
    emit_many(&server, "r", 30, 450_000).await;
    let path = "/api/nodevent/rooms/r/history";
    let mut stalled = server.dial().await;
    stalled.write_all(&Request::get(path).encode(&server.address)).await.unwrap();
    let mut first = [0; 1];
    in_time("the response", stalled.read_exact(&mut first)).await.unwrap();
    let refused = server.get(path).await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")));
    server.metric_is("nodevent_overloaded_requests_total", 1).await;
    assert_eq!(server.metric("nodevent_rejected_requests_total").await, 0, "the client made no mistake");
    drop(stalled);
    until("a history is served again", async || server.get(path).await.status == 200).await;
    server.bystander_is_unaffected().await;
}

/// Each send buffer is within its limit, and all together exceed theirs. The members that read are not closed.
#[tokio::test]
async fn largest_buffers_are_closed_when_all_together_exceed_their_budget() {
    let settings = "shards: 1\nlimits: {send_buffer: 50MB, send_buffers_total: 20MB, write_timeout: 60s}\n\
                    /nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let mut reader = Browser::connect(&server.site, "/nodevent", Transport::WebSocket).await;
    reader.join("room-0").await;
    let mut stalled = Vec::new();
    for number in 0..4 {
        let mut raw = Raw::connected(&server.site, "/nodevent").await;
        raw.send_text(&format!("42/nodevent,1[\"join\",{{\"room\":\"room-{number}\"}}]")).await;
        assert_eq!(raw.text().await, "43/nodevent,1[null,true]");
        stalled.push(raw);
    }
    for number in 0..4 {
        emit_many(&server, &format!("room-{number}"), 150, 100_000).await;
        // What waits for both members of a room counts once, and is within the budget.
        for n in 0..if number == 0 { 150 } else { 0 } {
            assert_eq!(reader.next_event().await.message[0], n);
        }
    }
    // Nothing happens any more that would wake the shard: the scan does.
    server.logs("connection closed reason=\"send_buffers_full\"").await;
    let closed = server.metric("nodevent_disconnects_total{reason=\"send_buffers_full\"}").await;
    assert!((1..=4).contains(&closed), "{closed}");
    server.bystander_is_unaffected().await;
    drop(stalled);
}

/// A response with a history that is not read counts as a connection until it is.
#[tokio::test]
async fn unread_history_counts_as_a_connection() {
    let settings = "limits: {max_connections: 3, max_http_connections: 100}\n/nodevent: {history: {size: 100}}";
    let mut server = ServerWithBystander::start(settings).await;
    emit_many(&server, "large", 100, 90_000).await;
    let history = Request::get("/api/nodevent/rooms/large/history");
    let mut unread = Vec::new();
    for _ in 0..2 {
        let mut stream = server.dial().await;
        stream.write_all(&history.encode(&server.address)).await.unwrap();
        let mut head = [0; 12];
        in_time("the response begins", stream.read_exact(&mut head)).await.unwrap();
        unread.push(stream);
    }
    let handshake = "/socket.io/?EIO=4&transport=polling";
    assert_eq!(server.get(handshake).await.status, 503);
    server.bystander_is_unaffected().await;
    drop(unread);
    until("there is room again", async || server.get(handshake).await.status == 200).await;
}

/// One address has many buffers of middle size, another one has the largest of all. The budget is exceeded because of the
/// first, so its connections are closed.
#[tokio::test]
async fn connections_of_the_address_with_the_most_are_closed_first() {
    let settings = "shards: 1\nlimits: {send_buffer: 50MB, send_buffers_total: 24MB, write_timeout: 60s}\n\
                    /nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let mut stalled = Vec::new();
    for number in 0..11 {
        let mut stream = dial_from(&server, [127, 0, 0, if number == 0 { 8 } else { 7 }]).await;
        stream.write_all(&handshake(&server.address, "")).await.unwrap();
        let mut raw = Raw::after_handshake(stream).await;
        assert!(raw.text().await.starts_with('0'));
        raw.send_text("40/nodevent,").await;
        assert!(raw.text().await.starts_with("40/nodevent,"));
        raw.send_text(&format!("42/nodevent,1[\"join\",{{\"room\":\"room-{number}\"}}]")).await;
        assert_eq!(raw.text().await, "43/nodevent,1[null,true]");
        stalled.push(raw);
    }
    for number in 0..11 {
        let count = if number == 0 { 120 } else { 80 };
        emit_many(&server, &format!("room-{number}"), count, 100_000).await;
    }
    let line = server.logs("connection closed reason=\"send_buffers_full\"").await;
    assert!(line.contains("127.0.0.7"), "{line}");
    let mut other = stalled.swap_remove(0);
    for number in 0..120 {
        assert!(other.text().await.contains(&format!("\"message\":[{number},")), "{number}");
    }
    server.bystander_is_unaffected().await;
    drop(stalled);
}
