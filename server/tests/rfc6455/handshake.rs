//! RFC 6455, section 4.2: valid and invalid handshakes, and the responses.

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

async fn response(server: &TestServer, request: &Request) -> (u16, String) {
    let mut stream = server.dial().await;
    let response = request.exchange(&mut stream, &server.address).await.expect("a response");
    (response.status, response.text())
}

#[tokio::test]
async fn handshake_response_is_the_one_of_the_rfc() {
    let server = echo().await;
    let mut stream = server.dial().await;
    let response = handshake().exchange(&mut stream, &server.address).await.expect("a response");
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("connection"), Some("Upgrade"));
    assert_eq!(response.header("sec-websocket-extensions"), None, "no extension was accepted");
    assert_eq!(response.header("sec-websocket-protocol"), None);
}

#[tokio::test]
async fn offered_extensions_and_subprotocols_are_not_accepted() {
    let server = echo().await;
    let request = handshake()
        .header("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits")
        .header("Sec-WebSocket-Protocol", "chat, superchat");
    let mut stream = server.dial().await;
    let response = request.exchange(&mut stream, &server.address).await.expect("a response");
    assert_eq!(response.status, 101);
    assert_eq!(response.header("sec-websocket-extensions"), None);
    assert_eq!(response.header("sec-websocket-protocol"), None);
}

#[tokio::test]
async fn version_other_than_13_gets_426_with_the_supported_version() {
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
async fn missing_or_invalid_key_is_refused_with_its_reason() {
    let server = echo().await;
    let key = |key: &str| without("Sec-WebSocket-Key").header("Sec-WebSocket-Key", key);
    for request in
        [without("Sec-WebSocket-Key"), key(""), key("short"), key("dGhlIHNhbXBsZSBub25jZSBhbmQgbW9yZQ==")]
    {
        let (status, text) = response(&server, &request).await;
        assert_eq!(status, 400, "{request:?}");
        assert!(text.contains("Sec-WebSocket-Key"), "{text}");
    }
    assert_eq!(server.metric("nodevent_rejected_requests_total").await, 4);
}

#[tokio::test]
async fn request_without_an_upgrade_is_a_bad_request() {
    let server = echo().await;
    for request in [without("Upgrade"), without("Connection")] {
        assert_eq!(response(&server, &request).await, (400, r#"{"code":3,"message":"Bad request"}"#.to_owned()));
    }
}
