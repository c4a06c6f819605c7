//! The dialect `notifications` as its pages and sources see it: behaviour.md, section 4.

use crate::support::program::{self, Program};
use crate::support::wait::{in_time, until};
use crate::support::{Browser, RedisServer, Request, Site, TestServer, Transport};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;
use tokio::io::AsyncWriteExt as _;

/// Texts that are sent until one arrives, at most.
const MAX_ATTEMPTS: u32 = 200;

/// A page.
struct Page(Browser);

// === impl Page ===

impl Page {
    /// Connects, and receives the welcome message.
    async fn open(site: &Site, transport: Transport) -> Self {
        let mut page = Self(Browser::connect(site, "/", transport).await);
        page.receives(json!({"text": "Welcome!"})).await;
        page
    }

    async fn send(&mut self, packet: &str) {
        self.0.send(&[packet]).await;
    }

    async fn subscribe(&mut self, channel: &str) {
        self.send(&format!("42{}", json!(["subscribe", {"channel": channel}]))).await;
    }

    async fn receives(&mut self, data: Value) {
        let packet = in_time("a message", self.0.next_packet()).await.expect("the connection is open");
        assert_eq!((packet.kind, packet.value()), ('2', json!(["message", data])));
    }
}

/// Sends a text to a channel of the server with the publish key.
async fn post(site: &Site, channel: &str, text: &str) -> u16 {
    let request = Request::post(&format!("/notifications/{channel}"), text);
    site.send(&request.header("Authorization", "Bearer a-publish-key-0123456789")).await.status
}

fn configuration(notifications: &str) -> String {
    format!(
        "/: {{dialect: notifications, publish_key: a-publish-key-0123456789, notifications: {{{notifications}}}}}\n"
    )
}

#[tokio::test]
async fn texts_of_redis_arrive_as_they_are_in_the_subscribed_channels_only() {
    // R-03, R-04, R-05, R-06, R-07, R-15, R-17
    let redis = RedisServer::start().await;
    let server =
        TestServer::start(&configuration(&format!("channels: [notif, other], redis: \"{}\"", redis.url()))).await;
    redis.has_subscribers("notif", 1).await;
    redis.has_subscribers("other", 1).await;
    let [mut one, mut both, mut none] = [
        Page::open(&server, Transport::WebSocket).await,
        Page::open(&server, Transport::Polling).await,
        Page::open(&server, Transport::WebSocket).await,
    ];
    one.subscribe("notif").await;
    both.subscribe("notif").await;
    both.subscribe("other").await;
    for channel in ["/protected", "notifications:notif", "turted:chat", "\u{1}all", "secret"] {
        none.subscribe(channel).await;
    }
    server.metric_is("nodevent_joins_total", 3).await;
    for text in ["hello", "{\"a\":1}", "", "<img onerror=alert(1)>", "ünï \u{2028}"] {
        redis.publish("notif", text).await;
        for page in [&mut one, &mut both] {
            page.receives(json!({"text": text, "channel": "notif"})).await;
        }
    }
    for channel in ["/protected", "turted:chat", "secret", "notifications:notif"] {
        redis.publish(channel, "not for the page").await;
    }
    redis.publish("other", b"\xff raw").await;
    both.receives(json!({"text": "\u{fffd} raw", "channel": "other"})).await;
    // Nothing was sent to the page that subscribed to no listed channel.
    none.subscribe("other").await;
    server.metric_is("nodevent_joins_total", 4).await;
    redis.publish("other", "first").await;
    none.receives(json!({"text": "first", "channel": "other"})).await;
    server.stop().await;
}

