//! Oversized messages, on both transports.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::raw::{CONTINUATION, End, Raw, TEXT, first, head, last};
use crate::support::{Browser, RedisServer, Request, Transport};

const SMALL: &str = "limits: {max_message_size: 1000, max_publish_size: 2000}\n/nodevent: {}";

#[tokio::test]
async fn oversized_message_closes_its_websocket_with_1009() {
    // X-03
    let mut server = ServerWithBystander::start(SMALL).await;
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
    server.metric_is("nodevent_disconnects_total{reason=\"too_big\"}", 3).await;
    server.logs("connection closed reason=\"too_big\"").await;
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn oversized_post_gets_413_with_the_limit() {
    // X-03
    let mut server = ServerWithBystander::start(SMALL).await;
    let open = server.get("/socket.io/?EIO=4&transport=polling").await.text();
    let open: serde_json::Value = serde_json::from_str(&open[1..]).unwrap();
    assert_eq!(open["maxPayload"], 1000, "the limit is in the handshake");
    let session = format!("/socket.io/?EIO=4&transport=polling&sid={}", open["sid"].as_str().unwrap());
    let response = server.send(&Request::post(&session, "4".repeat(1001))).await;
    assert_eq!((response.status, response.text()), (413, "The body is larger than 1000 bytes.\n".to_owned()));
    server.metric_is("nodevent_oversized_requests_total", 1).await;
    server.logs("request rejected: body too large max_bytes=1000").await;
    assert_eq!(server.send(&Request::post(&session, "40/nodevent,")).await.text(), "ok", "the session continues");
    server.bystander_is_unaffected().await;
}

#[tokio::test]
async fn the_largest_publication_reaches_every_member_however_small_their_send_buffer() {
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!("redis: \"{}\"", redis.url())] {
        let limits = "limits: {max_publish_size: 1MB, send_buffer: 64KB}";
        let mut server = ServerWithBystander::start(&format!("{limits}\n/nodevent: {{{engine}}}")).await;
        for transport in Transport::BOTH {
            let mut browser = Browser::connect(&server.site, "/nodevent", transport).await;
            browser.join("large").await;
            let head = r#"{"room":"large","event":"e","message":""#;
            let publication = format!("{head}{}\"}}", "x".repeat(1024 * 1024 - head.len() - 2));
            assert_eq!(server.publish("/nodevent", publication.clone()).await.status, 200);
            let message = browser.next_event().await.message;
            assert_eq!(message.as_str().map(str::len), Some(1024 * 1024 - head.len() - 2));
            browser.close().await;
        }
        server.bystander_is_unaffected().await;
    }
}

#[tokio::test]
async fn oversized_publish_gets_413_with_a_hint() {
    let mut server = ServerWithBystander::start(SMALL).await;
    let response = server.publish("/nodevent", " ".repeat(2001)).await;
    assert_eq!(response.status, 413);
    assert_eq!(response.json()["error"], "the body is larger than 2000 bytes");
    assert!(response.json()["hint"].as_str().unwrap().contains("limits: max_publish_size"));
    server.metric_is("nodevent_oversized_requests_total", 1).await;
    server.logs("request rejected: body too large max_bytes=2000").await;
    server.bystander_is_unaffected().await;
}
