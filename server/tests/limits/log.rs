//! The log: clients cannot flood it, and it contains no secrets, keys, messages or other text of clients.

use crate::server_with_bystander::ServerWithBystander;
use crate::support::keys::{LATER, key};
use crate::support::raw::Raw;
use crate::support::{Browser, Request, Transport};
use serde_json::json;

#[tokio::test]
async fn thousand_refusals_do_not_fill_the_log() {
    let mut server = ServerWithBystander::start("/nodevent: {}").await;
    let mut stream = server.dial().await;
    let request = Request::get("/socket.io/?EIO=4&transport=polling").header("Origin", "https://evil.tld");
    for _ in 0..1_000 {
        assert_eq!(request.exchange(&mut stream, &server.address).await.unwrap().status, 403);
    }
    let mut raws = Vec::new();
    for _ in 0..300 {
        let mut raw = Raw::opened(&server.site).await;
        raw.send_text("malformed").await;
        raws.push(raw);
    }
    for raw in &mut raws {
        raw.ended().await;
    }
    server.metric_is("nodevent_rejected_origins_total", 1_000).await;
    server.metric_is("nodevent_disconnects_total{reason=\"malformed\"}", 300).await;
    server.bystander_is_unaffected().await;
    let log = server.program.log();
    let count = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    // A burst of 50 lines, then five per second; the machine may be slow.
    assert!((50..300).contains(&count("reason=\"malformed\"")), "{}", count("reason=\"malformed\""));
    // One a minute for each origin.
    assert!((1..=2).contains(&count("rejected for its origin")), "{}", count("rejected for its origin"));
}

#[tokio::test]
async fn secrets_keys_and_messages_are_never_logged_even_at_trace() {
    // N-51
    let secret = "sesame-open-wide-1234567890";
    let settings = format!(
        "log: {{level: trace}}\n/nodevent: {{}}\n/secured: {{secret: {secret}, publish_key: publish-me-quietly-12}}"
    );
    let mut server = ServerWithBystander::start(&settings).await;
    let good = key("room-of-theirs", LATER, secret);
    for transport in Transport::BOTH {
        let mut browser = Browser::connect(&server.site, "/secured", transport).await;
        assert_eq!(browser.join_with("room-of-theirs", good.as_str()).await[1], true);
        assert_eq!(browser.join_with("room-of-theirs", "bad:1234567890123").await[1], false);
        browser.send_event("private-event", &[json!("in-confidence")]).await;
    }
    let publication = r#"{"room":"room-of-theirs","event":"e","message":"message-of-theirs"}"#;
    for bearer in ["publish-me-quietly-12", "wrong-publish-key"] {
        let request = Request::post("/api/secured/emit", publication);
        server.send(&request.header("Authorization", &format!("Bearer {bearer}"))).await;
    }
    for raw in ["4malformed-by-them", "42/secured,[\"in-confidence\"", "451-[\"in-confidence\"]"] {
        let mut browser = Raw::opened(&server.site).await;
        browser.send_text(raw).await;
        browser.ended().await;
    }
    let not_http = "NOT HTTP by-them\r\n\r\n";
    let mut stream = server.dial().await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, not_http.as_bytes()).await.unwrap();
    server.metric_is("nodevent_rejected_requests_total", 2).await;
    server.bystander_is_unaffected().await;
    let script = server.get("/api/secured").await.text();
    let log = server.program.log().join("\n");
    assert!(log.contains("join rejected"), "the log is not empty");
    let words = [
        secret,
        "publish-me-quietly",
        "wrong-publish-key",
        &good[..20],
        "in-confidence",
        "message-of-theirs",
        "by-them",
        "room-of-theirs",
    ];
    for word in words {
        let line = log.lines().find(|line| line.contains(word));
        assert_eq!(line, None, "`{word}` is in the log");
        assert!(!script.contains(word));
    }
}
