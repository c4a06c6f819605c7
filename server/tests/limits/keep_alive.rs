//! How long an HTTP connection is kept open: between requests for `keep_alive_timeout`, within a head for
//! `request_timeout`.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::wait::in_time;
use crate::support::{Request, Response};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SHORT_HEAD: &str = "limits: {request_timeout: 200ms, keep_alive_timeout: 60s}\n/nodevent: {history: off}";
const POLLING: &str = "/socket.io/?EIO=4&transport=polling";

/// Waits three times as long as a head may take: until three unused connections are closed, one after the other.
async fn heads_time_out(server: &ServerWithBystander) {
    for _ in 0..3 {
        let mut unused = server.dial().await;
        in_time("the end", unused.read_to_end(&mut Vec::new())).await.unwrap();
    }
}

#[tokio::test]
async fn idle_connection_outlives_the_timeout_of_a_head() {
    let mut server = ServerWithBystander::start(SHORT_HEAD).await;
    let mut kept = server.dial().await;
    for _ in 0..2 {
        let response = Request::get("/healthz").exchange(&mut kept, &server.address).await;
        assert_eq!(response.unwrap().status, 200);
        heads_time_out(&server).await;
    }
    let response = Request::get("/api/nodevent").exchange(&mut kept, &server.address).await;
    assert_eq!(response.unwrap().status, 200, "it is still open");
    assert_eq!(server.metric("nodevent_request_timeouts_total").await, 0);
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn later_request_has_the_timeout_of_a_head_from_its_first_byte() {
    let mut server = ServerWithBystander::start(SHORT_HEAD).await;
    let mut kept = server.dial().await;
    Request::get("/healthz").exchange(&mut kept, &server.address).await.unwrap();
    heads_time_out(&server).await;
    kept.write_all(b"GET /healthz HTTP/1.1\r\nX-Never-Complete: ").await.unwrap();
    let response = in_time("a response", Response::read(&mut kept, false)).await.unwrap();
    assert_eq!(response.status, 408);
    let mut rest = Vec::new();
    in_time("the end", kept.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
    server.metric_is("nodevent_request_timeouts_total", 1).await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn idle_connection_is_closed_after_its_own_timeout() {
    let limits = "limits: {request_timeout: 60s, keep_alive_timeout: 200ms}\n/nodevent: {}";
    let mut server = ServerWithBystander::start(limits).await;
    let mut kept = server.dial().await;
    for path in ["/healthz", "/api/nodevent", "/nowhere"] {
        Request::get(path).exchange(&mut kept, &server.address).await.unwrap();
    }
    let mut rest = Vec::new();
    in_time("the end", kept.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"", "it is closed silently");
    assert_eq!(server.metric("nodevent_request_timeouts_total").await, 0);
    server.bystander_is_unaffected().await;
}

/// A poll may wait for longer than both timeouts, and so may the response to a request that was sent in advance.
#[tokio::test]
async fn request_in_service_has_neither_timeout() {
    let limits = "limits: {request_timeout: 200ms, keep_alive_timeout: 200ms}\n/nodevent: {history: off}";
    let mut server = ServerWithBystander::start(limits).await;
    let open: serde_json::Value = serde_json::from_str(&server.get(POLLING).await.text()[1..]).unwrap();
    let session = format!("{POLLING}&sid={}", open["sid"].as_str().unwrap());
    for packet in ["40/nodevent,", "42/nodevent,0[\"join\",{\"room\":\"r\"}]"] {
        assert_eq!(server.send(&Request::post(&session, packet)).await.status, 200);
        assert!(server.get(&session).await.text().starts_with('4'));
    }
    let mut kept = server.dial().await;
    let mut requests = Request::get(&session).encode(&server.address);
    requests.extend(Request::get("/healthz").encode(&server.address));
    kept.write_all(&requests).await.unwrap();
    heads_time_out(&server).await;
    server.emit("/nodevent", "r", "e", 1).await;
    let mut received = Vec::new();
    in_time("two responses and the end", kept.read_to_end(&mut received)).await.unwrap();
    let received = String::from_utf8(received).unwrap();
    assert!(received.contains("42/nodevent,"), "{received}");
    assert_eq!(received.matches("HTTP/1.1 200 OK").count(), 2, "{received}");
    assert_eq!(server.metric("nodevent_request_timeouts_total").await, 0);
    server.bystander_is_unaffected().await;
}
