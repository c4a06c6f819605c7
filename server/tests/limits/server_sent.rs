//! Server-Sent Events: the same limits and the same origins as for the other transports.

use crate::guarded::Guarded;
use crate::support::http::Io;
use crate::support::keys::{LATER, key};
use crate::support::wait::in_time;
use crate::support::{Request, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const EVENTS: &str = "/api/nodevent/rooms/r/events";

/// Begins to listen, and has heard that it is in the room.
async fn listening(server: &Guarded) -> Box<dyn Io> {
    let mut stream = server.dial().await;
    stream.write_all(&Request::get(EVENTS).encode(&server.address)).await.unwrap();
    let mut bytes = Vec::new();
    in_time("the first event", async {
        while !String::from_utf8_lossy(&bytes).contains("event: joined") {
            stream.read_buf(&mut bytes).await.unwrap();
        }
    })
    .await;
    stream
}

async fn fill(server: &Guarded, count: usize, size: usize) {
    let publication = json!({"room": "r", "event": "e", "message": "x".repeat(size)});
    for _ in 0..count {
        assert_eq!(server.publish("/nodevent", publication.to_string()).await.status, 200);
    }
}

#[tokio::test]
async fn a_reader_that_does_not_read_is_cut_at_its_outbox() {
    // N-34
    let mut server = Guarded::start("limits: {send_buffer: 1MB}\n/nodevent: {history: off}").await;
    let asleep = listening(&server).await;
    fill(&server, 100, 200_000).await;
    server.counts("nodevent_disconnects_total{reason=\"send_buffer_full\"}", 1).await;
    server.logs("a connection was closed reason=\"send_buffer_full\"").await;
    server.harmed_nobody_else().await;
    drop(asleep);
}

#[tokio::test]
async fn a_reader_that_stands_still_is_cut_after_the_write_stall_time() {
    let settings = "limits: {send_buffer: 200MB, write_timeout: 500ms}\n/nodevent: {history: off}";
    let mut server = Guarded::start(settings).await;
    let asleep = listening(&server).await;
    fill(&server, 60, 200_000).await;
    server.counts("nodevent_request_timeouts_total", 1).await;
    server.logs("a response was not read in time").await;
    server.counts("nodevent_connections", 1).await;
    server.harmed_nobody_else().await;
    drop(asleep);
}

#[tokio::test]
async fn a_reader_that_goes_is_forgotten() {
    let mut server = Guarded::start("/nodevent: {history: off}").await;
    let reader = listening(&server).await;
    server.counts("nodevent_connections", 2).await;
    drop(reader);
    server.counts("nodevent_connections", 1).await;
    server.counts("nodevent_rooms", 1).await;
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_page_that_only_looks_like_ours_may_not_listen() {
    // N-21
    let mut server = Guarded::start("origins: [\"https://example.com\"]\n/nodevent: {}").await;
    for origin in ["https://example.com.evil.tld", "https://evilexample.com", "http://127.0.0.1.evil.tld", "null"] {
        for view in ["events", "history"] {
            let request = Request::get(&format!("/api/nodevent/rooms/r/{view}")).header("Origin", origin);
            let response = server.send(&request).await;
            assert_eq!(response.status, 403, "{origin}");
            assert_eq!(response.header("access-control-allow-origin"), None, "{origin}");
        }
    }
    server.counts("nodevent_rejected_origins_total", 8).await;
    server.logs("a room was refused for the page's origin").await;
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_room_without_its_key_or_with_too_long_a_name_is_refused_by_name() {
    // N-52
    let secret = "a secret of more than sixteen bytes";
    let mut server = Guarded::start(&format!("/nodevent: {{}}\n/secured: {{secret: {secret}}}")).await;
    let refused = async |room: &str, query: &str| -> Response {
        server.get(&format!("/api/secured/rooms/{room}/events{query}")).await
    };
    let good = key("r", LATER, secret);
    for (response, expected) in [
        (refused("r", "").await, "Must provide key"),
        (refused("r", "?key=nonsense").await, "Bad sig"),
        (refused("s", &format!("?key={good}")).await, "Bad key"),
        (refused(&"x".repeat(256), &format!("?key={good}")).await, "Bad room"),
    ] {
        assert_eq!(response.status, 403, "{expected}");
        assert_eq!(response.json()["error"], expected);
    }
    server.counts("nodevent_rejected_joins_total", 4).await;
    server.logs("a join was refused namespace=\"/secured\" reason=\"Bad key\"").await;
    server.harmed_nobody_else().await;
}
