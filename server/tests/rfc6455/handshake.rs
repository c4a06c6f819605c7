//! RFC 6455, section 4.2: what a handshake must look like, and how it is answered.

use crate::echo::echo;
use crate::support::{Request, TestServer};

const PATH: &str = "/socket.io/?EIO=4&transport=websocket";

fn handshake() -> Request {
    Request::get(PATH)
        .header("Connection", "keep-alive, Upgrade")
        .header("Upgrade", "WebSocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

fn without(name: &str) -> Request {
    let mut request = handshake();
    request.headers.retain(|(one, _)| one != name);
    request
}

async fn answer(server: &TestServer, request: &Request) -> (u16, String) {
    let mut stream = server.dial().await;
    let response = request.exchange(&mut stream, &server.address).await.expect("an answer");
    (response.status, response.text())
}

#[tokio::test]
async fn the_answer_is_that_of_the_rfc() {
    let server = echo().await;
    let mut stream = server.dial().await;
    let response = handshake().exchange(&mut stream, &server.address).await.expect("an answer");
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("connection"), Some("Upgrade"));
    assert_eq!(response.header("sec-websocket-extensions"), None, "none was agreed on");
    assert_eq!(response.header("sec-websocket-protocol"), None);
}

#[tokio::test]
async fn extensions_and_subprotocols_that_are_offered_are_not_agreed_on() {
    let server = echo().await;
    let request = handshake()
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .header("Sec-WebSocket-Protocol", "chat, superchat");
    let mut stream = server.dial().await;
    let response = request.exchange(&mut stream, &server.address).await.expect("an answer");
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), None);
    assert_eq!(response.header("sec-websocket-protocol"), None);
}

#[tokio::test]
async fn a_version_other_than_13_is_told_which_is_spoken() {
    let server = echo().await;
    for request in
        [without("Sec-WebSocket-Version"), without("Sec-WebSocket-Version").header("Sec-WebSocket-Version", "8")]
    {
        let response = server.send(&request).await;
        assert_eq!(response.status, 426);
        assert_eq!(response.header("sec-websocket-version"), Some("13"));
        assert!(response.text().contains("version 13"));
    }
}

#[tokio::test]
async fn a_key_that_is_missing_or_none_is_refused_by_name() {
    let server = echo().await;
    let key = |key: &str| without("Sec-WebSocket-Key").header("Sec-WebSocket-Key", key);
    for request in
        [without("Sec-WebSocket-Key"), key(""), key("short"), key("dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ==")]
    {
        let (status, text) = answer(&server, &request).await;
        assert_eq!(status, 400, "{request:?}");
        assert!(text.contains("Sec-WebSocket-Key"), "{text}");
    }
    assert_eq!(server.metric("nodevent_rejected_requests_total").await, 4);
}

#[tokio::test]
async fn a_request_that_asks_for_no_upgrade_is_a_bad_request() {
    let server = echo().await;
    for request in [without("Upgrade"), without("Connection")] {
        assert_eq!(answer(&server, &request).await, (400, r#"{"code":3,"message":"Bad request"}"#.to_owned()));
    }
}