#[tokio::test]
async fn bad_subscriptions_are_harmless_and_a_page_can_unsubscribe() {
    // R-13, R-18
    let server = TestServer::start(&configuration("channels: [notif, other], http: true")).await;
    let mut page = Page::open(&server, Transport::WebSocket).await;
    for packet in [
        r#"42["subscribe"]"#,
        r#"42["subscribe",null]"#,
        r#"42["subscribe","notif"]"#,
        r#"42["subscribe",{}]"#,
        r#"42["subscribe",{"channel":{}}]"#,
        r#"42["subscribe",{"channel":null}]"#,
        r#"42["subscribe",{"channel":["notif"]}]"#,
        r#"42["unsubscribe"]"#,
        r#"42["unsubscribe",{"channel":"other"}]"#,
        r#"42["toString"]"#,
    ] {
        page.send(packet).await;
    }
    page.subscribe("notif").await;
    page.subscribe("other").await;
    server.metric_is("nodevent_joins_total", 2).await;
    assert_eq!(post(&server, "notif", "one").await, 200);
    page.receives(json!({"text": "one", "channel": "notif"})).await;
    page.send(r#"42["unsubscribe",{"channel":"notif"}]"#).await;
    server.metric_is("nodevent_rooms", 1).await;
    assert_eq!(post(&server, "notif", "two").await, 200);
    assert_eq!(post(&server, "other", "three").await, 200);
    page.receives(json!({"text": "three", "channel": "other"})).await;
    // Only with the key, and to listed channels.
    assert_eq!(server.send(&Request::post("/notifications/notif", "x")).await.status, 401);
    assert_eq!(post(&server, "secret", "x").await, 404);
    assert_eq!(server.get("/notifications/notif").await.status, 405);
    server.stop().await;
}

#[tokio::test]
async fn redis_may_be_unavailable_at_the_start_and_restart() {
    // R-14: what ended the old process, and then a normal delivery.
    let mut redis = RedisServer::start().await;
    redis.stop();
    let folder = tempfile::tempdir().unwrap();
    let settings = configuration(&format!("channels: [notif], redis: \"{}\"", redis.url()));
    let program = Program::serve(folder.path(), &format!("bind: 127.0.0.1\nport: 0\n{settings}")).await;
    let site = program.site().await;
    program.logs("Redis is unavailable").await;
    redis.start_again().await;
    program.logs("Redis is available again").await;
    let mut page = Page::open(&site, Transport::WebSocket).await;
    for text in ["one", "two"] {
        redis.has_subscribers("notif", 1).await;
        page.subscribe("notif").await;
        // Until the page has joined, texts reach no page.
        redis.publish("notif", text).await;
        let mut attempts = 0;
        loop {
            attempts += 1;
            assert!(attempts < MAX_ATTEMPTS, "no text arrives");
            let next = tokio::time::timeout(std::time::Duration::from_millis(300), page.0.next_packet()).await;
            match next {
                Ok(packet) => {
                    let value = packet.expect("the connection is open").value();
                    if value == json!(["message", {"text": text, "channel": "notif"}]) {
                        break;
                    }
                }
                Err(_) => drop(redis.publish("notif", text).await),
            }
        }
        redis.stop();
        redis.start_again().await;
    }
    program.kill().await;
}

#[tokio::test]
async fn lines_of_standard_input_and_of_a_followed_file_are_texts() {
    // R-09
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("app.log");
    std::fs::write(&log, "old\n").unwrap();
    let settings = configuration(&format!(
        "channels: [notif, lines], stdin: lines, file: {{path: {}, channel: notif}}",
        log.display()
    ));
    let port = crate::support::redis::free_port();
    let file = folder.path().join("nodevent.yml");
    std::fs::write(&file, format!("bind: 127.0.0.1\nport: {port}\n{settings}")).unwrap();
    let mut command = program::command(folder.path());
    command.arg(&file).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let site = Site::at(&format!("http://127.0.0.1:{port}"));
    until("the server listens", async || tokio::net::TcpStream::connect(&site.address).await.is_ok()).await;
    let mut page = Page::open(&site, Transport::WebSocket).await;
    page.subscribe("lines").await;
    page.subscribe("notif").await;
    let mut input = child.stdin.take().unwrap();
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&log).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    let is_new = |value: &Value| value[1]["text"].as_str().is_some_and(|text| text != "old");
    // The joins, and the first look at the file, come in their own time: write to each until something of it arrives. A file
    // that was renamed before that look would be another one, which is read from its end.
    for channel in ["lines", "notif"] {
        let mut count = 0;
        loop {
            count += 1;
            assert!(count < MAX_ATTEMPTS, "no text arrives in {channel}");
            match channel {
                "lines" => input.write_all(format!("input {count}\n").as_bytes()).await.unwrap(),
                _ => append(&format!("line {count}\n")),
            }
            let next = tokio::time::timeout(std::time::Duration::from_millis(500), page.0.next_packet()).await;
            let Ok(packet) = next else { continue };
            let value = packet.unwrap().value();
            assert!(is_new(&value), "{value}");
            if value[1]["channel"] == channel {
                break;
            }
        }
    }
    // After a rotation the new file is read from its beginning.
    std::fs::rename(&log, folder.path().join("app.log.1")).unwrap();
    append("rotated\n");
    input.write_all(b"last input\n").await.unwrap();
    drop(input);
    let mut left =
        vec![json!({"text": "rotated", "channel": "notif"}), json!({"text": "last input", "channel": "lines"})];
    while !left.is_empty() {
        let packet = in_time("a message", page.0.next_packet()).await.unwrap().value();
        assert!(is_new(&packet), "{packet}");
        left.retain(|one| *one != packet[1]);
    }
    child.kill().await.unwrap();
}

