//! Messages that are too large, on both transports.

use crate::guarded::Guarded;
use crate::support::Request;
use crate::support::raw::{CONTINUATION, End, Raw, TEXT, first, head, last};

const SMALL: &str = "limits: {max_message_size: 1000, max_publish_size: 2000}\n/nodevent: {}";

#[tokio::test]
async fn a_message_that_is_too_large_ends_its_websocket_with_1009() {
    //
    let mut server = Guarded::start(SMALL).await;
    let ways = [
        ("announced", head(0x81, 1001)),
        ("sent", last(TEXT, "4".repeat(1001))),
        ("in fragments", [first(TEXT, "4".repeat(600)), last(CONTINUATION, "4".repeat(600))].concat()),
    ];
    for (name, sent) in ways {
        let mut raw = Raw::connected(&server.site, "/nodevent").await;
        raw.send(sent).await;
        assert_eq!(raw.ended().await, End::Closed(Some(1009), "too_big".to_owned()), "{name}");
    }
    server.counts("nodevent_disconnects_total{reason=\"too_big\"}", 3).await;
    server.logs("a connection was closed reason=\"too_big\"").await;
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_post_that_is_too_large_is_refused_with_413_and_how_much_is_allowed() {
    //
    let mut server = Guarded::start(SMALL).await;
    let open = server.get("/socket.io/?EIO=4&transport=polling").await.text();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    assert_eq!(open["maxPayload"], 1000, "the browser was told");
    let session = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    let response = server.send(&Request::post(&session, "4".repeat(1001))).await;
    assert_eq!((response.status, response.text()), (413, "The body is larger than 1000 bytes.\n".to_owned()));
    server.counts("nodevent_oversized_requests_total", 1).await;
    server.logs("a post was refused: its body is too large most=1000").await;
    assert_eq!(server.send(&Request::post(&session, "40/nodevent,")).await.text(), "ok", "the session goes on");
    server.harmed_nobody_else().await;
}

#[tokio::test]
async fn a_publish_that_is_too_large_is_refused_with_413_and_a_hint() {
    let mut server = Guarded::start(SMALL).await;
    let response = server.publish("/nodevent", " ".repeat(2001)).await;
    assert_eq!(response.status, 413);
    assert_eq!(response.json()["error"], "the body is larger than 2000 bytes");
    assert!(response.json()["hint"].as_str().unwrap().contains("limits: max_publish_size"));
    server.counts("nodevent_oversized_requests_total", 1).await;
    server.logs("a publish was refused: its body is too large most=2000").await;
    server.harmed_nobody_else().await;
}
