//! Server-Sent Events: the same limits and origin checks as on the other transports.

use crate::rooms::resident;
use crate::server_with_bystander::ServerWithBystander;
use crate::support::http::Io;
use crate::support::keys::{LATER, key};
use crate::support::wait::in_time;
use crate::support::{Request, Response};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const EVENTS: &str = "/api/nodevent/rooms/r/events";

/// Opens an event stream, and reads until it has joined the room.
async fn open_stream(server: &ServerWithBystander) -> Box<dyn Io> {
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

async fn fill(server: &ServerWithBystander, count: usize, size: usize) {
    let publication = json!({"room": "r", "event": "e", "message": "x".repeat(size)});
    for _ in 0..count {
        assert_eq!(server.publish("/nodevent", publication.to_string()).await.status, 200);
    }
}

#[tokio::test]
async fn event_stream_that_is_not_read_is_closed_when_its_send_buffer_is_full() {
    // N-34
    let mut server = ServerWithBystander::start("limits: {send_buffer: 1MB}\n/nodevent: {history: off}").await;
    let stalled = open_stream(&server).await;
    fill(&server, 100, 200_000).await;
    server.metric_is("nodevent_disconnects_total{reason=\"send_buffer_full\"}", 1).await;
    server.logs("connection closed reason=\"send_buffer_full\"").await;
    server.bystander_is_unaffected().await;
    drop(stalled);
}

#[tokio::test]
async fn stalled_event_stream_is_closed_after_the_write_timeout() {
    let settings = "limits: {send_buffer: 200MB, write_timeout: 500ms}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let stalled = open_stream(&server).await;
    fill(&server, 60, 200_000).await;
    server.metric_is("nodevent_request_timeouts_total", 1).await;
    server.logs("a response was not read in time").await;
    server.metric_is("nodevent_connections", 1).await;
    server.bystander_is_unaffected().await;
    drop(stalled);
}

#[tokio::test]
async fn closed_event_stream_leaves_nothing_behind() {
    let mut server = ServerWithBystander::start("/nodevent: {history: off}").await;
    let reader = open_stream(&server).await;
    server.metric_is("nodevent_connections", 2).await;
    drop(reader);
    server.metric_is("nodevent_connections", 1).await;
    server.metric_is("nodevent_rooms", 1).await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn look_alike_origin_cannot_read_rooms() {
    // N-21
    let mut server = ServerWithBystander::start("origins: [\"https://example.com\"]\n/nodevent: {}").await;
    for origin in ["https://example.com.evil.tld", "https://evilexample.com", "http://127.0.0.1.evil.tld", "null"] {
        for view in ["events", "history"] {
            let request = Request::get(&format!("/api/nodevent/rooms/r/{view}")).header("Origin", origin);
            let response = server.send(&request).await;
            assert_eq!(response.status, 403, "{origin}");
            assert_eq!(response.header("access-control-allow-origin"), None, "{origin}");
        }
    }
    server.metric_is("nodevent_rejected_origins_total", 8).await;
    server.logs("request rejected for its origin").await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn event_stream_is_refused_with_the_reason_of_a_join() {
    // N-52
    let secret = "a secret of more than sixteen bytes";
    let mut server = ServerWithBystander::start(&format!("/nodevent: {{}}\n/secured: {{secret: {secret}}}")).await;
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
    server.metric_is("nodevent_rejected_joins_total", 4).await;
    server.logs("join rejected namespace=\"/secured\" reason=\"Bad key\"").await;
    server.bystander_is_unaffected().await;
}

/// Readers that read nothing share the publications that wait for them.
#[tokio::test]
async fn stalled_event_streams_hold_no_copies_of_publications() {
    const READERS: usize = 100;
    let settings = "limits: {write_timeout: 60s, send_buffer: 20MB}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(settings).await;
    let mut readers = Vec::new();
    for _ in 0..READERS {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut stream = socket.connect(server.address.parse().unwrap()).await.unwrap();
        stream.write_all(&Request::get(EVENTS).encode(&server.address)).await.unwrap();
        let mut bytes = Vec::new();
        in_time("the first event", async {
            while !String::from_utf8_lossy(&bytes).contains("event: joined") {
                stream.read_buf(&mut bytes).await.unwrap();
            }
        })
        .await;
        readers.push(stream);
    }
    let before = resident(&server);
    fill(&server, 6, 900_000).await;
    server.bystander_is_unaffected().await;
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 40 << 20, "the server grew by {grown} bytes for {READERS} readers");
    server.metric_is("nodevent_connections", READERS as i64 + 1).await;
}
