//! Session handshakes, and the error code and body of every invalid request.

use crate::session::{POLLING, Session, engine_echo, error};
use crate::support::raw::Raw;
use crate::support::{Browser, Request, TestServer, Transport};
use serde_json::json;

const SETTINGS: &str = "limits: {max_message_size: 1000000}\nping: {interval: 300ms, timeout: 200ms}";

#[tokio::test]
async fn open_packet_carries_the_session_parameters() {
    //
    let server = engine_echo(SETTINGS).await;
    for (transport, upgrades) in [(Transport::Polling, json!(["websocket"])), (Transport::WebSocket, json!([]))] {
        let mut handshake = Browser::open(&server, transport).await.handshake;
        let sid = handshake["sid"].take();
        assert!(sid.as_str().is_some_and(|sid| sid.len() >= 20), "{sid}");
        let expected = json!({
            "sid": null, "upgrades": upgrades, "pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000,
        });
        assert_eq!(handshake, expected);
    }
}

#[tokio::test]
async fn polling_response_is_text_and_not_cacheable() {
    let server = engine_echo(SETTINGS).await;
    let response = server.get(POLLING).await;
    assert_eq!(response.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(response.header("cache-control"), Some("no-store"));
}

/// The order of the checks is the one of the reference implementation: transport, session, method, version.
#[tokio::test]
async fn every_bad_request_gets_its_error_code() {
    //
    let server = engine_echo(SETTINGS).await;
    let session = Session::open(&server).await;
    let sid = &session.sid;
    let unknown = "x".repeat(sid.len());
    let query = |query: &str| format!("/socket.io/?{query}");
    for (method, path, code, message) in [
        ("GET", "/socket.io/".to_owned(), 0, "Transport unknown"),
        ("GET", query("EIO=4"), 0, "Transport unknown"),
        ("GET", query("EIO=4&transport=abc"), 0, "Transport unknown"),
        ("GET", query("EIO=4&transport=constructor"), 0, "Transport unknown"),
        ("GET", query("EIO=4&transport=polling&sid=abc"), 1, "Session ID unknown"),
        ("GET", query(&format!("EIO=4&transport=polling&sid={unknown}")), 1, "Session ID unknown"),
        ("POST", query(&format!("EIO=4&transport=polling&sid={unknown}")), 1, "Session ID unknown"),
        ("PUT", query(&format!("EIO=4&transport=polling&sid={unknown}")), 1, "Session ID unknown"),
        ("GET", query(&format!("EIO=4&transport=websocket&sid={unknown}")), 1, "Session ID unknown"),
        ("POST", query("EIO=4&transport=polling"), 2, "Bad handshake method"),
        ("PUT", query("EIO=4&transport=polling"), 2, "Bad handshake method"),
        ("DELETE", query("EIO=4&transport=polling&sid="), 2, "Bad handshake method"),
        ("GET", query("EIO=4&transport=websocket"), 3, "Bad request"),
        ("GET", query(&format!("EIO=4&transport=websocket&sid={sid}")), 3, "Bad request"),
        ("GET", query(&format!("EIO=3&transport=polling&sid={sid}")), 3, "Bad request"),
        ("PUT", query(&format!("EIO=4&transport=polling&sid={sid}")), 3, "Bad request"),
        ("GET", query("transport=polling"), 5, "Unsupported protocol version"),
        ("GET", query("EIO=abc&transport=polling"), 5, "Unsupported protocol version"),
        ("GET", query("EIO=3&transport=polling"), 5, "Unsupported protocol version"),
    ] {
        let response = server.send(&Request::new(method, &path)).await;
        let received = (response.status, response.text());
        assert_eq!(received, (400, error(code, message)), "{method} {path}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    assert_eq!(session.post("4still here").await.0, 200, "the session continues");
}

#[tokio::test]
async fn bad_websocket_request_gets_the_same_error_codes() {
    let server = engine_echo(SETTINGS).await;
    let upgrade = |path: &str| {
        Request::get(path)
            .header("Connection", "Upgrade")
            .header("Upgrade", "websocket")
            .header("Sec-WebSocket-Version", "13")
            .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
    };
    for (query, code, message) in [
        ("EIO=4", 0, "Transport unknown"),
        ("EIO=4&transport=abc", 0, "Transport unknown"),
        ("EIO=4&transport=websocket&sid=abc", 1, "Session ID unknown"),
        ("EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAAAAAAAAAA", 1, "Session ID unknown"),
        ("EIO=4&transport=polling", 3, "Bad request"),
        ("transport=websocket", 5, "Unsupported protocol version"),
        ("EIO=3&transport=websocket", 5, "Unsupported protocol version"),
    ] {
        let response = server.send(&upgrade(&format!("/socket.io/?{query}"))).await;
        assert_eq!((response.status, response.text()), (400, error(code, message)), "{query}");
    }
}

#[tokio::test]
async fn messages_come_back_as_they_were_sent_on_both_transports() {
    //
    let server = engine_echo("").await;
    let session = Session::open(&server).await;
    for body in ["4hello", "4a\u{1e}4b\u{1e}4c", "4hello\u{1e}bAQIDBA==", "4", "b", "4ünï☃😀"] {
        assert_eq!(session.post(body).await, (200, "ok".to_owned()));
        assert_eq!(session.get().await, (200, body.to_owned()));
    }
    let mut raw = Raw::opened(&server).await;
    for text in ["4hello", "4", "4ünï☃😀"] {
        raw.send_text(text).await;
        assert_eq!(raw.text().await, text);
    }
}

#[tokio::test]
async fn unknown_path_is_not_found() {
    let server = TestServer::start("/nodevent: {}").await;
    for path in ["/engine.io/?EIO=4&transport=polling", "/socket.iox/?EIO=4&transport=polling", "/socket.io/x"] {
        assert_eq!(server.get(path).await.status, 404, "{path}");
    }
}