#[tokio::test]
async fn demonstration_sends_a_random_number_if_it_is_switched_on_and_nothing_otherwise() {
    // R-08
    let server = TestServer::start(&configuration("channels: [notif], demo: notif")).await;
    let without = TestServer::start(&configuration("channels: [notif], http: true")).await;
    let mut page = Page::open(&server, Transport::WebSocket).await;
    let mut other = Page::open(&without, Transport::WebSocket).await;
    page.subscribe("notif").await;
    other.subscribe("notif").await;
    for _ in 0..2 {
        let value = in_time("a number", page.0.next_packet()).await.unwrap().value();
        let text = value[1]["text"].as_str().unwrap().to_owned();
        let number = text.strip_prefix("Generated random no ").and_then(|number| number.parse::<u8>().ok());
        assert!(number.is_some_and(|number| number < 100), "{text}");
    }
    // The other page has watched for as long.
    assert_eq!(post(&without, "notif", "the first text").await, 200);
    other.receives(json!({"text": "the first text", "channel": "notif"})).await;
    server.stop().await;
}

#[tokio::test]
async fn page_is_served_with_the_client_and_without_anything_of_the_request() {
    // R-01, R-02, R-11, R-12
    let server = TestServer::start(&configuration("channels: [notif, \"</script>\"], page: true")).await;
    let page = server.get("/?%3Cb%3E").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let html = page.text();
    assert!(
        html.contains("Connection Status : ") && html.contains("\"channels\":[\"notif\",\"\\u003c/script>\"]"),
        "{html}"
    );
    assert!(!html.contains("localhost") && !html.contains("innerHTML") && !html.contains("%3Cb%3E"));
    assert!(page.header("content-security-policy").unwrap().contains("'sha256-"));
    assert_eq!(server.get("/socket.io/socket.io.js").await.status, 200);
    server.stop().await;
    let without = TestServer::start(&configuration("channels: [notif]")).await;
    assert_eq!(without.get("/").await.status, 404);
    without.stop().await;
}

#[tokio::test]
async fn dialects_share_a_namespace_without_seeing_each_other() {
    // X-04
    let turted = "turted: {ident: accept_all, join: open, push: {password: IamAllowed2PUSH!!!}}";
    let server = TestServer::start(&format!(
        "/: {{dialect: [turted, notifications], publish_key: a-publish-key-0123456789, {turted}, \
         notifications: {{channels: [x], http: true}}}}\n/nodevent: {{open: true, publish_key: a-publish-key-0123456789}}\n"
    ))
    .await;
    let mut of_turted = Page::open(&server, Transport::WebSocket).await;
    of_turted.send(r#"42["JOIN",{"channel":"x"}]"#).await;
    let joined = of_turted.0.next_packet().await.unwrap().value();
    assert_eq!(joined, json!(["OK", {"channel": "x"}]));
    let mut of_notifications = Page::open(&server, Transport::Polling).await;
    of_notifications.subscribe("x").await;
    let mut of_nodevent = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    of_nodevent.join("x").await;
    server.metric_is("nodevent_joins_total", 3).await;
    let push = json!({"event": "e", "targets": {"channels": "x"}, "auth": "IamAllowed2PUSH!!!"});
    assert_eq!(server.send(&Request::post("/push/", push.to_string())).await.status, 200);
    assert_eq!(post(&server, "x", "text").await, 200);
    let emitted = json!({"room": "x", "event": "n", "message": 1}).to_string();
    let emit = Request::post("/api/nodevent/emit", emitted);
    assert_eq!(server.send(&emit.header("Authorization", "Bearer a-publish-key-0123456789")).await.status, 200);
    let received = of_turted.0.next_packet().await.unwrap().value();
    assert_eq!(received, json!(["EVENT", {"event": "e", "payload": {}}]));
    of_notifications.receives(json!({"text": "text", "channel": "x"})).await;
    assert_eq!(of_nodevent.next_event().await.event, "n");
    // The next thing that each receives is of its own dialect again.
    assert_eq!(post(&server, "x", "again").await, 200);
    of_notifications.receives(json!({"text": "again", "channel": "x"})).await;
    assert_eq!(server.send(&Request::post("/push/", push.to_string())).await.status, 200);
    assert_eq!(of_turted.0.next_packet().await.unwrap().value(), received);
    server.stop().await;
}
