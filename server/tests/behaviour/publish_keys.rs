//! Several publish keys, their rooms, and the audit log.

use crate::support::page::{PAGES_SECRET, Visitor};
use crate::support::{Browser, Program, RedisServer, Request, Response, Site, TestServer, Transport};
use serde_json::{Value, json};

const KEYS: &str = "/nodevent:
  open: true
  history: off
  publish_key: the-key-of-the-application
  publish_keys:
    - the-next-key-of-the-application
    - {id: game, key: the-key-of-the-game-server, rooms: [lobby, \"Game_*\"]}
";

async fn publish(site: &Site, key: &str, body: Value) -> Response {
    let request = Request::post("/api/nodevent/emit", body.to_string());
    site.send(&request.header("Authorization", &format!("Bearer {key}"))).await
}

fn to(room: &str) -> Value {
    json!({"room": room, "event": "e"})
}

#[tokio::test]
async fn each_of_several_keys_publishes_to_its_rooms() {
    let server = TestServer::start(KEYS).await;
    let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
    for room in ["lobby", "Game_7", "Chat_7"] {
        browser.join(room).await;
    }
    for key in ["the-key-of-the-application", "the-next-key-of-the-application"] {
        assert_eq!(publish(&server, key, to("Chat_7")).await.status, 200, "{key}");
        assert_eq!(browser.next_event().await.room, "Chat_7");
    }
    let game = "the-key-of-the-game-server";
    for (room, status) in [("lobby", 200), ("Game_7", 200), ("Chat_7", 403), ("lobby2", 403), ("game_7", 403)] {
        let response = publish(&server, game, to(room)).await;
        assert_eq!(response.status, status, "{room}: {}", response.text());
    }
    let mixed = publish(&server, game, json!([to("lobby"), to("Chat_7"), to("lobby")])).await;
    assert_eq!(mixed.status, 403, "nothing is published if one room is not allowed");
    assert!(mixed.json()["error"].as_str().unwrap().starts_with("publication 1: "), "{}", mixed.text());
    assert!(!mixed.text().contains(game));
    for room in ["lobby", "Game_7"] {
        assert_eq!(browser.next_event().await.room, room);
    }
    let nothing = publish(&server, "the-key-of-the-game-serve", to("lobby")).await;
    assert_eq!(nothing.status, 401);
}

/// A publisher with limits that guesses the idempotency key of another one's publication cannot take it first.
#[tokio::test]
async fn idempotency_keys_of_a_limited_publisher_are_its_own() {
    let redis = RedisServer::start().await;
    for engine in [String::new(), format!("  redis: \"{}\"\n", redis.url())] {
        let server = TestServer::start(&format!("{}{engine}", KEYS.replace("  history: off\n", ""))).await;
        server.ready().await;
        let mut browser = Browser::connect(&server, "/nodevent", Transport::WebSocket).await;
        browser.join("lobby").await;
        let (game, application) = ("the-key-of-the-game-server", "the-key-of-the-application");
        let publish = async |key: &str, name: &str, body: Value| {
            let request = Request::post("/api/nodevent/emit", body.to_string()).header("Idempotency-Key", name);
            let response = server.send(&request.header("Authorization", &format!("Bearer {key}"))).await;
            assert_eq!(response.status, 200, "{}", response.text());
        };
        for (name, rooms) in [("one", json!("lobby")), ("several", json!(["lobby", "Game_7"]))] {
            let to = |event: &str| json!({"rooms": rooms, "event": event});
            publish(game, name, to("forged")).await;
            publish(application, name, to("real")).await;
            publish(application, name, to("repeated")).await;
            publish(game, name, to("repeated")).await;
            publish(application, &format!("{name}-next"), to("next")).await;
            for expected in ["forged", "real", "next"] {
                assert_eq!(browser.next_event().await.event, expected, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn audit_log_shows_who_published_what_at_every_level() {
    let folder = tempfile::tempdir().unwrap();
    let listen = "bind: 127.0.0.1\nport: 0\nlog: {audit: true, level: error}\n";
    // With this level the server does not log that it listens.
    let file = folder.path().join("nodevent.yml");
    let port = crate::support::redis::free_port();
    let listen = listen.replace("port: 0", &format!("port: {port}"));
    let pages = format!(
        "{{protocol: pakyow, pages: {{secret: {PAGES_SECRET}, max_channels: 3}}, publish_key: the-key-of-the-pages}}"
    );
    let others = format!("/closed: {{secret: a-secret-of-more-than-sixteen}}\n/live: {pages}\n");
    std::fs::write(&file, format!("{listen}{KEYS}{others}")).unwrap();
    let mut command = crate::support::program::command(folder.path());
    command.arg(&file);
    let program = Program::spawn(command);
    let site = Site::at(&format!("http://127.0.0.1:{port}"));
    crate::support::wait::until("it listens", async || tokio::net::TcpStream::connect(&site.address).await.is_ok())
        .await;
    let hostile = "a\nroom\u{1b}[31m";
    for (key, room, status) in [
        ("the-key-of-the-application", "Chat_7", 200),
        ("the-key-of-the-game-server", "Chat_7", 403),
        ("the-key-of-the-application", hostile, 200),
        ("wrong", "Chat_7", 401),
    ] {
        assert_eq!(publish(&site, key, to(room)).await.status, status, "{key}");
    }
    assert_eq!(site.get("/api/closed/rooms/secret/history?key=forged").await.status, 403);
    let page = Visitor::of('a', 1);
    for (subscribe, unsubscribe, status) in [
        (json!(["chat", "b\rc"]), json!([]), 400),
        (json!(["chat", "news"]), json!(["old"]), 200),
        (json!(["x", "y"]), json!([]), 409),
    ] {
        let change = json!({"page": page.digest(), "subscribe": subscribe, "unsubscribe": unsubscribe});
        let request = Request::post("/api/live/pages", change.to_string());
        let response = site.send(&request.header("Authorization", "Bearer the-key-of-the-pages")).await;
        assert_eq!(response.status, status, "{}", response.text());
    }
    for parts in [
        &[
            "audit: published",
            "publisher=\"key publish_key\"",
            "room=\"Chat_7\"",
            "event=\"e\"",
            "client=127.0.0.1",
        ][..],
        &["audit: publish rejected", "publisher=\"key game\"", "room=\"Chat_7\""],
        &["audit: key rejected", "namespace=\"/nodevent\"", "client=127.0.0.1"],
        &["audit: key rejected", "namespace=\"/closed\"", "reason=\"Bad "],
        &[
            "audit: page changed",
            "namespace=\"/live\"",
            "publisher=\"key publish_key\"",
            &format!("page={}", page.digest()),
            "subscribe=\"chat, news\"",
            "unsubscribe=\"old\"",
        ],
        &["audit: page change failed", "subscribe=\"x, y\""],
        &["audit: published", "room=\"a\\nroom\\u{1b}[31m\""],
    ] {
        let found = async || program.log().iter().any(|line| parts.iter().all(|part| line.contains(part)));
        crate::support::wait::until(&format!("{parts:?} in {:?}", program.log()), found).await;
    }
    let lines = program.log();
    assert!(lines.iter().all(|line| !line.contains("the-key-of") && !line.contains("forged")), "{lines:?}");
    assert!(lines.iter().all(|line| line.contains("audit: ")), "other lines have their level: {lines:?}");
    // More than the burst of the rate limit.
    for _ in 0..80 {
        assert_eq!(publish(&site, "the-key-of-the-application", to("counted")).await.status, 200);
    }
    crate::support::wait::until("every line is written", async || {
        program.log().iter().filter(|line| line.contains("room=\"counted\"")).count() == 80
    })
    .await;
}

#[tokio::test]
async fn without_audit_nothing_is_logged_about_publishes() {
    let folder = tempfile::tempdir().unwrap();
    let text = format!("bind: 127.0.0.1\nport: 0\n{KEYS}");
    let program = Program::serve(folder.path(), &text).await;
    let site = program.site().await;
    assert_eq!(publish(&site, "the-key-of-the-application", to("lobby")).await.status, 200);
    assert_eq!(publish(&site, "wrong", to("lobby")).await.status, 401);
    program.logs("publish rejected").await;
    assert!(program.log().iter().all(|line| !line.contains("audit")), "{:?}", program.log());
}
